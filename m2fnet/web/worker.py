"""The model in a process of its own, which may hang or crash over a hostile clip without the page going down."""

import json
import math
import multiprocessing
import signal
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import asdict
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from m2fnet.conversation.clip import streams_of
from m2fnet.conversation.segments import read_segments, segments_of
from m2fnet.conversation.writing import write_srt
from m2fnet.errors import M2FNetError, PredictionError, RunError
from m2fnet.pipeline import Pipeline
from m2fnet.web.limits import Limits

Progress = Callable[[int, int], None]
Answer = dict[str, Any]  # plain JSON, all the way from the model to the page


class Worker:
    """A process that holds a pipeline and answers one clip after the other; it is started again when it is lost.

    Args:
        load: makes the pipeline, in the process; a function of a module, or a `functools.partial` of one.
        limits: of a clip.
    """

    def __init__(self, load: Callable[[], Pipeline], limits: Limits) -> None:
        self._load, self._limits = load, limits
        self._process: SpawnProcess | None = None
        self._connection: Connection | None = None
        self._one_at_a_time = threading.Lock()

    def start(self) -> Answer:
        """Load the model and return its facts: ``{"classes": [...], "modalities": [...], "corpus": ...}``.

        Raises:
            RunError: if it cannot be loaded.
        """
        context = multiprocessing.get_context("spawn")  # a fork of a process with threads may hang
        self._connection, theirs = context.Pipe()
        self._process = context.Process(target=_work, args=(self._load, self._limits, theirs), daemon=True)
        self._process.start()
        theirs.close()  # so that the end of the process is the end of the connection
        try:
            facts = self._receive(None)
        except EOFError as lost:
            self.stop()
            raise RunError(f"The process that loads the model ended with code {self._process.exitcode}.") from lost
        if "refused" in facts:
            self.stop()
            raise RunError(facts["refused"])
        return facts

    def ask(self, clip: Path | None, subtitles: Path | None) -> Iterator[Answer]:
        """Messages ``{"done": 3, "of": 9}``, and last the answer ``{"turns": [...], "source": ..., "srt": ...}``.

        Args:
            clip: video or sound, if there is any.
            subtitles: a file of segments, if there is one.

        Raises:
            PredictionError: if there is no answer, or not in time; it says why.
        """
        with self._one_at_a_time:
            is_answered = False
            try:
                for message in self._asked({"clip": clip and str(clip), "subtitles": subtitles and str(subtitles)}):
                    is_answered = "turns" in message or "refused" in message
                    if "refused" in message:
                        raise PredictionError(message["refused"])
                    yield message
            except TimeoutError as late:
                raise PredictionError(
                    f"The model did not finish in {self._limits.timeout_s:g} seconds and was stopped. Send a shorter "
                    "clip, use `m2fnet predict`, or start the page with another --timeout-s."
                ) from late
            except (EOFError, OSError) as lost:
                raise PredictionError("The file made its reader crash. Convert it, for example with ffmpeg.") from lost
            finally:
                if not is_answered:  # nobody may get the rest of an answer that was meant for another
                    self.stop()

    def stop(self) -> None:
        """End the process, whatever it does."""
        if self._process is not None:
            self._process.kill()
            self._process.join()
        if self._connection is not None:
            self._connection.close()

    def _asked(self, request: Answer) -> Iterator[Answer]:
        if self._process is None or not self._process.is_alive():
            self.start()
        assert self._connection is not None, "it was started"
        deadline = time.monotonic() + self._limits.timeout_s
        self._connection.send_bytes(json.dumps(request).encode())
        message: Answer = {}
        while "turns" not in message and "refused" not in message:
            message = self._receive(deadline)
            yield message

    def _receive(self, deadline: float | None) -> Answer:
        assert self._connection is not None, "it was started"
        if deadline is not None and not self._connection.poll(max(0.0, deadline - time.monotonic())):
            raise TimeoutError
        message: Answer = json.loads(self._connection.recv_bytes())
        return message


def _work(load: Callable[[], Pipeline], limits: Limits, connection: Connection) -> None:
    """The process: facts of the model first, then an answer for each request, until nobody asks any more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to both processes; the other one ends this

    def send(message: Answer) -> None:
        connection.send_bytes(json.dumps(message).encode())  # JSON: no pickle comes from where clips are read

    try:
        pipeline = load()
        send(
            {
                "classes": list(pipeline.model.label_set.classes),
                "corpus": pipeline.model.label_set.name,
                "modalities": list(pipeline.model.extractors),
            }
        )
    except M2FNetError as problem:
        send({"refused": str(problem)})
        return
    while True:
        try:
            request = json.loads(connection.recv_bytes())
        except EOFError:
            return
        files = {name: Path(path) if path else None for name, path in request.items()}
        try:
            send(_answer(pipeline, limits, **files, progress=lambda done, of: send({"done": done, "of": of})))
        except M2FNetError as problem:
            send({"refused": _without_places(str(problem), files)})
        except Exception:
            traceback.print_exc()  # for who runs the page; the sender gets no inside of it
            send({"refused": "The model failed over this file; the server's output says how."})


def _answer(
    pipeline: Pipeline, limits: Limits, clip: Path | None, subtitles: Path | None, progress: Progress
) -> Answer:
    end_s = None
    if clip is not None:
        end_s = streams_of(clip).end_s
        end_s = end_s if math.isfinite(end_s) else None  # not every file tells
        limits.check_length(end_s or 0.0)
        found = segments_of(clip, subtitles)
        spoken, source = found.segments, "the subtitles" if subtitles is not None else found.source
    elif subtitles is not None:
        spoken, source = read_segments(subtitles), "the transcript"
    else:
        raise PredictionError("Neither a clip nor subtitles came. Choose a file.")
    predictions = pipeline(clip, segments=spoken, progress=progress)
    with TemporaryDirectory(prefix="m2fnet-") as folder:
        write_srt(predictions, Path(folder) / "emotions.srt")
        srt = (Path(folder) / "emotions.srt").read_text(encoding="utf-8")
    turns = [asdict(prediction) for prediction in predictions]
    return {"turns": turns, "source": source, "end_s": end_s, "srt": srt}


def _without_places(sentence: str, files: dict[str, Path | None]) -> str:
    """The sentence with files called by what they are; where they lie here concerns nobody."""
    for what, path in files.items():
        if path is not None:
            sentence = sentence.replace(str(path), f"the {what}").replace(path.name, f"the {what}")
    return sentence
