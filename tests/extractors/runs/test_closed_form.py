"""Fit, keep, load, judge: what holds for every extractor that is fitted in closed form."""

import dataclasses
import json

import pytest
import torch
import yaml
from tiny_clips import LSA, MEL, SMALL, embeddings, settings_of

from extractors.extraction.embedding import Loading
from extractors.runs import closed_form as fitted
from m2fnet.errors import RunError, UsageError


@pytest.mark.parametrize("class_path", SMALL)
def test_a_loaded_fit_embeds_exactly_like_the_fit(class_path, corpus, tmp_path):
    run_ = fitted.fit(settings_of(class_path, tmp_path), corpus, Loading(workers=0))
    again = fitted.load(tmp_path / "run")
    first, second = embeddings(run_.extractor, corpus), embeddings(again.extractor, corpus)
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    assert run_.provenance == again.provenance
    assert {len(vector) for vector in first} == {run_.extractor.width}
    assert torch.isfinite(torch.stack(first)).all()


@pytest.mark.parametrize("class_path", SMALL)
def test_single_equals_batched_equals_read_by_workers(class_path, corpus, tmp_path):
    extractor = fitted.fit(settings_of(class_path, tmp_path), corpus, Loading(workers=0)).extractor
    single = torch.stack(embeddings(extractor, corpus, batch_size=1))
    torch.testing.assert_close(single, torch.stack(embeddings(extractor, corpus, batch_size=7)), atol=1e-5, rtol=1e-5)
    workers = torch.stack(embeddings(extractor, corpus, batch_size=7, workers=2))
    torch.testing.assert_close(single, workers, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("class_path", SMALL)
def test_a_fit_knows_only_the_training_split(class_path, corpus, changed, tmp_path):
    other = changed(
        lambda u: u.split != "train",
        text="other words", label=None, labels=None, audio="train0_0.mp4", video="train0_0.mp4",
    )  # fmt: skip
    for name, manifest in {"a": corpus, "b": other}.items():
        fitted.fit(dataclasses.replace(settings_of(class_path, tmp_path), run=tmp_path / name), manifest, Loading())
    for file in ("fitted.safetensors", "vocabulary.json"):
        if (tmp_path / "a" / file).exists():
            assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


@pytest.mark.parametrize("class_path", SMALL)
def test_the_tiny_corpus_is_learnt(class_path, corpus, tmp_path):
    settings = settings_of(class_path, tmp_path)
    run_ = fitted.fit(settings, corpus, Loading(workers=0))
    scores = fitted.judge(settings.run, run_, corpus, "test", Loading(workers=0))
    assert scores["n"] == 6
    assert scores["weighted_f1"] > 0.8 > 0.2 > scores["majority_weighted_f1"] - 0.01


def test_a_training_split_without_the_modality_is_refused(corpus, changed, tmp_path):
    silent = changed(lambda u: True, text=None)
    with pytest.raises(RunError, match=r"None of the 18 utterances .* read as text.*no transcript"):
        fitted.fit(settings_of(LSA, tmp_path), silent, Loading())


def test_a_folder_without_a_finished_extractor_says_what_to_run(tmp_path):
    with pytest.raises(
        RunError, match=r"no finished extractor; run `m2fnet extractor fit` .* training that was stopped"
    ):
        fitted.load(tmp_path)


def test_changed_weights_are_refused(corpus, tmp_path):
    fitted.fit(settings_of(LSA, tmp_path), corpus, Loading())
    vocabulary = tmp_path / "run" / "vocabulary.json"
    vocabulary.write_text(vocabulary.read_text().replace("table", "cable"))
    with pytest.raises(RunError, match=r"not the ones .* or remove it and fit again"):
        fitted.load(tmp_path / "run")


@pytest.mark.parametrize("damage", [lambda path: path.write_bytes(b"no tensors"), lambda path: path.unlink()])
def test_damaged_training_embeddings_are_refused_in_one_sentence(damage, corpus, tmp_path):
    run_ = fitted.fit(settings_of(LSA, tmp_path), corpus, Loading())
    damage(tmp_path / "run" / fitted.TRAINING)
    with pytest.raises(RunError, match=rf"Cannot read .*{fitted.TRAINING}.* or remove it and fit again"):
        fitted.judge(tmp_path / "run", run_, corpus, "dev", Loading())


def test_a_fit_from_before_a_setting_is_one_with_its_default(corpus, tmp_path):
    settings = settings_of(MEL, tmp_path, pitch="fast")
    fitted.fit(settings, corpus, Loading())
    for name in (fitted.CONFIG, fitted.REPORT):
        path = tmp_path / "run" / name
        content = yaml.safe_load(path.read_text())  # JSON is YAML too
        assert content["extractor"]["init_args"].pop("pitch") == "fast"
        path.write_text(json.dumps(content))
    assert fitted.is_fit_of(settings.run, settings, corpus)
    assert fitted.load(settings.run).extractor.pitch == "fast"
    assert not fitted.is_fit_of(settings.run, settings_of(MEL, tmp_path, pitch="pyin"), corpus)


def test_a_fit_is_taken_again_and_never_replaced_by_another(corpus, tmp_path):
    settings = settings_of(LSA, tmp_path)
    first, again = (fitted.fit_once(settings, corpus, Loading()) for _ in range(2))
    assert first.provenance == again.provenance
    other = dataclasses.replace(settings, seed=settings.seed + 1)
    with pytest.raises(UsageError, match="holds a fit of other settings"):
        fitted.fit_once(other, corpus, Loading())
    assert fitted.load(settings.run).provenance == first.provenance
    assert fitted.fit_once(other, corpus, Loading(), overwrite=True).provenance["seed"] == other.seed
