"""A machine that fails: whoever meets it gets a sentence, nothing that was kept is lost, and the same command resumes.

The faults are made in the process of the command.
"""

import errno
import os
import resource
import signal
import sys
import tempfile
import time
from pathlib import Path

import pytest
import torch
import work_to_kill
from killed_commands import Work, exit_codes, printed, start

from extractors.extraction.embedding import Outcomes
from m2fnet import cli

pytestmark = [pytest.mark.slow, pytest.mark.skipif(sys.platform != "linux", reason="limits of Linux")]

EXTRACT, TRAIN, PREPARE, EXPORT = (
    "extract, two workers",
    "train a dialogue network",
    "prepare, over another",
    "export, over another",
)


@pytest.fixture(scope="module")
def works(ground):
    return work_to_kill.works(ground, "http://127.0.0.1:9/v1")


def run(work: Work, folder: Path, fault=lambda: None):
    """Exit code of the work's only command under a fault, and what it printed."""
    (child,) = start(work, folder, work.commands(folder), fault)
    (code,) = exit_codes([child])
    return code, printed(folder)


def full_disk():
    def refuse(_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    os.fsync = refuse  # where a file system that writes later finds it out


def read_only():
    def refuse(*_, **given):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(given.get("dir")))

    tempfile.mkstemp = tempfile.mkdtemp = refuse


def renaming_fails():
    def refuse(path, target):
        raise OSError(errno.EIO, os.strerror(errno.EIO), str(target))

    Path.replace = Path.rename = refuse


def worker_without_memory():
    def read(self, place):
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + 2**29, used + 2**29))
        torch.zeros(2**33)

    Outcomes.__getitem__ = read


@pytest.mark.parametrize("name", [EXTRACT, TRAIN, PREPARE, EXPORT])
@pytest.mark.parametrize("fault", [full_disk, read_only, renaming_fails])
def test_what_cannot_be_written_is_a_sentence_and_costs_nothing(works, name, fault, place):
    work, folder = works[name], place / "work"
    work.before(folder)
    kept = work.kept(folder)
    code, words = run(work, folder, fault)
    assert code == cli.FAILED, words
    assert "Traceback" not in words
    assert words.splitlines()[-1].startswith("m2fnet "), words
    assert work.kept(folder) >= kept
    assert run(work, folder)[0] == cli.DONE
    assert not list(folder.rglob(".tmp-*"))


def test_a_worker_without_memory_is_a_sentence(works, place):
    work, folder = works[EXTRACT], place / "work"
    work.before(folder)
    code, words = run(work, folder, worker_without_memory)
    assert code == cli.FAILED, words
    assert "Traceback" not in words
    assert "memory" in words
    assert run(work, folder)[0] == cli.DONE


def without_home():
    for name in ("HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "USER", "LOGNAME"):
        os.environ.pop(name, None)


def clock_that_jumps():
    now, calls = time.time, 0

    def jumps():
        nonlocal calls
        calls += 1
        return now() + (1 if calls % 2 else -1) * 86_400

    time.time = jumps


def stopped_for_a_moment():
    process = os.getpid()
    if os.fork() == 0:
        time.sleep(0.3)
        os.kill(process, signal.SIGSTOP)
        time.sleep(0.5)
        os.kill(process, signal.SIGCONT)
        os._exit(0)


@pytest.mark.parametrize("name", [EXTRACT, TRAIN])
@pytest.mark.parametrize("fault", [without_home, clock_that_jumps, stopped_for_a_moment])
def test_what_does_not_matter_changes_nothing(works, name, fault, place):
    work, folder = works[name], place / "work"
    work.before(folder)
    code, words = run(work, folder, fault)
    assert code == cli.DONE, words
    assert work.kept(folder)


@pytest.mark.parametrize("name", [EXTRACT, TRAIN])
def test_of_two_on_one_folder_one_works_and_the_other_names_it(works, name, place):
    work, folder = works[name], place / "work"
    work.before(folder)
    codes = exit_codes(start(work, folder, [*work.commands(folder)] * 2))
    words = printed(folder)
    assert "Traceback" not in words
    assert cli.DONE in codes
    assert codes.count(cli.FAILED) == words.count("is locked by process")
    assert run(work, folder)[0] == cli.DONE
