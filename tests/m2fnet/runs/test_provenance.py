"""What a run says about its origin."""

import json
import re
import subprocess
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import pytest
import torch

from m2fnet.cli import DONE, FAILED, WRONG_USE
from m2fnet.errors import RunError
from m2fnet.files import sha256_of
from m2fnet.runs import provenance
from m2fnet.runs.provenance import Environment, Provenance


def meta_of(folder):
    return json.loads((folder / "meta.json").read_text(encoding="utf-8"))


def make_store_anew(folder):
    """As if it had been extracted again, with other vectors."""
    meta = meta_of(folder)
    meta["sha256"]["shard-00000.safetensors"] = "0" * 64
    (folder / "meta.json").write_text(json.dumps(meta), encoding="utf-8")


def test_a_run_says_what_it_was_made_from_and_with(dialog, tiny_data):
    assert dialog("fit", "--model.net.hidden", "6") == DONE
    found = Provenance.read(Path("run"))
    assert found.seed == 3
    assert found.stage == "dialog"
    assert found.command == "m2fnet dialog fit --config tiny.yaml --run run --model.net.hidden 6"
    assert found.repeat == "m2fnet reproduce run"
    assert found.directory == str(Path.cwd())
    assert found.overrides == {"model.net.init_args.hidden": 6}
    assert found.manifest.sha256 == sha256_of(tiny_data / "manifest" / "manifest.jsonl")
    assert set(found.stores) == {"text"}
    assert found.stores["text"].folder == str(tiny_data / "text")
    assert found.environment.packages["torch"] == version("torch")
    assert found.environment.packages["m2fnet"] == version("m2fnet")
    assert found.environment.device == "cpu"
    assert found.environment.threads == 1
    assert found.changed_inputs() == []
    found.verify_inputs()


@pytest.mark.parametrize(("options", "expected"), [([], 1), (["--threads", "3"], 3)])
def test_a_dialogue_network_gets_one_thread_unless_more_are_asked_for(dialog, options, expected):
    torch.set_num_threads(2)
    assert dialog("fit", *options) == DONE
    assert Provenance.read(Path("run")).environment.threads == expected
    assert torch.get_num_threads() == 2  # who calls m2fnet from Python keeps their own


def test_no_thread_is_refused(dialog, capsys):
    assert dialog("fit", "--threads", "0") == WRONG_USE
    assert "--threads is 0, expected at least 1." in capsys.readouterr().err


def test_a_store_is_the_same_when_only_its_notes_differ(tiny_corpus_copy):
    before = provenance.store_sha256(tiny_corpus_copy / "text")
    meta = meta_of(tiny_corpus_copy / "text")
    (tiny_corpus_copy / "text" / "meta.json").write_text(json.dumps({**meta, "versions": {"torch": "9"}}))
    assert provenance.store_sha256(tiny_corpus_copy / "text") == before
    make_store_anew(tiny_corpus_copy / "text")
    assert provenance.store_sha256(tiny_corpus_copy / "text") != before


@pytest.mark.parametrize("options", [[], ["--dry-run"]])
def test_a_run_does_not_go_on_with_a_store_that_was_made_anew(content, dialog, refusal, tiny_corpus_copy, options):
    content["data"]["stores"]["text"] = str(tiny_corpus_copy / "text")
    assert dialog("fit") == DONE
    make_store_anew(tiny_corpus_copy / "text")
    line = refusal("fit", *options)
    assert re.search(
        r"run was trained on other data: \S+text has SHA-256 \w{12}…, but the run was made from \w{12}…", line
    )
    assert "--overwrite" in line


def test_a_store_that_is_gone_is_named_with_where_the_run_was_made(dialog):
    assert dialog("fit") == DONE
    found = Provenance.read(Path("run"))
    gone = replace(found, stores={"text": replace(found.stores["text"], folder="gone")})
    (sentence,) = gone.changed_inputs()
    assert "gone" in sentence
    assert f"(The run was made in {found.directory}.)" in sentence
    with pytest.raises(RunError, match="cannot be repeated, because its data are not what they were"):
        gone.verify_inputs()


def test_a_shard_that_was_changed_is_found_when_all_is_read(dialog, content, tiny_corpus_copy):
    content["data"]["stores"]["text"] = str(tiny_corpus_copy / "text")
    assert dialog("fit") == DONE
    shard = tiny_corpus_copy / "text" / "shard-00000.safetensors"
    shard.write_bytes(shard.read_bytes()[:-1] + b"!")
    found = Provenance.read(Path("run"))
    assert found.changed_inputs() == []
    with pytest.raises(ValueError, match=r"shard-00000.safetensors is not as it was written"):
        found.verify_inputs()


def test_going_on_in_another_environment_is_noted_once(dialog):
    assert dialog("fit") == DONE
    path = Path("run/provenance.json")
    content = json.loads(path.read_text(encoding="utf-8"))
    content["environment"]["python"] = "2.7"
    path.write_text(json.dumps(content), encoding="utf-8")
    for _ in range(2):
        Path("run/fit.json").unlink()
        assert dialog("fit") == DONE
    found = Provenance.read(Path("run"))
    assert found.environment.python == "2.7"
    (again,) = found.resumed
    assert found.environment.differences(again) == [f"python: 2.7, now {again.python}"]


def test_environments_tell_their_differences_package_by_package():
    here = Environment.of(torch.device("cpu"))
    assert here.differences(here) == []
    there = replace(here, packages={**here.packages, "torch": "1.0", "extra": "2"}, threads=77)
    assert sorted(here.differences(there)) == [
        "extra: None, now 2",
        f"threads: {here.threads}, now 77",
        f"torch: {version('torch')}, now 1.0",
    ]


@pytest.mark.parametrize("text", ["[]", "{", "{}", '{"manifest": 3, "stores": 1}'])
def test_a_damaged_provenance_is_one_sentence(dialog, capsys, text):
    assert dialog("fit") == DONE
    Path("run/provenance.json").write_text(text, encoding="utf-8")
    assert dialog("fit") == FAILED
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("m2fnet dialog")]
    assert "run/provenance.json" in line
    assert line.endswith("what it was made from is unknown.")


def test_the_state_of_a_checkout_is_noted(tmp_path, monkeypatch):
    monkeypatch.setattr(provenance.m2fnet, "__file__", str(tmp_path / "m2fnet" / "__init__.py"))
    monkeypatch.chdir(tmp_path)

    def git(*arguments):
        identity = ("-c", "user.name=A", "-c", "user.email=a@example.org")
        subprocess.run(["git", *identity, *arguments], cwd=tmp_path, check=True, capture_output=True)

    def state():
        return Environment.of(torch.device("cpu")).git

    (tmp_path / "m2fnet").mkdir()
    assert state() is None
    git("init")
    (tmp_path / "m2fnet" / "__init__.py").write_text("")
    git("add", ".")
    git("commit", "-m", "first")
    commit = (tmp_path / ".git" / "HEAD").read_text().split()[-1]
    assert state() == {"commit": (tmp_path / ".git" / commit).read_text().strip(), "dirty": False}
    (tmp_path / "m2fnet" / "__init__.py").write_text("changed")
    assert state()["dirty"] is True
    monkeypatch.setenv("PATH", "")
    assert state() is None
