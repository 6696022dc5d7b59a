"""Noise in what is heard, seen and read, to find out how a network bears it."""

import hashlib
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from m2fnet.records import Modality

_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")


@dataclass(frozen=True)
class Noise:
    """What is done to one modality of every utterance. The same utterance gets the same noise each time.

    Attributes:
        modality: ``audio``: white noise is added; ``visual``: every frame is blurred; ``text``: words are replaced.
        level: of sound the ratio of signal to noise in dB; of a picture the standard deviation of the Gaussian blur in
            per cent of its height; of text the per cent of the words that are replaced.
        words: that come in the place of others, with their repetitions, so that frequent words come often.
        seed: of all that is random.
    """

    modality: Modality
    level: float
    words: Sequence[str] = ()
    seed: int = 0

    def heard(self, samples: Tensor, utterance_id: str) -> Tensor:
        """Samples (N,) with noise, as loud as ``level`` dB below their root mean square; in -1..1, or scaled to it.

        Example:
            >>> tone = torch.sin(torch.arange(16_000) / 10)
            >>> added = Noise("audio", 20.0).heard(tone, "a") * 1.2 - tone  # of what was scaled by 1 / 1.2
            >>> Noise("audio", 20.0).heard(tone / 2, "a").abs().max() < 1
            tensor(True)
        """
        if self.modality != "audio":
            return samples
        loudness = samples.square().mean().sqrt()
        noise = torch.randn(len(samples), generator=self._generator(utterance_id))
        noisy = samples + noise * loudness * 10 ** (-self.level / 20)
        return noisy / noisy.abs().max().clamp(min=1.0)

    def seen(self, frames: Tensor) -> Tensor:
        """Frames (T, H, W, 3) as uint8, blurred."""
        height, width = frames.shape[1:3]
        sigma = self.level / 100 * height
        # beyond three deviations there is nothing to see, and a kernel must fit into the picture
        reach = min(math.ceil(3 * sigma), height - 1, width - 1)
        if self.modality != "visual" or reach < 1:
            return frames
        from torchvision.transforms.v2.functional import gaussian_blur  # takes long, which extraction does not need

        # down and then across: a square kernel of this size would take minutes
        blurred: Tensor = frames.permute(0, 3, 1, 2).float()
        for size in ([1, 2 * reach + 1], [2 * reach + 1, 1]):
            blurred = gaussian_blur(blurred, size, [sigma] * 2)
        return blurred.round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).contiguous()

    def read(self, text: str, utterance_id: str) -> str:
        """The text with some of its words replaced; signs and blanks stay.

        Example:
            >>> Noise("text", 100.0, words=("yes",)).read("Is it you, Ann?", "a")
            'yes yes yes, yes?'
            >>> Noise("text", 0.0, words=("yes",)).read("Is it you, Ann?", "a")
            'Is it you, Ann?'
        """
        if self.modality != "text":
            return text
        generator = self._generator(utterance_id)

        def replaced(word: re.Match[str]) -> str:
            # both are drawn for every word, so that a higher level keeps the replacements of a lower one
            chance, place = torch.rand(2, generator=generator).tolist()
            return self.words[int(place * len(self.words))] if chance < self.level / 100 else word[0]

        return _WORD.sub(replaced, text)

    def _generator(self, utterance_id: str) -> torch.Generator:
        digest = hashlib.sha256(f"{self.seed} {utterance_id}".encode()).digest()
        return torch.Generator().manual_seed(int.from_bytes(digest[:7]))


def words_of(texts: Sequence[str]) -> tuple[str, ...]:
    """All words of the texts, with repetitions.

    Example:
        >>> words_of(["Oh, it's you!", "Oh."])
        ('Oh', "it's", 'you', 'Oh')
    """
    return tuple(word for text in texts for word in _WORD.findall(text))
