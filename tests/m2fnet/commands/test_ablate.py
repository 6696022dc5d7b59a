"""`m2fnet ablate`: the tables of one configuration; the trainings are in this process."""

import json
from pathlib import Path

import pytest
import yaml

from m2fnet.cli import DONE, FAILED, WRONG_USE
from m2fnet.reports.terminal import for_terminal
from m2fnet.sweeps.ablation_page import as_markdown


@pytest.fixture
def ablate(content, tiny_data, many, trained):
    """``ablate("--only", "fusion")`` makes tables over text and audio, of one seed."""
    content["data"]["stores"]["audio"] = str(tiny_data / "audio")
    return lambda *options: many("ablate", "--seeds", "0", *options)


def tables(out):
    content = json.loads((Path(out) / "ablation.json").read_text(encoding="utf-8"))
    return content, {table["name"]: table for table in content["tables"]}


def test_fusion_against_concatenation_is_trained_once_and_compared(ablate, trained, capsys):
    assert ablate("--only", "modalities,fusion") == DONE
    (out,) = Path("runs").glob("tiny-*-ablation")
    content, found = tables(out)
    names = ["text", "audio", "text + audio, concat", "text + audio, fusion"]
    assert [row["row"] for row in found["modalities"]["rows"]] == names
    assert sum(command[1] == "fit" for command in trained) == len(names)
    for row in found["modalities"]["rows"]:
        (run,) = row["runs"]
        report = json.loads(Path(run, "report.json").read_text(encoding="utf-8"))
        assert row["scores"]["test.weighted_f1"]["value"] == pytest.approx(report["test"]["weighted_f1"])
        assert " + ".join(report["modalities"]) == row["row"].partition(",")[0]
        config = yaml.safe_load(Path(run, "config.yaml").read_text(encoding="utf-8"))
        fusion = config["model"]["net"]["init_args"]["fusion"]
        assert (fusion == "attention") == row["row"].endswith("fusion")
        assert row["paper"] is None  # another corpus
    (difference,) = found["fusion"]["differences"]
    scores = {row["row"]: row["scores"]["test.weighted_f1"]["value"] for row in found["modalities"]["rows"]}
    assert difference["value"] == pytest.approx(scores[names[3]] - scores[names[2]])
    page, printed = (out / "ablation.md").read_text(encoding="utf-8"), capsys.readouterr().out
    assert for_terminal(page) in printed
    assert "| majority class (" in page
    assert "of 2000 bootstrap draws (seed 0) of the 5 test dialogues" in page
    assert "Paired: each draw takes the same dialogues for both sides" in page
    assert "paper's accuracy" not in page
    assert "The paper's numbers are only of the test sets of MELD" in page
    assert content["not_made"] == []
    before = len(trained)
    assert ablate("--only", "modalities,fusion") == DONE
    assert len(trained) == before
    assert ablate("--only", "modalities", "--modalities", "text") == DONE  # other tables
    assert (out / "ablation.md").read_text(encoding="utf-8") == page


def test_attention_fusion_is_ablated_as_a_system(ablate, content, capsys):
    net = {"class_path": "dialog.models.attention_fusion.AttentionFusion", "init_args": {"hidden": 8}}
    content["model"] = {**content["model"], "net": net, "modality_dropout": {"probability": 0.2}}
    assert ablate("--only", "parts") == DONE
    (out,) = Path("runs").glob("tiny-*-ablation")
    rows = {row["row"]: row for row in tables(out)[1]["parts"]["rows"]}
    configs = {name: yaml.safe_load(Path(row["runs"][0], "config.yaml").read_text()) for name, row in rows.items()}
    assert {name: config["data"]["streams"] for name, config in configs.items()} == {
        "whole": ["text", "audio"],
        "without text": ["audio"],
        "without audio": ["text"],
        "without modality dropout": ["text", "audio"],
        "weights of the streams without softmax": ["text", "audio"],
    }
    dropouts = {name: config["model"]["modality_dropout"] for name, config in configs.items()}
    assert [name for name, dropout in dropouts.items() if dropout is None] == ["without modality dropout"]
    assert ablate("--only", "encoders") == WRONG_USE
    assert "whose tables are parts, modalities" in capsys.readouterr().err


def test_stores_are_compared_if_they_are_named_and_else_said_not_to_be_made(ablate, tiny_data, capsys):
    audio = tiny_data / "audio"
    assert ablate("--only", "visual,losses", "--losses", f"one={audio}", "--out", "out") == DONE
    content, found = tables("out")
    assert [row["row"] for row in found["losses"]["rows"]] == ["one"]
    (not_made,) = content["not_made"]
    assert not_made["title"] == "Scene, face or both"
    assert "m2fnet ablate --config tiny.yaml --only visual" in not_made["commands"]
    assert f"--data.manifest {tiny_data / 'manifest'}" in not_made["commands"]
    assert not_made["commands"] in capsys.readouterr().out
    assert ablate("--only", "visual", "--visual", f"scene={audio}") == WRONG_USE
    assert "--visual names stores of audio embeddings" in capsys.readouterr().err


def test_the_papers_numbers_are_next_to_ours_and_the_best_on_dev_is_bold():
    def row(name, dev, paper):
        score = {"value": 0.5, "sd": 0.01, "low": 0.4, "high": 0.6}
        scores = {"test.weighted_f1": score, "test.accuracy": score, "dev.weighted_f1": score | {"value": dev}}
        return {"row": name, "paper": paper, "scores": scores, "seeds": [0, 1]}

    paper = {"accuracy": 67.85, "weighted_f1": 66.71}
    rows = [row("N = 1", 0.6, paper), row("N = 2", 0.7, None)]
    shown = ("weighted_f1", "accuracy")
    tables = [{"title": "t", "shown": shown, "rows": rows, "differences": [], "majority": {}, "note": ""}]
    page = as_markdown({"config": "c", "seeds": "0-1", "tables": tables, "not_made": []})
    assert "| N = 1 | 50.00 ± 1.00 | 66.71 | 40.00 to 60.00 | 50.00 ± 1.00 | 67.85 | 60.00 ± 1.00 | 2 |" in page
    assert "| N = 2 | 50.00 ± 1.00 | – | 40.00 to 60.00 | 50.00 ± 1.00 | – | **70.00 ± 1.00** | 2 |" in page
    assert "test sets of MELD" not in page
    for name, is_the_papers in (("encoders", True), ("parts", False)):
        tables = [{**tables[0], "name": name, "rows": rows[1:]}]
        page = as_markdown({"config": "c", "seeds": "0-1", "tables": tables, "not_made": []})
        assert ("test sets of MELD" in page) == is_the_papers


def test_a_corpus_of_label_sets_shows_its_scores():
    score = {"value": 0.5, "sd": 0.01, "low": 0.4, "high": 0.6}
    scores = {"test.micro_f1": score, "test.exact_match": score | {"value": 0.3}, "dev.micro_f1": score}
    rows = [{"row": "text", "paper": None, "scores": scores, "seeds": [0, 1]}]
    table = {"title": "t", "shown": ("micro_f1", "exact_match"), "rows": rows, "differences": [], "majority": {}}
    page = as_markdown({"config": "c", "seeds": "0-1", "tables": [{**table, "note": ""}], "not_made": []})
    assert "|  | micro F1 | 95 % interval | exact match | dev micro F1 | seeds |" in page
    assert "| text | 50.00 ± 1.00 | 40.00 to 60.00 | 30.00 ± 1.00 | **50.00 ± 1.00** | 2 |" in page


def test_runs_that_fail_leave_their_rows_empty(ablate, capsys):
    options = ("--modalities", "text", "--model.optimizer.lr", "1e30", "--out", "out")
    assert ablate("--only", "modalities", *options) == FAILED
    (row,) = tables("out")[1]["modalities"]["rows"]
    assert (row["row"], row["scores"]) == ("text", {})
    assert "1 of 1 runs failed" in capsys.readouterr().err
    assert "| text | – | – | – | – | 0 |" in Path("out/ablation.md").read_text(encoding="utf-8")


def test_stores_that_the_runs_would_not_read_are_refused(ablate, content, tiny_data, trained, capsys):
    visual = f"scene={tiny_data / 'visual'}"
    assert ablate("--only", "visual", "--visual", visual) == WRONG_USE
    refused = capsys.readouterr().err
    assert "--visual compares stores of visual embeddings, but the runs only read text and audio" in refused
    content["data"]["stores"]["visual"] = str(tiny_data / "visual")
    assert ablate("--visual", visual, "--modalities", "text,audio") == WRONG_USE
    assert "but the runs only read text and audio" in capsys.readouterr().err
    assert ablate("--losses", f"one={tiny_data / 'audio'}", "--data.streams", "[text]") == WRONG_USE
    assert "--losses compares stores of audio embeddings, but the runs only read text" in capsys.readouterr().err
    assert ablate("--only", "visual", "--visual", visual, visual.replace("scene", "face")) == WRONG_USE
    assert "--visual gives one name or one store twice" in capsys.readouterr().err
    assert ablate("--only", "encoders", "--visual", visual) == WRONG_USE
    assert "but --only leaves their table out; add visual to it" in capsys.readouterr().err
    assert trained == []


def test_what_has_nothing_to_fuse_is_refused_if_asked_for_and_else_not_made(ablate, monkeypatch, capsys):
    monkeypatch.setattr("m2fnet.commands.ablate.run_left", lambda *_: [])
    assert ablate("--only", "modalities,fusion_layers", "--modalities", "text") == WRONG_USE
    assert "--only names fusion_layers, but fusion needs text and another modality" in capsys.readouterr().err
    assert ablate("--modalities", "text", "--out", "out") == DONE
    page = Path("out/ablation.md").read_text(encoding="utf-8")
    assert page.count("Not made: fusion needs text and another modality, and the runs read text.") == 2
    assert list(tables("out")[1]) == ["modalities", "encoders"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--only", "layers"], "'layers' is not one of modalities, fusion"),
        (["--modalities", "smell"], "smell is to be combined, but tiny.yaml only has stores of text and audio"),
        (["--modalities", "text,visual"], "visual is to be combined, but tiny.yaml only has stores of text and audio"),
        (["--config", "conf/extractors/audio_mel.yaml"], "audio_mel.yaml names no data.stores"),
        (["--jobs", "0"], "--jobs is 0, expected at least 1"),
        (["--run", "x"], "--run cannot be given to a sweep"),
        (["--visual", "scene"], "expected NAME=DIR, got 'scene'"),
        (["--model.net.hedas", "2"], "hedas"),
    ],
)
def test_a_wrong_ablation_is_refused_before_anything_is_trained(ablate, trained, capsys, options, message):
    assert ablate(*options) == WRONG_USE
    assert message in capsys.readouterr().err
    assert trained == []
