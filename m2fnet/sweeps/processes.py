"""The runs of a sweep: every seed of every combination of settings, by the ordinary commands in separate processes.

The processes are forked from one that has imported what they need and done nothing else: importing takes longer than a
small training does, and a fork starts as clean as a new process.
"""

import itertools
import json
import multiprocessing
import os
import signal
import sys
from collections.abc import Generator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, sleep

import yaml

from m2fnet import cli
from m2fnet.errors import UsageError
from m2fnet.training.orphans import end_with_parent

LOG = "sweep.log"
_FORBIDDEN = {
    "config": "a sweep is of one configuration",
    "seed_everything": "name the seeds with --seeds",
    "run": "every run is in the folder of its settings",
    "dry-run": "a sweep plans all runs before the first",
    "dry_run": "a sweep plans all runs before the first",
    "overwrite": "delete the run folders to train them again",
}
_LOOK = 0.1  # seconds between two looks at the children
PATIENCE = 15.0  # seconds that they have to end after Ctrl-C


@dataclass(frozen=True)
class PlannedSetting:
    """One combination of the grid: dotted key -> value as it is typed."""

    values: dict[str, str]

    def __str__(self) -> str:
        return ", ".join(f"{key.rsplit('.', 1)[-1]}={value}" for key, value in self.values.items()) or "as configured"

    @property
    def options(self) -> list[str]:
        """As options of a command."""
        return [f"--{key}={value}" for key, value in self.values.items()]


@dataclass(frozen=True)
class PlannedRun:
    """One training with its folder, and the commands that are left to do, one after another."""

    setting: PlannedSetting
    seed: int
    folder: Path
    commands: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Outcome:
    """How a run ended: ``code`` is 0 if all its commands did what they should."""

    run: PlannedRun
    code: int
    seconds: float


def parse_seeds(text: str) -> list[int]:
    """The seeds that a text such as ``0-9`` or ``0-3,7`` names.

    >>> parse_seeds("0-3,7")
    [0, 1, 2, 3, 7]

    Raises:
        UsageError: if it names none, or one twice.
    """
    seeds: list[int] = []
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        if not first.isdecimal() or (dash and not last.isdecimal()):
            raise UsageError(f"--seeds is {text!r}; expected numbers and ranges such as 0-9 or 0-3,7.")
        seeds += range(int(first), int(last or first) + 1)
    if not seeds or len(set(seeds)) < len(seeds):
        raise UsageError(f"--seeds is {text!r}; expected at least one seed, and each once.")
    return seeds


def parse_grid(texts: Sequence[str]) -> list[PlannedSetting]:
    """Every combination of ``KEY=VALUE,VALUE...``; values are written as in YAML, so lists have brackets.

    >>> [str(setting) for setting in parse_grid(["model.net.heads=2,4", "data.streams=[text],[text, audio]"])][1:3]
    ['heads=2, streams=["text", "audio"]', 'heads=4, streams=["text"]']

    Raises:
        UsageError: if a text is not of that form, or a key is not one to vary.
    """
    axes: dict[str, list[str]] = {}
    for text in texts:
        key, sign, values = text.removeprefix("--").partition("=")
        try:
            parsed = yaml.safe_load(f"[{values}]")
        except yaml.YAMLError:
            parsed = None
        if not sign or not key or not isinstance(parsed, list) or not parsed:
            raise UsageError(f"--grid is {text!r}; expected KEY=VALUE,VALUE... such as model.net.fusion_layers=1,3,5.")
        refuse_forbidden([key])
        if key in axes:
            raise UsageError(f"--grid names {key} twice; give all its values in one.")
        axes[key] = [value if isinstance(value, str) else json.dumps(value) for value in parsed]
    return [PlannedSetting(dict(zip(axes, values, strict=True))) for values in itertools.product(*axes.values())]


def refuse_forbidden(keys: Sequence[str]) -> None:
    """Refuse options that a sweep sets itself.

    Raises:
        UsageError: naming the first.
    """
    for key in keys:
        if key in _FORBIDDEN:
            raise UsageError(f"--{key} cannot be given to a sweep: {_FORBIDDEN[key]}.")


def child_environment(slot: int, jobs: int, gpus: int) -> dict[str, str]:
    """What the child in place ``slot`` of ``jobs`` gets: its share of the cores and, of several GPUs, one.

    What is set already stays as it is.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    own = {"OMP_NUM_THREADS": str(max(1, cores // jobs))}
    if jobs > 1 and gpus > 1:
        own["CUDA_VISIBLE_DEVICES"] = str(slot % gpus)
    return {name: value for name, value in own.items() if name not in os.environ}


def run_all(
    runs: Sequence[PlannedRun], jobs: int, gpus: int, preload: Sequence[str] = ()
) -> Generator[Outcome, None, None]:
    """Run everything with ``jobs`` processes at a time; give each outcome as soon as it is known.

    However this is left, no child stays behind.

    Args:
        runs: what is to be done.
        jobs: number of processes.
        gpus: of this machine. With any, children import for themselves, because CUDA does not survive a fork.
        preload: modules that are imported once for all children.
    """
    multiprocessing.set_forkserver_preload([] if gpus else list(preload))
    waiting = list(reversed(runs))
    children: dict[int, _Child] = {}
    try:
        while waiting or children:
            for slot in range(jobs):
                if slot not in children and waiting:
                    children[slot] = _Child(waiting.pop(), child_environment(slot, jobs, gpus))
            sleep(_LOOK)
            for slot, child in list(children.items()):
                if (outcome := child.outcome()) is not None:
                    del children[slot]
                    yield outcome
    finally:
        _end([child.process for child in children.values()])


class _Child:
    """The process of one run."""

    def __init__(self, run: PlannedRun, environment: Mapping[str, str]) -> None:
        self.run = run
        self.started = monotonic()
        run.folder.mkdir(parents=True, exist_ok=True)
        (run.folder / LOG).touch()
        self.process = multiprocessing.get_context("forkserver").Process(target=work, args=(run, environment))
        self.process.start()

    def outcome(self) -> Outcome | None:
        """How it ended; None while it runs."""
        code = self.process.exitcode
        return None if code is None else Outcome(self.run, code, monotonic() - self.started)


def work(run: PlannedRun, environment: Mapping[str, str]) -> None:
    """Run the commands of ``run`` until one fails, and leave the process with its code; what they print is logged."""
    os.setsid()  # the terminal's Ctrl-C reaches a child once, through `_end`, with all its workers
    # one that worked on would hold its folder locked against the sweep that resumes
    end_with_parent(lambda: os.killpg(0, signal.SIGKILL))
    log = os.open(run.folder / LOG, os.O_WRONLY | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.environ.update(environment)
    if "OMP_NUM_THREADS" in environment:
        import torch

        torch.set_num_threads(int(environment["OMP_NUM_THREADS"]))  # it has read the variable when it was imported
    for command in run.commands:
        sys.argv[1:] = command  # with these, a distributed strategy starts its other processes
        if code := cli.run(command):
            sys.exit(code)


_Process = multiprocessing.context.ForkServerProcess


def _end(processes: Sequence[_Process]) -> None:
    """Interrupt what still runs, as Ctrl-C would, and end what does not listen or when Ctrl-C comes once more."""
    try:
        _send(processes, signal.SIGINT)
        for process in processes:
            process.join(PATIENCE)
    except KeyboardInterrupt:
        pass
    finally:
        _send(processes, signal.SIGKILL)
        for process in processes:
            process.join()


def _send(processes: Sequence[_Process], number: signal.Signals) -> None:
    for process in processes:
        if process.exitcode is None and process.pid is not None:
            with suppress(ProcessLookupError):  # it ended in between
                try:
                    os.killpg(process.pid, number)
                except ProcessLookupError:  # it has no separate session yet
                    os.kill(process.pid, number)
