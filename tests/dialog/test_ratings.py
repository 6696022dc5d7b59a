"""Valence in addition to the emotion: trained, scored, reported and refused."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
import yaml
from tiny_corpus import WIDTHS, tiny_manifest

from dialog.data import DialogueData
from dialog.saved import of_run
from m2fnet.cli import DONE, WRONG_USE, run
from m2fnet.errors import UsageError
from m2fnet.records import Annotation
from m2fnet.store import StoreWriter

NETWORKS = {
    "attention": ("dialog.models.attention_fusion.AttentionFusion", {"hidden": 16, "dropout": 0.0}),
    "linear": ("dialog.models.per_utterance.PerUtterance", {}),
}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """The tiny corpus, most of it rated; every stream holds the valence in its first number."""
    folder, draw = tmp_path_factory.mktemp("rated"), np.random.default_rng(0)
    manifest = tiny_manifest(dialogues=(30, 12, 12))
    valence = {u.id: float(draw.normal(1, 2)) for u in manifest.utterances}
    notes = {name: Annotation(values={"valence": v}) for n, (name, v) in enumerate(valence.items()) if n % 5}
    manifest = replace(manifest, annotations=notes).save(folder / "manifest")
    noise = torch.Generator().manual_seed(0)
    for modality, width in WIDTHS.items():
        with StoreWriter(
            folder / modality, manifest, modality=modality, width=width, extractor={"made": "up"}
        ) as store:
            for u in manifest.utterances:
                vector = torch.randn(width, generator=noise)
                vector[0] = valence[u.id]
                store.add(u.id, vector)
    return folder


@pytest.fixture
def dialog(corpus, tmp_path, monkeypatch):
    monkeypatch.setattr("sys.argv", ["m2fnet"])

    def call(command, network, *options):
        class_path, init_args = NETWORKS[network]
        stores = {name: str(corpus / name) for name in WIDTHS}
        config = {
            "trainer": {"accelerator": "cpu", "max_epochs": 15, "enable_progress_bar": False, "log_every_n_steps": 1},
            "data": {"manifest": str(corpus / "manifest"), "stores": stores, "batch_size": 8, "ratings": ["valence"]},
            "model": {
                "net": {"class_path": class_path, "init_args": init_args},
                "optimizer": {"class_path": "torch.optim.Adam", "init_args": {"lr": 0.01}},
            },
        }
        path = tmp_path / "rated.yaml"
        path.write_text(yaml.safe_dump(config), encoding="utf-8")
        return run(["dialog", command, "--config", str(path), "--run", str(tmp_path / "run"), *options])

    return call


def test_batches_hold_the_ratings_and_what_is_unknown(corpus):
    stores = {"text": str(corpus / "text")}
    data = DialogueData(str(corpus / "manifest"), stores, ratings=["valence"])
    dialogues = data.dialogues("dev")
    batch = dialogues.__getitems__([0, 1, 2])
    assert batch["rating"].shape == (*batch["valid"].shape, 1)
    for row, rating in zip(batch["row"].flatten().tolist(), batch["rating"].flatten().tolist(), strict=True):
        note = data.manifest.annotations.get(dialogues.utterances[row].id) if row >= 0 else None
        assert math.isnan(rating) if note is None else rating == pytest.approx(note.values["valence"], rel=1e-6)
    assert "rating" not in DialogueData(str(corpus / "manifest"), stores).dialogues("dev").__getitems__([0])
    with pytest.raises(UsageError, match="names 'arousal', but the manifest of 'tiny' has the ratings valence"):
        DialogueData(str(corpus / "manifest"), stores, ratings=["arousal"])


def test_valence_is_learnt_scored_and_reported_with_intervals(dialog, tmp_path, capsys):
    assert dialog("fit", "attention", "--model.rating_loss", "ccc") == DONE, capsys.readouterr().err
    assert dialog("test", "attention", "--model.rating_loss", "ccc") == DONE, capsys.readouterr().err
    page = capsys.readouterr().out
    assert "concordance" in page
    report = json.loads((tmp_path / "run" / "report.json").read_text(encoding="utf-8"))
    rows = [json.loads(line) for line in (tmp_path / "run" / "ratings.jsonl").read_text(encoding="utf-8").splitlines()]
    found = report["ratings"]["valence"]["test"]
    assert found["ccc"] > 0.7
    assert found["intervals"]["ccc"][0] < found["ccc"] < found["intervals"]["ccc"][1]
    x, y = np.array([[row["predicted"], row["true"]] for row in rows if row["split"] == "test"]).T
    assert len(x) == found["n"]
    assert found["mse"] == pytest.approx(((x - y) ** 2).mean())
    assert found["pearson"] == pytest.approx(np.corrcoef(x, y)[0, 1])
    saved = of_run(tmp_path / "run")
    assert saved.problem.ratings == ("valence",)
    assert saved.network.rate.out_features == 1


def test_a_network_that_rates_nothing_says_so(dialog, capsys):
    assert dialog("fit", "linear") == WRONG_USE
    assert "data.ratings names valence, but the network PerUtterance rates nothing" in capsys.readouterr().err
