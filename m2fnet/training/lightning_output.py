"""Lightning without its banners, and without warnings of what is meant."""

import logging
import warnings
from collections.abc import Iterable

_TALKERS = (
    "pytorch_lightning",
    "pytorch_lightning.utilities.rank_zero",
    "lightning_fabric",
    "lightning_fabric.utilities.seed",
)


def keep_lightning_to_the_point(meant: Iterable[str]) -> None:
    """Leave out Lightning's banners (devices, tips, model summary) and the warnings whose text matches ``meant``."""
    for name in _TALKERS:
        logging.getLogger(name).setLevel(logging.WARNING)
    for message in meant:
        warnings.filterwarnings("ignore", message)
