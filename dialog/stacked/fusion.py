"""Attention fusion (`dialog.models.attention_fusion`) for many folds and seeds at the same time.

A corpus such as MER2024 is one utterance per dialogue and fits into memory, and a search over it trains thousands of
small networks. Here those of equal settings are one: every weight has a leading axis of runs, the embeddings stay in
memory, and a step of all runs is a few batched products. Each run draws its first weights, its batches and its dropout
from its own seed, so it learns what it would learn without the others.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn import functional as F

from dialog.missing.modality_dropout import Scheme, pattern_probabilities
from dialog.models.attention_fusion import AttentionFusion, FusionWeights
from m2fnet.problems import Problem

_MORE = 16  # directions that a sketch has in addition to those that are wanted; the last of a sketch are inexact
_LEVELS = 256  # of a random byte, by which dropout is drawn


@dataclass(frozen=True)
class FusionSettings:
    """What the runs of a stack have in common.

    Attributes:
        hidden: width of the layers.
        dropout: on the embeddings, in steps of 1/256.
        weights: see `AttentionFusion`.
        modality_dropout: probability, see `dialog.missing.modality_dropout.pattern_probabilities`.
        scheme: see there.
        lr: learning rate of Adam.
        weight_decay: of Adam, added to the gradient.
        batch_size: utterances per step.
        epochs: passes over the training rows of each run.
    """

    hidden: int = 128
    dropout: float = 0.3
    weights: FusionWeights = "plain"
    modality_dropout: float = 0.0
    scheme: Scheme = "restore_one"
    lr: float = 1e-3
    weight_decay: float = 1e-5
    batch_size: int = 32
    epochs: int = 100

    def __post_init__(self) -> None:
        if min(self.hidden, self.batch_size, self.epochs) < 1 or not 0 <= self.dropout < 1:
            raise ValueError(
                "Expected hidden, batch_size and epochs of at least 1 and a dropout from 0 to below 1, but got "
                f"{self.hidden}, {self.batch_size}, {self.epochs} and {self.dropout}."
            )


@dataclass(frozen=True)
class StackedRun:
    """One network of a stack.

    Attributes:
        train: rows (N,) that it learns from.
        dev: rows that choose its epoch, none of them in ``train``.
        seed: of its first weights, its batches and its dropout.
    """

    train: Tensor
    dev: Tensor
    seed: int


@dataclass
class TrainedRun:
    """What became of a run.

    Attributes:
        epoch: the one that was best on dev, counted from 0.
        dev_weighted_f1: its score there.
        weights: its ``state_dict`` for an `AttentionFusion` of the same settings with ``input_norm: none``.
        curve: weighted F1 on dev after every epoch.
    """

    epoch: int = -1
    dev_weighted_f1: float = -1.0
    weights: dict[str, Tensor] = field(default_factory=dict)
    curve: list[float] = field(default_factory=list)


def train_stacked(
    problem: Problem,
    inputs: Mapping[str, Tensor],
    label: Tensor,
    runs: Sequence[StackedRun],
    settings: FusionSettings,
    present: Mapping[str, Tensor] | None = None,
) -> list[TrainedRun]:
    """Train one attention fusion per run, all at the same time; each keeps the weights that were best on its dev rows.

    The runs must have the same number of training rows, give or take one, as folds have. A run that has one less sees
    one of its rows twice in each epoch. Ratings are not trained.

    Args:
        problem: emotions and streams, each a vector per utterance.
        inputs: stream -> embeddings (N, D), in memory on the device that trains.
        label: class numbers (N,).
        runs: which rows each learns from.
        settings: of all of them.
        present: stream -> (N,) as bool; by default everything is there.

    Raises:
        ValueError: if there are no runs, rows are in both parts of one, or their numbers differ by more than one.

    Example:
        >>> from m2fnet.problems import make_problem
        >>> from m2fnet.records import LabelSet
        >>> label = torch.arange(60) % 2
        >>> draw = torch.Generator().manual_seed(0)
        >>> text = torch.randn(60, 4, generator=draw) + 2 * label[:, None]
        >>> inputs = {"text": text, "audio": torch.randn(60, 3, generator=draw)}
        >>> problem = make_problem(LabelSet("two", ("joy", "anger")), {"text": 4, "audio": 3})
        >>> rows = torch.arange(60)
        >>> folds = [(rows[rows % 3 != fold], rows[rows % 3 == fold]) for fold in range(3)]
        >>> runs = [StackedRun(train, dev, seed) for train, dev in folds for seed in (0, 1)]
        >>> trained = train_stacked(problem, inputs, label, runs, FusionSettings(hidden=8, epochs=20, lr=0.01))
        >>> len(trained), min(run.dev_weighted_f1 for run in trained) > 0.8
        (6, True)
    """
    _check(runs)
    stack = FusionStack(problem, inputs, [run.seed for run in runs], settings, present)
    dev = torch.nn.utils.rnn.pad_sequence([run.dev for run in runs], batch_first=True, padding_value=-1)
    found = [TrainedRun() for _ in runs]
    for epoch in range(settings.epochs):
        for rows in _batches(stack, runs):
            stack.step(rows, label[rows])
        for number, (run, score) in enumerate(zip(found, _dev_scores(stack, dev, label), strict=True)):
            run.curve.append(score)
            if score > run.dev_weighted_f1:
                run.epoch, run.dev_weighted_f1 = epoch, score
                run.weights = {name: weight[number].detach().clone() for name, weight in stack.weights.items()}
    return found


class FusionStack:
    """Attention fusions of equal settings, one per seed, that take their steps together.

    Args:
        problem: emotions and streams, each a vector per utterance.
        inputs: stream -> embeddings (N, D), in memory on the device that trains.
        seeds: one per network: of its first weights, its dropout, and what is drawn from ``generators``.
        settings: of all of them; ``batch_size`` and ``epochs`` are not used here.
        present: stream -> (N,) as bool; by default everything is there.

    Attributes:
        weights: name of each weight of an `AttentionFusion` -> those of all networks (R, ...).
        generators: of the random numbers of each network.

    Example:
        >>> from m2fnet.problems import make_problem
        >>> from m2fnet.records import LabelSet
        >>> problem = make_problem(LabelSet("two", ("joy", "anger")), {"text": 4})
        >>> stack = FusionStack(problem, {"text": torch.randn(10, 4)}, [0, 1, 2], FusionSettings(hidden=8))
        >>> rows = torch.arange(10).expand(3, 10)
        >>> stack.step(rows, rows % 2)
        >>> stack.scores(rows).shape
        torch.Size([3, 10, 2])
    """

    def __init__(
        self,
        problem: Problem,
        inputs: Mapping[str, Tensor],
        seeds: Sequence[int],
        settings: FusionSettings,
        present: Mapping[str, Tensor] | None = None,
    ) -> None:
        self.settings, self.inputs = settings, inputs
        self.classes = len(problem.classes)
        some = next(iter(inputs.values()))
        here = torch.ones(len(some), dtype=torch.bool, device=some.device)
        self.present = torch.stack([here if present is None else present[name] for name in inputs], -1)  # (N, M)
        self.generators = [torch.Generator(some.device).manual_seed(seed) for seed in seeds]
        networks = []
        for seed in seeds:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(seed)
                networks.append(AttentionFusion(problem, hidden=settings.hidden, dropout=0.0, input_norm="none"))
        states = [dict(network.named_parameters()) for network in networks]
        self.weights = {
            name: torch.stack([state[name].detach() for state in states]).to(some.device).requires_grad_()
            for name in states[0]
            if not name.startswith("rate.")
        }
        self.optimizer = torch.optim.Adam(
            self.weights.values(), lr=settings.lr, weight_decay=settings.weight_decay, fused=True
        )
        self.first = {name: f"encoders.{name}.0" for name in inputs}
        for part in self.first.values():  # their gradients are most of all numbers, and get their memory once
            self.weights[f"{part}.weight"].grad = torch.empty_like(self.weights[f"{part}.weight"])
        self.patterns = pattern_probabilities(len(inputs), settings.modality_dropout, settings.scheme)

    def __len__(self) -> int:
        """Number R of networks."""
        return len(self.generators)

    def scores(self, rows: Tensor, kept: Tensor | None = None) -> Tensor:
        """Scores (R, B, C) of the rows (R, B) without dropout; ``kept`` (M,) says which streams the networks see."""
        with torch.no_grad():
            before = {name: self._first(name, self._gathered(name, rows)) for name in self.inputs}
            present = self.present[rows]
            return self._scores(before, present if kept is None else present & kept)

    def step(self, rows: Tensor, target: Tensor, weight: Tensor | None = None) -> None:
        """One step of every network on its rows (R, B).

        Args:
            rows: places in ``inputs``.
            target: class numbers (R, B), or probabilities (R, B, C).
            weight: of each row in the mean of their cross-entropies, (R, B); by default 1.
        """
        seen = {name: self._dropped(self._gathered(name, rows)) for name in self.inputs}
        before = {}
        with torch.no_grad():
            for name, x in seen.items():
                before[name] = self._first(name, x)
        for z in before.values():
            z.requires_grad_()
        scores = self._scores(before, self._kept(rows)).flatten(0, 1)
        if weight is None:
            loss = F.cross_entropy(scores, target.flatten(0, 1), reduction="sum") / rows.shape[1]
        else:
            each = F.cross_entropy(scores, target.flatten(0, 1), reduction="none")
            loss = (each * weight.flatten()).sum() / rows.shape[1]
        others = [weight for name, weight in self.weights.items() if not name.startswith(tuple(self.first.values()))]
        gradients = torch.autograd.grad(loss, [*before.values(), *others])
        for parameter, gradient in zip(others, gradients[len(before) :], strict=True):
            parameter.grad = gradient.contiguous()  # the fused optimizer reads it in the order of its memory
        for (name, part), gradient in zip(self.first.items(), gradients, strict=False):
            held = self.weights[f"{part}.weight"].grad
            assert held is not None, "it got its memory in the beginning"
            torch.bmm(gradient.mT, seen[name], out=held)
            self.weights[f"{part}.bias"].grad = gradient.sum(1)
        self.optimizer.step()

    def _gathered(self, name: str, rows: Tensor) -> Tensor:
        """Embeddings (R, B, D) of the rows (R, B)."""
        found = self.inputs[name].index_select(0, rows.flatten())
        return found.view(*rows.shape, found.shape[-1])

    def _dropped(self, x: Tensor) -> Tensor:
        """Embeddings (R, B, D) after dropout, each run by its own random bytes; ``x`` is changed."""
        kept = round(_LEVELS * (1 - self.settings.dropout))
        if kept == _LEVELS:
            return x
        for own, generator in zip(x, self.generators, strict=True):
            words = torch.empty(-(-own.numel() // 8), dtype=torch.int64, device=x.device)
            words.random_(-(2**63), None, generator=generator)
            own.mul_(words.view(torch.uint8)[: own.numel()].view(own.shape) < kept)
        return x.mul_(_LEVELS / kept)

    def _kept(self, rows: Tensor) -> Tensor:
        """Which streams (R, B, M) are there after modality dropout."""
        present = self.present[rows]
        if not self.settings.modality_dropout:
            return present
        patterns, chances = (of.to(rows.device) for of in self.patterns)
        drawn = [
            torch.multinomial(chances, rows.shape[1], replacement=True, generator=generator)
            for generator in self.generators
        ]
        kept = present & patterns[torch.stack(drawn)]
        return torch.where(kept.any(-1, keepdim=True), kept, present)

    def _first(self, name: str, x: Tensor) -> Tensor:
        """What the first layer of a stream gives for (R, B, D), before ReLU."""
        return self._linear(self.first[name], x)

    def _linear(self, name: str, x: Tensor) -> Tensor:
        return torch.baddbmm(self.weights[f"{name}.bias"][:, None], x, self.weights[f"{name}.weight"].mT)

    def _scores(self, before: Mapping[str, Tensor], present: Tensor) -> Tensor:
        """Scores (R, B, C); as `AttentionFusion`."""
        hidden = []
        for name, z in before.items():
            for place in (2, 4):
                z = self._linear(f"encoders.{name}.{place}", z.relu())
            hidden.append(z.relu())
        h = torch.stack(hidden, -2) * present[..., None]
        a = h.flatten(-2)
        for place in (0, 2, 4):
            a = self._linear(f"attention.{place}", a).relu()
        weights = self._linear("weigh", a)
        if self.settings.weights == "softmax":
            weights = weights.softmax(-1)
        elif self.settings.weights == "masked_softmax":
            weights = weights.masked_fill(~present, torch.finfo(weights.dtype).min).softmax(-1) * present
        return self._linear("classify", (weights[..., None] * h).sum(-2))


def principal_components(embeddings: Tensor, rows: Tensor, width: int, seed: int = 0) -> Tensor:
    """Embeddings (N, width): all of ``embeddings`` (N, D) on the largest principal components of the given rows.

    By a random sketch (Halko et al., arXiv:0909.4061) with two power iterations. Where D is no larger than ``width``,
    they come as they are. ``rows`` are those of training: dev rows must not choose the components.

    Example:
        >>> embeddings = torch.randn(50, 3) @ torch.randn(3, 40)  # of rank 3
        >>> reduced = principal_components(embeddings, torch.arange(40), 3)
        >>> bool(torch.isclose(reduced[0].dist(reduced[1]), embeddings[0].dist(embeddings[1]), rtol=1e-3))
        True
    """
    if embeddings.shape[1] <= width:
        return embeddings
    training = embeddings[rows]
    mean = training.mean(0)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        sketched = min(width + _MORE, *training.shape)
        _, _, directions = torch.svd_lowrank(training - mean, q=sketched, niter=2)
    return (embeddings - mean) @ directions[:, :width]


def _batches(stack: FusionStack, runs: Sequence[StackedRun]) -> Iterator[Tensor]:
    """Rows (R, B) of each step of an epoch, every run in the order that its generator draws."""
    most = max(len(run.train) for run in runs)
    orders = []
    for run, generator in zip(runs, stack.generators, strict=True):
        order = torch.randperm(len(run.train), generator=generator, device=run.train.device)
        orders.append(run.train[torch.cat([order, order[: most - len(order)]])])
    yield from torch.split(torch.stack(orders), stack.settings.batch_size, dim=1)


def _dev_scores(stack: FusionStack, dev: Tensor, label: Tensor) -> list[float]:
    """Weighted F1 of each run on its ``dev`` rows (R, B), which are filled up with -1."""
    tables = torch.zeros(len(stack), stack.classes**2, dtype=torch.long)
    for rows in torch.split(dev, 512, dim=1):
        valid = rows >= 0
        rows = rows.clamp(min=0)
        cell = label[rows] * stack.classes + stack.scores(rows).argmax(-1)
        tables.scatter_add_(1, cell.cpu(), valid.long().cpu())
    return _weighted_f1(tables.view(-1, stack.classes, stack.classes).double()).tolist()


def _weighted_f1(tables: Tensor) -> Tensor:
    """Weighted F1 (R,) of confusion tables (R, C, C), rows true; see `m2fnet.metrics.scores.score`."""
    true, predicted = tables.sum(2), tables.sum(1)
    f1 = 2 * tables.diagonal(dim1=1, dim2=2) / (true + predicted).clamp(min=1)
    return (f1 * true).sum(1) / true.sum(1)


def _check(runs: Sequence[StackedRun]) -> None:
    if not runs:
        raise ValueError("Expected at least one run, but got none.")
    sizes = {len(run.train) for run in runs}
    if max(sizes) - min(sizes) > 1:
        raise ValueError(f"Expected runs with as many training rows, give or take one, but got {sorted(sizes)}.")
    for number, run in enumerate(runs):
        shared = set(run.train.tolist()) & set(run.dev.tolist())
        if shared or not len(run.dev):
            what = f"{len(shared)} rows in both train and dev" if shared else "no dev row"
            raise ValueError(f"Expected dev rows outside of the training rows, but run {number} has {what}.")
