"""The rows of a manifest: what a stranger's may hold, checked cell by cell."""

import dataclasses
import math
from collections.abc import Callable, Mapping
from sys import intern
from typing import Any, get_args

from m2fnet.errors import ManifestError
from m2fnet.records import SPLITS, Crop, Utterance

SEQUENCES = ("labels", "defects", "audio_span", "video_span")  # fields that are tuples, and lists in JSON
_REQUIRED = ("id", "corpus", "split", "dialogue", "index")
_REPEATED = ("corpus", "split", "dialogue", "speaker", "label")  # texts of which a corpus has few different ones


def utterance_of(row: Mapping[str, Any], where: str, advice: str) -> Utterance:
    """The utterance in a row, every cell checked.

    Args:
        row: field of `m2fnet.records.Utterance` -> its value as JSON has it.
        where: place of the row, for messages.
        advice: what to do about a row that is wrong.

    Raises:
        ManifestError: naming the field that is absent, unknown or wrong.

    Example:
        >>> row = {"id": "a_0", "corpus": "own", "split": "train", "dialogue": "a", "index": 0, "video_span": [0.5, 2]}
        >>> utterance_of(row, "manifest.jsonl:1", "").video_span
        (0.5, 2)
    """
    absent = [name for name in _REQUIRED if row.get(name) is None]
    if absent:
        raise ManifestError(f"{where} lacks {', '.join(absent)}. {advice}")
    for name, value in row.items():
        if name not in _FIELDS:
            raise ManifestError(f"{where} has the unknown field {name!r}. {advice}")
        is_good, expected = _FIELDS[name]
        if not is_good(value):
            raise ManifestError(f"{where}: field {name!r} is {value!r}, expected {expected}. {advice}")
    tuples = {name: tuple(row[name]) for name in SEQUENCES if row.get(name) is not None}
    shared = {name: intern(row[name]) for name in _REPEATED if type(row.get(name)) is str}
    return Utterance(**{**row, **shared, **tuples})


def row_of(utterance: Utterance) -> dict[str, Any]:
    """The row of an utterance: every field with its value."""
    return {field.name: getattr(utterance, field.name) for field in dataclasses.fields(utterance)}


def _is_text(value: object) -> bool:
    return value is None or isinstance(value, str)


def is_texts(value: object) -> bool:
    """Whether ``value`` is a list of strings."""
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def _is_seconds(value: object) -> bool:
    return value is None or (isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < math.inf)


def _is_span(value: object) -> bool:
    if value is None:
        return True
    return isinstance(value, list) and len(value) == 2 and None not in value and all(map(_is_seconds, value))


# field of a row -> what its value must be, as a test and in words; only those of `_REQUIRED` must not be null
_FIELDS: dict[str, tuple[Callable[[object], bool], str]] = {
    **dict.fromkeys(
        ("id", "corpus", "dialogue", "speaker", "text", "label", "audio", "video", "source"), (_is_text, "a string")
    ),
    "split": (lambda value: value in SPLITS, f"one of {', '.join(SPLITS)}"),
    "index": (lambda value: isinstance(value, int) and not isinstance(value, bool), "an integer"),
    "labels": (lambda value: value is None or is_texts(value), "a list of strings"),
    "defects": (is_texts, "a list of strings"),
    **dict.fromkeys(("start_s", "end_s"), (_is_seconds, "seconds")),
    **dict.fromkeys(("audio_span", "video_span"), (_is_span, "two times in seconds")),
    "crop": (lambda value: value is None or value in get_args(Crop), "left or right"),
}
