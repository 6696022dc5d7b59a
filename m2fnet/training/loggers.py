"""Where the curves of a run are written."""

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

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
