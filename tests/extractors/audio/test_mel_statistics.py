"""Statistics of short, long and pitched sound."""

import math
import wave

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
