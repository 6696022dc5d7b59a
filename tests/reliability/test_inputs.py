"""Whatever is read may be damaged: it is used, or a sentence names what is not; nothing hangs or crashes.

`bench/reliability.py --only inputs` is the same with several files per kind of damage.
"""

import time
from pathlib import Path

import pytest
from odd_inputs import CRASH, ENDLESS, NAMED, REFUSED, TRACEBACK, USED, Case, Kind, all_kinds, cases, outcomes

from m2fnet.errors import ManifestError

pytestmark = pytest.mark.slow


def test_every_damaged_input_is_used_named_or_refused(ground, tmp_path):
    wanted = cases(all_kinds(ground, ground / "good"), each=1)
    assert len(wanted) > 450
    found = outcomes(wanted, tmp_path)
    assert [one.case for one in found] == wanted
    assert [(one.case.name, one.what, one.words) for one in found if one.what not in one.case.expected] == []


def test_what_may_become_of_an_input_is_told_apart(tmp_path, monkeypatch):
    monkeypatch.setattr("odd_inputs.HANG", 0.5)
    good = tmp_path / "good.txt"
    good.touch()

    def refuse(path):
        raise ManifestError("no")

    reads = {
        USED: lambda path: (),
        NAMED: lambda path: ["line 3 is empty"],
        REFUSED: refuse,
        TRACEBACK: lambda path: 1 / 0,
        CRASH: lambda path: __import__("os")._exit(3),
        ENDLESS: lambda path: time.sleep(30),
    }
    wanted = [Case(what, Kind(what, good, read), "", b"x", ".txt", ()) for what, read in reads.items()]
    wanted.append(wanted[0])  # after a hang, the others are still read
    folder = Path(tmp_path / "cases")
    folder.mkdir()
    assert [one.what for one in outcomes(wanted, folder)] == [*reads, USED]
