"""Statistics of log-mel bands, pitch and loudness over an utterance: the embedded audio extractor and its baseline."""

import math
from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor
from torchaudio.transforms import MelSpectrogram

from extractors.audio.sound import utterance_sound
from extractors.base import FittedExtractor, PlacedUtterance, Sample
from extractors.layers.pca import Projection
from extractors.layers.scaling import Scaling
from m2fnet.media.audio import RATE
from m2fnet.media.prosody import WINDOW_SECONDS, Pitch, pitch
from m2fnet.records import Modality

WINDOW, HOP = 400, 160  # M2FNet, arXiv:2206.02187 section 3.2.1


class MelStatistics(FittedExtractor):
    """Embeddings of single utterances from how their sound is distributed over time.

    Args:
        width: length D of the embeddings; smaller where there are fewer statistics.
        mels: number of mel bands.
        max_seconds: of a longer utterance only the beginning is heard.
        scaling: how the embeddings are scaled.
        pitch: how the pitch is found, see `m2fnet.media.prosody.pitch`: ``pyin`` makes fewer errors and takes about a
            sixth of the sound's duration.
    """

    modality: ClassVar[Modality] = "audio"

    def __init__(
        self,
        width: int = 48,
        mels: int = 40,
        max_seconds: float = 30.0,
        scaling: Scaling = "variance",
        pitch: Pitch = "fast",
    ) -> None:
        super().__init__()
        if mels < 2 or not 0 < max_seconds < math.inf:
            raise ValueError(
                f"Expected mels >= 2 and 0 < max_seconds < infinity, but got mels={mels}, max_seconds={max_seconds}."
            )
        self.max_seconds = max_seconds
        self.pitch = pitch
        self.projection = Projection(width, scaling)
        # a plain attribute of a plain list: it has no weights to save, and it works in the reading process
        self._mel = [MelSpectrogram(RATE, n_fft=WINDOW, hop_length=HOP, n_mels=mels)]

    @property
    def width(self) -> int:
        """Length D of the embeddings."""
        return self.projection.width

    def preprocess(self, placed: PlacedUtterance) -> Sample:
        """The statistics (F,) of the utterance's sound, and how many seconds of it were cut off.

        Raises:
            MediaError: if it has none that can be heard.
        """
        sound = utterance_sound(placed, self.max_seconds)
        return {"statistics": self.statistics(sound.samples), "cut_seconds": math.ceil(sound.cut_s)}

    def statistics(self, samples: Tensor) -> Tensor:
        """Statistics (F,) of samples (N,) at 16 kHz: of mel bands and their changes, loudness, pitch and rhythm."""
        samples = torch.nn.functional.pad(samples, (0, max(0, round(WINDOW_SECONDS * RATE) - len(samples))))
        bands = (self._mel[0](samples) + 1e-7).log()  # (mels, T)
        changes = bands.diff() if bands.shape[1] > 1 else torch.zeros_like(bands)
        loudness = bands.logsumexp(0)[None]
        hertz = pitch(samples, RATE, self.pitch)
        is_voiced = ~hertz.isnan()
        voiced_pitch = hertz[is_voiced].log()[None] if is_voiced.any() else torch.zeros(1, 1)
        return torch.cat(
            [
                _distribution(bands),
                changes.std(1, correction=0),
                changes.abs().mean(1),
                _distribution(loudness),
                _distribution(voiced_pitch),
                _rhythm(loudness[0], is_voiced, len(samples) / RATE),
            ]
        )

    def collate(self, samples: Sequence[Sample]) -> Sample:
        """Statistics (B, F)."""
        return {"statistics": torch.stack([sample["statistics"] for sample in samples])}

    def forward(self, batch: Sample) -> Tensor:
        """Embeddings (B, D)."""
        embeddings: Tensor = self.projection(batch["statistics"])
        return embeddings

    def fit(self, samples: Sequence[Sample], *, seed: int = 0) -> None:
        """Learn scale and directions from the training split's statistics; nothing in it is random."""
        self.projection.fit(self.collate(samples)["statistics"])


def _distribution(series: Tensor) -> Tensor:
    """Mean, deviation and 10th, 50th and 90th percentile over time of series (S, T), as (5 S,)."""
    percentiles = series.quantile(torch.tensor([0.1, 0.5, 0.9]), dim=1)
    return torch.cat([series.mean(1), series.std(1, correction=0), percentiles.flatten()])


def _rhythm(loudness: Tensor, is_voiced: Tensor, seconds: float) -> Tensor:
    """Duration, share of voiced frames, voiced stretches per second and loudness peaks per second, as (4,)."""
    starts = (is_voiced[1:] & ~is_voiced[:-1]).sum()
    smooth = torch.nn.functional.avg_pool1d(loudness[None], 9, 1, 4, count_include_pad=False)[0]
    peaks = ((smooth[1:-1] > smooth[:-2]) & (smooth[1:-1] > smooth[2:])).sum()
    duration = torch.tensor(seconds)
    return torch.stack([duration.log(), is_voiced.float().mean(), starts / duration, peaks / duration])
