"""Fit, keep, load, score: what holds for every extractor that is fitted in closed form."""

import json
import shutil
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file
from tiny_clips import LSA, SMALL, data_of, embeddings, fitted

from extractors.base import FittedExtractor
from extractors.runs import closed_form, folder
from extractors.runs.settings import build
from m2fnet.cli import DONE, WRONG_USE, run
from m2fnet.errors import RunError
from m2fnet.metrics.scores import majority


@pytest.mark.parametrize("class_path", SMALL)
def test_a_loaded_fit_embeds_exactly_like_the_fit(class_path, corpus, tmp_path):
    extractor, again = fitted(class_path, corpus, tmp_path), build(class_path, SMALL[class_path])
    again.load(tmp_path / folder.NET)
    first, second = embeddings(extractor, corpus), embeddings(again, corpus)
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    assert {len(vector) for vector in first} == {extractor.width}
    assert torch.isfinite(torch.stack(first)).all()


@pytest.mark.parametrize("class_path", SMALL)
def test_single_equals_batched_equals_read_by_workers(class_path, corpus, tmp_path):
    extractor = fitted(class_path, corpus, tmp_path)
    single = torch.stack(embeddings(extractor, corpus, batch_size=1))
    torch.testing.assert_close(single, torch.stack(embeddings(extractor, corpus, batch_size=7)), atol=1e-5, rtol=1e-5)
    workers = torch.stack(embeddings(extractor, corpus, batch_size=7, workers=2))
    torch.testing.assert_close(single, workers, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("class_path", SMALL)
def test_a_fit_knows_nothing_but_the_training_split(class_path, corpus, changed, tmp_path):
    other = changed(
        lambda u: u.split != "train",
        text="other words", label=None, labels=None, audio="train0_0.mp4", video="train0_0.mp4",
    )  # fmt: skip
    for name, manifest in {"a": corpus, "b": other}.items():
        fitted(class_path, manifest, tmp_path / name)
    assert folder.fitted_sha256(tmp_path / "a" / folder.NET) == folder.fitted_sha256(tmp_path / "b" / folder.NET)


def test_of_a_large_training_split_some_utterances_are_drawn(corpus, tmp_path, monkeypatch):
    monkeypatch.setattr(closed_form, "MOST_FITTED", 10)
    drawn = []
    for name in "ab":
        assert closed_form.fit(build(LSA, SMALL[LSA]), data_of(corpus), tmp_path / name, seed=3) == 10
        drawn.append(load_file(tmp_path / name / folder.TRAINING)["places"].tolist())
    assert drawn[0] == drawn[1] == sorted(set(drawn[0]))
    assert drawn[0] != list(range(10))
    found = closed_form.embedded(
        build_and_load(tmp_path / "a"), data_of(corpus), tmp_path / "a", ["dev"], is_fitted_on=True
    )
    assert found["dev"].row.tolist() == list(range(6))


def build_and_load(run):
    extractor = build(LSA, SMALL[LSA])
    extractor.load(run / folder.NET)
    return extractor


@pytest.mark.parametrize("class_path", SMALL)
@pytest.mark.parametrize("is_fitted_on", [True, False])
def test_the_tiny_corpus_is_learnt(class_path, corpus, tmp_path, is_fitted_on):
    extractor = fitted(class_path, corpus, tmp_path)
    if not is_fitted_on:
        (tmp_path / folder.TRAINING).unlink()
    found = closed_form.embedded(extractor, data_of(corpus), tmp_path, ["test"], is_fitted_on=is_fitted_on)["test"]
    assert found.row.tolist() == list(range(6))
    assert float((found.logits.argmax(1) == found.label).float().mean()) > 0.8
    torch.testing.assert_close(found.logits.exp().sum(1), torch.ones(6))


def test_a_training_split_without_the_modality_is_refused(changed, tmp_path):
    silent = changed(lambda u: True, text=None)
    with pytest.raises(RunError, match=r"None of the 18 utterances .* read as text.*no transcript"):
        fitted(LSA, silent, tmp_path)


def test_what_cannot_be_scored_says_why(corpus, changed, tmp_path):
    extractor = fitted(LSA, corpus, tmp_path)
    for which, fields, words in (
        (lambda u: u.split == "dev", {"label": None}, "No labelled utterance of the dev split"),
        (lambda u: u.split == "dev", {"text": None}, "No labelled utterance of the dev split can be read as text"),
        (lambda u: u.split == "train", {"label": "joy"}, "needs two emotions"),
    ):
        data = data_of(changed(which, **fields))
        with pytest.raises(closed_form.NotScoredError, match=words):
            closed_form.embedded(extractor, data, tmp_path, ["dev"], is_fitted_on=True)


def test_a_folder_without_a_finished_extractor_says_what_to_run(tmp_path):
    with pytest.raises(RunError, match=r"no finished extractor. Run `m2fnet extractor fit` .* resumes an interrupted"):
        folder.load(tmp_path)


def test_the_run_folder_holds_a_loaded_fit_and_refuses_changed_weights(config, corpus, capsys):
    assert run(["extractor", "fit", "--config", "tiny.yaml", "--seed_everything", "3"]) == DONE
    made = Path("runs/tiny/seed-3")
    found = folder.load(made)
    assert isinstance(found.extractor, FittedExtractor)
    assert found.provenance == {
        "class_path": LSA,
        "init_args": {
            **SMALL[LSA],
            "words": [1, 2],
            "characters": [2, 5],
            "min_df": 2,
            "sublinear": True,
            "scaling": "none",
        },
        "seed": 3,
        "fitted_on": corpus.sha256,
        "weights_sha256": folder.fitted_sha256(made / folder.NET),
    }
    vocabulary = made / folder.NET / "vocabulary.json"
    vocabulary.write_text(vocabulary.read_text().replace("table", "cable"))
    with pytest.raises(RunError, match=r"were changed after they were fitted.* or remove it and fit again"):
        folder.load(made)
    assert folder.is_run_of(made, found.provenance)  # by what was noted; loading looks closer


@pytest.mark.parametrize("damage", [lambda path: path.write_bytes(b"no tensors"), lambda path: path.unlink()])
def test_damaged_training_embeddings_are_refused_in_one_sentence(damage, corpus, tmp_path):
    extractor = fitted(LSA, corpus, tmp_path)
    damage(tmp_path / folder.TRAINING)
    with pytest.raises(RunError, match=rf"Cannot read .*{folder.TRAINING}.* or remove it and fit again"):
        closed_form.embedded(extractor, data_of(corpus), tmp_path, ["dev"], is_fitted_on=True)


@pytest.fixture
def older(config, corpus):
    """The same fit as it was kept before runs of both kinds had one layout, and its new form."""
    assert run(["extractor", "fit", "--config", "tiny.yaml"]) == DONE
    new, old = Path("runs/tiny/seed-0"), Path("older")
    shutil.copytree(new / folder.NET, old)
    shutil.copy(new / folder.TRAINING, old)
    made = folder.load(new).provenance
    (old / "report.json").write_text(json.dumps({"extractor": made, "dev": {"weighted_f1": 1.0}}), encoding="utf-8")
    net = {"class_path": made["class_path"], "init_args": made["init_args"]}
    content = {"extractor": net, "manifest": str(corpus.root / "manifest"), "run": "older", "seed": 0}
    (old / "config.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
    return old, new


def test_a_run_of_the_older_layout_is_the_same_extractor(older, corpus):
    old, new = (folder.load(path) for path in older)
    assert old.provenance == new.provenance
    pairs = zip(embeddings(old.extractor, corpus), embeddings(new.extractor, corpus), strict=True)
    assert all(torch.equal(*pair) for pair in pairs)
    assert folder.is_run_of(older[0], new.provenance)
    (older[0] / "vocabulary.json").write_text("{}", encoding="utf-8")
    with pytest.raises(RunError, match="were changed after they were fitted"):
        folder.load(older[0])


def test_a_run_of_the_older_layout_is_not_fitted_again(older, capsys):
    assert run(["extractor", "fit", "--config", "tiny.yaml", "--run", "older"]) == WRONG_USE
    assert "`m2fnet extract --ckpt older` can still use" in capsys.readouterr().err
    assert run(["extractor", "fit", "--config", "older/config.yaml"]) == WRONG_USE
    assert "has the older form, with `extractor:`. Write `model: {net: ...}`" in capsys.readouterr().err
    assert run(["reproduce", "older"]) == WRONG_USE
    assert "was fitted by an older version of m2fnet" in capsys.readouterr().err


def test_dev_is_scored_by_the_probe_and_the_majority_class(config, corpus):
    assert run(["extractor", "fit", "--config", "tiny.yaml"]) == DONE
    fit = json.loads(Path("runs/tiny/seed-0/fit.json").read_text(encoding="utf-8"))
    labels = {name: [u.label for u in corpus.utterances if u.split == name] for name in ("train", "dev")}
    always = majority(labels["train"], labels["dev"], corpus.label_set.classes)["majority_weighted_f1"]
    assert (fit["dev.majority_weighted_f1"], fit["utterances"]) == (always, 18)
    assert fit["dev.weighted_f1"] > 0.8
