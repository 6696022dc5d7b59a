"""A pipeline without a network, in a separate module because the page loads it in another process."""

import os
import time
from dataclasses import replace
from types import SimpleNamespace

from m2fnet.errors import MediaError, RunError
from m2fnet.records import LabelSet, Prediction, SeenFrame

EMOTIONS = ("neutral", "joy", "anger")
HEARD = "I came <b>home</b>."


class FakePipeline:
    """Answers utterance number i with emotion i; an utterance that says ``!crash``, ``!hang`` or ``!fail`` does that.

    Where there is a clip it looks for faces in the middle of each utterance, and finds them in every other one.
    """

    model = SimpleNamespace(
        label_set=LabelSet("fake", EMOTIONS), extractors={"text": None, "visual": None}, trained_on="Trained on fakes."
    )

    def __call__(self, clip, *, segments, progress):
        return [self._answer(i, segment, progress, len(segments), clip) for i, segment in enumerate(segments)]

    def _answer(self, i, segment, progress, count, clip):
        act(segment.text or "")
        progress(i + 1, count)
        emotion = EMOTIONS[i % len(EMOTIONS)]
        odds = {name: 0.8 if name == emotion else 0.1 for name in EMOTIONS}
        missing = {"visual": "no face"} if i % 2 else {}
        there = ("text",) if missing else ("text", "visual")
        faces = () if missing else ((0.25, 0.5, 0.5, 0.75), (0.75, 0.0, 1.0, 0.25))
        middle = ((segment.start_s or 0.0) + (segment.end_s or 0.0)) / 2
        frames = (SeenFrame(middle, faces),) if clip is not None else ()
        utterance = (segment.start_s, segment.end_s, segment.speaker, segment.text)
        sources = {"text_source": segment.text_source, "speaker_source": segment.speaker_source}
        return Prediction(*utterance, emotion, odds, there, missing, frames, **sources)


class FakeSets(FakePipeline):
    """The same for sets of emotions: none, then joy, then joy and anger, in turn; it rates valence, too."""

    model = SimpleNamespace(
        label_set=LabelSet("fake", EMOTIONS, "multi"), extractors={"text": None, "visual": None}, trained_on=""
    )

    def _answer(self, i, *given):
        labels = ((), ("joy",), ("joy", "anger"))[i % 3]
        odds = {name: 0.6 if name in labels else 0.2 for name in EMOTIONS}
        thresholds = {"neutral": 0.9, "joy": 0.5, "anger": 0.25}
        one = super()._answer(i, *given)
        top, ratings = max(odds, key=odds.get), {"valence": 0.5 - i}
        return replace(one, emotion=top, probabilities=odds, labels=labels, thresholds=thresholds, ratings=ratings)


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


def load_sets():
    return FakeSets()


def load_annotator():
    """Whatever is said is a hostile sentence, by a single speaker."""
    from tiny_recogniser import SayingRecogniser

    from m2fnet.conversation.recognised import Heard, Phrase
    from m2fnet.pipeline.annotator import Annotator
    from m2fnet.pipeline.guessed_speakers import CepstralVoice

    said = Heard((Phrase(0.0, 1.0, HEARD, -0.1),))
    return Annotator(SayingRecogniser(lambda _: said), CepstralVoice(), 1)


def load_nothing():
    raise RunError("There is no model in nowhere; expected a model folder or a run.")


def load_made_up():
    """A pipeline with real extractors and a real network, untrained."""
    from made_up_model import made_up_model

    from m2fnet.pipeline import Pipeline

    return Pipeline(made_up_model())
