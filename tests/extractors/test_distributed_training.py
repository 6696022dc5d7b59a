"""Training by two processes: batches without anything readable, frozen parts, what is missing."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

pytestmark = pytest.mark.slow  # two processes have to import torch

SETTINGS = {
    "seed_everything": 1,
    "trainer": {
        "accelerator": "cpu",
        "devices": 2,
        "strategy": "ddp",
        "max_epochs": 2,
        "enable_progress_bar": False,
    },
    "data": {"batch_size": 2, "workers": 0},
    "model": {"net": {"class_path": "plain_network.PlainNetwork", "init_args": {"width": 6}}},
}


@pytest.fixture
def fit(changed, tmp_path):
    def call(mute, *options):
        changed(lambda u: u.id in mute, text=None)
        (tmp_path / "toy.yaml").write_text(yaml.safe_dump(SETTINGS), encoding="utf-8")
        where = ["--config", "toy.yaml", "--run", "run", "--data.manifest", "changed"]
        return subprocess.run(
            [sys.executable, "-m", "m2fnet.cli", "extractor", "fit", *where, *options],
            cwd=tmp_path,
            env={
                **os.environ,
                "OMP_NUM_THREADS": "1",
                "M2FNET_TRUST": "plain_network",
                "PYTHONPATH": str(Path(__file__).parents[1] / "helpers"),
            },
            capture_output=True,
            text=True,
            timeout=300,
        )

    return call


def test_a_process_that_can_read_nothing_does_not_hold_up_the_others(fit, tmp_path):
    mute = {f"train{d}_{n}" for d in range(6) for n in range(3)} - {"train0_0", "train1_1"} | {"dev0_0"}
    done = fit(mute)  # at most two of nine batches have anything in them
    assert done.returncode == 0, done.stderr
    missing = json.loads((tmp_path / "run" / "unreadable.json").read_text(encoding="utf-8"))
    assert set(missing) == mute  # whichever process found it
    assert done.stdout.count("17 utterances could not be read") == 1


def test_frozen_parts_need_a_strategy_that_does_not_wait_for_them(fit):
    done = fit(set(), "--model.freeze_epochs", "1")
    assert done.returncode == 2
    assert "trainer.strategy: ddp_find_unused_parameters_true" in done.stderr
    done = fit(set(), "--model.freeze_epochs", "1", "--trainer.strategy", "ddp_find_unused_parameters_true")
    assert done.returncode == 0, done.stderr
