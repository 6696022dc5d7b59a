"""Pretrained encoders of speech (wav2vec 2.0, HuBERT, WavLM, Whisper ...) as audio extractors, by transformers."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from extractors.audio.augment import Augment
from extractors.audio.listeners import Listener, MelListener, SampleListener
from extractors.audio.waveform import WaveformExtractor
from extractors.base import Sample
from extractors.layers.encoder import KEPT, EncoderExtractor, States, Trained
from extractors.layers.hidden_states import Layers
from extractors.layers.low_rank import LowRank
from extractors.layers.readout import Combine, Pooling, Readout, parts
from extractors.pretrained import fetch, load_encoder, write_files
from m2fnet.errors import RunError
from m2fnet.files import read_json, write_json
from m2fnet.media.audio import RATE

_LISTENING = "preprocessor_config.json"  # at which rate the encoder hears, and whether loudness is levelled


class SpeechEncoder(EncoderExtractor, WaveformExtractor):
    """Embeddings of single utterances from layers of an encoder of speech, pooled over time and perhaps projected.

    The convolutions in front of the encoder stay as pretrained, as is usual for fine-tuning. Its own masking and layer
    drop are switched off: only `Augment` changes the sound. Whisper hears a log-mel spectrogram of what was said,
    without the padding to 30 seconds that it comes with: its positions are cut instead.

    Args:
        model: name on the Hugging Face hub, or folder, of an encoder that hears samples at 16 kHz.
        pretrained: take its weights; otherwise only the architecture.
        width: length D of the embeddings by a linear projector, which learns; None: without one.
        layers: which hidden states are read, see `extractors.layers.hidden_states.layer_numbers`.
        combine: how several layers become one, see `extractors.layers.readout.Readout`.
        pooling: how frames become one vector, see there.
        trained: what of the encoder learns, see `extractors.layers.encoder.EncoderExtractor`.
        low_rank: the change of low rank that learns, with ``trained: low_rank``.
        chunk_seconds: longer sound is heard in parts of this length, so that memory stays bounded.
        overlap_seconds: what neighbouring parts share.
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
        width: int | None = 300,
        layers: Layers = -1,
        combine: Combine = "average",
        pooling: Pooling = "mean",
        trained: Trained = "all",
        low_rank: LowRank | None = None,
        chunk_seconds: float = 30.0,
        overlap_seconds: float = 2.0,
        crop_seconds: float = 4.0,
        max_seconds: float = 30.0,
        augment: Augment | None = None,
    ) -> None:
        folder = fetch(model)
        listening = read_json(folder / _LISTENING, RunError, "Expected what `save_pretrained` writes for an encoder.")
        encoder: Any = load_encoder(folder, pretrained=pretrained)
        hears_mel = encoder.config.model_type == "whisper"
        if not (hears_mel or hasattr(encoder, "feature_extractor")) or listening.get("sampling_rate") != RATE:
            raise RunError(
                f"{folder} holds a {encoder.config.model_type} for {listening.get('sampling_rate')} Hz; expected an "
                f"encoder of samples at {RATE} Hz, such as wav2vec2, HuBERT, WavLM or Whisper."
            )
        readout = Readout.of(encoder, layers, combine, pooling)
        if pooling == "frames" and width is not None:
            raise ValueError(f"pooling: frames has no projector; expected width: null, but got {width}.")
        super().__init__(
            readout.width, width=width, crop_seconds=crop_seconds, max_seconds=max_seconds, augment=augment
        )
        if self.augment.masks is not None:
            raise ValueError("Expected augment.masks to be null: they hide parts of a spectrogram; there is none here.")
        self.listening = listening
        self.listener: Listener = MelListener(listening) if hears_mel else SampleListener(encoder, listening)
        self.chunk, self.overlap = (round(s * RATE / self.listener.hop) for s in (chunk_seconds, overlap_seconds))
        longest = self.listener.longest(encoder)
        if not 4 <= self.overlap <= self.chunk / 2 or self.chunk > longest:
            raise ValueError(
                f"Expected chunk_seconds of at most {longest * self.listener.hop / RATE:g} for this encoder and "
                f"overlap_seconds from {4 * self.listener.hop / RATE:g} to half of it, but got {chunk_seconds} and "
                f"{overlap_seconds}."
            )
        self.read_encoder(encoder, readout, trained, low_rank)
        self.listener.front(encoder).requires_grad_(False)
        if trained == "all" and self.depth not in readout.numbers:
            self.freeze_unreached()

    def encode(self, signal: Tensor, lengths: Tensor) -> Tensor | list[Tensor]:
        """Features (B, F), or sequences (T, F), of samples (B, N) with lengths (B,)."""
        states = self._states(signal, lengths)
        return self.readout(states.layers, states.lengths)

    def states(self, batch: Sample) -> States:
        """Hidden states of a batch, in training of augmented parts of its clips."""
        return self._states(*self.hear(batch["samples"], batch["lengths"]))

    def example(self) -> Sample:
        """Half a second of silence."""
        return {"samples": torch.zeros(RATE // 2)}

    def backbones(self) -> Sequence[nn.Module]:
        """The parts of the encoder that learn, never its convolutions in front."""
        if self.trained != "all":
            return super().backbones()
        front = [*self.listener.front(self.encoder)]
        return [part for part in self.encoder.children() if part not in front]

    def save_assets(self, folder: Path) -> None:
        """Write the encoder's architecture into ``folder``, so that the hub is not asked again."""
        super().save_assets(folder)
        write_files(folder / KEPT, self.encoder.config)
        write_json(folder / KEPT / _LISTENING, self.listening)

    def _states(self, signal: Tensor, lengths: Tensor) -> States:
        """Hidden states of clips, heard in parts if they are long; as many parts together as there are clips."""
        hop, pieces, counted, owner = self.listener.hop, [], [], []
        for clip, length in enumerate(lengths.tolist()):
            steps = -(-length // hop)
            for heard, counts in parts(steps, self.chunk, self.overlap):
                pieces.append(signal[clip, heard.start * hop : min(heard.stop * hop, length)])
                end = None if counts.stop == steps else counts.stop - heard.start
                counted.append(slice(counts.start - heard.start, end))
                owner.append(clip)
        frames: dict[int, list[Tensor]] = {number: [] for number in self.readout.numbers}
        sizes: list[int] = []
        for first in range(0, len(pieces), len(lengths)):
            some = slice(first, first + len(lengths))
            heard_parts = self.listener.hear(self.encoder, self.blocks, frames, self.depth, pieces[some])
            for found, kept in zip(heard_parts, counted[some], strict=True):
                for number, states in found.items():
                    frames[number].append(states[kept])
            sizes += [len(frames[self.readout.numbers[0]][first + n]) for n in range(len(heard_parts))]
        owners = torch.tensor(owner, device=lengths.device)
        of_clips = torch.zeros_like(lengths).index_add(0, owners, lengths.new_tensor(sizes))
        return States({number: torch.cat(states) for number, states in frames.items()}, of_clips)
