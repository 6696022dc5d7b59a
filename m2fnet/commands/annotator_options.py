"""The options of `m2fnet predict` and `m2fnet serve` about a clip without subtitles: its words, and who speaks."""

import argparse
from typing import TYPE_CHECKING

from m2fnet.commands.arguments import positive_int
from m2fnet.errors import UsageError

if TYPE_CHECKING:
    from m2fnet.pipeline.annotator import Annotator


def add_annotator_options(parser: argparse.ArgumentParser) -> None:
    """Add ``--transcribe``, ``--language``, ``--speakers`` and ``--speaker-encoder`` to a parser."""
    unknown = parser.add_argument_group("a clip without subtitles")
    unknown.add_argument(
        "--transcribe",
        metavar="WHISPER",
        help="let this Whisper write the words of utterances that have times and no words: a name on the hub, such as "
        "openai/whisper-base, or a folder",
    )
    unknown.add_argument(
        "--language",
        metavar="LANG",
        help="of the speech, such as de (default: a multilingual Whisper finds it)",
    )
    unknown.add_argument(
        "--speakers",
        type=_speakers,
        metavar="N|auto",
        help="guess who speaks from the voices of so many people, or of as many as seem to be there, where no file "
        "names a speaker. A rough guess by cepstra and pitch; a diarisation as RTTM is far better",
    )
    unknown.add_argument(
        "--speaker-encoder",
        metavar="MODEL",
        help="tell the voices apart by this encoder of speech instead (WavLM, HuBERT, wav2vec 2.0, Whisper)",
    )


def check_annotator_options(arguments: argparse.Namespace) -> None:
    """Refuse options that do nothing, before any model is loaded.

    Raises:
        UsageError: if one is there without the option that it is about.
    """
    if arguments.language is not None and arguments.transcribe is None:
        raise UsageError("--language is the language that --transcribe WHISPER writes; name a Whisper, or drop it.")
    if arguments.speaker_encoder is not None and arguments.speakers is None:
        raise UsageError("--speaker-encoder tells the voices of --speakers apart; add --speakers auto, or drop it.")


def load_annotator(arguments: argparse.Namespace) -> "Annotator | None":
    """The annotator that the options name; None if they name none.

    Raises:
        M2FNetError: if a model does not exist or does not fit.
    """
    if arguments.transcribe is None and arguments.speakers is None:
        return None
    from m2fnet.pipeline.annotator import Annotator  # loads transformers

    return Annotator.from_pretrained(
        arguments.transcribe,
        language=arguments.language,
        speakers=arguments.speakers,
        speaker_encoder=arguments.speaker_encoder,
        device=arguments.device,
    )


def _speakers(text: str) -> int | str:
    """The value of ``--speakers``."""
    if text == "auto":
        return text
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"expected a whole number from 1, or auto, got {text!r}")
    return positive_int(text)
