"""The tables of an ablation as a page of Markdown, in per cent, with the paper's numbers next to ours."""

from collections.abc import Mapping, Sequence
from typing import TypedDict

import pandas as pd

from m2fnet.formatting import bounds, escaped, is_given, markdown_table, spread
from m2fnet.reports.summary_page import PAIRED

_COLUMNS = ["", "weighted F1", "paper", "95 % interval", "accuracy", "paper's accuracy", "dev weighted F1", "seeds"]

Score = Mapping[str, float | None]


class AblationRow(TypedDict):
    """A line of a table: ``scores`` are ``{"test.weighted_f1": {"value", "sd", "low", "high"}, ...}``."""

    row: str
    setting: str | None
    seeds: Sequence[int]
    runs: Sequence[str]
    scores: Mapping[str, Score]
    paper: Mapping[str, float] | None


class AblationDifference(TypedDict):
    """Weighted F1 of ``first`` less that of ``second``."""

    first: str
    second: str
    value: float | None
    low: float | None
    high: float | None


class AblationTable(TypedDict):
    """One table: ``majority`` maps the name of each majority class to its scores, ``note`` says how they were drawn."""

    name: str
    title: str
    rows: Sequence[AblationRow]
    majority: Mapping[str, Mapping[str, Score]]
    differences: Sequence[AblationDifference]
    note: str


class NotMade(TypedDict):
    """A table that was not made, why, and the commands that help."""

    title: str
    why: str
    commands: str


class Ablation(TypedDict):
    """What ``ablation.json`` holds."""

    config: str
    seeds: str
    tables: Sequence[AblationTable]
    not_made: Sequence[NotMade]


def as_markdown(content: Ablation) -> str:
    """The page of what is in ``ablation.json``; the paper's columns only where a row has its numbers."""
    lines = [
        f"# Ablation of {escaped(content['config'])}, seeds {content['seeds']}",
        "",
        "Scores on test, means over the seeds. Weights are selected as configured; choose among rows by dev, whose "
        "best is bold, not by test.",
    ]
    if not any(row["paper"] for part in content["tables"] for row in part["rows"]):
        lines += ["", "The paper's numbers are only of the test sets of MELD (2610 utterances) and IEMOCAP (1622)."]
    for part in content["tables"]:
        lines += ["", f"## {part['title']}", "", *markdown_table(_table(part))]
        lines += ["", part["note"]] if part["note"] else []
        if part["differences"]:
            lines += ["", *map(_difference, part["differences"]), "", PAIRED]
    for one in content["not_made"]:
        lines += ["", f"## {one['title']}", "", f"Not made: {one['why']}"]
        if one["commands"]:
            lines += ["", "```bash", one["commands"].rstrip(), "```"]
    return "\n".join(lines) + "\n"


def _table(part: AblationTable) -> pd.DataFrame:
    """The rows as text, the majority class above them."""
    on_dev = [row["scores"]["dev.weighted_f1"]["value"] or 0.0 for row in part["rows"] if row["scores"]]
    lines: list[dict[str, object]] = [{"": name, **_ours(scores)} for name, scores in part["majority"].items()]
    for row in part["rows"]:
        line: dict[str, object] = {"": row["row"], "seeds": str(len(row["seeds"]))}
        if row["paper"] is not None:
            line["paper"], line["paper's accuracy"] = (
                f"{row['paper'][key]:.2f}" for key in ("weighted_f1", "accuracy")
            )
        if row["scores"]:
            dev = row["scores"]["dev.weighted_f1"]
            line |= _ours(row["scores"])
            line["dev weighted F1"] = f"**{spread(dev)}**" if dev["value"] == max(on_dev) else spread(dev)
        lines.append(line)
    table = pd.DataFrame(lines, columns=_COLUMNS)
    has_paper = any(row["paper"] for row in part["rows"])
    return table if has_paper else table.drop(columns=["paper", "paper's accuracy"])


def _ours(scores: Mapping[str, Score]) -> dict[str, object]:
    f1 = scores["test.weighted_f1"]
    return {"weighted F1": spread(f1), "95 % interval": bounds(f1), "accuracy": spread(scores["test.accuracy"])}


def _difference(found: AblationDifference) -> str:
    ends = {"low": found["low"], "high": found["high"]}
    interval = f" (95 % interval {bounds(ends)})" if is_given(found["low"]) else ""
    return f"- {found['first']} minus {found['second']}: {100 * (found['value'] or 0):+.2f} points{interval}"
