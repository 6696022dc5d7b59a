"""No process outlives the one that started it, however that one ends."""

import multiprocessing
import os
import select
import signal
import sys

import pytest
import torch.utils.data._utils.worker as torchs_worker
from torch.utils.data import DataLoader

from m2fnet.training.orphans import end_worker_with_parent

PATIENCE = 20  # seconds in which the workers must have ended


@pytest.mark.skipif(sys.platform == "win32", reason="processes are forked")
@pytest.mark.parametrize("ends", [pytest.param(True, id="ours"), pytest.param(False, id="torch's")])
def test_a_worker_that_missed_the_death_of_its_parent_ends(ends):
    alive, kept_open = os.pipe()  # open in each process until it ends
    reading, telling = multiprocessing.Pipe(duplex=False)
    reader = multiprocessing.get_context("fork").Process(target=read_forever, args=(telling, ends))
    reader.start()
    os.close(kept_open)
    workers = reading.recv()
    assert len(workers) == 2
    reader.kill()
    reader.join()
    try:
        assert bool(select.select([alive], [], [], PATIENCE if ends else 0.5)[0]) == ends
    finally:
        os.close(alive)
        for worker in [] if ends else workers:
            os.kill(worker, signal.SIGKILL)


def read_forever(telling, ends):
    """Read by two workers that never notice that their parent is gone, as if it had been killed before they looked."""
    torchs_worker.ManagerWatchdog.is_alive = lambda self: True
    loader = DataLoader(
        range(10**6),
        num_workers=2,
        worker_init_fn=end_worker_with_parent if ends else None,
        multiprocessing_context="fork",
    )
    for number, _ in enumerate(loader):
        if not number:
            telling.send([child.pid for child in multiprocessing.active_children()])
