"""Models of the Hugging Face hub: when it is asked, for what, and what is said when it has nothing."""

import shutil

import pytest

from m2fnet.errors import ModelError
from m2fnet.model import load_model


def test_the_hub_is_asked_for_what_is_no_folder(saved, tmp_path, monkeypatch):
    asked = []

    def snapshot_download(name, **how):
        """The form of the hub's cache: links to blobs in a neighbouring folder."""
        asked.append((name, how))
        cache = tmp_path / "models--ann--talk"
        for number, path in enumerate(path for path in sorted(saved.rglob("*")) if path.is_file()):
            link = cache / "snapshots" / "abc" / path.relative_to(saved)
            link.parent.mkdir(parents=True, exist_ok=True)
            (cache / "blobs").mkdir(exist_ok=True)
            shutil.copy(path, cache / "blobs" / str(number))
            link.symlink_to(cache / "blobs" / str(number))
        return str(cache / "snapshots" / "abc")

    monkeypatch.setattr("m2fnet.model.hub.snapshot_download", snapshot_download)
    assert load_model("ann/talk").label_set.name == "tiny"
    ((name, how),) = asked
    assert name == "ann/talk"
    assert {"*.json", "*.safetensors"} <= set(how["allow_patterns"])
    assert not {"*", "*.bin", "*.py", "*.pt"} & set(how["allow_patterns"])


def test_the_hub_is_not_asked_for_a_folder(folder, monkeypatch):
    monkeypatch.setattr("m2fnet.model.hub.snapshot_download", lambda *given, **how: 1 / 0)
    monkeypatch.chdir(folder.parent.parent)
    assert load_model(f"{folder.parent.name}/model").label_set.name == "tiny"


def test_a_hub_without_the_model_says_so(tmp_path, monkeypatch):
    def nowhere(name, **how):
        raise ConnectionError("no route\nto host")

    monkeypatch.setattr("m2fnet.model.hub.snapshot_download", nowhere)
    with pytest.raises(ModelError, match=r"There is no model 'ann/talk': no folder has that name, .*: no route\)"):
        load_model("ann/talk")
    monkeypatch.setattr("m2fnet.model.hub.snapshot_download", lambda name, **how: str(tmp_path))
    with pytest.raises(ModelError, match="ann/talk on the hub is not a model of m2fnet"):
        load_model("ann/talk")
