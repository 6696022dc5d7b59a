"""How many threads torch shares a step between."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from m2fnet.errors import UsageError


@contextmanager
def own_threads() -> Iterator[None]:
    """Whatever is set inside, the number of threads is the same again afterwards.

    Example:
        >>> before = torch.get_num_threads()
        >>> with own_threads():
        ...     limit_threads(1, usual=None)
        >>> torch.get_num_threads() == before
        True
    """
    before = torch.get_num_threads()
    try:
        yield
    finally:
        torch.set_num_threads(before)


def limit_threads(asked: int | None, usual: int | None) -> None:
    """Let torch have the threads that were ``asked`` for, or the ``usual`` number; None leaves it to torch: all cores.

    Raises:
        UsageError: if fewer than one is asked for.
    """
    if asked is not None and asked < 1:
        raise UsageError(f"--threads is {asked}, expected at least 1.")
    if (count := asked or usual) is not None:
        torch.set_num_threads(count)
