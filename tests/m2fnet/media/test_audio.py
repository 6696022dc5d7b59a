"""Sound against a reference tone: any rate, any channels, spans, and sound without content."""

import numpy as np
import pytest
import torch
from tiny_media import tone, write_sound

from m2fnet.errors import MediaError
from m2fnet.media.audio import RATE, read_audio


@pytest.mark.parametrize(
    ("rate", "channels", "layout"),
    [(16_000, 1, "mono"), (8_000, 1, "mono"), (44_100, 2, "stereo"), (48_000, 6, "5.1")],
)
def test_sound_of_any_rate_and_layout_becomes_the_same_tone(tmp_path, rate, channels, layout):
    path = write_sound(tmp_path / "a.wav", tone(rate=rate, channels=channels), rate=rate, layout=layout)
    samples = read_audio(path).samples
    assert abs(len(samples) - RATE) <= 32
    spectrum = torch.fft.rfft(samples[:RATE], RATE).abs()
    assert int(spectrum.argmax()) == 440
    assert samples[2000:-2000].abs().max() == pytest.approx(0.5, abs=0.01)


def test_channels_are_averaged(tmp_path):
    left, right = tone(level=0.6), tone(level=0.2)
    samples = read_audio(write_sound(tmp_path / "a.wav", np.concatenate([left, right]), layout="stereo")).samples
    torch.testing.assert_close(samples, torch.from_numpy(tone(level=0.4)[0]), atol=2e-3, rtol=0)


def test_a_span_is_cut_to_the_sample(tmp_path):
    ramp = np.linspace(0.0, 0.9, 3 * RATE, dtype=np.float32)[None]
    path = write_sound(tmp_path / "a.wav", ramp)
    samples = read_audio(path, span=(1.25, 2.0)).samples
    torch.testing.assert_close(samples, torch.from_numpy(ramp[0, int(1.25 * RATE) : 2 * RATE]), atol=1e-4, rtol=0)


def test_a_long_file_is_read_only_up_to_the_limit(tmp_path):
    path = write_sound(tmp_path / "a.wav", tone(seconds=5))
    assert len(read_audio(path, max_seconds=2).samples) == 2 * RATE


def test_one_sample_is_sound(tmp_path):
    assert len(read_audio(write_sound(tmp_path / "a.wav", np.full((1, 1), 0.5, np.float32))).samples) == 1


@pytest.mark.parametrize(
    ("samples", "reason"),
    [(np.zeros((1, RATE), np.float32), "silent"), (np.full((1, RATE), np.nan, np.float32), "NaN")],
)
def test_sound_without_content_is_named(tmp_path, samples, reason):
    with pytest.raises(MediaError, match=reason):
        read_audio(write_sound(tmp_path / "a.wav", samples))
