"""Files on their way from a browser to the model: none exists longer than its prediction takes."""

import secrets
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

from m2fnet.errors import UsageError
from m2fnet.web.limits import MB, Limits

SUBTITLES = ("srt", "vtt", "rttm", "csv", "txt")
PICTURES = ("jpg", "jpeg", "png", "webp", "bmp")  # photographs, which a clip is told from by its suffix
KINDS = ("clip", *PICTURES, *SUBTITLES)
_SUBTITLE_BYTES = 10 * MB
_FORGOTTEN_S = 900.0  # a file that nobody asked about by then belongs to a browser that has gone, or lost its network


class Uploads:
    """A folder of files that came in, each under a random name that only its sender knows.

    The name of a file on its sender's machine never reaches the disk, and equal files of two senders
    are two files.

    Args:
        folder: empty, and used by nobody else.
        limits: of a file and of their number.
    """

    def __init__(self, folder: Path, limits: Limits) -> None:
        self._folder, self._limits = folder, limits

    async def receive(self, kind: str, chunks: AsyncIterator[bytes], declared: int = 0) -> str:
        """Write a file that comes in pieces and return its name; nothing is left of one that is refused or breaks off.

        Args:
            kind: one of `KINDS`; a clip is known by its content, everything else by its suffix.
            chunks: its bytes.
            declared: number of bytes that the sender promises; 0 if it does not.

        Raises:
            UsageError: if it is of no such kind or too large, or too many wait already.
        """
        if kind not in KINDS:
            raise UsageError(f"A file of kind {kind!r} came; expected one of {', '.join(KINDS)}.")
        check = _check_subtitles if kind in SUBTITLES else self._limits.check_size
        check(declared)
        self._make_room()
        path = self._folder / f"{secrets.token_urlsafe(16)}.{kind}"
        received = 0
        try:
            with path.open("xb") as file:
                async for chunk in chunks:
                    received += len(chunk)
                    check(received)
                    file.write(chunk)
        except BaseException:
            path.unlink(missing_ok=True)
            raise
        return path.name

    @contextmanager
    def take(self, name: str) -> Iterator[Path | None]:
        """The file of that name, which is removed after the block; None for the name "", of no file.

        Raises:
            UsageError: if there is no such file.
        """
        if not name:
            yield None
            return
        found = {path.name: path for path in self._folder.iterdir()}.get(name)
        if found is None:
            raise UsageError("The file is not here any more. Choose it again.")
        try:
            yield found
        finally:
            found.unlink(missing_ok=True)

    def remove(self, name: str) -> None:
        """Remove the file of that name, used or not; nothing happens if there is none."""
        for path in self._folder.iterdir():
            if path.name == name:
                path.unlink(missing_ok=True)

    def _make_room(self) -> None:
        waiting = 0
        longest = max(_FORGOTTEN_S, self._limits.waiting * self._limits.timeout_s)  # the last in line may wait so long
        for path in self._folder.iterdir():
            try:
                is_forgotten = time.time() - path.stat().st_mtime > longest
            except FileNotFoundError:  # its prediction ended in this moment
                continue
            if is_forgotten:
                path.unlink(missing_ok=True)
            else:
                waiting += 1
        if waiting >= 2 * self._limits.waiting:  # a clip and its subtitles
            raise UsageError("Too many clips are waiting. Try again in a few minutes.")


def _check_subtitles(size: int) -> None:
    if size > _SUBTITLE_BYTES:
        raise UsageError(f"The subtitles have more than {_SUBTITLE_BYTES / MB:g} MB; expected those of one clip.")
