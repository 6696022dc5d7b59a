"""A whole self-training in one folder: split, rounds of every policy, what is accepted, and the final scores.

    settings.json, split.json      what it is made with; both are compared when the command is run again
    supervised/fold-0.safetensors  networks of round 0 for each fold, with what they answer
    POLICY/round-1/labels/         pseudo-labels: a file for the students of each fold, pool.jsonl for the final ones
    POLICY/round-1/fold-0.safetensors, round.json
    POLICY/final.json              dev and test, scored once
    linear.json                    scores of a linear classifier of the same gold
    report.json, report.md

Every file is written whole, and what is there is not made again, so the same command resumes.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TypedDict

import numpy as np
from safetensors.torch import save_file

from dialog.self_training.gold import GoldLabels, weighted_f1_of
from dialog.self_training.linear import linear_scores
from dialog.self_training.policies import Policy
from dialog.self_training.pseudo_labels import PseudoLabels, in_words
from dialog.self_training.splits import FrozenSplit
from dialog.self_training.teachers import Teacher, out_of_fold, pseudo_labels, teach_fold, temperature_of_gold
from dialog.self_training.training import Inputs, Training, predict, train
from m2fnet.errors import RunError, UsageError
from m2fnet.files import read_json, replaced, write_json
from m2fnet.manifest import Manifest

MOST_ROUNDS = 3
SUPERVISED, ALL_LABELS = "supervised", "all_labels"
_ADVICE = "Remove it, and the same command makes it again."


class Gain(TypedDict):
    """Mean and standard error, over seeds, of the paired difference to the round that was accepted before."""

    mean: float
    standard_error: float


class RoundResult(TypedDict):
    """One round of a policy; ``gold`` is weighted F1 on out-of-fold gold by seed."""

    round: int
    gold: list[float]
    gain: Gain
    accepted: bool
    counts: dict[str, object]


class FinalScores(TypedDict):
    """Weighted F1 on ``dev`` and ``test`` by seed, of students that learned from all gold."""

    dev: list[float]
    test: list[float]


@dataclass(frozen=True)
class PolicyResult:
    """What became of a policy.

    Attributes:
        policy: in words.
        rounds: those that were made.
        final: scores of the students of the last accepted round, those of supervised training if there was none.
    """

    policy: str
    rounds: list[RoundResult]
    final: FinalScores

    @property
    def accepted(self) -> int:
        """The last accepted round, 0 for none."""
        return max([one["round"] for one in self.rounds if one["accepted"]], default=0)


@dataclass(frozen=True)
class Results:
    """All that a report says.

    Attributes:
        split: frozen.
        linear: weighted F1 of a linear classifier of the gold, on out-of-fold ``gold``, ``dev`` and ``test``.
        supervised: weighted F1 on out-of-fold gold by seed.
        supervised_final: scores of the networks of all gold.
        policies: name -> what became of it.
        all_labels: scores of networks of the gold and the true labels of the pool; None where they are unknown.
        temperature: of round 0.
    """

    split: FrozenSplit
    linear: dict[str, list[float]]
    supervised: list[float]
    supervised_final: FinalScores
    policies: dict[str, PolicyResult]
    all_labels: FinalScores | None
    temperature: float


@dataclass(frozen=True, eq=False)
class SelfTraining:
    """Self-training of one split in one folder; `run` does what is left to do.

    Attributes:
        manifest: the corpus.
        inputs: its embeddings.
        split: frozen and checked.
        training: settings of all networks.
        seeds: one network each; two or more, because a gain is compared with its spread.
        folder: of everything.
        progress: gets a line for each step.
    """

    manifest: Manifest
    inputs: Inputs
    split: FrozenSplit
    training: Training
    seeds: Sequence[int]
    folder: Path
    progress: Callable[[str], None] = lambda _: None

    def __post_init__(self) -> None:
        if len(self.seeds) < 2:
            raise UsageError(
                f"There is {len(self.seeds)} seed, expected two or more: whether a round has gained is judged by the "
                "spread over seeds."
            )

    def run(self, policies: Mapping[str, Policy], rounds: int = MOST_ROUNDS) -> Results:
        """Train what is not trained yet, and return all results.

        Raises:
            UsageError: if something would leak, or the folder has another self-training.
            RunError: if a file in the folder is damaged or was changed.
        """
        if not 1 <= rounds <= MOST_ROUNDS:
            raise UsageError(f"rounds is {rounds}, expected 1 to {MOST_ROUNDS}.")
        for name in policies:
            if not name.isidentifier() or name in (SUPERVISED, ALL_LABELS):
                raise UsageError(f"A policy is named {name!r}; expected a word that is the name of a folder.")
        self.freeze()
        teachers = self.teachers()
        supervised = self._by_seed(teachers)
        self.progress(f"{SUPERVISED}: out-of-fold gold {100 * np.mean(supervised):.2f}")
        final = self._final(SUPERVISED, self._gold())
        results = {name: self._policy(name, policy, rounds, teachers, final) for name, policy in policies.items()}
        return Results(
            split=self.split,
            linear=self._linear(),
            supervised=supervised,
            supervised_final=final,
            policies=results,
            all_labels=self._all_labels(),
            temperature=temperature_of_gold(teachers, self.split, self._gold()),
        )

    def freeze(self) -> None:
        """Write settings and split, or compare them with those in the folder.

        Raises:
            UsageError: if the folder has other ones.
            RunError: if a file was changed.
        """
        self.split.check(self.manifest)
        settings = {
            "training": asdict(self.training),
            "seeds": list(self.seeds),
            "stores_sha256": self.inputs.stores_sha256,
            "manifest_sha256": self.manifest.sha256,
        }
        path = self.folder / "split.json"
        if path.exists() and FrozenSplit.load(path).sha256 != self.split.sha256:
            raise UsageError(
                f"{self.folder} has the split {FrozenSplit.load(path).sha256[:12]}…, but these settings give "
                f"{self.split.sha256[:12]}…: folds and pool must not change between rounds. Take another folder."
            )
        self.split.save(path)
        path = self.folder / "settings.json"
        if path.exists():
            before = read_json(path, RunError, _ADVICE)
            for name, value in settings.items():
                if changed := difference(name, before.get(name), value):
                    raise UsageError(f"{self.folder} was made with {changed}. Take another folder with --out.")
        write_json(path, settings)

    def teachers(self) -> list[Teacher]:
        """The networks of round 0, which learn from gold only, for each fold."""
        return [self._fold(fold, None, self.folder / SUPERVISED) for fold in range(len(self.split.folds))]

    def labels(
        self, teachers: Sequence[Teacher], policy: Policy, name: str, *, fold: int | None, round_: int
    ) -> PseudoLabels:
        """The pseudo-labels that ``policy`` selects for the students of ``fold``; None for the final students."""
        return pseudo_labels(
            teachers,
            self.split,
            self._gold(),
            self.inputs,
            policy,
            name,
            fold=fold,
            round_=round_,
            temperature=temperature_of_gold(teachers, self.split, self._gold()),
        )

    def _policy(
        self, name: str, policy: Policy, rounds: int, teachers: Sequence[Teacher], final: FinalScores
    ) -> PolicyResult:
        folder = self.folder / name
        self._refuse_other_policy(folder, in_words(name, policy))
        best, done = self._by_seed(teachers), list[RoundResult]()
        accepted: PseudoLabels | None = None
        for number in range(1, rounds + 1):
            students, pool = self._round(name, policy, number, teachers, folder / f"round-{number}")
            gold = self._by_seed(students)
            gain = paired_gain(gold, best)
            result: RoundResult = {
                "round": number,
                "gold": gold,
                "gain": gain,
                "accepted": gain["mean"] > gain["standard_error"],
                "counts": pool.counts(),
            }
            write_json(folder / f"round-{number}" / "round.json", result)
            done.append(result)
            self.progress(
                f"{name}, round {number}: out-of-fold gold {100 * np.mean(gold):.2f}, gain {100 * gain['mean']:+.2f} ± "
                f"{100 * gain['standard_error']:.2f}, {'accepted' if result['accepted'] else 'not accepted'}"
            )
            if not result["accepted"]:
                break
            teachers, best, accepted = students, gold, pool
        if accepted is not None:
            final = self._final(name, self._gold(), accepted)
        return PolicyResult(in_words(name, policy), done, final)

    def _round(
        self, name: str, policy: Policy, number: int, teachers: Sequence[Teacher], folder: Path
    ) -> tuple[list[Teacher], PseudoLabels]:
        """The students of a round, and the pseudo-labels that final students of it would learn from."""
        students = []
        for fold in range(len(self.split.folds)):
            path = folder / "labels" / f"fold-{fold}.jsonl"
            labels = self._labels(path, teachers, policy, name, fold=fold, round_=number)
            students.append(self._fold(fold, labels, folder))
        path = folder / "labels" / "pool.jsonl"
        return students, self._labels(path, teachers, policy, name, fold=None, round_=number)

    def _labels(
        self, path: Path, teachers: Sequence[Teacher], policy: Policy, name: str, *, fold: int | None, round_: int
    ) -> PseudoLabels:
        if not path.with_suffix(".meta.json").exists():
            self.labels(teachers, policy, name, fold=fold, round_=round_).save(path)
        labels = PseudoLabels.load(path)
        chosen = teachers if fold is None else [teachers[fold]]
        made_by = tuple(one.sha256 for one in chosen)
        if labels.origin.teachers_sha256 != made_by or labels.origin.split_sha256 != self.split.sha256:
            raise RunError(f"{path} was made by other teachers or for another split. {_ADVICE}")
        return labels

    def _fold(self, fold: int, labels: PseudoLabels | None, folder: Path) -> Teacher:
        gold = GoldLabels.of(self.manifest, self.split.gold_of(self.split.others(fold)))
        path = folder / f"fold-{fold}.safetensors"
        if not path.with_suffix(".json").exists():
            self.progress(f"training {path.relative_to(self.folder)}")
        return teach_fold(self.inputs, self.split, gold, fold, self.seeds, self.training, labels, path)

    def _by_seed(self, teachers: Sequence[Teacher]) -> list[float]:
        gold = self._gold()
        return [weighted_f1_of(gold, one) for one in out_of_fold(teachers, self.split, gold)]

    def _gold(self) -> GoldLabels:
        return GoldLabels.of(self.manifest, self.split.gold)

    def _final(
        self, name: str, gold: GoldLabels, labels: PseudoLabels | None = None, *, whole_batches: bool = False
    ) -> FinalScores:
        """Scores on dev and test of networks that learn from all of ``gold``; they are computed once."""
        path = self.folder / name / "final.json"
        made_for = {"split_sha256": self.split.sha256, "round": labels.origin.round if labels is not None else 0}
        if path.exists():
            found = read_json(path, RunError, _ADVICE)
            if any(found.get(key) != value for key, value in made_for.items()):
                raise RunError(f"{path} is of another round or split. {_ADVICE}")
            return {"dev": list(found["dev"]), "test": list(found["test"])}
        self.progress(f"training {name}, final students")
        stack = train(self.inputs, gold, self.seeds, self.training, labels, whole_batches=whole_batches)
        with replaced(self.folder / name / "final.safetensors") as temporary:
            save_file({key: weight.detach().contiguous() for key, weight in stack.weights.items()}, temporary)
        scores: FinalScores = {"dev": [], "test": []}
        for split, ids in (("dev", self.split.dev), ("test", self.split.test)):
            if ids:
                true = GoldLabels.of(self.manifest, ids)
                answers = predict(stack, self.inputs.rows(ids))
                scores[split] = [weighted_f1_of(true, one) for one in answers]  # type: ignore[literal-required]
        write_json(path, {**made_for, **scores})
        return scores

    def _linear(self) -> dict[str, list[float]]:
        path = self.folder / "linear.json"
        if path.exists():
            found = read_json(path, RunError, _ADVICE)
            if found.get("split_sha256") != self.split.sha256:
                raise RunError(f"{path} is of another split. {_ADVICE}")
            return {name: list(found[name]) for name in ("gold", "dev", "test")}
        scores = linear_scores(self.inputs, self.split, self.manifest)
        write_json(path, {"split_sha256": self.split.sha256, **scores})
        return scores

    def _all_labels(self) -> FinalScores | None:
        """The upper bound, the only place where labels of the pool are read."""
        known = {u.id for u in self.manifest.utterances if u.label is not None and u.split == "train"}
        pool = tuple(name for name in self.split.pool if name in known)
        if not pool:
            return None
        return self._final(ALL_LABELS, GoldLabels.of(self.manifest, (*self.split.gold, *pool)), whole_batches=True)

    def _refuse_other_policy(self, folder: Path, policy: str) -> None:
        path = folder / "policy.json"
        if path.exists() and (before := read_json(path, RunError, _ADVICE).get("policy")) != policy:
            raise UsageError(
                f"{folder} has rounds of {before}, but the policy is now {policy}. Give it another name, or remove the "
                "folder."
            )
        write_json(path, {"policy": policy})


def difference(name: str, before: object, now: object) -> str:
    """In what two settings differ, in words; nothing if they are equal.

    Example:
        >>> difference("training", {"hidden": 64, "steps": 60}, {"hidden": 64, "steps": 80})
        'training.steps 60, not 80'
    """
    if isinstance(before, dict) and isinstance(now, dict):
        found = (difference(f"{name}.{key}", before.get(key), now.get(key)) for key in {**before, **now})
        return next(filter(None, found), "")
    return "" if before == now else f"{name} {before}, not {now}"


def paired_gain(after: Sequence[float], before: Sequence[float]) -> Gain:
    """Mean and standard error over S >= 2 seeds of ``after`` minus ``before``, seed by seed.

    Example:
        >>> {name: round(value, 4) for name, value in paired_gain([0.52, 0.54], [0.50, 0.50]).items()}
        {'mean': 0.03, 'standard_error': 0.01}
    """
    differences = np.asarray(after) - np.asarray(before)
    error = float(differences.std(ddof=1)) / math.sqrt(len(differences))
    return {"mean": float(differences.mean()), "standard_error": error}


def preview(labels: PseudoLabels, policies: Mapping[str, Policy]) -> dict[str, dict[str, object]]:
    """What each policy would select out of stored probabilities; nothing is trained."""
    return {name: labels.selected_by(policy, name).counts() for name, policy in policies.items()}
