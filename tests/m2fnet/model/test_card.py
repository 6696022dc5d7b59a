"""What a person reads before using a model."""

import dataclasses
import json
import shutil
from pathlib import Path

import pytest
import yaml

from m2fnet.errors import UsageError
from m2fnet.model import save_model
from m2fnet.model.card import model_card


@pytest.fixture(scope="session")
def card(run_folder, model):
    return model_card(run_folder, model)


def test_the_card_says_how_good_the_model_is(card, run_folder):
    report = json.loads((run_folder / "report.json").read_text(encoding="utf-8"))
    test = report["test"]
    low, high = (f"{100 * bound:.2f}" for bound in test["weighted_f1_interval"])
    assert f"| weighted F1 | {100 * test['weighted_f1']:.2f} | {low} to {high} |" in card
    assert f"of always {test['majority_class']} | {100 * test['majority_weighted_f1']:.2f} |" in card
    for name, row in test["per_class"].items():
        assert f"| {name} | {row['support']} | {100 * row['f1']:.2f} |" in card


def test_the_card_has_every_section(card):
    titles = [line[3:] for line in card.splitlines() if line.startswith("## ")]
    assert titles == ["Corpus and protocol", "Scores", "Limits", "Intended use", "Misuse", "Licences"]
    assert "| test | 12 | 24 | 24 |" in card
    assert "| text | extractors.text.roberta.TextEncoder | encoder |" in card
    assert "| audio | extractors.audio.mel_statistics.MelStatistics | – |" in card


def test_the_header_is_what_the_hub_reads(card):
    header = yaml.safe_load(card.split("---")[1])
    assert (header["library_name"], header["license"]) == ("m2fnet", "other")
    assert {"multimodal", "text", "audio"} <= set(header["tags"])
    (result,) = header["model-index"]
    assert result["results"][0]["dataset"]["name"] == "tiny"


def test_names_from_a_corpus_cannot_leave_their_place(run_folder, model, tmp_path):
    corpus = "tiny\n---\nlicense: mit\n# <script>"
    run = Path(shutil.copytree(run_folder, tmp_path / "run"))
    report = json.loads((run / "report.json").read_text(encoding="utf-8"))
    (run / "report.json").write_text(json.dumps({**report, "corpus": corpus}), encoding="utf-8")
    hostile = model_card(run, model)
    assert yaml.safe_load(hostile.split("\n---\n")[0].removeprefix("---\n"))["license"] == "other"
    assert "\nlicense: mit" not in hostile


def test_few_dialogues_have_no_interval(run_folder, model, tmp_path, monkeypatch):
    monkeypatch.setattr("m2fnet.model.card.FEWEST_DIALOGUES", 13)
    assert "| too few dialogues |" in model_card(run_folder, model)


def test_without_its_manifest_the_card_names_no_counts(run_folder, model):
    facts = {**model.config["trained"], "protocol": None, "counts": None}
    bare = dataclasses.replace(model, config={**model.config, "trained": facts})
    assert "| test | 12 |" not in model_card(run_folder, bare)


def test_a_run_without_scores_gets_no_card(run_folder, model, tmp_path):
    run = Path(shutil.copytree(run_folder, tmp_path / "run"))
    (run / "report.json").unlink()
    with pytest.raises(UsageError, match="Test the run first"):
        model_card(run, model)


def test_the_card_is_in_the_folder(card, model, tmp_path):
    assert (save_model(model, tmp_path / "m", card) / "README.md").read_text(encoding="utf-8") == card
