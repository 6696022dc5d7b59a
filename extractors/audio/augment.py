"""Augmentation of sound: random crops, shifts, time stretch and warp, pitch, gain, noise, SpecAugment.

Everything works on whole batches on their device, except the pitch shift, which works clip by clip on the CPU. Every
random number comes from the generator passed in.
"""

import math
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from m2fnet.media.audio import RATE

_FRAME, _HOP = 512, 128  # of the phase vocoder: 32 and 8 ms, a quarter of a frame as it needs
_PITCH_FRAME = 1024  # of librosa's: 64 ms, shorter than the shortest crop


@dataclass(frozen=True)
class RandomValue:
    """A value that is drawn evenly from a range, for a share of the clips.

    Attributes:
        probability: that a clip gets a value from the range.
        low: lower end of the range.
        high: upper end.
    """

    probability: float
    low: float
    high: float

    def __post_init__(self) -> None:
        if not 0 <= self.probability <= 1 or not -math.inf < self.low <= self.high < math.inf:
            raise ValueError(f"Expected a probability in 0..1 and low <= high, but got {self}.")

    def draw(self, clips: int, otherwise: float, generator: Generator, values: int = 1) -> Tensor:
        """Values (B, V), or ``otherwise`` in the rows of clips that get none."""
        is_chosen = _uniform((clips, 1), generator) < self.probability
        drawn = self.low + (self.high - self.low) * _uniform((clips, values), generator)
        return torch.where(is_chosen, drawn, otherwise)


@dataclass(frozen=True)
class SpecAugment:
    """How stripes of a spectrogram are masked: SpecAugment, Park et al., arXiv:1904.08779.

    Attributes:
        probability: that a clip is masked.
        bands: largest number of mel bands that a stripe covers.
        frames: largest number of frames that a stripe covers.
        count: stripes of bands, and stripes of frames.
    """

    probability: float
    bands: int
    frames: int
    count: int = 1

    def __post_init__(self) -> None:
        if not 0 <= self.probability <= 1 or min(self.bands, self.frames, self.count) < 0:
            raise ValueError(f"Expected a probability in 0..1 and sizes of at least 0, but got {self}.")


@dataclass(frozen=True)
class Augment:
    """How clips are augmented in training; what is None is skipped.

    Attributes:
        stretch: tempo, 1.25 a quarter faster, at an unchanged pitch. A clip gets two, of its start and of its end, and
            glides from one to the other: time is stretched and warped.
        shift: seconds by which the sound is moved; what leaves at one end comes in at the other.
        gain: dB by which it gets louder.
        noise: white Gaussian noise, as the signal-to-noise ratio in dB.
        masks: SpecAugment; only for networks that see a spectrogram.
        pitch: semitones by which the pitch is moved, at an unchanged tempo. It costs far more than the rest together,
            see `pitch_shift`.
    """

    stretch: RandomValue | None = None
    shift: RandomValue | None = None
    gain: RandomValue | None = None
    noise: RandomValue | None = None
    masks: SpecAugment | None = None
    pitch: RandomValue | None = None

    def __post_init__(self) -> None:
        if self.stretch is not None and self.stretch.low <= 0:
            raise ValueError(f"Expected stretch to be tempos above 0, but got {self.stretch}.")


def augment_waveforms(
    samples: Tensor, lengths: Tensor, size: int, augment: Augment, generator: Generator
) -> tuple[Tensor, Tensor]:
    """A random part of each clip, augmented, and the tempos (B, 2) that `time_stretch` plays it at.

    Args:
        samples: (B, N).
        lengths: (B,), the number of valid samples of each clip.
        size: samples after the time stretch; the parts, (B, N'), are longer where they are played faster.
        augment: what is done.
        generator: where every random number comes from.
    """
    tempos = samples.new_ones(len(samples), 2)
    if augment.stretch is not None:
        tempos = augment.stretch.draw(len(samples), 1.0, generator, values=2)
    sizes = (size * tempos.amax(1).clamp(min=1.0)).ceil().long()
    sound = random_crop(samples, lengths, sizes, generator)
    if augment.pitch is not None:
        sound = pitch_shift(sound, augment.pitch.draw(len(samples), 0.0, generator))
    if augment.shift is not None:
        sound = time_shift(sound, augment.shift.draw(len(samples), 0.0, generator))
    if augment.gain is not None:
        sound = sound * 10 ** (augment.gain.draw(len(samples), 0.0, generator) / 20)
    if augment.noise is not None:
        sound = add_noise(sound, augment.noise.draw(len(samples), math.inf, generator), generator)
    return sound, tempos


def random_crop(samples: Tensor, lengths: Tensor, sizes: Tensor, generator: Generator) -> Tensor:
    """A random part of ``sizes`` (B,) of each clip in samples (B, N), as long as the longest; the rest goes round.

    A clip that is shorter than its size goes round too, so no training batch holds padding, and its batch statistics
    are those of sound.

    Example:
        >>> clip = torch.arange(3.0)[None]
        >>> random_crop(clip, torch.tensor([3]), torch.tensor([5]), torch.Generator().manual_seed(0))
        tensor([[1., 2., 0., 1., 2.]])
    """
    places = torch.where(lengths >= sizes, lengths - sizes + 1, lengths)
    starts = (_uniform((len(samples),), generator) * places).long().minimum(places - 1)
    longest = int(sizes.max())
    crops = []
    for clip, length, start in zip(samples, lengths.tolist(), starts.tolist(), strict=True):
        rounds = -(-(start + longest) // length)
        crops.append(clip[:length].repeat(rounds)[start : start + longest])
    return torch.stack(crops)


def time_shift(samples: Tensor, seconds: Tensor) -> Tensor:
    """Samples (B, N) moved to the right by seconds (B, 1), going round."""
    places = (seconds[:, 0] * RATE).round().long().tolist()
    return torch.stack([clip.roll(place) for clip, place in zip(samples, places, strict=True)])


def pitch_shift(samples: Tensor, semitones: Tensor) -> Tensor:
    """Samples (B, N) with their pitch moved up by semitones (B, 1), at an unchanged tempo; 0 changes nothing.

    It is `librosa.effects.pitch_shift`, a phase vocoder and a resampling, clip by clip on the CPU: about 25 ms for a
    crop of 4 s.

    Example:
        >>> tone = torch.sin(2 * math.pi * 400 * torch.arange(16_000) / RATE)
        >>> higher = pitch_shift(tone[None], torch.tensor([[12.0]]))  # an octave
        >>> torch.fft.rfft(higher[0]).abs().argmax().item()
        800
    """
    shifts = semitones[:, 0].tolist()
    if not any(shifts):
        return samples
    from librosa import effects  # slow to import

    clips = [
        torch.from_numpy(effects.pitch_shift(clip.numpy(), sr=RATE, n_steps=shift, n_fft=_PITCH_FRAME))
        if shift
        else clip
        for clip, shift in zip(samples.cpu(), shifts, strict=True)
    ]
    return torch.stack(clips).to(samples)


def add_noise(samples: Tensor, snr_db: Tensor, generator: Generator) -> Tensor:
    """Samples (B, N) with white Gaussian noise at the signal-to-noise ratios (B, 1) in dB; infinity adds none."""
    is_chosen = snr_db[:, 0].isfinite()
    clean, result = samples[is_chosen], samples.clone()
    noise = torch.randn(clean.shape, generator=generator, device=samples.device)
    level = clean.square().mean(1, keepdim=True).sqrt() * 10 ** (-snr_db[is_chosen] / 20)
    result[is_chosen] = clean + level * noise
    return result


def time_stretch(sound: Tensor, tempos: Tensor, size: int) -> Tensor:
    """The first ``size`` samples of sound (B, N) played at tempos (B, 2), gliding from the first to the second.

    A phase vocoder (Flanagan & Golden 1966): magnitudes are interpolated between the frames, and phases advance at the
    rate of the place. With two equal tempos it is ``torchaudio.functional.phase_vocoder``, here with a tempo for each
    clip. Clips with both tempos 1 are only cut.
    """
    is_chosen = (tempos != 1).any(1)
    result = sound[:, :size].clone()
    if not is_chosen.any():
        return result
    window = torch.hann_window(_FRAME, device=sound.device)
    frames = torch.stft(sound[is_chosen], _FRAME, _HOP, window=window, pad_mode="constant", return_complex=True).mT
    real, imaginary = frames.real.contiguous(), frames.imag.contiguous()  # far faster than abs, angle and polar
    magnitudes, angles = torch.hypot(real, imaginary), torch.atan2(imaginary, real)  # (B, T, F)
    here, after, share = _between(tempos[is_chosen], size // _HOP + 1, frames.shape[1])
    magnitudes = torch.lerp(magnitudes[here], magnitudes[after], share)
    angle = angles[here]
    phases = angle[:, :1] + torch.nn.functional.pad((angles[after] - angle).cumsum(1)[:, :-1], (0, 0, 1, 0))
    frames = torch.complex(magnitudes * phases.cos(), magnitudes * phases.sin())
    result[is_chosen] = torch.istft(frames.mT, _FRAME, _HOP, window=window, length=size)
    return result


def time_warp(spectrogram: Tensor, tempos: Tensor, count: int) -> Tensor:
    """The first ``count`` frames of spectrograms (B, T, M) at tempos (B, 2), gliding from the first to the second.

    The spectrogram of what `time_stretch` gives, without its phases, at a fraction of the work.

    Example:
        >>> frames = torch.arange(6.0)[None, :, None]
        >>> time_warp(frames, torch.tensor([[1.5, 1.5]]), 4).flatten()
        tensor([0.0000, 1.5000, 3.0000, 4.5000])
    """
    here, after, share = _between(tempos, count, spectrogram.shape[1])
    return torch.lerp(spectrogram[here], spectrogram[after], share)


def spec_augment(features: Tensor, masks: SpecAugment, generator: Generator) -> Tensor:
    """Features (B, C, M, T) with stripes of bands and of frames set to the mean of their clip and channel."""
    is_chosen = _uniform((len(features), 1), generator) < masks.probability
    is_hidden = torch.zeros_like(features[:, :1], dtype=torch.bool)
    for _ in range(masks.count):
        bands = _stripe(len(features), features.shape[2], masks.bands, generator) & is_chosen
        frames = _stripe(len(features), features.shape[3], masks.frames, generator) & is_chosen
        is_hidden = is_hidden | bands[:, None, :, None] | frames[:, None, None, :]
    return torch.where(is_hidden, features.mean((2, 3), keepdim=True), features)


def _between(tempos: Tensor, count: int, frames: int) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor], Tensor]:
    """Where ``count`` frames at tempos (B, 2) fall among ``frames``: the one before, the one after, the share.

    Both frames come as indices of rows and frames, the share as (B, T, 1).
    """
    time = torch.arange(count, device=tempos.device)
    first, last = tempos[:, :1], tempos[:, 1:]
    places = (first * time + (last - first) * time.square() / (2 * count)).clamp(max=frames - 1)  # the tempo's integral
    rows, before = torch.arange(len(tempos), device=tempos.device)[:, None], places.long()
    return (rows, before), (rows, (before + 1).clamp(max=frames - 1)), places.frac()[..., None]


def _stripe(clips: int, size: int, widest: int, generator: Generator) -> Tensor:
    """True in one stripe of each row (B, size)."""
    widths = (_uniform((clips, 1), generator) * (min(widest, size) + 1)).long()
    starts = (_uniform((clips, 1), generator) * (size - widths + 1)).long()
    positions = torch.arange(size, device=generator.device)
    return (positions >= starts) & (positions < starts + widths)


def _uniform(shape: tuple[int, ...], generator: Generator) -> Tensor:
    return torch.rand(shape, generator=generator, device=generator.device)
