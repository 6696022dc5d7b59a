"""One emotion, one colour."""

import random

import pytest

from m2fnet.corpora import label_sets
from m2fnet.plots.emotion_colours import contrast, emotion_colours, is_light, on_dark
from m2fnet.plots.style import DARK
from m2fnet.records import LabelSet

SETS = [one for one in vars(label_sets).values() if isinstance(one, LabelSet)]


@pytest.mark.parametrize("labels", SETS, ids=lambda one: one.name)
def test_the_emotions_of_a_corpus_have_colours_of_their_own(labels):
    colours = emotion_colours(labels.classes)
    if len(labels.classes) <= 15:
        assert len(set(colours)) == len(labels.classes)


@pytest.mark.parametrize("labels", SETS, ids=lambda one: one.name)
def test_on_a_dark_ground_each_is_seen_and_as_near_to_its_own_colour_as_that_allows(labels):
    colours = emotion_colours(labels.classes)
    lighter = [on_dark(colour) for colour in colours]
    for colour, light in zip(colours, lighter, strict=True):
        assert contrast(light, DARK) >= 3
        assert light == colour or contrast(light, DARK) < 3.2
    assert len(set(lighter)) == len(set(colours))


def test_contrast_is_that_of_the_recommendation():
    assert contrast("#777777", "#FFFFFF") == pytest.approx(4.48, abs=0.005)
    assert contrast("#FFFFFF", "#777777") == contrast("#777777", "#FFFFFF")


def test_a_known_emotion_has_its_colour_wherever_it_is_and_however_it_is_spelled():
    meld = ["neutral", "surprise", "fear", "sadness", "joy", "disgust", "anger"]
    of = dict(zip(meld, emotion_colours(meld), strict=True))
    shuffled = random.Random(0).sample(meld, len(meld))
    assert dict(zip(shuffled, emotion_colours(shuffled), strict=True)) == of
    assert emotion_colours(["angry", "Sad", "HAPPY "]) == [of["anger"], of["sadness"], of["joy"]]
    assert emotion_colours(["anger", "angry"])[1] != of["anger"]  # both in one set have to differ


def test_more_emotions_than_colours_get_one_each_time():
    assert len(emotion_colours([f"emotion {n}" for n in range(40)])) == 40


def test_text_on_a_colour_can_be_read():
    assert (is_light("#FFFFFF"), is_light("#000000")) == (True, False)
