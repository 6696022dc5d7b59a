"""Groups of utterances by their place in the dialogue: which utterances are hard?"""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from m2fnet.records import Dialogue, Utterance

_POSITIONS = (1, 2, 3, 6, 11, 21, 41)  # fine for MELD (half its dialogues have 5 to 13), wide enough for IEMOCAP's 50
_LENGTHS = (1, 2, 5, 10, 20, 40)
_SPEAKERS = (1, 2, 3, 4, 5)
_UNKNOWN = "unknown speaker"
_FIRST, _SAME, _OTHER, _UNLABELLED = "none before", "same emotion", "other emotion", "unlabelled before"


@dataclass(frozen=True)
class Grouping:
    """A way to divide the utterances of a corpus.

    Attributes:
        title: what the groups differ in.
        names: all groups in the order of a table.
        divide: from a dialogue to the group of each of its utterances, context utterances included.
    """

    title: str
    names: tuple[str, ...]
    divide: Callable[[Dialogue], Sequence[str]]


def groups(dialogues: Sequence[Dialogue], grouping: Grouping) -> dict[str, list[str]]:
    """Group -> ids of its labelled utterances, in the order of ``grouping.names``; groups without one are not in it.

    Positions, lengths, speakers and previous utterances count every utterance of a dialogue, labelled or not.

    Example:
        >>> utterances = [Utterance(f"u{n}", "tiny", "test", "d", n, label="joy") for n in range(2)]
        >>> groups([Dialogue("d", "test", tuple(utterances))], GROUPINGS["shift"][0])
        {'none before': ['u0'], 'same emotion': ['u1']}
    """
    members: dict[str, list[str]] = {name: [] for name in grouping.names}
    for dialogue in dialogues:
        for utterance, name in zip(dialogue.utterances, grouping.divide(dialogue), strict=True):
            if utterance.labels is not None:
                members[name].append(utterance.id)
    return {name: ids for name, ids in members.items() if ids}


def _names(starts: Sequence[int]) -> tuple[str, ...]:
    """Names of the ranges that begin at ``starts``: (1, 2, 5) -> ``1``, ``2-4``, ``5+``."""
    closed = (str(a) if b == a + 1 else f"{a}-{b - 1}" for a, b in itertools.pairwise(starts))
    return (*closed, f"{starts[-1]}+")


def _range(starts: Sequence[int], value: int) -> str:
    return _names(starts)[sum(start <= value for start in starts) - 1]


def _by_position(dialogue: Dialogue) -> list[str]:
    return [_range(_POSITIONS, position) for position in range(1, len(dialogue) + 1)]


def _by_length(dialogue: Dialogue) -> list[str]:
    return [_range(_LENGTHS, len(dialogue))] * len(dialogue)


def _by_speakers(dialogue: Dialogue) -> list[str]:
    speakers = {utterance.speaker for utterance in dialogue.utterances}
    return [_UNKNOWN if None in speakers else _range(_SPEAKERS, len(speakers))] * len(dialogue)


def _by_shift(dialogue: Dialogue, *, of_speaker: bool) -> list[str]:
    """The group of each utterance by its emotion against the previous utterance, of anyone or of the same speaker."""
    before: dict[str | None, Utterance] = {}
    found = []
    for utterance in dialogue.utterances:
        who = utterance.speaker if of_speaker else None
        is_unknown = of_speaker and who is None
        found.append(_UNKNOWN if is_unknown else _shift(before.get(who), utterance))
        before[who] = utterance
    return found


def _shift(previous: Utterance | None, utterance: Utterance) -> str:
    if previous is None:
        return _FIRST
    if previous.labels is None:
        return _UNLABELLED
    return _SAME if set(previous.labels) == set(utterance.labels or ()) else _OTHER


_SHIFTS = (_FIRST, _SAME, _OTHER, _UNLABELLED)

# what `m2fnet report --group-by` may name -> the tables it gives
GROUPINGS: dict[str, tuple[Grouping, ...]] = {
    "position": (Grouping("place of the utterance in its dialogue", _names(_POSITIONS), _by_position),),
    "length": (Grouping("utterances of the dialogue", _names(_LENGTHS), _by_length),),
    "speakers": (Grouping("speakers of the dialogue", (*_names(_SPEAKERS), _UNKNOWN), _by_speakers),),
    "shift": (
        Grouping("emotion against the previous utterance", _SHIFTS, partial(_by_shift, of_speaker=False)),
        Grouping(
            "emotion against the same speaker's previous utterance",
            (*_SHIFTS, _UNKNOWN),
            partial(_by_shift, of_speaker=True),
        ),
    ),
}
