"""`m2fnet extractor` for what is fitted in closed form: one command for both kinds, and what is refused."""

import dataclasses
import json

import pytest
import yaml

from extractors.base import FittedExtractor
from extractors.runs.settings import build, extractor_class
from m2fnet.cli import run
from m2fnet.config import conf_folder


def test_fit_validate_test_report_the_probe(config, capsys):
    folder = config.parent / "runs/tiny/seed-0"
    assert run(["extractor", "fit", "--config", "tiny.yaml"]) == 0
    assert "majority class" in capsys.readouterr().out
    names = {"config.yaml", "provenance.json", "fit.json", "net", "train_embeddings.safetensors"}
    assert {path.name for path in folder.iterdir()} == names  # fit never reads test
    assert run(["extractor", "fit", "--config", "tiny.yaml"]) == 0
    assert "is trained already" in capsys.readouterr().out
    assert run(["extractor", "validate", "--config", str(folder / "config.yaml")]) == 0
    assert run(["extractor", "test", "--config", "tiny.yaml"]) == 0
    report = json.loads((folder / "report.json").read_text())
    fit = json.loads((folder / "fit.json").read_text())
    assert report["test"]["n"] == len((folder / "predictions.jsonl").read_text().splitlines()) == 6
    assert "embeddings" not in report
    assert not [name for name in report["fit"] if name.startswith("dev.")]  # each score once
    assert report["dev"]["weighted_f1"] == fit["dev.weighted_f1"]


def test_a_fit_needs_no_single_labels_and_a_probe_does(config, corpus, capsys):
    labels = dataclasses.replace(corpus.label_set, kind="multi")
    dataclasses.replace(corpus, label_set=labels).save(config.parent / "multi")
    command = ["--config", "tiny.yaml", "--manifest", "multi"]
    assert run(["extractor", "fit", *command]) == 0
    why = "The utterances of tiny have sets of emotions; scoring an extractor needs one emotion per utterance."
    assert f"Fitted, but not scored on dev: {why}\n" in capsys.readouterr().out
    assert run(["extractor", "validate", *command]) == 2
    assert "needs one emotion per utterance. Embed without scoring" in capsys.readouterr().err
    assert run(["extractor", "test", *command]) == 2
    assert "needs one emotion per utterance. Embed without scoring" in capsys.readouterr().err
    assert run(["extract", *command, "--run", "other", "--out", "store"]) == 0
    assert f"Fitted, but not scored on dev: {why}\n" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--manifest", "nosuch"], "Cannot read nosuch/manifest"),
        (["--model.net.width", "0"], "model.net: "),
        (["--trainer.max_epochs", "3"], "trainer.max_epochs is 3, which has no effect"),
    ],
)
def test_a_plan_is_refused_as_the_fit_would_be(options, message, config, capsys):
    fit = ["extractor", "fit", "--config", "tiny.yaml", *options]
    assert run([*fit, "--dry-run"]) != 0
    planned = capsys.readouterr().err.splitlines()[-1]
    assert message in planned
    assert not (config.parent / "runs").exists()
    assert run(fit) != 0
    assert capsys.readouterr().err.splitlines()[-1] == planned


def test_a_plan_of_a_fit_writes_nothing(config, capsys):
    assert run(["extractor", "fit", "--config", "tiny.yaml", "--dry-run"]) == 0
    assert capsys.readouterr().out == "runs/tiny/seed-0\n"
    assert not (config.parent / "runs").exists()


def test_scoring_without_a_fit_says_what_to_run(config, capsys):
    assert run(["extractor", "test", "--config", "tiny.yaml"]) == 1
    assert "m2fnet extractor fit" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], ["model.net", "required"]),
        (["--config", "none.yaml"], ["none.yaml"]),
        (["--config", "tiny.yaml", "--model.net.widht", "4"], ["widht"]),
        (["--config", "tiny.yaml", "--model.net.width", "abc"], ["model.net", "width", "int", "abc"]),
        (["--config", "tiny.yaml", "--model.net.scaling", "no"], ["scaling", "variance", "length"]),
        (["--config", "tiny.yaml", "--model.net.width", "0"], ["width=0"]),
        (["--config", "tiny.yaml", "--sed", "1"], ["--sed"]),
        (["--config", "tiny.yaml", "--trainer.max_epochs", "3"], ["trainer.max_epochs is 3, which has no effect"]),
        (["--config", "tiny.yaml", "--model.losses.triplet", "3"], ["model.losses.triplet", "no effect"]),
        (["--config", "tiny.yaml", "--data.per_class", "3"], ["data.per_class", "no effect"]),
        (["--config", "tiny.yaml", "--select", "last"], ["select is 'last', which has no effect"]),
        # outside the trusted packages: it is refused, not imported
        (["--config", "tiny.yaml", "--model.net", "os.getpid"], ["os.getpid"]),
        (["--config", "tiny.yaml", "--model.net", "extractors.base.PlacedUtterance"], ["PlacedUtterance"]),
        (["--config", "tiny.yaml", "--model.net", "extractors.text.none.X"], ["'none' in extractors.text"]),
    ],
)  # fmt: skip
def test_wrong_use_is_one_message_that_names_the_key(arguments, words, config, capsys):
    assert run(["extractor", "fit", *arguments]) == 2
    message = [line for line in capsys.readouterr().err.splitlines() if "Seed set" not in line]
    assert len(message) == 1
    for word in words:
        assert word in message[0]


def test_batch_size_and_workers_have_an_effect_and_are_accepted(config):
    options = ["--data.batch_size", "4", "--data.workers", "0", "--trainer.accelerator", "cpu"]
    assert run(["extractor", "fit", "--config", "tiny.yaml", *options]) == 0


@pytest.mark.parametrize(
    "content", ["model: {net: os.getpid}", "model: {net: {class_path: os.getpid}}", "- a", "a: [", "", "extractor: {}"]
)
def test_a_hostile_or_broken_configuration_is_refused_by_its_name(content, config, capsys):
    (config.parent / "bad.yaml").write_text(content)
    assert run(["extractor", "fit", "--config", "bad.yaml"]) == 2
    assert "bad.yaml" in capsys.readouterr().err


def test_every_shipped_closed_form_extractor_is_built():
    settings = [
        content["model"]["net"]
        for path in sorted((conf_folder() / "extractors").glob("*.yaml"))
        if "optimizer" not in (content := yaml.safe_load(path.read_text(encoding="utf-8")))["model"]
    ]
    frozen = [net for net in settings if "model" in net["init_args"]]  # of a hub; their own tests build tiny ones
    assert (len(settings), len(frozen)) == (7, 4)
    assert not any(extractor_class(net["class_path"]).is_trained(net["init_args"]) for net in frozen)
    assert all(isinstance(build(**net), FittedExtractor) for net in settings if net not in frozen)
