"""Formats of subtitles and transcripts that are not read, known by suffix or content, and what to convert them with.

TTML is XML in which times may count frames, ticks or from the beginning of what is around them, SAMI is HTML without
end tags, and MicroDVD counts frames of a rate that it does not name: other programs convert them well.
"""

import re
from collections.abc import Sequence
from pathlib import Path

_TTML = "TTML", "`tt convert -i IN.ttml -o OUT.srt` (of the package ttconv)"
_SAMI = "SAMI", "`ffmpeg -i IN.smi OUT.srt`"
_MICRODVD = "MicroDVD or VobSub", "`ffmpeg -subfps RATE -i IN.sub OUT.srt`, with the frame rate of the clip"
_LYRICS = "LRC", "`ffmpeg -i IN.lrc OUT.srt`"
_MPL2 = "MPL2", "`ffmpeg -f mpl2 -i IN.txt OUT.srt`"
_VPLAYER = "VPlayer or TMPlayer", "`ffmpeg -f vplayer -i IN.txt OUT.srt`"
_DOCUMENT = "a document", 'your text program, which saves it as plain text (".txt")'
_JSON = "JSON", "the program that wrote it, which also writes SRT or CSV"
_BROADCAST = "a format of broadcasters", "Subtitle Edit, which saves it as SRT"
_PICTURES = "subtitles as pictures", "Subtitle Edit, which reads the letters and saves SRT"
_EXCEL = "a spreadsheet", "your spreadsheet program, which saves it as CSV"

_FORMATS = {
    ".ttml": _TTML, ".dfxp": _TTML, ".itt": _TTML, ".xml": _TTML, ".smi": _SAMI, ".sami": _SAMI, ".sub": _MICRODVD,
    ".lrc": _LYRICS, ".docx": _DOCUMENT, ".doc": _DOCUMENT, ".odt": _DOCUMENT, ".rtf": _DOCUMENT, ".pdf": _DOCUMENT,
    ".html": _DOCUMENT, ".json": _JSON, ".stl": _BROADCAST, ".scc": _BROADCAST, ".cap": _BROADCAST, ".sup": _PICTURES,
    ".idx": _PICTURES, ".xlsx": _EXCEL, ".xls": _EXCEL, ".ods": _EXCEL, ".numbers": _EXCEL,
}  # fmt: skip
_SUBTITLES = (_TTML, _SAMI, _MICRODVD, _LYRICS, _BROADCAST)  # what people put next to a clip to be read
_CONTENTS = (
    (re.compile(r"\s*(?:<\?xml[^>]*>\s*)?(?:<!--.*?-->\s*)*<(?:\w+:)?tt[\s>]", re.DOTALL), _TTML),
    (re.compile(r"\s*<sami[\s>]", re.IGNORECASE), _SAMI),
    (re.compile(r"\s*\{[0-9]+\}\s*\{[0-9]*\}"), _MICRODVD),
    (re.compile(r"\s*(?:\[(?:ar|ti|al|by|offset|length|re|ve):[^\]]*\]\s*)+\[[0-9]+:[0-9]"), _LYRICS),
    (re.compile(r"\s*\[[0-9]+\]\s*\[[0-9]*\]"), _MPL2),
    (re.compile(r"\s*[0-9]{1,2}:[0-9]{2}:[0-9]{2}(?:,[0-9])?[:=][^\s\d]"), _VPLAYER),
    (re.compile(r"\s*\{\\rtf"), _DOCUMENT),
    (re.compile(r"\s*[\[{]\s*(?:\{\s*)?\"\w+\"\s*:"), _JSON),
)
_HEAD = 4_000  # characters


def advice_by_suffix(path: Path) -> str | None:
    """What a file is by its suffix, and how to convert it; None for a suffix that is read or unknown.

    Example:
        >>> advice_by_suffix(Path("talk.smi"))
        'is SAMI, which is not read. Convert it with `ffmpeg -i IN.smi OUT.srt`.'
    """
    found = _FORMATS.get(path.suffix.lower())
    return None if found is None else _advice(*found)


def advice_by_content(lines: Sequence[str]) -> str | None:
    """The same by the first lines of a file, whatever its suffix is.

    Example:
        >>> advice_by_content(["{0}{25}Hi"])[:34], advice_by_content(["Ann: Hi"])
        ('is MicroDVD or VobSub, which is no', None)
    """
    head = "\n".join(lines[:200])[:_HEAD]
    found = next((format_ for pattern, format_ in _CONTENTS if pattern.match(head)), None)
    return None if found is None else _advice(*found)


def unread_sidecars(clip: Path) -> list[Path]:
    """Files with subtitles in these formats that have the name of a clip.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     for name in ("talk.mp4", "talk.smi", "talk.json", "walk.ttml"):
        ...         (Path(folder) / name).touch()
        ...     [path.name for path in unread_sidecars(Path(folder) / "talk.mp4")]
        ['talk.smi']
    """
    return sorted(
        path
        for path in clip.parent.iterdir()
        if path.stem == clip.stem
        and path.suffix.lower() != ".xml"  # often something else
        and _FORMATS.get(path.suffix.lower()) in _SUBTITLES
        and path.is_file()
    )


def _advice(name: str, program: str) -> str:
    return f"is {name}, which is not read. Convert it with {program}."
