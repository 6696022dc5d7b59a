"""Pretrained encoders of speech (wav2vec 2.0, HuBERT, WavLM, ...) as audio extractors, by transformers."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from extractors.audio.augment import Augment
from extractors.audio.waveform import WaveformExtractor
from extractors.pretrained import fetch, load_encoder, write_files
from m2fnet.errors import RunError
from m2fnet.files import read_json, write_json
from m2fnet.media.audio import RATE

KEPT = "encoder"
_LISTENING = "preprocessor_config.json"  # at which rate the encoder hears, and whether loudness is levelled
_VARIANCE_FLOOR = 1e-7  # of transformers' Wav2Vec2FeatureExtractor


class SpeechEncoder(WaveformExtractor):
    """Embeddings of single utterances: the mean over time of an encoder's last layer, projected.

    The convolutions in front of the encoder stay as pretrained, as is usual for fine-tuning. Its own masking and layer
    drop are switched off: only `Augment` changes the sound.

    Args:
        model: name on the Hugging Face hub, or folder, of an encoder that hears samples at 16 kHz.
        pretrained: take its weights; otherwise only the architecture.
        width: length D of the embeddings.
        crop_seconds: in training every clip is a random part of this length; a shorter one goes round.
        max_seconds: of a longer utterance only the beginning is heard.
        augment: what is done to clips in training; None: they are only cut.

    Raises:
        ValueError: for a setting that makes no sense.
        RunError: if the encoder cannot be loaded or does not hear samples at 16 kHz.
    """

    def __init__(
        self,
        model: str = "facebook/wav2vec2-base-960h",
        *,
        pretrained: bool = True,
        width: int = 300,
        crop_seconds: float = 4.0,
        max_seconds: float = 30.0,
        augment: Augment | None = None,
    ) -> None:
        folder = fetch(model)
        listening = read_json(folder / _LISTENING, RunError, "Expected what `save_pretrained` writes for an encoder.")
        encoder: Any = load_encoder(folder, pretrained=pretrained)
        if not hasattr(encoder, "feature_extractor") or listening.get("sampling_rate") != RATE:
            raise RunError(
                f"{folder} holds a {encoder.config.model_type} for {listening.get('sampling_rate')} Hz; expected an "
                f"encoder of samples at {RATE} Hz, such as wav2vec2, HuBERT or WavLM."
            )
        super().__init__(
            encoder.config.hidden_size,
            width=width,
            crop_seconds=crop_seconds,
            max_seconds=max_seconds,
            augment=augment,
        )
        if self.augment.masks is not None:
            raise ValueError("Expected augment.masks to be null: they hide parts of a spectrogram; there is none here.")
        encoder.config.apply_spec_augment, encoder.config.layerdrop = False, 0.0
        encoder.masked_spec_embed = None  # a weight without a gradient stops distributed training
        encoder.feature_extractor.requires_grad_(False)
        self.listening = listening
        self.encoder = encoder
        self.shortest = _receptive_field(encoder.config.conv_kernel, encoder.config.conv_stride)

    def encode(self, signal: Tensor, lengths: Tensor) -> Tensor:
        """Features (B, F) of samples (B, N), clips of one length at a time.

        The group norm in front of many of these encoders runs over time, so that padding would change every frame.
        """
        rows = [(lengths == length).nonzero().flatten() for length in sorted(set(lengths.tolist()))]
        features = [self._encode_equal(signal[alike, : lengths[alike[0]]]) for alike in rows]
        return torch.cat(features)[torch.cat(rows).argsort()]

    def backbones(self) -> Sequence[nn.Module]:
        """The encoder without its convolutions."""
        return [part for part in self.encoder.children() if part is not self.encoder.feature_extractor]

    def save_assets(self, folder: Path) -> None:
        """Write the encoder's architecture into ``folder``, so that the hub is not asked again."""
        write_files(folder / KEPT, self.encoder.config)
        write_json(folder / KEPT / _LISTENING, self.listening)

    @classmethod
    def asset_settings(cls, folder: Path) -> dict[str, Any]:
        """Settings for the same network without pretrained weights from what `save_assets` wrote."""
        return {"model": str(folder / KEPT), "pretrained": False}

    def _encode_equal(self, samples: Tensor) -> Tensor:
        """Features (B, F) of samples (B, N) without padding."""
        if self.listening.get("do_normalize", True):
            variance, mean = torch.var_mean(samples, 1, correction=0, keepdim=True)
            samples = (samples - mean) / (variance + _VARIANCE_FLOOR).sqrt()
        samples = F.pad(samples, (0, max(0, self.shortest - samples.shape[1])))
        layer: Tensor = self.encoder(samples).last_hidden_state
        return layer.mean(1)


def _receptive_field(kernels: Sequence[int], strides: Sequence[int]) -> int:
    """Samples that one frame behind convolutions looks at."""
    size = 1
    for kernel, stride in zip(reversed(kernels), reversed(strides), strict=True):
        size = (size - 1) * stride + kernel
    return size
