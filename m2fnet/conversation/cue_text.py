"""Who says what in one cue of subtitles.

A line that begins with a dash or ``>>``, a voice tag ``<v Ann>`` and a name before a colon begin another utterance.
Known tags of style are removed; anything else in angle brackets is text and is kept.
"""

import html
import re
from collections.abc import Iterator

from m2fnet.conversation.reading import cleaned

Said = tuple[str | None, str]  # speaker, text

_OVERRIDE = re.compile(r"\{\\[^{}]*\}")  # {\an8}, of Advanced SubStation
_VOICE = re.compile(r"<v(?:\.[^\s<>]*)?[ \t]([^<>]*)>", re.IGNORECASE)
_TAG = re.compile(r"</?(?:b|c|font|i|lang|rt|ruby|s|u|v)(?:[.\s][^<>]*)?/?>|<[0-9:.]+>", re.IGNORECASE)
_DASH = re.compile(r"(?:[-\u2010\u2013\u2014]|>{2,3})(?:\s+(?=\S)|(?=[^\s\d]))")  # not the minus of a number
_WORD = r"[^\W\d_][\w.'’-]*"  # begins with a letter
_NAME = re.compile(rf"({_WORD}(?: (?:{_WORD}|[0-9]{{1,3}})){{0,3}}):(?:\s+|$)")
_LONGEST_NAME = 40
_HUGE = re.compile("&#[0-9]{8,}")  # no character; Python refuses to read numbers of thousands of digits


def spoken(payload: str) -> list[Said]:
    r"""(speaker, text) of each utterance in the text of a cue; the speaker is None where no name is given.

    Example:
        >>> spoken("- ANN: I <i>know</i>.\n- You do?")
        [('ANN', 'I know.'), (None, 'You do?')]
    """
    before, *voices = _VOICE.split(_OVERRIDE.sub("", payload))
    utterances = list(_by_line(before, None))
    for name, words in zip(voices[::2], voices[1::2], strict=True):
        utterances += _by_line(words, _plain(name) or None)
    return utterances


def named(line: str, *, is_capital: bool) -> Said:
    """(speaker, text) of a line like ``Ann: text``; the speaker is None where the line does not begin with a name.

    A name is up to four words, the first of which begins with a letter; after its colon comes a blank or nothing.

    Example:
        >>> named("Ann: Hello.", is_capital=True), named("one thing: go", is_capital=True)
        (('Ann', 'Hello.'), (None, 'one thing: go'))

    Args:
        line: on one line, without dash.
        is_capital: every word must begin with a capital letter or a digit, as in ``MAN 2``; for texts in which most
            lines have no name, so that "one thing: go" is kept as spoken text.
    """
    match = _NAME.match(line)
    if match is None or len(match[1]) > _LONGEST_NAME:
        return None, line
    if is_capital and any(word[0].islower() for word in match[1].split()):
        return None, line
    return match[1], line[match.end() :]


def _by_line(words: str, voice: str | None) -> Iterator[Said]:
    """The utterances in the lines of one voice, or of several unnamed ones; a line without mark continues the last."""
    speaker: str | None = voice
    lines: list[str] = []
    for raw in _TAG.sub("", words).split("\n"):
        line = _plain(raw)
        without_dash = _DASH.sub("", line, count=1) if _DASH.match(line) else line
        name, text = named(without_dash, is_capital=True) if voice is None else (voice, without_dash)
        is_new = without_dash != line or (voice is None and name is not None)
        if is_new and lines:
            yield speaker, " ".join(lines)
            lines = []
        if is_new:
            speaker = name
        if text:
            lines.append(text)
    if lines:
        yield speaker, " ".join(lines)


def _plain(markup: str) -> str:
    """The text of a line whose tags are removed."""
    return cleaned(html.unescape(_HUGE.sub("\N{REPLACEMENT CHARACTER}", markup)))
