"""Whatever is killed loses nothing that was kept, and the same command finishes it like work that nobody disturbed.

`bench/reliability.py --only kills` is the same with hundreds of kills.
"""

import random
import sys
import time
from multiprocessing import resource_tracker
from pathlib import Path

import pytest
import work_to_kill
from killed_commands import Work, punish

from m2fnet import cli

NAMES = (
    "extract, two workers",
    "extract, two processes",
    "train an extractor",
    "train a dialogue network",
    "self-training",
    "sweep",
    "prepare, over another",
    "export, over another",
    "hints",
)
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="orphans are adopted by prctl(2)"),
]


@pytest.fixture(scope="module")
def works(ground):
    with work_to_kill.AnsweringServer() as address:
        yield work_to_kill.works(ground, address)


def test_everything_that_takes_long_is_killed(works):
    assert tuple(works) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_a_kill_costs_what_was_in_flight_and_nothing_else(works, name, place):
    tally = punish(works[name], place, kills=2, moments=random.Random(7))
    assert tally.kills == 2
    assert tally.finished >= 1
    assert not tally.seen, tally
    assert tally.lost == tally.unreadable == tally.again == tally.refused == tally.different == 0
    assert tally.left_files == tally.left_processes == 0


def careless(note):
    """Lets a command write in the final place, begin anew whenever it is started, and leave its notes."""

    def work(arguments):
        folder = Path(arguments[0])
        (folder / f"notes-{time.monotonic_ns()}").touch()
        for name in ("first.json", "second.json"):
            (folder / name).unlink(missing_ok=True)
        for name in ("first.json", "second.json"):
            note(name)
            (folder / name).write_text("[1,")
            time.sleep(0.1)
            (folder / name).write_text("[1, 2]")
        return cli.DONE

    cli.run = work


def test_processes_that_were_there_before_are_not_left_behind(place):
    def write(note):
        def work(arguments):
            time.sleep(0.3)
            (Path(arguments[0]) / "done").touch()
            return cli.DONE

        cli.run = work

    resource_tracker.ensure_running()  # a child of this process from now on, as after many other tests
    work = Work("one file", "files", lambda folder: [[folder]], lambda folder: set(), write)
    assert punish(work, place, kills=2, moments=random.Random(0)).seen == []


def test_careless_work_is_seen_to_be_so(place):
    def kept(folder):
        return {path.name for path in folder.glob("*.json") if path.read_text() == "[1, 2]"}

    work = Work("careless", "files", lambda folder: [[folder]], kept, careless)
    tally = punish(work, place, kills=12, moments=random.Random(0))
    assert tally.lost > 0
    assert tally.again > 0
    assert tally.unreadable > 0
    assert tally.left_files > 0
