"""What Lightning and torch refuse, in one sentence that names the setting."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytorch_lightning as pl
from jsonargparse import Namespace
from lightning_fabric.utilities.exceptions import MisconfigurationException

from m2fnet.errors import RunError, UsageError
from m2fnet.files import raise_if_full

_LOST = re.compile(r"connection (reset|closed) by|broken pipe|remote process exited", re.IGNORECASE)  # gloo, NCCL


@contextmanager
def refused_settings(trainer: Namespace) -> Iterator[None]:
    """Around the making of a trainer: what it refuses of the settings ``trainer`` becomes a `UsageError`."""
    try:
        yield
    except TypeError as error:
        if "CPUAccelerator" not in str(error):
            raise
        raise UsageError(
            f"trainer.devices is {trainer.devices!r}, a choice of GPUs, but torch finds none on this machine; "
            "expected a number of processes on the CPU, such as 1."
        ) from error
    except (MisconfigurationException, ImportError, ValueError) as error:
        raise UsageError(f"trainer: {' '.join(str(error).split())}") from error


def refuse_other_precision(asked: str, trainer: pl.Trainer) -> None:
    """Do nothing if ``trainer`` computes in the precision that was asked for; Lightning changes it without a GPU.

    Raises:
        UsageError: if half precision was asked for on a CPU.
    """
    if asked in ("16", "16-mixed") and trainer.precision != "16-mixed":
        raise UsageError(
            f"trainer.precision is {asked}, which needs a GPU, but the run would be on the CPU in "
            f"{trainer.precision}. Set that, or 32-true."
        )


@contextmanager
def refused_by_machine(trainer: pl.Trainer, run: Path) -> Iterator[None]:
    """Around a training into ``run``: a full disk, a precision without a kernel and a lost process become a sentence.

    Raises:
        M2FNetError: naming the folder.
        UsageError: naming the precision.
        RunError: if another process of the training has ended.
    """
    try:
        yield
    except (OSError, RuntimeError) as error:  # torch has its own words for a full disk
        raise_if_full(error, run)
        if "not implemented for" in str(error):
            raise UsageError(
                f"trainer.precision is {trainer.precision}, in which {trainer.strategy.root_device} cannot compute "
                f"what the network needs ({' '.join(str(error).split())}). Set 32-true or bf16-mixed."
            ) from error
        if trainer.world_size > 1 and _LOST.search(str(error)):
            raise RunError(
                "Another process of this training has ended, and none continues without it. It has said why, or the "
                f"system has ended it, for instance because memory was full. The same command resumes {run}. "
                f"({' '.join(str(error).split())[-200:]})"
            ) from error
        raise
