"""How far a command is, on the error stream: a bar in a terminal, a line now and then elsewhere."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tqdm import tqdm

LINE_EVERY = 30.0  # seconds between two lines where there is no terminal for a bar


@contextmanager
def shown_progress(name: str, what: str, count: int, *, is_shown: bool = True) -> Iterator[Callable[[int, int], None]]:
    """Within it ``progress(done, total)`` shows how many are done.

    Args:
        name: what is worked on, at the beginning of the bar or line.
        what: the things that are counted, such as ``utterances``.
        count: how many there are, as far as it is known.
        is_shown: whether anything is shown at all.
    """
    written = time.monotonic()
    is_bar = is_shown and sys.stderr.isatty()
    with tqdm(desc=name, total=count, unit=f" {what}", file=sys.stderr, disable=not is_bar, leave=False) as bar:

        def progress(done: int, total: int) -> None:
            nonlocal written
            bar.total = total
            bar.update(done - bar.n)
            if is_shown and not is_bar and time.monotonic() - written >= LINE_EVERY:
                written = time.monotonic()
                print(f"{name}: {done} of {total} {what}", file=sys.stderr, flush=True)

        yield progress
