"""Two runs that should be one: are their weights and scores the same, and if not, by how much?"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from m2fnet.errors import RunError
from m2fnet.files import read_json
from m2fnet.metrics.scores import STATISTICS, main_score
from m2fnet.runs.checkpoints import kept_weights, read_checkpoint
from m2fnet.runs.folder import FIT, REPORT

_ADVICE = "Train the run again."
_OF_A_FIT = ("select", "epoch", "epochs", "utterances")
_FITTED = "weights_sha256"  # in `fit.json` of an extractor that was fitted in one pass, which has no checkpoint


@dataclass(frozen=True)
class Comparison:
    """One thing that was compared.

    Attributes:
        what: its name.
        is_equal: whether both runs have exactly the same.
        detail: what was found, for a person.
    """

    what: str
    is_equal: bool
    detail: str


def compare_runs(before: Path, after: Path) -> list[Comparison]:
    """Kept weights, what `fit` says, and the scores of the report if the first run has one.

    Raises:
        RunError: if a file of either is missing or damaged.
    """
    fits = [read_json(run / FIT, RunError, _ADVICE) for run in (before, after)]
    if _FITTED in fits[0]:
        hashes = dict.fromkeys(str(fit.get(_FITTED)) for fit in fits)
        detail = f"SHA-256 of all fitted files: {' and '.join(f'{one[:12]}…' for one in hashes)}"
        weights = Comparison("weights", len(hashes) == 1, detail)
    else:
        weights = compare_weights(
            *(
                read_checkpoint(kept_weights(run, fit))["state_dict"]
                for run, fit in zip((before, after), fits, strict=True)
            )
        )
    found = [weights, compare_values("training", *map(_of_a_fit, fits))]
    return [*found, compare_reports(before, after)] if (before / REPORT).exists() else found


def _of_a_fit(fit: Mapping[str, Any]) -> dict[str, Any]:
    """What two fits should have in common: their epochs and every score on dev."""
    return {key: value for key, value in fit.items() if key in _OF_A_FIT or key.startswith("dev.")}


def compare_weights(before: Mapping[str, Tensor], after: Mapping[str, Tensor]) -> Comparison:
    """Tensors by name, bit for bit; if they differ, the first that does and the largest difference of a number.

    >>> compare_weights({"a": torch.zeros(2)}, {"a": torch.tensor([0.0, 0.5])}).detail
    '1 of 1 tensors differ, the first is a; the largest difference is 0.5 in a'
    """
    odd = [name for name in dict.fromkeys((*before, *after)) if _shape(before, name) != _shape(after, name)]
    if odd:
        return Comparison("weights", False, f"{len(odd)} tensors are of another shape, or not in both: {odd[0]}")
    differ = [name for name in before if not torch.equal(before[name], after[name])]
    if not differ:
        return Comparison("weights", True, f"{len(before)} tensors, bit for bit")
    sizes = {name: float((before[name].double() - after[name].double()).abs().max()) for name in differ}
    largest = max(sizes, key=sizes.__getitem__)
    return Comparison(
        "weights",
        False,
        f"{len(differ)} of {len(before)} tensors differ, the first is {differ[0]}; the largest difference is "
        f"{sizes[largest]:.3g} in {largest}",
    )


def compare_reports(before: Path, after: Path) -> Comparison:
    """All scores on dev and test that the first report has."""
    return compare_values("report", *(scores_of(read_json(run / REPORT, RunError, _ADVICE)) for run in (before, after)))


def scores_of(report: Mapping[str, Any]) -> dict[str, Any]:
    """The scores of a report by name.

    >>> scores_of({"dev": {"weighted_f1": 0.5}, "test": {"n": 5}, "seed": 3})
    {'dev.weighted_f1': 0.5, 'test.n': 5}
    """
    return {f"{split}.{key}": value for split in ("dev", "test") for key, value in report.get(split, {}).items()}


def compare_values(what: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> Comparison:
    """Plain values by name, all of which are named if they are the same, and else the first that differs.

    >>> compare_values("report", {"test.weighted_f1": 0.5, "test.n": 5}, {"test.weighted_f1": 0.5, "test.n": 5}).detail
    'test.weighted_f1 50.00, test.n'
    >>> compare_values("report", {"test.n": 5}, {"test.n": 6}).detail
    '1 of 1 values differ, the first is test.n: 5 and 6'
    """
    differ = [key for key in before if before[key] != after.get(key)]
    if not differ:
        main = tuple(f".{main_score(kind)}" for kind in STATISTICS)
        names = (f"{key} {100 * before[key]:.2f}" if key.endswith(main) else key for key in before)
        return Comparison(what, True, ", ".join(names))
    first = f"{differ[0]}: {before[differ[0]]} and {after.get(differ[0])}"
    return Comparison(what, False, f"{len(differ)} of {len(before)} values differ, the first is {first}")


def _shape(weights: Mapping[str, Tensor], name: str) -> tuple[torch.Size, torch.dtype] | None:
    return (weights[name].shape, weights[name].dtype) if name in weights else None
