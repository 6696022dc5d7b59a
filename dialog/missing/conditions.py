"""How a trained network does when parts of its inputs are missing: each subset of them, and random shares."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any, cast

import pytorch_lightning as pl
import torch
from torch import Tensor

from dialog.batch import DialogueBatch
from dialog.data import DialogueData, Dialogues
from dialog.missing.modality_dropout import leave_out, only, with_present
from dialog.task import SCORED, DialogueTask
from m2fnet.errors import UsageError
from m2fnet.records import Split

SHARES = tuple(tenth / 10 for tenth in range(10))
DRAWS = 5  # random choices of what is missing, per share

Masks = dict[str, Tensor]  # modality -> (N,) as bool, utterances in the order of `Dialogues.utterances`


@dataclass(frozen=True)
class Condition:
    """What is left of the inputs.

    Attributes:
        present: the modalities that are given.
        share: probability of each of them to be left out of an utterance, never all.
        draw: seed of that choice.
    """

    present: tuple[str, ...]
    share: float = 0.0
    draw: int = 0

    def masks(self, dialogues: Dialogues) -> Masks:
        """Which modalities of which utterances are left; another ``share`` has the same draws."""
        given = only({name: here for name, (_, here) in dialogues.tables.items()}, self.present)
        generator = torch.Generator().manual_seed(self.draw)
        return leave_out(given, self.share, torch.rand(len(dialogues.utterances), len(given), generator=generator))


def subsets(modalities: Sequence[str]) -> list[Condition]:
    """Every subset of ``modalities`` but the empty one, large ones first."""
    sizes = range(len(modalities), 0, -1)
    return [Condition(chosen) for size in sizes for chosen in combinations(modalities, size)]


def random_shares(modalities: Sequence[str]) -> list[list[Condition]]:
    """For each of `SHARES` the draws of it; nothing missing is drawn once."""
    return [[Condition(tuple(modalities), share, draw) for draw in range(DRAWS if share else 1)] for share in SHARES]


def conditions(modalities: Sequence[str]) -> list[Condition]:
    """All `subsets` and `random_shares`, each once."""
    drawn = (draw for draws in random_shares(modalities) for draw in draws)
    return list(dict.fromkeys([*subsets(modalities), *drawn]))


class MissingModalities(pl.Callback):
    """Answers every batch of a test once more under each condition; `DialogueTask.probabilities` has them by `key`.

    Args:
        data: what is tested.
        conditions: what is left of the inputs.
    """

    def __init__(self, data: DialogueData, conditions: Sequence[Condition]) -> None:
        self.masks: dict[str, Mapping[Condition, Masks]] = {
            split: {condition: condition.masks(data.dialogues(cast(Split, split))) for condition in conditions}
            for split in SCORED
        }

    @staticmethod
    def key(split: str, condition: Condition) -> str:
        """Name of the answers for ``split`` under ``condition``."""
        return f"{split} with {condition}"

    def on_test_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,  # noqa: ANN401
        batch: DialogueBatch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Answer ``batch`` under every condition."""
        task, split, rows = cast(DialogueTask, pl_module), SCORED[dataloader_idx], batch["row"].cpu()
        for condition, masks in self.masks[split].items():
            present = {name: mask[rows].to(batch["valid"].device) & batch["valid"] for name, mask in masks.items()}
            task.keep(self.key(split, condition), batch, task(with_present(batch, present)).scores)


class DialogueTrainer(pl.Trainer):
    """Lightning's trainer, which can test with parts of the inputs missing too."""

    def missing(
        self,
        model: DialogueTask,
        datamodule: DialogueData,
        ckpt_path: str | Path | None = None,
        weights_only: bool | None = None,
    ) -> None:
        """Test with parts of the inputs missing: each subset of the modalities, and random shares.

        Args:
            model: the task.
            datamodule: the data.
            ckpt_path: ``best`` or ``last`` of the run, or a file.
            weights_only: whether to refuse a checkpoint that holds more than tensors and plain values.

        Raises:
            UsageError: if the network has one input alone.
        """
        if len(datamodule.modalities) < 2:
            raise UsageError(
                f"The network reads {datamodule.modalities[0]} alone, so nothing can be left out; expected a run with "
                "at least two modalities."
            )
        self.callbacks.append(MissingModalities(datamodule, conditions(datamodule.modalities)))  # type: ignore[attr-defined]
        self.test(model, datamodule=datamodule, ckpt_path=ckpt_path, verbose=False, weights_only=weights_only)
