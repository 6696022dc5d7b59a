"""The dialogue network at MELD and IEMOCAP size: Trainer, DialogueTask and DialogueData against a plain training loop.

Both sides train the same network (M2FNet as in ``conf/dialog``) on random features as wide as the usual ones. The
baseline is what one writes without this project: a Dataset that looks every utterance up in dicts of arrays,
``pad_sequence``, batches shuffled without regard to length, a bare loop.

How much of an epoch is outside the network's forward, backward and optimiser step is measured inside the Trainer's
epoch, by hooks around the three. (To compare the epoch with that of a bare loop is less exact: two epochs on a busy
machine differ by more than the effect.) On a GPU each hook waits until the device is done, so work that would
overlap with it counts as outside: the share is an upper bound.

CPU figures are of one thread and in process time, which other programs change little. Both sides run alternately,
and the fastest of each counts. Peak memory is that of a separate process, which loads the data and trains on the
smallest and then on the largest batch of an epoch.
"""

import logging
import multiprocessing
import random
import resource
import sys
import tempfile
import time
import warnings
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytorch_lightning as pl
import torch
import yaml
from _table import Row, finish, parser
from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.loggers import CSVLogger
from pytorch_lightning.utilities import move_data_to_device
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import DataLoader, Dataset

sys.path.insert(0, str(Path(__file__).parents[1]))  # else `dialog` would be this script

from _conf import CONF, m2fnet_settings

from dialog.batch import DialogueBatch
from dialog.data import DialogueData
from dialog.models.m2fnet import M2FNet
from dialog.task import DialogueTask
from m2fnet.manifest import Manifest
from m2fnet.problems import UNLABELLED, Problem, make_problem
from m2fnet.records import LabelSet, Split, Utterance
from m2fnet.store import Store, StoreWriter
from m2fnet.training.samplers import LengthGroupedBatchSampler

WIDTHS = {"text": 1024, "audio": 300, "visual": 600}

# How many dialogues of MELD have 0, 1, 2, ... utterances, counted by Dialogue_ID in its public CSVs.
MELD_TRAIN = (0, 70, 60, 54, 48, 67, 61, 74, 67, 50, 57, 55, 54, 36, 41, 43, 51, 30, 28, 27, 20, 20, 13, 7, 5)
MELD_DEV = (0, 6, 4, 7, 4, 9, 8, 4, 7, 5, 8, 13, 8, 6, 5, 3, 2, 4, 0, 4, 3, 1, 2, 1)


@dataclass(frozen=True)
class Corpus:
    """The dialogue lengths of a corpus, and the settings of its configuration."""

    problem: Problem
    train: tuple[int, ...]
    dev: tuple[int, ...]
    batch_size: int
    net: dict[str, Any]
    optimizer: dict[str, Any]

    @property
    def name(self) -> str:
        """Name of the corpus or protocol."""
        return self.problem.label_set.name

    def network(self, device: str) -> M2FNet:
        """A new network on ``device``."""
        return M2FNet(self.problem, **self.net).to(device)


@dataclass(frozen=True)
class Span:
    """Seconds of a part of an epoch, and how many of them are the network's own."""

    seconds: float
    own: float


def main() -> None:
    args = parser((__doc__ or "").partition("\n")[0]).parse_args()
    torch.set_num_threads(1)
    keep_lightning_quiet()
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as name:
        for corpus in (meld(), iemocap()):
            folder = Path(name) / corpus.name
            write_corpus(corpus, folder)
            rows.append(Row(f"{corpus.name}: padding", "%", *paddings(corpus), larger_is_better=False))
            for device in ("cpu", "cuda") if torch.cuda.is_available() else ("cpu",):
                rows += measure(corpus, folder, device, quick=args.quick)
    finish(rows, args)


def meld() -> Corpus:
    """MELD's training and dev split, with the real lengths."""
    train, dev = ([n for n, count in enumerate(counts) for _ in range(count)] for counts in (MELD_TRAIN, MELD_DEV))
    return configured("meld", 7, train, dev)


def iemocap() -> Corpus:
    """IEMOCAP's 100 training and 20 dev dialogues, with lengths drawn to fit what is known of all 151.

    That is 10,039 utterances, 24 to 167 a dialogue; in between, the lengths follow a gamma distribution.
    """
    shortest, longest, dialogues, utterances, shape = 24, 167, 151, 10_039, 3.0
    draw = random.Random(0)
    scale = (utterances / dialogues - shortest) / shape
    lengths = [min(longest, round(shortest + draw.gammavariate(shape, scale))) for _ in range(dialogues - 2)]
    while gap := utterances - shortest - longest - sum(lengths):
        place = draw.randrange(len(lengths))
        lengths[place] = min(longest, max(shortest, lengths[place] + (1 if gap > 0 else -1)))
    lengths += [shortest, longest]
    draw.shuffle(lengths)
    return configured("iemocap6", 6, lengths[:100], lengths[100:120])


def configured(name: str, classes: int, train: list[int], dev: list[int]) -> Corpus:
    """The corpus with the network, optimiser and batch size of its configuration."""
    net, optimizer = m2fnet_settings(name)
    data = yaml.safe_load((CONF / "data" / f"{name}.yaml").read_text(encoding="utf-8"))
    problem = make_problem(LabelSet(name, tuple(f"emotion {n}" for n in range(classes))), WIDTHS)
    return Corpus(problem, tuple(train), tuple(dev), data["batch_size"], net, optimizer)


def write_corpus(corpus: Corpus, folder: Path) -> None:
    """A manifest of random labels and stores of random features in ``folder``."""
    draw = random.Random(0)
    classes = corpus.problem.label_set.classes
    splits: tuple[tuple[Split, tuple[int, ...]], ...] = (("train", corpus.train), ("dev", corpus.dev))
    utterances = [
        Utterance(f"{split}-{d}-{u}", corpus.name, split, f"{split}-{d}", u, label=draw.choice(classes))
        for split, lengths in splits
        for d, length in enumerate(lengths)
        for u in range(length)
    ]
    manifest = Manifest(corpus.name, corpus.problem.label_set, tuple(utterances)).save(folder / "manifest")
    generator = torch.Generator().manual_seed(0)
    for modality, width in WIDTHS.items():
        store = StoreWriter(folder / modality, manifest, modality=modality, width=width, extractor={"class": "bench"})
        with store as writer:
            for utterance, vector in zip(
                utterances, torch.randn(len(utterances), width, generator=generator), strict=True
            ):
                writer.add(utterance.id, vector)


def our_data(corpus: Corpus, folder: Path) -> DialogueData:
    stores = {name: str(folder / name) for name in WIDTHS}
    return DialogueData(str(folder / "manifest"), stores, batch_size=corpus.batch_size, seed=0)


class PlainDialogues(Dataset[dict[str, Tensor]]):
    """Dialogues from dicts of arrays by utterance id, each utterance looked up whenever it is used."""

    def __init__(self, folder: Path) -> None:
        manifest = Manifest.load(folder / "manifest")
        self.dialogues = manifest.dialogues("train")
        self.numbers = {name: n for n, name in enumerate(manifest.label_set.classes)}
        self.tables = {name: self._table(Store(folder / name)) for name in WIDTHS}

    def _table(self, store: Store) -> dict[str, np.ndarray]:
        return {u.id: store[u.id].numpy().copy() for dialogue in self.dialogues for u in dialogue.utterances}

    def __len__(self) -> int:
        return len(self.dialogues)

    def __getitem__(self, number: int) -> dict[str, Tensor]:
        utterances = self.dialogues[number].utterances
        item = {
            name: torch.from_numpy(np.stack([table[u.id] for u in utterances])) for name, table in self.tables.items()
        }
        item["label"] = torch.tensor([self.numbers[cast(str, u.label)] for u in utterances])
        return item


def plain_loader(corpus: Corpus, folder: Path) -> DataLoader[Any]:
    dialogues = PlainDialogues(folder)
    return DataLoader(dialogues, corpus.batch_size, shuffle=True, generator=torch.Generator(), collate_fn=padded)


def padded(items: list[dict[str, Tensor]]) -> DialogueBatch:
    """Dialogues of any lengths as one batch."""
    inputs = {name: pad_sequence([item[name] for item in items], batch_first=True) for name in WIDTHS}
    label = pad_sequence([item["label"] for item in items], batch_first=True, padding_value=UNLABELLED)
    valid = label != UNLABELLED
    return {
        "inputs": inputs,
        "present": dict.fromkeys(WIDTHS, valid),
        "valid": valid,
        "speaker": torch.where(valid, 0, -1),
        "gap_s": torch.full(valid.shape, float("nan")),
        "label": label,
        "row": torch.where(valid, 0, -1),
        "labelled": int(valid.sum()),
    }


def first_batches(loader: DataLoader[Any], count: int) -> Iterable[DialogueBatch]:
    """The first batches of the plain loader, the same ones at every call."""
    assert loader.generator is not None
    loader.generator.manual_seed(0)
    return islice(loader, count)


def paddings(corpus: Corpus, epochs: int = 5) -> tuple[float, float]:
    """Share of padding in our batches and in the plain loader's, in percent."""
    lengths = torch.tensor(corpus.train)
    sampler, generator = LengthGroupedBatchSampler(lengths, corpus.batch_size, seed=0), torch.Generator().manual_seed(0)
    ours = plain = 0
    for epoch in range(epochs):
        sampler.set_epoch(epoch)
        ours += slots([lengths[batch] for batch in sampler])
        plain += slots(torch.split(lengths[torch.randperm(len(lengths), generator=generator)], corpus.batch_size))
    return 100 - 100 * epochs * sum(corpus.train) / ours, 100 - 100 * epochs * sum(corpus.train) / plain


def slots(batches: Iterable[Tensor]) -> int:
    """Utterances and padding in batches of these lengths."""
    return sum(len(lengths) * int(lengths.max()) for lengths in batches)


def measure(corpus: Corpus, folder: Path, device: str, *, quick: bool) -> list[Row]:
    """All rows of one corpus on one device; with ``quick`` from a part of the training batches."""
    data, loader = our_data(corpus, folder), plain_loader(corpus, folder)
    steps = max(2, len(loader) // 8) if quick else len(loader)
    clocks, plain_seconds = [], []
    for _ in range(2 if quick else 3):
        clocks.append(trainer_epoch(corpus, folder / "run", data, steps, device))
        plain_seconds.append(plain_epoch(corpus, loader, steps, device))
    training = min((clock.training for clock in clocks), key=lambda span: span.seconds)
    after = min((clock.after for clock in clocks), key=lambda span: span.seconds)
    count = sum(corpus.train)
    epochs = count / utterances_in(islice(data.train_dataloader(), steps))  # times what was measured
    epoch, own = training.seconds * epochs, training.own * epochs
    plain = min(plain_seconds) * count / utterances_in(first_batches(loader, steps))
    whole = epoch + after.seconds
    memory = peak_memory(corpus, folder, device, plain=False)
    plain_memory = peak_memory(corpus, folder, device, plain=True)
    at = f"{corpus.name}, {device}"
    return [
        Row(f"{at}: training", "utterances/s", count / epoch, count / plain),
        Row(f"{at}: epoch, training batches", "s", epoch, plain, larger_is_better=False),
        Row(f"{at}: epoch, with dev scores and checkpoint", "s", whole),
        Row(f"{at}: outside the network, training batches", "%", 100 - 100 * own / epoch),
        Row(f"{at}: outside the network, with dev and checkpoint", "%", 100 - 100 * (own + after.own) / whole),
        Row(f"{at}: peak memory", "MiB", memory, plain_memory, larger_is_better=False),
    ]


class Clock(pl.Callback):
    """The spans of one epoch: ``training``, its batches, and ``after``, the dev scores and the checkpoint."""

    training: Span
    after: Span

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start the clock, and watch network and optimiser."""
        self.device = pl_module.device.type
        net = cast(nn.Module, pl_module.net)
        net.register_forward_pre_hook(self._enter)
        net.register_forward_hook(self._leave)
        trainer.optimizers[0].register_step_post_hook(self._leave)
        self.own = 0.0
        self.start = now(self.device)

    def on_before_backward(self, trainer: pl.Trainer, pl_module: pl.LightningModule, loss: Tensor) -> None:
        """The backward pass starts."""
        self._enter()

    def on_after_backward(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """The backward pass is done."""
        self._leave()

    def on_before_optimizer_step(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, optimizer: torch.optim.Optimizer
    ) -> None:
        """The step starts; the optimiser's own hook ends it."""
        self._enter()

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """The training batches are done."""
        self.training = self._span()

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """All is done, the checkpoint too."""
        self.after = self._span()

    def _enter(self, *_: object) -> None:
        self.entered = now(self.device)

    def _leave(self, *_: object) -> None:
        self.own += now(self.device) - self.entered

    def _span(self) -> Span:
        end = now(self.device)
        span = Span(end - self.start, self.own)
        self.start, self.own = end, 0.0
        return span


def trainer_epoch(corpus: Corpus, folder: Path, data: DialogueData, steps: int, device: str) -> Clock:
    """One epoch of ``steps`` training batches as ``m2fnet dialog fit`` runs it."""
    clock = Clock()
    task = DialogueTask(partial(M2FNet, **corpus.net), partial(torch.optim.AdamW, **corpus.optimizer))
    trainer = pl.Trainer(
        accelerator=device,
        devices=1,
        max_epochs=1,
        limit_train_batches=steps,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        logger=CSVLogger(folder),
        callbacks=[clock, ModelCheckpoint(folder, monitor="dev/weighted_f1", mode="max", save_last=True)],
    )
    trainer.fit(task, datamodule=data)
    return clock


def plain_epoch(corpus: Corpus, loader: DataLoader[Any], steps: int, device: str) -> float:
    """Seconds of ``steps`` training batches in a bare loop over the plain loader."""
    net = corpus.network(device)
    start = now(device)
    train(corpus, net, first_batches(loader, steps), device)
    return now(device) - start


def train(corpus: Corpus, net: nn.Module, batches: Iterable[DialogueBatch], device: str) -> None:
    optimizer = torch.optim.AdamW(net.parameters(), **corpus.optimizer)
    for batch in batches:
        moved = move_data_to_device(batch, torch.device(device))
        logits = net(moved).scores
        loss = F.cross_entropy(logits.flatten(0, 1), moved["label"].flatten(), ignore_index=UNLABELLED)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()


def peak_memory(corpus: Corpus, folder: Path, device: str, *, plain: bool) -> float:
    """MiB that a separate process had at most in use, of the GPU or of the machine."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("forkserver")) as process:
        return process.submit(_peak_memory, corpus, folder, device, plain).result()


def _peak_memory(corpus: Corpus, folder: Path, device: str, plain: bool) -> float:
    torch.set_num_threads(1)
    loader = plain_loader(corpus, folder) if plain else our_data(corpus, folder).train_dataloader()
    smallest, largest = (pick(loader, key=lambda batch: batch["valid"].numel()) for pick in (min, max))
    train(corpus, corpus.network(device), [smallest, largest], device)  # the first step makes the optimiser's state
    if device == "cuda":
        return torch.cuda.max_memory_allocated() / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def utterances_in(batches: Iterable[DialogueBatch]) -> int:
    return sum(batch["labelled"] for batch in batches)


def now(device: str) -> float:
    """Process time on a CPU; for a GPU the clock on the wall, once it has done all it was asked for."""
    if device == "cpu":
        return time.process_time()
    torch.cuda.synchronize()
    return time.perf_counter()


def keep_lightning_quiet() -> None:
    warnings.filterwarnings("ignore", module="pytorch_lightning")
    for name in ("pytorch_lightning", "lightning_fabric"):
        logging.getLogger(name).setLevel(logging.ERROR)


if __name__ == "__main__":
    main()
