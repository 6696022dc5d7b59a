"""Sound as a network hears it in training: cut to one length, warped, shifted, louder or softer, noisy, masked.

Everything works on whole batches on their own device, and every random number comes from the generator passed in.
"""

import math
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from m2fnet.media.audio import RATE

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


def training_sound(samples: Tensor, lengths: Tensor, size: int, augment: Augment, generator: Generator) -> Tensor:
    """A random part of each clip, augmented, (B, size), from samples (B, N) of which the first (B,) lengths count."""
    clips, tempos = len(samples), samples.new_ones(len(samples), 2)
    if augment.stretch is not None:
        tempos = augment.stretch.draw(clips, 1.0, generator, values=2)
    sizes = (size * tempos.amax(1).clamp(min=1.0)).ceil().long()
    sound = _stretched(cut(samples, lengths, sizes, generator), tempos, size)
    if augment.shift is not None:
        sound = shifted(sound, augment.shift.draw(clips, 0.0, generator))
    if augment.gain is not None:
        sound = sound * 10 ** (augment.gain.draw(clips, 0.0, generator) / 20)
    if augment.noise is not None:
        sound = noisy(sound, augment.noise.draw(clips, math.inf, generator), generator)
    return sound


def cut(samples: Tensor, lengths: Tensor, sizes: Tensor, generator: Generator) -> Tensor:
    """A random stretch of ``sizes`` (B,) of each clip in samples (B, N), as long as the longest; the rest goes round.

    A clip that is shorter than its size goes round too, so no training batch holds padding, and its batch statistics
    are those of sound.
    """
    places = torch.where(lengths >= sizes, lengths - sizes + 1, lengths)
    starts = (_uniform((len(samples),), generator) * places).long().minimum(places - 1)
    positions = starts[:, None] + torch.arange(int(sizes.max()), device=samples.device)
    return samples.gather(1, positions % lengths[:, None])


def shifted(samples: Tensor, seconds: Tensor) -> Tensor:
    """Samples (B, N) moved to the right by seconds (B, 1), going round."""
    positions = torch.arange(samples.shape[1], device=samples.device) - (seconds * RATE).round().long()
    return samples.gather(1, positions % samples.shape[1])


def noisy(samples: Tensor, snr_db: Tensor, generator: Generator) -> Tensor:
    """Samples (B, N) with white Gaussian noise at the signal-to-noise ratios (B, 1) in dB; infinity adds none."""
    noise = torch.randn(samples.shape, generator=generator, device=samples.device)
    level = samples.square().mean(1, keepdim=True).sqrt() * 10 ** (-snr_db / 20)
    return samples + level * noise


def stretched(samples: Tensor, tempos: Tensor, size: int) -> Tensor:
    """The first ``size`` samples of samples (B, N) played at tempos (B, 2), gliding from the first to the second.

    A phase vocoder (Flanagan & Golden 1966): magnitudes are read between the frames, phases go on at the rate of the
    place. With two equal tempos it is ``torchaudio.functional.phase_vocoder``, here with a tempo for each clip.
    """
    window = torch.hann_window(_FRAME, device=samples.device)
    frames = torch.stft(samples, _FRAME, _HOP, window=window, pad_mode="constant", return_complex=True).mT  # (B, T, F)
    time = torch.arange(size // _HOP + 1, device=samples.device)
    first, last = tempos[:, :1], tempos[:, 1:]
    places = first * time + (last - first) * time.square() / (2 * len(time))  # the integral of the tempo
    places = places.clamp(max=frames.shape[1] - 1.001)
    rows = torch.arange(len(samples), device=samples.device)[:, None], places.long()
    next_rows = rows[0], rows[1] + 1
    real, imaginary = frames.real.contiguous(), frames.imag.contiguous()  # far faster than abs, angle and polar
    magnitudes, angles = torch.hypot(real, imaginary), torch.atan2(imaginary, real)
    magnitudes = torch.lerp(magnitudes[rows], magnitudes[next_rows], places.frac()[..., None])
    here = angles[rows]
    phases = here[:, :1] + torch.nn.functional.pad((angles[next_rows] - here).cumsum(1)[:, :-1], (0, 0, 1, 0))
    frames = torch.complex(magnitudes * phases.cos(), magnitudes * phases.sin())
    return torch.istft(frames.mT, _FRAME, _HOP, window=window, length=size)


def masked(features: Tensor, masks: Masks, generator: Generator) -> Tensor:
    """Features (B, C, M, T) with stripes of bands and of frames set to the mean of their clip and channel."""
    is_chosen = _uniform((len(features), 1), generator) < masks.probability
    is_hidden = torch.zeros_like(features[:, :1], dtype=torch.bool)
    for _ in range(masks.count):
        bands = _stripe(len(features), features.shape[2], masks.bands, generator) & is_chosen
        frames = _stripe(len(features), features.shape[3], masks.frames, generator) & is_chosen
        is_hidden = is_hidden | bands[:, None, :, None] | frames[:, None, None, :]
    return torch.where(is_hidden, features.mean((2, 3), keepdim=True), features)


def _stretched(sound: Tensor, tempos: Tensor, size: int) -> Tensor:
    """The clips that have another tempo than 1 stretched, the others only cut to ``size``."""
    is_chosen = (tempos != 1).any(1)
    result = sound[:, :size].clone()
    if is_chosen.any():
        result[is_chosen] = stretched(sound[is_chosen], tempos[is_chosen], size)
    return result


def _stripe(clips: int, size: int, widest: int, generator: Generator) -> Tensor:
    """True in one stripe of each row (B, size)."""
    widths = (_uniform((clips, 1), generator) * (min(widest, size) + 1)).long()
    starts = (_uniform((clips, 1), generator) * (size - widths + 1)).long()
    positions = torch.arange(size, device=generator.device)
    return (positions >= starts) & (positions < starts + widths)


def _uniform(shape: tuple[int, ...], generator: Generator) -> Tensor:
    return torch.rand(shape, generator=generator, device=generator.device)
