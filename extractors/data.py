"""A manifest in, batches of utterances out, for the network of an extractor."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, TypedDict, cast

import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from extractors.base import Extractor, PlacedUtterance, Sample
from extractors.extraction.embedding import Loading, Outcomes, cuts, place_utterances, read
from m2fnet.errors import LabelSetsError, RunError, UsageError
from m2fnet.manifest import Manifest
from m2fnet.problems import make_problem
from m2fnet.records import Split
from m2fnet.store import Missing
from m2fnet.training.orphans import end_worker_with_parent
from m2fnet.training.samplers import ClassBalancedBatchSampler, LengthGroupedBatchSampler, ShardedBatchSampler

REFERENCES = "references"
EMBED = "Embed without scoring by `m2fnet extract`."
VALIDATED = ("dev", REFERENCES)  # the order of `ExtractorData.val_dataloader`
TESTED = ("dev", "test", REFERENCES)  # the order of `ExtractorData.test_dataloader`


class ExtractorBatch(TypedDict):
    """B utterances, without those that cannot be read.

    Attributes:
        inputs: what the extractor's ``collate`` made of them; None if none can be read.
        label: (B,) class numbers.
        row: (B,) place of the utterance in `Utterances.placed`.
        missing: id and reason of those that cannot be read; taken out before the batch goes to the device.
        cut: id of those of which something was cut, and what, see `cuts`; taken out too.
    """

    inputs: Sample | None
    label: Tensor
    row: Tensor
    missing: dict[str, Missing]
    cut: dict[str, dict[str, int]]


@dataclass(frozen=True)
class Item:
    """One utterance: its place, id and class number, and its sample or why it has none."""

    row: int
    id: str
    label: int
    outcome: Sample | Missing


class Utterances(Dataset[Item]):
    """Labelled utterances, read by an extractor whenever they are asked for, or beforehand.

    Args:
        extractor: reads them.
        utterances: in their place; all are labelled.
        classes: the emotions in class order.
        samples: one per utterance if they have been read already.
    """

    def __init__(
        self,
        extractor: Extractor,
        utterances: Sequence[PlacedUtterance],
        classes: Sequence[str],
        samples: Sequence[Sample] | None = None,
    ) -> None:
        self.extractor, self.placed, self.classes, self.samples = extractor, utterances, classes, samples
        self.labels = torch.tensor([classes.index(str(placed.utterance.label)) for placed in utterances])
        lengths = [1] * len(utterances) if samples is None else [extractor.length(sample) for sample in samples]
        self.lengths = torch.tensor(lengths, dtype=torch.float)
        self._outcomes = Outcomes(extractor, utterances) if samples is None else samples

    def __len__(self) -> int:
        return len(self.placed)

    def __getitem__(self, row: int) -> Item:
        return Item(row, self.placed[row].utterance.id, int(self.labels[row]), self._outcomes[row])

    def some(self, count: int) -> "Utterances":
        """``count`` of them, always the same."""
        rows = torch.randperm(len(self), generator=torch.Generator().manual_seed(0))[:count].tolist()
        samples = None if self.samples is None else [self.samples[row] for row in rows]
        return Utterances(self.extractor, [self.placed[row] for row in rows], self.classes, samples)

    def collate(self, items: Sequence[Item]) -> ExtractorBatch:
        """One batch of several utterances."""
        readable = [(item, item.outcome) for item in items if not isinstance(item.outcome, Missing)]
        return {
            "inputs": self.extractor.collate([sample for _, sample in readable]) if readable else None,
            "label": torch.tensor([item.label for item, _ in readable], dtype=torch.long),
            "row": torch.tensor([item.row for item, _ in readable], dtype=torch.long),
            "missing": {item.id: item.outcome for item in items if isinstance(item.outcome, Missing)},
            "cut": {item.id: cut for item, sample in readable if (cut := cuts(sample))},
        }


class ExtractorData(pl.LightningDataModule):
    """A manifest in, batches of labelled utterances out, read by the extractor that the task trains.

    An utterance that cannot be read is skipped, and listed in ``missing`` by its id with the reason. What an extractor
    cuts from an utterance is listed in ``cut``.

    Args:
        manifest: folder that `m2fnet prepare` or `m2fnet import` wrote.
        batch_size: utterances per batch.
        per_class: K utterances of each class in a training batch, drawn evenly over the classes, so that triplets are
            found; by default every utterance comes once per epoch, in a batch with others of similar length.
        in_memory: read every utterance once and keep what ``preprocess`` makes of it, instead of reading it in every
            epoch; only then are lengths known beforehand.
        workers: processes that read media; by default one per core, for text none.
        references: training utterances, always the same, from which 1-NN and linear probe learn to score the
            embeddings of dev; with 0 only the head scores them. Testing takes the whole training split.
        seed: shuffles the training utterances; by default the run's ``seed_everything``.
    """

    made_of: ClassVar[type[Utterances]] = Utterances

    def __init__(
        self,
        manifest: str,
        batch_size: int = 32,
        per_class: int | None = None,
        in_memory: bool = False,
        workers: int | None = None,
        references: int = 2000,
        seed: int | None = None,
    ) -> None:
        super().__init__()
        for name, value, least in (("batch_size", batch_size, 1), ("references", references, 0)):
            if value < least:
                raise UsageError(f"data.{name} is {value}, expected at least {least}.")
        self.manifest = Manifest.load(Path(manifest))
        self.problem = make_problem(self.manifest.label_set, {})
        self.batch_size = batch_size
        self.per_class = per_class
        self.in_memory = in_memory
        self.loading = Loading(batch_size, workers)
        self.references = references
        self.seed = seed
        self.missing: dict[str, Missing] = {}
        self.cut: dict[str, dict[str, int]] = {}
        self._utterances: dict[Split, Utterances] = {}

    def labelled(self, split: Split) -> list[PlacedUtterance]:
        """The labelled utterances of ``split`` in their place.

        Raises:
            UsageError: if none is labelled, or utterances have sets of emotions.
        """
        if self.manifest.label_set.kind != "single":
            raise LabelSetsError(self.manifest.corpus, "scoring an extractor", EMBED)
        wanted = [placed for placed in place_utterances(self.manifest, split) if placed.utterance.label is not None]
        if not wanted:
            raise UsageError(f"The manifest of {self.manifest.corpus!r} has no labelled utterance in {split!r}.")
        return wanted

    def utterances(self, split: Split) -> Utterances:
        """The labelled utterances of ``split`` for the network to learn from; in memory, those that can be read.

        Raises:
            UsageError: if none is labelled, or utterances have sets of emotions.
            RunError: if none can be read.
        """
        if split not in self._utterances:
            wanted, classes = self.labelled(split), self.manifest.label_set.classes
            self._utterances[split] = (
                self._read(wanted) if self.in_memory else self.made_of(self._extractor(), wanted, classes)
            )
        return self._utterances[split]

    def placed(self, split: Split) -> Sequence[PlacedUtterance]:
        """The utterances that the numbers in ``row`` count: those that were read, if they are in memory."""
        return self._utterances[split].placed if split in self._utterances else self.labelled(split)

    @property
    def shuffled_by(self) -> int:
        """The seed of the order of training utterances."""
        return self.seed if self.seed is not None else torch.initial_seed() % 2**31

    def train_dataloader(self) -> DataLoader[Item]:
        """Shuffled batches of the training split."""
        train, seed = self.utterances("train"), self.shuffled_by
        if self.per_class is None:
            blur = max(1.0, 0.25 * float(train.lengths.std(correction=0)))
            return self._loader(train, LengthGroupedBatchSampler(train.lengths, self.batch_size, seed, blur))
        try:
            return self._loader(train, ClassBalancedBatchSampler(train.labels, self.batch_size, self.per_class, seed))
        except ValueError as error:
            raise UsageError(f"data.per_class: {error}") from error

    def val_dataloader(self) -> list[DataLoader[Item]]:
        """The dev split, and the training utterances that its embeddings are compared with."""
        return [self._in_order(self.utterances("dev")), *self._references(self.references)]

    def test_dataloader(self) -> list[DataLoader[Item]]:
        """The dev split, the test split, and the whole training split to compare with."""
        judged = [self._in_order(self.utterances("dev")), self._in_order(self.utterances("test"))]
        return [*judged, *self._references(len(self.utterances("train")) if self.references else 0)]

    def on_before_batch_transfer(self, batch: ExtractorBatch, dataloader_idx: int) -> ExtractorBatch:
        """Note what cannot be read and what was cut; only tensors travel to the device."""
        self.missing |= batch["missing"]
        self.cut |= batch["cut"]
        return {**batch, "missing": {}, "cut": {}}

    def _read(self, wanted: Sequence[PlacedUtterance]) -> Utterances:
        """The utterances that can be read, with their samples in memory."""
        extractor = self._extractor()
        outcomes = read(extractor, wanted, self.loading)
        pairs = [(p, outcome) for p, outcome in zip(wanted, outcomes, strict=True) if not isinstance(outcome, Missing)]
        missing = {p.utterance.id: o for p, o in zip(wanted, outcomes, strict=True) if isinstance(o, Missing)}
        if not pairs:
            name, why = next(iter(missing.items()))
            raise RunError(
                f"None of the {len(wanted)} utterances of the {wanted[0].utterance.split} split can be read as "
                f"{extractor.modality}. The first: {name}: {why.stage}: {why.reason}. Check the manifest."
            )
        self.missing |= missing
        classes = self.manifest.label_set.classes
        return self.made_of(extractor, [placed for placed, _ in pairs], classes, [sample for _, sample in pairs])

    def _references(self, count: int) -> list[DataLoader[Item]]:
        return [self._in_order(self.utterances("train").some(count))] if count else []

    def _in_order(self, utterances: Utterances) -> DataLoader[Item]:
        """Batches of similar length in a fixed order."""
        return self._loader(utterances, LengthGroupedBatchSampler(utterances.lengths, self.batch_size, seed=None))

    def _loader(self, utterances: Utterances, batches: ShardedBatchSampler) -> DataLoader[Item]:
        workers = 0 if self.in_memory else self.loading.workers_for(utterances.extractor)
        return DataLoader(
            utterances,
            batch_sampler=batches,
            collate_fn=utterances.collate,
            num_workers=workers,
            worker_init_fn=end_worker_with_parent,
            persistent_workers=workers > 0,
            # a separate one: otherwise each pass would draw from the network's random numbers, a resumed run's not
            generator=torch.Generator(),
        )

    def _extractor(self) -> Extractor:
        assert self.trainer is not None, "the trainer attaches itself before it asks for data"
        return cast(Extractor, self.trainer.lightning_module.net)
