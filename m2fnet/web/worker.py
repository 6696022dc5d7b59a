"""The model in a separate process, which may hang or crash over a hostile clip without the page going down."""

import json
import multiprocessing
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import TYPE_CHECKING, Any

from m2fnet.errors import PredictionError, RunError
from m2fnet.files import JsonObject
from m2fnet.web.limits import Limits

if TYPE_CHECKING:  # what takes seconds to import is for the process of the model
    from m2fnet.pipeline import Pipeline
    from m2fnet.pipeline.annotator import Annotator


def _serve_requests(*given: Any) -> None:  # noqa: ANN401
    """The process of the model, until the page is closed, in whatever way."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to both processes; the other one ends this
    from m2fnet.web.worker_process import serve_requests

    with suppress(BrokenPipeError):
        serve_requests(*given)


def no_annotator() -> None:
    """Nothing writes words or guesses speakers."""


class Worker:
    """A process that holds a pipeline and predicts one clip after the other; it is started again when it is lost.

    Args:
        load: makes the pipeline, in the process; a function of a module, or a `functools.partial` of one.
        limits: of a clip.
        load_annotator: makes what writes the words of clips without any and guesses who speaks, in the process too;
            by default nothing does.
    """

    def __init__(
        self,
        load: Callable[[], "Pipeline"],
        limits: Limits,
        load_annotator: Callable[[], "Annotator | None"] = no_annotator,
    ) -> None:
        self._load, self._limits, self._load_annotator = load, limits, load_annotator
        self._process: SpawnProcess | None = None
        self._connection: Connection | None = None
        self._one_at_a_time = threading.Lock()
        self._change = threading.Lock()  # of what follows
        self._files: tuple[str, ...] = ()  # that are worked on
        self._is_cancelled = False

    def launch(self) -> None:
        """Let the model be loaded; `start` waits for it."""
        context = multiprocessing.get_context("spawn")  # a fork of a process with threads may hang
        self._connection, theirs = context.Pipe()
        given = (self._load, self._load_annotator, self._limits, theirs)
        self._process = context.Process(target=_serve_requests, args=given, daemon=True)
        self._process.start()
        theirs.close()  # so that the end of the process is the end of the connection

    def start(self) -> JsonObject:
        """Load the model and return its facts: ``classes``, ``modalities``, ``corpus``, ``trained_on``, ``recogniser``.

        Raises:
            RunError: if it cannot be loaded.
        """
        if self._process is None or not self._process.is_alive():
            self.launch()
        assert self._process is not None, "it was launched"
        try:
            facts = self._receive(None)
        except EOFError as lost:
            self.stop()
            raise RunError(f"The process that loads the model ended with code {self._process.exitcode}.") from lost
        if "refused" in facts:
            self.stop()
            raise RunError(facts["refused"])
        return facts

    def predict(self, clip: Path | None, subtitles: Path | None) -> Iterator[JsonObject]:
        """Messages ``{"done": 3, "of": 9}``, and last ``{"utterances": [...], "skipped": [...], ...}``.

        Before the utterances are counted, words and voices may be: ``{"what": "words", "done": 1, "of": 2}``.
        The first one is ``{"loading": True}`` if the model has to be loaded again.

        Args:
            clip: video or sound, if there is any.
            subtitles: a file of segments, if there is one.

        Raises:
            PredictionError: if there are no predictions, or not in time; it says why.
        """
        with self._one_at_a_time:
            is_done = False
            with self._change:
                self._files, self._is_cancelled = tuple(path.name for path in (clip, subtitles) if path), False
            try:
                for message in self._messages({"clip": clip and str(clip), "subtitles": subtitles and str(subtitles)}):
                    is_done = "utterances" in message or "refused" in message
                    if "refused" in message:
                        raise PredictionError(message["refused"])
                    yield message
            except TimeoutError as late:
                raise PredictionError(
                    f"The model did not finish in {self._limits.timeout_s:g} seconds and was stopped. Send a shorter "
                    "clip, use `m2fnet predict`, or start the page with another --timeout-s."
                ) from late
            except (EOFError, OSError) as lost:
                if self._is_cancelled:
                    raise PredictionError("The prediction was cancelled.") from lost
                raise PredictionError("The file made its reader crash. Convert it, for example with ffmpeg.") from lost
            finally:
                with self._change:
                    self._files = ()
                if not is_done:  # nobody may get the rest of an answer that was meant for another
                    self.stop()

    def cancel(self, name: str) -> None:
        """End the process if it works on the file ``name``; `predict` ends with an error, and the next one starts it.

        Args:
            name: of the clip or of its subtitles, without folders.
        """
        with self._change:
            if name in self._files:
                self._is_cancelled = True
                if self._process is not None:
                    self._process.kill()

    def stop(self) -> None:
        """End the process, whatever it does."""
        if self._process is not None:
            self._process.kill()
            self._process.join()
        if self._connection is not None:
            self._connection.close()

    def _messages(self, request: JsonObject) -> Iterator[JsonObject]:
        if self._process is None or not self._process.is_alive():
            yield {"loading": True}
            self.start()
        assert self._connection is not None, "it was started"
        if self._is_cancelled:  # while it was started
            raise EOFError
        deadline = time.monotonic() + self._limits.timeout_s
        self._connection.send_bytes(json.dumps(request).encode())
        message: JsonObject = {}
        while "utterances" not in message and "refused" not in message:
            message = self._receive(deadline)
            yield message

    def _receive(self, deadline: float | None) -> JsonObject:
        assert self._connection is not None, "it was started"
        if deadline is not None and not self._connection.poll(max(0.0, deadline - time.monotonic())):
            raise TimeoutError
        message: JsonObject = json.loads(self._connection.recv_bytes())
        return message
