"""Several tested settings as numbers: scores with intervals, differences, classes, dialogues and groups of turns."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from typing import Any

import numpy as np

from m2fnet.errors import UsageError
from m2fnet.metrics.bootstrap import (
    FEWEST_DIALOGUES,
    Interval,
    Resampling,
    Statistic,
    bootstrap_intervals,
    paired_differences,
)
from m2fnet.metrics.groups import GROUPINGS, groups
from m2fnet.metrics.scores import Tables, accuracy, class_f1, confusion_tables, macro_f1, weighted_f1
from m2fnet.records import Dialogue
from m2fnet.runs.tested import TestedRun, TestedSetting, what_differs

STATISTICS: dict[str, Statistic] = {"weighted_f1": weighted_f1, "accuracy": accuracy, "macro_f1": macro_f1}
SHORT = 4  # labelled turns, below which a dialogue's own weighted F1 takes few values


def summarise_settings(
    settings: Sequence[TestedSetting],
    *,
    compare: Sequence[tuple[TestedSetting, TestedSetting]] = (),
    by: Sequence[str] = (),
    dialogues: Sequence[Dialogue] = (),
    resampling: Resampling | None = None,
) -> dict[str, Any]:
    """All numbers of ``m2fnet report`` as they go into its JSON file; every score is a fraction from 0 to 1.

    A score is ``{"mean", "sd", "low", "high"}``: mean and standard deviation over seeds (n - 1; None for one seed) and
    the interval over dialogues of that mean (None below `FEWEST_DIALOGUES`).

    Args:
        settings: as `m2fnet.runs.tested.collect` returns them.
        compare: pairs whose differences, first minus second, get an interval.
        by: keys of `m2fnet.metrics.groups.GROUPINGS`.
        dialogues: the test dialogues with all their turns; needed for ``by`` alone.
        resampling: how intervals are drawn.
    """
    resampling = resampling or Resampling()
    first = settings[0].runs[0]
    tables = {setting.name: setting.tables() for setting in settings}
    differs = what_differs(settings)
    return {
        "corpus": first.report["corpus"],
        "turns": len(first.predictions),
        "dialogues": next(iter(tables.values())).shape[1],
        "bootstrap": {"over": "dialogues", **asdict(resampling)},
        "majority": [_majority(first, name, resampling) for name in _majority_classes(settings)],
        "settings": [
            {**_setting(setting, tables[setting.name], resampling), "differs": differs[setting.name]}
            for setting in settings
        ],
        "differences": [_difference(pair, tables, resampling) for pair in compare],
        "groups": [
            _groups(settings, name, grouping.title, groups(dialogues, grouping), resampling)
            for name in by
            for grouping in GROUPINGS[name]
        ],
    }


def pairs_to_compare(settings: Sequence[TestedSetting]) -> list[tuple[TestedSetting, TestedSetting]]:
    """The two settings if there are two, else every other one with the text-only one if there is exactly one."""
    if len(settings) == 2:
        return [(settings[0], settings[1])]
    text = [setting for setting in settings if setting.runs[0].report["modalities"] == ["text"]]
    return [(setting, text[0]) for setting in settings if setting is not text[0]] if len(text) == 1 else []


def named(settings: Sequence[TestedSetting], name: str) -> TestedSetting:
    """The setting called ``name``, by its own name, the end of it, or the folder of one of its runs.

    Raises:
        UsageError: if there is none, or more than one.
    """
    name = name.rstrip("/")
    found = [setting for setting in settings if setting.name == name] or [
        setting
        for setting in settings
        if any(f"/{place}".endswith(f"/{name}") for place in (setting.name, *(str(run.folder) for run in setting.runs)))
    ]
    if len(found) != 1:
        expected = ", ".join(setting.name for setting in settings)
        raise UsageError(f"--compare names {name!r}, which is {len(found)} of the settings given; expected {expected}.")
    return found[0]


def _setting(setting: TestedSetting, tables: Tables, resampling: Resampling) -> dict[str, Any]:
    first, reports = setting.runs[0].report, [run.report for run in setting.runs]
    scores, per_class = _scores(tables, STATISTICS, resampling), _scores(tables, _classes(first), resampling)
    return {
        "setting": setting.name,
        "corpus": first["corpus"],
        "manifest_sha256": first["manifest_sha256"],
        "modalities": first["modalities"],
        "select": first["select"],
        "seeds": setting.seeds,
        "n": int(tables[0].sum()),
        "majority_class": first["test"]["majority_class"],
        **{f"test.{name}": score for name, score in scores.items()},
        "dev.weighted_f1": _spread([report["dev.weighted_f1"] for report in reports]),
        "per_class_f1": per_class,
        "per_dialogue": _per_dialogue(tables),
        "best_seed_selected_on_test": max(report["test.weighted_f1"] for report in reports),
        "runs": [str(run.folder) for run in setting.runs],
    }


def _classes(report: Mapping[str, Any]) -> dict[str, Statistic]:
    return {name: partial(_one_class, number) for number, name in enumerate(report["classes"])}


def _one_class(number: int, tables: Tables) -> Tables:
    one: Tables = class_f1(tables)[..., number]
    return one


def _scores(
    tables: Tables, statistics: Mapping[str, Statistic], resampling: Resampling
) -> dict[str, dict[str, float | None]]:
    intervals = bootstrap_intervals(tables, statistics, resampling)
    whole = tables.sum(1)
    return {
        name: _spread(statistic(whole).tolist()) | _bounds(intervals[name], tables.shape[1])
        for name, statistic in statistics.items()
    }


def _spread(values: Sequence[float]) -> dict[str, float | None]:
    return {"mean": float(np.mean(values)), "sd": float(np.std(values, ddof=1)) if len(values) > 1 else None}


def _bounds(interval: Interval, dialogues: int) -> dict[str, float | None]:
    if dialogues < FEWEST_DIALOGUES:
        return {"low": None, "high": None}
    return {"low": interval.low, "high": interval.high}


def _majority_classes(settings: Sequence[TestedSetting]) -> list[str]:
    """Usually one: settings trained on other splits may have another majority class."""
    return list(dict.fromkeys(setting.runs[0].report["test"]["majority_class"] for setting in settings))


def _majority(run: TestedRun, name: str, resampling: Resampling) -> dict[str, Any]:
    return {"class": name, **_scores(_always(run, name)[None], STATISTICS, resampling)}


def _always(run: TestedRun, name: str, ids: Collection[str] | None = None) -> Tables:
    """Confusion matrices (D, C, C) of answering ``name`` to every turn."""
    rows = [p for p in run.predictions if ids is None or p.id in ids]
    labels, dialogues = [str(p.label) for p in rows], [p.dialogue for p in rows]
    return confusion_tables(labels, [name] * len(rows), dialogues, run.report["classes"])


def _per_dialogue(tables: Tables) -> dict[str, Any]:
    """Quartiles over dialogues of each dialogue's own score, averaged over seeds, and how many dialogues are short."""
    of_each = {name: STATISTICS[name](tables).mean(0) for name in ("weighted_f1", "accuracy")}
    return {
        **{name: np.quantile(values, [0.25, 0.5, 0.75]).tolist() for name, values in of_each.items()},
        "dialogues": tables.shape[1],
        "short": int((tables[0].sum((-2, -1)) < SHORT).sum()),
    }


def _difference(
    pair: tuple[TestedSetting, TestedSetting], tables: Mapping[str, Tables], resampling: Resampling
) -> dict[str, Any]:
    first, second = pair
    statistics = {**STATISTICS, **{f"F1 of {k}": v for k, v in _classes(first.runs[0].report).items()}}
    found = paired_differences(tables[first.name], tables[second.name], statistics, resampling)
    dialogues = tables[first.name].shape[1]
    scores = {name: {"difference": interval.value, **_bounds(interval, dialogues)} for name, interval in found.items()}
    return {"first": first.name, "second": second.name, "scores": scores}


def _groups(
    settings: Sequence[TestedSetting], by: str, title: str, members: Mapping[str, list[str]], resampling: Resampling
) -> dict[str, Any]:
    rows = [_group(settings, name, set(ids), resampling) for name, ids in members.items()]
    return {"by": by, "title": title, "groups": rows}


def _group(settings: Sequence[TestedSetting], name: str, ids: set[str], resampling: Resampling) -> dict[str, Any]:
    """Scores of some turns; the draws are from the dialogues that have such a turn."""
    first = settings[0].runs[0]
    always = _always(first, first.report["test"]["majority_class"], ids)
    return {
        "group": name,
        "turns": int(always.sum()),
        "dialogues": len(always),
        "majority_weighted_f1": float(weighted_f1(always.sum(0))),
        "settings": {setting.name: _scores(setting.tables(ids), STATISTICS, resampling) for setting in settings},
    }
