"""The package that a page makes step by step works outside the clone."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from tiny_corpus import tiny_manifest, write_stores

PAGE = Path(__file__).parents[2] / "docs" / "own_code.md"
FILE = re.compile(r"^```(?:python|yaml)\n# ([\w/.]+)\n(.*?)^```", flags=re.MULTILINE | re.DOTALL)


@pytest.fixture
def lab(tmp_path):
    """The folder of the page, with small data."""
    for name, content in FILE.findall(PAGE.read_text(encoding="utf-8")):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(content, encoding="utf-8")
    (tmp_path / "my_erc" / "__init__.py").touch()
    write_stores(tmp_path / "small", tiny_manifest().save(tmp_path / "small" / "manifest"))
    settings = yaml.safe_load((tmp_path / "mean_network.yaml").read_text(encoding="utf-8"))
    settings["trainer"] |= {"max_epochs": 1, "accelerator": "cpu"}
    settings["data"] = {"manifest": "small/manifest", "stores": {"text": "small/text"}}
    (tmp_path / "mean_network.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")
    return tmp_path


def started(lab, *command, trust="my_erc"):
    environment = {**os.environ, "PYTHONPATH": str(lab), "M2FNET_TRUST": trust, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, *command]
    return subprocess.run(command, cwd=lab, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_the_network_trains_and_is_refused_without_trust(lab):
    fit = ("-m", "m2fnet.cli", "dialog", "fit", "--config", "mean_network.yaml", "--run", "run")
    refused = started(lab, *fit, trust="")
    assert refused.returncode == 2
    assert "M2FNET_TRUST" in refused.stderr
    trained = started(lab, *fit)
    assert trained.returncode == 0, trained.stderr
    assert (lab / "run" / "fit.json").is_file()


@pytest.mark.slow
def test_the_corpus_becomes_a_manifest(lab):
    (lab / "calls").mkdir()
    rows = [
        "call,split,speaker,text,emotion,wav",
        "a,train,Ann,Hello,calm,a0.wav",
        "a,train,,What?,angry,",
        "b,test,,,sad,",
    ]
    (lab / "calls" / "calls.csv").write_text("\n".join(rows), encoding="utf-8")
    made = started(lab, "-m", "my_erc.prepare")
    assert made.returncode == 0, made.stderr
    assert made.stdout.strip() == "Manifest('calls', 3 utterances: train 2, dev 0, test 1)"
    assert (lab / "data" / "calls" / "manifest.jsonl").is_file()
