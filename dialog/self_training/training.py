"""Students: small networks of single utterances, all seeds trained at the same time.

Attention fusion over the stores' vectors (`dialog.stacked.fusion`), a network without the dialogue around the
utterance. Every student starts from the first weights of its seed, whatever came before, takes a fixed number of steps,
and no split chooses its weights. A batch has a fixed number of gold rows and, where there are pseudo-labels, a fixed
number of these.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from dialog.fusion.streams import Fitted, Standardise
from dialog.missing.modality_dropout import Scheme
from dialog.models.attention_fusion import FusionWeights
from dialog.self_training.gold import GoldLabels
from dialog.self_training.policies import Array
from dialog.self_training.pseudo_labels import PseudoLabels
from dialog.stacked.fusion import FusionSettings, FusionStack
from m2fnet.errors import StoreError, UsageError
from m2fnet.manifest import Manifest
from m2fnet.problems import Problem, Stream, make_problem
from m2fnet.runs.provenance import store_sha256
from m2fnet.store import Store

_BLOCK = 512  # utterances that are predicted at a time


@dataclass(frozen=True)
class Training:
    """How a network learns.

    Attributes:
        hidden: width of the layers.
        dropout: on the embeddings; with modality dropout the noise that a student learns under.
        modality_dropout: probability of a stream to be removed, where there are several.
        scheme: see `dialog.missing.modality_dropout.pattern_probabilities`.
        weights: of the streams, see `dialog.models.attention_fusion.AttentionFusion`.
        lr: learning rate of Adam in the first step; it falls to 0 along half a cosine.
        weight_decay: of Adam.
        batch_size: rows of a batch of a student, gold and pseudo-labels together.
        gold_share: of a batch; a network without pseudo-labels takes batches of the gold rows only.
        steps: of every network.
        input_norm: see `read_inputs`.
        targets: ``soft`` for the teacher's probabilities, ``hard`` for its answer.
    """

    hidden: int = 64
    dropout: float = 0.3
    modality_dropout: float = 0.2
    scheme: Scheme = "restore_one"
    weights: FusionWeights = "masked_softmax"
    lr: float = 1e-3
    weight_decay: float = 1e-5
    batch_size: int = 128
    gold_share: float = 0.25
    steps: int = 400
    input_norm: Fitted = "standard"
    targets: Literal["soft", "hard"] = "soft"

    def __post_init__(self) -> None:
        if not (0 < self.gold_share < 1 and 0 < self.gold_rows < self.batch_size and self.steps > 0 and self.lr > 0):
            raise UsageError(
                f"training has batch_size {self.batch_size}, gold_share {self.gold_share}, steps {self.steps} and lr "
                f"{self.lr}; expected batches with gold rows and others, and steps and lr above 0."
            )
        if not 0 <= self.modality_dropout < 1:
            raise UsageError(f"training.modality_dropout is {self.modality_dropout}, expected 0 to below 1.")
        try:
            self.fusion()
        except ValueError as refusal:
            raise UsageError(f"training: {refusal}") from refusal

    @property
    def gold_rows(self) -> int:
        """Gold rows of a batch."""
        return round(self.batch_size * self.gold_share)

    def fusion(self) -> FusionSettings:
        """The settings of the networks."""
        return FusionSettings(
            hidden=self.hidden,
            dropout=self.dropout,
            weights=self.weights,
            modality_dropout=self.modality_dropout,
            scheme=self.scheme,
            lr=self.lr,
            weight_decay=self.weight_decay,
        )


@dataclass(frozen=True, eq=False)
class Inputs:
    """The embeddings of all utterances, in memory.

    Attributes:
        problem: emotions and streams.
        row: utterance id -> its row.
        vectors: stream -> (N, D), centred and scaled, 0 where missing.
        present: stream -> (N,) as bool.
        stores_sha256: stream -> hash of its store.
    """

    problem: Problem
    row: Mapping[str, int]
    vectors: Mapping[str, Tensor]
    present: Mapping[str, Tensor]
    stores_sha256: dict[str, str]

    def rows(self, ids: Sequence[str]) -> Tensor:
        """The rows (n,) of utterances."""
        return torch.tensor([self.row[name] for name in ids], dtype=torch.long)


def read_inputs(manifest: Manifest, stores: Mapping[str, str], norm: Fitted = "standard") -> Inputs:
    """The embeddings in ``stores`` (stream -> folder), centred and scaled by statistics of the training split.

    The training split is gold and pool; no label is read. ``norm`` says how, see `dialog.fusion.streams.Standardise`.

    Raises:
        StoreError: if a store is not of the manifest, or holds sequences.
        UsageError: if there is no store, or a stream has no usable name.
    """
    if not stores:
        raise UsageError("stores is empty, expected a folder of embeddings for one stream or more.")
    opened = {name: Store(folder) for name, folder in stores.items()}
    for name, store in opened.items():
        store.require(manifest)
        if store.meta.resolution != "utterance":
            raise StoreError(f"stores.{name} holds sequences; self-training reads one vector per utterance.")
    try:
        widths = {name: Stream(store.meta.modality, store.meta.width) for name, store in opened.items()}
        problem = make_problem(manifest.label_set, widths)
    except ValueError as error:
        raise UsageError(f"stores: {error}") from error
    is_training = torch.tensor([u.split == "train" for u in manifest.utterances])
    vectors, present = {}, {}
    for name, store in opened.items():
        found, here = store.matrix([u.id for u in manifest.utterances])
        standardise = Standardise(name, store.meta.width, norm)
        standardise.fit(found[is_training & here])
        vectors[name], present[name] = standardise(found) * here[:, None], here
    return Inputs(
        problem,
        {u.id: number for number, u in enumerate(manifest.utterances)},
        vectors,
        present,
        {name: store_sha256(store.folder) for name, store in opened.items()},
    )


def train(
    inputs: Inputs,
    gold: GoldLabels,
    seeds: Sequence[int],
    training: Training,
    pseudo: PseudoLabels | None = None,
    *,
    whole_batches: bool = False,
) -> FusionStack:
    """One trained network per seed.

    Args:
        inputs: of all utterances.
        gold: what they learn from.
        seeds: of first weights, batches and dropout.
        training: settings.
        pseudo: labels of other utterances, of which the selected ones are learned too.
        whole_batches: fill the batches with gold rows where there are no pseudo-labels.

    Raises:
        UsageError: if there is no gold utterance, or no pseudo-label is selected.
    """
    if not gold.ids:
        raise UsageError("There is no gold utterance to learn from; expected some in every fold.")
    classes = len(inputs.problem.classes)
    stack = FusionStack(inputs.problem, inputs.vectors, seeds, training.fusion(), inputs.present)
    target = torch.zeros(len(inputs.row), classes)
    weight = torch.zeros(len(inputs.row))
    rows = inputs.rows(gold.ids)
    target[rows] = F.one_hot(torch.from_numpy(gold.numbers), classes).float()
    weight[rows] = 1.0
    parts = [(rows, training.batch_size if whole_batches else training.gold_rows)]
    if pseudo is not None:
        mask = pseudo.selection.mask
        if not mask.any():
            raise UsageError(
                f"The policy {pseudo.origin.policy} selects none of {len(mask)} utterances, whose highest confidence "
                f"is {pseudo.probabilities.max():.2f}; lower its threshold or choose another policy."
            )
        selected = inputs.rows([name for name, is_in in zip(pseudo.ids, mask, strict=True) if is_in])
        target[selected] = _targets(pseudo, training)[torch.from_numpy(mask)]
        weight[selected] = torch.from_numpy(pseudo.selection.weight[mask]).float()
        parts.append((selected, training.batch_size - training.gold_rows))
    drawn = [[_endless(rows, size, generator) for rows, size in parts] for generator in stack.generators]
    for step in range(training.steps):
        stack.optimizer.param_groups[0]["lr"] = training.lr * (1 + math.cos(math.pi * step / training.steps)) / 2
        batch = torch.stack([torch.cat([next(part) for part in of]) for of in drawn])
        stack.step(batch, target[batch], weight[batch])
    return stack


def predict(stack: FusionStack, rows: Tensor, kept: Tensor | None = None) -> Array:
    """Probabilities (S, n, C) that each network gives to the ``rows`` (n,), from the streams ``kept`` (M,)."""
    blocks = [stack.scores(block.expand(len(stack), -1), kept).softmax(-1) for block in torch.split(rows, _BLOCK)]
    found: Array = torch.cat(blocks, 1).double().numpy()
    return found


def _targets(pseudo: PseudoLabels, training: Training) -> Tensor:
    """What students should answer, (N, C)."""
    if training.targets == "soft":
        return torch.from_numpy(pseudo.probabilities).float()
    return torch.from_numpy(np.eye(pseudo.probabilities.shape[1], dtype=np.float32)[pseudo.selection.label])


def _endless(rows: Tensor, size: int, generator: torch.Generator) -> Iterator[Tensor]:
    """Batches (size,) of ``rows`` for ever, every row once before any of them comes again."""
    waiting = rows[:0]
    while True:
        while len(waiting) < size:
            waiting = torch.cat([waiting, rows[torch.randperm(len(rows), generator=generator)]])
        yield waiting[:size]
        waiting = waiting[size:]
