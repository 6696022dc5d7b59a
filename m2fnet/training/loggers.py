"""Where the curves of a training go."""

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from pytorch_lightning.loggers import CSVLogger, Logger, TensorBoardLogger


def fit_loggers(run: Path, configured: Sequence[Logger]) -> list[Logger]:
    """CSV files always; beside them what is configured, or else TensorBoard if it is installed."""
    return [CSVLogger(run, name="logs"), *(configured or _tensorboard(run))]


def _tensorboard(run: Path) -> list[Logger]:
    return [TensorBoardLogger(run, name="tensorboard")] if find_spec("tensorboard") is not None else []
