"""Several tested settings as one tidy table: scores with intervals, differences, classes, dialogues and groups."""

import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from m2fnet.errors import UsageError
from m2fnet.metrics.bootstrap import (
    FEWEST_DIALOGUES,
    Interval,
    Resampling,
    bootstrap_intervals,
    paired_differences,
)
from m2fnet.metrics.counts import Array, Counts, count_dialogues
from m2fnet.metrics.groups import GROUPINGS, groups
from m2fnet.metrics.scores import STATISTICS, TWO_SCORES, Statistic, class_f1, main_score
from m2fnet.records import Dialogue, LabelKind
from m2fnet.runs.tested import TestedRun, TestedSetting, inputs_of, what_differs

COLUMNS = (
    *("table", "setting", "minus", "split", "group", "class", "score", "value", "sd", "low", "high"),
    *("seeds", "utterances", "dialogues"),
)
SHORT = 4  # labelled utterances, below which a dialogue's own weighted F1 takes few values

Row = dict[str, object]


@dataclass(frozen=True)
class Summary:
    """All numbers of ``m2fnet report``; every score is a fraction from 0 to 1.

    Attributes:
        corpus: name of the corpus.
        kind: whether an utterance has one emotion or a set of them; `m2fnet.metrics.scores.STATISTICS` has its scores.
        utterances: number of labelled test utterances.
        dialogues: number of their dialogues.
        short_dialogues: how many of those have fewer than `SHORT` labelled utterances.
        resampling: how the intervals were drawn.
        settings: a row per setting: ``setting`` as in ``scores``, ``name`` without the folders that all share, what
            was trained and on what, its seeds and run folders, and ``best_seed_selected_on_test``.
        differs: a row per setting with its ``name``, a column per dotted key whose value is not the same in all.
        scores: a row per number with the columns `COLUMNS`. ``table`` is ``overall``, ``seed``, ``class``,
            ``dialogues``, ``difference`` (``setting`` less the setting ``minus``) or the title of a grouping; ``value``
            the mean over seeds, ``sd`` its standard deviation (n - 1; missing for one seed), ``low`` and ``high`` the
            interval over dialogues (missing below `FEWEST_DIALOGUES`).
    """

    corpus: str
    kind: LabelKind
    utterances: int
    dialogues: int
    short_dialogues: int
    resampling: Resampling
    settings: pd.DataFrame
    differs: pd.DataFrame
    scores: pd.DataFrame

    def table(self, name: str) -> pd.DataFrame:
        """The rows of ``scores`` that belong to one table."""
        return self.scores[self.scores["table"] == name]

    @property
    def groupings(self) -> list[str]:
        """Titles of the groupings among the tables."""
        ours = ("overall", "seed", "class", "dialogues", "difference")
        return [name for name in self.scores["table"].unique() if name not in ours]

    def as_dict(self) -> dict[str, object]:
        """What ``summary.json`` holds: the facts, and both tables as a list of rows."""
        return {
            "corpus": self.corpus,
            "kind": self.kind,
            "utterances": self.utterances,
            "dialogues": self.dialogues,
            "short_dialogues": self.short_dialogues,
            "bootstrap": {"over": "dialogues", **asdict(self.resampling)},
            "settings": records(self.settings),
            "differs": records(self.differs),
            "scores": records(self.scores),
        }


def records(frame: pd.DataFrame) -> list[Row]:
    """The rows of ``frame`` for a JSON file, None for what is missing.

    Example:
        >>> records(pd.DataFrame({"class": ["joy"], "sd": [float("nan")]}))
        [{'class': 'joy', 'sd': None}]
    """
    plain = frame.astype(object)
    found: list[Row] = plain.where(frame.notna(), None).to_dict("records")
    return found


def summarise_settings(
    settings: Sequence[TestedSetting],
    *,
    compare: Sequence[tuple[TestedSetting, TestedSetting]] = (),
    group_by: Sequence[str] = (),
    dialogues: Sequence[Dialogue] = (),
    resampling: Resampling | None = None,
) -> Summary:
    """All numbers of ``m2fnet report``.

    Args:
        settings: as `m2fnet.runs.tested.collect` returns them.
        compare: pairs whose differences, first minus second, get an interval.
        group_by: keys of `m2fnet.metrics.groups.GROUPINGS`.
        dialogues: the test dialogues with all their utterances; only needed for ``group_by``.
        resampling: how intervals are drawn.
    """
    resampling = resampling or Resampling()
    first = settings[0].runs[0]
    statistics = STATISTICS[first.kind]
    main = main_score(first.kind)
    counted = {setting.name: setting.counts() for setting in settings}
    one_run = counted[settings[0].name][0]
    classes = {name: partial(_one_class, n) for n, name in enumerate(first.report["classes"])}
    size = {"utterances": int(one_run.n.sum()), "dialogues": len(one_run)}

    rows: list[Row] = []
    # usually the same baselines: settings trained on other splits may have another majority class
    for name, labels in {k: v for setting in settings for k, v in baselines_of(setting.runs[0]).items()}.items():
        baseline = {"table": "overall", "setting": name, "split": "test"}
        rows += _scored(baseline, _always(first, labels), statistics, resampling)
    # once for every choice of inputs
    for name, linear in {k: v for setting in settings for k, v in linear_of(setting.runs[0]).items()}.items():
        for split, listed in (("test", tuple(statistics)), ("dev", (main,))):
            head = {"table": "overall", "setting": name, "split": split}
            rows += [{**head, **size, "score": score, "value": linear[split].get(score)} for score in listed]
    for setting in settings:
        head = {"setting": setting.name, "split": "test"}
        counts = counted[setting.name]
        rows += _scored({"table": "overall", **head}, counts, statistics, resampling)
        on_dev = [run.report["dev"][main] for run in setting.runs]
        rows.append({"table": "overall", **head, "split": "dev", "score": main, **_over_seeds(on_dev)})
        for number, seed in enumerate(setting.seeds):
            whole = counts[number].sum(0)
            rows += [
                {"table": "seed", **head, **size, "group": str(seed), "score": score, "value": float(statistic(whole))}
                for score, statistic in statistics.items()
            ]
        for row in _scored({"table": "class", **head}, counts, classes, resampling):
            rows.append({**row, "class": row["score"], "score": "f1"})
        rows += [{"table": "dialogues", **head, **size, **row} for row in _quartiles(counts, first.kind)]
    for a, b in compare:
        pair = {"table": "difference", "setting": a.name, "minus": b.name, "split": "test"}
        sides = counted[a.name], counted[b.name]
        rows += [{**pair, **size, **row} for row in _differences(*sides, statistics, classes, resampling)]
    for grouping in (grouping for key in group_by for grouping in GROUPINGS[key]):
        for group, ids in groups(dialogues, grouping).items():
            head, members = {"table": grouping.title, "split": "test", "group": group}, set(ids)
            name, labels = next(iter(baselines_of(first).items()))
            baseline = {**head, "setting": name}
            rows += _scored(baseline, _always(first, labels, members), statistics, resampling)
            for setting in settings:
                rows += _scored({**head, "setting": setting.name}, setting.counts(members), statistics, resampling)

    scores = pd.DataFrame([{"minus": "", "group": "", "class": "", **row} for row in rows], columns=list(COLUMNS))
    integers = ["seeds", "utterances", "dialogues"]
    scores[integers] = scores[integers].astype("Int64")
    names = short_names([setting.name for setting in settings])
    differs = what_differs(settings)
    return Summary(
        corpus=first.report["corpus"],
        kind=first.kind,
        **size,
        short_dialogues=int((one_run.n < SHORT).sum()),
        resampling=resampling,
        settings=pd.DataFrame([_facts(setting, name) for setting, name in zip(settings, names, strict=True)]),
        differs=pd.DataFrame([{"setting": n, **differs[s.name]} for s, n in zip(settings, names, strict=True)]),
        scores=scores,
    )


def majority_name(label: str) -> str:
    """The setting under which the scores of always predicting ``label`` are listed.

    Example:
        >>> majority_name("neutral")
        'majority class (neutral)'
    """
    return f"majority class ({label})"


def baselines_of(run: TestedRun) -> dict[str, tuple[str, ...]]:
    """Name -> what it always predicts, of the baselines that the report of ``run`` has; the most important first."""
    test = run.report["test"]
    if run.kind == "single":
        return {majority_name(test["majority_class"]): (test["majority_class"],)}
    return {
        f"{name} ({', '.join(one['labels']) or 'none'})": tuple(one["labels"])
        for name, one in test["baselines"].items()
    }


def linear_of(run: TestedRun) -> dict[str, Mapping[str, Mapping[str, float]]]:
    """Name -> scores of the linear classifier in the report of ``run``, by split; empty if it has none."""
    name = f"linear classifier ({' + '.join(inputs_of(run.report))})"
    return {name: run.report["linear"]} if run.report.get("linear") else {}


def pairs_to_compare(settings: Sequence[TestedSetting]) -> list[tuple[TestedSetting, TestedSetting]]:
    """The two settings if there are two, else every other one with the text-only one if there is exactly one."""
    if len(settings) == 2:
        return [(settings[0], settings[1])]
    text = [setting for setting in settings if setting.runs[0].report["modalities"] == ["text"]]
    return [(setting, text[0]) for setting in settings if setting is not text[0]] if len(text) == 1 else []


def named(settings: Sequence[TestedSetting], name: str) -> TestedSetting:
    """The setting called ``name``: its own name, the end of it, or the folder of one of its runs.

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


def short_names(settings: Sequence[str]) -> list[str]:
    """What of the path of each setting tells it apart.

    Example:
        >>> short_names(["runs/meld/text", "runs/meld/audio"])
        ['text', 'audio']
    """
    places = [Path(name).resolve() for name in settings]
    common = os.path.commonpath([place.parent for place in places])
    return [str(place.relative_to(common)) for place in places]


def _facts(setting: TestedSetting, name: str) -> Row:
    first, main = setting.runs[0].report, main_score(setting.kind)
    return {
        "setting": setting.name,
        "name": name,
        "modalities": " + ".join(inputs_of(first)),
        "seeds": setting.seeds,
        "select": first["select"],
        "manifest_sha256": first["manifest_sha256"],
        "majority_class": first["test"].get("majority_class"),
        "best_seed_selected_on_test": max(run.report["test"][main] for run in setting.runs),
        "runs": [str(run.folder) for run in setting.runs],
    }


def _one_class(number: int, counts: Counts) -> Array:
    one: Array = class_f1(counts)[..., number]
    return one


def _scored(
    head: Mapping[str, object], counts: Counts, statistics: Mapping[str, Statistic], resampling: Resampling
) -> Iterator[Row]:
    """A row per score of counts ``(S, D)``: mean and deviation over the seeds, interval over the dialogues."""
    intervals = bootstrap_intervals(counts, statistics, resampling)
    whole, dialogues = counts.sum(1), counts.shape[1]
    for name, statistic in statistics.items():
        yield {
            **head,
            "score": name,
            **_over_seeds(statistic(whole).tolist()),
            **_bounds(intervals[name], dialogues),
            "utterances": int(whole[0].n),
            "dialogues": dialogues,
        }


def _over_seeds(values: Sequence[float]) -> Row:
    sd = float(np.std(values, ddof=1)) if len(values) > 1 else None
    return {"value": float(np.mean(values)), "sd": sd, "seeds": len(values)}


def _bounds(interval: Interval, dialogues: int) -> Row:
    return {"low": interval.low, "high": interval.high} if dialogues >= FEWEST_DIALOGUES else {}


def _always(run: TestedRun, labels: tuple[str, ...], ids: Collection[str] | None = None) -> Counts:
    """Counts (1, D) of predicting ``labels`` for every utterance."""
    rows = [p for p in run.scored if ids is None or p.id in ids]
    true, dialogues = [p.label_sets[0] or () for p in rows], [p.dialogue for p in rows]
    return Counts.stack([count_dialogues(true, [labels] * len(rows), dialogues, run.report["classes"])])


def _quartiles(counts: Counts, kind: LabelKind) -> Iterator[Row]:
    """Quartiles over dialogues of each dialogue's own score, averaged over seeds."""
    for name in TWO_SCORES[kind]:
        values = np.quantile(STATISTICS[kind][name](counts).mean(0), [0.25, 0.5, 0.75]).tolist()
        for group, value in zip(("25 %", "median", "75 %"), values, strict=True):
            yield {"group": group, "score": name, "value": value, "seeds": len(counts)}


def _differences(
    first: Counts,
    second: Counts,
    statistics: Mapping[str, Statistic],
    classes: Mapping[str, Statistic],
    resampling: Resampling,
) -> Iterator[Row]:
    of_classes = {f"F1 of {name}": statistic for name, statistic in classes.items()}
    found = paired_differences(first, second, {**statistics, **of_classes}, resampling)
    for name, interval in found.items():
        label = name.removeprefix("F1 of ") if name in of_classes else ""
        score = "f1" if label else name
        yield {"score": score, "class": label, "value": interval.value, **_bounds(interval, first.shape[1])}
