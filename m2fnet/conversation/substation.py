"""Advanced SubStation subtitles (ASS, SSA): as a file, and as a stream in a clip.

The fields are those of the format's specification (https://github.com/libass/libass/wiki/ASS-File-Format-Guide): the
speaker is in ``Name``, which SSA and older files call ``Actor``. Events of the kind ``Comment`` are not shown.
"""

import re
from collections.abc import Iterator, Mapping, Sequence

from m2fnet.conversation.cue_text import lines_of
from m2fnet.conversation.cues import Cue, utterances_of
from m2fnet.conversation.reading import Note, cleaned, clock
from m2fnet.records import Segment

# in the packets of a stream, after the Matroska specification, "SSA/ASS Subtitles"
STREAM_FIELDS = ("readorder", "layer", "style", "name", "marginl", "marginr", "marginv", "effect", "text")
_FILE_FIELDS = ("layer", "start", "end", "style", "name", "marginl", "marginr", "marginv", "effect", "text")
_UNSPOKEN_STYLE = re.compile(
    r"(?<![a-z])(?:signs?|titles?|op(?:ening)?|ed|ending|songs?|lyrics?|karaoke|kara|romaji|credits?|staff|typeset)(?![a-z])",
    re.IGNORECASE,
)
_COMMENT = re.compile(r"\{(?![^{}]*\\)[^{}]*\}")  # braces without a code: a remark of the translator


def is_substation(lines: Sequence[str]) -> bool:
    """Whether the lines of a file are Advanced SubStation, whatever its name is.

    Example:
        >>> is_substation(["[Script Info]", "ScriptType: v4.00+"]), is_substation(["1", "00:01,0 --> 00:02,0", "Hi"])
        (True, False)
    """
    filled = (line.strip().lower() for line in lines)
    return any(line in ("[script info]", "[events]") or line.startswith("dialogue: ") for line in filled)


def read_substation(lines: Sequence[str], name: str) -> Iterator[Segment | Note | str]:
    """Segments of the ``Dialogue`` events of a file, by time; what is not said gives a sentence (see `event`)."""
    fields: Sequence[str] = _FILE_FIELDS
    cues: list[tuple[Cue, Mapping[str, str]]] = []
    is_event = False
    for number, line in enumerate(lines, start=1):
        kind, _, rest = line.strip().partition(":")
        is_event = "event" in kind.lower() if kind.startswith("[") else is_event
        if kind.lower() == "format" and is_event:
            fields = [field.strip().lower() for field in rest.split(",")]
        elif kind.lower() == "dialogue":
            where = f"{name}:{number}"
            event = dict(zip(fields, rest.lstrip().split(",", len(fields) - 1), strict=False))
            start_s, end_s = (clock(event.get(side, "")) for side in ("start", "end"))
            if start_s is None or end_s is None or "text" not in event:
                yield f"{where} is {line.strip()[:80]!r}, expected `Dialogue: 0,0:00:01.00,0:00:02.00,…,Hi`"
                continue
            cues.append((cue_of(event, where, start_s, end_s), event))
    yield from spoken_events(cues)


def cue_of(event: Mapping[str, str], where: str, start_s: float, end_s: float) -> Cue:
    r"""The cue of an event, given the fields by their names in lower case.

    Example:
        >>> cue_of({"name": "Ines", "text": r"Hi\nyou {not: sure}"}, "a.ass:9", 0.0, 1.0)
        Cue(where='a.ass:9', start_s=0.0, end_s=1.0, payload='Hi\nyou ', speaker='Ines')
    """
    speaker = cleaned(event.get("name", "") or event.get("actor", "")) or None
    return Cue(where, start_s, end_s, _COMMENT.sub("", event["text"]).replace("\\n", "\n"), speaker)


def spoken_events(cues: Sequence[tuple[Cue, Mapping[str, str]]]) -> Iterator[Segment | Note | str]:
    """Segments of the cues that are said; signs, songs and effects, by the names of their styles, give a sentence.

    Where all events have such a style, it says nothing.
    """
    spoken = [cue for cue, event in cues if not _is_unspoken(event)] or [cue for cue, _ in cues]
    for cue, event in cues:
        if cue not in spoken:
            text = " ".join(lines_of(cue.payload)) or cue.payload
            yield f"{cue.where} is not said, by its style {event.get('style', '')!r}: {text[:80]!r}"
    yield from utterances_of(spoken)


def _is_unspoken(event: Mapping[str, str]) -> bool:
    return event.get("effect", "").strip().lower() in ("fx", "karaoke") or (
        _UNSPOKEN_STYLE.search(event.get("style", "")) is not None
    )
