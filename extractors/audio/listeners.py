"""How pretrained encoders of speech hear samples: as they are (wav2vec 2.0 and its like), or as log-mel (Whisper)."""

from collections.abc import Collection, Mapping, Sequence
from functools import partial
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pad_sequence
from transformers.audio_utils import mel_filter_bank

from extractors.layers.hidden_states import hidden_states
from m2fnet.errors import RunError
from m2fnet.media.audio import RATE

_VARIANCE_FLOOR = 1e-7  # of transformers' Wav2Vec2FeatureExtractor
_RANGE = 8.0  # of log10 power below the loudest, of openai/whisper audio.py `log_mel_spectrogram`
_LEAST = 1e-10  # power, as there


class Listener(Protocol):
    """Hears pieces of sound with an encoder.

    Attributes:
        hop: samples from one frame of the encoder to the next.
    """

    hop: int

    def longest(self, encoder: Any) -> float:  # noqa: ANN401
        """Most frames of a piece."""

    def front(self, encoder: Any) -> nn.ModuleList:  # noqa: ANN401
        """The convolutions in front of the encoder."""

    def hear(
        self,
        encoder: Any,  # noqa: ANN401
        blocks: nn.ModuleList,
        wanted: Collection[int],
        depth: int,
        pieces: Sequence[Tensor],
    ) -> Sequence[Mapping[int, Tensor]]:
        """For each of the pieces (N,) the hidden states (T, D) of the ``wanted`` layers by number."""


class SampleListener:
    """Hears samples as they are, perhaps levelled; pieces of one length at a time.

    The group norm in front of many of these encoders runs over time, so that padding would change every frame. Their
    own masking and layer drop are switched off.

    Args:
        encoder: such as wav2vec 2.0, HuBERT or WavLM.
        listening: content of its ``preprocessor_config.json``.
    """

    def __init__(self, encoder: Any, listening: Mapping[str, Any]) -> None:  # noqa: ANN401
        encoder.config.apply_spec_augment, encoder.config.layerdrop = False, 0.0
        encoder.masked_spec_embed = None  # a weight without a gradient stops distributed training
        self.levels = bool(listening.get("do_normalize", True))
        self.hop, self.shortest = 1, 1
        for kernel, stride in zip(
            reversed(encoder.config.conv_kernel), reversed(encoder.config.conv_stride), strict=True
        ):
            self.shortest = (self.shortest - 1) * stride + kernel  # samples that one frame looks at
            self.hop *= stride

    def longest(self, encoder: Any) -> float:  # noqa: ANN401
        """There is no limit: positions are relative."""
        return float("inf")

    def front(self, encoder: Any) -> nn.ModuleList:  # noqa: ANN401
        """The feature extractor."""
        return nn.ModuleList([encoder.feature_extractor])

    def hear(
        self,
        encoder: Any,  # noqa: ANN401
        blocks: nn.ModuleList,
        wanted: Collection[int],
        depth: int,
        pieces: Sequence[Tensor],
    ) -> Sequence[Mapping[int, Tensor]]:
        """For each of the pieces (N,) the hidden states (T, D) of the ``wanted`` layers by number."""
        found: dict[int, Mapping[int, Tensor]] = {}
        for length in sorted({len(piece) for piece in pieces}):
            alike = [place for place, piece in enumerate(pieces) if len(piece) == length]
            samples = torch.stack([pieces[place] for place in alike])
            if self.levels:
                variance, mean = torch.var_mean(samples, 1, correction=0, keepdim=True)
                samples = (samples - mean) / (variance + _VARIANCE_FLOOR).sqrt()
            samples = F.pad(samples, (0, max(0, self.shortest - length)))
            states = hidden_states(blocks, wanted, depth, partial(_output, encoder, samples))
            for row, place in enumerate(alike):
                found[place] = {number: values[row] for number, values in states.items()}
        return [found[place] for place in range(len(pieces))]


class MelListener:
    """Hears Whisper's log-mel spectrogram, without padding to 30 seconds: positions behind the sound are cut.

    The encoder of `transformers` insists on 3,000 frames, so its parts are called here, with masks that let pieces of
    any length be heard together.

    Args:
        listening: content of its ``preprocessor_config.json``.
    """

    def __init__(self, listening: Mapping[str, Any]) -> None:
        try:
            self.window, step, mels = (int(listening[name]) for name in ("n_fft", "hop_length", "feature_size"))
        except (KeyError, TypeError, ValueError) as problem:
            raise RunError(
                f"Expected n_fft, hop_length and feature_size in preprocessor_config.json: {problem}."
            ) from None
        self.step, self.hop = step, 2 * step  # the second convolution takes every second frame
        bank = mel_filter_bank(1 + self.window // 2, mels, 0.0, RATE / 2, RATE, norm="slaney", mel_scale="slaney")
        self.bank = torch.from_numpy(bank).float().T  # (M, frequencies)

    def longest(self, encoder: Any) -> float:  # noqa: ANN401
        """As many as there are positions."""
        return float(encoder.config.max_source_positions)

    def front(self, encoder: Any) -> nn.ModuleList:  # noqa: ANN401
        """Both convolutions and the positions, which are no weights that learn."""
        return nn.ModuleList([encoder.conv1, encoder.conv2, encoder.embed_positions])

    def log_mel(self, samples: Tensor) -> Tensor:
        """Log-mel spectrogram (M, T) of samples (N,); openai/whisper audio.py `log_mel_spectrogram`."""
        samples = F.pad(samples.float(), (0, max(0, self.window - len(samples))))
        window = torch.hann_window(self.window, device=samples.device)
        spectrum = torch.stft(samples, self.window, self.step, window=window, return_complex=True)[:, :-1]
        power = spectrum.real.square() + spectrum.imag.square()
        bands = (self.bank.to(samples.device) @ power).clamp(min=_LEAST).log10()
        return (bands.maximum(bands.max() - _RANGE) + 4) / 4

    def hear(
        self,
        encoder: Any,  # noqa: ANN401
        blocks: nn.ModuleList,
        wanted: Collection[int],
        depth: int,
        pieces: Sequence[Tensor],
    ) -> Sequence[Mapping[int, Tensor]]:
        """For each of the pieces (N,) the hidden states (T, D) of the ``wanted`` layers by number."""
        with torch.autocast(pieces[0].device.type, enabled=False):  # half precision has too little range for power
            mels = [self.log_mel(piece).T for piece in pieces]
        lengths = torch.tensor([len(mel) for mel in mels], device=pieces[0].device)
        frames = (lengths + 1) // 2
        run = partial(self._output, encoder, blocks, pad_sequence(mels, batch_first=True).mT, lengths, frames)
        states = hidden_states(blocks, wanted, depth, run)
        sizes = frames.tolist()
        return [{n: values[row, :size] for n, values in states.items()} for row, size in enumerate(sizes)]

    def _output(self, encoder: Any, blocks: nn.ModuleList, mels: Tensor, lengths: Tensor, frames: Tensor) -> Tensor:  # noqa: ANN401
        """What ``WhisperEncoder.forward`` of transformers gives for mels (B, M, T) of any lengths (B,)."""
        x = F.gelu(encoder.conv1(mels))
        x = x * _until(lengths, x.shape[2])[:, None]  # after the sound the second convolution sees zeros
        x = F.gelu(encoder.conv2(x)).mT  # (B, T / 2, D)
        x = x + encoder.embed_positions.weight[: x.shape[1]]
        x = F.dropout(x, encoder.dropout, encoder.training)
        heard = _until(frames, x.shape[1])[:, None, None]  # (B, 1, 1, T / 2)
        mask = None if bool(heard.all()) else heard.expand(-1, -1, x.shape[1], -1)
        for block in blocks:
            x = block(x, mask)
        output: Tensor = encoder.layer_norm(x)
        return output


def _until(lengths: Tensor, size: int) -> Tensor:
    """True (B, T) up to each length."""
    return torch.arange(size, device=lengths.device) < lengths[:, None]


def _output(encoder: Any, samples: Tensor) -> Tensor:  # noqa: ANN401
    output: Tensor = encoder(samples).last_hidden_state
    return output
