"""What goes on in the process that holds the model: requests in, answers out, in JSON."""

import json
import math
import signal
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import asdict
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from m2fnet.conversation.clip import streams_of
from m2fnet.conversation.writing import write_srt
from m2fnet.errors import M2FNetError, PredictionError
from m2fnet.pipeline import Pipeline, conversation_of
from m2fnet.records import Prediction
from m2fnet.web.limits import Limits

Answer = dict[str, Any]  # plain JSON, all the way from the model to the page
Progress = Callable[[int, int], None]

_TOLD_EVERY_S = 0.3  # progress; each message goes through the queue to the browser


def work(load: Callable[[], Pipeline], limits: Limits, connection: Connection) -> None:
    """Facts of the model first, then an answer for each request, until nobody asks any more.

    Args:
        load: makes the pipeline.
        limits: of a clip.
        connection: carries JSON in both directions; no pickle comes from where clips are read.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to both processes; the other one ends this

    def send(message: Answer) -> None:
        connection.send_bytes(json.dumps(message).encode())

    try:
        pipeline = load()
        send(_facts(pipeline))
    except M2FNetError as problem:
        send({"refused": str(problem)})
        return
    while True:
        try:
            request = json.loads(connection.recv_bytes())
        except EOFError:
            return
        clip, subtitles = (Path(request[name]) if request[name] else None for name in ("clip", "subtitles"))
        names = {"the clip": clip, "the subtitles" if clip else "the transcript": subtitles}
        try:
            answer = _answer(pipeline, limits, clip, subtitles, _now_and_then(send))
            answer["source"] = _without_places(answer["source"], names)
            answer["left_out"] = [_without_places(sentence, names) for sentence in answer["left_out"]]
            send(answer)
        except M2FNetError as problem:
            send({"refused": _without_places(str(problem), names)})
        except Exception:
            traceback.print_exc()  # for who runs the page; the sender gets no inside of it
            send({"refused": "The model failed over this file; the server's output says how."})


def _facts(pipeline: Pipeline) -> Answer:
    model = pipeline.model
    return {
        "classes": list(model.label_set.classes),
        "corpus": model.label_set.name,
        "modalities": list(model.extractors),
    }


def _now_and_then(send: Callable[[Answer], None]) -> Progress:
    told = time.monotonic()

    def progress(done: int, of: int) -> None:
        nonlocal told
        if time.monotonic() - told > _TOLD_EVERY_S:
            told = time.monotonic()
            send({"done": done, "of": of})

    return progress


def _answer(
    pipeline: Pipeline, limits: Limits, clip: Path | None, subtitles: Path | None, progress: Progress
) -> Answer:
    file = clip or subtitles
    if file is None:
        raise PredictionError("Neither a clip nor subtitles came. Choose a file.")
    end_s = _told_end(clip) if clip is not None else None
    limits.check_length(end_s or 0.0)
    clip, found = conversation_of(clip, subtitles)
    predictions = pipeline(clip, segments=found.segments, progress=progress)
    return {
        "turns": [asdict(prediction) for prediction in predictions],
        "source": found.source,
        "left_out": list(found.skipped),
        "end_s": end_s,
        "srt": _as_srt(predictions, file.with_suffix(".answer")),
    }


def _told_end(clip: Path) -> float | None:
    """Second at which a clip says that it ends; not every one does."""
    end_s = streams_of(clip).end_s
    return end_s if math.isfinite(end_s) else None


def _as_srt(predictions: Sequence[Prediction], path: Path) -> str | None:
    """Text of an SRT file, written at ``path`` on the way; None of a transcript without times."""
    if any(prediction.start_s is None for prediction in predictions):
        return None
    try:
        write_srt(predictions, path)
        return path.read_text(encoding="utf-8")
    finally:
        path.unlink(missing_ok=True)


def _without_places(sentence: str, names: dict[str, Path | None]) -> str:
    """The sentence with files called by their ``names``; where they lie here concerns nobody."""
    for name, path in names.items():
        if path is not None:
            sentence = sentence.replace(str(path), name).replace(path.name, name)
    return sentence
