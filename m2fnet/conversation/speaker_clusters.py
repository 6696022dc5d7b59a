"""Which utterances sound like one speaker: clusters of embeddings of their voices."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Voices = NDArray[np.float64]  # (U, D)

MOST_SPEAKERS = 8  # that are told apart without being told how many there are
_ENOUGH_S = 1.0  # of an utterance; a shorter one says little about a voice and joins the nearest speaker
_MOST = 2_000  # utterances that are compared with each other, the longest; their distances fill 32 MB
_ONE_SPEAKER = 0.35  # silhouette below which several speakers are not better than one


def speakers_of(voices: Voices, seconds: Sequence[float], count: int | None = None) -> list[int]:
    """Number of the speaker of each utterance, from 0 by first appearance.

    The embeddings are standardised within the conversation and joined by average linkage of cosine distances. Without
    ``count`` it is the number of 2 to 8 with the largest silhouette, or 1 where that is small. Utterances of less than
    a second join the speaker whose mean is nearest.

    Args:
        voices: one embedding (D,) per utterance, finite.
        seconds: length of each utterance.
        count: number of speakers; None: it is found.

    Example:
        >>> low, high = [1.0, 0.1, 0.0], [0.0, 0.1, 1.0]
        >>> speakers_of(np.array([high, low, high, low, low]), [2.0] * 5, 2)
        [0, 1, 0, 1, 1]
    """
    if len(voices) < 2 or count == 1:
        return [0] * len(voices)
    scaled = (voices - voices.mean(0)) / (voices.std(0) + 1e-6)
    longest = np.argsort(-np.asarray(seconds), kind="stable")[:_MOST]
    enough = [int(place) for place in longest if seconds[place] >= _ENOUGH_S]
    chosen = np.array(enough if len(enough) > max(2, count or 0) else longest)
    labels = _clusters(scaled[chosen], count)
    means = np.stack([scaled[chosen[labels == number]].mean(0) for number in range(labels.max() + 1)])
    nearest = (_unit(scaled) @ _unit(means).T).argmax(1)
    nearest[chosen] = labels
    order = {number: place for place, number in enumerate(dict.fromkeys(nearest.tolist()))}
    return [order[number] for number in nearest.tolist()]


def _clusters(voices: Voices, count: int | None) -> NDArray[np.int64]:
    from sklearn.cluster import AgglomerativeClustering  # takes a second
    from sklearn.metrics import pairwise_distances, silhouette_score

    distances = np.clip(pairwise_distances(voices, metric="cosine"), 0, None)
    np.fill_diagonal(distances, 0)

    def joined(number: int) -> NDArray[np.int64]:
        model = AgglomerativeClustering(number, metric="precomputed", linkage="average")
        return np.asarray(model.fit_predict(distances))

    if count is not None:
        return joined(min(count, len(voices)))
    tried = {number: joined(number) for number in range(2, min(MOST_SPEAKERS + 1, len(voices)))}
    scores = {n: silhouette_score(distances, labels, metric="precomputed") for n, labels in tried.items()}
    best = max(scores, key=lambda number: scores[number], default=1)
    return tried[best] if scores.get(best, 0.0) >= _ONE_SPEAKER else np.zeros(len(voices), np.int64)


def _unit(rows: Voices) -> Voices:
    return np.asarray(rows / (np.linalg.norm(rows, axis=1, keepdims=True) + 1e-12))
