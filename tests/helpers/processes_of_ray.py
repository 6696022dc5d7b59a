"""The processes that Ray has started, found without asking it."""

import os
import signal
import time
from contextlib import suppress
from pathlib import Path

PATIENCE = 600.0  # seconds that a slow machine may need for something; Ray imports torch in each of its processes


def wait_for(condition, patience=PATIENCE, process=None):
    """Wait until the condition holds, as long as ``process`` runs."""
    deadline = time.monotonic() + patience
    while not (found := condition()):
        assert process is None or process.poll() is None, f"it ended early with code {process.returncode}"
        assert time.monotonic() < deadline, "it takes too long"
        time.sleep(0.1)
    return found


def processes(mark):
    """Process -> what it calls itself, of all that have ``mark``, a variable of the environment with its value."""
    found = {}
    for place in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if mark.encode() in (place / "environ").read_bytes().split(b"\0"):
                found[int(place.name)] = (place / "cmdline").read_bytes().replace(b"\0", b" ").decode().strip()
    return {process: title for process, title in found.items() if title}  # one that has ended has none


def wait_for_the_end_of(mark, patience=150.0):
    """Wait until no process has the mark; agents of a killed Ray look for it for a minute."""
    deadline = time.monotonic() + patience
    while left := processes(mark):
        assert time.monotonic() < deadline, f"left behind: {left}"
        time.sleep(0.2)


def kill_one(mark, title):
    """Kill a process whose title begins so, and return its number."""
    process = wait_for(lambda: [number for number, found in processes(mark).items() if found.startswith(title)])[0]
    os.kill(process, signal.SIGKILL)
    return process
