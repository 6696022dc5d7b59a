"""The temporary folder of a page, and the removal of those that killed pages left."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from m2fnet.files import disposable_folder

PREFIX = "m2fnet-serve-"
_WORDS = b"Clips of a page of `m2fnet serve`. Its next start removes this folder if the page was killed.\n"


@contextmanager
def page_folder() -> Iterator[Path]:
    """A folder for this page only, removed after the block; first those are removed that killed pages have left."""
    with disposable_folder(PREFIX, _WORDS) as folder:
        yield folder
