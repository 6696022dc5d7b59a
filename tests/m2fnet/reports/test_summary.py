import csv
import dataclasses
import json
import re

import numpy as np
import pytest
import yaml

from m2fnet.cli import DONE, FAILED, WRONG_USE, run
from m2fnet.errors import UsageError
from m2fnet.formatting import percent
from m2fnet.manifest import Manifest
from m2fnet.metrics.bootstrap import Resampling, bootstrap_interval, paired_difference
from m2fnet.metrics.scores import macro_f1
from m2fnet.metrics.summaries import per_dialogue
from m2fnet.reports.summary import COLUMNS, majority_name, named, pairs_to_compare, records, summarise_settings
from m2fnet.reports.summary_page import as_page
from m2fnet.reports.terminal import for_terminal
from m2fnet.runs.tested import collect

RIGHT = (0.4, 0.6, 0.9)
QUICK = Resampling(draws=50)


@pytest.fixture
def three(tested):
    """Three seeds of one setting."""
    return [tested(f"a/seed-{n}", seed=n, right=right) for n, right in enumerate(RIGHT)]


def reports(runs):
    return [json.loads((folder / "report.json").read_text(encoding="utf-8")) for folder in runs]


def only(frame, **values):
    """The row of a table that has these values, as a record."""
    for key, value in values.items():
        frame = frame[frame[key.rstrip("_")] == value]
    (row,) = records(frame)
    return row


def test_scores_are_the_mean_and_deviation_of_the_reports_with_an_interval(three):
    settings = collect(three)
    summary = summarise_settings(settings)
    name, overall = settings[0].name, summary.table("overall")
    for split, score in (("test", "weighted_f1"), ("test", "accuracy"), ("test", "macro_f1"), ("dev", "weighted_f1")):
        values = [report[split][score] for report in reports(three)]
        found = only(overall, setting=name, split=split, score=score)
        assert found["value"] == pytest.approx(np.mean(values))
        assert found["sd"] == pytest.approx(np.std(values, ddof=1))
    interval = bootstrap_interval(settings[0].counts())
    found = only(overall, setting=name, split="test", score="weighted_f1")
    assert (found["low"], found["high"], found["seeds"]) == (interval.low, interval.high, 3)
    joy = [report["test"]["per_class"]["joy"]["f1"] for report in reports(three)]
    assert only(summary.table("class"), class_="joy")["value"] == pytest.approx(np.mean(joy))
    for seed, report in enumerate(reports(three)):
        of_seed = only(summary.table("seed"), group=str(seed), score="weighted_f1")
        assert of_seed["value"] == pytest.approx(report["test"]["weighted_f1"])
    facts = only(summary.settings, setting=name)
    assert facts["best_seed_selected_on_test"] == max(report["test"]["weighted_f1"] for report in reports(three))
    assert (facts["seeds"], facts["modalities"], facts["select"]) == ([0, 1, 2], "text + audio", "dev")


def test_the_majority_class_is_that_of_the_report(three):
    report = reports(three)[0]
    name = majority_name(report["test"]["majority_class"])
    found = only(summarise_settings(collect(three)).table("overall"), setting=name, score="weighted_f1")
    assert found["value"] == pytest.approx(report["test"]["majority_weighted_f1"])
    assert found["low"] < found["value"] < found["high"]


def test_the_linear_classifier_of_the_reports_is_in_the_table_of_the_settings(three):
    linear = {"test": {"weighted_f1": 0.31, "accuracy": 0.42, "macro_f1": 0.23}, "dev": {"weighted_f1": 0.34}}
    for folder, report in zip(three, reports(three), strict=True):
        (folder / "report.json").write_text(json.dumps({**report, "linear": linear}), encoding="utf-8")
    summary = summarise_settings(collect(three))
    name = "linear classifier (text + audio)"
    overall = summary.table("overall")
    for split, score in (("test", "weighted_f1"), ("test", "accuracy"), ("dev", "weighted_f1")):
        found = only(overall, setting=name, split=split, score=score)
        assert found["value"] == linear[split][score]
    page = as_page(summary)
    (line,) = (line for line in page.splitlines() if name in line)
    assert "| 31.00 |" in line


def test_one_seed_has_no_deviation_and_few_dialogues_no_interval(three, corpus):
    (name,) = (setting.name for setting in collect(three[:1]))
    one = summarise_settings(collect(three[:1])).table("overall")
    assert only(one, setting=name, split="test", score="weighted_f1")["sd"] is None
    settings, dialogues = collect(three), Manifest.load(corpus).dialogues("test")
    summary = summarise_settings(settings, group_by=["length"], dialogues=dialogues)
    (title,) = summary.groupings
    rows = summary.table(title).query("setting == @settings[0].name and score == 'weighted_f1'")
    assert rows["dialogues"].tolist() == [2, 6, 4]
    assert rows["low"].isna().all()


def test_the_spread_over_dialogues_is_that_of_the_reports(three):
    summary = summarise_settings(collect(three))
    runs = [report["per_dialogue"] for report in reports(three)]
    of_each = [np.mean([report[name]["weighted_f1"] for report in runs]) for name in runs[0]]
    rows = summary.table("dialogues").query("score == 'weighted_f1'")
    assert rows["group"].tolist() == ["25 %", "median", "75 %"]
    assert rows["value"].tolist() == pytest.approx(np.quantile(of_each, [0.25, 0.5, 0.75]).tolist())
    assert summary.dialogues == len(of_each)
    assert summary.short_dialogues == sum(row["n"] < 4 for row in runs[0].values())


def test_the_utterances_of_the_groups_are_those_of_the_test_and_score_as_sklearn_says(three, corpus):
    settings, dialogues = collect(three), Manifest.load(corpus).dialogues("test")
    summary = summarise_settings(settings, group_by=["position", "shift"], dialogues=dialogues)
    assert len(summary.groupings) == 3
    for title in summary.groupings:
        rows = summary.table(title).query("setting == @settings[0].name and score == 'weighted_f1'")
        assert rows["utterances"].sum() == summary.utterances
    ids = {utterance.id for d in dialogues for utterance in d.utterances if utterance.index == 1}
    of_runs = []
    for one in settings[0].runs:
        rows = [p for p in one.predictions if p.id in ids]
        one_dialogue = [type(p)(p.id, "all", p.label, p.predicted, {}) for p in rows]
        of_runs.append(per_dialogue(one_dialogue, ("neutral", "joy", "anger"))["all"]["weighted_f1"])
    positions = summary.table(summary.groupings[0])
    second = only(positions, group="2", setting=settings[0].name, score="weighted_f1")
    assert second["value"] == pytest.approx(np.mean(of_runs))


def test_two_settings_are_compared_and_more_with_the_only_one_of_text(tested):
    a, b, c = (
        tested(f"{n}/seed-0", width=n, modalities=m) for n, m in ((1, ["text"]), (2, ["audio"]), (3, ["visual"]))
    )
    text, audio, visual = collect([a, b, c])
    assert pairs_to_compare([audio, visual]) == [(audio, visual)]
    assert pairs_to_compare([text, audio, visual]) == [(audio, text), (visual, text)]
    assert pairs_to_compare([text]) == []
    other = collect([tested("4/seed-0", width=4, modalities=["text"])])
    assert pairs_to_compare([text, audio, visual, *other]) == []  # which text is meant?


def test_a_difference_is_that_of_its_function_for_every_score(tested):
    first, second = collect([tested(f"{n}/seed-{s}", width=n, seed=s) for n in (1, 2) for s in range(2)])
    found = summarise_settings([first, second], compare=[(first, second)]).table("difference")
    assert set(found["setting"]) == {first.name}
    assert set(found["minus"]) == {second.name}
    assert found["score"].tolist() == ["weighted_f1", "accuracy", "macro_f1", "f1", "f1", "f1"]
    assert found["class"].tolist() == ["", "", "", "neutral", "joy", "anger"]
    expected = paired_difference(first.counts(), second.counts(), macro_f1)
    row = only(found, score="macro_f1")
    assert [row[key] for key in ("value", "low", "high")] == pytest.approx(
        [expected.value, expected.low, expected.high]
    )


def test_a_setting_is_named_by_its_table_name_its_path_or_a_run(tested):
    settings = collect([tested(f"{n}/seed-{s}", width=n, seed=s) for n in (1, 2) for s in range(2)])
    first, second = settings
    assert named(settings, first.name) is first
    assert named(settings, "2/") is second
    same_end = dataclasses.replace(first, name="2")
    assert named([same_end, second], "2") is same_end  # a whole name counts before the end of another
    assert named(settings, str(second.runs[1].folder)) is second
    with pytest.raises(UsageError, match=r"--compare names '3', which is 0 of the settings given; expected .*1, .*2"):
        named(settings, "3")
    with pytest.raises(UsageError, match="'seed-0', which is 2 of the settings"):
        named(settings, "seed-0")


def test_the_page_says_what_the_numbers_say(three, corpus):
    settings = collect(three)
    summary = summarise_settings(settings, group_by=["position"], dialogues=Manifest.load(corpus).dialogues("test"))
    page = as_page(summary)
    assert page.startswith(f"# tiny: {summary.utterances} test utterances in 12 dialogues\n")
    score = only(summary.table("overall"), setting=settings[0].name, split="test", score="weighted_f1")
    row = next(line for line in page.splitlines() if line.startswith("| a |"))
    assert f"| a | text + audio | 3 | {percent(score['value'])} ± {percent(score['sd'])} |" in row
    assert f"| {percent(score['low'])} to {percent(score['high'])} |" in row
    assert f"| majority class ({reports(three)[0]['test']['majority_class']}) | – | – |" in page
    assert "the middle 95 % of 2000 bootstrap draws (seed 0) of the 12 test dialogues" in page
    assert f"## Weighted F1 by {summary.groupings[0]}" in page
    joy = only(summary.table("class"), class_="joy")
    assert f"| joy | {percent(joy['value'])} [{100 * joy['low']:.1f}, {100 * joy['high']:.1f}] |" in page
    second = only(summary.table(summary.groupings[0]), group="2", setting=settings[0].name, score="weighted_f1")
    (row,) = [line for line in page.splitlines() if line.startswith("| 2 |")]
    assert row.startswith(f"| 2 | {second['utterances']} | {second['dialogues']} |")
    assert row.endswith(f"| {percent(second['value'])} [{100 * second['low']:.1f}, {100 * second['high']:.1f}] |")
    assert "selected on test" not in page


def test_selected_on_test_is_shown_only_when_asked_for_and_says_what_it_is(three):
    summary = summarise_settings(collect(three), resampling=QUICK)
    page = as_page(summary, selected_on_test=True)
    best = percent(max(report["test"]["weighted_f1"] for report in reports(three)))
    assert "| best seed, selected on test |" in page
    assert next(line for line in page.splitlines() if line.startswith("| a |")).endswith(f"| {best} |")
    assert "nobody can choose without the test labels" in page


def test_the_tidy_table_holds_every_number_once(three, corpus):
    settings = collect(three)
    dialogues = Manifest.load(corpus).dialogues("test")
    scores = summarise_settings(settings, group_by=["speakers"], dialogues=dialogues, resampling=QUICK).scores
    assert tuple(scores.columns) == COLUMNS
    assert not scores.duplicated(["table", "setting", "minus", "split", "group", "class", "score"]).any()
    assert scores["value"].notna().all()


def test_every_row_of_a_table_has_as_many_cells(three, corpus):
    """Also with names of classes that contain the sign that ends a cell, code, HTML or what a terminal obeys."""
    summary = summarise_settings(
        collect(three), group_by=["shift"], dialogues=Manifest.load(corpus).dialogues("test"), resampling=QUICK
    )
    hostile = summary.scores.assign(**{"class": summary.scores["class"].replace("joy", "a | `b`\x1b[31m\n<i>")})
    page = as_page(dataclasses.replace(summary, scores=hostile), selected_on_test=True)
    assert "| a \\| \\`b\\` [31m \\<i> |" in page
    assert "\x1b" not in page
    for block in page.split("\n\n"):
        if block.startswith("|"):
            assert len({len(re.findall(r"(?<!\\)\|", line)) for line in block.splitlines()}) == 1


def test_the_command_prints_the_page_and_writes_it_next_to_the_runs(three, tmp_path, capsys):
    assert run(["report", *map(str, three)]) == DONE
    printed = capsys.readouterr().out
    page = (tmp_path / "a" / "summary.md").read_text(encoding="utf-8")
    assert for_terminal(page) in printed
    assert max(map(len, for_terminal(page).splitlines())) <= 80
    content = json.loads((tmp_path / "a" / "summary.json").read_text(encoding="utf-8"))
    assert content["settings"][0]["seeds"] == [0, 1, 2]
    assert content["bootstrap"] == {"over": "dialogues", "draws": 2000, "level": 0.95, "seed": 0}
    assert run(["report", *map(str, three)]) == DONE
    assert capsys.readouterr().out == printed  # the same numbers each time
    assert run(["report", str(three[0]), "--out", str(tmp_path / "elsewhere")]) == DONE
    assert (tmp_path / "elsewhere" / "summary.md").is_file()


def test_the_command_writes_json_and_csv_where_one_says(three, tmp_path, capsys):
    places = {"--json": tmp_path / "x.json", "--csv": tmp_path / "x.csv"}
    options = [str(part) for pair in places.items() for part in pair]
    assert (
        run(["report", *map(str, three), *options, "--group-by", "position,shift", "--out", str(tmp_path / "o")])
        == DONE
    )
    content = json.loads(places["--json"].read_text(encoding="utf-8"))
    with places["--csv"].open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    (overall,) = [
        r
        for r in rows
        if (r["table"], r["split"], r["score"]) == ("overall", "test", "weighted_f1")
        and not r["setting"].startswith("majority")
    ]
    (of_json,) = [
        row
        for row in content["scores"]
        if (row["table"], row["setting"], row["split"], row["score"])
        == ("overall", content["settings"][0]["setting"], "test", "weighted_f1")
    ]
    assert float(overall["value"]) == of_json["value"]
    assert len(rows) == len(content["scores"])
    assert not (tmp_path / "o" / "summary.json").exists()


def test_the_command_compares_the_settings_one_names(tested, tmp_path):
    runs = [tested(f"{n}/seed-{s}", width=n, seed=s) for n in (1, 2, 3) for s in range(2)]
    assert run(["report", *map(str, runs), "--compare", "3", "1", "--out", str(tmp_path)]) == DONE
    page = (tmp_path / "summary.md").read_text(encoding="utf-8")
    assert "## Differences, in points" in page
    assert "| 3 − 1 |" in page
    assert "| setting | model.net.init_args.width |\n|---|---|\n| 1 | 1 |" in page
    assert run(["report", *map(str, runs), "--out", str(tmp_path)]) == DONE
    assert "## Differences" not in (tmp_path / "summary.md").read_text(encoding="utf-8")


def test_settings_that_differ_in_many_keys_are_columns(tested, tmp_path):
    runs = [tested("a/seed-0"), tested("b/seed-0")]
    config = yaml.safe_load((runs[1] / "config.yaml").read_text(encoding="utf-8"))
    config["model"]["net"]["init_args"] |= {"width": 9, "heads": 3, "cell": "lstm"}
    (runs[1] / "config.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    assert run(["report", *map(str, runs), "--out", str(tmp_path)]) == DONE
    page = (tmp_path / "summary.md").read_text(encoding="utf-8")
    assert "| setting | a | b |\n|---|---|---|\n" in page
    assert "| model.net.init_args.cell | – | lstm |\n" in page


def test_the_best_setting_is_in_bold_and_the_tables_are_there_for_latex(tested, tmp_path):
    runs = [tested(f"{n}/seed-{s}", width=n, seed=s) for n in (1, 2) for s in range(2)]
    assert run(["report", *map(str, runs), "--latex", "--out", str(tmp_path)]) == DONE
    page = (tmp_path / "summary.md").read_text(encoding="utf-8").split("\n\n")[1]
    in_bold = [line for line in page.splitlines() if "**" in line]
    assert in_bold
    assert not any(line.startswith(("| majority", "| linear")) for line in in_bold)
    latex = (tmp_path / "summary.tex").read_text(encoding="utf-8")
    assert latex.count(r"\begin{tabular}") == latex.count(r"\bottomrule") > 1
    assert r"\textbf{" in latex
    assert "**" not in latex


def test_exit_codes_of_the_command(tested, tmp_path, capsys):
    folder = tested("a/seed-0")
    assert run(["report"]) == WRONG_USE
    assert run(["report", "--help"]) == DONE
    assert run(["report", str(folder), "--group-by", "colour"]) == WRONG_USE
    assert "'colour' is not one of position, length, speakers, shift" in capsys.readouterr().err
    assert run(["report", str(folder), "--compare", "a", "b"]) == WRONG_USE
    assert "--compare names 'b'" in capsys.readouterr().err
    assert run(["report", str(tmp_path / "nowhere")]) == FAILED
    assert run(["report", str(folder), str(folder)]) == WRONG_USE
    assert "same seed" in capsys.readouterr().err
    (folder / "report.json").unlink()
    assert run(["report", str(folder)]) == WRONG_USE
    assert capsys.readouterr().err.startswith("m2fnet report: Cannot read ")


@pytest.mark.parametrize("option", ["--plots", "--errors"])
def test_every_folder_of_the_runs_can_be_named_again_with_what_the_report_left_there(three, option, capsys):
    def everything():
        return sorted(map(str, three[0].parent.iterdir()))

    assert run(["report", *everything(), "--latex"]) == DONE
    assert run(["report", *everything(), option]) == DONE, capsys.readouterr().err
    assert run(["report", *everything()]) == DONE, capsys.readouterr().err
    assert run(["report", str(three[0].parent / "summary.md")]) == FAILED  # a report is no run
