"""The spectrogram of an utterance: what is drawn is where the sound is, in every length, and wrong input is refused."""

from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from m2fnet.plots.spectrogram import spectrogram
from m2fnet.plots.style import DARK, dark, rendered

RATE = 16_000


def tone(hz, seconds):
    return np.sin(2 * np.pi * hz * np.arange(round(seconds * RATE)) / RATE)


def test_a_tone_is_the_brightest_at_its_frequency_and_the_tracks_span_its_time():
    figure = spectrogram(tone(440, 2), RATE, np.full(200, 440.0), np.linspace(-20, -10, 200), title="a tone")
    upper, lower, _ = figure.axes
    (mesh,) = upper.collections
    bands = np.asarray(mesh.get_array()).reshape(mesh.get_coordinates().shape[0] - 1, -1)
    frequencies = mesh.get_coordinates()[:, 0, 1]
    loudest = bands[:, 50:150].mean(1).argmax()
    assert frequencies[loudest] <= 440 <= frequencies[loudest + 1]
    assert upper.get_title() == "a tone"
    times, values = lower.lines[0].get_data()
    assert (times[0], times[-1]) == pytest.approx((0.005, 1.995))
    assert list(values) == pytest.approx(np.linspace(-20, -10, 200), abs=1e-4)
    assert lower.get_xlim() == pytest.approx((0, 2))


@pytest.mark.parametrize("seconds", [0.02, 0.4, 15])
def test_any_length_and_a_sound_without_pitch_is_drawn(seconds):
    frames = max(1, round(100 * seconds))
    figure = spectrogram(tone(200, seconds), RATE, np.full(frames, np.nan), np.zeros(frames))
    assert figure.legends == []
    assert rendered(figure, "png").startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("samples", "pitch", "rate"),
    [
        (np.zeros((2, 100)), np.zeros(3), RATE),
        (np.zeros(0), np.zeros(3), RATE),
        (np.zeros(9), np.zeros(0), RATE),
        (np.zeros(9), np.zeros(3), 0),
        (np.zeros(9), np.zeros(4), RATE),
    ],
)
def test_what_is_no_sound_is_refused(samples, pitch, rate):
    with pytest.raises(ValueError, match=r"Expected samples of shape \(N,\)"):
        spectrogram(samples, rate, pitch, np.zeros(3))


def test_in_the_dark_ground_and_ink_change_and_the_sound_does_not():
    def pictures():
        figure = spectrogram(tone(440, 1), RATE, np.full(9, 440.0), np.full(9, -10.0))
        with Image.open(BytesIO(rendered(figure, "png"))) as picture:
            return np.asarray(picture.convert("RGB"))

    by_day = pictures()
    with dark():
        by_night = pictures()
    assert by_day[0, 0].tolist() == [255] * 3
    assert "#" + by_night[0, 0].tobytes().hex() == DARK
    middle = tuple(side // 3 for side in by_day.shape[:2])
    assert by_day[middle].tolist() == by_night[middle].tolist()
    assert pictures()[0, 0].tolist() == [255] * 3  # afterwards it is day again
