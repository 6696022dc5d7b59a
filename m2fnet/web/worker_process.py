"""The process that holds the model: requests in, predictions out, in JSON."""

import json
import math
import time
import traceback
from base64 import b64encode
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import asdict
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from m2fnet.conversation.clip import streams_of
from m2fnet.conversation.writing import write_csv, write_srt
from m2fnet.errors import M2FNetError, MediaError, PredictionError
from m2fnet.files import JsonObject
from m2fnet.media.audio import RATE, read_audio
from m2fnet.media.picture import is_picture
from m2fnet.media.prosody import HOP_SECONDS, WINDOW_SECONDS, energy, pitch
from m2fnet.pipeline import Pipeline, conversation_of
from m2fnet.plots.emotion_timeline import timeline_base64
from m2fnet.plots.spectrogram import spectrogram
from m2fnet.plots.style import dark, rendered
from m2fnet.records import Prediction
from m2fnet.web.limits import Limits

if TYPE_CHECKING:
    from m2fnet.pipeline.annotator import Annotator  # loads transformers, which the page itself does not need

Progress = Callable[[int, int], None]
Send = Callable[[JsonObject], None]

_SENT_EVERY_S = 0.3  # progress; each message goes through the queue to the browser
_DRAWN_S = 15.0  # of an utterance, in its spectrogram


def serve_requests(
    load: Callable[[], Pipeline],
    load_annotator: Callable[[], "Annotator | None"],
    limits: Limits,
    connection: Connection,
) -> None:
    """Send the facts of the model, then the predictions for each request, until the connection is closed.

    Args:
        load: makes the pipeline.
        load_annotator: makes what writes the words of clips without any and guesses who speaks, if anything does.
        limits: of a clip.
        connection: carries JSON in both directions; no pickle comes from where clips are read.
    """

    def send(message: JsonObject) -> None:
        connection.send_bytes(json.dumps(message).encode())

    try:
        pipeline, annotator = load(), load_annotator()
    except M2FNetError as problem:
        send({"refused": str(problem)})
        return
    # the first picture loads libraries for seconds, which the first clip shall not wait for
    rendered(spectrogram(torch.zeros(RATE), RATE, torch.zeros(2), torch.zeros(2)), "png")

    model = pipeline.model
    send(
        {
            "classes": list(model.label_set.classes),
            "corpus": model.label_set.name,
            "modalities": list(model.extractors),
            "trained_on": model.trained_on,
            "recogniser": annotator.recogniser.name if annotator and annotator.recogniser else None,
        }
    )
    while True:
        try:
            request = json.loads(connection.recv_bytes())
        except EOFError:
            return
        clip, subtitles = (Path(request[name]) if request[name] else None for name in ("clip", "subtitles"))
        names = {"the clip": clip, "the subtitles" if clip else "the transcript": subtitles}
        try:
            answer = _predictions(pipeline, annotator, limits, clip, subtitles, send)
            answer["source"] = _without_paths(answer["source"], names)
            for kind in ("skipped", "notes"):
                answer[kind] = [_without_paths(sentence, names) for sentence in answer[kind]]
            send(answer)
        except M2FNetError as problem:
            send({"refused": _without_paths(str(problem), names)})
        except Exception:
            traceback.print_exc()  # for who runs the page; the sender gets no inside of it
            send({"refused": "The model failed over this file; the server's output says how."})


def _every_so_often(send: Send, **what: str) -> Progress:
    """What is called with the number that is done and that of all, and sends both with ``what`` now and then."""
    sent = time.monotonic()

    def progress(done: int, of: int) -> None:
        nonlocal sent
        if time.monotonic() - sent > _SENT_EVERY_S:
            sent = time.monotonic()
            send({**what, "done": done, "of": of})

    return progress


def _predictions(
    pipeline: Pipeline,
    annotator: "Annotator | None",
    limits: Limits,
    clip: Path | None,
    subtitles: Path | None,
    send: Send,
) -> JsonObject:
    """All that the page shows of a conversation."""
    file = clip or subtitles
    if file is None:
        raise PredictionError("Neither a clip nor subtitles came. Choose a file.")
    end_s = None
    if clip is not None and not is_picture(clip):
        end_s = streams_of(clip).end_s
        end_s = end_s if math.isfinite(end_s) else None  # not every clip says when it ends
    limits.check_length(end_s or 0.0)
    clip, found = conversation_of(clip, subtitles)
    if annotator is not None and clip is not None and not is_picture(clip):
        found = annotator(clip, found, lambda what, _: nullcontext(_every_so_often(send, what=what)))
    predictions = pipeline(clip, segments=found.segments, progress=_every_so_often(send))
    return {
        "utterances": [asdict(prediction) for prediction in predictions],
        "source": found.source,
        "skipped": list(found.skipped),
        "notes": list(found.notes),
        "end_s": end_s,
        "csv": _written(write_csv, predictions, file),
        "srt": _written(write_srt, predictions, file) if predictions[0].start_s is not None else None,
        "timeline": timeline_base64(predictions),
        "spectrogram": draw_longest(clip, predictions) if clip is not None else None,
    }


def _written(write: Callable[[Sequence[Prediction], Path], None], predictions: Sequence[Prediction], file: Path) -> str:
    """What ``write`` writes, next to ``file`` for a moment."""
    path = file.with_suffix(".answer")
    try:
        write(predictions, path)
        return path.read_text(encoding="utf-8")
    finally:
        path.unlink(missing_ok=True)


def draw_longest(clip: Path, predictions: Sequence[Prediction]) -> JsonObject | None:
    """The spectrogram of the longest utterance with its pitch and energy; None where it cannot be heard.

    Returns:
        ``{"utterance": its number from 0, "seconds": drawn, "png": the picture in base64, "dark_png": for a dark
        page}``. Words of strangers are not in the picture.
    """
    spans = [(p.start_s or 0.0, p.end_s or 0.0) for p in predictions]
    longest = max(range(len(spans)), key=lambda number: spans[number][1] - spans[number][0])
    try:
        sound = read_audio(clip, span=spans[longest], max_seconds=_DRAWN_S).samples
    except MediaError:  # there is no sound, or silence
        return None
    hertz, decibels = pitch(sound, RATE), energy(sound, RATE)
    times = HOP_SECONDS * torch.arange(len(hertz)) + WINDOW_SECONDS / 2

    def drawn() -> str:
        return b64encode(rendered(spectrogram(sound, RATE, hertz, decibels, times=times), "png")).decode()

    light = drawn()
    with dark():
        return {"utterance": longest, "seconds": len(sound) / RATE, "png": light, "dark_png": drawn()}


def _without_paths(sentence: str, names: dict[str, Path | None]) -> str:
    """The sentence with files called by their ``names``; their paths on this machine concern nobody."""
    for name, path in names.items():
        if path is not None:
            sentence = sentence.replace(str(path), name).replace(path.name, name)
    return sentence
