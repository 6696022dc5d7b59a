"""Training a dialogue network by several processes: what one process does that collects as many batches per step."""

import csv
import os
import subprocess
import sys
import time

import psutil
import pytest
import torch

from m2fnet.runs.checkpoints import read_checkpoint

pytestmark = pytest.mark.slow  # every process has to import torch

# Adam would make whole steps of what rounding leaves of gradients that are 0, those of the keys' biases
SETTINGS = [
    *("--data.batch_size", "1", "--model.net.init_args.dropout", "0", "--trainer.accelerator", "cpu"),
    *("--threads", "1", "--model.optimizer", "{class_path: torch.optim.SGD, init_args: {lr: 0.1, momentum: 0.9}}"),
]

HERE = (sys.executable, "-m")
# without -- it would take our --run for its --run-path
TORCHRUN = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "--")

SDT = ("--model.net", "{class_path: dialog.models.sdt.SDT, init_args: {width: 8, heads: 2}}")


@pytest.fixture
def trained(tiny_config, tmp_path):
    def train(name, *options, launcher=HERE):
        """Losses and scores of every epoch, and the weights of the last one."""
        run = tmp_path / name
        command = [*launcher, "m2fnet.cli", "dialog", "fit", "--config", str(tiny_config), "--run", str(run)]
        subprocess.run(
            [*command, *options, *SETTINGS],
            check=True, timeout=300, capture_output=True, env={**os.environ, "OMP_NUM_THREADS": "1"},
        )  # fmt: skip
        (curves,) = run.rglob("metrics.csv")
        with curves.open(encoding="utf-8") as file:
            rows = [{key: float(value) for key, value in row.items() if value} for row in csv.DictReader(file)]
        return rows, read_checkpoint(run / "checkpoints" / "last.ckpt")["state_dict"]

    return train


@pytest.mark.parametrize("lost", [0, 1])
def test_when_a_process_is_killed_the_other_ends_and_says_what_to_do(tiny_config, tmp_path, lost):
    command = [sys.executable, "-m", "m2fnet.cli", "dialog", "fit", "--config", str(tiny_config)]
    where = ["--run", str(tmp_path / "run"), "--trainer.devices", "2", "--trainer.strategy", "ddp"]
    begun = subprocess.Popen(
        [*command, *where, *SETTINGS, "--trainer.max_epochs", "100000"],
        stdout=subprocess.DEVNULL, stderr=(tmp_path / "said").open("w"),
    )  # fmt: skip
    try:
        last = tmp_path / "run" / "checkpoints" / "last.ckpt"
        assert any(last.exists() or time.sleep(0.5) for _ in range(240))
        main = psutil.Process(begun.pid)
        (other,) = main.children()
        killed, left = (main, other) if lost == 0 else (other, main)
        killed.kill()
        left.wait(60)
    finally:
        begun.kill()
        begun.wait()
    said = (tmp_path / "said").read_text(encoding="utf-8")
    assert "Another process of this training has ended" in said
    assert f"The same command resumes {tmp_path / 'run'}." in said
    assert "Traceback" not in said


@pytest.mark.parametrize(
    ("processes", "launcher", "net"),
    [(2, HERE, ()), (4, HERE, ()), (2, TORCHRUN, SDT)],
    ids=["two", "four", "torchrun and a network with terms of its loss"],
)
def test_processes_learn_like_one_that_collects_their_batches(trained, processes, launcher, net):
    several = ("--trainer.devices", str(processes), "--trainer.strategy", "ddp")
    rows, weights = trained("several", *net, *several, launcher=launcher)
    expected, same = trained("one", *net, "--trainer.accumulate_grad_batches", str(processes))
    assert [row.keys() for row in rows] == [row.keys() for row in expected]
    for row, one in zip(rows, expected, strict=True):
        assert row == pytest.approx(one, abs=1e-5)
    assert any("train/loss" in row for row in rows)
    assert any("dev/weighted_f1" in row for row in rows)
    for name, of in same.items():
        torch.testing.assert_close(weights[name], of, rtol=0, atol=1e-5)
