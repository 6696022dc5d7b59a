"""Parts of the training dialogues that are held out in turn, so that settings can be compared without dev or test."""

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from m2fnet.errors import UsageError
from m2fnet.manifest import Manifest
from m2fnet.manifest.table import collected
from m2fnet.records import Dialogue

FoldBy = Literal["dialogue", "session"]
_SESSION = re.compile(r"Ses\d+")  # of IEMOCAP's dialogues


@dataclass(frozen=True)
class Fold:
    """A part of the training dialogues that is held out.

    Attributes:
        number: which part, from 0.
        of: how many parts there are.
        by: what stays together: a ``dialogue``, or a ``session``, see `fold_numbers`.
    """

    number: int
    of: int
    by: FoldBy = "dialogue"

    def __post_init__(self) -> None:
        if self.of < 2 or not 0 <= self.number < self.of:
            raise UsageError(
                f"data.fold is number {self.number} of {self.of}, expected at least 2 folds, numbered from 0."
            )


def fold_numbers(dialogues: Sequence[Dialogue], of: int, by: FoldBy = "dialogue") -> dict[str, int]:
    """The fold, from 0, of each dialogue by name; the same for the same dialogues in any order.

    Dialogues are shuffled and dealt out one by one. Sessions stay whole: a session is what the name of IEMOCAP's
    dialogues says, in other corpora all dialogues that are connected by a common speaker. They are dealt out by size,
    each to the fold that has the fewest utterances.

    Raises:
        UsageError: if there are fewer dialogues or sessions than folds.

    Example:
        >>> from m2fnet.records import Utterance
        >>> names = ["Ses01F_a", "Ses01M_b", "Ses02F_a", "Ses03F_a"]
        >>> said = [Dialogue(name, "train", (Utterance(name, "iemocap", "train", name, 0),)) for name in names]
        >>> fold_numbers(said, 2, "session")
        {'Ses01F_a': 0, 'Ses01M_b': 0, 'Ses02F_a': 1, 'Ses03F_a': 1}
    """
    sizes = {dialogue.id: len(dialogue) for dialogue in dialogues}
    if by == "dialogue":
        names = sorted(sizes)
        random.Random(0).shuffle(names)
        groups = [[name] for name in names]
    else:
        groups = sorted(_sessions(dialogues), key=lambda group: (-sum(sizes[name] for name in group), group))
    if len(groups) < of:
        raise UsageError(f"There are {len(groups)} training {by}s, expected at least one for each of {of} folds.")
    if by == "dialogue":
        return {name: place % of for place, (name,) in enumerate(groups)}
    filled, found = [0] * of, dict[str, int]()
    for group in groups:
        fold = filled.index(min(filled))
        filled[fold] += sum(sizes[name] for name in group)
        found |= dict.fromkeys(group, fold)
    return found


def with_fold(manifest: Manifest, fold: Fold) -> Manifest:
    """The manifest with the dialogues of ``fold`` in the place of the test split, whose own utterances are gone.

    What trains on it learns from the other training dialogues, chooses on dev, and is scored on the fold.
    """
    numbers = fold_numbers(manifest.dialogues("train"), fold.of, fold.by)
    return replace(
        manifest,
        utterances=collected(
            replace(u, split="test") if numbers.get(u.dialogue) == fold.number else u
            for u in manifest.utterances
            if u.split != "test"
        ),
        annotations={},
    )


def _sessions(dialogues: Sequence[Dialogue]) -> list[list[str]]:
    """Names of the dialogues of each session, sorted."""
    sessions: dict[str, set[str]] = {}
    for dialogue in dialogues:
        named = _SESSION.match(dialogue.id)
        keys = {named[0]} if named else {u.speaker or dialogue.id for u in dialogue.utterances}
        joined = {dialogue.id}.union(*(sessions.get(key, set()) for key in keys))
        others = {key for key, names in sessions.items() if names & joined}
        sessions |= dict.fromkeys(keys | others, joined)
    return [sorted(names) for names in {tuple(sorted(names)) for names in sessions.values()}]
