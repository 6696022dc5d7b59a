"""Samples -> log-mel spectrogram in three channels, whatever padding follows them."""

from typing import Literal

import torch
from torch import Tensor, nn
from torchaudio.functional import compute_deltas
from torchaudio.transforms import MelScale, Spectrogram

from extractors.audio.augment import time_warp
from m2fnet.media.audio import RATE

CHANNELS = 3
_TOGETHER = 32  # bands computed in one product
_FLOOR = 1e-6  # ours: below the noise of a 16-bit recording, so that silence has a logarithm


class LogMel(nn.Module):
    """Log-mel spectrograms (B, 3, M, T) and their numbers of frames (B,).

    Args:
        mels: number M of mel bands.
        window: samples a frame looks at.
        hop: samples from one frame to the next.
        fft: points of the Fourier transform; more than ``window`` so that the lowest bands are not empty.
        channels: three times the same, or the spectrogram with its first and second change over time.
    """

    def __init__(
        self,
        mels: int = 128,
        window: int = 400,
        hop: int = 160,
        fft: int = 1024,
        channels: Literal["copy", "deltas"] = "deltas",
    ) -> None:
        super().__init__()
        if mels < 1 or not 1 <= hop <= window <= fft:
            raise ValueError(
                "Expected mels >= 1 and 1 <= hop <= window <= fft, "
                f"but got mels={mels}, hop={hop}, window={window}, fft={fft}."
            )
        self.hop, self.channels = hop, channels
        # zeros before and behind the sound, as padding has them: a mirror would show where the batch ends
        self.spectrum = Spectrogram(fft, window, hop, power=None, pad_mode="constant")
        # torch cuts the window out of a longer one, which safetensors refuses to save
        self.spectrum.window = self.spectrum.window.clone()
        self.mel = MelScale(mels, RATE, n_stft=fft // 2 + 1)
        self._parts = [_frequencies(part) for part in self.mel.fb.split(_TOGETHER, 1)]

    def forward(self, samples: Tensor, lengths: Tensor, tempos: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Spectrograms of samples (B, N), in each row the first of ``lengths`` (B,); what follows them does not count.

        With ``tempos`` (B, 2) they are played that fast, gliding from the first to the second, and ``lengths`` are
        those of what is heard.
        """
        frames = lengths // self.hop + 1
        with torch.autocast(samples.device.type, enabled=False):  # half precision has too little range for power
            spectrum = self.spectrum(samples.float())
            power = spectrum.real.square() + spectrum.imag.square()  # three times faster than abs of complex numbers
            bands = self._bands(power)
            if tempos is not None:
                bands = time_warp(bands, tempos, int(frames.max()))
            bands = (bands + _FLOOR).log().mT
        if self.channels == "copy":
            return bands[:, None].expand(-1, CHANNELS, -1, -1), frames
        bands = _hold_last(bands, frames)
        changes = _hold_last(compute_deltas(bands), frames)
        return torch.stack([bands, changes, compute_deltas(changes)], 1), frames

    def _bands(self, power: Tensor) -> Tensor:
        """What ``self.mel`` computes, but (B, T, M) of power (B, F, T), without most of its products with zeros."""
        parts = zip(self._parts, self.mel.fb.split(_TOGETHER, 1), strict=True)
        return torch.cat([power[:, seen].mT @ filters[seen] for seen, filters in parts], 2)


def _frequencies(filters: Tensor) -> slice:
    """From the first to the last frequency that any of the filters (F, M) lets pass."""
    seen = filters.any(1).nonzero()
    return slice(int(seen[0]), int(seen[-1]) + 1)


def _hold_last(series: Tensor, frames: Tensor) -> Tensor:
    """Series (B, M, T) that keep their last valid value, as `compute_deltas` continues one that ends there."""
    times = torch.arange(series.shape[2], device=series.device)
    times = times.minimum(frames[:, None] - 1)
    return series.gather(2, times[:, None].expand(-1, series.shape[1], -1))
