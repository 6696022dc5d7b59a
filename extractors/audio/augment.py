"""Sound as a network hears it in training: cut to one length, warped, shifted, louder or softer, noisy, masked.

Everything works on whole batches on their own device, and every random number comes from the generator passed in.
"""

import math
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from m2fnet.media.audio import RATE

Index = tuple[Tensor, Tensor]
_FRAME, _HOP = 512, 128  # of the phase vocoder: 32 and 8 ms, a quarter of a frame as it needs


@dataclass(frozen=True)
class Chance:
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
class Masks:
    """Stripes of a spectrogram that are hidden, SpecAugment, Park et al., arXiv:1904.08779.

    Attributes:
        probability: that a clip gets masks.
        bands: most mel bands a stripe covers.
        frames: most frames a stripe covers.
        count: stripes of either kind.
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
    """What is done to clips in training; each part can be left out.

    Attributes:
        stretch: tempo, 1.25 a quarter faster, at an unchanged pitch. A clip gets two, of its start and of its end, and
            glides from one to the other: time is stretched and warped.
        shift: seconds by which the sound is moved; what leaves at one end comes in at the other.
        gain: dB by which it gets louder.
        noise: white Gaussian noise, as the signal-to-noise ratio in dB.
        masks: stripes of the spectrogram that are hidden; only for networks that look at one.
    """

    stretch: Chance | None = None
    shift: Chance | None = None
    gain: Chance | None = None
    noise: Chance | None = None
    masks: Masks | None = None

    def __post_init__(self) -> None:
        if self.stretch is not None and self.stretch.low <= 0:
            raise ValueError(f"Expected stretch to be tempos above 0, but got {self.stretch}.")


def training_sound(
    samples: Tensor, lengths: Tensor, size: int, augment: Augment, generator: Generator
) -> tuple[Tensor, Tensor]:
    """A random part of each clip, augmented, and the tempos (B, 2) at which it is to be played for ``size`` samples.

    Args:
        samples: (B, N).
        lengths: (B,), how many samples of each clip count.
        size: samples that are to be heard; the parts, (B, N'), are longer where they are played faster.
        augment: what is done.
        generator: where every random number comes from.
    """
    tempos = samples.new_ones(len(samples), 2)
    if augment.stretch is not None:
        tempos = augment.stretch.draw(len(samples), 1.0, generator, values=2)
    sizes = (size * tempos.amax(1).clamp(min=1.0)).ceil().long()
    sound = cut(samples, lengths, sizes, generator)
    if augment.shift is not None:
        sound = shifted(sound, augment.shift.draw(len(samples), 0.0, generator))
    if augment.gain is not None:
        sound = sound * 10 ** (augment.gain.draw(len(samples), 0.0, generator) / 20)
    if augment.noise is not None:
        sound = noisy(sound, augment.noise.draw(len(samples), math.inf, generator), generator)
    return sound, tempos


def cut(samples: Tensor, lengths: Tensor, sizes: Tensor, generator: Generator) -> Tensor:
    """A random stretch of ``sizes`` (B,) of each clip in samples (B, N), as long as the longest; the rest goes round.

    A clip that is shorter than its size goes round too, so no training batch holds padding, and its batch statistics
    are those of sound.
    """
    places = torch.where(lengths >= sizes, lengths - sizes + 1, lengths)
    starts = (_uniform((len(samples),), generator) * places).long().minimum(places - 1)
    longest, rows = int(sizes.max()), zip(samples, lengths.tolist(), starts.tolist(), strict=True)
    return torch.stack([_round(clip[:length], start, longest) for clip, length, start in rows])


def shifted(samples: Tensor, seconds: Tensor) -> Tensor:
    """Samples (B, N) moved to the right by seconds (B, 1), going round."""
    places = (seconds[:, 0] * RATE).round().long().tolist()
    return torch.stack([clip.roll(place) for clip, place in zip(samples, places, strict=True)])


def noisy(samples: Tensor, snr_db: Tensor, generator: Generator) -> Tensor:
    """Samples (B, N) with white Gaussian noise at the signal-to-noise ratios (B, 1) in dB; infinity adds none."""
    is_chosen = snr_db[:, 0].isfinite()
    clean, result = samples[is_chosen], samples.clone()
    noise = torch.randn(clean.shape, generator=generator, device=samples.device)
    level = clean.square().mean(1, keepdim=True).sqrt() * 10 ** (-snr_db[is_chosen] / 20)
    result[is_chosen] = clean + level * noise
    return result


def played(sound: Tensor, tempos: Tensor, size: int) -> Tensor:
    """The first ``size`` samples of sound (B, N) at tempos (B, 2)."""
    is_chosen = (tempos != 1).any(1)
    result = sound[:, :size].clone()
    if is_chosen.any():
        result[is_chosen] = stretched(sound[is_chosen], tempos[is_chosen], size)
    return result


def stretched(samples: Tensor, tempos: Tensor, size: int) -> Tensor:
    """The first ``size`` samples of samples (B, N) played at tempos (B, 2), gliding from the first to the second.

    A phase vocoder (Flanagan & Golden 1966): magnitudes are read between the frames, phases go on at the rate of the
    place. With two equal tempos it is ``torchaudio.functional.phase_vocoder``, here with a tempo for each clip.
    """
    window = torch.hann_window(_FRAME, device=samples.device)
    frames = torch.stft(samples, _FRAME, _HOP, window=window, pad_mode="constant", return_complex=True).mT  # (B, T, F)
    real, imaginary = frames.real.contiguous(), frames.imag.contiguous()  # far faster than abs, angle and polar
    magnitudes, angles = torch.hypot(real, imaginary), torch.atan2(imaginary, real)
    here, after, share = _between(tempos, size // _HOP + 1, frames.shape[1])
    magnitudes = torch.lerp(magnitudes[here], magnitudes[after], share)
    angle = angles[here]
    phases = angle[:, :1] + torch.nn.functional.pad((angles[after] - angle).cumsum(1)[:, :-1], (0, 0, 1, 0))
    frames = torch.complex(magnitudes * phases.cos(), magnitudes * phases.sin())
    return torch.istft(frames.mT, _FRAME, _HOP, window=window, length=size)


def warped(spectrogram: Tensor, tempos: Tensor, count: int) -> Tensor:
    """The first ``count`` frames of spectrograms (B, T, M) at tempos (B, 2), gliding from the first to the second.

    What a network sees of a stretched sound, without its phases, at a fraction of the work.
    """
    here, after, share = _between(tempos, count, spectrogram.shape[1])
    return torch.lerp(spectrogram[here], spectrogram[after], share)


def masked(features: Tensor, masks: Masks, generator: Generator) -> Tensor:
    """Features (B, C, M, T) with stripes of bands and of frames set to the mean of their clip and channel."""
    is_chosen = _uniform((len(features), 1), generator) < masks.probability
    is_hidden = torch.zeros_like(features[:, :1], dtype=torch.bool)
    for _ in range(masks.count):
        bands = _stripe(len(features), features.shape[2], masks.bands, generator) & is_chosen
        frames = _stripe(len(features), features.shape[3], masks.frames, generator) & is_chosen
        is_hidden = is_hidden | bands[:, None, :, None] | frames[:, None, None, :]
    return torch.where(is_hidden, features.mean((2, 3), keepdim=True), features)


def _between(tempos: Tensor, count: int, frames: int) -> tuple[Index, Index, Tensor]:
    """Where ``count`` frames at tempos (B, 2) lie among ``frames``: the one before, the one after, the share (B, T, 1).

    Both come as indices of rows and frames.
    """
    time = torch.arange(count, device=tempos.device)
    first, last = tempos[:, :1], tempos[:, 1:]
    places = (first * time + (last - first) * time.square() / (2 * count)).clamp(max=frames - 1)  # the tempo's integral
    rows, before = torch.arange(len(tempos), device=tempos.device)[:, None], places.long()
    return (rows, before), (rows, (before + 1).clamp(max=frames - 1)), places.frac()[..., None]


def _round(clip: Tensor, start: int, size: int) -> Tensor:
    """``size`` samples of a clip (N,) from ``start`` on, going round."""
    rounds = -(-(start + size) // len(clip))
    return clip.repeat(rounds)[start : start + size]


def _stripe(clips: int, size: int, widest: int, generator: Generator) -> Tensor:
    """True in one stripe of each row (B, size)."""
    widths = (_uniform((clips, 1), generator) * (min(widest, size) + 1)).long()
    starts = (_uniform((clips, 1), generator) * (size - widths + 1)).long()
    positions = torch.arange(size, device=generator.device)
    return (positions >= starts) & (positions < starts + widths)


def _uniform(shape: tuple[int, ...], generator: Generator) -> Tensor:
    return torch.rand(shape, generator=generator, device=generator.device)
