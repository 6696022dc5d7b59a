"""Mel spectrograms: torchaudio's numbers, three channels, and no trace of padding."""

import librosa
import pytest
import torch
from safetensors.torch import load_model, save_model
from torchaudio.functional import compute_deltas

from extractors.audio.log_mel import LogMel


def noise(count, seed=0):
    return 0.1 * torch.randn(count, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("channels", ["copy", "deltas"])
@pytest.mark.parametrize("count", [1, 159, 160, 5_000])
def test_what_follows_a_clip_does_not_change_it(channels, count):
    spectrogram = LogMel(channels=channels)
    clip = noise(count)
    single, frames = spectrogram(clip[None], torch.tensor([count]))
    padded = torch.cat([clip, torch.zeros(8_000)])
    batched, lengths = spectrogram(padded[None], torch.tensor([count]))
    assert frames.tolist() == lengths.tolist() == [count // 160 + 1] == [single.shape[3]]
    torch.testing.assert_close(batched[..., : frames[0]], single, atol=1e-5, rtol=0)


def test_the_bands_are_those_of_librosa():
    sound = noise(16_000) + 0.2 * torch.sin(2 * torch.pi * 220 * torch.arange(16_000) / 16_000)
    power = librosa.feature.melspectrogram(
        y=sound.numpy(), sr=16_000, n_fft=1024, win_length=400, hop_length=160, n_mels=128, pad_mode="constant",
        fmin=0.0, fmax=8_000.0, htk=True, norm=None,
    )  # fmt: skip
    bands = LogMel(channels="copy")(sound[None], torch.tensor([16_000]))[0][0, 0]
    torch.testing.assert_close(bands, torch.from_numpy(power + 1e-6).log(), atol=1e-3, rtol=0)


def test_the_channels_are_the_spectrogram_and_its_changes():
    samples, lengths = noise(8_000)[None], torch.tensor([8_000])
    bands, changes, second = LogMel()(samples, lengths)[0][0]
    torch.testing.assert_close(changes, compute_deltas(bands))
    torch.testing.assert_close(second, compute_deltas(changes))
    copied = LogMel(channels="copy")(samples, lengths)[0][0]
    assert all(torch.equal(channel, bands) for channel in copied)


def test_a_tone_lights_up_its_band_and_silence_is_finite():
    spectrogram = LogMel(channels="copy")
    lengths = torch.tensor([8_000])
    time = torch.arange(8_000) / 16_000
    low, high = (spectrogram(torch.sin(2 * torch.pi * f * time)[None], lengths)[0][0, 0, :, 25] for f in (200, 4_000))
    assert low.argmax() < high.argmax()
    assert torch.isfinite(spectrogram(torch.zeros(1, 8_000), lengths)[0]).all()


def test_it_can_be_kept_as_safetensors(tmp_path):
    spectrogram, other = LogMel(mels=20), LogMel(mels=20)
    other.spectrum.window.zero_()
    save_model(spectrogram, str(tmp_path / "mel.safetensors"))
    load_model(other, tmp_path / "mel.safetensors")
    assert torch.equal(other.spectrum.window, spectrogram.spectrum.window)


def test_no_band_of_the_default_is_empty():
    assert (LogMel().mel.fb.sum(0) > 0).all()


@pytest.mark.parametrize("settings", [{"mels": 0}, {"hop": 500}, {"window": 2_000}, {"hop": 0}])
def test_senseless_settings_are_refused(settings):
    with pytest.raises(ValueError, match="hop <= window <= fft"):
        LogMel(**settings)
