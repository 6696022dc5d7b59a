"""Options that older versions had, and texts of help that fit a terminal of 80 columns."""

import os
import subprocess
import sys

import pytest

from m2fnet.cli import DONE, WRONG_USE, run


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["dialog", "fit", "--plan", "true"], "m2fnet dialog: --plan is now the flag --dry-run, without a value."),
        (["report", "runs/a", "--by", "shift"], "m2fnet report: --by is now --group-by."),
        (["report", "runs/a", "--by=shift"], "m2fnet report: --by is now --group-by."),
        (["extractor", "fit", "--model.monitor", "probe"], "--model.monitor is now --model.scorer."),
        (["dialog", "fit", "--overwrite", "true"], "--overwrite is a flag: write it without a value, but got 'true'."),
        (["dialog", "test", "--quiet=False"], "--quiet is a flag: omit it, but got 'False'."),
    ],
)
def test_an_older_spelling_is_refused_with_the_present_one(arguments, message, capsys):
    assert run(arguments) == WRONG_USE
    assert message in capsys.readouterr().err


CORPORA = ["iemocap", "goemotions", "mosei", "m3ed", "cremad", "mer2024", "table"]
COMMANDS = [
    "demo",
    "extract",
    "sweep",
    "ablate",
    "reproduce",
    "prepare",
    "import",
    "store",
    "noise",
    "report",
    "export",
]


@pytest.mark.parametrize("command", [*((name,) for name in COMMANDS), *(("prepare", name) for name in CORPORA), ()])
def test_help_fits_a_terminal(command, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    assert run([*command, "--help"]) == DONE
    assert max(map(len, capsys.readouterr().out.splitlines())) <= 80


@pytest.mark.parametrize(
    ("arguments", "meant"),
    [
        (["prepare", "tyo"], "toy"),
        (["prepare", "mosei", "--root", "x", "--out", "y", "--partia"], "--partial"),
        (["prepare", "mosei", "--root", "x", "--out", "y", "--protocol", "algned"], "aligned"),
        (["report", "runs/a", "--latx"], "--latex"),
        (["report", "runs/a", "--lat"], "--latex"),  # not completed
        (["dialog", "fti"], "fit"),
    ],
)
def test_a_misspelled_choice_or_option_is_answered_with_the_one_like_it(arguments, meant, capsys, monkeypatch):
    monkeypatch.setattr("sys.argv", ["m2fnet"])
    assert run(arguments) == WRONG_USE
    assert f". Did you mean {meant}?" in capsys.readouterr().err


@pytest.mark.parametrize("command", [["report"], ["reproduce"]])
def test_a_run_that_is_not_there_is_answered_with_the_one_like_it(command, tmp_path, capsys):
    (tmp_path / "meld+text").mkdir()
    assert run([*command, str(tmp_path / "meld+txt")]) != DONE
    assert f"Like it there is: {tmp_path / 'meld+text'}." in capsys.readouterr().err


@pytest.mark.parametrize("command", ["dialog", "extractor"])
def test_help_describes_every_subcommand_in_whole_sentences(command, capsys):
    assert run([command, "--help"]) == DONE
    said = " ".join(capsys.readouterr().out.split())
    assert "test Score the kept weights on dev and test, and write the report into the run folder." in said
    assert "to make sure you never" not in said  # Lightning's, cut


def test_onnxruntime_sends_nothing_unless_somebody_wants_it():
    """It reads the variable when it is imported, which torchmetrics does."""
    script = "import os, m2fnet; print(os.environ['ORT_DISABLE_TELEMETRY'])"
    usual = {name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"}
    for environment, expected in ((usual, "1"), ({**usual, "ORT_DISABLE_TELEMETRY": "0"}, "0")):
        done = subprocess.run(
            [sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True
        )
        assert done.stdout.strip() == expected
