"""Weighted F1 of embeddings without a dialogue network: by their nearest neighbour and by a linear model."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from extractors.evaluation.linear_probe import linear_probe
from m2fnet.metrics.scores import score


@dataclass(frozen=True)
class Embedded:
    """What a network made of a set of utterances.

    Attributes:
        row: (N,) places in `Utterances.placed`.
        label: (N,) class numbers.
        embedding: (N, D), un-normalised.
        logits: (N, C) of the head.
    """

    row: Tensor
    label: Tensor
    embedding: Tensor
    logits: Tensor


def join(parts: Sequence[Embedded]) -> Embedded:
    """All ``parts`` as one, by row."""
    row, label, embedding, logits = (
        torch.cat([getattr(part, name) for part in parts]) for name in ("row", "label", "embedding", "logits")
    )
    order = row.argsort()
    return Embedded(row[order], label[order], embedding[order], logits[order])


def nearest_neighbour(references: Tensor, scored: Tensor) -> Tensor:
    """For each embedding (N, D) the number (N,) of the reference (M, D) with the most similar direction."""
    return (F.normalize(scored) @ F.normalize(references).T).argmax(1)


def evaluate_embeddings(scored: Embedded, references: Embedded | None, classes: Sequence[str]) -> dict[str, float]:
    """Weighted F1 of the head, and by ``references`` of the nearest neighbour and of a linear probe."""
    scores = {"head": _weighted_f1(scored.label, scored.logits.argmax(1), classes)}
    if references is None:
        return scores
    nearest = nearest_neighbour(references.embedding, scored.embedding)
    scores["nearest"] = _weighted_f1(scored.label, references.label[nearest], classes)
    if len(torch.unique(references.label)) > 1:
        names = [[classes[n] for n in side.label.tolist()] for side in (references, scored)]
        probe = linear_probe(references.embedding, names[0], scored.embedding, names[1])
        scores["probe"] = float(probe["weighted_f1"])
    return scores


def _weighted_f1(label: Tensor, predicted: Tensor, classes: Sequence[str]) -> float:
    names = [[classes[n] for n in numbers.tolist()] for numbers in (label, predicted)]
    return float(score(names[0], names[1], classes)["weighted_f1"])
