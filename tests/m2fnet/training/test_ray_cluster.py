"""What is said when Ray, its cluster or its machines are not what a command needs."""

import argparse
from pathlib import Path

import pytest

pytest.importorskip("ray", reason="ray is not installed: `make test` brings it, and the extra `ray`")

from ray.exceptions import RayTaskError, WorkerCrashedError

from m2fnet.errors import RunError, StoreError, UsageError
from m2fnet.training.ray_cluster import (
    DeadProcessesError,
    add_engine_options,
    enter_shared,
    nodes,
    ray_cluster,
    refuse_without_ray,
    understood,
)


@pytest.fixture
def parse():
    parser = argparse.ArgumentParser()
    add_engine_options(parser)
    return lambda *options: parser.parse_args(options)


def test_without_options_nothing_of_ray_is_needed(parse, monkeypatch):
    monkeypatch.setattr("m2fnet.training.ray_cluster.find_spec", lambda name: None)
    assert refuse_without_ray(parse()) is None
    with pytest.raises(UsageError, match=r"--engine ray needs Ray, .* pip install 'm2fnet\[ray\]'"):
        refuse_without_ray(parse("--engine", "ray"))


def test_an_address_without_the_engine_is_refused(parse):
    with pytest.raises(UsageError, match="--address is for Ray; add --engine ray"):
        refuse_without_ray(parse("--address", "10.0.0.1:6379"))


@pytest.mark.parametrize("machines", [[], [{"CPU": 4.0}], [{"CPU": 0.0, "GPU": 2.0}]])
def test_a_cluster_without_what_is_asked_for_is_not_waited_for(machines, monkeypatch):
    monkeypatch.setattr("ray.nodes", lambda: [{"Alive": True, "Resources": one} for one in machines])
    with pytest.raises(
        RunError, match=r"The Ray cluster has [04] CPUs and [02] GPUs now; expected at least a CPU and 1"
    ):
        nodes(gpus=1)


def test_machines_that_are_gone_do_not_count(monkeypatch):
    found = [(True, {"CPU": 8.0, "GPU": 1.0}), (True, {"CPU": 2.0}), (True, {"memory": 1.0}), (False, {"CPU": 1.0})]
    monkeypatch.setattr("ray.nodes", lambda: [{"Alive": alive, "Resources": has} for alive, has in found])
    there = nodes()
    assert (there.cpus, there.gpus, there.cpus_of_smallest) == (10, 1, 2)


def test_a_folder_that_a_machine_does_not_have_is_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "shared").mkdir()
    with pytest.raises(RunError, match=r"cannot read .*nowhere \(No such file or directory\); expected a file system"):
        enter_shared(tmp_path / "nowhere")
    with pytest.raises(RunError, match=r"cannot read .*run\.log"):
        enter_shared(tmp_path / "shared", tmp_path / "shared" / "run.log")
    (tmp_path / "shared" / "run.log").touch()
    enter_shared(tmp_path / "shared", tmp_path / "shared" / "run.log")
    assert Path.cwd() == tmp_path / "shared"


def test_the_error_of_a_process_is_the_error_of_the_command():
    ours = StoreError("The store is full.")
    wrapped = RuntimeError("a task failed")
    wrapped.__cause__ = RayTaskError("read", "a long traceback", ours)
    assert understood(wrapped, 4) is ours
    defect = RayTaskError("read", "a long traceback", ZeroDivisionError())
    assert understood(defect, 4) is defect


def test_processes_that_die_again_and_again_are_a_sentence():
    found = understood(WorkerCrashedError(), 4)
    assert isinstance(found, DeadProcessesError)
    assert str(found).startswith("Processes of Ray died 4 times at the same work (WorkerCrashedError)")


@pytest.mark.parametrize("address", ["127.0.0.1:9", "127.0.0.1:99999"])
def test_a_cluster_that_is_not_there_is_named(address):
    with pytest.raises(RunError, match=rf"There is no Ray cluster at '{address}'"), ray_cluster(address):
        pass
