"""A summary of settings as a page of Markdown tables, and as rows for a spreadsheet."""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from m2fnet.formatting import bounds, escaped, percent, spread, table, upright
from m2fnet.metrics.bootstrap import FEWEST_DIALOGUES
from m2fnet.reports.summary import SHORT

COLUMNS = ("table", "setting", "item", "score", "value", "sd", "low", "high", "turns", "dialogues")
PAIRED = (
    "Paired: each draw takes the same dialogues for both sides, and draws the seeds too. An interval that holds 0 "
    "leaves open which is better. Many comparisons at once find some difference by chance."
)
_TITLES = {"weighted_f1": "weighted F1", "accuracy": "accuracy", "macro_f1": "macro F1"}


def as_page(summary: dict[str, Any], *, selected_on_test: bool = False) -> str:
    """The summary as Markdown, scores in per cent.

    Args:
        summary: as `m2fnet.reports.summary.summarise_settings` returns it.
        selected_on_test: add the best seed by its test score, named as what it is.
    """
    names = _short_names(summary)
    lines = [
        f"# {escaped(summary['corpus'])}: {summary['turns']} test turns in {summary['dialogues']} dialogues",
        "",
        *_headline(summary, names, selected_on_test),
        *_differences(summary, names),
        *_classes(summary, names),
        *_dialogues(summary, names),
        *(line for part in summary["groups"] for line in _group_table(part, names)),
    ]
    return "\n".join(lines) + "\n"


def as_rows(summary: dict[str, Any]) -> list[dict[str, Any]]:
    """One row per number with the columns `COLUMNS`; fractions from 0 to 1."""
    size = {"turns": summary["turns"], "dialogues": summary["dialogues"]}
    return [{**dict.fromkeys(COLUMNS), **size, **row} for row in _rows(summary)]


def _rows(summary: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for row in summary["majority"]:
        for score in _TITLES:
            yield {
                "table": "overall",
                "setting": f"majority class ({row['class']})",
                "score": score,
                **_value(row[score]),
            }
    for row in summary["settings"]:
        head = {"setting": row["setting"]}
        for score in (*(f"test.{name}" for name in _TITLES), "dev.weighted_f1"):
            size = {"turns": None, "dialogues": None} if score.startswith("dev.") else {}
            yield {"table": "overall", **head, "score": score.removeprefix("test."), **_value(row[score]), **size}
        for name, score in row["per_class_f1"].items():
            yield {"table": "class", **head, "item": name, "score": "f1", **_value(score)}
        for score in ("weighted_f1", "accuracy"):
            for quartile, value in zip((25, 50, 75), row["per_dialogue"][score], strict=True):
                yield {"table": "dialogue", **head, "item": f"{quartile} %", "score": score, "value": value}
    for row in summary["differences"]:
        for score, found in row["scores"].items():
            name = f"{row['first']} minus {row['second']}"
            yield {
                "table": "difference",
                "setting": name,
                "score": score,
                "value": found["difference"],
                **_bounds(found),
            }
    for part in summary["groups"]:
        for group in part["groups"]:
            size = {key: group[key] for key in ("turns", "dialogues")}
            for setting, scores in group["settings"].items():
                for score, found in scores.items():
                    head = {"table": part["title"], "setting": setting, "item": group["group"], "score": score}
                    yield {**head, **_value(found), **size}


def _value(score: dict[str, float | None]) -> dict[str, float | None]:
    return {"value": score["mean"], "sd": score["sd"], **_bounds(score)}


def _bounds(score: dict[str, float | None]) -> dict[str, float | None]:
    return {"low": score.get("low"), "high": score.get("high")}


def _short_names(summary: dict[str, Any]) -> dict[str, str]:
    """Setting -> what of its path tells it apart."""
    places = {row["setting"]: Path(row["setting"]).resolve() for row in summary["settings"]}
    common = os.path.commonpath([place.parent for place in places.values()])
    return {name: str(place.relative_to(common)) for name, place in places.items()}


def _headline(summary: dict[str, Any], names: dict[str, str], selected_on_test: bool) -> list[str]:
    draw = summary["bootstrap"]
    header = [
        "setting",
        "modalities",
        "seeds",
        "weighted F1",
        f"{100 * draw['level']:g} % interval",
        "accuracy",
        "macro F1",
    ]
    header += ["dev weighted F1", *(["best seed, selected on test"] if selected_on_test else [])]
    rows = []
    for row in summary["majority"]:
        scores = [spread(row["weighted_f1"]), bounds(row["weighted_f1"]), spread(row["accuracy"])]
        rows.append([f"majority class ({row['class']})", "–", "–", *scores, spread(row["macro_f1"]), "–"])
    for row in summary["settings"]:
        scores = [spread(row["test.weighted_f1"]), bounds(row["test.weighted_f1"]), spread(row["test.accuracy"])]
        scores += [spread(row["test.macro_f1"]), spread(row["dev.weighted_f1"])]
        rows.append([names[row["setting"]], " + ".join(row["modalities"]), str(len(row["seeds"])), *scores])
    if selected_on_test:
        best = [percent(row["best_seed_selected_on_test"]) for row in summary["settings"]]
        rows = [[*row, cell] for row, cell in zip(rows, ["–"] * len(summary["majority"]) + best, strict=True)]
    notes = [how_drawn(summary)]
    if selected_on_test:
        notes.append(
            "“Best seed, selected on test” is the highest test weighted F1 among the seeds of the row: a score that "
            "nobody can choose without the test labels, for comparison with papers that report such a one only."
        )
    if len({row["manifest_sha256"] for row in summary["settings"]}) > 1:
        notes.append("The settings come from different manifests; their test turns and labels are the same.")
    return [*table(header, rows), "", *(line for note in notes for line in (note, "")), *_what_differs(summary, names)]


def how_drawn(summary: Mapping[str, Any]) -> str:
    """What ± and the intervals of a summary are, for the line under a table."""
    draw = summary["bootstrap"]
    return (
        f"± is the standard deviation over seeds. The interval holds the middle {100 * draw['level']:g} % of "
        f"{draw['draws']} bootstrap draws (seed {draw['seed']}) of the {summary['dialogues']} test dialogues, each the "
        "mean over the seeds: how far other dialogues of the kind may move the score. Below "
        f"{FEWEST_DIALOGUES} dialogues there is none."
    )


def what_differs(summary: Mapping[str, Any], names: Mapping[str, str]) -> list[list[str]]:
    """A table, header first, of what the settings are as far as they are not the same; empty if they are.

    Their folders are named by a hash of it.
    """
    keys = list(summary["settings"][0]["differs"]) if summary["settings"] else []
    rows = [[names[row["setting"]], *(row["differs"][key] for key in keys)] for row in summary["settings"]]
    return upright([["setting", *keys], *rows]) if keys else []  # two networks differ in more than fits in a line


def _what_differs(summary: dict[str, Any], names: dict[str, str]) -> list[str]:
    rows = what_differs(summary, names)
    return [*table(rows[0], rows[1:]), ""] if rows else []


def _differences(summary: dict[str, Any], names: dict[str, str]) -> list[str]:
    if not summary["differences"]:
        return []
    rows = [
        [f"{names[row['first']]} − {names[row['second']]}", *(_gap(score) for score in row["scores"].values())]
        for row in summary["differences"]
    ]
    titles = [_TITLES.get(score, score) for score in summary["differences"][0]["scores"]]
    return [
        "## Differences, in points",
        "",
        *table(["", *titles], rows),
        "",
        PAIRED,
        "",
    ]


def _classes(summary: dict[str, Any], names: dict[str, str]) -> list[str]:
    settings = summary["settings"]
    rows = [
        [name, *(_with_interval(row["per_class_f1"][name]) for row in settings)] for name in settings[0]["per_class_f1"]
    ]
    rows.append(["macro F1", *(_with_interval(row["test.macro_f1"]) for row in settings)])
    return ["## F1 per class", "", *table(["class", *(names[row["setting"]] for row in settings)], rows), ""]


def _dialogues(summary: dict[str, Any], names: dict[str, str]) -> list[str]:
    rows = [
        [
            names[row["setting"]],
            *(percent(v) for score in ("weighted_f1", "accuracy") for v in row["per_dialogue"][score]),
        ]
        for row in summary["settings"]
    ]
    header = ["setting", "weighted F1: 25 %", "median", "75 %", "accuracy: 25 %", "median", "75 %"]
    spread = summary["settings"][0]["per_dialogue"]
    return [
        "## Spread over dialogues",
        "",
        *table(header, rows),
        "",
        f"Quartiles over the {spread['dialogues']} dialogues of each dialogue's own score, averaged over seeds. A "
        "dialogue's weighted F1 weighs only the emotions that occur in it: with one labelled turn it is 0 or 100, with "
        f"fewer than {SHORT} ({spread['short']} dialogues here) it takes a few values. It tells how far dialogues lie "
        "apart; its mean is not the score of the corpus.",
        "",
    ]


def _group_table(part: dict[str, Any], names: dict[str, str]) -> list[str]:
    rows = [
        [
            group["group"],
            str(group["turns"]),
            str(group["dialogues"]),
            percent(group["majority_weighted_f1"]),
            *(_with_interval(group["settings"][name]["weighted_f1"]) for name in names),
        ]
        for group in part["groups"]
    ]
    return [
        f"## Weighted F1 by {part['title']}",
        "",
        *table(["group", "turns", "dialogues", "majority class", *names.values()], rows),
        "",
        "Groups differ in their mix of emotions: compare each with its own majority class.",
        "",
    ]


def _with_interval(score: dict[str, Any]) -> str:
    bounds = "" if score["low"] is None else f" [{100 * score['low']:.1f}, {100 * score['high']:.1f}]"
    return percent(score["mean"]) + bounds


def _gap(score: dict[str, Any]) -> str:
    bounds = "" if score["low"] is None else f" [{100 * score['low']:+.2f}, {100 * score['high']:+.2f}]"
    return f"{100 * score['difference']:+.2f}{bounds}"
