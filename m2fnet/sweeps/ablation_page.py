"""The tables of an ablation as a page of Markdown, in per cent, the paper's numbers beside ours."""

from collections.abc import Mapping
from typing import Any

from m2fnet.formatting import bounds, escaped, spread, table
from m2fnet.reports.summary_page import PAIRED, how_drawn

_COLUMNS = (
    "",
    "weighted F1",
    "paper",
    "95 % interval",
    "accuracy",
    "paper's accuracy",
    "dev weighted F1",
    "seeds",
)


def as_markdown(content: Mapping[str, Any]) -> str:
    """The page of what is in ``ablation.json``; the paper's columns only where a row has its numbers."""
    lines = [
        f"# Ablation of {escaped(content['config'])}, seeds {content['seeds']}",
        "",
        "Scores on test, means over the seeds. Weights are selected as configured; choose among rows by dev, whose "
        "best is bold, not by test.",
    ]
    if not any(row["paper"] for part in content["tables"] for row in part["rows"]):
        lines += ["", "The paper's numbers are of the test sets of MELD (2610 turns) and IEMOCAP (1622) alone."]
    for part in content["tables"]:
        lines += ["", f"## {part['title']}", "", *_table(part)]
        if part["summary"]:
            lines += ["", how_drawn(part["summary"])]
        if part["differences"]:
            lines += ["", *map(_difference, part["differences"]), "", PAIRED]
    for one in content["left_out"]:
        lines += ["", f"## {one['title']}", "", f"Left out: {one['why']}"]
        if one["commands"]:
            lines += ["", "```bash", one["commands"].rstrip(), "```"]
    return "\n".join(lines) + "\n"


def _table(part: Mapping[str, Any]) -> list[str]:
    rows = part["rows"]
    has_paper = any(row["paper"] for row in rows)
    best = max((row["scores"]["dev.weighted_f1"]["mean"] for row in rows if row["scores"]), default=None)
    always = part["summary"]["majority"] if part["summary"] else []
    cells = [*map(_majority, always), *(_cells(row, best) for row in rows)]
    kept = [name for name in _COLUMNS if has_paper or not name.startswith("paper")]
    return table(kept, [[row.get(name, "–") for name in kept] for row in cells])


def _majority(score: Mapping[str, Any]) -> dict[str, str]:
    return {"": f"majority class ({score['class']})", **_ours(score["weighted_f1"], score["accuracy"])}


def _cells(row: Mapping[str, Any], best_dev: float | None) -> dict[str, str]:
    """Column of `_COLUMNS` -> what stands there, where there is something."""
    scores, paper = row["scores"], row["paper"]
    cells = {"": row["row"], "seeds": "0"}
    if paper is not None:
        cells |= {"paper": f"{paper['weighted_f1']:.2f}", "paper's accuracy": f"{paper['accuracy']:.2f}"}
    if scores is not None:
        dev = scores["dev.weighted_f1"]
        cells |= _ours(scores["test.weighted_f1"], scores["test.accuracy"])
        cells["dev weighted F1"] = f"**{spread(dev)}**" if dev["mean"] == best_dev else spread(dev)
        cells["seeds"] = str(len(scores["seeds"]))
    return cells


def _ours(f1: Mapping[str, Any], accuracy: Mapping[str, Any]) -> dict[str, str]:
    return {"weighted F1": spread(f1), "95 % interval": bounds(f1), "accuracy": spread(accuracy)}


def _difference(found: Mapping[str, Any]) -> str:
    interval = "" if found["low"] is None else f" (95 % interval {bounds(found)})"
    return f"- {found['first']} minus {found['second']}: {100 * found['difference']:+.2f} points{interval}"
