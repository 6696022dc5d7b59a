"""Who speaks when, in RTTM files (NIST, Rich Transcription 2009 evaluation plan, appendix A)."""

import math
from collections.abc import Iterator, Sequence

from m2fnet.conversation.reading import cleaned
from m2fnet.errors import ConversationError
from m2fnet.records import Segment

_UNKNOWN = "<NA>"
_MOST = 1e9  # seconds, thirty years; NaN is not smaller either


def read_rttm(lines: Sequence[str], name: str, clip: str | None) -> Iterator[Segment]:
    """Segments of the SPEAKER lines, in the order of the file; other lines do not describe utterances and are skipped.

    Args:
        lines: of the file.
        name: of the file, for errors.
        clip: the file id whose lines are read where the file has several.

    Raises:
        ConversationError: if a SPEAKER line is damaged, or there are several file ids and none is ``clip``.
    """
    rows = [(f"{name}:{number}", line.split()) for number, line in enumerate(lines, start=1)]
    rows = [(where, fields) for where, fields in rows if fields[:1] == ["SPEAKER"]]
    for where, fields in rows:
        if len(fields) < 8:
            raise ConversationError(
                f"{where} has {len(fields)} fields, expected at least 8 as in "
                "`SPEAKER clip 1 12.50 1.75 <NA> <NA> ann <NA> <NA>`."
            )
    wanted = _chosen({fields[1] for _, fields in rows}, name, clip)
    for where, fields in rows:
        if fields[1] == wanted:
            start_s = _seconds(fields[3], "start", where)
            length_s = _seconds(fields[4], "length", where)
            speaker = None if fields[7] == _UNKNOWN else cleaned(fields[7])
            yield Segment(start_s, start_s + length_s, speaker, None, where)


def _chosen(ids: set[str], name: str, clip: str | None) -> str | None:
    if len(ids) > 1 and clip not in ids:
        some = ", ".join(sorted(ids)[:5])
        raise ConversationError(
            f"{name} is about {len(ids)} files ({some}{', …' if len(ids) > 5 else ''}), none of them {clip!r}. "
            "Name the clip like one of them, or keep the lines of one file."
        )
    return clip if clip in ids else next(iter(ids), None)


def _seconds(field: str, what: str, where: str) -> float:
    try:
        seconds = float(field)
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds < _MOST:
        raise ConversationError(f"{where}: the {what} is {field[:80]!r}, expected seconds from 0, like 12.50.")
    return seconds
