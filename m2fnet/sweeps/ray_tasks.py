"""The runs of a sweep as tasks of Ray, on this machine or in a cluster.

A task starts one process, which does what it would do without Ray. If the worker of Ray or its machine dies, the
process ends too, and the run is tried again elsewhere; training resumes from its last checkpoint.
"""

import os
from collections.abc import Generator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any

from m2fnet.sweeps.processes import LOG, PATIENCE, Outcome, PlannedRun, run_all
from m2fnet.training.ray_cluster import DeadProcessesError, enter_shared, nodes, ray_cluster, understood

if TYPE_CHECKING:
    from ray import ObjectRef

_TRIES_AGAIN = 3  # times that a run whose worker died is started again


@dataclass(frozen=True)
class RaySweep:
    """Where Ray trains.

    Attributes:
        address: of a cluster; None starts Ray on this machine.
        gpus_per_run: share of a GPU, or number of GPUs, of each run; None: all GPUs are shared by the runs that run at
            the same time.
    """

    address: str | None = None
    gpus_per_run: float | None = None


def run_all_by_ray(
    runs: Sequence[PlannedRun], jobs: int, preload: Sequence[str], engine: RaySweep
) -> Generator[Outcome, None, None]:
    """Run everything, ``jobs`` runs at a time; give each outcome as soon as it is known.

    However this is left, no process stays behind.

    Args:
        runs: what is to be done.
        jobs: number of runs at a time, over all machines.
        preload: modules that are imported once for the runs of a worker.
        engine: where.

    Raises:
        RunError: if there is no such cluster, or a machine of it cannot read the run folders.
    """
    if not runs:
        return
    threads = os.environ.get("OMP_NUM_THREADS")
    with ray_cluster(engine.address):
        import ray

        found = nodes(engine.gpus_per_run or 0)
        cpus = min(found.cpus / jobs, found.cpus_of_smallest)
        cpus = int(cpus) if cpus >= 1 else round(cpus, 3)
        gpus = min(1.0, found.gpus / jobs) if engine.gpus_per_run is None else engine.gpus_per_run
        task = ray.remote(_run).options(
            num_cpus=cpus, num_gpus=gpus, max_retries=_TRIES_AGAIN, scheduling_strategy="SPREAD"
        )
        waiting = list(reversed(runs))
        running: dict[ObjectRef[Any], tuple[PlannedRun, float]] = {}
        try:
            while waiting or running:
                while waiting and len(running) < jobs:
                    run = waiting.pop()
                    run.folder.mkdir(parents=True, exist_ok=True)
                    (run.folder / LOG).touch()
                    place = task.remote(run, Path.cwd(), threads or str(max(1, int(cpus))), gpus > 0, preload)
                    running[place] = (run, monotonic())
                for place in ray.wait(list(running))[0]:
                    yield _outcome(place, *running.pop(place))
        finally:
            for place in running:
                ray.cancel(place)  # as Ctrl-C in `_run`
            if running:
                ray.wait(list(running), num_returns=len(running), timeout=PATIENCE + 5)


def _run(run: PlannedRun, folder: Path, threads: str, has_gpu: bool, preload: Sequence[str]) -> Outcome:
    """The run, in a worker of Ray; relative paths start from ``folder``."""
    enter_shared(folder, folder / run.folder / LOG)
    os.environ["OMP_NUM_THREADS"] = threads
    with closing(run_all([run], 1, int(has_gpu), preload)) as outcomes:
        return next(outcomes)


def _outcome(place: "ObjectRef[Any]", run: PlannedRun, since: float) -> Outcome:
    """How a run ended; one whose workers died again and again has failed, and its log says so."""
    import ray

    try:
        outcome: Outcome = ray.get(place)
    except ray.exceptions.RayError as problem:
        error = understood(problem, _TRIES_AGAIN + 1)
        if not isinstance(error, DeadProcessesError):
            raise error from problem
        with (run.folder / LOG).open("a", encoding="utf-8") as log:
            log.write(f"{error}\n")
        return Outcome(run, 1, monotonic() - since)
    return outcome
