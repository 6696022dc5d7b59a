"""Networks, training, reports and predictions on a corpus whose utterances carry sets of emotions."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest
import torch
import yaml
from made_up_model import Letters
from sklearn.metrics import f1_score
from tiny_corpus import CLASSES, WIDTHS, tiny_manifest

from dialog.saved import of_run as network_of_run
from dialog.task import DialogueTask
from m2fnet.cli import DONE, WRONG_USE, run
from m2fnet.manifest import Manifest
from m2fnet.model import Model, save_model
from m2fnet.model.card import model_card
from m2fnet.problems import MultiLabel
from m2fnet.records import LabelSet
from m2fnet.runs.checkpoints import read_checkpoint
from m2fnet.store import StoreWriter

NETWORKS = {
    "linear": ("dialog.models.per_utterance.PerUtterance", {}),
    "mlp": ("dialog.models.per_utterance.PerUtterance", {"hidden": 16}),
    "bc_lstm": ("dialog.models.recurrent.Recurrent", {"width": 8}),
    "late_fusion": ("dialog.models.late_fusion.LateFusion", {"width": 8, "heads": 2}),
    "sdt": ("dialog.models.sdt.SDT", {"width": 16, "heads": 2, "dropout": 0.1}),
    "m2fnet": ("dialog.models.m2fnet.M2FNet", {"width": 8, "heads": 2, "hidden": 16, "fusion_layers": 1}),
    "attention_fusion": ("dialog.models.attention_fusion.AttentionFusion", {"hidden": 16, "weights": "softmax"}),
    "carat": (
        "dialog.models.carat.CARAT",
        {"width": 16, "latent": 8, "layers": 0, "heads": 2, "feedforward": 8, "queue": 64, "dropout": 0.0},
    ),
}


def label_set_manifest(folder):
    """The tiny corpus with sets of up to three emotions, drawn independently; a tenth of it is unlabelled."""
    draw = np.random.default_rng(0)
    single = tiny_manifest(dialogues=(30, 12, 12))
    utterances = []
    for u in single.utterances:
        is_in = draw.random(len(CLASSES)) < (0.6, 0.4, 0.2)
        labels = None if u.label is None else tuple(c for c, here in zip(CLASSES, is_in, strict=True) if here)
        utterances.append(replace(u, label=None, labels=labels))
    return Manifest("sets", LabelSet("sets", CLASSES, "multi"), tuple(utterances)).save(folder / "manifest")


def write_label_set_stores(folder, manifest):
    """Embeddings that are the sum of the directions of the emotions of an utterance, and noise."""
    draw = torch.Generator().manual_seed(0)
    for modality, width in WIDTHS.items():
        directions = 2 * torch.randn(len(CLASSES), width, generator=draw)
        with StoreWriter(
            folder / modality, manifest, modality=modality, width=width, extractor={"made": "up"}
        ) as store:
            for u in manifest.utterances:
                here = torch.tensor([float(name in (u.labels or ())) for name in CLASSES])
                store.add(u.id, here @ directions + torch.randn(width, generator=draw))


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sets")
    write_label_set_stores(folder, label_set_manifest(folder))
    return folder


@pytest.fixture
def dialog(corpus, tmp_path, monkeypatch):
    """``dialog("fit", "m2fnet")`` runs the command with that network in the run folder of its name."""
    monkeypatch.setattr("sys.argv", ["m2fnet"])

    def call(command, network, *options):
        class_path, init_args = NETWORKS[network]
        config = {
            "seed_everything": 3,
            "trainer": {"accelerator": "cpu", "max_epochs": 12, "enable_progress_bar": False, "log_every_n_steps": 1},
            "data": {
                "manifest": str(corpus / "manifest"),
                "stores": {name: str(corpus / name) for name in WIDTHS},
                "batch_size": 4,
            },
            "model": {
                "net": {"class_path": class_path, "init_args": init_args},
                "optimizer": {"class_path": "torch.optim.AdamW", "init_args": {"lr": 0.01}},
            },
        }
        path = tmp_path / f"{network}.yaml"
        path.write_text(yaml.safe_dump(config), encoding="utf-8")
        return run(["dialog", command, "--config", str(path), "--run", str(tmp_path / network), *options])

    return call


@pytest.mark.parametrize("network", NETWORKS)
def test_every_network_learns_label_sets_and_beats_the_baselines(dialog, network, tmp_path, capsys):
    assert dialog("fit", network) == DONE
    assert "with dev micro F1" in capsys.readouterr().out
    assert dialog("test", network) == DONE
    assert "Micro F1 on test" in capsys.readouterr().out
    page = (tmp_path / network / "report.md").read_text(encoding="utf-8")
    report = json.loads((tmp_path / network / "report.json").read_text(encoding="utf-8"))
    test = report["test"]
    assert test["micro_f1"] > max(one["micro_f1"] for one in test["baselines"].values()) + 0.05
    assert test["intervals"]["micro_f1"][0] < test["micro_f1"] < test["intervals"]["micro_f1"][1]
    assert "Micro F1 on test" in page
    assert "Jaccard as CARAT (empty sets: 0)" in page


def test_the_report_is_that_of_scikit_learn_by_thresholds_from_dev(dialog, tmp_path):
    assert dialog("fit", "linear") == DONE
    assert dialog("test", "linear") == DONE
    folder = tmp_path / "linear"
    report = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    rows = [json.loads(line) for line in (folder / "predictions.jsonl").read_text(encoding="utf-8").splitlines()]
    assert set(rows[0]) == {"id", "dialogue", "labels", "predicted", "probabilities"}
    true, answers = (np.array([[c in row[key] for c in CLASSES] for row in rows]) for key in ("labels", "predicted"))
    assert any(not row["labels"] for row in rows)  # "none of them" is a label set
    scores = report["test"]
    assert scores["micro_f1"] == pytest.approx(f1_score(true, answers, average="micro"))
    assert scores["macro_f1"] == pytest.approx(f1_score(true, answers, average="macro"))
    assert scores["exact_match"] == pytest.approx((true == answers).all(1).mean())
    assert scores["hamming_loss"] == pytest.approx((true != answers).mean())
    both_empty = (~true & ~answers).all(1).mean()
    assert scores["jaccard"] - scores["jaccard_carat"] == pytest.approx(both_empty)
    thresholds = report["thresholds"]
    assert all(
        (row["probabilities"][name] >= thresholds[name]) == (name in row["predicted"])
        for row in rows
        for name in CLASSES
    )
    fitted = json.loads((folder / "fit.json").read_text(encoding="utf-8"))
    assert fitted["dev.micro_f1"] == pytest.approx(report["dev"]["micro_f1"], abs=1e-6)
    task = read_checkpoint(folder / "checkpoints" / "best.ckpt")
    assert task["problem"]["thresholds"] == [thresholds[name] for name in CLASSES]


def test_a_loaded_checkpoint_decides_by_its_thresholds(dialog, tmp_path):
    assert dialog("fit", "linear") == DONE
    path = tmp_path / "linear" / "checkpoints" / "best.ckpt"
    loaded = DialogueTask.load_from_checkpoint(path, weights_only=True)
    assert isinstance(loaded.problem, MultiLabel)
    saved = read_checkpoint(path)["problem"]["thresholds"]
    assert loaded.problem.thresholds == tuple(saved)


def test_a_run_is_validated_labels_every_utterance_and_is_reported(dialog, corpus, tmp_path, capsys):
    assert dialog("fit", "mlp", "--model.class_weight", "0.5") == DONE
    assert dialog("validate", "mlp", "--model.class_weight", "0.5") == DONE
    assert "dev/micro_f1" in capsys.readouterr().out
    assert dialog("predict", "mlp", "--model.class_weight", "0.5", "--data.predict_split", "train") == DONE
    rows = (tmp_path / "mlp" / "labels_train.jsonl").read_text(encoding="utf-8").splitlines()
    assert len(rows) == sum(u.split == "train" for u in Manifest.load(corpus / "manifest").utterances)
    assert any(json.loads(row)["labels"] is None for row in rows)
    assert dialog("test", "mlp", "--model.class_weight", "0.5") == DONE
    assert dialog("fit", "linear") == DONE
    assert dialog("test", "linear") == DONE
    capsys.readouterr()
    runs = [str(tmp_path / "mlp"), str(tmp_path / "linear")]
    assert run(["report", *runs, "--csv", str(tmp_path / "all.csv")]) == DONE
    page = (tmp_path / "summary.md").read_text(encoding="utf-8")
    assert "micro F1" in page
    assert "most frequent label (neutral)" in page
    assert "Jaccard as CARAT" in page
    assert "jaccard_carat" in (tmp_path / "all.csv").read_text(encoding="utf-8")
    assert ": –" not in capsys.readouterr().out  # a block of a table too wide for the terminal says what there is
    assert run(["report", runs[0], "--plots", "--out", str(tmp_path / "plots")]) == DONE
    report = (tmp_path / "plots" / "report.html").read_text(encoding="utf-8")
    assert "Emotions that occur together on test" in report
    assert "Calibration of each emotion" in report


def test_what_needs_one_emotion_per_utterance_is_refused_in_a_sentence(dialog, corpus, tmp_path, capsys):
    assert dialog("fit", "linear") == DONE
    assert dialog("test", "linear") == DONE
    assert run(["report", str(tmp_path / "linear"), "--errors"]) == WRONG_USE
    assert "have sets of emotions; --errors needs one emotion per utterance" in capsys.readouterr().err


def test_thresholds_are_fixed_or_one_for_all_if_asked_for(dialog, tmp_path, capsys):
    for choice in ("0.25", "one"):
        assert dialog("fit", "linear", "--model.thresholds", choice, "--overwrite") == DONE
        saved = read_checkpoint(tmp_path / "linear" / "checkpoints" / "best.ckpt")["problem"]["thresholds"]
        assert len(set(saved)) == 1
        assert (saved[0] == 0.25) is (choice == "0.25")
        assert dialog("test", "linear", "--model.thresholds", choice) == DONE
        page = " ".join(capsys.readouterr().out.split())
        assert f"The thresholds were {'given' if choice == '0.25' else 'chosen on dev'}." in page
    assert "Micro precision on test" in page
    assert (tmp_path / "linear" / "together.png").is_file()
    assert dialog("fit", "linear", "--model.thresholds", "1.5", "--overwrite") == WRONG_USE
    assert "model.thresholds is 1.5" in capsys.readouterr().err


def test_a_model_of_sets_is_shared_with_its_thresholds(dialog, corpus, tmp_path):
    streams = "[text]"
    assert dialog("fit", "carat", "--data.streams", streams) == DONE
    assert dialog("test", "carat", "--data.streams", streams) == DONE
    folder = tmp_path / "carat"
    store = json.loads((corpus / "text" / "meta.json").read_text(encoding="utf-8"))
    trained = network_of_run(folder)
    model = Model(
        trained.problem.label_set,
        {"text": Letters()},
        trained.network,
        {
            "label_set": {"name": "sets", "classes": list(CLASSES), "kind": "multi"},
            "network": {**trained.settings, "widths": trained.problem.widths},
            "extractors": {"text": {"class_path": "made_up_model.Letters", "init_args": {}}},
            "temperature": 1.0,
            "thresholds": dict(zip(CLASSES, trained.problem.used_thresholds, strict=True)),
            "trained": {
                "corpus": store["corpus"], "select": "best", "protocol": None, "counts": None, "seed": 3,
                "manifest_sha256": store["manifest_sha256"],
            },
        },
    )  # fmt: skip
    card = model_card(folder, model)
    assert "any number, possibly none, of" in card
    assert "gives the micro F1 that" in card
    assert "| class | n | F1 | precision | recall | threshold |" in card
    for name, threshold in model.thresholds.items():
        assert re.search(rf"\| {name} \| .* \| {100 * threshold:.2f} \|", card)
    header = yaml.safe_load(card.split("---")[1])
    metrics = [one["name"] for one in header["model-index"][0]["results"][0]["metrics"]]
    assert metrics == ["micro F1", "exact match"]
    shared = save_model(model, tmp_path / "model", card)
    assert json.loads((shared / "model.json").read_text(encoding="utf-8"))["thresholds"] == model.thresholds
    assert (shared / "README.md").read_text(encoding="utf-8") == card
