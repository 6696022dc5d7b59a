"""A summary of settings as a page: tables of text, in per cent, with what to know about each."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from m2fnet.formatting import bounds, escaped, is_given, latex_table, markdown_table, percent, plain, spread
from m2fnet.metrics.bootstrap import FEWEST_DIALOGUES
from m2fnet.metrics.scores import STATISTICS, main_score, score_title
from m2fnet.reports.summary import SHORT, Summary

PAIRED = (
    "Paired: each draw takes the same dialogues for both sides, and draws the seeds too. An interval that holds 0 "
    "leaves open which is better. Among many comparisons some show a difference by chance."
)


@dataclass(frozen=True)
class Section:
    """A table of the page with what to know about it.

    Attributes:
        title: its heading; the first has none.
        table: cells as text, for `m2fnet.formatting.markdown_table`.
        notes: paragraphs under the table.
    """

    title: str
    table: pd.DataFrame
    notes: tuple[str, ...] = ()


def heading(summary: Summary) -> str:
    """The title of the page."""
    return f"{summary.corpus}: {summary.utterances} test utterances in {summary.dialogues} dialogues"


def as_page(summary: Summary, *, selected_on_test: bool = False) -> str:
    """The summary as Markdown, scores in per cent.

    Args:
        summary: as `m2fnet.reports.summary.summarise_settings` returns it.
        selected_on_test: add the best seed by its test score, named as what it is.
    """
    lines = [f"# {escaped(heading(summary))}", ""]
    for section in sections(summary, selected_on_test=selected_on_test):
        lines += [f"## {escaped(section.title)}", ""] if section.title else []
        lines += [*markdown_table(section.table), ""]
        lines += [line for note in section.notes for line in (note, "")]
    return "\n".join(lines).rstrip() + "\n"


def as_latex(summary: Summary, *, selected_on_test: bool = False) -> str:
    """The tables of the page for LaTeX, each with its title as a comment; they need the package booktabs."""
    lines: list[str] = []
    for section in sections(summary, selected_on_test=selected_on_test):
        lines += [f"% {plain(section.title or heading(summary))}", *latex_table(section.table), ""]
    return "\n".join(lines)


def sections(summary: Summary, *, selected_on_test: bool = False) -> list[Section]:
    """The tables of the page in their order; the first is the one of all settings."""
    names = dict(zip(summary.settings["setting"], summary.settings["name"], strict=True))
    found = [_headline(summary, names, selected_on_test)]
    if len(summary.differs.columns) > 1:
        found.append(Section("What the settings differ in", upright(summary.differs)))
    if len(rows := summary.table("difference")):
        found.append(Section("Differences, in points", _differences(rows, names), (PAIRED,)))
    per_class = crossed(summary.table("class"), "class", "setting", _with_interval)
    macro = summary.table("overall").query("split == 'test' and score == 'macro_f1' and setting in @names")
    in_all = crossed(macro, "score", "setting", _with_interval).rename(columns={"score": "class"})
    table = pd.concat([per_class, in_all.assign(**{"class": "macro F1"})]).rename(columns=names)
    found.append(Section("F1 per class", table))
    found.append(_dialogues(summary, names))
    main = main_score(summary.kind)
    main_title = score_title(main)
    for title in summary.groupings:
        rows = summary.table(title).query("score == @main")
        table = crossed(rows, "group", "setting", _with_interval)
        baseline = table.columns[1]
        sizes = rows.drop_duplicates("group")[["group", "utterances", "dialogues"]]
        table[baseline] = [percent(value) for value in rows[rows["setting"] == baseline]["value"]]
        shown = "majority class" if summary.kind == "single" else baseline  # the most frequent label, with its name
        table = sizes.merge(table, on="group").rename(columns={**names, baseline: shown})
        what = "majority class" if summary.kind == "single" else "score of always answering the most frequent label"
        note = f"Groups differ in their mix of emotions: compare each with its own {what}."
        found.append(Section(f"{main_title[0].upper()}{main_title[1:]} by {title}", table, (note,)))
    return found


def crossed(
    rows: pd.DataFrame, index: str, columns: str, cell: Callable[[Mapping[str, float | None]], str]
) -> pd.DataFrame:
    """Tidy rows as a table of text: a line per value of ``index``, a column per value of ``columns``.

    Both are in the order in which they first occur. ``cell`` turns a row into what is printed.

    Example:
        >>> scores = pd.DataFrame({"setting": ["b", "a"], "score": ["accuracy"] * 2, "value": [0.5, 0.25]})
        >>> crossed(scores, "setting", "score", lambda row: percent(row["value"])).to_dict("list")
        {'setting': ['b', 'a'], 'accuracy': ['50.00', '25.00']}
    """
    texts = rows.assign(cell=[cell(row) for row in rows.to_dict("records")])
    wide = texts.pivot(index=index, columns=columns, values="cell")
    ordered = wide.reindex(index=rows[index].unique(), columns=rows[columns].unique())
    return ordered.rename_axis(columns=None).reset_index()


def upright(table: pd.DataFrame) -> pd.DataFrame:
    """The table, turned on its side if it has more columns than rows and a header.

    Example:
        >>> upright(pd.DataFrame({"setting": ["a"], "width": ["4"], "heads": ["2"]})).to_dict("list")
        {'setting': ['width', 'heads'], 'a': ['4', '2']}
    """
    if table.shape[1] <= table.shape[0] + 1:
        return table
    first = table.columns[0]
    return table.set_index(first).T.rename_axis(index=first, columns=None).reset_index()


def how_drawn(summary: Summary) -> str:
    """What ± and the intervals of a summary are, for the line under a table."""
    draw = summary.resampling
    return (
        f"± is the standard deviation over seeds. The interval holds the middle {100 * draw.level:g} % of "
        f"{draw.draws} bootstrap draws (seed {draw.seed}) of the {summary.dialogues} test dialogues, each the "
        "mean over the seeds: how far other dialogues of the kind may move the score. Below "
        f"{FEWEST_DIALOGUES} dialogues there is none."
    )


def _headline(summary: Summary, names: Mapping[str, str], selected_on_test: bool) -> Section:
    """The settings, the majority class and a linear classifier of single utterances above them."""
    overall, facts = summary.table("overall"), summary.settings
    test = overall[overall["split"] == "test"]
    main, *others = STATISTICS[summary.kind]
    scores = crossed(test, "setting", "score", spread)
    interval = crossed(test[test["score"] == main], "setting", "score", bounds)
    dev = crossed(overall[overall["split"] == "dev"], "setting", "score", spread)
    seeds = dict(zip(facts["setting"], facts["seeds"].map(len), strict=True))
    column = scores["setting"]
    table = pd.DataFrame(
        {
            "setting": [names.get(setting, setting) for setting in column],
            "modalities": column.map(dict(zip(facts["setting"], facts["modalities"], strict=True))),
            "seeds": column.map(seeds).astype("Int64"),
            score_title(main): scores[main],
            f"{100 * summary.resampling.level:g} % interval": interval[main],
            **{score_title(other): scores[other] for other in others},
            f"dev {score_title(main)}": column.map(dict(zip(dev["setting"], dev[main], strict=True))),
        }
    )
    for title in (score_title(main), *map(score_title, others)) if len(names) > 1 else ():
        table[title] = _best_in_bold(table[title], [setting in names for setting in column])
    notes = [how_drawn(summary)]
    if selected_on_test:
        best = facts["best_seed_selected_on_test"].map(percent)
        table["best seed, selected on test"] = column.map(dict(zip(facts["setting"], best, strict=True)))
        notes.append(
            f"“Best seed, selected on test” is the highest test {score_title(main)} among the seeds of the row: a "
            "score that nobody can choose without the test labels, for comparison with papers that report such a score "
            "only."
        )
    if facts["manifest_sha256"].nunique() > 1:
        notes.append("The settings come from different manifests; their test utterances and labels are the same.")
    return Section("", table, tuple(notes))


def _best_in_bold(scores: pd.Series, is_setting: Sequence[bool]) -> pd.Series:
    """The column with the highest mean of the trained settings in bold; a baseline is never the best."""
    means = scores.str.extract(r"^([\d.]+)", expand=False).astype(float).where(is_setting)
    return scores.where(means.round(2) != means.max(), "**" + scores + "**")


def _differences(rows: pd.DataFrame, names: Mapping[str, str]) -> pd.DataFrame:
    titles = [
        f"F1 of {label}" if label else score_title(score)
        for label, score in zip(rows["class"], rows["score"], strict=True)
    ]
    pairs = [f"{names[a]} − {names[b]}" for a, b in zip(rows["setting"], rows["minus"], strict=True)]
    return crossed(rows.assign(pair=pairs, score=titles), "pair", "score", _gap).rename(columns={"pair": ""})


def _dialogues(summary: Summary, names: Mapping[str, str]) -> Section:
    rows = summary.table("dialogues")
    titles = [f"{score_title(score)}: {group}" for score, group in zip(rows["score"], rows["group"], strict=True)]
    table = crossed(rows.assign(score=titles), "setting", "score", lambda row: percent(float(row["value"] or 0)))
    table["setting"] = [names[setting] for setting in table["setting"]]
    own = (
        "A dialogue's weighted F1 weighs only the emotions that occur in it: with one labelled utterance it is 0 or "
        "100,"
        if summary.kind == "single"
        else "A dialogue's micro F1 counts only its own utterances:"
    )
    note = (
        f"Quartiles over the {summary.dialogues} dialogues of each dialogue's own score, averaged over seeds. {own} "
        f"with fewer than {SHORT} ({summary.short_dialogues} dialogues here) it takes a few values. It tells how far "
        "the dialogues differ; its mean is not the score of the corpus."
    )
    return Section("Spread over dialogues", table, (note,))


def _with_interval(score: Mapping[str, float | None]) -> str:
    value, low, high = score["value"], score["low"], score["high"]
    interval = f" [{100 * low:.1f}, {100 * high:.1f}]" if is_given(low) and is_given(high) else ""
    return percent(value or 0) + interval


def _gap(score: Mapping[str, float | None]) -> str:
    value, low, high = score["value"], score["low"], score["high"]
    interval = f" [{100 * low:+.2f}, {100 * high:+.2f}]" if is_given(low) and is_given(high) else ""
    return f"{100 * (value or 0):+.2f}{interval}"
