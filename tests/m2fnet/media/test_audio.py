"""Sound against a reference tone: any rate, any channels, spans, and sound without content."""

import numpy as np
import pytest
import torch
from tiny_media import tone, write_clip, write_sound

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


@pytest.mark.parametrize("suffix", [".wav", ".mkv", ".mp3"])  # the last tells no length, FFmpeg guesses it
def test_a_long_file_is_read_up_to_the_limit_and_the_rest_is_counted(tmp_path, suffix):
    codec = {".mp3": "libmp3lame", ".mkv": "flac", ".wav": "pcm_s16le"}[suffix]
    path = write_sound(tmp_path / f"a{suffix}", tone(seconds=5), codec=codec)
    sound = read_audio(path, max_seconds=2)
    assert len(sound.samples) == 2 * RATE
    assert sound.cut_s == pytest.approx(3, abs=0.2)
    assert read_audio(path, span=(1.0, 4.0), max_seconds=2).cut_s == pytest.approx(1)
    assert read_audio(path, span=(1.0, 3.0), max_seconds=2).cut_s == 0
    assert read_audio(path).cut_s == 0


@pytest.mark.parametrize(
    ("suffix", "codec"), [(".mp4", "aac"), (".avi", "libmp3lame"), (".flac", "flac"), (".mkv", "ac3")]
)
def test_a_span_far_inside_is_that_of_the_whole(tmp_path, suffix, codec):
    rate = 48_000
    time = np.arange(20 * rate) / rate
    sweep = 0.4 * np.sin(2 * np.pi * (100 + 4 * time) * time)
    path = write_sound(tmp_path / f"a{suffix}", sweep.astype(np.float32)[None], rate=rate, codec=codec)
    whole = read_audio(path).samples
    for start in (0.02, 0.49, 7.3, 15.1):
        cut = read_audio(path, span=(start, start + 2)).samples
        same = whole[round(start * RATE) : round((start + 2) * RATE)]
        assert len(cut) == len(same)
        shifted = [(cut[9:-9] - same[9 + by : len(same) - 9 + by]).abs().max() for by in range(-9, 10)]
        assert min(shifted) < 0.03  # the same but for half a millisecond, the precision of Matroska's time stamps


def test_half_packets_after_a_jump_are_passed_over(tmp_path):
    """A programme stream lets a jump end in the middle of a packet of sound."""
    path = write_clip(tmp_path / "clip.mpg", seconds=6, codecs=("mpeg2video", "mp2"), fps=25)
    for start in (0.0, 0.7, 1.3, 2.9, 4.0):
        samples = read_audio(path, span=(start, start + 1.5)).samples
        assert len(samples) == pytest.approx(1.5 * RATE, abs=0.05 * RATE)
        assert torch.fft.rfft(samples[:RATE]).abs().argmax() == 440


def test_a_span_that_the_file_does_not_hold_is_named(tmp_path):
    path = write_sound(tmp_path / "a.wav", tone(seconds=3))
    assert len(read_audio(path, span=(1.0, 3.1)).samples) == 2 * RATE  # a small deviation
    with pytest.raises(MediaError, match="span: the span continues after the end of the sound"):
        read_audio(path, span=(1.0, 4.0))
    with pytest.raises(MediaError, match="span: the span begins after the end of the sound"):
        read_audio(path, span=(3.5, 4.0))


@pytest.mark.parametrize("share", [0.3, 0.5, 0.8])
def test_sound_that_is_shorter_than_declared_is_named(tmp_path, share):
    path = write_sound(tmp_path / "a.mkv", tone(seconds=4), codec="pcm_s16le")
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    with pytest.raises(MediaError, match="decode: the sound is shorter than declared"):
        read_audio(path)


def test_one_sample_is_sound(tmp_path):
    assert len(read_audio(write_sound(tmp_path / "a.wav", np.full((1, 1), 0.5, np.float32))).samples) == 1


@pytest.mark.parametrize(
    ("samples", "reason"),
    [(np.zeros((1, RATE), np.float32), "silent"), (np.full((1, RATE), np.nan, np.float32), "NaN")],
)
def test_sound_without_content_is_named(tmp_path, samples, reason):
    with pytest.raises(MediaError, match=reason):
        read_audio(write_sound(tmp_path / "a.wav", samples))
