"""Settings compared by what they predict for training dialogues that they did not learn from."""

from collections.abc import Sequence
from dataclasses import replace
from typing import TypedDict

import pandas as pd

from m2fnet.corpora.folds import FoldBy
from m2fnet.formatting import bounds, escaped, markdown_table, spread
from m2fnet.metrics.bootstrap import FEWEST_DIALOGUES, bootstrap_interval, paired_difference
from m2fnet.metrics.counts import Counts
from m2fnet.metrics.scores import STATISTICS, main_score, score_title
from m2fnet.runs.tested import TestedRun
from m2fnet.sweeps.processes import PlannedRun, PlannedSetting

_FOLD = "data.fold"


# a score over all folds together: `value` and `sd`, mean and standard deviation over seeds, and `low` and `high`, its
# interval over dialogues
FoldScore = dict[str, float | None]


class FoldRow(TypedDict):
    """One setting; ``difference`` is that to the best one, None for the best itself."""

    setting: str
    options: dict[str, str]
    seeds: list[int]
    runs: list[str]
    score: FoldScore
    difference: FoldScore | None


class FoldTable(TypedDict):
    """What ``folds.json`` holds, best setting first."""

    folds: int
    by: str
    score: str
    dialogues: int
    utterances: int
    settings: list[FoldRow]


def with_folds(setting: PlannedSetting, folds: int, by: FoldBy) -> list[PlannedSetting]:
    """The setting once for every fold that is held out."""
    return [
        PlannedSetting({**setting.values, _FOLD: f"{{number: {number}, of: {folds}, by: {by}}}"})
        for number in range(folds)
    ]


def compare_out_of_fold(runs: Sequence[PlannedRun], folds: int, by: FoldBy) -> FoldTable:
    """Settings by the score of their predictions for all held-out dialogues, best first.

    Args:
        runs: tested ones: every fold of every seed of every setting, as `with_folds` planned them.
        folds: how many folds there are.
        by: what stayed together in them.
    """
    groups: dict[str, dict[int, list[PlannedRun]]] = {}
    for run in runs:
        options = {key: value for key, value in run.setting.values.items() if key != _FOLD}
        groups.setdefault(str(PlannedSetting(options)), {}).setdefault(run.seed, []).append(run)
    found: list[tuple[FoldRow, Counts]] = []
    for name, seeds in groups.items():
        pooled = []
        for members in seeds.values():
            read = [TestedRun.read(one.folder) for one in members]
            pooled.append(replace(read[0], scored=tuple(row for run in read for row in run.scored)))
        counts = Counts.stack([run.counts() for run in pooled])
        kind = pooled[0].kind
        statistic = STATISTICS[kind][main_score(kind)]
        values = pd.Series([float(value) for value in statistic(counts.sum(1))])
        interval = bootstrap_interval(counts, statistic) if counts.shape[1] >= FEWEST_DIALOGUES else None
        members = [one for of in seeds.values() for one in of]
        row: FoldRow = {
            "setting": name,
            "options": {key: value for key, value in members[0].setting.values.items() if key != _FOLD},
            "seeds": list(seeds),
            "runs": [str(one.folder) for one in members],
            "score": {
                "value": float(values.mean()),
                "sd": float(values.std()) if len(values) > 1 else None,
                "low": interval.low if interval else None,
                "high": interval.high if interval else None,
            },
            "difference": None,
        }
        found.append((row, counts))
    found.sort(key=lambda one: float(one[0]["score"]["value"] or 0), reverse=True)
    best = found[0][1]
    for row, counts in found[1:]:
        if counts.shape[1] >= FEWEST_DIALOGUES:
            apart = paired_difference(counts, best, statistic)
            row["difference"] = {"value": apart.value, "sd": None, "low": apart.low, "high": apart.high}
    return {
        "folds": folds,
        "by": by,
        "score": main_score(kind),
        "dialogues": best.shape[1],
        "utterances": int(best[0].n.sum()),
        "settings": [row for row, _ in found],
    }


def as_page(table: FoldTable) -> str:
    """The table as Markdown, with how to read it."""
    rows = [
        [
            escaped(row["setting"]),
            str(len(row["seeds"])),
            spread(row["score"]),
            bounds(row["score"]),
            "–" if row["difference"] is None else f"{spread(row['difference'])} ({bounds(row['difference'])})",
        ]
        for row in table["settings"]
    ]
    title = score_title(table["score"])
    columns = ["setting", "seeds", f"out-of-fold {title}", "95 % interval", "less than the best (95 % interval)"]
    return "\n".join(
        [
            f"# Out-of-fold scores: {table['folds']} folds by {table['by']}",
            "",
            *markdown_table(pd.DataFrame(rows, columns=columns)),
            "",
            f"Every run learns from all folds but one, its epoch is chosen on dev, and its predictions for that fold "
            f"count. The score is that of all {table['utterances']} labelled utterances of the {table['dialogues']} "
            "training dialogues together, mean ± standard deviation over seeds. The test split was not read.",
            "",
        ]
    )
