"""`m2fnet dialog missing`: one trained network under every condition."""

import json
import re

import pytest
import torch
from tiny_corpus import WIDTHS

from dialog.data import DialogueData
from dialog.missing.conditions import SHARES, Condition, conditions, random_shares, subsets
from m2fnet.cli import DONE, WRONG_USE, run
from m2fnet.reports.terminal import for_terminal


@pytest.fixture
def dialog(tiny_config, tmp_path, monkeypatch):
    """``dialog("fit")`` runs the command on the tiny corpus in the folder ``run``."""
    monkeypatch.setattr("sys.argv", ["m2fnet"])

    def call(command, *options):
        return run(["dialog", command, "--config", str(tiny_config), "--run", str(tmp_path / "run"), *options])

    return call


def test_every_subset_comes_once_and_every_share_is_drawn_often():
    names = [one.present for one in subsets(["text", "audio", "visual"])]
    assert names[0] == ("text", "audio", "visual")
    assert len(set(names)) == len(names) == 7
    shares = random_shares(["text", "audio"])
    assert [draws[0].share for draws in shares] == list(SHARES)
    assert [len(draws) for draws in shares[:2]] == [1, 5]
    every = conditions(["text", "audio"])
    assert len(set(every)) == len(every) == 3 + 9 * 5  # nothing missing is both a subset and a share


def test_masks_follow_the_seed_and_never_give_what_the_store_lacks(tiny):
    stores = {name: str(tiny / name) for name in WIDTHS}
    dialogues = DialogueData(str(tiny / "manifest"), stores).dialogues("test")
    first, same, other = (Condition(tuple(WIDTHS), 0.5, draw).masks(dialogues) for draw in (0, 0, 1))
    assert all(torch.equal(first[name], same[name]) for name in WIDTHS)
    assert not all(torch.equal(first[name], other[name]) for name in WIDTHS)
    assert not (first["visual"] & ~dialogues.present["visual"]).any()
    only_audio = Condition(("audio",)).masks(dialogues)
    assert (only_audio["audio"].all(), only_audio["text"].any()) == (True, False)


def test_the_whole_input_scores_as_in_the_report_and_less_of_it_worse(dialog, tmp_path, capsys):
    assert dialog("fit") == dialog("test") == DONE
    before = (tmp_path / "run" / "report.json").read_bytes()
    assert dialog("missing") == DONE
    printed, page = capsys.readouterr().out, (tmp_path / "run" / "missing.md").read_text(encoding="utf-8")
    content = json.loads((tmp_path / "run" / "missing.json").read_text())
    report = json.loads(before)
    for whole in (content["subsets"][0], content["random"][0]):
        for split in ("dev", "test"):
            score = whole[f"{split}.weighted_f1"]
            assert score["value"] == pytest.approx(report[split]["weighted_f1"], abs=1e-9)
            assert (score["low"], score["high"]) == (None, None)  # too few dialogues
    missing = [row["test.missing_share"] for row in content["random"]]
    assert missing == sorted(missing)
    assert missing[0] < 0.1 < 0.6 < missing[-1] < 2 / 3 + 1e-6
    least = content["random"][-1]["test.weighted_f1"]["value"]
    assert least < content["random"][0]["test.weighted_f1"]["value"]
    assert for_terminal(page) in printed
    assert "| text + audio | " in page
    assert (tmp_path / "run" / "report.json").read_bytes() == before


def test_of_a_network_of_one_stream_nothing_can_be_missing(dialog, capsys):
    assert dialog("fit", "--data.streams", "[audio]") == DONE
    assert dialog("missing", "--data.streams", "[audio]") == WRONG_USE
    assert "reads only audio, so nothing can be missing" in capsys.readouterr().err


def test_modality_dropout_is_a_setting_of_the_run_and_off_in_tests(dialog, tmp_path, capsys):
    options = ("--model.modality_dropout.probability", "0.5", "--model.modality_dropout.warmup_epochs", "1")
    assert dialog("fit", *options) == DONE
    assert "probability: 0.5" in (tmp_path / "run" / "config.yaml").read_text()
    assert dialog("fit") == WRONG_USE
    assert "was trained with model.modality_dropout" in capsys.readouterr().err
    assert dialog("test", *options) == DONE
    report = (tmp_path / "run" / "report.json").read_bytes()
    assert run(["dialog", "test", "--config", str(tmp_path / "run" / "config.yaml")]) == DONE
    assert (tmp_path / "run" / "report.json").read_bytes() == report


def test_a_wrong_dropout_is_one_sentence(dialog, capsys):
    assert dialog("fit", "--model.modality_dropout.probability", "1.5") == WRONG_USE
    assert "expected a probability from 0 to below 1" in capsys.readouterr().err


def test_help_lists_the_command_with_its_line(capsys):
    assert run(["dialog", "--help"]) == DONE
    assert re.search(r"^    missing +Test with parts of the inputs missing", capsys.readouterr().out, re.MULTILINE)
    assert run(["dialog", "missing", "--help"]) == DONE
    assert "--checkpoint" in capsys.readouterr().out
