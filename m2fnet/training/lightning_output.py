"""Lightning without its banners, and without warnings of what is meant."""

import logging
import warnings
from collections.abc import Sequence

_TALKERS = (
    "pytorch_lightning",
    "pytorch_lightning.utilities.rank_zero",
    "lightning_fabric",
    "lightning_fabric.utilities.seed",
)


# What Lightning warns of and is meant here: embeddings are in memory, a resumed run has its folder, the task collects
# what it predicts, whole batches are shared out by the data module, losses are logged by epoch, scores are of all
# processes before they are logged; the last is its own.
_MEANT = (
    ".*does not have many workers",
    ".*exists and is not empty",
    "predict returned None",
    ".*custom batch sampler",
    ".*smaller than the logging interval",
    r"It is recommended to use `self\.log\('(dev|test)/",
    ".*LeafSpec",
)


def keep_lightning_to_the_point(meant: Sequence[str] = _MEANT) -> None:
    """Silence Lightning's banners (devices, tips, model summary) and the warnings whose text matches ``meant``."""
    for name in _TALKERS:
        logging.getLogger(name).setLevel(logging.WARNING)
    for message in meant:
        warnings.filterwarnings("ignore", message)
