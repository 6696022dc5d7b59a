"""The words of an utterance in its manifest."""

from m2fnet.errors import MediaError
from m2fnet.records import Utterance


def has_text(utterance: Utterance) -> bool:
    """Whether there is a transcript with something in it."""
    return bool(utterance.text and utterance.text.strip())


def utterance_text(utterance: Utterance) -> str:
    """What was said, blanks around it included.

    Raises:
        MediaError: if there is no transcript, or nothing in it.
    """
    if utterance.text is None:
        raise MediaError("text", "there is no transcript")
    if not has_text(utterance):
        raise MediaError("text", "the transcript is empty")
    return utterance.text
