"""The sound of an utterance in its manifest."""

from dataclasses import replace

from extractors.base import PlacedUtterance
from m2fnet.errors import MediaError
from m2fnet.media.audio import Sound, read_audio


def utterance_sound(placed: PlacedUtterance, max_seconds: float) -> Sound:
    """Sound at 16 kHz of the utterance, of a long one the first ``max_seconds``.

    Raises:
        MediaError: if it has no sound that can be heard.
    """
    utterance = placed.utterance
    if utterance.audio is None:
        raise MediaError("audio", "the manifest names no sound")
    path = placed.manifest.media_path(utterance.audio)
    sound = read_audio(path, span=utterance.audio_span, max_seconds=max_seconds)
    if placed.noise is not None:
        sound = replace(sound, samples=placed.noise.heard(sound.samples, utterance.id))
    return sound
