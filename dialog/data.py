"""The embeddings of whole dialogues, batched with masks."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TypeVar

import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from dialog.batch import UNKNOWN_SPEAKER, DialogueBatch, gaps_s, speaker_numbers
from m2fnet.corpora.folds import Fold, with_fold
from m2fnet.errors import StoreError, UsageError
from m2fnet.manifest import Manifest
from m2fnet.manifest.table import UtterancesOf, lengths_of
from m2fnet.problems import UNLABELLED, Problem, Stream, make_problem
from m2fnet.records import MODALITIES, Annotation, Dialogue, Split, Utterance
from m2fnet.store import Store
from m2fnet.store.sequences import Sequences
from m2fnet.store.vectors import Vectors
from m2fnet.training.samplers import LengthGroupedBatchSampler

T = TypeVar("T")
_BLOCK = 1024  # dialogues of which the labels are read together
_MOST_SCALED = 200_000  # vectors that the scale of a stream is taken from


class Dialogues(Dataset[DialogueBatch]):
    """Dialogues with their embeddings; a list of dialogue numbers gives one padded batch.

    Vectors are in memory, one table (N, D) per stream, so a batch is one gather per stream. More than a gigabyte of
    them stays mapped from disk, as sequences do where the store allows it: a batch then reads only its own.

    Args:
        dialogues: utterances in speaking order.
        stores: stream -> its store; each has to account for every utterance.
        problem: gives the target of each utterance, and names the ratings.
        annotations: utterance id -> its ratings on scales, if the problem has ratings.

    Attributes:
        utterances: of all dialogues, one dialogue after another; N in all.
        lengths: utterances of each dialogue.
        sizes: of each dialogue, used to batch similar ones: its number of frames if a stream has sequences, scaled to
            utterances; else its number of utterances.
        present: stream -> (N,) as bool.
        speakers: (N,), numbers within the dialogue, see `DialogueBatch`.
        gaps_s: (N,), silence before each utterance, see `DialogueBatch`.
        ratings: (N, R), NaN where a rating is unknown.
    """

    def __init__(
        self,
        dialogues: Sequence[Dialogue],
        stores: Mapping[str, Store],
        problem: Problem,
        annotations: Mapping[str, Annotation] = MappingProxyType({}),
    ) -> None:
        self.utterances: Sequence[Utterance] = UtterancesOf(dialogues)
        self.lengths = torch.tensor(lengths_of(dialogues), dtype=torch.long)
        self.starts = self.lengths.cumsum(0) - self.lengths
        blocks = (dialogues[first : first + _BLOCK] for first in range(0, len(dialogues), _BLOCK))
        known = [_known_of(block, problem, annotations) for block in blocks]
        self.labels, self.speakers, self.gaps_s, self.ratings = map(torch.cat, zip(*known, strict=True))
        self.present: dict[str, Tensor] = {}
        self._vectors: dict[str, Tensor | Vectors] = {}
        self._sequences: dict[str, Sequences] = {}
        for name, store in stores.items():
            ids = (utterance.id for utterance in self.utterances)
            if store.meta.resolution == "frame":
                self._sequences[name] = store.sequences(ids)
                self.present[name] = self._sequences[name].present
            else:
                self._vectors[name], self.present[name] = store.vectors(ids)
        self.sizes = self.lengths
        if self._sequences:
            frames = torch.stack([sequences.lengths for sequences in self._sequences.values()]).sum(0)
            dialogue = torch.repeat_interleave(torch.arange(len(dialogues)), self.lengths)
            total = torch.zeros(len(dialogues), dtype=torch.long).index_add(0, dialogue, frames)
            self.sizes = total * len(self.utterances) / total.sum().clamp(min=1)

    def __len__(self) -> int:
        return len(self.lengths)

    def embeddings(self, stream: str) -> Tensor:
        """The vectors (N, D) of ``stream`` that are present, of a large split some; of sequences all frames."""
        if stream in self._sequences:
            return self._sequences[stream].values
        here = self.present[stream].nonzero()[:, 0]
        return self._vectors[stream][here[:: -(-len(here) // _MOST_SCALED)] if len(here) else here]

    def __getitem__(self, number: int) -> DialogueBatch:
        """A batch of one dialogue."""
        return self.__getitems__([number])

    def __getitems__(self, numbers: Sequence[int]) -> DialogueBatch:
        """One batch of several dialogues; torch's loader asks for batches by this method."""
        chosen = torch.as_tensor(numbers)
        lengths = self.lengths[chosen]
        offsets = torch.arange(int(lengths.max()))
        valid = offsets < lengths[:, None]  # (B, U)
        rows = torch.where(valid, self.starts[chosen][:, None] + offsets, 0)
        label = self.labels[rows]  # (B, U) or (B, U, C)
        label[~valid] = UNLABELLED
        is_labelled = label != UNLABELLED if label.ndim == 2 else label[..., 0] != UNLABELLED
        present = {name: here[rows] & valid for name, here in self.present.items()}
        inputs = {name: table[rows] * present[name][..., None] for name, table in self._vectors.items()}
        frames = {}
        for name, sequences in self._sequences.items():
            inputs[name], frames[name] = sequences.padded(rows.masked_fill(~valid, -1))
        batch: DialogueBatch = {
            "inputs": {name: inputs[name] for name in present},
            "frames": frames,
            "present": present,
            "valid": valid,
            "speaker": self.speakers[rows].masked_fill(~valid, UNKNOWN_SPEAKER),
            "gap_s": self.gaps_s[rows].masked_fill(~valid, float("nan")),
            "label": label,
            "row": rows.masked_fill(~valid, -1),
            "labelled": int(is_labelled.sum()),
        }
        if self.ratings.shape[1]:
            batch["rating"] = self.ratings[rows].masked_fill(~valid[..., None], math.nan)
        return batch


def _known_of(
    dialogues: Sequence[Dialogue], problem: Problem, annotations: Mapping[str, Annotation]
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Labels, speakers, gaps and ratings of the utterances of some dialogues, see `Dialogues`."""
    utterances = [utterance for dialogue in dialogues for utterance in dialogue]
    values = [annotations[u.id].values if u.id in annotations else {} for u in utterances]
    rated = [[of.get(name, math.nan) for name in problem.ratings] for of in values]
    return (
        torch.stack([problem.target(utterance) for utterance in utterances]),
        torch.cat([speaker_numbers(dialogue.utterances) for dialogue in dialogues]),
        torch.cat([gaps_s(dialogue.utterances) for dialogue in dialogues]),
        torch.tensor(rated, dtype=torch.float).view(len(utterances), len(problem.ratings)),
    )


class DialogueData(pl.LightningDataModule):
    """Manifest and stores in, batches of dialogues out.

    A stream is a name that you choose for a store; the store knows its modality, and two streams may have the same one.
    The network gets the streams ``text``, ``audio`` and ``visual`` first, in this order, then the others as listed.

    A batch holds ``batch_size`` x U x D numbers per stream, and for sequences ``batch_size`` x U x T x D, where U is
    the longest of its dialogues and T the longest of its utterances in frames. Dialogues of similar size go together,
    so a smaller ``batch_size`` bounds the memory.

    Args:
        manifest: folder that `m2fnet prepare` or `m2fnet import` wrote.
        stores: stream -> folder that `m2fnet extract` wrote.
        streams: those of ``stores`` that the network gets; all by default.
        batch_size: dialogues per batch.
        seed: shuffles the training dialogues; by default the run's ``seed_everything``.
        predict_split: the split that `m2fnet dialog predict` labels.
        fold: holds a part of the training dialogues out and takes it for the test split, which is not read then; see
            `m2fnet sweep --folds`.
        ratings: names of scales on which the network shall rate utterances in addition to their emotions, such as
            ``[valence]``, out of those that the manifest has; none by default.

    Raises:
        UsageError: if a setting is out of range, a stream name is invalid, a stream has no store, or the manifest lacks
            a rating.
        StoreError: if a store belongs to another manifest, or is named after another modality.

    Example:
        >>> import tempfile
        >>> from m2fnet.records import LabelSet, Utterance
        >>> from m2fnet.store import StoreWriter
        >>> folder = Path(tempfile.mkdtemp())
        >>> said = tuple(Utterance(f"a_{n}", "own", "train", "a", n, label="joy") for n in range(2))
        >>> manifest = Manifest("own", LabelSet("own", ("joy", "anger")), said).save(folder / "data")
        >>> with StoreWriter(folder / "text", manifest, modality="text", width=2, extractor={}) as writer:
        ...     for utterance in said:
        ...         writer.add(utterance.id, torch.ones(2))
        >>> data = DialogueData(str(folder / "data"), {"text": str(folder / "text")})
        >>> data.problem.widths, len(data.dialogues("train"))
        ({'text': 2}, 1)
    """

    def __init__(
        self,
        manifest: str,
        stores: dict[str, str],
        streams: list[str] | None = None,
        batch_size: int = 32,
        seed: int | None = None,
        predict_split: Split = "test",
        fold: Fold | None = None,
        ratings: list[str] | None = None,
    ) -> None:
        super().__init__()
        names = list(stores) if streams is None else streams
        if not names or len(set(names)) != len(names) or not set(names) <= stores.keys():
            raise UsageError(
                f"data.streams is {names}, but data.stores has the streams {', '.join(stores) or 'none'}; expected one "
                "or more of these, each once."
            )
        if batch_size < 1:
            raise UsageError(f"data.batch_size is {batch_size}, expected at least 1.")
        self.manifest = Manifest.load(Path(manifest))
        self.fold = fold
        if fold is not None:
            self.manifest = with_fold(self.manifest, fold)
        scales = dict.fromkeys(name for one in self.manifest.annotations.values() for name in one.values)
        if unknown := [name for name in ratings or () if name not in scales]:
            raise UsageError(
                f"data.ratings names {unknown[0]!r}, but the manifest of {self.manifest.corpus!r} has the ratings "
                f"{', '.join(scales) or 'none'}."
            )
        order: dict[str, int] = {name: place for place, name in enumerate(MODALITIES)}
        self.streams = sorted(names, key=lambda name: order.get(name, len(order)))
        self.store_folders = {name: stores[name] for name in self.streams}
        self.stores = {name: Store(folder) for name, folder in self.store_folders.items()}
        for name, store in self.stores.items():
            store.require(self.manifest)
            if name in MODALITIES and store.meta.modality != name:
                raise StoreError(
                    f"data.stores.{name} is {store.folder}, which holds {store.meta.modality} embeddings; give the "
                    f"stream another name than {name}."
                )
        try:
            self.problem = make_problem(
                self.manifest.label_set,
                {
                    name: Stream(store.meta.modality, store.meta.width, store.meta.resolution == "frame")
                    for name, store in self.stores.items()
                },
                ratings or (),
            )
        except ValueError as error:
            raise UsageError(f"data.stores: {error}") from error
        self.batch_size = batch_size
        self.seed = seed
        self.predict_split = predict_split
        self._loaded: dict[Split, Dialogues] = {}

    def setup(self, stage: str) -> None:
        """Check that there is something to learn from or to score; called by the trainer.

        Raises:
            UsageError: if a split that ``stage`` needs has no labelled utterance.
        """
        needed: dict[str, tuple[Split, ...]] = {"fit": ("train", "dev"), "validate": ("dev",), "test": ("dev", "test")}
        for split in needed.get(stage, ()):
            if not any(u.labels is not None for u in self.dialogues(split).utterances):
                raise UsageError(
                    f"The split {split!r} of {self.manifest.corpus!r} has no labelled utterance; label some, or "
                    "let a trained run label them: `m2fnet dialog predict`."
                )

    def dialogues(self, split: Split) -> Dialogues:
        """The dialogues of ``split`` with their embeddings, read when first asked for.

        Raises:
            UsageError: if the manifest has none.
        """
        if split not in self._loaded:
            found = self.manifest.dialogues(split)
            if not found:
                raise UsageError(
                    f"The manifest of {self.manifest.corpus!r} has no dialogue in the split {split!r}; prepare it with "
                    "some (train to learn from, dev to choose the weights, test to score them)."
                )
            self._loaded[split] = Dialogues(found, self.stores, self.problem, self.manifest.annotations)
        return self._loaded[split]

    def train_dataloader(self) -> DataLoader[DialogueBatch]:
        """Shuffled batches of the training split."""
        seed = self.seed if self.seed is not None else torch.initial_seed() % 2**31
        return self._loader("train", seed)

    def val_dataloader(self) -> DataLoader[DialogueBatch]:
        """The dev split, on which the epoch is selected."""
        return self._loader("dev")

    def test_dataloader(self) -> list[DataLoader[DialogueBatch]]:
        """The dev split and the test split: a report shows both, from the same weights."""
        return [self._loader("dev"), self._loader("test")]

    def predict_dataloader(self) -> DataLoader[DialogueBatch]:
        """The split named by ``predict_split``, with its unlabelled utterances."""
        return self._loader(self.predict_split)

    def _loader(self, split: Split, seed: int | None = None) -> DataLoader[DialogueBatch]:
        dialogues = self.dialogues(split)
        batches = LengthGroupedBatchSampler(dialogues.sizes, self.batch_size, seed)
        # a separate generator: otherwise each pass would draw from the network's random numbers
        return DataLoader(dialogues, batch_sampler=batches, collate_fn=_unchanged, generator=torch.Generator())


def _unchanged(batch: T) -> T:
    return batch
