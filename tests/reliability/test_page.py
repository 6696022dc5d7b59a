"""The page with many people who send a clip at the same time."""

import sys
import tempfile

import pytest
from fake_pipeline import load_made_up
from many_clients import megabytes, visits
from page_load import ANSWERED, KINDS, crowd
from served_page import IGNORE, folders, free_port

from m2fnet.web.limits import Limits

state_holder = pytest.importorskip("gradio.state_holder", reason="gradio is an extra")
pytestmark = [
    pytest.mark.slow,
    IGNORE,
    pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc"),
]
BUSY = 120  # seconds in which a machine that does other work still answers
CLIENTS = 10  # `bench/reliability.py` sends fifty


@pytest.fixture
def sessions(monkeypatch):
    """Where the server of the page keeps what visits leave behind."""
    made = state_holder.StateHolder()
    monkeypatch.setattr(state_holder.StateHolder, "__new__", lambda _: made)
    return made


@pytest.fixture
def address(tmp_path, monkeypatch, sessions):
    monkeypatch.setenv("GRADIO_ANALYTICS_ENABLED", "False")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    from m2fnet.web.page import open_page

    waiting = 2 * CLIENTS  # an answer is there before its file is removed
    limits = Limits(megabytes=2, minutes=1, timeout_s=60, waiting=waiting)
    with open_page(load_made_up, "made up", limits, port=free_port()) as opened:
        yield opened
    assert folders() == []


def test_many_people_get_their_own_answers_and_memory_stays(address, sessions, tmp_path):
    used = []
    for _ in range(3):
        for visit in visits(address, tmp_path, CLIENTS):
            assert visit.received == visit.sent, visit.problem
        used.append(megabytes())
    assert used[2] < used[0] + 20, used
    assert len(sessions.session_data) == 2 * CLIENTS  # of three times as many visits
    (folder,) = folders()
    assert list((folder / "uploads").iterdir()) == []


def test_a_crowd_with_broken_uploads_slow_clients_and_a_restart_harms_nobody(tmp_path):
    from m2fnet.web.connections import PATIENCE_S

    load = crowd(tmp_path, people=8, uploads=40, slow_clients=4)
    assert [one.words for one in load.sent if one.words] == []
    assert {one.kind for one in load.sent} == set(KINDS)
    assert sum(one.outcome == ANSWERED for one in load.sent) > 10
    assert load.left == []
    assert max(load.passing) < BUSY
    assert max(load.held, default=0) < PATIENCE_S + BUSY
    assert load.memory[3] < load.memory[1] + 60
