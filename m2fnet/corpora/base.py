"""What every adapter needs: a log of defects, checks of counts, and the error for a folder that is not the corpus."""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TypedDict

from m2fnet.errors import CorpusError
from m2fnet.manifest import Manifest
from m2fnet.manifest.table import collected
from m2fnet.records import Defect, Split, Utterance

MISSING_MEDIA = "missing media"  # the kind of a defect: a clip, sound or picture cannot be used


class Counts(TypedDict, total=False):
    """Published counts of a split, or some of them, under the names of `m2fnet.manifest.Manifest.counts`."""

    dialogues: int
    utterances: int
    labelled: int
    labels: Mapping[str, int]


class DefectLog:
    """Collects what is wrong in a raw corpus, in the order of discovery.

    Example:
        >>> log = DefectLog()
        >>> log.add("clip missing", "text kept", ["train_dia0_utt1"], kind=MISSING_MEDIA)
        >>> log.add("clip missing", "text kept", ["test_dia4_utt0"], kind=MISSING_MEDIA)
        >>> log.defects()[0].ids
        ('train_dia0_utt1', 'test_dia4_utt0')
    """

    def __init__(self) -> None:
        self._ids: dict[str, list[str]] = {}
        self._done: dict[str, tuple[str, str]] = {}

    def add(self, what: str, done: str, ids: Iterable[str], *, kind: str = "") -> None:
        """Note that ``what`` was found in ``ids`` (utterances, dialogues, splits or files) and what was ``done``.

        Args:
            what: the defect in words; ids of later calls with the same words are appended.
            done: what was done about it.
            ids: where it was found; nothing is recorded if there are none.
            kind: a word for programs, such as `m2fnet.records.LEAK` or `MISSING_MEDIA`.
        """
        # names of files may be no UTF-8, which no manifest can hold
        found = [name.encode("utf-8", errors="backslashreplace").decode() for name in ids]
        if found:
            self._ids.setdefault(what, []).extend(found)
            self._done[what] = done, kind

    def defects(self) -> tuple[Defect, ...]:
        """All that was found."""
        return tuple(Defect(what, tuple(ids), *self._done[what]) for what, ids in self._ids.items())

    def take(self, other: "DefectLog") -> None:
        """Note all that ``other`` has, after what is here."""
        for what, ids in other._ids.items():
            done, kind = other._done[what]
            self.add(what, done, ids, kind=kind)

    def marked(self, utterances: Iterable[Utterance]) -> Sequence[Utterance]:
        """The utterances, each with the names of its defects."""
        if not self._ids:
            return collected(utterances)
        names: dict[str, list[str]] = {}
        for what, ids in self._ids.items():
            for name in dict.fromkeys(ids):
                names.setdefault(name, []).append(what)
        return collected(
            dataclasses.replace(u, defects=(*u.defects, *names[u.id])) if u.id in names else u for u in utterances
        )


def not_the_corpus(root: Path, missing: str, tree: str) -> CorpusError:
    """The error for a folder that is not the corpus: what is missing, and the tree that was expected."""
    problem = f"has no {missing}" if root.is_dir() else "is not a folder"
    return CorpusError(f"{root} {problem}. Expected this tree:\n{tree}\nGive its top folder as --root.")


def expect_counts(manifest: Manifest, expected: Mapping[Split, Counts]) -> None:
    """Do nothing if the manifest has the ``expected`` counts, given per split as `Manifest.counts` gives them.

    Raises:
        CorpusError: naming the first count that differs.
    """

    def in_words(name: str, count: object) -> str:
        if isinstance(count, Mapping):
            return ", ".join(f"{number} {label}" for label, number in count.items())
        return f"{count} {name}"

    found = manifest.counts()
    for split, counts in expected.items():
        for name, number in counts.items():
            came = dict(found[split])[name]
            if came != number:
                raise CorpusError(
                    f"{manifest.corpus} {split} has {in_words(name, came)}, expected {in_words(name, number)}. "
                    "The copy is incomplete or altered: unpack it again, or accept it with --partial."
                )


def media_file(root: Path, relative: str) -> str | None:
    """What is wrong with the media file ``root / relative``, or None; only the folder is read, nothing is decoded."""
    path = root / relative
    try:
        if not path.exists():
            return "missing"
        if not path.is_file():
            return "not a plain file"
        if not path.resolve().is_relative_to(root.resolve()):
            return "a link that leaves the corpus folder"
        return None if path.stat().st_size else "empty"
    except OSError:  # no permission, a name that is too long
        return "out of reach"
