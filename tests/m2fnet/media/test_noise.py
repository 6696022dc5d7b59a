"""Noise in sound, pictures and words is as strong as it says, and the same each time."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter

from m2fnet.media.noise import Noise, words_of

VOICE = 0.1 * torch.sin(torch.arange(48_000) / 7)


@pytest.mark.parametrize("level", [20.0, 0.0, -10.0])
def test_sound_has_the_ratio_that_was_asked_for(level):
    heard = Noise("audio", level).heard(VOICE, "a")
    added = heard - VOICE * (heard @ VOICE) / (VOICE @ VOICE)  # what is no multiple of the voice
    signal = heard - added
    assert 20 * torch.log10(signal.norm() / added.norm()) == pytest.approx(level, abs=0.2)
    assert heard.abs().max() <= 1


def test_the_same_utterance_gets_the_same_noise_and_another_one_another():
    noise = Noise("audio", 0.0)
    assert torch.equal(noise.heard(VOICE, "a"), noise.heard(VOICE, "a"))
    assert not torch.equal(noise.heard(VOICE, "a"), noise.heard(VOICE, "b"))
    assert not torch.equal(noise.heard(VOICE, "a"), Noise("audio", 0.0, seed=1).heard(VOICE, "a"))


@pytest.mark.parametrize("level", [1.0, 4.0])
def test_pictures_are_blurred_as_by_another_library(level):
    frames = torch.randint(0, 256, (2, 100, 120, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    seen = Noise("visual", level).seen(frames)
    sigma = level / 100 * 100
    expected = gaussian_filter(frames.numpy().astype(float), (0, sigma, sigma, 0), mode="mirror", truncate=3)
    assert seen.dtype == torch.uint8
    assert abs(seen.numpy() - expected).max() <= 1.5


def test_a_tiny_picture_is_blurred_as_far_as_it_goes():
    frames = torch.zeros(1, 2, 3, 3, dtype=torch.uint8)
    frames[0, 0] = 255
    assert Noise("visual", 100.0).seen(frames).float().std() < frames.float().std()
    assert torch.equal(Noise("visual", 100.0).seen(frames[:, :1]), frames[:, :1])


@settings(deadline=None)
@given(st.text(), st.floats(0, 100), st.floats(0, 100))
def test_more_words_are_replaced_at_a_higher_level_and_signs_stay(text, one, other):
    low, high = (Noise("text", level, words=("NOISE",)).read(text, "a") for level in sorted((one, other)))
    assert low.count("NOISE") <= high.count("NOISE") <= len(words_of([text])) + text.count("NOISE")
    assert Noise("text", 0.0, words=("NOISE",)).read(text, "a") == text
    assert words_of([Noise("text", 100.0, words=("NOISE",)).read(text, "a")]) == ("NOISE",) * len(words_of([text]))


def test_noise_in_one_modality_leaves_the_others():
    frames = torch.randint(0, 256, (1, 8, 8, 3), dtype=torch.uint8)
    assert torch.equal(Noise("audio", 0.0).seen(frames), frames)
    assert torch.equal(Noise("visual", 8.0).heard(VOICE, "a"), VOICE)
    assert Noise("audio", 0.0, words=("no",)).read("yes", "a") == "yes"
