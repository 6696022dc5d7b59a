"""Pretrained encoders of speech (wav2vec 2.0, HuBERT, WavLM, ...) as audio extractors, by transformers."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import AutoConfig, AutoFeatureExtractor, AutoModel

from extractors.audio.augment import Augment
from extractors.audio.waveform import WaveformExtractor
from m2fnet.media.audio import RATE

_KEPT = "speech_encoder"
_VARIANCE_FLOOR = 1e-7  # of Wav2Vec2FeatureExtractor
# Random in training beside our own augmentation, and partly outside the seed of a run.
_OFF = {"mask_time_prob": 0.0, "mask_feature_prob": 0.0, "layerdrop": 0.0}


class SpeechEncoder(WaveformExtractor):
    """Embeddings of single utterances: the mean over time of an encoder's last layer, projected.

    The convolutions in front of the encoder stay as pretrained.

    Args:
        encoder: name on the Hugging Face hub, or a folder with ``config.json``, ``preprocessor_config.json`` and
            ``model.safetensors``. Weights in other formats are not read: they could hold code.
        pretrained: take its weights; False starts from random ones.
        width: length D of the embeddings.
        crop_seconds: in training every clip is a random part of this length; a shorter one goes round.
        max_seconds: of a longer utterance only the beginning is heard.
        augment: what is done to clips in training; None: they are only cut.

    Raises:
        ValueError: if there is no such encoder, or it does not hear samples at 16 kHz.
    """

    def __init__(
        self,
        encoder: str = "facebook/wav2vec2-base-960h",
        pretrained: bool = True,
        width: int = 300,
        crop_seconds: float = 4.0,
        max_seconds: float = 30.0,
        augment: Augment | None = None,
    ) -> None:
        preprocessor, network = _loaded(encoder, pretrained)
        super().__init__(
            network.config.hidden_size,
            width=width,
            crop_seconds=crop_seconds,
            max_seconds=max_seconds,
            augment=augment,
        )
        if self.augment.masks is not None:
            raise ValueError("Expected augment without masks, which hide parts of a spectrogram; there is none here.")
        self.preprocessor = preprocessor
        self.encoder = network
        self.encoder.feature_extractor.requires_grad_(False)
        self.shortest = _receptive_field(network.config.conv_kernel, network.config.conv_stride)

    def encode(self, signal: Tensor, lengths: Tensor) -> Tensor:
        """Features (B, F) of samples (B, N), clips of one length at a time.

        The group norm in front of many of these encoders runs over time, so that padding would change every frame.
        """
        features: list[Tensor] = []
        rows: list[Tensor] = []
        for length in sorted(set(lengths.tolist())):
            rows.append((lengths == length).nonzero().flatten())
            features.append(self._encode_equal(signal[rows[-1], :length]))
        return torch.cat(features)[torch.cat(rows).argsort()]

    def backbones(self) -> Sequence[nn.Module]:
        """The encoder without its convolutions."""
        return [part for part in self.encoder.children() if part is not self.encoder.feature_extractor]

    def keep(self, folder: Path) -> None:
        """Write the encoder's settings into ``folder``."""
        self.encoder.config.save_pretrained(folder / _KEPT)
        self.preprocessor.save_pretrained(folder / _KEPT)

    @classmethod
    def kept(cls, folder: Path) -> dict[str, Any]:
        """The encoder as kept; its weights come from the checkpoint."""
        return {"encoder": str(folder / _KEPT), "pretrained": False}

    def _encode_equal(self, samples: Tensor) -> Tensor:
        """Features (B, F) of samples (B, N) without padding."""
        if self.preprocessor.do_normalize:
            variance, mean = torch.var_mean(samples, 1, correction=0, keepdim=True)
            samples = (samples - mean) / (variance + _VARIANCE_FLOOR).sqrt()
        samples = F.pad(samples, (0, max(0, self.shortest - samples.shape[1])))
        layer: Tensor = self.encoder(samples).last_hidden_state
        return layer.mean(1)


def _loaded(name: str, pretrained: bool) -> tuple[Any, Any]:
    """The preprocessor and the network called ``name``."""
    safely: dict[str, Any] = {"trust_remote_code": False}
    try:
        config = AutoConfig.from_pretrained(name, **safely, **_OFF)
        if not hasattr(config, "conv_kernel"):
            raise ValueError(f"it is a {config.model_type}, which does not hear samples")
        preprocessor = AutoFeatureExtractor.from_pretrained(name, **safely)  # type: ignore[no-untyped-call]
        if preprocessor.sampling_rate != RATE:
            raise ValueError(f"it hears {preprocessor.sampling_rate} Hz, not {RATE}")
        if not pretrained:
            return preprocessor, AutoModel.from_config(config, **safely)  # type: ignore[no-untyped-call]
        network, info = AutoModel.from_pretrained(
            name, config=config, use_safetensors=True, output_loading_info=True, **safely
        )
        if info["missing_keys"]:
            raise ValueError(f"its file lacks weights, such as {min(info['missing_keys'])}")
    except (OSError, ValueError, KeyError) as problem:
        raise ValueError(
            f"Cannot load the speech encoder {name!r}: {' '.join(str(problem).split()).rstrip('.')}. Expected "
            "wav2vec2, HuBERT, WavLM or their like, by a name on the hub (which needs a network the first time) or by "
            "a folder with config.json, preprocessor_config.json and model.safetensors."
        ) from problem
    return preprocessor, network


def _receptive_field(kernels: Sequence[int], strides: Sequence[int]) -> int:
    """Samples that one frame behind convolutions looks at."""
    size = 1
    for kernel, stride in zip(reversed(kernels), reversed(strides), strict=True):
        size = (size - 1) * stride + kernel
    return size
