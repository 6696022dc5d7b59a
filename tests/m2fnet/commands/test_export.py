"""``m2fnet export``: what it writes, what it says, what it refuses, what it asks of the hub."""

from pathlib import Path

import httpx
import pytest
from huggingface_hub.errors import HfHubHTTPError, LocalTokenNotFoundError

from m2fnet.cli import DONE, FAILED, WRONG_USE, run
from m2fnet.model import load_model


@pytest.fixture
def export(run_folder, tmp_path, monkeypatch):
    """``export("--overwrite")`` exports the run into ``model``."""
    monkeypatch.chdir(tmp_path)
    return lambda *options: run(["export", str(run_folder), "--out", "model", *options])


class Hub:
    """What stands for the hub's own client."""

    def __init__(self, problem=None):
        self.calls, self.problem = [], problem

    def whoami(self):
        self.calls.append(("whoami", {}))
        if self.problem is not None:
            raise self.problem

    def create_repo(self, repo_id, **how):
        self.calls.append(("create_repo", {"repo_id": repo_id, **how}))
        return f"hub://{repo_id}"

    def upload_folder(self, **how):
        self.calls.append(("upload_folder", how))


@pytest.fixture
def hub(monkeypatch):
    def call(problem=None):
        hub = Hub(problem)
        monkeypatch.setattr("m2fnet.model.hub.HfApi", lambda: hub)
        return hub

    return call


def test_a_run_becomes_a_folder(export, capsys):
    assert export() == DONE, capsys.readouterr().err
    printed = capsys.readouterr().out
    assert "model: text + audio, " in printed
    assert "Next: m2fnet predict CLIP --model model" in printed
    assert load_model("model").label_set.name == "tiny"
    assert Path("model/README.md").read_text(encoding="utf-8").startswith("---\n")


def test_a_model_is_replaced_when_asked(export, capsys):
    assert export() == DONE
    assert export() == WRONG_USE
    assert "model already holds a model" in capsys.readouterr().err
    assert export("--overwrite") == DONE


def test_a_run_that_is_not_there_is_named(tmp_path, capsys):
    assert run(["export", str(tmp_path / "nowhere"), "--out", str(tmp_path / "m")]) == FAILED
    assert f"Cannot read {tmp_path / 'nowhere' / 'provenance.json'}" in capsys.readouterr().err
    assert not (tmp_path / "m").exists()


@pytest.mark.parametrize("value", ["text", "text=", "=a"])
def test_a_wrong_extractor_is_wrong_use(value, export, capsys):
    assert export("--extractor", value) == WRONG_USE
    assert "expected the name of a stream, =, and a run folder" in capsys.readouterr().err


def test_one_stream_has_one_extractor(export, capsys):
    assert export("--extractor", "text=a", "--extractor", "text=b") == WRONG_USE
    assert "names one stream twice" in capsys.readouterr().err


def test_named_extractors_are_taken(export, trained_root, capsys):
    text, audio = trained_root / "runs" / "text" / "seed-1", trained_root / "runs" / "audio"
    assert export("--extractor", f"text={text}", "--extractor", f"audio={audio}") == DONE
    assert export("--overwrite", "--extractor", f"text={audio}") == FAILED
    assert "but the text embeddings of" in capsys.readouterr().err


def test_a_model_is_pushed_to_the_hub(export, hub, capsys):
    asked = hub()
    assert export("--push-to-hub", "ann/talk") == DONE, capsys.readouterr().err
    assert "hub://ann/talk" in capsys.readouterr().out
    names = [name for name, _ in asked.calls]
    assert names == ["whoami", "create_repo", "upload_folder"]
    assert asked.calls[1][1] == {"repo_id": "ann/talk", "private": True, "exist_ok": True}
    upload = asked.calls[2][1]
    assert (upload["repo_id"], upload["folder_path"]) == ("ann/talk", Path("model"))
    assert "README.md" in upload["allow_patterns"]


def test_who_is_not_logged_in_is_told_so(export, hub, capsys):
    hub(LocalTokenNotFoundError("no token"))
    assert export("--push-to-hub", "ann/talk") == WRONG_USE
    assert "Nobody is logged in to the Hugging Face hub; run `hf auth login` first." in capsys.readouterr().err
    assert load_model("model").label_set.name == "tiny"


def test_a_hub_that_refuses_is_quoted(export, hub, capsys):
    request = httpx.Request("POST", "https://hub.invalid")
    hub(HfHubHTTPError("403 Forbidden\nmore", response=httpx.Response(403, request=request)))
    assert export("--push-to-hub", "ann/talk") == FAILED
    assert (
        "The hub did not take ann/talk (403 Forbidden); the model is in model all the same." in capsys.readouterr().err
    )


def test_a_wrong_name_on_the_hub_is_found_before_anything_is_done(export, capsys):
    assert export("--push-to-hub", "not a name") == WRONG_USE
    assert "--push-to-hub is 'not a name', expected owner/name." in capsys.readouterr().err
    assert not Path("model").exists()


def test_help_explains(capsys):
    assert run(["export", "--help"]) == DONE
    printed = capsys.readouterr().out
    assert all(word in printed for word in ("--extractor", "--onnx", "--push-to-hub", "hash of every file", "licences"))
