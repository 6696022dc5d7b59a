"""What a clip without subtitles lacks, from models: the words, and who speaks."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from m2fnet.conversation.segments import Found
from m2fnet.pipeline.guessed_speakers import (
    CepstralVoice,
    EncodedVoice,
    VoiceEmbedding,
    guess_speakers,
    settings_sha256,
)
from m2fnet.pipeline.recogniser import Recogniser
from m2fnet.pipeline.transcribing import transcribe

Progress = Callable[[int, int], None]
Watch = Callable[[str, int], AbstractContextManager[Progress | None]]


@contextmanager
def _unwatched(what: str, count: int) -> Iterator[None]:  # noqa: ARG001
    yield


@dataclass(frozen=True)
class Annotator:
    """Writes the words of a clip and guesses its speakers, where nobody did.

    Attributes:
        recogniser: writes the words; None: they stay unknown.
        voice: tells speakers apart; None: they stay unknown.
        speakers: how many there are; None: that is found too.

    Example:
        >>> from m2fnet.pipeline import Pipeline, conversation_of
        >>> annotator = Annotator.from_pretrained("openai/whisper-base")  # doctest: +SKIP
        >>> clip, found = conversation_of("talk.mp4")  # doctest: +SKIP
        >>> found = annotator(clip, found)  # doctest: +SKIP
        >>> Pipeline.from_pretrained("models/meld")(clip, segments=found.segments)[0].text  # doctest: +SKIP
        'Look who is here!'
    """

    recogniser: Recogniser | None = None
    voice: VoiceEmbedding | None = None
    speakers: int | None = None

    @classmethod
    def from_pretrained(
        cls,
        whisper: str | None = None,
        *,
        language: str | None = None,
        speakers: int | str | None = None,
        speaker_encoder: str | None = None,
        device: str = "cpu",
    ) -> "Annotator":
        """The annotator with models by name or folder.

        Args:
            whisper: writes the words; None: they stay unknown.
            language: of the speech; None: a multilingual model finds it.
            speakers: how many there are, or ``"auto"``; None: they stay unknown.
            speaker_encoder: encoder of speech that tells voices apart; None: cepstra and pitch.
            device: where the models run.

        Raises:
            UsageError: if ``whisper`` is none, or does not write ``language``.
            RunError: if a model does not exist or is damaged.
        """
        recogniser = None if whisper is None else Recogniser(whisper, device=device, language=language)
        voice: VoiceEmbedding | None = None
        if speakers is not None:
            voice = CepstralVoice() if speaker_encoder is None else EncodedVoice(speaker_encoder, device=device)
        return cls(recogniser, voice, speakers if isinstance(speakers, int) else None)

    @property
    def made_from(self) -> dict[str, str | None]:
        """Hashes of what words and speakers depend on; None for what stays unknown."""
        return {
            "recogniser": None if self.recogniser is None else self.recogniser.sha256,
            "speakers": None if self.voice is None else settings_sha256(self.voice, self.speakers),
        }

    def __call__(self, clip: Path, found: Found, watch: Watch = _unwatched) -> Found:
        """The utterances of ``clip`` with words and speakers; those that have them keep them.

        Args:
            clip: video or sound.
            found: its utterances.
            watch: gives, for a kind of work and its size, a context with what is called with the number that is done
                and that of all.
        """
        if self.recogniser is not None:
            with watch("words", len(found.segments)) as progress:
                found = transcribe(clip, found, self.recogniser, progress)
        if self.voice is not None:
            with watch("voices", len(found.segments)) as progress:
                found = guess_speakers(clip, found, self.voice, self.speakers, progress)
        return found
