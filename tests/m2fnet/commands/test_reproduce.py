"""`m2fnet reproduce`: train again and compare."""

import json
import shutil
from pathlib import Path

import pytest
import torch

from m2fnet.cli import DONE, FAILED, WRONG_USE, run
from m2fnet.files import write_json
from m2fnet.runs.checkpoints import read_checkpoint
from m2fnet.runs.comparison import compare_reports, compare_values, compare_weights


def test_a_run_comes_out_the_same(dialog, capsys):
    assert dialog("fit", "--seed_everything", "7", into=None) == DONE
    assert run(["dialog", "test", "--config", "runs/tiny/seed-7/config.yaml"]) == DONE
    capsys.readouterr()
    assert run(["reproduce", "runs/tiny/seed-7"]) == DONE
    printed = capsys.readouterr().out
    assert "Environment: the same" in printed
    assert printed.count("equal") == 3
    assert printed.endswith("The run was reproduced.\n")
    compared = json.loads(Path("runs/tiny/reproduced-seed-7/reproduction.json").read_text(encoding="utf-8"))["compared"]
    assert [(one["what"], one["is_equal"]) for one in compared] == [
        ("weights", True),
        ("training", True),
        ("report", True),
    ]
    assert Path("runs/tiny/reproduced-seed-7/report.json").is_file()


def test_another_result_fails_and_says_where_and_by_how_much(dialog, capsys):
    assert dialog("fit") == DONE
    best = Path("run/checkpoints/best.ckpt")
    checkpoint = read_checkpoint(best)
    name = next(iter(checkpoint["state_dict"]))
    checkpoint["state_dict"][name].view(-1)[0] += 0.5
    torch.save(checkpoint, best)
    assert run(["reproduce", "run", "--into", "again"]) == FAILED
    printed = capsys.readouterr()
    assert "weights   DIFFERENT  1 of " in printed.out
    assert f"the first is {name}; the largest difference is 0.5 in {name}" in printed.out
    assert "training  equal" in printed.out
    assert "again is not equal to run: weights." in printed.err


def test_versions_that_differ_are_listed(dialog, capsys):
    assert dialog("fit") == DONE
    path = Path("run/provenance.json")
    path.write_text(path.read_text(encoding="utf-8").replace('"python": "3', '"python": "2'), encoding="utf-8")
    assert run(["reproduce", "run"]) == DONE
    assert "Other than when the run was made:\npython: 2" in capsys.readouterr().out


def test_other_data_are_told_before_anything_is_trained(dialog, content, tiny_corpus_copy, capsys):
    content["data"]["manifest"] = str(tiny_corpus_copy / "manifest")
    assert dialog("fit") == DONE
    shutil.rmtree(tiny_corpus_copy / "manifest")
    assert run(["reproduce", "run"]) == FAILED
    error = capsys.readouterr().err
    assert "cannot be repeated, because its data are not what they were" in error
    assert str(tiny_corpus_copy / "manifest") in error
    assert not Path("reproduced-run").exists()


def test_the_second_run_needs_a_folder_of_its_own(dialog, capsys):
    assert dialog("fit") == DONE
    assert run(["reproduce", "run", "--into", "./run"]) == WRONG_USE
    assert "is the run itself" in capsys.readouterr().err
    assert dialog("fit", "--model.net.hidden", "6", into="other") == DONE
    assert run(["reproduce", "run", "--into", "other"]) == FAILED
    assert "other was trained with model.net.init_args.hidden = 6, but now it is 4" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["nowhere", "."])
def test_only_a_finished_run_can_be_repeated(tmp_path, monkeypatch, capsys, name):
    monkeypatch.chdir(tmp_path)
    assert run(["reproduce", name]) == WRONG_USE
    assert "holds no finished training" in capsys.readouterr().err


def test_weights_are_compared_bit_for_bit():
    one = {"a": torch.tensor([1.0, 2.0]), "b": torch.tensor(3)}
    assert compare_weights(one, {name: value.clone() for name, value in one.items()}).is_equal
    least = torch.nextafter(torch.tensor(1.0), torch.tensor(2.0))
    assert not compare_weights(one, {**one, "a": torch.stack([least, torch.tensor(2.0)])}).is_equal


@pytest.mark.parametrize("other", [{"a": torch.zeros(3)}, {}, {"a": torch.zeros(2), "b": torch.zeros(1)}])
def test_weights_of_other_shape_or_name_are_different(other):
    found = compare_weights({"a": torch.zeros(2)}, other)
    assert not found.is_equal
    assert "1 tensors are of another shape, or not in both: " in found.detail


def test_values_show_the_scores_in_per_cent():
    found = compare_values("training", {"dev.weighted_f1": 0.5, "epoch": 2}, {"dev.weighted_f1": 0.5, "epoch": 2})
    assert found.is_equal
    assert found.detail == "dev.weighted_f1 50.00, epoch"


def test_a_score_that_only_the_first_report_has_is_no_equal_one(tmp_path):
    for name, test in (("a", {"accuracy": 0.5, "n": 4}), ("b", {"n": 4})):
        write_json(tmp_path / name / "report.json", {"test": test})
    found = compare_reports(tmp_path / "a", tmp_path / "b")
    assert (found.is_equal, found.detail) == (False, "1 of 2 values differ, the first is test.accuracy: 0.5 and None")
