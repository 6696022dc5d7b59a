"""Where the curves of a run are written."""

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import torch
from pytorch_lightning.loggers import CSVLogger, Logger, TensorBoardLogger


def run_loggers(run: Path, configured: Logger | Sequence[Logger] | bool | None, *, is_fit: bool) -> list[Logger]:
    """The loggers of a run.

    For a training these are CSV files in ``logs/``, which every run has, and what is configured or else TensorBoard
    if it is installed. Other commands have what is configured. ``False`` (``trainer.logger: false``) means none.
    """
    if configured is False:
        return []
    if configured is None or configured is True:
        configured = []
    given = [configured] if isinstance(configured, Logger) else list(configured)
    if not is_fit:
        return given
    if not given and find_spec("tensorboard") is not None:
        given = [TensorBoardLogger(run, name="tensorboard")]
    return [CSVLogger(run, name="logs"), *given]


def whole_weight(count: int) -> int:
    """The ``batch_size`` to log a mean over ``count`` samples with, so that a mean over processes is exact.

    Lightning averages the weights of all processes as whole numbers, rounded down: of 7 and 8 samples 7, and the mean
    would be too large. In multiples of the number of processes nothing is rounded.

    Example:
        >>> whole_weight(7)  # in a single process
        7
    """
    is_shared = torch.distributed.is_available() and torch.distributed.is_initialized()
    return count * torch.distributed.get_world_size() if is_shared else count
