"""The tiny corpus, saved once for all tests of a run, changed copies of it, a configuration for it; tiny encoders."""

import dataclasses

import pytest
import yaml
from tiny_clips import LSA, WORDS, tiny_utterances

from m2fnet.manifest import Manifest
from m2fnet.records import LabelSet


@pytest.fixture(scope="session")
def corpus(tmp_path_factory):
    root = tmp_path_factory.mktemp("tiny")
    return Manifest("tiny", LabelSet("tiny", tuple(WORDS)), tiny_utterances(root), root).save(root / "manifest")


@pytest.fixture
def changed(corpus, tmp_path):
    """A function that saves the corpus with some utterances changed."""

    def change(which, **fields):
        fields = {"labels": None, **fields} if "label" in fields else fields  # an emotion is its whole label set
        new = tuple(dataclasses.replace(u, **fields) if which(u) else u for u in corpus.utterances)
        return dataclasses.replace(corpus, utterances=new).save(tmp_path / "changed")

    return change


@pytest.fixture
def config(corpus, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    content = {
        "data": {"manifest": str(corpus.root / "manifest")},
        "model": {"net": {"class_path": LSA, "init_args": {"width": 8}}},
    }
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(content))
    return tmp_path / "tiny.yaml"


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """A function that gives the folder of a tiny encoder, by its family, made when it is first asked for."""
    from tiny_encoders import save_encoder  # here, because few tests need transformers

    root, made = tmp_path_factory.mktemp("encoders"), {}

    def folder(family):
        if family not in made:
            made[family] = save_encoder(root / family, family)
        return made[family]

    return folder
