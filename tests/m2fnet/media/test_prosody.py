"""Pitch and energy against librosa, on tones, on sounds like speech and on nothing at all."""

import math
import subprocess
import sys

import librosa
import numpy as np
import pytest
import torch
from scipy.signal import lfilter

from m2fnet.media.prosody import HIGHEST, HOP_SECONDS, LOWEST, WINDOW_SECONDS, energy, pitch

RATE = 16_000


def tone(hertz, seconds=1.0, rate=RATE):
    return 0.5 * torch.sin(2 * math.pi * hertz * torch.arange(int(seconds * rate)) / rate)


def speech_like(seconds=2.0, low=110.0, high=180.0):
    """A glottal pulse train whose pitch rises, through two formants, then half a second of breath; and its pitch."""
    count = int(seconds * RATE)
    hertz = np.geomspace(low, high, count)
    pulses = (np.diff(np.floor(np.cumsum(hertz) / RATE), prepend=0) > 0).astype(float)
    for centre, width in ((700, 130), (1_200, 170)):
        radius = math.exp(-math.pi * width / RATE)
        pulses = lfilter([1.0], [1.0, -2 * radius * math.cos(2 * math.pi * centre / RATE), radius**2], pulses)
    rng = np.random.default_rng(0)
    voice = pulses / np.abs(pulses).max() + 0.003 * rng.standard_normal(count)
    sound = np.concatenate([0.5 * voice, 0.05 * rng.standard_normal(RATE // 2)])
    return torch.from_numpy(sound).float(), hertz


def centres(frames):
    """Samples in the middle of each frame."""
    return (RATE * (WINDOW_SECONDS / 2 + HOP_SECONDS * np.arange(frames))).astype(int)


@pytest.mark.parametrize("method", ["fast", "pyin"])
@pytest.mark.parametrize("hertz", [80.0, 123.0, 220.0, 440.0])
def test_the_pitch_of_a_tone(method, hertz):
    found = pitch(tone(hertz), RATE, method)
    assert len(found) == 48
    assert found.isfinite().float().mean() > 0.9
    allowed = 0.03 if method == "fast" else 0.01  # the fast one finds whole samples, and its window favours short ones
    assert (found / hertz - 1).abs().nan_to_num(0).max() < allowed


def test_the_fast_pitch_of_a_sound_like_speech_is_close_to_pyin():
    sound, truth = speech_like()
    fast, reference = pitch(sound, RATE), pitch(sound, RATE, "pyin")
    assert fast.shape == reference.shape
    both = fast.isfinite() & reference.isfinite()
    assert both.float().mean() > 0.6
    assert ((fast / reference)[both].log2().abs() < 1 / 12).float().mean() > 0.95  # a semitone
    middle = centres(len(fast))
    is_voice = torch.from_numpy(middle < len(truth) - RATE // 20)
    expected = torch.from_numpy(truth[np.minimum(middle, len(truth) - 1)]).float()
    for found in (fast, reference):
        right = ((found / expected).log2().abs() < 1 / 12)[is_voice & found.isfinite()]
        assert right.float().mean() > 0.95
    assert fast[-20:].isnan().all()  # breath


def test_pyin_is_librosas_on_our_frames():
    sound = speech_like()[0][:32_000]
    size = 2 * math.ceil(2 * RATE / LOWEST)
    hertz, _, _ = librosa.pyin(
        sound.numpy(), fmin=LOWEST, fmax=HIGHEST, sr=RATE, frame_length=size, hop_length=320, center=True
    )
    found = pitch(sound, RATE, "pyin")
    # librosa's frames are centred on multiples of 320 samples, ours on 400 more than that
    there = np.interp(400 + 320 * np.arange(len(found)), 320 * np.arange(len(hertz)), hertz)
    both = np.isfinite(there) & found.isfinite().numpy()
    assert both.mean() > 0.6
    np.testing.assert_allclose(found.numpy()[both], there[both], rtol=0.02)


@pytest.mark.parametrize("rate", [8_000, 22_050])
def test_other_rates_have_the_same_frames(rate):
    found = pitch(tone(200, rate=rate), rate)
    assert abs(len(found) - 48) <= 1
    assert found.nanmedian().item() == pytest.approx(200, rel=0.02)


def test_energy_is_librosas_root_mean_square():
    sound, _ = speech_like()
    rms = librosa.feature.rms(y=sound.numpy(), frame_length=800, hop_length=320, center=False)[0]
    expected = librosa.amplitude_to_db(rms, ref=1.0, amin=1e-5, top_db=None)
    np.testing.assert_allclose(energy(sound, RATE).numpy(), expected, atol=1e-3)
    assert len(energy(sound, RATE)) == len(pitch(sound, RATE))


@pytest.mark.parametrize("count", [0, 1, 799, 800, 1_119, 1_120])
@pytest.mark.parametrize("method", ["fast", "pyin"])
def test_silence_of_any_length_is_unvoiced_and_has_the_lowest_energy(count, method):
    found, level = pitch(torch.zeros(count), RATE, method), energy(torch.zeros(count), RATE)
    assert len(found) == len(level) == 1 + (count == 1_120)
    assert found.isnan().all()
    assert (level == -100).all()


def test_another_method_is_refused():
    with pytest.raises(ValueError, match="Expected method to be 'fast' or 'pyin', but got 'crepe'"):
        pitch(tone(200), RATE, "crepe")


def test_the_fast_pitch_does_not_import_librosa():
    code = """
import sys, torch
import extractors.audio.augment, extractors.audio.mel_statistics, extractors.audio.mel_resnet
from m2fnet.media.prosody import energy, pitch
pitch(torch.zeros(8_000), 16_000), energy(torch.zeros(8_000), 16_000)
assert not {"librosa", "numba"} & {*sys.modules}
"""
    subprocess.run([sys.executable, "-c", code], check=True)
