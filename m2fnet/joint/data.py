"""Batches of the utterances of whole dialogues, for an extractor whose embeddings a dialogue network reads."""

from collections.abc import Sequence
from itertools import groupby
from typing import TypedDict

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import DataLoader

from dialog.batch import UNKNOWN_SPEAKER, gaps_s, speaker_numbers
from extractors.data import ExtractorBatch, ExtractorData, Item, Utterances
from m2fnet.training.samplers import GroupedBatchSampler

NOWHERE = -1


class Places(TypedDict):
    """Where the N utterances of a batch are in its B dialogues, padded to the U utterances of the longest one.

    Attributes:
        number: (B, U) of the utterance in the batch, from 0; `NOWHERE` for padding.
        speaker: (B, U), see `dialog.batch.DialogueBatch`.
        gap_s: (B, U), see there.
    """

    number: Tensor
    speaker: Tensor
    gap_s: Tensor


class JointBatch(ExtractorBatch):
    """Utterances of whole dialogues, one dialogue after another.

    Attributes:
        places: of those that can be read.
    """

    places: Places


class UtterancesOfDialogues(Utterances):
    """Utterances that come with their places in their dialogues."""

    def collate(self, items: Sequence[Item]) -> JointBatch:
        """One batch of the utterances of several dialogues."""
        batch = super().collate(items)
        return {**batch, "places": self._places(batch["row"].tolist())}

    def dialogues(self) -> list[list[int]]:
        """The numbers of the utterances of each dialogue."""
        return [list(rows) for _, rows in groupby(range(len(self)), key=lambda row: self.placed[row].dialogue.id)]

    def _places(self, rows: Sequence[int]) -> Places:
        number: list[Tensor] = []
        speaker: list[Tensor] = []
        gap: list[Tensor] = []
        for _, group in groupby(enumerate(rows), key=lambda pair: self.placed[pair[1]].dialogue.id):
            pairs = list(group)
            said = self.placed[pairs[0][1]].dialogue.utterances
            positions = [self.placed[row].position for _, row in pairs]
            number.append(torch.tensor([place for place, _ in pairs]))
            speaker.append(speaker_numbers(said)[positions])
            gap.append(gaps_s(said)[positions])
        if not number:  # nothing can be read
            empty = torch.zeros(0, 0)
            return {"number": empty.long(), "speaker": empty.long(), "gap_s": empty}
        return {
            "number": pad_sequence(number, batch_first=True, padding_value=NOWHERE),
            "speaker": pad_sequence(speaker, batch_first=True, padding_value=UNKNOWN_SPEAKER),
            "gap_s": pad_sequence(gap, batch_first=True, padding_value=float("nan")),
        }


class JointData(ExtractorData):
    """A manifest in, batches of whole dialogues out, each with its labelled utterances.

    An utterance without a label is not read, so the dialogue network does not see it either.

    Args:
        manifest: folder that `m2fnet prepare` or `m2fnet import` wrote.
        batch_size: dialogues per batch; those with similar numbers of utterances go together.
        in_memory: read every utterance once and keep what ``preprocess`` makes of it, instead of reading it in every
            epoch.
        workers: processes that read media; by default one per core, for text none.
        seed: shuffles the training dialogues; by default the run's ``seed_everything``.
    """

    made_of = UtterancesOfDialogues

    def __init__(
        self,
        manifest: str,
        batch_size: int = 4,
        in_memory: bool = True,
        workers: int | None = None,
        seed: int | None = None,
    ) -> None:
        super().__init__(manifest, batch_size, in_memory=in_memory, workers=workers, references=0, seed=seed)

    def train_dataloader(self) -> DataLoader[Item]:
        """Shuffled batches of training dialogues."""
        return self._of_dialogues(self.utterances("train"), self.shuffled_by)

    def _in_order(self, utterances: Utterances) -> DataLoader[Item]:
        return self._of_dialogues(utterances, None)

    def _of_dialogues(self, utterances: Utterances, seed: int | None) -> DataLoader[Item]:
        assert isinstance(utterances, UtterancesOfDialogues), "it is what `made_of` names"
        return self._loader(utterances, GroupedBatchSampler(utterances.dialogues(), self.batch_size, seed))
