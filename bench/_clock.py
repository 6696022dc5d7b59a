"""A clock that adds up what the stages of a piece of work take."""

import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")


@dataclass
class Clock:
    """Seconds of each stage: on the wall, or of this process on a core (``time.process_time``)."""

    now: Callable[[], float] = time.perf_counter
    seconds: dict[str, float] = field(default_factory=lambda: defaultdict(float))

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        start = self.now()
        yield
        self.seconds[stage] += self.now() - start

    def on(self, stage: str, function: Callable[P, R]) -> Callable[P, R]:
        """``function``, timed."""

        def timed(*args: P.args, **kwargs: P.kwargs) -> R:
            with self(stage):
                return function(*args, **kwargs)

        return timed
