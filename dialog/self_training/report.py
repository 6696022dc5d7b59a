"""The report of a self-training: a table of honest scores, and what they were measured on."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
import pandas as pd

from dialog.self_training.gold import GoldLabels, majority_f1
from dialog.self_training.run import FinalScores, PolicyResult, Results
from m2fnet.formatting import markdown_table, percent, spread
from m2fnet.manifest import Manifest

_NONE: FinalScores = {"dev": [], "test": []}


@dataclass(frozen=True)
class Row:
    """One line of the table; scores are weighted F1 by seed, from 0 to 1.

    Attributes:
        what: is scored.
        gold: on out-of-fold gold.
        gain: over the round accepted before, in words.
        accepted: in words.
        selected: pseudo-labels.
        dev: scored once.
        test: scored once.
    """

    what: str
    gold: Sequence[float] = ()
    gain: str | None = None
    accepted: str | None = None
    selected: str | None = None
    dev: Sequence[float] = ()
    test: Sequence[float] = ()


def table(results: Results, manifest: Manifest) -> pd.DataFrame:
    """A row each for the majority class, a linear classifier, supervised training, every round, and all labels."""
    split = results.split
    gold = GoldLabels.of(manifest, split.gold)
    constant = {
        name: [majority_f1(gold, GoldLabels.of(manifest, ids))] if ids else []
        for name, ids in (("gold", split.gold), ("dev", split.dev), ("test", split.test))
    }
    final, linear = results.supervised_final, results.linear
    rows = [
        Row("majority class", constant["gold"], dev=constant["dev"], test=constant["test"]),
        Row("linear, from the same gold", linear["gold"], dev=linear["dev"], test=linear["test"]),
        Row("supervised (round 0)", results.supervised, dev=final["dev"], test=final["test"]),
        *(row for name, policy in results.policies.items() for row in _rounds(name, policy)),
    ]
    if results.all_labels is not None:
        bound = results.all_labels
        rows.append(Row("all labels (upper bound)", dev=bound["dev"], test=bound["test"]))
    return pd.DataFrame(
        {
            "what": [row.what for row in rows],
            "selected": [row.selected for row in rows],
            "out-of-fold gold": [_cell(row.gold) for row in rows],
            "gain ± s.e.": [row.gain for row in rows],
            "accepted": [row.accepted for row in rows],
            "dev": [_cell(row.dev) for row in rows],
            "test": [_cell(row.test) for row in rows],
        }
    )


def warning(results: Results, manifest: Manifest) -> str:
    """What to look at if the supervised networks are not above the two simple answers; nothing if they are.

    They are compared out of fold, where nothing of the pool, of dev or of test is looked at.
    """
    found = float(np.mean(results.supervised))
    gold = GoldLabels.of(manifest, results.split.gold)
    always, linear = majority_f1(gold, gold), float(np.mean(results.linear["gold"]))
    if found > max(always, linear):
        return ""
    return (
        f"Warning: out of fold the supervised networks have a weighted F1 of {percent(found)}, which is not above both "
        f"the majority class ({percent(always)}) and a linear classifier of the same gold ({percent(linear)}). Train "
        "them longer (training.steps) or at another rate before you look at gains over them."
    )


def as_page(results: Results, manifest: Manifest) -> str:
    """The report in Markdown."""
    split, seeds = results.split, len(results.supervised)
    return "\n".join(
        [
            f"# Self-training on {manifest.corpus}",
            "",
            *markdown_table(table(results, manifest)),
            "",
            f"Weighted F1 in per cent, mean ± standard deviation over {seeds} seeds, networks of single utterances. "
            f"{len(split.gold)} gold utterances in {len(split.folds)} folds by {split.by}; the pool has "
            f"{len(split.pool)}, none of which shares its {' or '.join(split.apart) or 'id'} with gold or with what is "
            "scored. Gold is out of fold: no label of a fold has reached the networks that are scored on it, neither "
            "directly nor through pseudo-labels. The linear classifier is a logistic regression of single utterances "
            "and has no seed: a network should be above it. A round is accepted if its gain over the one accepted "
            "before, paired by seed, exceeds its standard error. Dev and test are scored once, by students of the last "
            "accepted round that learned from all gold; where none is accepted, these are the supervised networks.",
            "",
            transduction(split.transductive),
            "",
            *([found, ""] if (found := warning(results, manifest)) else []),
            f"Split {split.sha256}, manifest {split.manifest_sha256}.",
            "",
        ]
    )


def as_json(results: Results, manifest: Manifest) -> dict[str, object]:
    """The report for programs."""
    split = results.split
    return {
        "corpus": manifest.corpus,
        "transductive": split.transductive,
        "split": {
            "sha256": split.sha256,
            "manifest_sha256": split.manifest_sha256,
            "folds": [len(fold) for fold in split.folds],
            "by": split.by,
            "apart": list(split.apart),
            "gold": len(split.gold),
            "pool": len(split.pool),
            "dev": len(split.dev),
            "test": len(split.test),
        },
        "temperature": results.temperature,
        "linear": results.linear,
        "supervised": {"gold": results.supervised, **results.supervised_final},
        "policies": {
            name: {"accepted_round": result.accepted, **asdict(result)} for name, result in results.policies.items()
        },
        "all_labels": results.all_labels,
    }


def transduction(is_transductive: bool) -> str:
    """What a report says about test utterances in the pool.

    Example:
        >>> transduction(True)
        'Transductive: the pool has utterances of test, without their labels; compare with transductive results only.'
    """
    if is_transductive:
        what = "the pool has utterances of test, without their labels"
        return f"Transductive: {what}; compare with transductive results only."
    return "Inductive: no utterance of dev or test is in the pool."


def _rounds(name: str, result: PolicyResult) -> list[Row]:
    rows = []
    for one in result.rounds:
        final = result.final if one["round"] == result.accepted else _NONE
        gain = one["gain"]
        rows.append(
            Row(
                f"{name}, round {one['round']}",
                one["gold"],
                f"{100 * gain['mean']:+.2f} ± {100 * gain['standard_error']:.2f}",
                "yes" if one["accepted"] else "no",
                str(one["counts"]["selected"]),
                final["dev"],
                final["test"],
            )
        )
    if result.accepted == 0:
        rows.append(Row(f"{name}: falls back to round 0", dev=result.final["dev"], test=result.final["test"]))
    return rows


def _cell(scores: Sequence[float]) -> str | None:
    if not scores:
        return None
    if len(scores) == 1:
        return percent(scores[0])
    return spread({"value": float(np.mean(scores)), "sd": float(np.std(scores, ddof=1))})
