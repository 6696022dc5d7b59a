"""Who says what in one cue of subtitles.

A line that begins with a dash or ``>>``, a voice tag ``<v Ann>`` and the name of a speaker (see `labelled`) begin
another utterance. Known tags of style are removed; anything else in angle brackets is text and is kept. What was on the
screen and nobody said (see `without_sounds`) is listed.
"""

import html
import re
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from functools import partial

from m2fnet.conversation.reading import cleaned
from m2fnet.conversation.sounds import without_sounds
from m2fnet.conversation.speakers import Labelled, labelled

Said = tuple[str | None, str]  # speaker, text

_DRAWING = re.compile(r"\{[^{}]*\\p[1-9][^{}]*\}(?:[^{]|\{(?![^{}]*\\p0))*(?:\{[^{}]*\\p0[^{}]*\}|$)")
_OVERRIDE = re.compile(r"\{\\[^{}]*\}|\{/?[a-zA-Z]:[^{}\s]*\}|\{/[a-zA-Z]\}")  # {\an8} of Advanced SubStation, {y:i}
_LINE_BREAK = re.compile(r"\\N|<br\s*/?>", re.IGNORECASE)
_VOICE = re.compile(r"<v(?:\.[^\s<>]*)?[ \t]([^<>]*)>|(</v>)", re.IGNORECASE)
_TAG = re.compile(r"</?(?:b|c|font|i|lang|rt|ruby|s|span|u|v)(?:[.\s][^<>]*)?/?>|<[0-9:.]+>", re.IGNORECASE)
_DASH = re.compile(r"(?:[-\u2010\u2013\u2014]|>{2,3})(?:\s+(?=\S)|(?=[^\s\d]))")  # not the minus of a number
_ONLY_DASH = re.compile(r"[-\u2010\u2013\u2014]|>{2,3}")
_NEXT_DASH = re.compile(r"(?<=[.?!…\"”»♪)\]])\s+(?:[/|]\s+)?(?=[-\u2010\u2013\u2014]\s*[^\W\d])|\s+[/|]\s+(?=[-–—])")
_NEXT_CAPITALS = re.compile(r"(?:(?<=[?!…])|(?<=[a-z]\.))\s+(?=[A-Z][A-Z.'’ -]{0,29}[A-Z]:\s)")  # ANN: Hi. BOB: Ho.
_NEXT_CHEVRON = re.compile(r"(?<=\S)\s+(?=>{2,3}\s)")
_HUGE = re.compile("&#[0-9]{8,}")  # no character; Python refuses to read numbers of thousands of digits


@dataclass(frozen=True)
class Heard:
    """What is said in a cue.

    Attributes:
        utterances: speaker (None where no name is given) and text of each.
        unspoken: what else was on the screen, such as ``[door slams]``.
        silent: the speakers who are named and say nothing.
    """

    utterances: tuple[Said, ...]
    unspoken: tuple[str, ...] = ()
    silent: tuple[str, ...] = ()


def spoken(
    payload: str, *, speaker: str | None = None, is_mostly_named: bool = False, names: Collection[str] = ()
) -> Heard:
    r"""The utterances in the text of a cue.

    Args:
        payload: with its markup.
        speaker: of the whole cue, where the format has a field for it; then no names are looked for in the text.
        is_mostly_named: of its file, see `mostly_named`.
        names: in brackets in its file, see `names_in_brackets`.

    Example:
        >>> spoken("- ANN: I <i>know</i>. [sighs]\n- You do?")
        Heard(utterances=(('ANN', 'I know.'), (None, 'You do?')), unspoken=('[sighs]',), silent=())
    """
    unspoken = [f"the drawing {match[0][:40]}" for match in _DRAWING.finditer(payload)]
    before, *voices = _VOICE.split(without_markup(payload))
    label_of = partial(labelled, is_mostly_named=is_mostly_named, names=names)
    said = list(_by_line(before, speaker, label_of, unspoken))
    for name, _, words in zip(voices[::3], voices[1::3], voices[2::3], strict=True):
        if (
            said and said[-1][0] is None and _ONLY_DASH.fullmatch(said[-1][1])
        ):  # it belongs to the voice tag that follows
            said.pop()
        said += _by_line(words, speaker or _name(name or ""), label_of, unspoken)
    utterances: list[Said] = []
    silent: list[str] = []
    for name, text in said:
        words, others = without_sounds(text, is_named=name is not None)
        unspoken += others
        if words:
            utterances.append((name, words))
        elif name is not None:
            silent.append(name)
    return Heard(tuple(utterances), tuple(unspoken), tuple(silent))


def without_markup(payload: str) -> str:
    r"""The text of a cue with its voice tags, but without codes of Advanced SubStation, and with its line breaks.

    Example:
        >>> without_markup(r"{\an8}{\i1}Hi\Nyou,\hAnn{\i0}")
        'Hi\nyou, Ann'
    """
    text = _OVERRIDE.sub("", _DRAWING.sub("", payload))
    return _LINE_BREAK.sub("\n", text).replace("\\h", " ")


def lines_of(payload: str) -> list[str]:
    r"""The lines that a viewer sees, without markup.

    Example:
        >>> lines_of("<v Ann>Hi, <i>you</i>\n \nthere")
        ['Hi, you', 'there']
    """
    lines = _TAG.sub("", without_markup(payload)).split("\n")
    return [line for line in map(_plain, lines) if line]


def _by_line(
    words: str, voice: str | None, label_of: Callable[[str], Labelled | None], unspoken: list[str]
) -> Iterator[Said]:
    """The utterances in the lines of one voice, or of several unnamed ones; a line without mark continues the last."""
    speaker: str | None = voice
    lines: list[str] = []
    is_open = False  # whether the speaker of the lines was named by one of them
    for line in _split(_TAG.sub("", words)):
        without_dash = _DASH.sub("", line, count=1) if _DASH.match(line) else line
        label = label_of(without_dash) if voice is None else None
        text = label.text if label is not None else without_dash
        if without_dash != line or label is not None:
            if lines or is_open:
                yield speaker, " ".join(lines)
            lines = []
            speaker = label.speaker if label is not None else voice
            is_open = label is not None
            if label is not None and label.manner is not None:
                unspoken.append(label.manner)
        if text:
            lines.append(text)
    if lines or is_open:
        yield speaker, " ".join(lines)


def _split(text: str) -> Iterator[str]:
    """Lines, and the parts of a line that has the dashes of several speakers."""
    for line in map(_plain, text.split("\n")):
        for part in _NEXT_CHEVRON.split(line):
            for said in _NEXT_DASH.split(part) if _DASH.match(part) else [part]:
                yield from _NEXT_CAPITALS.split(said)


def _name(annotation: str) -> str | None:
    name = _plain(annotation)
    return name if any(map(str.isalnum, name)) else None


def _plain(markup: str) -> str:
    """The text of a line whose tags are removed."""
    return cleaned(html.unescape(_HUGE.sub("\N{REPLACEMENT CHARACTER}", markup)))
