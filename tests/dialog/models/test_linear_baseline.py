"""The linear classifier that every test of a network is printed with."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from tiny_corpus import CLASSES, WIDTHS, tiny_manifest

from dialog.data import DialogueData
from dialog.models.linear_baseline import PENALTY, linear_baseline
from m2fnet.cli import DONE, run
from m2fnet.store import StoreWriter


def columns(data, split):
    """By hand: all streams of the labelled utterances together, NaN where one is absent, and class numbers."""
    utterances = [u for d in data.manifest.dialogues(split) for u in d.utterances]
    tables = []
    for store in data.stores.values():
        values, present = store.matrix([u.id for u in utterances])
        tables.append(values.double().masked_fill(~present[:, None], torch.nan).numpy())
    labels = np.array([-1 if u.label is None else CLASSES.index(u.label) for u in utterances])
    return np.concatenate(tables, 1), labels


def test_it_is_scikit_learns_logistic_regression(tiny):
    data = DialogueData(str(tiny / "manifest"), {name: str(tiny / name) for name in WIDTHS})
    train, labels = columns(data, "train")
    mean, deviation = np.nanmean(train, 0), np.nanstd(train, 0)
    for stream in np.split(deviation, np.cumsum(list(WIDTHS.values()))[:-1]):
        stream[:] = np.sqrt(np.mean(stream**2))  # a view

    def scaled(values):
        return np.nan_to_num((values - mean) / deviation)  # all dimensions of a stream spread alike

    model = LogisticRegression(C=1 / PENALTY, fit_intercept=True, tol=1e-8, max_iter=1000)
    model.fit(scaled(train)[labels >= 0], labels[labels >= 0])
    found = linear_baseline(data)
    for split in ("dev", "test"):
        values, true = columns(data, split)
        accuracy = (model.predict(scaled(values))[true >= 0] == true[true >= 0]).mean()
        assert found[split]["accuracy"] == pytest.approx(accuracy)
    assert set(found["test"]) == {"weighted_f1", "accuracy", "macro_f1"}


def test_a_network_below_it_is_warned_of(tiny_config, tmp_path, capsys):
    """A rate of 0 learns nothing, and the embeddings tell the emotions apart."""
    into = ("--config", str(tiny_config), "--run", str(tmp_path / "run"))
    assert run(["dialog", "fit", *into, "--model.optimizer.lr", "0", "--trainer.max_epochs", "1"]) == DONE
    assert run(["dialog", "test", "--config", str(tmp_path / "run/config.yaml"), "--quiet"]) == DONE
    printed = capsys.readouterr().out
    report = json.loads(Path(tmp_path, "run/report.json").read_text(encoding="utf-8"))
    score = f"{100 * report['linear']['test']['weighted_f1']:.2f}"
    assert f"a linear classifier of single utterances on the same inputs ({score})" in printed
    page = Path(tmp_path, "run/report.md").read_text(encoding="utf-8")
    assert f"linear classifier {score}" in page
    assert "Warning: the weighted F1 of " in page


def test_dimensions_of_one_unit_keep_their_height(tmp_path):
    """Three high dimensions tell the emotion and six hundred low ones nothing, as in LSA, where those stay low."""
    draw, manifest = torch.Generator().manual_seed(0), tiny_manifest().save(tmp_path / "manifest")
    with StoreWriter(tmp_path / "text", manifest, modality="text", width=603, extractor={}) as writer:
        for utterance in manifest.utterances:
            loud = 2.0 * torch.tensor([float(utterance.label == name) for name in CLASSES])
            high, low = torch.randn(3, generator=draw), torch.randn(600, generator=draw)
            writer.add(utterance.id, torch.cat([loud + 0.3 * high, 0.15 * low]))
    data = DialogueData(str(tmp_path / "manifest"), {"text": str(tmp_path / "text")})
    assert linear_baseline(data)["test"]["accuracy"] > 0.9
