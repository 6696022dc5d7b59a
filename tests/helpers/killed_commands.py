"""Commands that are killed at random moments, started again, killed again ... until their work is finished.

A command is a separate process, forked from one that has imported everything, because importing takes longer than the
work. After every kill its files are looked at, and the finished work is compared with that of a command that nobody
disturbed. What is expected of all: nothing lost, unreadable, left behind, different, or done again although it was
kept.
"""

import ctypes
import json
import multiprocessing
import os
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import cycle
from pathlib import Path

import torch
import yaml
from safetensors import safe_open

from m2fnet import cli
from m2fnet.runs.checkpoints import read_checkpoint

PATIENCE = 120  # seconds that a process may take
_SUBREAPER = 36  # PR_SET_CHILD_SUBREAPER of prctl(2)
_PYTHONS = "pymp-"  # sockets of multiprocessing, among the temporary files
_FORK = multiprocessing.get_context("fork")

Note = Callable[[str], None]


@dataclass(frozen=True)
class Work:
    """What commands do, in units that are kept or not.

    Attributes:
        name: of the kind of work.
        unit: what it consists of.
        commands: the arguments of the commands that work in a folder, all at the same time; the same ones resume.
        kept: the units that a folder holds, finished; raises if something in it cannot be read.
        noting: is called in the process of a command; lets it note every unit that it begins.
        last: arguments of the command that ends the work once all others have.
        before: what a folder holds before the work.
        may_remain: names of files and folders that every start may leave, by design.
        orphans: seconds that the processes of a killed one may live on.
    """

    name: str
    unit: str
    commands: Callable[[Path], Sequence[Sequence[object]]]
    kept: Callable[[Path], set[str]]
    noting: Callable[[Note], None]
    last: Callable[[Path], Sequence[object]] | None = None
    before: Callable[[Path], None] = lambda folder: folder.mkdir(parents=True)
    may_remain: tuple[str, ...] = ()
    orphans: float = 20.0


@dataclass
class Tally:
    """What was seen over all kills of one work."""

    kills: int = 0
    lost: int = 0
    unreadable: int = 0
    again: int = 0
    finished: int = 0
    different: int = 0
    left_files: int = 0
    left_processes: int = 0
    refused: int = 0
    in_flight: list[int] = field(default_factory=list)
    seen: list[str] = field(default_factory=list)  # what is wrong, in words


def punish(work: Work, folder: Path, kills: int, moments, signals=(signal.SIGKILL,)) -> Tally:
    """Kill the commands of ``work`` in ``folder`` so many times, and resume them until everything is finished."""
    reference, killed = folder / "reference", folder / "killed"
    with _adopting():
        work.before(reference)
        began = time.monotonic()
        codes = exit_codes(start(work, reference, work.commands(reference)))
        seconds = time.monotonic() - began
        if any(codes) or not _end(work, reference):
            raise SystemExit(f"{work.name} failed although nobody disturbed it: {_log(reference).read_text()}")
        tally, order, kept = Tally(), cycle(signals), set()
        while tally.kills < kills or killed.exists():
            if not killed.exists():
                work.before(killed)
                kept = _kept(work, killed, tally)
            kept = _onestart(work, reference, killed, kept, tally, kills, moments, next(order), seconds)
    shutil.rmtree(reference)
    return tally


def _onestart(work, reference, killed, kept, tally, kills, moments, number, seconds):
    """Start the commands once, kill one of them or see them finish; the units that are kept then."""
    _noted(killed).unlink(missing_ok=True)
    children = start(work, killed, work.commands(killed))
    if tally.kills < kills:
        time.sleep(moments.uniform(0, 1.05 * seconds))
        victim = moments.choice(children)
        if victim.is_alive():
            os.kill(victim.pid, number)
            if len(children) > 1:
                exit_codes(children)  # the others work on
    codes = exit_codes(children)
    _bury_orphans(tally, work.orphans)
    begun = Counter(_noted(killed).read_text().splitlines()) if _noted(killed).exists() else Counter()
    now = _kept(work, killed, tally)
    again = [unit for unit in begun if unit in kept]
    tally.again += len(again)
    tally.lost += len(kept - now)
    tally.seen += [f"again: {unit}" for unit in again] + [f"lost: {unit}" for unit in sorted(kept - now)]
    if any(code in (cli.FAILED, cli.WRONG_USE) for code in codes):  # what a kill leaves must not stop the next start
        tally.refused += 1
        tally.seen.append(f"refused: {_log(killed).read_text()[-500:]}")
    if any(codes):
        tally.kills += 1
        tally.in_flight.append(len(set(begun) - now))
        return now
    if not _end(work, killed):
        tally.seen.append(f"the last command failed: {_log(killed).read_text()[-500:]}")
        tally.lost += 1
    tally.finished += 1
    changed, left = _compared(reference, killed, work.may_remain)
    tally.different += bool(changed)
    tally.left_files += len(left)
    tally.seen += [f"different: {name}" for name in changed] + [f"left: {name}" for name in left]
    shutil.rmtree(killed)
    return set()


def broken_files(folder: Path) -> list[str]:
    """Names of the files in ``folder`` that cannot be read; temporary ones do not count."""
    return [
        str(path.relative_to(folder)) for path in sorted(folder.rglob("[!.]*")) if path.is_file() and _is_broken(path)
    ]


def _is_broken(path: Path) -> bool:
    if any(part.startswith(".tmp-") for part in path.parts):
        return False
    try:
        match path.suffix:
            case ".json":
                json.loads(path.read_text(encoding="utf-8"))
            case ".jsonl":
                [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]
            case ".yaml":
                yaml.safe_load(path.read_text(encoding="utf-8"))
            case ".safetensors":
                with safe_open(path, framework="pt") as file:
                    [file.get_tensor(name) for name in file.keys()]  # noqa: SIM118 - not a mapping
            case ".ckpt":
                read_checkpoint(path)
    except FileNotFoundError:  # renamed in between
        return False
    except Exception:
        return True
    return False


def _kept(work, folder, tally):
    broken = broken_files(folder)
    try:
        kept = work.kept(folder)
    except Exception as problem:
        broken.append(f"{type(problem).__name__}: {problem}")
        kept = set()
    tally.unreadable += len(broken)
    tally.seen += [f"unreadable: {name}" for name in broken]
    return kept


def _end(work, folder):
    """Whether the work is ended well by its last command."""
    return work.last is None or exit_codes(start(work, folder, [work.last(folder)])) == [cli.DONE]


def _compared(reference, killed, may_remain):
    """Names of the files that are not like those of ``reference``, and of those that are surplus."""
    expected, found = _tree(reference, may_remain), _tree(killed, may_remain)
    changed = [name for name in expected if name not in found or not _is_same(reference / name, killed / name)]
    return changed, sorted(found - expected)


def _tree(folder, may_remain):
    names = {str(path.relative_to(folder)) for path in folder.rglob("*")}
    parts = {name: Path(name).parts for name in names}
    return {name for name in names if not any(part in may_remain or part.startswith(_PYTHONS) for part in parts[name])}


def _is_same(one, other):
    if one.suffix == ".ckpt":
        before, after = (read_checkpoint(path)["state_dict"] for path in (one, other))
        return before.keys() == after.keys() and all(torch.equal(before[name], after[name]) for name in before)
    return one.suffix not in (".safetensors", ".jsonl") or one.read_bytes() == other.read_bytes()


def _noted(folder):
    return folder.with_name(f"{folder.name}.noted")


def _log(folder):
    return folder.with_name(f"{folder.name}.log")


def start(work, folder, commands, fault=lambda: None):
    """Processes of the commands, each of which meets the ``fault``, a function that is called in it."""
    children = []
    for command in commands:
        arguments = [str(argument) for argument in command]
        children.append(_FORK.Process(target=_run, args=(work, folder, arguments, fault)))
        children[-1].start()
    return children


def _run(work, folder, arguments, fault):
    """A command as a separate process, which notes what it works on; what it prints is logged."""
    os.setsid()
    log = os.open(_log(folder), os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)
    sys.stdout = sys.stderr = os.fdopen(log, "w", buffering=1)  # pytest has put others there
    temporary = folder / "temporary"
    temporary.mkdir(exist_ok=True)
    os.chdir(folder)  # a sweep has its run folders where it is started
    os.environ["TMPDIR"], tempfile.tempdir = str(temporary), None
    torch.set_num_threads(1)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    notes = os.open(_noted(folder), os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    work.noting(lambda unit: os.write(notes, f"{unit}\n".encode()))
    sys.argv = ["m2fnet"]
    fault()
    sys.exit(cli.run(arguments))


def exit_codes(children):
    """How the processes ended; one that does not end is a defect."""
    for child in children:
        child.join(PATIENCE)
        if child.exitcode is None:
            child.kill()
            raise SystemExit(f"A process did not end within {PATIENCE} seconds.")
    return [child.exitcode for child in children]


def printed(folder):
    """What the commands in the folder have printed."""
    return _log(folder).read_text(encoding="utf-8")


@contextmanager
def _adopting():
    """Processes whose parent was killed become children of this one, which can count them.

    Children that it has before, such as a resource tracker of `multiprocessing`, are no such processes.
    """
    libc = ctypes.CDLL(None)
    before = _children() - KNOWN
    KNOWN.update(before)
    libc.prctl(_SUBREAPER, 1, 0, 0, 0)
    try:
        yield
    finally:
        libc.prctl(_SUBREAPER, 0, 0, 0, 0)
        KNOWN.difference_update(before)


def _bury_orphans(tally, seconds):
    """Wait for the processes of a killed one; those that do not end are counted and ended."""
    deadline = time.monotonic() + seconds
    while orphans := _orphans():
        for orphan in orphans:
            if time.monotonic() > deadline:
                tally.left_processes += 1
                tally.seen.append("a process was left behind")
                os.kill(orphan, signal.SIGKILL)
            with suppress(ChildProcessError):
                os.waitpid(orphan, os.WNOHANG)
        time.sleep(0.005)


def _orphans():
    """Adopted children of this process that have not been waited for."""
    return _children() - {child.pid for child in multiprocessing.active_children()} - KNOWN


def _children():
    """All children of this process."""
    listing = Path(f"/proc/{os.getpid()}/task").glob("*/children")
    return {int(pid) for path in listing for pid in path.read_text().split()}


KNOWN: set[int] = set()  # children that are there on purpose
