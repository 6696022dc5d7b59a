"""The data that a finished run is scored on: its own, or others, whose labels are brought to those of the run."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from m2fnet.errors import UsageError
from m2fnet.formatting import plain
from m2fnet.records import LabelSet
from m2fnet.runs.folder import CONFIG
from m2fnet.runs.other_data import OtherData, other_data, parse_label_map, relabelled
from m2fnet.runs.provenance import Input
from m2fnet.training.callbacks import print_rank_zero


@dataclass(frozen=True)
class Scoring:
    """What a run is scored on.

    Attributes:
        folder: of the manifest.
        stores: stream -> store.
        label_map: which label of other data is which of the run, as it was typed; None if it was not.
        needs_labels: whether labels are compared with the answers.
    """

    folder: str
    stores: Mapping[str, Input]
    label_map: str | None
    needs_labels: bool


def settle_data(
    run: Path,
    data: Any,  # noqa: ANN401 - a data module with a manifest and a problem, which its class does not declare
    scoring: Scoring,
    trained_labels: Callable[[], LabelSet | None],
    *,
    retrain: str,
) -> tuple[OtherData | None, dict[str, int]]:
    """Find out whether ``run`` is scored on its own data; give others the labels of the run.

    Args:
        run: the run folder.
        data: of the command; its manifest and problem are replaced where the labels are.
        scoring: what was given.
        trained_labels: gives the emotions that the weights answer; None if they have no fixed ones.
        retrain: the command that trains the run again.

    Returns:
        The other data, None if they are the run's own, and label -> number of utterances that are context only because
        the run has no such emotion.

    Raises:
        UsageError: if the data of the run have been replaced, or other data do not fit it.
    """
    advice = (
        f"To score the run on other data, put them into other folders and name those; to train it again, run "
        f"`{retrain} --config {run / CONFIG} --overwrite`."
    )
    other = other_data(run, data.manifest, scoring.folder, scoring.stores, retrain=advice)
    if other is None:
        if scoring.label_map is not None:
            raise UsageError("--label-map is for scoring a run on another corpus, but these are the run's own data.")
        return None, {}
    print_rank_zero(plain(other.sentence(run)))
    label_map = parse_label_map(scoring.label_map) if scoring.label_map is not None else {}
    trained = trained_labels()
    if trained is None:
        return other, {}
    data.manifest, lost = relabelled(data.manifest, trained, label_map, needs_labels=scoring.needs_labels)
    data.problem = replace(data.problem, label_set=trained)
    for label, count in lost.items():
        print_rank_zero(plain(f"{label}: {count} utterances are context only, because the run has no such emotion."))
    return other, lost
