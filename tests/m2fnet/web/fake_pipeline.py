"""A pipeline without a network, which lies in a module of its own because the page loads it in another process."""

import os
import time
from types import SimpleNamespace

from m2fnet.errors import MediaError, RunError
from m2fnet.records import LabelSet, Prediction

EMOTIONS = ("neutral", "joy", "anger")


class FakePipeline:
    """Answers turn number i with emotion i; a turn that says ``!crash``, ``!hang`` or ``!fail`` does that."""

    model = SimpleNamespace(label_set=LabelSet("fake", EMOTIONS), extractors={"text": None, "visual": None})

    def __call__(self, clip, *, segments, progress):
        return [self._answer(i, segment, progress, len(segments)) for i, segment in enumerate(segments)]

    def _answer(self, i, segment, progress, count):
        act(segment.text or "")
        progress(i + 1, count)
        emotion = EMOTIONS[i % len(EMOTIONS)]
        odds = {name: 0.8 if name == emotion else 0.1 for name in EMOTIONS}
        missing = {"visual": "no face"} if i % 2 else {}
        there = ("text",) if missing else ("text", "visual")
        return Prediction(segment.start_s, segment.end_s, segment.speaker, segment.text, emotion, odds, there, missing)


def act(text):
    if "!crash" in text:
        os._exit(3)
    if "!hang" in text:
        time.sleep(600)
    if "!slow" in text:
        time.sleep(1)
    if "!bug" in text:
        raise ZeroDivisionError("inside")
    if "!fail" in text:
        raise MediaError("decode", "the sound is silent")


def load():
    return FakePipeline()


def load_nothing():
    raise RunError("There is no model in nowhere; expected a model folder or a run.")


def load_made_up():
    """A pipeline with real extractors and a real network, untrained."""
    from made_up_model import made_up_model

    from m2fnet.pipeline import Pipeline

    return Pipeline(made_up_model())
