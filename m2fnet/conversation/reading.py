"""Foreign text of a conversation in, checked lines and times out."""

import re
from dataclasses import dataclass
from pathlib import Path

from m2fnet.corpora.encoding import decoded
from m2fnet.errors import ConversationError

MAX_BYTES = 10 * 2**20  # a feature film's subtitles have a hundredth of it

_LINE_END = re.compile(r"\r*\n|\r")  # some tools write two carriage returns
_CONTROL = re.compile(
    r"[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufeff]"
)  # also overrides of direction
_CLOCK = re.compile(r"(?:(?:([0-9]{1,3}):)?([0-9]{1,3}):)?([0-9]{1,9}(?:[.,][0-9]{0,9})?)")


@dataclass(frozen=True)
class Note:
    """What was assumed about a file, in a sentence."""

    text: str


def read_lines(path: Path) -> tuple[list[str], str | None]:
    """Lines of a small text file, and a sentence about its encoding where that had to be guessed (see `decoded`).

    Raises:
        ConversationError: if it is not a plain file, larger than `MAX_BYTES`, unreadable, blank, or not text.
    """
    text, note = decoded(_bytes(path), str(path), ConversationError)
    lines = _LINE_END.split(text.replace("\ufeff", ""))  # also where files were joined
    nul = next((number for number, line in enumerate(lines, start=1) if "\0" in line), None)
    if nul is not None:
        raise ConversationError(f"{path}:{nul} holds a NUL byte, expected text. Save the file as UTF-8.")
    if not any(line.strip() for line in lines):
        raise ConversationError(f"{path} is empty, expected the utterances of a conversation.")
    return lines, note


def cleaned(text: str) -> str:
    r"""``text`` on one line, without control characters and overrides of the direction of writing.

    Example:
        >>> cleaned("no\tbell\x07 ")
        'no bell'
    """
    return " ".join(_CONTROL.sub("", text).split())


def clock(text: str) -> float | None:
    """Seconds written as ``12.5``, ``1:02.5`` or ``1:02:03.5``, the fraction after a point or a comma; else None.

    Example:
        >>> clock("1:02,5"), clock("1:75"), clock("-3")
        (62.5, None, None)
    """
    match = _CLOCK.fullmatch(text.strip())
    if match is None:
        return None
    hours, minutes, seconds = match[1], match[2], float(match[3].replace(",", "."))
    if (minutes is not None and seconds >= 60) or (hours is not None and int(minutes) >= 60):
        return None
    return int(hours or 0) * 3600 + int(minutes or 0) * 60 + seconds


def _bytes(path: Path) -> bytes:
    try:
        if path.exists() and not path.is_file():  # a pipe would be waited on for ever
            raise ConversationError(f"{path} is not a plain file, expected a file of segments or a transcript.")
        if path.stat().st_size > MAX_BYTES:
            raise ConversationError(
                f"{path} is larger than {MAX_BYTES // 2**20} MiB, expected the utterances of one conversation."
            )
        with path.open("rb") as file:
            return file.read(MAX_BYTES)
    except OSError as problem:
        raise ConversationError(
            f"Cannot read {path}: {problem.strerror}. Check the path and its permissions."
        ) from problem
