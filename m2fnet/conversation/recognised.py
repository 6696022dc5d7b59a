"""What a speech recogniser wrote about stretches of sound: how it is divided, and when it is not believed.

A recogniser writes something about any sound. About silence, music and noise it writes what ended many of the clips it
was trained on, such as "Thank you.", or the same words over and over. Such a text is worse than none, because a network
reads an emotion from it.
"""

import re
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from m2fnet.conversation.sounds import without_sounds
from m2fnet.conversation.voice import LONGEST_S, SHORTEST_S
from m2fnet.records import Segment

Samples = NDArray[np.float32]  # (N,)

NO_WORDS = "the recogniser heard no words"
NO_SPEECH = "the recogniser heard no speech"
UNSURE = "the recogniser was not sure of any word"
REPEATS = "the recogniser repeated itself"
TOO_FAST = "the recogniser wrote more than can be said in this time"
INVENTED = "the recogniser wrote what it writes about silence"

# openai/whisper transcribe.py: compression_ratio_threshold, no_speech_threshold and logprob_threshold
_COMPRESSION, _NO_SPEECH, _UNSURE = 2.4, 0.6, -1.0
_LOST = -1.5  # mean log-probability; 22 % for each token, however loud the voice is
_RUN, _LONGEST_RUN = 4, 6  # repetitions in a row of some words, and of one; "no, no, no, no!" is said by people
_WORDS_PER_S, _LETTERS_PER_S, _GRACE_S = 8.0, 40.0, 0.5  # nobody speaks faster for long
_QUIET_DB = 12.0  # below the usual level of the clip's voices
_SHORT_S, _SLOW_WORDS_PER_S = 0.6, 0.5  # what is shorter, or has fewer words, does not fit a polite phrase
_DOUBTED = 0.3  # probability of no speech from which a polite phrase is not believed
_STEP_S, _SMOOTH, _NEAR_S = 0.01, 7, 0.5  # of levels; how many are averaged; how far a border is moved
_GAP_S = 0.35  # a pause between two utterances, see `m2fnet.conversation.voice`
_PHRASES = re.compile(
    r"(?:and |so |okay |ok )?(?:thanks?(?: you)?(?: so| very)?(?: much)?(?: for (?:watching|listening))?|"
    r"you|bye(?:[ -]bye)*|"
    r"(?:please )?(?:like and )?(?:subscribe|see you)(?: (?:to|in|next) .{1,40})?|the end|i'm sorry|"
    r"(?:vielen )?dank(?:e)?(?: fürs zuschauen| für die aufmerksamkeit)?|untertitel.{0,60}|"
    r"sous-titr.{0,60}|merci(?: d'avoir regardé.{0,30})?|gracias(?: por ver.{0,20})?|subtítulos.{0,60}|"
    r"субтитры.{0,60}|продолжение следует|спасибо(?: за просмотр)?|"
    r"ご視聴ありがとうございました|ありがとうございました|謝謝(?:大家)?(?:觀看)?|谢谢(?:大家)?(?:观看)?|字幕.{0,40})"
)


@dataclass(frozen=True)
class Phrase:
    """Words between two times that a recogniser wrote.

    Attributes:
        start_s: start in seconds.
        end_s: end on the same clock.
        text: its words, as it spelled them.
        log_probability: mean of its tokens, natural logarithm.
    """

    start_s: float
    end_s: float
    text: str
    log_probability: float = 0.0


@dataclass(frozen=True)
class Heard:
    """What a recogniser made of one stretch.

    Attributes:
        phrases: by time; empty where it wrote nothing.
        no_speech: the probability it gives that nobody speaks.
        level_db: level of the sound, in dB of full scale.
    """

    phrases: tuple[Phrase, ...]
    no_speech: float = 0.0
    level_db: float = 0.0


def cleaned(text: str) -> str:
    """``text`` without sounds in brackets, music and surplus blanks.

    Example:
        >>> cleaned(" [BLANK_AUDIO]  (laughs) Well, no. ♪")
        'Well, no.'
    """
    words, _ = without_sounds(text, is_named=False)
    return words if re.search(r"\w", words) else ""


def reason_against(phrase: Phrase, heard: Heard, usual_db: float) -> str | None:
    """Why the words of ``phrase`` are not believed; None if they are.

    Args:
        phrase: part of the stretch.
        heard: the stretch.
        usual_db: level of the clip's voices, the median of its stretches.

    Example:
        >>> heard = Heard((), no_speech=0.1, level_db=-20)
        >>> reason_against(Phrase(0.0, 2.0, "I hate cake."), heard, -20) is None
        True
        >>> reason_against(Phrase(0.0, 9.0, "Thank you."), heard, -20)
        'the recogniser wrote what it writes about silence'
        >>> reason_against(Phrase(0.0, 9.0, "I see the door. " * 5), heard, -20)
        'the recogniser repeated itself'
    """
    text = cleaned(phrase.text)
    if not text:
        return NO_WORDS
    if is_loop(text):
        return REPEATS
    seconds = phrase.end_s - phrase.start_s
    if not fits(text, seconds):
        return TOO_FAST
    if heard.no_speech > _NO_SPEECH and phrase.log_probability < _UNSURE:
        return NO_SPEECH
    if phrase.log_probability < _LOST:
        return UNSURE
    is_quiet = heard.level_db < usual_db - _QUIET_DB
    is_odd = is_quiet or heard.no_speech > _DOUBTED or phrase.log_probability < _UNSURE
    if _is_phrase(text) and (is_odd or not _SHORT_S <= seconds <= len(text.split()) / _SLOW_WORDS_PER_S):
        return INVENTED
    return None


def is_loop(text: str) -> bool:
    """Whether words are repeated as only a recogniser that has lost the sound repeats them.

    A text that compresses by more than 2.4, as openai/whisper measures it, the same two to eight words four times in a
    row, or the same word seven times; the same for letters in a language without blanks.

    Example:
        >>> is_loop("No, no, no, no! I said no."), is_loop("so I think so I think so I think so I think")
        (False, True)
    """
    words = re.findall(r"\w+(?:['’]\w+)*", text.lower())
    data = " ".join(words).encode()
    if len(words) > _LONGEST_RUN and len(data) / len(zlib.compress(data)) > _COMPRESSION:
        return True
    letters = [letter for letter in text if letter.isalpha()]
    return _repeats(words, 1, _LONGEST_RUN + 1) or any(
        _repeats(units, size, _RUN)
        for units, sizes in ((words, range(2, 9)), (letters, range(4, 17)))
        for size in sizes
    )


def fits(text: str, seconds: float) -> bool:
    """Whether somebody can say ``text`` in this time.

    Example:
        >>> fits("I hate cake.", 1.0), fits("one two three four five six seven eight nine ten", 0.5)
        (True, False)
    """
    time = seconds + _GRACE_S
    return len(text.split()) <= _WORDS_PER_S * time and len(text) <= _LETTERS_PER_S * time


def joined(stretches: Sequence[Segment], longest_s: float) -> Iterator[tuple[Segment, ...]]:
    """Stretches that belong together: one that was cut only because it was long is heard with what follows it.

    Args:
        stretches: of voice activity, by time.
        longest_s: that is heard together.

    Example:
        >>> parts = [Segment(0.0, 9.0), Segment(9.0, 12.0), Segment(13.0, 15.0)]
        >>> [[part.start_s for part in several] for several in joined(parts, 30.0)]
        [[0.0, 9.0], [13.0]]
    """
    group: list[Segment] = []
    for stretch in stretches:
        if group and (stretch.start_s != group[-1].end_s or _seconds(group[0], stretch) > longest_s):
            yield tuple(group)
            group = []
        group.append(stretch)
    if group:
        yield tuple(group)


def at_pauses(phrases: Sequence[Phrase], samples: Samples, rate: int) -> tuple[Phrase, ...]:
    """The phrases with each border between two that touch moved to the softest moment within half a second.

    Small recognisers give times in whole seconds, which cut words in two.

    Args:
        phrases: with times from the first sample on.
        samples: the sound (N,).
        rate: of the samples, in Hz.

    Example:
        >>> sound = np.ones(3_000, np.float32)
        >>> sound[1_200:1_300] = 0
        >>> first, second = at_pauses([Phrase(0.0, 1.0, "Yes."), Phrase(1.0, 3.0, "I know.")], sound, 1_000)
        >>> first.end_s == second.start_s, round(second.start_s, 2)
        (True, 1.25)
    """
    moved = list(phrases)
    step = max(1, round(rate * _STEP_S))
    power = (samples[: len(samples) // step * step].reshape(-1, step) ** 2).mean(1)
    if len(power) < _SMOOTH:
        return tuple(moved)
    level = np.convolve(power, np.full(_SMOOTH, 1 / _SMOOTH), mode="same")
    for place in range(len(moved) - 1):
        before, after = moved[place : place + 2]
        first = round(max(before.start_s + SHORTEST_S, before.end_s - _NEAR_S) / _STEP_S)
        last = round(min(after.end_s - SHORTEST_S, after.start_s + _NEAR_S) / _STEP_S)
        around = level[max(0, first) : last]
        if after.start_s - before.end_s > _STEP_S or not len(around):
            continue
        softest = np.flatnonzero(around <= around.min())
        border_s = (max(0, first) + float(softest.mean()) + 0.5) * _STEP_S
        moved[place : place + 2] = replace(before, end_s=border_s), replace(after, start_s=border_s)
    return tuple(moved)


def divided(phrases: Sequence[Phrase], start_s: float, end_s: float) -> tuple[Phrase, ...]:
    """The phrases of a stretch as utterances: together up to the end of a sentence or a pause, and up to 15 seconds.

    The first begins and the last ends with the stretch. What is shorter than an utterance can be is joined to its
    neighbour.

    Args:
        phrases: what the recogniser wrote, with times on the clock of the stretch.
        start_s: where the stretch begins.
        end_s: where it ends.

    Example:
        >>> phrases = [Phrase(0.2, 2.0, "I came"), Phrase(2.0, 3.0, "home."), Phrase(3.0, 5.0, "He left.")]
        >>> [(one.start_s, one.end_s, one.text) for one in divided(phrases, 0.0, 6.0)]
        [(0.0, 3.0, 'I came home.'), (3.0, 6.0, 'He left.')]
    """
    parts: list[Phrase] = []
    for phrase in phrases:
        begin = min(max(phrase.start_s, parts[-1].end_s if parts else start_s), end_s)
        part = replace(phrase, start_s=begin, end_s=min(max(phrase.end_s, begin), end_s), text=phrase.text.strip())
        if not part.text:
            continue
        if parts and _belongs(parts[-1], part):
            parts[-1] = _together(parts[-1], part)
        else:
            parts.append(part)
    if not parts:
        return ()
    parts[0] = replace(parts[0], start_s=start_s)
    parts[-1] = replace(parts[-1], end_s=end_s)
    if len(parts) > 1 and parts[-1].end_s - parts[-1].start_s < SHORTEST_S:
        parts[-2:] = [_together(parts[-2], parts[-1])]
    return tuple(parts)


def _belongs(before: Phrase, after: Phrase) -> bool:
    if min(before.end_s - before.start_s, after.end_s - after.start_s) < SHORTEST_S:
        return True
    is_open = not re.search(r"[.?!…。？！]['\"”’)]*$", before.text)
    return is_open and after.start_s - before.end_s < _GAP_S and after.end_s - before.start_s <= LONGEST_S


def _together(before: Phrase, after: Phrase) -> Phrase:
    sizes = len(before.text), len(after.text)
    mean = (before.log_probability * sizes[0] + after.log_probability * sizes[1]) / sum(sizes)
    return Phrase(before.start_s, after.end_s, f"{before.text} {after.text}", mean)


def _repeats(units: Sequence[str], size: int, times: int) -> bool:
    """Whether ``size`` units come ``times`` times in a row."""
    run = 0
    for place in range(size, len(units)):
        run = run + 1 if units[place] == units[place - size] else 0
        if run >= size * (times - 1):
            return True
    return False


def _is_phrase(text: str) -> bool:
    plain = re.sub(r"[^\w\s'’-]", "", text.lower()).strip()
    return _PHRASES.fullmatch(plain) is not None


def _seconds(first: Segment, last: Segment) -> float:
    return (last.end_s or 0.0) - (first.start_s or 0.0)
