"""Pitch and energy of a sound over time, on the same frames: 50 ms every 20 ms, without padding at the edges.

Frame ``t`` begins at ``t * HOP_SECONDS``. A sound that is shorter than a frame is filled up with silence and has one.
"""

import math
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

WINDOW_SECONDS = 0.05  # two periods of the lowest voice
HOP_SECONDS = 0.02
LOWEST, HIGHEST = 60.0, 500.0  # Hz, the range of speaking voices
SILENCE_DB = -100.0

Pitch = Literal["fast", "pyin"]

_VOICED = 0.45  # share of a frame's energy that repeats after one period (ours)


def pitch(samples: Tensor, rate: int, method: Pitch = "fast") -> Tensor:
    """Pitch in Hz (T,) of samples (N,) at ``rate`` Hz, NaN where a frame is unvoiced.

    Args:
        samples: one channel.
        rate: samples per second.
        method: ``fast`` takes the highest peak of each frame's autocorrelation, to whole samples; of pure tones below
            75 Hz, which no voice is, it finds 500 Hz. ``pyin`` is probabilistic YIN (Mauch and Dixon, ICASSP 2014) as
            librosa has it: it follows the pitch from frame to frame and makes fewer errors of an octave, at some two
            hundred times the cost.

    Raises:
        ValueError: for another method.

    Example:
        >>> import math, torch
        >>> time = torch.arange(8_000) / 16_000
        >>> hertz = pitch(0.5 * torch.sin(2 * math.pi * 200 * time), 16_000)
        >>> hertz.shape, hertz.median().item()
        (torch.Size([23]), 200.0)
        >>> pitch(torch.zeros(8_000), 16_000).isnan().all().item()
        True
    """
    if method not in ("fast", "pyin"):
        raise ValueError(f"Expected method to be 'fast' or 'pyin', but got {method!r}.")
    window, hop = round(WINDOW_SECONDS * rate), round(HOP_SECONDS * rate)
    samples = F.pad(samples, (0, max(0, window - len(samples))))
    if method == "pyin":
        import librosa  # slow to import

        # pYIN looks at more samples than a frame has: as many on either side keep its frames centred on ours
        size = 2 * math.ceil(2 * rate / LOWEST)
        around = F.pad(samples, ((size - window) // 2, size - window - (size - window) // 2))
        hertz, _, _ = librosa.pyin(
            around.numpy(), fmin=LOWEST, fmax=HIGHEST, sr=rate, frame_length=size, hop_length=hop, center=False
        )
        return torch.from_numpy(hertz).float()
    frames = samples.unfold(0, window, hop) * torch.hann_window(window)
    correlation = torch.fft.irfft(torch.fft.rfft(frames, 2 * window).abs().square())
    shortest, longest = int(rate / HIGHEST), int(rate / LOWEST)
    height, lag = correlation[:, shortest:longest].max(1)
    is_voiced = height > _VOICED * correlation[:, 0].clamp_min(1e-6)
    return torch.where(is_voiced, rate / (lag + shortest), torch.nan)


def energy(samples: Tensor, rate: int) -> Tensor:
    """Energy (T,) of samples (N,) in -1..1 at ``rate`` Hz: each frame's root mean square in dB of full scale.

    Silence has -100 dB.

    Example:
        >>> import torch
        >>> energy(torch.full((1_600,), 0.1), 16_000)
        tensor([-20., -20., -20.])
    """
    window, hop = round(WINDOW_SECONDS * rate), round(HOP_SECONDS * rate)
    samples = F.pad(samples, (0, max(0, window - len(samples))))
    rms = samples.unfold(0, window, hop).square().mean(1).sqrt()
    return (20 * rms.log10()).clamp(min=SILENCE_DB)
