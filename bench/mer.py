"""MER2024 size: folds and seeds of attention fusion trained as one stack, against a loop over single networks.

5,030 utterances with 1,024 (sound), 5,120 (text) and 768 (picture) random numbers, six emotions, five folds, three
seeds, hidden width 128, dropout 0.3. The loop is what such benchmarks do: one network at a time, samples collated one
by one into batches of 32, dev scored after every epoch. Figures are CPU seconds per network and epoch (one thread,
``time.process_time``), scoring of dev included. Several stacks: the same network with the same batches; larger batches;
and the streams on their 256 largest principal components, found on the training rows of each fold, with both sizes of
batches. ``--quick``: 400 utterances, narrower streams.
"""

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from _table import Row, finish, parser
from sklearn.metrics import f1_score
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, SubsetRandomSampler

sys.path.insert(0, str(Path(__file__).parents[1]))  # else `dialog` would be a script here

from dialog.stacked.fusion import FusionSettings, StackedRun, principal_components, train_stacked
from m2fnet.problems import make_problem
from m2fnet.records import LabelSet

EMOTIONS = ("neutral", "angry", "happy", "sad", "worried", "surprise")
HIDDEN, DROPOUT = 128, 0.3
Sample = dict[str, np.ndarray | int]


@dataclass(frozen=True)
class Size:
    """How much is measured."""

    utterances: int
    widths: dict[str, int]
    components: int
    seeds: int
    epochs: int
    plain_epochs: int


FULL = Size(5030, {"audio": 1024, "text": 5120, "visual": 768}, 256, 3, 3, 3)
QUICK = Size(400, {"audio": 64, "text": 128, "visual": 48}, 16, 2, 2, 2)


def main() -> None:
    args = parser((__doc__ or "").partition("\n")[0]).parse_args()
    size = QUICK if args.quick else FULL
    torch.set_num_threads(1)
    draw = torch.Generator().manual_seed(0)
    inputs = {name: torch.randn(size.utterances, width, generator=draw) for name, width in size.widths.items()}
    label = torch.randint(len(EMOTIONS), (size.utterances,), generator=draw)
    folds = folds_of(size.utterances, draw)
    plain = loop(size, inputs, label, folds[0])
    stacks = [stacked(size, inputs, label, folds, batch) for batch in (32, 256)]
    started = time.process_time()
    reduced = [
        {name: principal_components(values, train, size.components) for name, values in inputs.items()}
        for train, _ in folds
    ]
    preparing = (time.process_time() - started) / len(folds)
    small = [by_fold(size, reduced, label, folds, batch) for batch in (32, 256)]
    names = [
        *(f"all dimensions, batches of {batch}" for batch in (32, 256)),
        *(f"{size.components} components a stream, batches of {batch}" for batch in (32, 256)),
    ]
    rows = [
        Row(name, "CPU s", seconds, plain, larger_is_better=False)
        for name, seconds in zip(names, [*stacks, *small], strict=True)
    ]
    finish([*rows, Row("components of a fold, once for all its runs", "CPU s", preparing)], args)


def folds_of(utterances: int, draw: torch.Generator) -> list[tuple[Tensor, Tensor]]:
    """Training and dev rows of five folds of random rows."""
    order = torch.randperm(utterances, generator=draw)
    place = torch.arange(utterances) % 5
    return [(order[place != fold], order[place == fold]) for fold in range(5)]


def stacked(
    size: Size, inputs: dict[str, Tensor], label: Tensor, folds: Sequence[tuple[Tensor, Tensor]], batch: int
) -> float:
    """CPU seconds per network and epoch of all ``folds`` and seeds in one stack."""
    problem = make_problem(LabelSet("bench", EMOTIONS), {name: values.shape[1] for name, values in inputs.items()})
    runs = [StackedRun(train, dev, seed) for train, dev in folds for seed in range(size.seeds)]
    seconds = []
    for epochs in (1, 1 + size.epochs):  # the difference leaves out what is done once
        settings = FusionSettings(hidden=HIDDEN, dropout=DROPOUT, batch_size=batch, epochs=epochs)
        started = time.process_time()
        train_stacked(problem, inputs, label, runs, settings)
        seconds.append(time.process_time() - started)
    return (seconds[1] - seconds[0]) / size.epochs / len(runs)


def by_fold(
    size: Size,
    inputs: Sequence[dict[str, Tensor]],
    label: Tensor,
    folds: Sequence[tuple[Tensor, Tensor]],
    batch: int,
) -> float:
    """The same with a stack of the seeds of each fold, whose inputs differ."""
    each = [stacked(size, own, label, [fold], batch) for own, fold in zip(inputs, folds, strict=True)]
    return sum(each) / len(each)


class Samples(Dataset[Sample]):
    """One utterance at a time, as arrays."""

    def __init__(self, inputs: dict[str, Tensor], label: Tensor) -> None:
        self.inputs = {name: values.numpy() for name, values in inputs.items()}
        self.label = label.tolist()

    def __len__(self) -> int:
        return len(self.label)

    def __getitem__(self, row: int) -> Sample:
        return {**{name: values[row] for name, values in self.inputs.items()}, "label": self.label[row]}


def collated(samples: Sequence[Sample]) -> dict[str, Tensor]:
    names = [name for name in samples[0] if name != "label"]
    found = {name: torch.from_numpy(np.array([sample[name] for sample in samples])) for name in names}
    return {**found, "label": torch.tensor([sample["label"] for sample in samples])}


class Plain(nn.Module):
    """The network as such benchmarks write it."""

    def __init__(self, widths: dict[str, int]) -> None:
        super().__init__()

        def mlp(width: int, dropout: float) -> nn.Sequential:
            layers: list[nn.Module] = [nn.Dropout(dropout)]
            for inner in (width, HIDDEN, HIDDEN):
                layers += [nn.Linear(inner, HIDDEN), nn.ReLU()]
            return nn.Sequential(*layers)

        self.encoders = nn.ModuleDict({name: mlp(width, DROPOUT) for name, width in widths.items()})
        self.attention = mlp(len(widths) * HIDDEN, 0.0)
        self.weigh = nn.Linear(HIDDEN, len(widths))
        self.classify = nn.Linear(HIDDEN, len(EMOTIONS))

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        hidden = [encoder(batch[name]) for name, encoder in self.encoders.items()]
        weights = self.weigh(self.attention(torch.cat(hidden, 1)))[..., None]
        scores: Tensor = self.classify((torch.stack(hidden, 1) * weights).sum(1))
        return scores


def loop(size: Size, inputs: dict[str, Tensor], label: Tensor, fold: tuple[Tensor, Tensor]) -> float:
    """CPU seconds per epoch of one network after another; the fastest epoch but the first."""
    samples, (train, dev) = Samples(inputs, label), fold
    torch.manual_seed(0)
    net = Plain(size.widths)
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3, weight_decay=1e-5)
    loaders = [
        DataLoader(samples, 32, sampler=SubsetRandomSampler(rows.tolist()), collate_fn=collated)
        for rows in (train, dev)
    ]
    seconds = []
    for _ in range(1 + size.plain_epochs):
        started = time.process_time()
        for is_training, batches in zip((True, False), loaders, strict=True):
            net.train(is_training)
            answers, true = [], []
            for batch in batches:
                with torch.set_grad_enabled(is_training):
                    scores = net(batch)
                    loss = nn.functional.cross_entropy(scores, batch["label"])
                if is_training:
                    optimizer.zero_grad()
                    loss.backward()
                    optimizer.step()
                answers.append(scores.detach().numpy())
                true.append(batch["label"].numpy())
            f1_score(np.concatenate(true), np.concatenate(answers).argmax(1), average="weighted")
        seconds.append(time.process_time() - started)
    return min(seconds[1:])


if __name__ == "__main__":
    main()
