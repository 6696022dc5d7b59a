"""`m2fnet extractor` and its configuration files, wrong and hostile ones included."""

import dataclasses
import json

import pytest

from extractors.base import Extractor
from extractors.runs.settings import read_settings
from m2fnet.cli import run
from m2fnet.config import conf_folder


def test_fit_validate_test_report_the_probe(config, capsys):
    assert run(["extractor", "fit", "--config", "tiny.yaml"]) == 0
    report = json.loads((config.parent / "runs/tiny/report.json").read_text())
    assert set(report) == {"extractor", "dev"}  # fit never reads test
    assert run(["extractor", "validate", "--config", "runs/tiny/config.yaml"]) == 0
    assert run(["extractor", "test", "--config", "tiny.yaml"]) == 0
    report = json.loads((config.parent / "runs/tiny/report.json").read_text())
    assert report["test"]["n"] == 6
    assert "majority class" in capsys.readouterr().out


def test_a_fit_needs_no_single_labels_and_a_probe_does(config, corpus, capsys):
    labels = dataclasses.replace(corpus.label_set, kind="multi")
    dataclasses.replace(corpus, label_set=labels).save(config.parent / "multi")
    command = ["--config", "tiny.yaml", "--manifest", "multi"]
    assert run(["extractor", "fit", *command]) == 0
    assert capsys.readouterr().out == "kept in runs/tiny\n"
    assert run(["extractor", "validate", *command]) == 1
    assert "one emotion per utterance, but 'tiny' has several; embed without judging" in capsys.readouterr().err
    assert run(["extract", *command, "--out", "store"]) == 0


def test_judging_without_a_fit_says_what_to_run(config, capsys):
    assert run(["extractor", "test", "--config", "tiny.yaml"]) == 2
    assert "m2fnet extractor fit" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], ["--config"]),
        (["--config", "none.yaml"], ["none.yaml"]),
        (["--config", "tiny.yaml", "--extractor.init_args.widht", "4"], ["widht"]),
        (["--config", "tiny.yaml", "--extractor.init_args.width", "abc"], ["extractor.init_args.width", "int", "abc"]),
        (["--config", "tiny.yaml", "--extractor.init_args.scaling", "no"], ["scaling", "variance", "length"]),
        (["--config", "tiny.yaml", "--extractor.init_args.width", "0"], ["width=0"]),
        (["--config", "tiny.yaml", "--sed", "1"], ["--sed"]),
        (["--config", "tiny.yaml", "--extractor.class_path", "os.system"], ["os.system"]),
        (
            ["--config", "tiny.yaml", "--extractor.class_path", "extractors.base.PlacedUtterance"],
            ["expected a subclass of extractors.base.Extractor"],
        ),
        (["--config", "tiny.yaml", "--extractor.class_path", "extractors.text.none.X"], ["cannot be imported"]),
    ],
)
def test_wrong_use_is_one_message_that_names_the_key(arguments, words, config, capsys):
    assert run(["extractor", "fit", *arguments]) == 2
    message = capsys.readouterr().err
    assert len(message.strip().splitlines()) == 1
    for word in words:
        assert word in message


@pytest.mark.parametrize("content", ["extractor: os.system", "extractor: {class_path: os.system}", "- a", "a: [", ""])
def test_hostile_configurations_are_refused_before_an_import(content, config, monkeypatch, capsys):
    monkeypatch.setattr("importlib.import_module", _only_commands)
    (config.parent / "bad.yaml").write_text(content)
    assert run(["extractor", "fit", "--config", "bad.yaml"]) == 2
    assert "bad.yaml" in capsys.readouterr().err


def _only_commands(name):
    import extractors.commands.extractor

    assert name == "extractors.commands.extractor", f"imported {name}"
    return extractors.commands.extractor


def test_every_shipped_closed_form_extractor_is_built(corpus):
    files = sorted((conf_folder() / "extractors").glob("*.yaml"))
    closed_form = [path for path in files if "\nextractor:" in path.read_text(encoding="utf-8")]
    assert closed_form
    for path in closed_form:
        settings = read_settings(["--config", str(path), "--manifest", str(corpus.root)], "")
        assert isinstance(settings.build(), Extractor)
        assert settings.run.name == path.stem
