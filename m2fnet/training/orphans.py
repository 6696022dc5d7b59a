"""Processes that end with the one that started them, however that one ends."""

import multiprocessing
import os
import threading
from collections.abc import Callable


def end_with_parent(end: Callable[[], object]) -> None:
    """Call ``end`` from a thread as soon as the process that started this one has ended, or immediately if it has.

    A killed process cannot end those it has started.
    """
    parent = multiprocessing.parent_process()
    assert parent is not None, "a process that Python's multiprocessing has started"

    def wait() -> None:
        parent.join()
        end()

    threading.Thread(target=wait, daemon=True).start()


def end_worker_with_parent(_worker: int) -> None:
    """The ``worker_init_fn`` of every loader: its workers end with the process that reads from them.

    A worker of torch's looks for the death of its parent, but takes for its parent whoever that is once it has
    started: if the parent was killed in between, that is the system's first process, and the worker would never end.
    """
    end_with_parent(lambda: os._exit(1))
