"""Utterances that stand in a corpus more than once; they are reported and kept, because published scores hold them."""

from collections.abc import Hashable, Iterable, Mapping, Sequence

from m2fnet.corpora.base import DefectLog
from m2fnet.records import Utterance


def report_repeats(utterances: Sequence[Utterance], scenes: Mapping[str, str], log: DefectLog) -> None:
    """Log repeated utterances within a split and between splits.

    Args:
        utterances: in corpus order; the later of two equal ones counts as the repeat.
        scenes: utterance id -> the recording that its times refer to (season and episode in MELD).
        log: gets what is found.
    """
    known = [u for u in utterances if u.id in scenes]
    spans = _groups((scenes[u.id], u.start_s, u.end_s) for u in known)
    crossing = [place for group in spans for place in group if len({known[i].split for i in group}) > 1]
    log.add(
        "leak: same recording and times in another split",
        "kept; scores of that split are slightly flattered",
        (known[place].id for place in crossing),
    )
    words = _groups((u.split, scenes[u.id], u.start_s, u.end_s, u.text, u.speaker) for u in known)
    repeats = [(group[0], place) for group in words for place in group[1:]]
    log.add("row repeated word for word in its split", "kept, both count", (known[place].id for _, place in repeats))
    log.add(
        "repeated row with another emotion",
        "kept with its own emotion",
        (known[place].id for first, place in repeats if known[first].label != known[place].label),
    )


def _groups(keys: Iterable[Hashable]) -> list[list[int]]:
    places: dict[Hashable, list[int]] = {}
    for place, key in enumerate(keys):
        places.setdefault(key, []).append(place)
    return [group for group in places.values() if len(group) > 1]
