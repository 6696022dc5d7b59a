import json

import numpy as np
import pytest
from matplotlib.image import imread
from sklearn.metrics import accuracy_score, f1_score

from m2fnet.formatting import percent
from m2fnet.metrics.summaries import per_dialogue, summarise
from m2fnet.problems import make_problem
from m2fnet.records import LabelSet, ScoredPrediction
from m2fnet.reports.run_report import draw_confusion, write_report

CLASSES = ("neutral", "joy", "anger")
FACTS = {"seed": 3, "corpus": "tiny", "manifest_sha256": "ab", "modalities": ["text", "audio"], "select": "dev"}
TRAINING = [("neutral",), ("neutral",), ("joy",)]
PROBLEM = make_problem(LabelSet("tiny", CLASSES), {})


def predictions(count=40, seed=0):
    """About two of three right, in dialogues of four utterances; every seventh is unlabelled context."""
    draw = np.random.default_rng(seed)
    rows = []
    for n in range(count):
        label = CLASSES[draw.integers(3)]
        predicted = label if draw.random() < 0.66 else CLASSES[draw.integers(3)]
        probabilities = {name: 0.5 if name == predicted else 0.25 for name in CLASSES}
        rows.append(ScoredPrediction(f"u{n}", f"d{n // 4}", None if n % 7 == 6 else label, predicted, probabilities))
    return rows


@pytest.fixture
def written(tmp_path):
    """A run folder with the report of made-up predictions."""
    write_report(tmp_path, FACTS, {"dev": predictions(20, seed=1), "test": predictions()}, TRAINING, PROBLEM)
    return tmp_path


def test_the_report_holds_the_scores_of_both_splits_and_what_identifies_the_run(written):
    report = json.loads((written / "report.json").read_text(encoding="utf-8"))
    labelled = [row for row in predictions() if row.label is not None]
    labels, predicted = [row.label for row in labelled], [row.predicted for row in labelled]
    assert report["test"]["weighted_f1"] == pytest.approx(f1_score(labels, predicted, average="weighted"))
    assert report["test"]["accuracy"] == pytest.approx(accuracy_score(labels, predicted))
    assert report["test"]["macro_f1"] == pytest.approx(f1_score(labels, predicted, average="macro"))
    assert report["test"]["majority_weighted_f1"] == pytest.approx(
        f1_score(labels, ["neutral"] * len(labels), average="weighted")
    )
    assert report["test"]["n"] == len(labelled)
    assert set(report["test"]["per_class"]) == set(CLASSES)
    low, high = report["test"]["weighted_f1_interval"]
    assert low < report["test"]["weighted_f1"] < high
    assert FACTS.items() <= report.items()
    assert report["classes"] == list(CLASSES)
    assert not [key for key in report if "." in key]  # every score is in the report once
    assert report["dev"]["n"] == sum(row.label is not None for row in predictions(20, seed=1))


def test_context_utterances_are_neither_scored_nor_written(written):
    for name, rows in (("predictions.jsonl", predictions()), ("predictions_dev.jsonl", predictions(20, seed=1))):
        lines = [json.loads(line) for line in (written / name).read_text(encoding="utf-8").splitlines()]
        assert [line["id"] for line in lines] == [row.id for row in rows if row.label is not None]
        assert set(lines[0]) == {"id", "dialogue", "label", "predicted", "probabilities"}


def test_every_test_dialogue_has_its_own_scores(written):
    report = json.loads((written / "report.json").read_text(encoding="utf-8"))
    first = [row for row in predictions() if row.dialogue == "d0"]
    labels, predicted = [row.label for row in first], [row.predicted for row in first]
    assert report["per_dialogue"]["d0"] == {
        "weighted_f1": pytest.approx(f1_score(labels, predicted, average="weighted")),
        "accuracy": accuracy_score(labels, predicted),
        "n": 4,
    }
    assert sum(row["n"] for row in report["per_dialogue"].values()) == report["test"]["n"]


def test_a_dialogue_without_a_label_has_no_scores():
    context = ScoredPrediction("x", "empty", None, "joy", {})
    assert "empty" not in per_dialogue([*predictions(), context], CLASSES)
    assert summarise([*predictions(), context], TRAINING, CLASSES) == summarise(predictions(), TRAINING, CLASSES)


def test_few_dialogues_have_no_interval(tmp_path):
    few = predictions(20)  # five dialogues
    page = write_report(tmp_path, FACTS, {"dev": few, "test": few}, TRAINING, PROBLEM)
    report = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    assert report["test"]["weighted_f1_interval"] is None
    assert "(too few dialogues for an interval)" in page
    assert (tmp_path / "report.md").read_text(encoding="utf-8") == page


def test_the_page_says_what_the_numbers_say(written):
    report = json.loads((written / "report.json").read_text(encoding="utf-8"))
    page = (written / "report.md").read_text(encoding="utf-8")
    assert page.startswith("# tiny: text + audio, seed 3\n")
    assert f"Weighted F1 on test **{percent(report['test']['weighted_f1'])}**" in page
    assert percent(report["test"]["majority_weighted_f1"]) in page
    low, high = report["test"]["weighted_f1_interval"]
    assert f"{percent(low)} to {percent(high)}" in page
    joy = report["test"]["per_class"]["joy"]
    assert f"| joy | {joy['support']} | {percent(joy['f1'])} | {percent(joy['precision'])}" in page
    assert "![confusion matrix on test](confusion.png)" in page
    assert (written / "confusion.png").is_file()


def test_a_score_is_printed_as_papers_do():
    assert [percent(score) for score in (0.6671, 1.0, 0.0)] == ["66.71", "100.00", "0.00"]


@pytest.mark.parametrize("classes", [("no", "yes"), tuple("abcdefgh"), ("$x", r"$\frac$")])
def test_the_confusion_matrix_is_drawn_with_the_diagonal_darkest(tmp_path, classes):
    table = (9 * np.eye(len(classes), dtype=int) + 1).tolist()
    draw_confusion(tmp_path / "picture.png", table, classes)
    picture = imread(tmp_path / "picture.png")[..., :3].mean(-1)
    picture = picture[:, picture.shape[1] // 2 :]  # the shares, next to the counts
    height, width = picture.shape
    assert min(height, width) > 300
    blue = np.argwhere((picture < 0.75) & (picture > 0.25))
    assert len(blue) > 0.05 * picture.size / len(classes)  # cells are filled, not outlined
    rows, columns = blue[:, 0], blue[:, 1]
    assert np.corrcoef(rows, columns)[0, 1] > 0.6  # what is dark runs from the upper left to the lower right


def test_a_class_that_never_occurs_is_drawn_too(tmp_path):
    draw_confusion(tmp_path / "picture.png", [[5, 0], [0, 0]], ["joy", "fear"])
    assert np.isfinite(imread(tmp_path / "picture.png")).all()
    assert [path.name for path in tmp_path.iterdir()] == ["picture.png"]
