"""The temporary folder of a page, and the removal of those that killed pages left."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from stat import S_ISDIR, S_ISREG

from filelock import FileLock

from m2fnet.files import LOCK

PREFIX = "m2fnet-serve-"
_OWNER = "owner.txt"  # written under the lock: in a folder that is only being made there is none yet
_WORDS = b"Clips of a page of `m2fnet serve`. Its next start removes this folder if the page was killed.\n"


@contextmanager
def page_folder() -> Iterator[Path]:
    """A folder for this page only, removed after the block; first those are removed that killed pages have left."""
    _remove_left_behind()
    with tempfile.TemporaryDirectory(prefix=PREFIX) as name, FileLock(Path(name) / LOCK):
        (Path(name) / _OWNER).write_bytes(_WORDS)
        yield Path(name)


def _remove_left_behind() -> None:
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        with suppress(OSError):  # it cannot be removed, or its page is open and holds the lock
            if _is_of_a_page(folder):
                with FileLock(folder / LOCK, timeout=0):
                    shutil.rmtree(folder)


def _is_of_a_page(folder: Path) -> bool:
    """Whether a page of this user made ``folder``; in a private one nobody else can have put a link."""
    found, owner = folder.lstat(), folder / _OWNER
    is_private = S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not found.st_mode & 0o077
    return is_private and S_ISREG(owner.lstat().st_mode) and owner.read_bytes() == _WORDS
