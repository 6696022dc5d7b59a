"""Which utterances are gold, in folds, and which are the pool: decided once, frozen with a hash, checked for leaks."""

import hashlib
import json
import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from m2fnet.corpora.folds import FoldBy, fold_numbers
from m2fnet.errors import RunError, UsageError
from m2fnet.files import read_json, write_json
from m2fnet.manifest import Manifest
from m2fnet.records import Utterance, group_dialogues

Shared = Literal["dialogue", "speaker", "text"]
_ADVICE = "Take another folder, where the split is drawn again."


@dataclass(frozen=True)
class FrozenSplit:
    """Who teaches, who gets pseudo-labels and who is scored, by utterance ids.

    Attributes:
        manifest_sha256: of the manifest that the ids are from.
        folds: gold utterances; each fold is scored by networks that no label of it has reached.
        pool: utterances whose labels nobody looks at.
        dev: scored once, in the end.
        test: likewise.
        by: what stays in one fold, see `m2fnet.corpora.folds.fold_numbers`.
        apart: what no utterance of the pool has in common with one of gold, dev or test.
        transductive: whether utterances of test are in the pool.
    """

    manifest_sha256: str
    folds: tuple[tuple[str, ...], ...]
    pool: tuple[str, ...]
    dev: tuple[str, ...]
    test: tuple[str, ...]
    by: FoldBy
    apart: tuple[Shared, ...]
    transductive: bool

    @property
    def gold(self) -> tuple[str, ...]:
        """The gold utterances of all folds."""
        return self.gold_of(range(len(self.folds)))

    @property
    def sha256(self) -> str:
        """Of everything above."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()

    def gold_of(self, folds: Iterable[int]) -> tuple[str, ...]:
        """The gold utterances of the given folds, in their order."""
        return tuple(name for fold in sorted(folds) for name in self.folds[fold])

    def others(self, fold: int) -> frozenset[int]:
        """All folds but one: those that a network learns from which is scored on ``fold``."""
        return frozenset(range(len(self.folds))) - {fold}

    def check(self, manifest: Manifest) -> None:
        """Look for leaks.

        Raises:
            UsageError: naming an utterance that is where it must not be.
        """
        known = {u.id: u for u in manifest.utterances}
        gold, pool = self.gold, set(self.pool)
        if unknown := [name for name in (*gold, *self.pool) if name not in known]:
            raise UsageError(
                f"The manifest of {manifest.corpus!r} has no utterance {unknown[0]!r}; expected ids of it as gold and "
                "pool."
            )
        if self.manifest_sha256 != manifest.sha256:
            raise UsageError(
                f"The split was frozen for the manifest {self.manifest_sha256[:12]}…, but this one is "
                f"{manifest.sha256[:12]}…. {_ADVICE}"
            )
        if len(set(gold)) < len(gold):
            raise UsageError(f"{_twice(gold)!r} is twice among the gold utterances; expected each in one fold.")
        scored = {"dev": self.dev, **({} if self.transductive else {"test": self.test})}
        within = {what: [u.id for u in manifest.utterances if u.split == what and u.id in pool] for what in scored}
        for what, shared in {"gold": [name for name in gold if name in pool], **within}.items():
            if shared:
                hint = " With transductive: true the pool may have test utterances." if what == "test" else ""
                raise UsageError(
                    f"The pool has {len(shared)} {what} utterances, the first is {shared[0]!r}; expected none, because "
                    f"pseudo-labels of what is scored make the score worthless.{hint}"
                )
        if evaluated := [name for name in gold if known[name].split != "train" or known[name].label is None]:
            raise UsageError(
                f"The gold utterance {evaluated[0]!r} is in the split {known[evaluated[0]].split!r} with the label "
                f"{known[evaluated[0]].label!r}; expected labelled utterances of train."
            )
        fold_of_dialogue: dict[str, int] = {}
        for fold, names in enumerate(self.folds):
            for name in names:
                if fold_of_dialogue.setdefault(known[name].dialogue, fold) != fold:
                    raise UsageError(
                        f"Gold utterances of the dialogue {known[name].dialogue!r} are in two folds; expected every "
                        "dialogue in one."
                    )
        for what in self.apart:
            keys = _keys((known[name] for names in (gold, *scored.values()) for name in names), what)
            for name in self.pool:
                if _key(known[name], what) in keys and not (self.transductive and known[name].split == "test"):
                    raise UsageError(
                        f"{name!r} of the pool has the same {what} as a gold, dev or test utterance; expected none, "
                        f"as `apart` names the {what}."
                    )

    def save(self, path: Path) -> None:
        """Write it with its hash."""
        write_json(path, {"sha256": self.sha256, **asdict(self)})

    @classmethod
    def load(cls, path: Path) -> "FrozenSplit":
        """Read it.

        Raises:
            RunError: if the file is damaged, or was changed after it was frozen.
        """
        content = read_json(path, RunError, _ADVICE)
        try:
            frozen = content.pop("sha256")
            content |= {name: tuple(content[name]) for name in ("pool", "dev", "test", "apart")}
            content["folds"] = tuple(map(tuple, content["folds"]))
            split = cls(**content)
        except (KeyError, TypeError) as problem:
            raise RunError(f"{path} is damaged ({problem!r}). {_ADVICE}") from problem
        if split.sha256 != frozen:
            raise RunError(
                f"{path} was changed after the split was frozen: its hash is {split.sha256[:12]}…, expected "
                f"{str(frozen)[:12]}…. {_ADVICE}"
            )
        return split


def freeze(
    manifest: Manifest,
    *,
    gold: int | Sequence[str] | None = None,
    pool: Sequence[str] | None = None,
    folds: int = 5,
    by: FoldBy = "dialogue",
    apart: Sequence[Shared] = ("dialogue",),
    transductive: bool = False,
    seed: int = 0,
) -> FrozenSplit:
    """The split of ``manifest``, checked for leaks.

    Args:
        manifest: with one emotion per utterance.
        gold: ids of gold utterances, or how many to draw out of the labelled ones of train as whole dialogues (as many
            as fit, at most so many); by default all of them.
        pool: ids; by default every other utterance of train, and with ``transductive`` of test, that keeps ``apart``.
        folds: parts of gold.
        by: what stays in one fold.
        apart: what no utterance of the pool may have in common with one of gold, dev or test.
        transductive: let utterances of test be in the pool, without their labels.
        seed: of the draw of gold dialogues.

    Raises:
        UsageError: if there is nothing to learn from, or something leaks.

    Example:
        >>> from m2fnet.records import LabelSet
        >>> said = tuple(Utterance(f"u{n}", "own", "train", f"d{n // 2}", n % 2, label="joy") for n in range(12))
        >>> split = freeze(Manifest("own", LabelSet("own", ("joy", "anger")), said), gold=4, folds=2)
        >>> [len(fold) for fold in split.folds], len(split.pool)
        ([2, 2], 8)
    """
    if manifest.label_set.kind != "single":
        raise UsageError(f"The utterances of {manifest.corpus!r} have sets of emotions; self-training needs one each.")
    labelled = [u for u in manifest.utterances if u.split == "train" and u.label is not None]
    if isinstance(gold, int):
        labelled = _drawn(labelled, gold, seed)
    elif gold is not None:
        asked = set(gold)
        if wrong := asked - {u.id for u in labelled}:
            raise UsageError(
                f"{min(wrong)!r} cannot be gold: it is not a labelled utterance of train in {manifest.corpus!r}."
            )
        labelled = [u for u in labelled if u.id in asked]
    if not labelled:
        raise UsageError(
            f"The split 'train' of {manifest.corpus!r} has no labelled utterance; self-training needs some."
        )
    number = fold_numbers(group_dialogues(labelled), folds, by)
    scored = {split: [u for u in manifest.utterances if u.split == split and u.label] for split in ("dev", "test")}
    if pool is None:
        pool = _rest(manifest, labelled, scored, apart, transductive=transductive)
    split = FrozenSplit(
        manifest_sha256=manifest.sha256,
        folds=tuple(tuple(u.id for u in labelled if number[u.dialogue] == fold) for fold in range(folds)),
        pool=tuple(pool),
        dev=tuple(u.id for u in scored["dev"]),
        test=tuple(u.id for u in scored["test"]),
        by=by,
        apart=tuple(apart),
        transductive=transductive,
    )
    if not split.pool:
        raise UsageError(
            f"No utterance of {manifest.corpus!r} is left for the pool; name fewer gold utterances, or read a corpus "
            "with unlabelled ones."
        )
    split.check(manifest)
    return split


def _drawn(labelled: Sequence[Utterance], most: int, seed: int) -> list[Utterance]:
    """At most ``most`` utterances: whole dialogues in random order, each that still fits."""
    dialogues = sorted(group_dialogues(labelled), key=lambda dialogue: dialogue.id)
    random.Random(seed).shuffle(dialogues)
    chosen: set[str] = set()
    for dialogue in dialogues:
        if len(chosen) + len(dialogue) <= most:
            chosen |= {u.id for u in dialogue.utterances}
    return [u for u in labelled if u.id in chosen]


def _rest(
    manifest: Manifest,
    gold: Sequence[Utterance],
    scored: Mapping[str, Sequence[Utterance]],
    apart: Sequence[Shared],
    *,
    transductive: bool,
) -> list[str]:
    """Ids of what may be in the pool."""
    names = {u.id for u in gold}
    against = [*gold, *scored["dev"], *(() if transductive else scored["test"])]
    keys = {what: _keys(against, what) for what in apart}
    return [
        u.id
        for u in manifest.utterances
        if u.id not in names
        and (
            (u.split == "train" and not any(_key(u, what) in keys[what] for what in apart))
            or (u.split == "test" and transductive)
        )
    ]


def _keys(utterances: Iterable[Utterance], what: Shared) -> set[str]:
    return {key for u in utterances if (key := _key(u, what)) is not None}


def _key(utterance: Utterance, what: Shared) -> str | None:
    """What is shared, None where it is unknown."""
    if what == "text":
        return " ".join(utterance.text.casefold().split()) if utterance.text else None
    return utterance.dialogue if what == "dialogue" else utterance.speaker


def _twice(names: Sequence[str]) -> str:
    return next(name for place, name in enumerate(names) if name in names[:place])
