"""Grids, seeds, and the processes of a sweep; the processes here do no training."""

import importlib
import os
import signal
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from m2fnet.errors import UsageError
from m2fnet.sweeps.processes import LOG, PlannedRun, PlannedSetting, child_environment, parse_grid, parse_seeds, run_all

SLEEPER = """
import os, signal, sys, time
from pathlib import Path

def stop(*_):
    Path("stopped").touch()
    sys.exit(130)

def work(run, environment):
    os.setsid()
    signal.signal(signal.SIGINT, signal.SIG_IGN if run.commands == (("deaf",),) else stop)
    Path("started").write_text(str(os.getpid()))
    time.sleep(60)
"""


@pytest.mark.parametrize(
    ("text", "seeds"), [("0-3", [0, 1, 2, 3]), ("7", [7]), ("0, 2-3 ,9", [0, 2, 3, 9]), ("5-5", [5])]
)
def test_seeds_are_numbers_and_ranges(text, seeds):
    assert parse_seeds(text) == seeds


@pytest.mark.parametrize("text", ["", "a", "1-", "-1", "3-1", "0-2,1", "1..3", "1,,2"])
def test_other_seeds_are_refused(text):
    with pytest.raises(UsageError, match="--seeds is"):
        parse_seeds(text)


def test_several_grids_multiply_and_values_are_written_as_in_yaml():
    settings = parse_grid(["--a.b=1,2", "c=[text],[text, audio]", "d=x"])
    assert [setting.values for setting in settings] == [
        {"a.b": a, "c": c, "d": "x"} for a in ("1", "2") for c in ('["text"]', '["text", "audio"]')
    ]
    assert settings[1].options == ["--a.b=1", '--c=["text", "audio"]', "--d=x"]
    assert str(settings[0]) == 'b=1, c=["text"], d=x'


def test_without_a_grid_there_is_one_setting():
    (setting,) = parse_grid([])
    assert setting.options == []
    assert str(setting) == "as configured"


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["a"], "--grid is 'a'; expected KEY=VALUE"),
        (["=1"], "expected KEY=VALUE"),
        (["a="], "expected KEY=VALUE"),
        (["a=[1"], "expected KEY=VALUE"),
        (["a=1", "a=2"], "--grid names a twice"),
        (["seed_everything=1,2"], "--seed_everything cannot be given to a sweep: name the seeds with --seeds"),
        (["run=x"], "--run cannot be given"),
    ],
)
def test_other_grids_are_refused(texts, message):
    with pytest.raises(UsageError, match=message):
        parse_grid(texts)


def test_children_share_the_cores_and_the_gpus(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    places = [child_environment(slot, jobs=3, gpus=2) for slot in range(3)]
    assert [place["OMP_NUM_THREADS"] for place in places] == ["2", "2", "2"]
    assert [place["CUDA_VISIBLE_DEVICES"] for place in places] == ["0", "1", "0"]
    assert child_environment(0, jobs=20, gpus=0) == {"OMP_NUM_THREADS": "1"}
    assert "CUDA_VISIBLE_DEVICES" not in child_environment(0, jobs=1, gpus=2)
    monkeypatch.setenv("OMP_NUM_THREADS", "5")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "7")
    assert child_environment(1, jobs=3, gpus=2) == {}


@pytest.mark.parametrize(("gpus", "preloaded"), [(0, ["m2fnet.manifest"]), (1, [])])
def test_nothing_is_imported_ahead_of_a_fork_where_cuda_could_be_touched(monkeypatch, gpus, preloaded):
    asked = []
    monkeypatch.setattr("m2fnet.sweeps.processes.multiprocessing.set_forkserver_preload", asked.extend)
    assert list(run_all([], 1, gpus, ["m2fnet.manifest"])) == []
    assert asked == preloaded


def make_runs(folder, *commands):
    return [PlannedRun(PlannedSetting({}), seed, folder / f"seed-{seed}", each) for seed, each in enumerate(commands)]


def test_a_run_that_fails_does_not_stop_the_others_and_its_later_commands_are_left_out(tmp_path):
    runs = make_runs(tmp_path, (("--version",), ("--version",)), (("nonsense",), ("--version",)), (("--version",),))
    outcomes = {outcome.run.seed: outcome.code for outcome in run_all(runs, jobs=2, gpus=0)}
    assert outcomes == {0: 0, 1: 2, 2: 0}
    logs = [(run.folder / LOG).read_text(encoding="utf-8").splitlines() for run in runs]
    assert [len(lines) for lines in logs] == [2, 1, 1]
    assert "unknown command 'nonsense'" in logs[1][0]


@pytest.mark.parametrize("is_deaf", [False, True])
def test_no_child_stays_behind_when_a_sweep_is_left(tmp_path, monkeypatch, is_deaf):
    (tmp_path / "sleeper.py").write_text(SLEEPER, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr("m2fnet.sweeps.processes.work", importlib.import_module("sleeper").work)
    monkeypatch.setattr("m2fnet.sweeps.processes.PATIENCE", 0.5 if is_deaf else 30.0)
    monkeypatch.setattr("m2fnet.sweeps.processes.sleep", _interrupt_once_started)
    monkeypatch.chdir(tmp_path)
    with (
        pytest.raises(KeyboardInterrupt),
        closing(run_all(make_runs(tmp_path, (("deaf",) if is_deaf else ("x",),)), 1, 0)) as outcomes,
    ):
        next(outcomes)
    assert Path("stopped").exists() is not is_deaf
    with pytest.raises(ProcessLookupError):
        os.kill(int(Path("started").read_text()), 0)


def _interrupt_once_started(_):
    """Ctrl-C as soon as the child is there."""
    deadline = time.monotonic() + 30
    while not (Path("started").exists() and Path("started").read_text()) and time.monotonic() < deadline:
        time.sleep(0.02)
    raise KeyboardInterrupt


SLOW_RUN = """
import os, sys, time
from pathlib import Path
from m2fnet.sweeps import processes

def slow(arguments):
    Path("started").write_text(str(os.getpid()))
    time.sleep(60)

def work(run, environment):
    processes.cli.run = slow
    processes.work(run, environment)
"""
KILLED_SWEEP = """
from pathlib import Path
import slow_run
from m2fnet.sweeps import processes
if __name__ == "__main__":
    processes.work = slow_run.work
    runs = [processes.PlannedRun(processes.PlannedSetting({}), 0, Path("seed-0"), (("slow",),))]
    list(processes.run_all(runs, 1, 0))
"""


def test_no_child_stays_behind_a_sweep_that_was_killed(tmp_path):
    (tmp_path / "slow_run.py").write_text(SLOW_RUN, encoding="utf-8")
    (tmp_path / "sweep.py").write_text(KILLED_SWEEP, encoding="utf-8")
    started = tmp_path / "started"
    sweep = subprocess.Popen([sys.executable, "sweep.py"], cwd=tmp_path)
    wait_until(lambda: started.exists() and started.read_text())
    sweep.send_signal(signal.SIGKILL)
    sweep.wait(30)
    wait_until(lambda: not is_alive(int(started.read_text())))


def wait_until(condition):
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def is_alive(process):
    """Whether it runs; where nobody waits for ended processes, one stays as a zombie."""
    try:
        return Path(f"/proc/{process}/stat").read_text(encoding="utf-8").rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False
