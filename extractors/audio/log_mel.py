"""Samples -> log-mel spectrogram in three channels, whatever padding lies behind them."""

from typing import Literal

import torch
from torch import Tensor, nn
from torchaudio.functional import compute_deltas
from torchaudio.transforms import MelSpectrogram

from m2fnet.media.audio import RATE

CHANNELS = 3
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
        self.mel = MelSpectrogram(RATE, fft, window, hop, n_mels=mels, pad_mode="constant")

    def forward(self, samples: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Spectrograms of samples (B, N), in each row the first of ``lengths`` (B,); behind them anything stands."""
        with torch.autocast(samples.device.type, enabled=False):  # half precision has too little range for power
            bands = (self.mel(samples.float()) + _FLOOR).log()
        frames = lengths // self.hop + 1
        if self.channels == "copy":
            return bands[:, None].expand(-1, CHANNELS, -1, -1), frames
        bands = _hold_last(bands, frames)
        changes = _hold_last(compute_deltas(bands), frames)
        return torch.stack([bands, changes, compute_deltas(changes)], 1), frames


def _hold_last(series: Tensor, frames: Tensor) -> Tensor:
    """Series (B, M, T) that keep their last valid value, as `compute_deltas` continues one that ends there."""
    times = torch.arange(series.shape[2], device=series.device)
    times = times.minimum(frames[:, None] - 1)
    return series.gather(2, times[:, None].expand(-1, series.shape[1], -1))
