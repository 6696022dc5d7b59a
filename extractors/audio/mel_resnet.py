"""ResNet18 on mel spectrograms, the audio extractor of M2FNet.

Chudasama et al., arXiv:2206.02187 section 3.2.1: augmented waveform, mel spectrogram in three channels, ResNet18 (He et
al., arXiv:1512.03385), linear projector to 300. What the paper leaves open is a setting and marked "ours" in ``conf``.
"""

from itertools import chain
from typing import ClassVar, Literal

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional as F
from torchvision.models import resnet18
from torchvision.models.resnet import BasicBlock

from extractors.audio.augment import Augment, spec_augment
from extractors.audio.log_mel import CHANNELS, LogMel
from extractors.audio.waveform import WaveformExtractor

# Frames of a batch, with its padding: the last steps of two then see three or more. Of two, oneDNN 3.10 computes them
# wrongly in bfloat16 with AMX: it multiplies zeros with memory that nobody has written, which may be NaN.
_FEWEST = 33


class MaskedResNet18(nn.Module):
    """Features (B, 512) of pictures (B, 3, M, T) of which only the first frames (B,) count, or all of them.

    It is torchvision's ResNet18, with everything behind the last frame set to zero after every normalisation: there a
    clip that is padded sees the same zeros that a convolution puts at the edge of one that is not.
    """

    width = 512

    def __init__(self) -> None:
        super().__init__()
        self.net = resnet18(weights=None)
        self.net.fc = nn.Identity()
        self.net.to(memory_format=torch.channels_last)  # a third faster

    def forward(self, pictures: Tensor, frames: Tensor | None) -> Tensor:
        """Mean of the last layer over bands and valid frames."""
        net, frames = self.net, _halved(frames)
        pictures = pictures.contiguous(memory_format=torch.channels_last)
        x = _valid(F.relu(net.bn1(net.conv1(pictures)), inplace=True), frames)
        x, frames = net.maxpool(x), _halved(frames)
        x = _valid(x, frames)
        for block in chain(net.layer1, net.layer2, net.layer3, net.layer4):
            frames = _halved(frames) if block.stride == 2 else frames
            x = _through(block, x, frames)
        return x.mean((2, 3)) if frames is None else x.sum((2, 3)) / (frames * x.shape[2])[:, None]


class MelResNet(WaveformExtractor):
    """Embeddings of single utterances from their sound.

    Args:
        width: length D of the embeddings.
        mels: number of mel bands.
        window: samples a frame looks at.
        hop: samples from one frame to the next.
        channels: three times the spectrogram, or the spectrogram with its first and second change over time.
        crop_seconds: in training every clip is a random part of this length; a shorter one goes round.
        max_seconds: of a longer utterance only the beginning is heard.
        augment: what is done to clips in training; None: they are only cut.
    """

    convolutional: ClassVar[tuple[str, ...]] = ("resnet",)

    def __init__(
        self,
        width: int = 300,
        mels: int = 128,
        window: int = 400,
        hop: int = 160,
        channels: Literal["copy", "deltas"] = "deltas",
        crop_seconds: float = 4.0,
        max_seconds: float = 30.0,
        augment: Augment | None = None,
    ) -> None:
        super().__init__(
            MaskedResNet18.width, width=width, crop_seconds=crop_seconds, max_seconds=max_seconds, augment=augment
        )
        self.spectrogram = LogMel(mels, window, hop, channels=channels)
        self.norm = nn.BatchNorm2d(CHANNELS)
        self.resnet = MaskedResNet18()

    def represent(self, samples: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Spectrograms (B, 3, M, T) and their numbers of frames (B,)."""
        pictures: Tensor
        pictures, frames = self.spectrogram(samples, lengths)
        return pictures, frames

    def represent_played(self, sound: Tensor, tempos: Tensor, generator: Generator) -> tuple[Tensor, Tensor]:
        """The same in training, stretched in time frame by frame."""
        pictures, frames = self.spectrogram(sound, self.crops(sound), tempos)
        if self.augment.masks is not None:
            pictures = spec_augment(pictures, self.augment.masks, generator)
        return pictures, frames

    def encode(self, signal: Tensor, lengths: Tensor) -> Tensor:
        """Features (B, 512) of spectrograms (B, 3, M, T) with frames (B,)."""
        frames = None if self.training else lengths  # in training no clip is padded
        pictures = _valid(self.norm(signal), frames)
        if frames is not None:
            pictures = F.pad(pictures, (0, max(0, _FEWEST - pictures.shape[3])))
        features: Tensor = self.resnet(pictures, frames)
        return features


def _through(block: BasicBlock, x: Tensor, frames: Tensor | None) -> Tensor:
    """What ``BasicBlock.forward`` computes, (B, C, M, T), of valid frames only."""
    y = _valid(F.relu(block.bn1(block.conv1(x)), inplace=True), frames)
    y = block.bn2(block.conv2(y))
    y = y + (x if block.downsample is None else block.downsample(x))
    return _valid(F.relu(y, inplace=True), frames)


def _valid(x: Tensor, frames: Tensor | None) -> Tensor:
    """(B, C, M, T) with zeros behind the first frames (B,), if there is anything behind them."""
    if frames is None:
        return x
    is_valid = torch.arange(x.shape[3], device=x.device) < frames[:, None]
    return x * is_valid[:, None, None]


def _halved(frames: Tensor | None) -> Tensor | None:
    """Number of frames (B,) after a step of two, rounded up as convolutions do."""
    return None if frames is None else (frames + 1) // 2
