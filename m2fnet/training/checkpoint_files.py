"""Checkpoints are written as all other files are: whole or not at all."""

from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from lightning_fabric.plugins.io.torch_io import TorchCheckpointIO

from m2fnet.files import replaced


class WholeCheckpoints(TorchCheckpointIO):
    """Writes a checkpoint next to the one that it replaces.

    Lightning's own writes it into the folder of temporary files. Where that is on another disk, the checkpoint is then
    copied over the old one, and a kill or a full disk in this moment leaves half of it and nothing to resume from.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: object = None) -> None:
        """Write ``checkpoint`` to ``path``."""
        if "://" in str(path):
            super().save_checkpoint(checkpoint, path, storage_options)
            return
        with replaced(Path(path)) as temporary, temporary.open("wb") as file:
            torch.save(checkpoint, file)  # given a path, torch would write its name into the file


def write_whole_checkpoints(trainer: pl.Trainer) -> None:
    """Let ``trainer`` write checkpoints so, unless it was given another way."""
    if type(trainer.strategy.checkpoint_io) is TorchCheckpointIO:
        trainer.strategy.checkpoint_io = WholeCheckpoints()
