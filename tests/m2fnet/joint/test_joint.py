"""`m2fnet joint`: an extractor learns from a dialogue network what no single utterance tells."""

import json

import pytest
import torch
import yaml

from extractors.extraction.embedding import place_utterances
from extractors.runs.folder import load
from m2fnet.cli import DONE, WRONG_USE, run
from m2fnet.joint.data import NOWHERE, UtterancesOfDialogues
from m2fnet.manifest import Manifest
from m2fnet.records import LabelSet, Utterance
from m2fnet.runs.checkpoints import checkpoint_file, read_checkpoint
from m2fnet.store import Store
from m2fnet.sweeps.plan import stage_of

WORDS = {"joy": "ea", "anger": "io"}
CONFIG = {
    "seed_everything": 0,
    "trainer": {"accelerator": "cpu", "max_epochs": 12, "enable_progress_bar": False},
    "data": {"batch_size": 4},
    "model": {
        "net": {"class_path": "toy_network.ToyNetwork", "init_args": {"width": 6, "alphabet": "alphabet.txt"}},
        "dialogue": {"class_path": "dialog.models.recurrent.Recurrent", "init_args": {"width": 8, "dropout": 0.0}},
        "optimizer": {"class_path": "torch.optim.Adam", "init_args": {"lr": 0.03}},
    },
}


def answers_to_the_one_before(dialogues=(16, 6, 6)):
    """Two words, drawn; an utterance has the emotion that the word before it tells, the first one has joy."""
    draw = torch.Generator().manual_seed(0)
    said = []
    for split, count in zip(("train", "dev", "test"), dialogues, strict=True):
        for number in range(count):
            before = "joy"
            for index in range(3 + number % 4):
                word = "joy" if float(torch.rand((), generator=draw)) < 0.5 else "anger"
                name = f"{split}{number}"
                speaker = "Ann" if index % 2 else "Bob"
                text = WORDS[word] * 3
                said.append(Utterance(f"{name}_{index}", "own", split, name, index, speaker, text, label=before))
                before = word
    return Manifest("own", LabelSet("own", tuple(WORDS)), tuple(said))


@pytest.fixture(scope="module")
def manifest(tmp_path_factory):
    folder = tmp_path_factory.mktemp("joint") / "manifest"
    answers_to_the_one_before().save(folder)
    return folder


@pytest.fixture
def joint(manifest, tmp_path, monkeypatch):
    """``joint("fit", "--trainer.max_epochs", "2")`` runs the command in the run folder ``run``."""
    monkeypatch.setenv("M2FNET_TRUST", "toy_network")
    monkeypatch.setattr("sys.argv", ["m2fnet"])
    monkeypatch.chdir(tmp_path)
    (tmp_path / "alphabet.txt").write_text("aeiou", encoding="utf-8")
    (tmp_path / "joint.yaml").write_text(yaml.safe_dump(CONFIG), encoding="utf-8")

    def call(command, *options, stage="joint", config="joint.yaml", into="run"):
        return run([stage, command, "--config", config, "--run", into, "--data.manifest", str(manifest), *options])

    return call


def score(folder, split="test"):
    return json.loads((folder / "report.json").read_text(encoding="utf-8"))[split]["weighted_f1"]


def test_it_learns_what_only_the_dialogue_tells_and_its_run_is_an_extractors(joint, manifest, tmp_path, capsys):
    assert joint("fit") == joint("test") == DONE, capsys.readouterr().err
    printed = capsys.readouterr().out
    assert "dialogue network" in printed
    assert "m2fnet joint test --config run" in printed
    assert score(tmp_path / "run") > 0.9

    apart = {key: value for key, value in CONFIG["model"].items() if key != "dialogue"}
    (tmp_path / "apart.yaml").write_text(yaml.safe_dump({**CONFIG, "model": {**apart, "losses": {"triplet": 0.0}}}))
    each = ("--model.losses.cross_entropy", "1", "--data.batch_size", "20")
    assert joint("fit", *each, stage="extractor", config="apart.yaml", into="apart") == DONE
    assert joint("test", *each, stage="extractor", config="apart.yaml", into="apart") == DONE
    assert score(tmp_path / "apart") < 0.75

    assert run(["extract", "--ckpt", "run", "--manifest", str(manifest), "--out", "store"]) == DONE
    assert len(Store("store")) == len(Manifest.load(manifest).utterances)
    assert load(tmp_path / "run").extractor.width == 6


def test_both_networks_learn_and_the_same_seed_gives_the_same_weights(joint, tmp_path):
    short = ("--trainer.max_epochs", "1")
    assert joint("fit", *short, into="a") == joint("fit", *short, into="b") == DONE
    first, again = (read_checkpoint(checkpoint_file(tmp_path / name, "last"))["state_dict"] for name in "ab")
    assert {name.partition(".")[0] for name in first} >= {"net", "head"}
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert joint("fit", "--trainer.max_epochs", "2", into="longer") == DONE
    later = read_checkpoint(checkpoint_file(tmp_path / "longer", "last"))["state_dict"]
    assert all(not torch.equal(first[name], later[name]) for name in first if name.endswith("weight"))


def test_a_batch_says_where_each_utterance_is(manifest):
    corpus = Manifest.load(manifest)
    placed = place_utterances(corpus, "train")
    letters = type("Letters", (), {"length": lambda self, sample: 1, "collate": lambda self, samples: {}})()
    utterances = UtterancesOfDialogues(letters, placed, corpus.label_set.classes, [{} for _ in placed])
    dialogues = utterances.dialogues()
    assert [len(rows) for rows in dialogues] == [3 + number % 4 for number in range(16)]
    batch = utterances.collate([utterances[row] for row in (*dialogues[1], *dialogues[0])])
    number = batch["places"]["number"]
    assert number.tolist() == [[0, 1, 2, 3], [4, 5, 6, NOWHERE]]
    assert batch["row"].tolist() == [*dialogues[1], *dialogues[0]]
    assert batch["places"]["speaker"].tolist() == [[0, 1, 0, 1], [0, 1, 0, -1]]


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--model.dialogue.input_norm", "standard"], "fitted once"),
        (["--model.dialogue.width", "0"], "model.dialogue"),
        (["--model.net", "extractors.text.lsa.LSA"], "no weights to train"),
        (["--model.layer_decay", "0.5"], "the pretrained part of ToyNetwork has no numbered layers"),
    ],
)
def test_what_cannot_be_trained_together_is_refused(joint, capsys, options, reason):
    assert joint("fit", *options) == WRONG_USE
    error = capsys.readouterr().err
    assert reason in error
    assert "Traceback" not in error


def test_a_sweep_knows_the_configuration(joint, tmp_path):
    assert stage_of(str(tmp_path / "joint.yaml")) == "joint"
    assert stage_of("conf/joint/meld_text.yaml") == "joint"
