"""Statistics of short, long and pitched sound."""

import math
import wave

import librosa
import numpy as np
import pytest
import torch

from extractors.audio.mel_resnet import MelResNet
from extractors.audio.mel_statistics import MelStatistics
from extractors.extraction.embedding import place_utterances
from m2fnet.manifest import Manifest
from m2fnet.records import LabelSet, Utterance


@pytest.mark.parametrize("count", [1, 399, 400, 801])
def test_any_length_of_sound_gives_finite_statistics(count):
    generator = torch.Generator().manual_seed(0)
    extractor = MelStatistics()
    short = extractor.statistics(torch.randn(count, generator=generator).clamp(-1, 1))
    assert torch.isfinite(short).all()
    assert short.shape == extractor.statistics(torch.ones(20_000)).shape


def test_pitch_statistics_follow_the_pitch():
    time = torch.arange(16_000) / 16_000
    extractor = MelStatistics()
    low, high = (extractor.statistics(0.5 * torch.sin(2 * math.pi * hertz * time)) for hertz in (110.0, 220.0))
    is_pitch = slice(-9, -8)  # mean log pitch: the first of five numbers, before the four of rhythm
    torch.testing.assert_close(high[is_pitch] - low[is_pitch], torch.tensor([math.log(2)]), atol=0.03, rtol=0)


def test_statistics_of_the_bands_and_their_energy_are_those_of_librosa():
    generator = torch.Generator().manual_seed(0)
    swell = torch.linspace(0.05, 0.5, 32_000)
    sound = swell * torch.sin(2 * math.pi * 220 * torch.arange(32_000) / 16_000)
    sound += 0.01 * torch.randn(32_000, generator=generator)
    power = librosa.feature.melspectrogram(
        y=sound.numpy(), sr=16_000, n_fft=400, hop_length=160, n_mels=40, pad_mode="reflect", htk=True, norm=None
    )
    bands, statistics = np.log(power + 1e-7), MelStatistics().statistics(sound).numpy()
    percentiles = np.quantile(bands, (0.1, 0.5, 0.9), axis=1).flatten()
    changes = np.diff(bands)
    expected = np.concatenate([bands.mean(1), bands.std(1), percentiles, changes.std(1), np.abs(changes).mean(1)])
    np.testing.assert_allclose(statistics[: 7 * 40], expected, atol=2e-3)
    # the mel filters together pass about everything, so their energy follows the root mean square
    rms = np.log(librosa.feature.rms(y=sound.numpy(), frame_length=400, hop_length=160, pad_mode="reflect")[0] ** 2)
    _, deviation, low, _, high = statistics[7 * 40 : 7 * 40 + 5]
    assert deviation == pytest.approx(rms.std(), rel=0.05)
    assert high - low == pytest.approx(np.subtract(*np.quantile(rms, (0.9, 0.1))), rel=0.05)


def test_the_pitch_of_pyin_is_taken_where_it_is_asked_for():
    time = torch.arange(16_000) / 16_000
    sound = 0.5 * torch.sin(2 * math.pi * 217 * time)
    hertz, _, _ = librosa.pyin(sound.numpy(), fmin=60, fmax=500, sr=16_000)
    found = {method: MelStatistics(pitch=method).statistics(sound)[-9].exp().item() for method in ("fast", "pyin")}
    assert found["pyin"] == pytest.approx(np.nanmean(hertz), rel=0.003)
    assert found["fast"] == pytest.approx(np.nanmean(hertz), rel=0.02)
    assert found["fast"] != found["pyin"]


@pytest.mark.parametrize(("max_seconds", "cut"), [(5.0, 0), (2.0, 0), (1.4, 1), (0.5, 2)])
def test_what_is_cut_off_is_counted_in_seconds_rounded_up(tmp_path, max_seconds, cut):
    with wave.open(str(tmp_path / "a.wav"), "wb") as file:
        file.setparams((1, 2, 16_000, 0, "NONE", ""))
        file.writeframes(b"\x00\x10\x00\xf0" * 16_000)
    utterance = Utterance("a", "toy", "train", "d", 0, audio="a.wav")
    manifest = Manifest("toy", LabelSet("toy", ("joy", "anger")), (utterance,), root=tmp_path)
    (placed,) = place_utterances(manifest)
    for extractor in (MelStatistics(max_seconds=max_seconds), MelResNet(crop_seconds=0.5, max_seconds=max_seconds)):
        assert extractor.preprocess(placed)["cut_seconds"] == cut


@pytest.mark.parametrize("settings", [{"width": 0}, {"mels": 1}, {"max_seconds": 0.0}, {"max_seconds": math.inf}])
def test_senseless_settings_are_refused(settings):
    with pytest.raises(ValueError, match="Expected"):
        MelStatistics(**settings)
