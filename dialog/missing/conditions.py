"""Tests of a trained network with parts of its inputs missing: each subset of streams, and random shares."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import cast

import pytorch_lightning as pl
import torch
from torch import Tensor

from dialog.batch import DialogueBatch
from dialog.data import DialogueData, Dialogues
from dialog.missing.modality_dropout import only, remove_at_random, with_present
from dialog.task import SCORED, DialogueTask
from m2fnet.errors import UsageError
from m2fnet.records import Split

SHARES = tuple(tenth / 10 for tenth in range(10))
DRAWS = 5  # random choices per share

Masks = dict[str, Tensor]  # stream -> (N,) as bool, utterances in the order of `Dialogues.utterances`


@dataclass(frozen=True)
class Condition:
    """Which inputs the network gets.

    Attributes:
        present: the streams that are given.
        share: probability of each of them to be removed from an utterance, never all.
        draw: seed of that choice.
    """

    present: tuple[str, ...]
    share: float = 0.0
    draw: int = 0

    def masks(self, dialogues: Dialogues) -> Masks:
        """Which streams of which utterances remain; another ``share`` has the same draws."""
        given = only(dialogues.present, self.present)
        generator = torch.Generator().manual_seed(self.draw)
        return remove_at_random(
            given, self.share, torch.rand(len(dialogues.utterances), len(given), generator=generator)
        )


def subsets(streams: Sequence[str]) -> list[Condition]:
    """Every subset of ``streams`` but the empty one, large ones first.

    Example:
        >>> [condition.present for condition in subsets(["text", "audio"])]
        [('text', 'audio'), ('text',), ('audio',)]
    """
    sizes = range(len(streams), 0, -1)
    return [Condition(chosen) for size in sizes for chosen in combinations(streams, size)]


def random_shares(streams: Sequence[str]) -> list[list[Condition]]:
    """For each of `SHARES` its draws; share 0 is drawn once."""
    return [[Condition(tuple(streams), share, draw) for draw in range(DRAWS if share else 1)] for share in SHARES]


def conditions(streams: Sequence[str]) -> list[Condition]:
    """All `subsets` and `random_shares`, each once."""
    drawn = (draw for draws in random_shares(streams) for draw in draws)
    return list(dict.fromkeys([*subsets(streams), *drawn]))


class MissingModalities(pl.Callback):
    """Predicts every batch of a test again under each condition; `DialogueTask.probabilities` has the results by `key`.

    Args:
        data: the tested data.
        conditions: which inputs the network gets.
    """

    def __init__(self, data: DialogueData, conditions: Sequence[Condition]) -> None:
        self.masks: dict[str, Mapping[Condition, Masks]] = {
            split: {condition: condition.masks(data.dialogues(cast(Split, split))) for condition in conditions}
            for split in SCORED
        }

    @staticmethod
    def key(split: str, condition: Condition) -> str:
        """Name of the predictions for ``split`` under ``condition``."""
        return f"{split} with {condition}"

    def on_test_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: object,
        batch: DialogueBatch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Predict ``batch`` under every condition."""
        task, split, rows = cast(DialogueTask, pl_module), SCORED[dataloader_idx], batch["row"].cpu()
        for condition, masks in self.masks[split].items():
            present = {name: mask[rows].to(batch["valid"].device) & batch["valid"] for name, mask in masks.items()}
            task.collect(self.key(split, condition), batch, task(with_present(batch, present)).scores)


class DialogueTrainer(pl.Trainer):
    """Lightning's trainer, which can test with parts of the inputs missing too."""

    def missing(
        self,
        model: DialogueTask,
        datamodule: DialogueData,
        ckpt_path: str | Path | None = None,
        weights_only: bool | None = None,
    ) -> None:
        """Test with parts of the inputs missing: each subset of the streams, and random shares.

        Args:
            model: the task.
            datamodule: the data.
            ckpt_path: ``best`` or ``last`` of the run, or a file.
            weights_only: whether to refuse a checkpoint that holds more than tensors and plain values.

        Raises:
            UsageError: if the network has only one input.
        """
        if len(datamodule.streams) < 2:
            raise UsageError(
                f"The network reads only {datamodule.streams[0]}, so nothing can be missing; expected a run with at "
                "least two streams."
            )
        self.callbacks.append(MissingModalities(datamodule, conditions(datamodule.streams)))  # type: ignore[attr-defined]
        self.test(model, datamodule=datamodule, ckpt_path=ckpt_path, verbose=False, weights_only=weights_only)
