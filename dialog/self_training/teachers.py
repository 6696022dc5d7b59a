"""Networks that were trained without one fold, what they answer, and the pseudo-labels that come from them.

A teacher knows the folds that have reached it, through gold or through pseudo-labels of teachers before it, and refuses
to answer for one of them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from dialog.self_training.gold import GoldLabels
from dialog.self_training.policies import Array, Meta, Policy
from dialog.self_training.pseudo_labels import Origin, PseudoLabels, checked_selection, in_words, voters_of
from dialog.self_training.splits import FrozenSplit
from dialog.self_training.training import Inputs, Training, predict, train
from dialog.stacked.fusion import FusionStack
from m2fnet.errors import RunError, UsageError
from m2fnet.files import read_json, replaced, sha256_of, write_json
from m2fnet.metrics.calibration import at_temperature, fit_temperature

_ADVICE = "Remove it and its .json, and the same command trains these networks again."


@dataclass(frozen=True, eq=False)
class Teacher:
    """The networks, one per seed, that are to be scored on one fold.

    Attributes:
        fold: which one.
        learned_from: the folds that have reached them.
        answers: probabilities for the gold utterances of ``fold``, (S, n, C).
        pool: their mean probabilities for the pool, (N, C).
        votes: how many of the voters answer each class, (N, C): each network, or each stream where there are several.
        sha256: of their weights and answers.
    """

    fold: int
    learned_from: frozenset[int]
    answers: Array
    pool: Array
    votes: NDArray[np.int64]
    sha256: str

    def __post_init__(self) -> None:
        if self.fold in self.learned_from:
            raise UsageError(
                f"The teacher of fold {self.fold} has learned from fold {self.fold}, by its labels or by pseudo-labels "
                "of networks that know them; expected one that has not, or its score would be too high."
            )


def teach_fold(
    inputs: Inputs,
    split: FrozenSplit,
    gold: GoldLabels,
    fold: int,
    seeds: Sequence[int],
    training: Training,
    pseudo: PseudoLabels | None,
    path: Path,
) -> Teacher:
    """Train the networks of one fold, or read them if that is done.

    Args:
        inputs: of all utterances.
        split: says which gold utterances are in the other folds.
        gold: their labels, those of ``split.gold_of(split.others(fold))``.
        fold: is not learned from.
        seeds: one network each.
        training: settings.
        pseudo: labels of the pool that no label of ``fold`` has reached; None in round 0.
        path: of the file (.safetensors) for weights and answers.

    Raises:
        UsageError: if something of ``fold`` would reach the networks.
        RunError: if the file is damaged or of another split.
    """
    learned_from = split.others(fold) | (pseudo.origin.learned_from if pseudo is not None else frozenset())
    if fold in learned_from or set(gold.ids) & set(split.folds[fold]):
        raise UsageError(
            f"The networks of fold {fold} would learn from fold {fold}, by its labels or by pseudo-labels of networks "
            "that know them; expected those of the other folds only."
        )
    if path.with_suffix(".json").exists():
        return _load(path, split, fold, learned_from)
    stack = train(inputs, gold, seeds, training, pseudo)
    pool = inputs.rows(split.pool)
    probabilities = predict(stack, pool)
    tensors = {
        **{f"weights.{name}": weight.detach().contiguous() for name, weight in stack.weights.items()},
        "answers": torch.from_numpy(predict(stack, inputs.rows(split.folds[fold]))).float(),
        "pool": torch.from_numpy(probabilities.mean(0)).float(),
        "votes": torch.from_numpy(_votes(stack, inputs, pool, probabilities)).short(),
    }
    with replaced(path) as temporary:
        save_file(tensors, temporary)
    facts = {"split_sha256": split.sha256, "fold": fold, "learned_from": sorted(learned_from), "seeds": list(seeds)}
    write_json(path.with_suffix(".json"), {**facts, "sha256": sha256_of(path)})
    return _load(path, split, fold, learned_from)


def pseudo_labels(
    teachers: Sequence[Teacher],
    split: FrozenSplit,
    gold: GoldLabels,
    inputs: Inputs,
    policy: Policy,
    name: str,
    *,
    fold: int | None,
    round_: int,
    temperature: float,
) -> PseudoLabels:
    """What teachers say about the pool, selected by ``policy``.

    Args:
        teachers: of all folds in order.
        split: frozen.
        gold: labels of its folds.
        inputs: of all utterances.
        policy: selects.
        name: of the policy.
        fold: whose students are to be taught: only by the teacher that has not seen this fold; None for students that
            are scored on no fold, who are taught by the mean over folds and seeds.
        round_: that the labels teach.
        temperature: of `temperature_of_gold`.
    """
    chosen = list(teachers) if fold is None else [teachers[fold]]
    probabilities = at_temperature(np.mean([one.pool for one in chosen], axis=0), temperature)
    streams, networks = tuple(inputs.vectors), sum(len(one.answers) for one in chosen)
    votes = np.sum([one.votes for one in chosen], axis=0)
    voters = voters_of(streams, networks)
    if len(streams) > 1 and fold is None:
        voters = tuple(f"{stream} {number}" for number in range(len(chosen)) for stream in streams)
    meta = Meta(gold.classes, voters)
    origin = Origin(
        round=round_,
        learned_from=frozenset().union(*(one.learned_from for one in chosen)),
        teachers_sha256=tuple(one.sha256 for one in chosen),
        stores_sha256=inputs.stores_sha256,
        split_sha256=split.sha256,
        temperature=temperature,
        policy=in_words(name, policy),
    )
    return PseudoLabels(
        split.pool, probabilities, votes, meta, checked_selection(policy, probabilities, votes, meta), origin
    )


def out_of_fold(teachers: Sequence[Teacher], split: FrozenSplit, gold: GoldLabels) -> Array:
    """Probabilities (S, N, C) for all gold utterances, each from the networks that have not seen its fold.

    Raises:
        UsageError: if ``gold`` is not that of the split in its order.
    """
    if gold.ids != split.gold:
        raise UsageError("Expected the gold utterances of the split in the order of its folds, but got others.")
    return np.concatenate([one.answers for one in teachers], axis=1)


def temperature_of_gold(teachers: Sequence[Teacher], split: FrozenSplit, gold: GoldLabels) -> float:
    """The one temperature that fits the mean over the seeds to the gold of all folds; see `fit_temperature`."""
    return fit_temperature(out_of_fold(teachers, split, gold).mean(0), gold.numbers)


def _votes(stack: FusionStack, inputs: Inputs, pool: torch.Tensor, probabilities: Array) -> NDArray[np.int64]:
    streams = list(inputs.vectors)
    if len(streams) > 1:
        kept = torch.eye(len(streams), dtype=torch.bool)
        probabilities = np.stack([predict(stack, pool, only).mean(0) for only in kept])
    classes = probabilities.shape[-1]
    counts: NDArray[np.int64] = np.eye(classes, dtype=np.int64)[probabilities.argmax(-1)].sum(0)
    return counts


def _load(path: Path, split: FrozenSplit, fold: int, learned_from: frozenset[int]) -> Teacher:
    facts = read_json(path.with_suffix(".json"), RunError, _ADVICE)
    try:
        found = sha256_of(path)
    except OSError as problem:
        raise RunError(f"Cannot read {path}: {problem}. {_ADVICE}") from problem
    expected = {"sha256": found, "split_sha256": split.sha256, "fold": fold, "learned_from": sorted(learned_from)}
    for key, value in expected.items():
        if facts.get(key) != value:
            raise RunError(f"{path} is of another training: its {key} is {facts.get(key)!r}, not {value!r}. {_ADVICE}")
    try:
        with safe_open(path, framework="pt") as file:
            answers, pool, votes = (file.get_tensor(name).numpy() for name in ("answers", "pool", "votes"))
    except (OSError, SafetensorError) as problem:
        raise RunError(f"Cannot read {path}: {problem}. {_ADVICE}") from problem
    return Teacher(fold, learned_from, answers.astype(float), pool.astype(float), votes.astype(np.int64), found)
