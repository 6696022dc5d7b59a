import csv
import json

import numpy as np
import pytest
from made_runs import CLASSES

from m2fnet.cli import DONE, WRONG_USE, run
from m2fnet.errors import UsageError
from m2fnet.manifest import Manifest
from m2fnet.metrics.label_errors import likely_label_errors
from m2fnet.reports.mistakes import COLUMNS, CONTEXT, as_page, find_mistakes, likely_errors
from m2fnet.reports.summary import records
from m2fnet.reports.terminal import for_terminal
from m2fnet.runs.tested import collect, read_predictions


@pytest.fixture
def runs(tested):
    """Two seeds of one setting, as reports read them."""
    (setting,) = collect([tested(f"a/seed-{n}", seed=n, right=0.5) for n in range(2)])
    return setting.runs


def averaged(runs, split):
    """The utterances of a split and their mean probabilities, one after the other."""
    both = [read_predictions(one.folder, split, CLASSES) for one in runs]
    means = [
        np.mean([[p.probabilities[name] for name in CLASSES] for p in pair], axis=0) for pair in zip(*both, strict=True)
    ]
    return both[0], np.array(means)


def test_mistakes_are_the_utterances_whose_mean_answer_is_not_their_label(runs, corpus):
    found = find_mistakes(runs, Manifest.load(corpus), ["test"])
    scored, means = averaged(runs, "test")
    expected = {
        one.id: (CLASSES[mean.argmax()], pytest.approx(mean.max()), pytest.approx(mean[CLASSES.index(one.label)]))
        for one, mean in zip(scored, means, strict=True)
        if CLASSES[mean.argmax()] != one.label
    }
    rows = found[["id", "predicted", "confidence", "label_probability"]].itertuples(index=False)
    assert {name: tuple(values) for name, *values in rows} == expected
    assert found["confidence"].is_monotonic_decreasing


def test_likely_label_errors_are_those_of_confident_learning_over_both_splits(runs, corpus):
    found = likely_errors(find_mistakes(runs, Manifest.load(corpus), ["dev", "test"]))
    parts = [averaged(runs, split) for split in ("dev", "test")]
    scored = [one for some, _ in parts for one in some]
    labels = np.array([CLASSES.index(one.label) for one in scored])
    expected = likely_label_errors(np.concatenate([means for _, means in parts]), labels)
    assert expected
    assert found["id"].tolist() == [scored[error.row].id for error in expected]
    assert found["suggested"].tolist() == [CLASSES[error.suggested] for error in expected]
    assert found["margin"].tolist() == [error.margin for error in expected]


def test_mistakes_come_with_the_utterances_before_them_and_their_clip(runs, corpus):
    manifest = Manifest.load(corpus)
    dialogues = {d.id: d for d in manifest.dialogues()}
    for mistake in records(find_mistakes(runs, manifest, ["dev", "test"])):
        utterances = dialogues[mistake["dialogue"]].utterances
        before = utterances[: mistake["index"]][-CONTEXT:]
        assert mistake["before"] == [f"{u.speaker} ({u.label or 'no label'}): {u.text}" for u in before]
        clip = utterances[mistake["index"]].video
        assert mistake["video"] == (str(manifest.root / clip) if clip else None)
        assert mistake["audio"] is None


def test_table_and_page_hold_the_mistakes(runs, corpus):
    mistakes = find_mistakes(runs, Manifest.load(corpus), ["test"])
    assert tuple(mistakes.columns) == COLUMNS
    page = as_page(mistakes, runs, ["test"], top=2)
    assert "From the probabilities of 2 runs, averaged; no run has trained on these utterances." in page
    assert "## The 2 most confident mistakes" in page
    first, _, third = records(mistakes.head(3))
    assert f"1. {first['id']} (test): labelled **{first['label']}**, predicted **{first['predicted']}**" in page
    assert f"{third['id']} (test)" not in page
    assert all(text in page for text in (first["text"], *first["before"]))


def test_runs_scored_on_different_dev_utterances_are_not_averaged(runs, corpus):
    path = runs[1].folder / "predictions_dev.jsonl"
    lines = path.read_text(encoding="utf-8").splitlines()
    path.write_text("\n".join(lines[1:]) + "\n", encoding="utf-8")
    with pytest.raises(UsageError, match=r"seed-0 and .*seed-1 were scored on different utterances or labels of dev"):
        find_mistakes(runs, Manifest.load(corpus), ["dev", "test"])
    assert len(find_mistakes(runs, Manifest.load(corpus), ["test"]))


def test_the_command_lists_and_writes_them(runs, tmp_path, capsys):
    folders = [str(one.folder) for one in runs]
    assert run(["report", "--errors", *folders, "--top", "3"]) == DONE
    printed = capsys.readouterr().out
    page = (tmp_path / "a" / "errors.md").read_text(encoding="utf-8")
    assert for_terminal(page) in printed
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

    found = find_mistakes(runs, Manifest.load(corpus), ["test"]).head(1).assign(text='=HYPERLINK("x")')
    monkeypatch.setattr(mistakes, "find_mistakes", lambda *_: found)
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
