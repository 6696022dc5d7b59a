"""Sweeps on Ray, with real processes of it: the scores of local ones, and nothing that stays behind."""

import json
import os
import signal
import subprocess
import sys
import uuid
from pathlib import Path

import pytest
import yaml

pytest.importorskip("ray", reason="ray is not installed: `make test` brings it, and the extra `ray`")

from processes_of_ray import PATIENCE, kill_one, processes, wait_for, wait_for_the_end_of

from m2fnet.cli import WRONG_USE
from m2fnet.sweeps.processes import LOG

linux = pytest.mark.skipif(sys.platform != "linux", reason="processes are found in /proc")
REPOSITORY = Path(__file__).parents[3]


@pytest.fixture
def start(content, tmp_path):
    """``start("--seeds", "0")`` starts a sweep in ``tmp_path``; its processes have the variable ``start.mark``."""
    name, value = "M2FNET_TEST", uuid.uuid4().hex
    started = []

    def call(*options):
        (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
        command = [sys.executable, "-m", "m2fnet.cli", "sweep", "--config", "tiny.yaml", "--engine", "ray", *options]
        environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), name: value}
        with (tmp_path / "printed").open("w") as printed:
            started.append(
                subprocess.Popen(
                    command, cwd=tmp_path, env=environment, stdout=printed, stderr=printed, start_new_session=True
                )
            )
        return started[-1]

    call.mark = f"{name}={value}"
    yield call
    for process in started:
        process.kill()
        process.wait()
    for process in processes(call.mark):
        os.kill(process, signal.SIGKILL)


def scores(folder):
    found = {}
    for path in folder.rglob("report.json"):
        report = json.loads(path.read_text(encoding="utf-8"))
        found[path.parent.name] = report["test"]
    return found


@linux
@pytest.mark.slow
def test_the_scores_are_those_of_a_local_sweep(start, many, trained, content, tmp_path):
    sweep = start("--seeds", "0-1", "--jobs", "2")
    code = sweep.wait(PATIENCE)
    assert code == 0, (tmp_path / "printed").read_text()
    assert "(raylet)" not in (tmp_path / "printed").read_text()
    wait_for_the_end_of(start.mark)
    (tmp_path / "local").mkdir()
    os.chdir(tmp_path / "local")
    assert many("sweep", "--seeds", "0-1", "--no-report") == 0
    assert scores(tmp_path / "local") == scores(tmp_path / "runs")
    assert len(scores(tmp_path / "runs")) == 2


@linux
@pytest.mark.ray
def test_a_sweep_whose_worker_is_killed_ends_with_the_scores_of_a_local_one(start, many, trained, content, tmp_path):
    content["trainer"] |= {"max_epochs": 300, "limit_train_batches": 1.0}
    sweep = start("--seeds", "0-1", "--jobs", "1")
    checkpoint = tmp_path / "runs" / "tiny" / "seed-0" / "checkpoints" / "last.ckpt"
    wait_for(checkpoint.exists, process=sweep)
    kill_one(start.mark, "ray::_run")
    code = sweep.wait(PATIENCE)
    printed = (tmp_path / "printed").read_text()
    assert code == 0, printed
    assert "[2/2] as configured, seed 1: weighted F1 dev " in printed
    assert "(raylet)" not in printed
    assert "Resuming runs/tiny/seed-0 from last.ckpt" in (checkpoint.parents[1] / LOG).read_text()
    wait_for_the_end_of(start.mark)
    by_ray = scores(tmp_path / "runs")
    (tmp_path / "local").mkdir()
    os.chdir(tmp_path / "local")
    assert many("sweep", "--seeds", "0-1", "--no-report") == 0
    assert scores(tmp_path / "local") == by_ray
    assert len(by_ray) == 2


@linux
@pytest.mark.ray
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_sweep_that_is_ended_leaves_no_process(start, content, tmp_path, number):
    content["trainer"] |= {"max_epochs": 100_000}
    sweep = start("--seeds", "0-1", "--jobs", "2")
    folders = [tmp_path / "runs" / "tiny" / f"seed-{seed}" for seed in (0, 1)]
    wait_for(lambda: all((folder / "checkpoints" / "last.ckpt").exists() for folder in folders), process=sweep)
    sweep.send_signal(number)
    assert sweep.wait(PATIENCE) == (-9 if number == signal.SIGKILL else 130)
    wait_for_the_end_of(start.mark)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--gpus-per-run", "1"], "--gpus-per-run is for Ray; add --engine ray."),
        (["--address", "auto"], "--address is for Ray; add --engine ray."),
        (["--engine", "ray", "--gpus-per-run", "-1"], "--gpus-per-run is -1.0; expected a share of one such as 0.5"),
        (["--engine", "ray", "--gpus-per-run", "1.5"], "--gpus-per-run is 1.5; expected a share of one such as 0.5"),
        (["--engine", "ray", "--gpus-per-run", "nan"], "--gpus-per-run is nan; expected a share of one such as 0.5"),
    ],
)
def test_options_that_do_not_fit_are_refused(many, options, said, capsys):
    assert many("sweep", "--seeds", "0", *options) == WRONG_USE
    assert said in capsys.readouterr().err


def test_a_sweep_of_nothing_starts_nothing():
    from m2fnet.sweeps.ray_tasks import RaySweep, run_all_by_ray

    assert list(run_all_by_ray([], 1, [], RaySweep("no-such-place:1"))) == []
