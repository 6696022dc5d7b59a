"""Emotion timelines: readable for any number of utterances and speakers, with text from strangers, without times."""

from xml.etree import ElementTree

import numpy as np
import pytest

from m2fnet.plots.emotion_timeline import emotion_timeline
from m2fnet.plots.style import rendered
from m2fnet.records import Prediction

CLASSES = ("neutral", "joy", "sadness", "anger", "surprise", "fear", "disgust")


def utterances(count, speakers=2, is_timed=True, seed=0):
    random = np.random.default_rng(seed)
    times = np.cumsum(random.uniform(0.5, 5, 2 * count))
    for number in range(count):
        shares = random.dirichlet(np.full(len(CLASSES), 0.4))
        yield Prediction(
            float(times[2 * number]) if is_timed else None,
            float(times[2 * number + 1]) if is_timed else None,
            f"speaker {random.integers(speakers)}" if speakers else None,
            "text",
            CLASSES[int(shares.argmax())],
            dict(zip(CLASSES, shares.tolist(), strict=True)),
            ("text",),
        )


def words(figure):
    return [text.get_text() for axes in figure.axes for text in axes.texts]


def row_names(axes):
    return [label.get_text() for label in axes.get_yticklabels()]


@pytest.mark.parametrize("count", [1, 3, 40, 200])
@pytest.mark.parametrize("is_timed", [True, False])
def test_it_is_drawn_for_any_number_of_utterances(count, is_timed):
    image = rendered(emotion_timeline(list(utterances(count, is_timed=is_timed)), CLASSES, "talk.mp4"), "svg")
    assert ElementTree.fromstring(image).tag.endswith("svg")
    assert len(image) < 2_000_000


def test_rows_are_the_speakers_in_order_and_the_emotions_in_order():
    predictions = list(utterances(30, speakers=3))
    who, what, *_ = emotion_timeline(predictions, CLASSES, "talk.mp4").axes
    assert row_names(who) == list(dict.fromkeys(p.speaker for p in predictions))
    assert row_names(what) == list(CLASSES)


def test_few_utterances_show_their_emotion_and_its_probability_in_words():
    predictions = list(utterances(3, is_timed=False))
    shown = words(emotion_timeline(predictions, CLASSES, "talk.mp4"))
    for p in predictions:
        assert p.emotion in shown
        assert f"{100 * p.confidence:.0f}" in shown


def test_what_does_not_fit_is_not_written():
    assert len(words(emotion_timeline(list(utterances(200)), CLASSES, "talk.mp4"))) < 200


def test_many_speakers_share_a_row():
    who = emotion_timeline(list(utterances(100, speakers=30)), CLASSES, "talk.mp4").axes[0]
    assert len(row_names(who)) == 8
    assert row_names(who)[-1].endswith(" others")


def test_time_is_in_minutes_and_utterances_without_times_by_number():
    timed = emotion_timeline(list(utterances(60)), CLASSES, "talk.mp4").axes[1]
    assert timed.get_xlabel() == "time (min:s)"
    assert timed.xaxis.get_major_formatter()(75.0, None) == "1:15"
    assert timed.xaxis.get_major_formatter()(3675.0, None) == "1:01:15"
    numbered = emotion_timeline(list(utterances(5, is_timed=False)), CLASSES, "talk.txt").axes[1]
    assert numbered.get_xlabel() == "utterance"
    assert numbered.get_xlim() == (0.5, 5.5)


def test_texts_from_strangers_are_only_text():
    hostile = "<script>$\\frac$\x07\n"
    predictions = [Prediction(0, 1, hostile, hostile, "joy", {"joy": 1.0, "anger": 0.0}, ("text",))]
    image = rendered(emotion_timeline(predictions, ["joy", "anger"], hostile), "svg")
    assert b"<script" not in image


def test_no_utterance_cannot_be_drawn():
    with pytest.raises(ValueError, match="at least one prediction"):
        emotion_timeline([], CLASSES, "talk.mp4")


def test_thousands_of_utterances_stay_small():
    assert len(rendered(emotion_timeline(list(utterances(2000)), CLASSES, "talk.mp4"), "svg")) < 3_000_000
