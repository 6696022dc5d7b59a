"""Pseudo-labels as a type: a student learns from them, no score takes them, and a round of them is a file.

One utterance per line: ``uid``, ``probabilities``, ``label``, ``confidence``, ``vote`` (share of the voters that agree
with the label), ``votes``, ``weight`` and ``selected``. The file ``.meta.json`` next to it says where they come from.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NoReturn

import numpy as np
from numpy.typing import NDArray

from dialog.self_training.policies import Array, Meta, Policy, Selection
from m2fnet.errors import RunError, UsageError
from m2fnet.files import read_json, read_jsonl, sha256_of, write_json, write_jsonl

_ADVICE = "Remove the folder of this policy, and the same command makes it again."


@dataclass(frozen=True)
class Origin:
    """Where pseudo-labels come from.

    Attributes:
        round: that they teach, from 1.
        learned_from: numbers of the gold folds that have reached their teachers, directly or through earlier labels.
        teachers_sha256: of the weights of the teachers.
        stores_sha256: stream -> hash of its store.
        split_sha256: of the frozen split.
        temperature: that the probabilities were divided by, fitted on out-of-fold gold.
        policy: its name and settings in words.
    """

    round: int
    learned_from: frozenset[int]
    teachers_sha256: tuple[str, ...]
    stores_sha256: dict[str, str]
    split_sha256: str
    temperature: float
    policy: str


@dataclass(frozen=True, eq=False)
class PseudoLabels:
    """What teachers think of N utterances of the pool.

    They are no truth: whatever takes a sequence of labels is refused, so no score can be computed with them.

    Attributes:
        ids: of the utterances.
        probabilities: calibrated, (N, C).
        votes: how many of the voters answer each class, (N, C).
        meta: the classes and the voters.
        selection: what a policy decided.
        origin: where they come from.
    """

    ids: tuple[str, ...]
    probabilities: Array
    votes: NDArray[np.int64]
    meta: Meta
    selection: Selection
    origin: Origin

    def _refuse(self, *_: object) -> NoReturn:
        raise UsageError(
            "These are pseudo-labels, which a network made up, and cannot be scored; score gold, dev or test "
            "utterances, whose labels are from people."
        )

    __len__ = __iter__ = __getitem__ = __contains__ = __array__ = __eq__ = __lt__ = __bool__ = _refuse
    __hash__ = None  # type: ignore[assignment]  # it compares with nothing

    def selected_by(self, policy: Policy, name: str) -> "PseudoLabels":
        """The same probabilities, selected by another policy; nothing is trained."""
        selection = checked_selection(policy, self.probabilities, self.votes, self.meta)
        origin = Origin(**{**vars(self.origin), "policy": in_words(name, policy)})
        return PseudoLabels(self.ids, self.probabilities, self.votes, self.meta, selection, origin)

    def counts(self) -> dict[str, object]:
        """How many there are and are selected, by label, and their mean weight."""
        mask, label, weight = self.selection
        selected = np.bincount(label[mask], minlength=len(self.meta.classes)).tolist()
        return {
            "pool": len(self.ids),
            "selected": int(mask.sum()),
            "mean_weight": round(float(weight[mask].mean()), 4) if mask.any() else 0.0,
            "labels": dict(zip(self.meta.classes, selected, strict=True)),
        }

    def save(self, path: Path) -> None:
        """Write the round file ``path`` (.jsonl), and what it was made from next to it."""
        voters = max(len(self.meta.voters), 1)
        rows = zip(self.ids, self.probabilities.tolist(), self.votes.tolist(), *self.selection, strict=True)
        write_jsonl(
            path,
            (
                {
                    "uid": name,
                    "probabilities": [round(value, 6) for value in values],
                    "label": self.meta.classes[chosen],
                    "confidence": round(values[chosen], 6),
                    "vote": round(votes[chosen] / voters, 4),
                    "votes": votes,
                    "weight": round(float(counts), 6),
                    "selected": bool(is_in),
                }
                for name, values, votes, is_in, chosen, counts in rows
            ),
        )
        write_json(
            path.with_suffix(".meta.json"),
            {
                "sha256": sha256_of(path),
                "classes": list(self.meta.classes),
                "voters": list(self.meta.voters),
                "counts": self.counts(),
                "origin": {**asdict(self.origin), "learned_from": sorted(self.origin.learned_from)},
            },
        )

    @classmethod
    def load(cls, path: Path) -> "PseudoLabels":
        """Read a round file.

        Raises:
            RunError: if it is damaged, or not the one that its meta file was written for.
        """
        meta = read_json(path.with_suffix(".meta.json"), RunError, _ADVICE)
        try:
            found = sha256_of(path)
        except OSError as problem:
            raise RunError(f"Cannot read {path}: {problem}. {_ADVICE}") from problem
        if found != meta.get("sha256"):
            raise RunError(f"{path} was changed after it was written: its SHA-256 is {found[:12]}…. {_ADVICE}")
        rows = list(read_jsonl(path, RunError, _ADVICE))
        try:
            classes, origin = tuple(meta["classes"]), meta["origin"]
            number = {name: place for place, name in enumerate(classes)}
            lists = {name: tuple(origin.pop(name)) for name in ("teachers_sha256", "learned_from")}
            size = (len(rows), len(classes))
            return cls(
                ids=tuple(str(row["uid"]) for row in rows),
                probabilities=np.array([row["probabilities"] for row in rows], dtype=float).reshape(size),
                votes=np.array([row["votes"] for row in rows], dtype=np.int64).reshape(size),
                meta=Meta(classes, tuple(meta["voters"])),
                selection=Selection(
                    np.array([row["selected"] for row in rows], dtype=bool),
                    np.array([number[row["label"]] for row in rows], dtype=np.int64),
                    np.array([row["weight"] for row in rows], dtype=float),
                ),
                origin=Origin(
                    **origin,
                    teachers_sha256=lists["teachers_sha256"],
                    learned_from=frozenset(map(int, lists["learned_from"])),
                ),
            )
        except (KeyError, TypeError, ValueError) as problem:
            raise RunError(f"{path} is damaged ({problem!r}). {_ADVICE}") from problem


def checked_selection(policy: Policy, probs: Array, votes: NDArray[np.int64], meta: Meta) -> Selection:
    """What ``policy`` selects, after a look at its form.

    Raises:
        UsageError: if its settings do not fit the corpus, or its answer has the wrong form.
    """
    name = type(policy).__name__
    try:
        selection = policy.select(probs, votes, meta)
    except ValueError as refusal:
        raise UsageError(f"{name}: {refusal}") from refusal
    mask, label, weight = selection
    is_whole = mask.shape == label.shape == weight.shape == (len(probs),)
    if not is_whole or not (np.isfinite(weight) & (weight >= 0)).all():
        raise UsageError(
            f"{name} answers with shapes {mask.shape}, {label.shape} and {weight.shape}; expected a mask, a label and "
            f"a weight of at least 0 for each of {len(probs)} utterances."
        )
    return Selection(mask, label, weight * mask)


def in_words(name: str, policy: Policy) -> str:
    """A policy for a table: its name, class and settings.

    Example:
        >>> from dialog.self_training.policies import SoftWeights
        >>> in_words("soft", SoftWeights(2.0))
        'soft: SoftWeights(gamma=2.0)'
    """
    return f"{name}: {policy!r}" if type(policy).__repr__ is not object.__repr__ else f"{name}: {type(policy).__name__}"


def voters_of(streams: Sequence[str], networks: int) -> tuple[str, ...]:
    """Who votes: the streams where there are several, else the networks.

    Example:
        >>> voters_of(["text"], 2), voters_of(["text", "audio"], 2)
        (('network 0', 'network 1'), ('text', 'audio'))
    """
    return tuple(streams) if len(streams) > 1 else tuple(f"network {number}" for number in range(networks))
