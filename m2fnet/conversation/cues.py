"""Cues of subtitles, of whichever format, as utterances: each sentence once, at the time at which it is first shown."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from m2fnet.conversation.cue_text import Heard, lines_of, spoken
from m2fnet.conversation.reading import Note
from m2fnet.conversation.speakers import mostly_named, names_in_brackets
from m2fnet.records import Segment

_GAP_S = 0.1  # between cues of which the second shows the first one's lines again
_BLINK_S = 0.05  # no word is said in less; YouTube writes cues of 10 ms to move its lines up


@dataclass(frozen=True)
class Cue:
    """A text on the screen.

    Attributes:
        where: the place in its file.
        start_s: seconds from the beginning.
        end_s: the same.
        payload: the text with its markup.
        speaker: where the format has a field for it.
    """

    where: str
    start_s: float
    end_s: float
    payload: str
    speaker: str | None = None


def utterances_of(cues: Iterable[Cue]) -> Iterator[Segment | Note | str]:
    r"""Segments of what is said in the cues, in the order of time, and a sentence about everything else in them.

    The utterances of a cue share its time in proportion to the length of their texts. A cue without a word, one that
    does not end after it begins or that ends before the clip does begin, and one that repeats another give a sentence.

    Example:
        >>> cues = [Cue("talk.srt:2", 0.0, 4.0, "ANN: No.\nBOB: Yes"), Cue("talk.srt:6", 5.0, 6.0, "<i></i>")]
        >>> ann, bob, skipped = utterances_of(cues)
        >>> (ann.start_s, ann.end_s, ann.speaker), (bob.start_s, bob.end_s, bob.speaker), skipped
        ((0.0, 2.0, 'ANN'), (2.0, 4.0, 'BOB'), 'talk.srt:6 says nothing')
    """
    in_time: list[Cue] = []
    shown: dict[tuple[float, float, str | None, tuple[str, ...]], str] = {}
    for cue in sorted(cues, key=lambda cue: (cue.start_s, cue.end_s)):
        if cue.end_s <= cue.start_s and lines_of(cue.payload):
            yield f"{cue.where} begins at {cue.start_s:g} s and ends at {cue.end_s:g} s"
            continue
        if cue.end_s <= 0 < cue.end_s - cue.start_s:
            yield f"{cue.where} begins at {cue.start_s:g} s and ends at {cue.end_s:g} s, before the clip begins"
            continue
        if cue.start_s < 0:
            yield Note(f"{cue.where} begins at {cue.start_s:g} s and was read from 0 s on.")
            cue = replace(cue, start_s=0.0)
        key = cue.start_s, cue.end_s, cue.speaker, tuple(lines_of(cue.payload))
        if key[-1] and key in shown:
            yield f"{cue.where} repeats {shown[key]}"
            continue
        shown[key] = cue.where
        in_time.append(cue)
    once = _once(in_time)
    if len(once) < len(in_time) or any(map(lambda new, old: new.payload != old.payload, once, in_time)):
        yield Note(
            f"{in_time[0].where} and the cues after it repeat lines, as rolling captions do. Each line was read once, "
            "at the time at which it first appears."
        )
    is_mostly_named = mostly_named(line for cue in once for line in lines_of(cue.payload)[:1] if cue.speaker is None)
    names = names_in_brackets(line for cue in once for line in lines_of(cue.payload))
    for cue in once:
        heard = spoken(cue.payload, speaker=cue.speaker, is_mostly_named=is_mostly_named, names=names)
        yield from not_said(heard, cue.where)
        total = sum(len(text) for _, text in heard.utterances)
        begin, count = cue.start_s, 0
        for speaker, text in heard.utterances:
            count += len(text)
            end = cue.start_s + (cue.end_s - cue.start_s) * count / total
            yield Segment(begin, end, speaker, text, cue.where)
            begin = end


def not_said(heard: Heard, where: str) -> Iterator[str]:
    """Sentences about what was on the screen and is no utterance.

    Example:
        >>> list(not_said(Heard((("Ann", "Hi!"),), ("[waves]",), ("Bob",)), "talk.srt:2"))
        ['talk.srt:2 shows [waves], which is not said', 'talk.srt:2: Bob says nothing']
    """
    others = ", ".join(heard.unspoken)
    if not heard.utterances:
        shown = ", ".join((*(f"{speaker}:" for speaker in heard.silent), *heard.unspoken))
        yield f"{where} says nothing" + (f" but shows {shown}" if shown else "")
        return
    if others:
        yield f"{where} shows {others}, which is not said"
    for speaker in heard.silent:
        yield f"{where}: {speaker} says nothing"


def _once(cues: Sequence[Cue]) -> list[Cue]:
    """The cues in the order of time, without lines that the cue before shows already, if they roll.

    Three kinds of captions do: those of YouTube and of live television, of which each cue shows the last lines of the
    one before and a new one; those that grow word by word; and those that show a sentence once per word, to highlight
    it. They are known by at least half of the cues that follow another without a gap.
    """
    shown = [lines_of(cue.payload) for cue in cues]
    follows = [
        bool(before and now and new.start_s - old.end_s <= _GAP_S and new.speaker == old.speaker)
        for old, new, before, now in zip(cues, cues[1:], shown, shown[1:], strict=False)
    ]
    rolls = [
        follow and (_carried(before, now) > 0 or _has_grown(before, now))
        for follow, before, now in zip(follows, shown, shown[1:], strict=False)
    ]
    # nobody says it again in no time, or with another word underlined; otherwise two cues may begin alike for once
    is_certain = [
        roll
        and now == before[-len(now) :]
        and (new.end_s - new.start_s <= _BLINK_S or (now == before and new.payload.strip() != old.payload.strip()))
        for roll, old, new, before, now in zip(rolls, cues, cues[1:], shown, shown[1:], strict=False)
    ]
    evidence = sum(
        certain or (roll and now != before[-len(now) :])
        for certain, roll, before, now in zip(is_certain, rolls, shown, shown[1:], strict=False)
    )
    is_rolling = 2 * evidence >= sum(follows) and (any(is_certain) or evidence > 1)
    once: list[Cue] = list(cues[:1])
    for number, cue in enumerate(cues[1:]):
        before, now = shown[number], shown[number + 1]
        if not rolls[number] or not (is_rolling or is_certain[number]):
            once.append(cue)
            continue
        if _has_grown(before, now):
            kept = "\n".join([*lines_of(once[-1].payload)[:-1], *now[len(before) - 1 :]])
            once[-1] = replace(once[-1], end_s=cue.end_s, payload=kept)
        elif new := now[_carried(before, now) :]:
            once.append(replace(cue, payload="\n".join(new)))
        elif cue.end_s - cue.start_s > _BLINK_S and now == before:
            once[-1] = replace(once[-1], end_s=max(once[-1].end_s, cue.end_s))
    return once


def _carried(before: Sequence[str], now: Sequence[str]) -> int:
    """How many of the last lines before are the first lines now."""
    return next((n for n in range(min(len(before), len(now)), 0, -1) if before[-n:] == now[:n]), 0)


def _has_grown(before: Sequence[str], now: Sequence[str]) -> bool:
    """Whether the last line before has more words now, under the same lines."""
    last = len(before) - 1
    return len(now) > last and list(now[:last]) == list(before[:last]) and now[last].startswith(f"{before[last]} ")
