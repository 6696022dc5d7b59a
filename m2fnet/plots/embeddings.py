"""Map of embeddings: do the vectors of one emotion, or of one speaker, form groups?"""

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike, NDArray

from m2fnet.plots.emotion_colours import emotion_colours
from m2fnet.plots.style import colour, marker, short, styled

MOST = 1500  # vectors on a map; more take long and hide each other
_SPARSE = 400  # vectors, below which points may be larger
_NAMED = 7  # speakers that get a colour each
_OTHERS, _UNKNOWN = "all others", "unknown"


def embedding_map(
    vectors: ArrayLike, emotions: Sequence[str], speakers: Sequence[str | None], *, seed: int = 0
) -> Figure:
    """t-SNE of embeddings ``(N, D)``, coloured by emotion on the left and by speaker on the right.

    At most `MOST` of them, drawn at random. van der Maaten and Hinton, Visualizing data using t-SNE, JMLR 9 (2008).
    Neighbourhoods mean something there; distances between groups, their sizes and the axes do not.

    Args:
        vectors: one row per utterance.
        emotions: of each row.
        speakers: of each row, or None where unknown.
        seed: of the draw and of the map.

    Raises:
        ValueError: if there are fewer than four rows, or the lengths differ.

    Example:
        >>> import numpy as np
        >>> vectors = np.random.default_rng(0).normal(size=(8, 5))
        >>> figure = embedding_map(vectors, ["joy", "anger"] * 4, ["Ann"] * 4 + ["Bob"] * 4)
        >>> [axes.get_title() for axes in figure.axes]
        ['by emotion', 'by speaker']
    """
    vectors = np.asarray(vectors, dtype=np.float32)
    if vectors.ndim != 2 or len(vectors) < 4 or not len(vectors) == len(emotions) == len(speakers):
        raise ValueError(
            "Expected embeddings of shape (N >= 4, D) with N emotions and N speakers, got "
            f"{vectors.shape}, {len(emotions)} and {len(speakers)}."
        )
    order = np.random.default_rng(seed).permutation(len(vectors))[:MOST]
    places = _tsne(vectors[order], seed)
    with styled():
        figure = Figure(figsize=(12, 6.4))
        left, right = figure.subplots(1, 2)
        kinds = _by_frequency(emotions)
        of = dict(zip(kinds, emotion_colours(kinds), strict=True))
        _scatter(left, places, [emotions[n] for n in order], of, "by emotion")
        names = [_UNKNOWN if speakers[n] is None else str(speakers[n]) for n in order]
        frequent = _by_frequency(names)[:_NAMED]
        named = [name if name in frequent else _OTHERS for name in names]
        inks = {name: colour(number) for number, name in enumerate(frequent)}
        _scatter(right, places, named, {**inks, _OTHERS: "#CCCCCC"}, "by speaker")
    return figure


def _by_frequency(names: Sequence[str]) -> list[str]:
    return [name for name, _ in Counter(names).most_common()]


def _tsne(vectors: NDArray[np.float32], seed: int) -> NDArray[np.float32]:
    """Places (N, 2); through 50 principal components where there are more, as its authors do."""
    from sklearn.decomposition import PCA  # takes seconds, which the other plots do not need
    from sklearn.manifold import TSNE

    parts = min(50, *vectors.shape)
    reduced = PCA(parts, random_state=seed).fit_transform(vectors) if parts < vectors.shape[1] else vectors
    perplexity = min(30, (len(vectors) - 1) / 3)
    map_ = TSNE(perplexity=perplexity, init="pca", random_state=seed, n_jobs=1)
    places: NDArray[np.float32] = map_.fit_transform(reduced)
    return places


def _scatter(
    axes: Axes, places: NDArray[np.float32], names: Sequence[str], inks: Mapping[str, str], title: str
) -> None:
    of = np.array(names, dtype=object)
    size = 36 if len(names) < _SPARSE else 16
    for number, (name, ink) in enumerate(inks.items()):
        inside = of == name
        if inside.any():
            label = f"{short(name, 20)} ({inside.sum()})"
            x, y = places[inside].T
            axes.scatter(x, y, s=size, marker=marker(number), color=ink, alpha=0.75, lw=0, label=label)
    axes.set(xlabel="t-SNE 1 (no unit)", ylabel="t-SNE 2 (no unit)", title=title, xticks=[], yticks=[])
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.06), ncols=3, markerscale=(64 / size) ** 0.5, fontsize=10)
