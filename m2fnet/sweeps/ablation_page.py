"""The tables of an ablation as a page of Markdown, in per cent, with the paper's numbers next to ours."""

from collections.abc import Mapping, Sequence
from typing import TypedDict

import pandas as pd

from m2fnet.formatting import bounds, escaped, is_given, markdown_table, spread
from m2fnet.metrics.scores import score_title
from m2fnet.reports.summary_page import PAIRED
from m2fnet.sweeps.paper_tables import PAPER_TABLES

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
    """The main score of ``first`` less that of ``second``."""

    first: str
    second: str
    value: float | None
    low: float | None
    high: float | None


class AblationTable(TypedDict):
    """One table; ``note`` says how its intervals were drawn.

    ``shown`` are the names of the main score and of another; ``majority`` maps the name of each baseline to its scores.
    """

    name: str
    title: str
    shown: tuple[str, str]
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
    is_the_papers = any(part.get("name") in PAPER_TABLES for part in content["tables"])
    if is_the_papers and not any(row["paper"] for part in content["tables"] for row in part["rows"]):
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
    main, other = part["shown"]
    title, of_dev = score_title(main), f"dev.{main}"

    def ours(scores: Mapping[str, Score]) -> dict[str, object]:
        score = scores[f"test.{main}"]
        cells = {title: spread(score), "95 % interval": bounds(score)}
        return {**cells, score_title(other): spread(scores[f"test.{other}"])}

    on_dev = [row["scores"][of_dev]["value"] or 0.0 for row in part["rows"] if row["scores"]]
    lines: list[dict[str, object]] = [{"": name, **ours(scores)} for name, scores in part["majority"].items()]
    for row in part["rows"]:
        line: dict[str, object] = {"": row["row"], "seeds": str(len(row["seeds"]))}
        if row["paper"] is not None:
            line["paper"], line["paper's accuracy"] = (
                f"{row['paper'][key]:.2f}" for key in ("weighted_f1", "accuracy")
            )
        if row["scores"]:
            dev = row["scores"][of_dev]
            line |= ours(row["scores"])
            line[f"dev {title}"] = f"**{spread(dev)}**" if dev["value"] == max(on_dev) else spread(dev)
        lines.append(line)
    columns = ["", title, "paper", "95 % interval", score_title(other), "paper's accuracy", f"dev {title}", "seeds"]
    table = pd.DataFrame(lines, columns=columns)
    has_paper = any(row["paper"] for row in part["rows"])
    return table if has_paper else table.drop(columns=["paper", "paper's accuracy"])


def _difference(found: AblationDifference) -> str:
    ends = {"low": found["low"], "high": found["high"]}
    interval = f" (95 % interval {bounds(ends)})" if is_given(found["low"]) else ""
    return f"- {found['first']} minus {found['second']}: {100 * (found['value'] or 0):+.2f} points{interval}"
