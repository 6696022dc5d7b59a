"""The embeddings of whole dialogues, batched with masks."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader, Dataset

from dialog.batch import DialogueBatch
from m2fnet.errors import StoreError, UsageError
from m2fnet.manifest import Manifest
from m2fnet.problems import UNLABELLED, Problem, Stream, make_problem
from m2fnet.records import MODALITIES, Dialogue, Modality, Split, Utterance
from m2fnet.store import Store
from m2fnet.training.samplers import LengthGroupedBatchSampler


class Dialogues(Dataset[DialogueBatch]):
    """Dialogues with their embeddings in memory; a list of dialogue numbers gives one padded batch.

    All utterances lie one after another in one table per modality, so a batch is one gather per modality, whatever
    its size.

    Args:
        dialogues: utterances in speaking order.
        stores: modality -> its store; each has to account for every utterance.
        problem: says what the network should answer to each utterance.
    """

    def __init__(self, dialogues: Sequence[Dialogue], stores: Mapping[str, Store], problem: Problem) -> None:
        self.utterances: list[Utterance] = [u for dialogue in dialogues for u in dialogue.utterances]
        self.lengths = torch.tensor([len(dialogue) for dialogue in dialogues], dtype=torch.long)
        self.starts = self.lengths.cumsum(0) - self.lengths
        self.labels = torch.stack([problem.target(utterance) for utterance in self.utterances])
        ids = [u.id for u in self.utterances]
        self.tables = {name: store.matrix(ids) for name, store in stores.items()}

    def __len__(self) -> int:
        return len(self.lengths)

    def __getitem__(self, number: int) -> DialogueBatch:
        """A batch of one dialogue."""
        return self.__getitems__([number])

    def __getitems__(self, numbers: Sequence[int]) -> DialogueBatch:
        """One batch of several dialogues; torch's loader asks for batches this way."""
        chosen = torch.as_tensor(numbers)
        lengths = self.lengths[chosen]
        offsets = torch.arange(int(lengths.max()))
        valid = offsets < lengths[:, None]  # (B, U)
        rows = torch.where(valid, self.starts[chosen][:, None] + offsets, 0)
        label = self.labels[rows]  # (B, U) or (B, U, C)
        label[~valid] = UNLABELLED
        is_labelled = label != UNLABELLED if label.ndim == 2 else label[..., 0] != UNLABELLED
        present = {name: here[rows] & valid for name, (_, here) in self.tables.items()}
        return {
            "inputs": {name: table[rows] * present[name][..., None] for name, (table, _) in self.tables.items()},
            "present": present,
            "valid": valid,
            "label": label,
            "row": rows.masked_fill(~valid, -1),
            "labelled": int(is_labelled.sum()),
        }


class DialogueData(pl.LightningDataModule):
    """Manifest and stores in, batches of dialogues out.

    Args:
        manifest: folder that `m2fnet prepare` or `m2fnet import` wrote.
        stores: modality (``text``, ``audio``, ``visual``) -> folder that `m2fnet extract` wrote.
        modalities: which of ``stores`` the network gets, in this order; all of them by default.
        batch_size: dialogues per batch.
        seed: shuffles the training dialogues; by default the run's own ``seed_everything``.
        predict_split: the split that `m2fnet dialog predict` labels.
    """

    def __init__(
        self,
        manifest: str,
        stores: dict[str, str],
        modalities: list[str] | None = None,
        batch_size: int = 32,
        seed: int | None = None,
        predict_split: Split = "test",
    ) -> None:
        super().__init__()
        names = list(stores) if modalities is None else modalities
        unknown = [name for name in (*stores, *names) if name not in MODALITIES]
        absent = [name for name in names if name not in stores]
        if unknown or absent or not names or len(set(names)) != len(names):
            raise UsageError(
                f"data.modalities is {names} and data.stores names {list(stores)}; expected different modalities out "
                f"of {', '.join(MODALITIES)}, each with a store."
            )
        if batch_size < 1:
            raise UsageError(f"data.batch_size is {batch_size}, expected at least 1.")
        self.manifest = Manifest.load(Path(manifest))
        self.modalities = sorted(names, key=MODALITIES.index)
        self.store_folders = {name: stores[name] for name in self.modalities}
        self.stores = {name: Store(folder) for name, folder in self.store_folders.items()}
        for name, store in self.stores.items():
            self._check_store(name, store)
        streams = {
            name: Stream(cast(Modality, store.meta.modality), store.meta.width) for name, store in self.stores.items()
        }
        self.problem = make_problem(self.manifest.label_set, streams)
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
            self._loaded[split] = Dialogues(found, self.stores, self.problem)
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
        """The split named by ``predict_split``, unlabelled turns included."""
        return self._loader(self.predict_split)

    def _loader(self, split: Split, seed: int | None = None) -> DataLoader[DialogueBatch]:
        dialogues = self.dialogues(split)
        batches = LengthGroupedBatchSampler(dialogues.lengths, self.batch_size, seed)
        # a generator of its own: otherwise each pass would draw from the network's random numbers
        return DataLoader(dialogues, batch_sampler=batches, collate_fn=_as_it_is, generator=torch.Generator())

    def _check_store(self, name: str, store: Store) -> None:
        store.require(self.manifest)
        if store.meta.modality != name:
            raise StoreError(f"data.stores.{name} is {store.folder}, which holds {store.meta.modality} embeddings.")
        if store.meta.resolution != "utterance":
            raise StoreError(f"{store.folder} holds sequences of vectors; dialogue networks take one per utterance.")


def _as_it_is(batch: Any) -> Any:  # noqa: ANN401
    return batch
