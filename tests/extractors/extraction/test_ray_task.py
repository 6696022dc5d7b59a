"""Extraction by Ray, with real processes of it: the store of a local one, whatever dies on the way."""

import os
import signal
import subprocess
import sys
import uuid
from pathlib import Path

import pytest

pytest.importorskip("ray", reason="ray is not installed: `make test` brings it, and the extra `ray`")

import ray_extraction
from processes_of_ray import PATIENCE, kill_one, processes, wait_for, wait_for_the_end_of
from ray_extraction import BROKEN, MADE, Noting, kept, noted

from extractors.extraction.embedding import Loading
from extractors.extraction.extract import extract
from extractors.extraction.ray_task import RayEngine, RayTask
from m2fnet import cli
from m2fnet.cli import WRONG_USE
from m2fnet.errors import RunError
from m2fnet.store import Missing

HELPERS, REPOSITORY = Path(ray_extraction.__file__).parent, Path(__file__).parents[3]
linux = pytest.mark.skipif(sys.platform != "linux", reason="processes are found in /proc")


def files(store):
    return {path.name: path.read_bytes() for path in store.iterdir()}


@pytest.fixture
def whole(corpus, tmp_path):
    """The files of a local extraction."""
    store = extract(Noting(), MADE, corpus, tmp_path / "whole", loading=Loading(4, workers=0)).store
    assert store.missing == {BROKEN: Missing("decode", "no picture")}
    return files(store.folder)


@pytest.fixture
def start(corpus, tmp_path):
    """``start(address)`` starts an extraction into ``store``; its processes have the ``mark`` in their environment."""
    mark = f"M2FNET_TEST={uuid.uuid4().hex}"
    started = []

    def call(address="", deadly=""):
        name, value = mark.split("=")
        paths = os.pathsep.join(map(str, (HELPERS, REPOSITORY)))
        arguments = [corpus.root / "manifest", tmp_path / "store", tmp_path / "notes", address, deadly]
        started.append(
            subprocess.Popen(
                [sys.executable, HELPERS / "ray_extraction.py", *arguments],
                env={**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1", name: value},
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                cwd=tmp_path,
                start_new_session=True,
            )
        )
        started[-1].mark = mark
        return started[-1]

    yield call
    for process in started:
        process.kill()
        process.wait()
    for process in processes(mark):
        os.kill(process, signal.SIGKILL)


def finished(process, code=0):
    printed, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == code, printed
    return printed


def count(notes, what):
    return sum(row[0] == what for row in noted(notes))


@linux
@pytest.mark.slow
def test_the_store_is_that_of_a_local_extraction(start, corpus, whole, tmp_path):
    command = start()
    assert finished(command) == ""  # Ray's own messages would say nothing that a person needs
    assert kept(tmp_path / "notes") == dict.fromkeys((u.id for u in corpus.utterances), 1)
    assert files(tmp_path / "store") == whole
    wait_for_the_end_of(command.mark)


@linux
@pytest.mark.ray
def test_a_killed_command_leaves_no_process_and_resumes_although_workers_are_killed(start, corpus, whole, tmp_path):
    notes = tmp_path / "notes"
    command = start()
    wait_for(lambda: count(notes, "kept") >= 4, process=command)
    assert any("raylet" in title for title in processes(command.mark).values())
    command.kill()
    command.wait()
    wait_for_the_end_of(command.mark)
    before = kept(notes)
    assert 0 < len(before) < len(corpus.utterances)
    second = start()
    wait_for(lambda: count(notes, "read") > len(before) + 8, process=second)
    kill_one(second.mark, "ray::Map(read_batch")
    kill_one(second.mark, "ray::MapWorker")
    printed = finished(second)
    assert printed == ""  # Ray's own messages would say nothing that a person needs
    assert kept(notes) == dict.fromkeys((u.id for u in corpus.utterances), 1)
    assert files(tmp_path / "store") == whole
    wait_for_the_end_of(second.mark)


@linux
@pytest.mark.ray
def test_machines_leave_a_cluster_and_come_to_it(start, corpus, whole, tmp_path, monkeypatch):
    cluster_utils = pytest.importorskip("ray.cluster_utils")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(map(str, (HELPERS, REPOSITORY))))
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    monkeypatch.setenv("RAY_health_check_period_ms", "1000")  # a dead machine is noticed soon
    node = {"num_cpus": 1, "object_store_memory": 80 * 2**20}
    cluster = cluster_utils.Cluster(initialize_head=True, head_node_args={**node, "include_dashboard": False})
    notes = tmp_path / "notes"
    try:
        leaves = cluster.add_node(**node)
        command = start(cluster.address)
        wait_for(lambda: any(row[3] == leaves.node_id for row in noted(notes)), process=command)
        cluster.remove_node(leaves, allow_graceful=False)
        comes = cluster.add_node(**node)
        printed = finished(command)
        assert printed == ""
        assert kept(notes) == dict.fromkeys((u.id for u in corpus.utterances), 1)
        assert files(tmp_path / "store") == whole
        nodes = {row[3] for row in noted(notes) if row[0] != "kept"}
        assert nodes == {cluster.head_node.node_id, leaves.node_id, comes.node_id}
        assert cluster.head_node.all_processes, "a cluster that was joined stays"
    finally:
        cluster.shutdown()


@linux
@pytest.mark.ray
def test_ctrl_c_keeps_what_is_finished_and_what_kills_its_process_is_named(start, corpus, tmp_path):
    notes = tmp_path / "notes"
    command = start()
    wait_for(lambda: count(notes, "kept") >= 4, process=command)
    os.killpg(command.pid, signal.SIGINT)
    finished(command, 130)
    assert not processes(command.mark)
    last = corpus.utterances[-1].id
    printed = finished(start(deadly=last), 1)
    assert printed.startswith("m2fnet: Processes of Ray died 4 times at the same work (WorkerCrashedError); they may")
    assert count(notes, "read") > len(corpus.utterances)
    assert set(kept(notes).values()) == {1}
    assert not (tmp_path / "store" / "meta.json").exists()


@pytest.fixture
def task(corpus):
    """A task that does not start Ray, for what it does with what it is handed."""
    from extractors.extraction.embedding import place_utterances

    return RayTask(Noting(), place_utterances(corpus), Loading(4), "32-true", RayEngine())


def test_media_that_only_another_machine_lacks_are_no_missing_utterances(task, corpus, tmp_path):
    from extractors.extraction.ray_processes import FoundBatch
    from extractors.extraction.ray_task import require_shared

    there = corpus.root / corpus.utterances[0].audio
    batch = {"embeddings": [], "places": [0], "missing": [("open", "the file does not exist")], "cut": [{}]}
    require_shared(FoundBatch(0, batch, (tmp_path / "nowhere.mp4",), "node-7"))
    with pytest.raises(RunError, match=r"The machine node-7 of the Ray cluster cannot read .*; expected the media"):
        require_shared(FoundBatch(0, batch, (there,), "node-7"))


@pytest.fixture
def embedding(task, monkeypatch):
    """The batches of ``task``; in place of Ray, ``embedding.fates`` has what happens after how many batches."""
    from extractors.extraction import ray_task
    from extractors.extraction.ray_processes import FoundBatch

    def found(work, numbers):
        many, problem = fates.pop(0)
        for number in numbers[:many]:
            yield FoundBatch(number, {"number": number}, (), "node-7")
        if problem is not None:
            raise problem

    monkeypatch.setattr(ray_task, "put", lambda thing: None)
    task.left = [[place] for place in range(6)]
    loaded = task.predict_dataloader()
    loaded.fates = fates = []
    monkeypatch.setattr(loaded, "found", found)
    return loaded


def test_what_a_machine_leaves_behind_is_embedded_by_the_others_and_nothing_twice(embedding):
    from ray.exceptions import ActorUnavailableError, NodeDiedError

    away = ActorUnavailableError("connection refused", None)
    embedding.fates += [(2, away), (0, NodeDiedError("gone")), (0, away), (1, away), (None, None)]
    assert [batch["number"] for batch in embedding] == list(range(6))
    assert embedding.fates == []


def test_machines_that_leave_again_and_again_end_the_extraction_in_a_sentence(embedding):
    from ray.exceptions import ActorUnavailableError

    embedding.fates += [(0, ActorUnavailableError("connection refused", None))] * 4
    with pytest.raises(RunError, match=r"Processes of Ray died 4 times at the same work \(ActorUnavailableError\)"):
        list(embedding)


def test_what_kills_its_process_each_time_is_not_tried_by_new_ones(embedding):
    from ray.exceptions import WorkerCrashedError

    embedding.fates += [(1, WorkerCrashedError())]
    with pytest.raises(RunError, match=r"Processes of Ray died 4 times at the same work \(WorkerCrashedError\)"):
        list(embedding)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--address", "auto"], "--address is for Ray; add --engine ray."),
        (["--actors", "2"], "--actors is for Ray; add --engine ray."),
        (["--engine", "ray", "--devices", "2"], "--devices and --nodes are Lightning's"),
        (["--engine", "ray", "--nodes", "2"], "--devices and --nodes are Lightning's"),
        (["--engine", "ray", "--threads", "2"], "--threads is for this process; with --engine ray"),
        (["--engine", "ray", "--workers", "0"], "--workers is 0, but with --engine ray other processes read"),
        (["--engine", "ray", "--accelerator", "tpu"], "--accelerator is 'tpu'; with --engine ray expected cpu or gpu"),
        (["--engine", "ray", "--accelerator", "cpu", "--precision", "16-mixed"], "--precision 16-mixed needs a GPU"),
        (["--engine", "dask"], "argument --engine: invalid choice: 'dask'"),
    ],
)
def test_options_that_do_not_fit_are_refused_before_anything_is_read(corpus, tmp_path, options, said, capsys):
    arguments = ["extract", "--ckpt", "nowhere", "--manifest", corpus.root / "manifest", "--out", tmp_path / "store"]
    assert cli.run([*map(str, arguments), *options]) == WRONG_USE
    assert said in capsys.readouterr().err


def test_without_ray_one_sentence_says_how_to_install_it(corpus, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("m2fnet.training.ray_cluster.find_spec", lambda name: None)
    arguments = ["extract", "--ckpt", "nowhere", "--manifest", "m", "--out", "o", "--engine", "ray"]
    assert cli.run(arguments) == WRONG_USE
    assert capsys.readouterr().err == (
        "m2fnet extract: --engine ray needs Ray, which is not installed: pip install 'm2fnet[ray]'\n"
    )


def test_the_commands_do_not_import_ray():
    script = (
        "import sys, extractors.commands.extract, extractors.extraction.extract, m2fnet.commands.sweep\n"
        "print(sorted({'ray', 'pyarrow'} & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=300)
    assert done.stdout == "[]\n"
