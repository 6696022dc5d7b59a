"""Utterances that occur more than once in a corpus; they are reported and kept, because published scores count them."""

import re
from array import array
from collections.abc import Mapping, Sequence
from itertools import combinations

import numpy as np
import pandas as pd

from m2fnet.corpora.base import DefectLog
from m2fnet.manifest.lookup import hash_of
from m2fnet.records import LEAK, SPLITS, Utterance

_WORD = re.compile(r"\w+")
_FEWEST_WORDS = 3


def report_repeats(utterances: Sequence[Utterance], scenes: Mapping[str, str], log: DefectLog) -> None:
    """Log the utterances that are in two splits (defects of the kind `LEAK`), and those repeated within a split.

    Args:
        utterances: in corpus order; the later of two equal ones counts as the repeat.
        scenes: utterance id -> the recording that its times refer to (season and episode in MELD); the other
            utterances are not compared.
        log: gets what is found.

    Example:
        >>> train = Utterance("a_0", "own", "train", "a", 0, label="joy", start_s=1.0, end_s=2.0)
        >>> test = Utterance("b_0", "own", "test", "b", 0, label="anger", start_s=1.0, end_s=2.0)
        >>> log = DefectLog()
        >>> report_repeats([train, test], {"a_0": "film.mp4", "b_0": "film.mp4"}, log)
        >>> [(defect.kind, defect.ids) for defect in log.defects()]
        [('leak', ('a_0', 'b_0'))]
    """
    known = [u for u in utterances if u.id in scenes]
    if not known:
        return
    frame = pd.DataFrame(
        {
            "id": [u.id for u in known],
            "split": [u.split for u in known],
            "scene": [scenes[u.id] for u in known],
            "start_s": [u.start_s for u in known],
            "end_s": [u.end_s for u in known],
            "text": [u.text for u in known],
            "speaker": [u.speaker for u in known],
            "emotions": [(u.labels,) for u in known],
        }
    )
    # `dropna=False`: two utterances of one file without times have the same times
    moment = frame.groupby(["scene", "start_s", "end_s"], sort=False, dropna=False)
    frame["moment"] = moment.ngroup()  # by first occurrence, so that the ids come out in pairs
    leaks = frame[moment["split"].transform("nunique") > 1].sort_values("moment", kind="stable")
    log.add(
        "leak: same recording and times in another split",
        "kept; scores of that split are slightly flattered",
        leaks["id"],
        kind=LEAK,
    )
    rows = frame.groupby(["moment", "split", "text", "speaker"], sort=False, dropna=False)
    frame["row"], frame["first"] = rows.ngroup(), rows["emotions"].transform("first")
    repeats = frame[frame.duplicated("row")].sort_values("row", kind="stable")
    log.add("row repeated word for word in its split", "kept, both count", repeats["id"])
    changed = repeats[repeats["emotions"] != repeats["first"]]
    log.add("repeated row with another emotion", "kept with its own emotion", changed["id"])


def report_repeated_texts(utterances: Sequence[Utterance], log: DefectLog) -> None:
    """Log the utterances whose words are in another split too; for utterances without a recording to compare.

    Words of three or more are a leak. Fewer are said by everybody, so they are only counted.

    Args:
        utterances: in corpus order.
        log: gets what is found.

    Example:
        >>> said = [("train", "How dare you!"), ("test", "how dare  you"), ("train", "Yes."), ("test", "Yes!")]
        >>> texts = [Utterance(f"u{n}", "own", split, f"d{n}", 0, text=t) for n, (split, t) in enumerate(said)]
        >>> log = DefectLog()
        >>> report_repeated_texts(texts, log)
        >>> [(defect.kind, defect.ids) for defect in log.defects()]
        [('leak', ('u0', 'u1')), ('', ('u2', 'u3'))]
    """
    hashes, lengths, splits = array("q"), array("l"), array("b")
    for utterance in utterances:
        words = _WORD.findall((utterance.text or "").casefold())
        hashes.append(hash_of(" ".join(words)))
        lengths.append(len(words))
        splits.append(SPLITS.index(utterance.split))
    texts, sizes, of = np.array(hashes), np.array(lengths), np.array(splits)
    found = [np.unique(texts[of == split]) for split in range(len(SPLITS))]
    shared = np.unique(np.concatenate([np.intersect1d(one, other) for one, other in combinations(found, 2)]))
    places = np.flatnonzero(np.isin(texts, shared) & (sizes > 0))
    _, first, group = np.unique(texts[places], return_index=True, return_inverse=True)
    places = places[np.argsort(first[group], kind="stable")]  # text by text, so that the ids come out in pairs
    log.add(
        "leak: same text in another split",
        "kept; scores of that split are flattered",
        (utterances[place].id for place in places[sizes[places] >= _FEWEST_WORDS]),
        kind=LEAK,
    )
    log.add(
        "one or two words that are also in another split",
        "kept; everybody says them",
        (utterances[place].id for place in places[sizes[places] < _FEWEST_WORDS]),
    )
