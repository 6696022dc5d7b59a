"""Who speaks, guessed from the voices of a clip that has no names: a speaker is a cluster of utterances."""

import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor
from torchaudio.transforms import MFCC

from extractors.audio.speech_encoder import SpeechEncoder
from extractors.layers.frozen import weights_sha256
from extractors.pretrained import fetch
from m2fnet.conversation.segments import Found
from m2fnet.conversation.speaker_clusters import speakers_of
from m2fnet.errors import MediaError, RunError
from m2fnet.files import read_json
from m2fnet.media.audio import RATE, read_audio
from m2fnet.media.prosody import pitch
from m2fnet.records import Segment

Progress = Callable[[int, int], None]

_HEARD_S = 15.0  # of a longer utterance only the beginning is heard
_CHUNK_S = 30.0  # of sound that an encoder hears together
_CEPSTRA, _SOFT = 20, 0.3  # coefficients; share of frames that are pauses
_PITCH_WEIGHT = 4  # a voice's height says as much as several cepstra
_USUAL_PITCH = 5.1  # logarithm of Hz, for whispering


class VoiceEmbedding(Protocol):
    """Sound of an utterance in, a vector that tells voices apart out.

    Attributes:
        name: in words, for who reads the results.
        sha256: of its weights; empty where it has none.
    """

    name: str
    sha256: str

    def embed(self, samples: Tensor) -> Tensor:
        """Vector (D,) of samples (N,) at 16 kHz."""


class CepstralVoice:
    """A voice as the mean of its cepstra in the louder frames, and its pitch.

    It has learned nothing, and it confuses voices that are alike, change with emotion, or speak at the same time.

    Example:
        >>> CepstralVoice().embed(torch.sin(torch.arange(16_000) / 10)).shape
        torch.Size([23])
    """

    name = "cepstra and pitch"
    sha256 = ""

    def __init__(self) -> None:
        mel = {"n_fft": 400, "hop_length": 160, "n_mels": 40}
        self._cepstra = MFCC(RATE, n_mfcc=_CEPSTRA, melkwargs=mel)

    def embed(self, samples: Tensor) -> Tensor:
        """Vector (D,) of samples (N,) at 16 kHz."""
        samples = torch.nn.functional.pad(samples, (0, max(0, RATE // 10 - len(samples))))
        cepstra = self._cepstra(samples)  # (20, T), the first is loudness
        shape = cepstra[1:, cepstra[0] >= cepstra[0].quantile(_SOFT)]
        hertz = pitch(samples, RATE, "fast")
        voiced = hertz[~hertz.isnan()]
        height = voiced.log().median() if len(voiced) else torch.tensor(_USUAL_PITCH)
        return torch.cat([shape.mean(1), height.repeat(_PITCH_WEIGHT)])


class EncodedVoice:
    """A voice as the mean over time of the middle layer of an encoder of speech; the last layers hold words instead.

    Args:
        model: name on the Hugging Face hub, or folder, see `extractors.audio.speech_encoder.SpeechEncoder`.
        device: where it runs.

    Raises:
        RunError: if it cannot be loaded or is no encoder of speech.
    """

    def __init__(self, model: str, *, device: str = "cpu") -> None:
        folder = fetch(model)
        settings = read_json(folder / "config.json", RunError, "Expected what `save_pretrained` writes.")
        depth = settings.get("encoder_layers") or settings.get("num_hidden_layers")
        if not isinstance(depth, int) or depth < 1:
            raise RunError(
                f"{model} does not say how many layers it has; expected an encoder of speech, such as WavLM."
            )
        positions = settings.get("max_source_positions")  # of Whisper, 50 a second
        chunk_s = min(_CHUNK_S, positions / 50) if isinstance(positions, int) else _CHUNK_S
        encoder = SpeechEncoder(
            str(folder), width=None, layers=max(1, depth // 2), chunk_seconds=chunk_s, overlap_seconds=chunk_s / 15
        )
        self._encoder = encoder.eval().to(device)
        self._device = device
        self.name = folder.name if Path(model).is_dir() else model
        self.sha256 = weights_sha256(self._encoder)

    @torch.inference_mode()
    def embed(self, samples: Tensor) -> Tensor:
        """Vector (D,) of samples (N,) at 16 kHz."""
        vectors = self._encoder.encode(samples[None].to(self._device), torch.tensor([len(samples)]).to(self._device))
        return vectors[0].float().cpu()


def guess_speakers(
    clip: Path,
    found: Found,
    voice: VoiceEmbedding,
    count: int | None = None,
    progress: Progress | None = None,
) -> Found:
    """The utterances of ``clip`` with speakers by their voices; ``found`` itself where a speaker is known.

    They are called ``speaker 1``, ``speaker 2`` in the order in which they begin to speak. An utterance without sound
    has none.

    Args:
        clip: video or sound.
        found: its utterances.
        voice: what tells voices apart.
        count: how many speakers there are; None: that is found too.
        progress: called with the number of utterances that were heard, and the number of all.
    """
    if any(segment.speaker is not None or segment.start_s is None for segment in found.segments):
        return found
    vectors: dict[int, Tensor] = {}
    for place, segment in enumerate(found.segments):
        sound = _read(clip, segment)
        if sound is not None:
            vectors[place] = voice.embed(sound)
        if progress is not None:
            progress(place + 1, len(found.segments))
    if not vectors:
        return found
    places = list(vectors)
    matrix = np.nan_to_num(torch.stack(list(vectors.values())).double().numpy())
    numbers = speakers_of(matrix, [_seconds(found.segments[place]) for place in places], count)
    segments = list(found.segments)
    for place, number in zip(places, numbers, strict=True):
        segments[place] = replace(segments[place], speaker=f"speaker {number + 1}", speaker_source=voice.name)
    how_many = "1 voice" if not any(numbers) else f"{len(set(numbers))} voices"
    note = f"The speakers are guessed by {voice.name}: {how_many}. Expect errors, or give a diarisation as RTTM."
    return replace(found, segments=tuple(segments), notes=(*found.notes, note))


def settings_sha256(voice: VoiceEmbedding, count: int | None) -> str:
    """What the guessed speakers depend on besides the clip."""
    return hashlib.sha256(f"{voice.name} {voice.sha256} {count}".encode()).hexdigest()


def _read(clip: Path, segment: Segment) -> Tensor | None:
    assert segment.start_s is not None
    assert segment.end_s is not None
    try:
        return read_audio(clip, span=(segment.start_s, segment.end_s), max_seconds=_HEARD_S).samples
    except MediaError:
        return None


def _seconds(segment: Segment) -> float:
    return (segment.end_s or 0.0) - (segment.start_s or 0.0)
