"""What all audio networks share: sound in, a random part of it in training, the whole of it in evaluation."""

import math
from abc import abstractmethod
from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Generator, Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from extractors.audio.augment import Augment, augment_waveforms, time_stretch
from extractors.audio.sound import utterance_sound
from extractors.base import Extractor, PlacedUtterance, Sample, next_generator
from m2fnet.media.audio import RATE
from m2fnet.records import Modality

_FEW = 8  # clips that a CPU makes spectrograms of together: what is in between stays in its cache, twice as fast


class WaveformExtractor(Extractor):
    """A network that hears samples at 16 kHz, and perhaps a linear projector behind it.

    Args:
        features: width F of what `encode` gives.
        width: length D of the embeddings; None: they are the features, without a projector.
        crop_seconds: in training every clip is a random part of this length; a shorter one goes round.
        max_seconds: of a longer utterance only the beginning is heard.
        augment: what is done to clips in training; None: they are only cut.
    """

    modality: ClassVar[Modality] = "audio"
    uncompiled: ClassVar[tuple[str, ...]] = ("hear",)  # complex and random numbers gain nothing from it
    step: Tensor

    def __init__(
        self, features: int, *, width: int | None, crop_seconds: float, max_seconds: float, augment: Augment | None
    ) -> None:
        super().__init__()
        if (width is not None and width < 1) or not 0.1 <= crop_seconds <= max_seconds < math.inf:
            raise ValueError(
                "Expected width >= 1 and 0.1 <= crop_seconds <= max_seconds < infinity, "
                f"but got width={width}, crop_seconds={crop_seconds}, max_seconds={max_seconds}."
            )
        self.crop = round(crop_seconds * RATE)
        self.max_seconds = max_seconds
        self.augment = augment or Augment()
        self._width = features if width is None else width
        self.projector: nn.Module = nn.Identity() if width is None else nn.Linear(features, width)
        self.register_buffer("step", torch.zeros((), dtype=torch.long))

    @property
    def width(self) -> int:
        """Length D of the embeddings."""
        return self._width

    @abstractmethod
    def encode(self, signal: Tensor, lengths: Tensor) -> Tensor | list[Tensor]:
        """Features (B, F), or sequences (T, F), of what `represent` gives; what follows a length changes nothing."""

    def represent(self, samples: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """What the network looks at, and its lengths (B,): the samples (B, N) themselves, or a spectrogram of them."""
        return samples, lengths

    def represent_played(self, sound: Tensor, tempos: Tensor, generator: Generator) -> tuple[Tensor, Tensor]:
        """The same in training, of ``self.crop`` samples of sound (B, N) played at tempos (B, 2)."""
        return self.represent(time_stretch(sound, tempos, self.crop), self.crops(sound))

    def crops(self, sound: Tensor) -> Tensor:
        """Lengths (B,) of what is heard in training."""
        return torch.full((len(sound),), self.crop, device=sound.device)

    def preprocess(self, placed: PlacedUtterance) -> Sample:
        """The utterance's samples (N,), and how many seconds of it were cut off.

        Raises:
            MediaError: if it has no sound that can be heard.
        """
        sound = utterance_sound(placed, self.max_seconds)
        return {"samples": sound.samples, "cut_seconds": math.ceil(sound.cut_s)}

    def size(self, placed: PlacedUtterance) -> float:
        """Seconds by the span in the file, or else by the clock of the source; 0 where the manifest knows neither."""
        return min(self.max_seconds, placed.seconds(self.modality) or 0.0)

    def length(self, sample: Sample) -> int:
        """Whole seconds, so that among clips of similar length batches are still mixed."""
        return len(sample["samples"]) // RATE

    def collate(self, samples: Sequence[Sample]) -> Sample:
        """Samples (B, N), zero beyond their lengths (B,)."""
        clips = [sample["samples"] for sample in samples]
        lengths = torch.tensor([len(clip) for clip in clips])
        return {"samples": pad_sequence(clips, batch_first=True), "lengths": lengths}

    def forward(self, batch: Sample) -> Tensor | list[Tensor]:
        """Embeddings (B, D), or sequences (T, D) without a projector."""
        features = self.encode(*self.hear(batch["samples"], batch["lengths"]))
        return features if isinstance(features, list) else self.projector(features)

    @torch.no_grad()
    def hear(self, samples: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """What `represent` gives of samples (B, N) with lengths (B,), in training of augmented parts of them."""
        generator = next_generator(self.step, samples.device) if self.training else None
        together = _FEW if samples.device.type == "cpu" else len(samples)
        parts = zip(torch.split(samples, together), torch.split(lengths, together), strict=True)
        signals, sizes = zip(*(self._hear_some(*part, generator) for part in parts), strict=True)
        return torch.cat(signals), torch.cat(sizes)

    def _hear_some(self, samples: Tensor, lengths: Tensor, generator: Generator | None) -> tuple[Tensor, Tensor]:
        if generator is None:
            return self.represent(samples, lengths)
        sound, tempos = augment_waveforms(samples, lengths, self.crop, self.augment, generator)
        return self.represent_played(sound, tempos, generator)
