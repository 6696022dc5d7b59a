import csv
import json

import numpy as np
import pytest
from made_runs import CLASSES

from m2fnet.cli import DONE, WRONG_USE, run
from m2fnet.errors import UsageError
from m2fnet.manifest import Manifest
from m2fnet.metrics.label_errors import likely_label_errors
from m2fnet.reports.mistakes import COLUMNS, CONTEXT, as_page, as_rows, find_mistakes, likely_errors
from m2fnet.runs.tested import collect, read_predictions


@pytest.fixture
def runs(tested):
    """Two seeds of one setting, as reports read them."""
    (setting,) = collect([tested(f"a/seed-{n}", seed=n, right=0.5) for n in range(2)])
    return setting.runs


def averaged(runs, split):
    """The turns of a split and their mean probabilities, one after the other."""
    both = [read_predictions(one.folder, split, CLASSES) for one in runs]
    means = [
        np.mean([[p.probabilities[name] for name in CLASSES] for p in pair], axis=0) for pair in zip(*both, strict=True)
    ]
    return both[0], np.array(means)


def test_mistakes_are_the_turns_whose_mean_answer_is_not_their_label(runs, corpus):
    found = find_mistakes(runs, Manifest.load(corpus), ["test"])
    turns, means = averaged(runs, "test")
    expected = {
        turn.id: (CLASSES[mean.argmax()], pytest.approx(mean.max()), pytest.approx(mean[CLASSES.index(turn.label)]))
        for turn, mean in zip(turns, means, strict=True)
        if CLASSES[mean.argmax()] != turn.label
    }
    assert {m.utterance.id: (m.predicted, m.confidence, m.label_probability) for m in found} == expected
    assert [m.confidence for m in found] == sorted((m.confidence for m in found), reverse=True)


def test_likely_label_errors_are_those_of_confident_learning_over_both_splits(runs, corpus):
    found = likely_errors(find_mistakes(runs, Manifest.load(corpus), ["dev", "test"]))
    parts = [averaged(runs, split) for split in ("dev", "test")]
    turns = [turn for some, _ in parts for turn in some]
    labels = np.array([CLASSES.index(turn.label) for turn in turns])
    expected = likely_label_errors(np.concatenate([means for _, means in parts]), labels)
    assert expected
    assert [m.utterance.id for m in found] == [turns[error.row].id for error in expected]
    assert [m.suggested for m in found] == [CLASSES[error.suggested] for error in expected]
    assert [m.margin for m in found] == [error.margin for error in expected]


def test_mistakes_come_with_the_turns_before_them_and_their_clip(runs, corpus):
    manifest = Manifest.load(corpus)
    dialogues = {d.id: d for d in manifest.dialogues()}
    for mistake in find_mistakes(runs, manifest, ["dev", "test"]):
        turn = mistake.utterance
        before = dialogues[turn.dialogue].utterances[: turn.index]
        assert mistake.before == before[-CONTEXT:]
        assert mistake.video == (str(manifest.root / turn.video) if turn.video else None)
        assert mistake.audio is None


def test_rows_and_page_hold_the_mistakes(runs, corpus):
    mistakes = find_mistakes(runs, Manifest.load(corpus), ["test"])
    rows = as_rows(mistakes)
    assert all(set(row) == set(COLUMNS) for row in rows)
    assert [row["id"] for row in rows] == [m.utterance.id for m in mistakes]
    page = as_page(mistakes, runs, ["test"], top=2)
    assert "From the probabilities of 2 runs, averaged; no run has trained on these turns." in page
    assert "## The 2 most confident mistakes" in page
    first, third = mistakes[0], mistakes[2]
    assert f"1. {first.utterance.id} (test): labelled **{first.utterance.label}**, answered" in page
    assert f"{third.utterance.id} (test)" not in page
    assert all(turn.text in page for turn in (first.utterance, *first.before))


def test_runs_scored_on_different_dev_turns_are_not_averaged(runs, corpus):
    path = runs[1].folder / "predictions_dev.jsonl"
    lines = path.read_text(encoding="utf-8").splitlines()
    path.write_text("\n".join(lines[1:]) + "\n", encoding="utf-8")
    with pytest.raises(UsageError, match=r"seed-0 and .*seed-1 were scored on different turns or labels of dev"):
        find_mistakes(runs, Manifest.load(corpus), ["dev", "test"])
    assert find_mistakes(runs, Manifest.load(corpus), ["test"])


def test_the_command_lists_and_writes_them(runs, tmp_path, capsys):
    folders = [str(one.folder) for one in runs]
    assert run(["report", "--errors", *folders, "--top", "3"]) == DONE
    told = capsys.readouterr().out
    page = (tmp_path / "a" / "errors.md").read_text(encoding="utf-8")
    assert page in told
    assert "mistakes and likely label errors on dev and test" in page
    with (tmp_path / "a" / "errors.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    content = json.loads((tmp_path / "a" / "errors.json").read_text(encoding="utf-8"))
    assert [row["id"] for row in rows] == [row["id"] for row in content["errors"]]
    assert {row["split"] for row in rows} == {"dev", "test"}
    assert content["runs"] == folders
    assert run(["report", "--errors", *folders, "--split", "dev", "--csv", str(tmp_path / "x.csv")]) == DONE
    assert {row["split"] for row in csv.DictReader((tmp_path / "x.csv").open(encoding="utf-8"))} == {"dev"}


def test_a_text_that_a_spreadsheet_would_run_is_defused(runs, tmp_path, corpus, monkeypatch):
    from m2fnet.reports import mistakes

    rows = as_rows(find_mistakes(runs, Manifest.load(corpus), ["test"]))
    monkeypatch.setattr(mistakes, "as_rows", lambda _: [{**rows[0], "text": '=HYPERLINK("x")'}])
    assert run(["report", "--errors", str(runs[0].folder), "--csv", str(tmp_path / "x.csv")]) == DONE
    (row,) = csv.DictReader((tmp_path / "x.csv").open(encoding="utf-8", newline=""))
    assert row["text"] == '\'=HYPERLINK("x")'
    assert float(row["margin"] or -1) < 0  # numbers stay numbers


def test_wrong_use_of_the_command(runs, capsys):
    folder = str(runs[0].folder)
    assert run(["report", "--errors", folder, "--top", "0"]) == WRONG_USE
    assert "expected a whole number above 0, got '0'" in capsys.readouterr().err
    assert run(["report", "--errors", folder, "--split", "train"]) == WRONG_USE
    assert "'train' is not one of dev, test" in capsys.readouterr().err
    assert run(["report", "--errors", folder, "--manifest", "nowhere"]) == WRONG_USE
    assert "is not at nowhere" in capsys.readouterr().err
