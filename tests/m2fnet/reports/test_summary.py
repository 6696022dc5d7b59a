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
from m2fnet.reports.run_report import per_dialogue
from m2fnet.reports.summary import named, pairs_to_compare, summarise_settings
from m2fnet.reports.summary_page import COLUMNS, as_page, as_rows
from m2fnet.runs.tested import collect

RIGHT = (0.4, 0.6, 0.9)
QUICK = Resampling(draws=50)


@pytest.fixture
def three(tested):
    """Three seeds of one setting."""
    return [tested(f"a/seed-{n}", seed=n, right=right) for n, right in enumerate(RIGHT)]


def reports(runs):
    return [json.loads((folder / "report.json").read_text(encoding="utf-8")) for folder in runs]


def test_scores_are_the_mean_and_deviation_of_the_reports_with_an_interval(three):
    settings = collect(three)
    (found,) = summarise_settings(settings)["settings"]
    for key in ("test.weighted_f1", "test.accuracy", "test.macro_f1", "dev.weighted_f1"):
        values = [report[key] for report in reports(three)]
        assert found[key]["mean"] == pytest.approx(np.mean(values))
        assert found[key]["sd"] == pytest.approx(np.std(values, ddof=1))
    interval = bootstrap_interval(settings[0].tables())
    assert (found["test.weighted_f1"]["low"], found["test.weighted_f1"]["high"]) == (interval.low, interval.high)
    joy = [report["test"]["per_class"]["joy"]["f1"] for report in reports(three)]
    assert found["per_class_f1"]["joy"]["mean"] == pytest.approx(np.mean(joy))
    assert found["best_seed_selected_on_test"] == max(report["test"]["weighted_f1"] for report in reports(three))
    assert (found["seeds"], found["modalities"], found["select"]) == ([0, 1, 2], ["text", "audio"], "dev")


def test_the_majority_class_is_that_of_the_report(three):
    (found,) = summarise_settings(collect(three))["majority"]
    report = reports(three)[0]
    assert found["class"] == report["test"]["majority_class"]
    assert found["weighted_f1"]["mean"] == pytest.approx(report["test"]["majority_weighted_f1"])
    assert found["weighted_f1"]["low"] < found["weighted_f1"]["mean"] < found["weighted_f1"]["high"]


def test_one_seed_has_no_deviation_and_few_dialogues_no_interval(three, corpus):
    assert summarise_settings(collect(three[:1]))["settings"][0]["test.weighted_f1"]["sd"] is None
    settings, dialogues = collect(three), Manifest.load(corpus).dialogues("test")
    (part,) = summarise_settings(settings, by=["length"], dialogues=dialogues)["groups"]
    assert [group["dialogues"] for group in part["groups"]] == [2, 6, 4]
    assert all(g["settings"][settings[0].name]["weighted_f1"]["low"] is None for g in part["groups"])


def test_the_spread_over_dialogues_is_that_of_the_reports(three):
    (found,) = summarise_settings(collect(three))["settings"]
    runs = [report["per_dialogue"] for report in reports(three)]
    of_each = [np.mean([report[name]["weighted_f1"] for report in runs]) for name in runs[0]]
    assert found["per_dialogue"]["weighted_f1"] == pytest.approx(np.quantile(of_each, [0.25, 0.5, 0.75]).tolist())
    assert found["per_dialogue"]["dialogues"] == len(of_each)
    assert found["per_dialogue"]["short"] == sum(row["n"] < 4 for row in runs[0].values())


def test_the_turns_of_the_groups_are_those_of_the_test_and_score_as_sklearn_says(three, corpus):
    settings, dialogues = collect(three), Manifest.load(corpus).dialogues("test")
    summary = summarise_settings(settings, by=["position", "shift"], dialogues=dialogues)
    assert [part["by"] for part in summary["groups"]] == ["position", "shift", "shift"]
    for part in summary["groups"]:
        assert sum(group["turns"] for group in part["groups"]) == summary["turns"]
    second = summary["groups"][0]["groups"][1]
    ids = {turn.id for d in dialogues for turn in d.utterances if turn.index == 1}
    of_runs = []
    for one in settings[0].runs:
        rows = [p for p in one.predictions if p.id in ids]
        one_dialogue = [type(p)(p.id, "all", p.label, p.predicted, {}) for p in rows]
        of_runs.append(per_dialogue(one_dialogue, ("neutral", "joy", "anger"))["all"]["weighted_f1"])
    assert second["group"] == "2"
    assert second["settings"][settings[0].name]["weighted_f1"]["mean"] == pytest.approx(np.mean(of_runs))


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
    (found,) = summarise_settings([first, second], compare=[(first, second)])["differences"]
    assert list(found["scores"]) == ["weighted_f1", "accuracy", "macro_f1", "F1 of neutral", "F1 of joy", "F1 of anger"]
    expected = paired_difference(first.tables(), second.tables(), macro_f1)
    assert found["scores"]["macro_f1"] == {
        "difference": pytest.approx(expected.value),
        "low": pytest.approx(expected.low),
        "high": pytest.approx(expected.high),
    }


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
    summary = summarise_settings(settings, by=["position"], dialogues=Manifest.load(corpus).dialogues("test"))
    page = as_page(summary)
    assert page.startswith(f"# tiny: {summary['turns']} test turns in 12 dialogues\n")
    score = summary["settings"][0]["test.weighted_f1"]
    row = next(line for line in page.splitlines() if line.startswith("| a |"))
    assert f"| a | text + audio | 3 | {percent(score['mean'])} ± {percent(score['sd'])} |" in row
    assert f"| {percent(score['low'])} to {percent(score['high'])} |" in row
    assert f"| majority class ({summary['majority'][0]['class']}) |" in page
    assert "the middle 95 % of 2000 bootstrap draws (seed 0) of the 12 test dialogues" in page
    assert "## Weighted F1 by place of the turn in its dialogue" in page
    assert "selected on test" not in page


def test_selected_on_test_is_shown_only_when_asked_for_and_says_what_it_is(three):
    summary = summarise_settings(collect(three), resampling=QUICK)
    page = as_page(summary, selected_on_test=True)
    best = percent(max(report["test"]["weighted_f1"] for report in reports(three)))
    assert "| best seed, selected on test |" in page
    assert next(line for line in page.splitlines() if line.startswith("| a |")).endswith(f"| {best} |")
    assert "nobody can choose without the test labels" in page


def test_rows_of_the_spreadsheet_hold_every_number_once(three, corpus):
    settings = collect(three)
    summary = summarise_settings(
        settings, by=["speakers"], dialogues=Manifest.load(corpus).dialogues("test"), resampling=QUICK
    )
    rows = as_rows(summary)
    assert all(tuple(row) == COLUMNS for row in rows)
    keys = [(row["table"], row["setting"], row["item"], row["score"]) for row in rows]
    assert len(set(keys)) == len(keys)
    (joy,) = [row for row in rows if row["table"] == "class" and row["item"] == "joy"]
    expected = summary["settings"][0]["per_class_f1"]["joy"]
    assert (joy["value"], joy["sd"], joy["low"]) == (expected["mean"], expected["sd"], expected["low"])


def test_every_row_of_a_table_has_as_many_cells(three, corpus):
    """Also with names of classes that contain the sign that ends a cell, code, HTML or what a terminal obeys."""
    summary = summarise_settings(
        collect(three), by=["shift"], dialogues=Manifest.load(corpus).dialogues("test"), resampling=QUICK
    )
    summary["settings"][0]["per_class_f1"]["a | `b`\x1b[31m\n<i>"] = summary["settings"][0]["per_class_f1"].pop("joy")
    page = as_page(summary, selected_on_test=True)
    assert "| a \\| \\`b\\` [31m \\<i> |" in page
    assert "\x1b" not in page
    for block in page.split("\n\n"):
        if block.startswith("|"):
            assert len({len(re.findall(r"(?<!\\)\|", line)) for line in block.splitlines()}) == 1


def test_the_command_prints_the_page_and_writes_it_beside_the_runs(three, tmp_path, capsys):
    assert run(["report", *map(str, three)]) == DONE
    told = capsys.readouterr().out
    assert (tmp_path / "a" / "summary.md").read_text(encoding="utf-8") in told
    content = json.loads((tmp_path / "a" / "summary.json").read_text(encoding="utf-8"))
    assert content["settings"][0]["seeds"] == [0, 1, 2]
    assert content["bootstrap"] == {"over": "dialogues", "draws": 2000, "level": 0.95, "seed": 0}
    assert run(["report", *map(str, three)]) == DONE
    assert capsys.readouterr().out == told  # the same numbers each time
    assert run(["report", str(three[0]), "--out", str(tmp_path / "elsewhere")]) == DONE
    assert (tmp_path / "elsewhere" / "summary.md").is_file()


def test_the_command_writes_json_and_csv_where_one_says(three, tmp_path, capsys):
    places = {"--json": tmp_path / "x.json", "--csv": tmp_path / "x.csv"}
    options = [str(part) for pair in places.items() for part in pair]
    assert run(["report", *map(str, three), *options, "--by", "position,shift", "--out", str(tmp_path / "o")]) == DONE
    content = json.loads(places["--json"].read_text(encoding="utf-8"))
    with places["--csv"].open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    (overall,) = [
        r
        for r in rows
        if (r["table"], r["score"]) == ("overall", "weighted_f1") and not r["setting"].startswith("majority")
    ]
    assert float(overall["value"]) == content["settings"][0]["test.weighted_f1"]["mean"]
    assert not (tmp_path / "o" / "summary.json").exists()


def test_the_command_compares_the_settings_one_names(tested, capsys):
    runs = [tested(f"{n}/seed-{s}", width=n, seed=s) for n in (1, 2, 3) for s in range(2)]
    assert run(["report", *map(str, runs), "--compare", "3", "1"]) == DONE
    page = capsys.readouterr().out
    assert "## Differences, in points" in page
    assert "| 3 − 1 |" in page
    assert "| setting | model.net.init_args.width |\n|---|---|\n| 1 | 1 |" in page
    assert run(["report", *map(str, runs)]) == DONE
    assert "## Differences" not in capsys.readouterr().out


def test_settings_that_differ_in_many_keys_stand_side_by_side(tested, capsys):
    runs = [tested("a/seed-0"), tested("b/seed-0")]
    config = yaml.safe_load((runs[1] / "config.yaml").read_text(encoding="utf-8"))
    config["model"]["net"]["init_args"] |= {"width": 9, "heads": 3, "cell": "lstm"}
    (runs[1] / "config.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    assert run(["report", *map(str, runs)]) == DONE
    page = capsys.readouterr().out
    assert "| setting | a | b |\n|---|---|---|\n" in page
    assert "| model.net.init_args.cell | – | lstm |\n" in page


def test_exit_codes_of_the_command(tested, tmp_path, capsys):
    folder = tested("a/seed-0")
    assert run(["report"]) == WRONG_USE
    assert run(["report", "--help"]) == DONE
    assert run(["report", str(folder), "--by", "colour"]) == WRONG_USE
    assert "'colour' is not one of position, length, speakers, shift" in capsys.readouterr().err
    assert run(["report", str(folder), "--compare", "a", "b"]) == WRONG_USE
    assert "--compare names 'b'" in capsys.readouterr().err
    assert run(["report", str(tmp_path / "nowhere")]) == FAILED
    assert run(["report", str(folder), str(folder)]) == WRONG_USE
    assert "same seed" in capsys.readouterr().err
    (folder / "report.json").unlink()
    assert run(["report", str(folder)]) == WRONG_USE
    assert capsys.readouterr().err.startswith("m2fnet report: Cannot read ")
