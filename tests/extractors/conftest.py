"""The tiny corpus, saved once for all tests of a run, changed copies of it, and a configuration for it."""

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
