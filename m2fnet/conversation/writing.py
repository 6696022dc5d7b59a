"""Predictions as files: JSONL that can be read back whole, CSV for tables, SRT for players."""

import math
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from m2fnet import files
from m2fnet.conversation.predictions import Predictions
from m2fnet.errors import ConversationError
from m2fnet.formatting import plain
from m2fnet.records import MODALITIES, Prediction, SeenFrame

_MOST = 1e9  # seconds, thirty years; NaN is not smaller either
_ADVICE = "Make it again with `m2fnet predict`."
_SOURCES = ("text_source", "speaker_source")  # of what no person wrote
_FORMULA = ("=", "+", "-", "@")  # a cell that begins so is calculated by spreadsheets
_HARMLESS = str.maketrans("<>{}", "‹›()")  # players take the left ones for tags


def write_jsonl(predictions: Sequence[Prediction], path: Path) -> None:
    """Write one prediction per line, with everything in it; `load` gives the same predictions back.

    Only the predictions of a model of sets of emotions have ``labels`` and ``thresholds``, only those of a model that
    rates have ``ratings``, only recognised words have ``text_source``, and only guessed speakers ``speaker_source``.
    """
    rows = [asdict(prediction) for prediction in predictions]
    for row in rows:
        if row["labels"] is None:
            del row["labels"], row["thresholds"]
        for name in (*_SOURCES, "ratings"):
            if not row[name]:
                del row[name]
    files.write_jsonl(path, rows)


def load(path: Path) -> Predictions:
    """The predictions that `write_jsonl` wrote.

    Raises:
        ConversationError: naming the line that is not a prediction.
    """
    rows = files.read_jsonl(path, ConversationError, _ADVICE)
    return Predictions(_prediction(row, f"{path}:{number}") for number, row in enumerate(rows, start=1))


def write_csv(predictions: Sequence[Prediction], path: Path) -> None:
    """Write a table with one row per prediction and one column per emotion.

    It can be read as segments again. A text or name that a spreadsheet would calculate gets an apostrophe in front.
    """
    table = Predictions(predictions).to_pandas()
    for name, column in table.items():
        if name in ("start_s", "end_s"):
            table[name] = column.map("{:.3f}".format, na_action="ignore")
        elif column.dtype == float:
            table[name] = column.map("{:.4f}".format)
        else:
            table[name] = column.map(_cell)
    files.write_text(path, table.to_csv(index=False, lineterminator="\n"))


def write_srt(predictions: Sequence[Prediction], path: Path) -> None:
    """Write subtitles such as ``[joy 87 %] Ann: text``, or for a set of emotions ``[joy 87 %, fear 60 %] Ann: text``.

    No bracket in them is one that a player takes for a tag.

    Raises:
        ConversationError: if an utterance has no times.
    """
    cues = [f"{number}\n{_timing(p, number)}\n{_line(p)}\n" for number, p in enumerate(predictions, start=1)]
    files.write_text(path, "\n".join(cues))


def _line(prediction: Prediction) -> str:
    said = ": ".join(part for part in (prediction.speaker, prediction.text) if part)
    line = f"[{prediction.as_words}] {said}"
    return plain(line).translate(_HARMLESS).strip()


def _timing(prediction: Prediction, number: int) -> str:
    if prediction.start_s is None or prediction.end_s is None:
        raise ConversationError(
            f"Utterance {number} has no times, but subtitles need them. Write JSONL or CSV for a transcript without "
            "times."
        )
    return f"{_stamp(prediction.start_s)} --> {_stamp(prediction.end_s)}"


def _stamp(seconds: float) -> str:
    minutes, milliseconds = divmod(round(1000 * seconds), 60_000)
    return f"{minutes // 60:02d}:{minutes % 60:02d}:{milliseconds // 1000:02d},{milliseconds % 1000:03d}"


def _cell(text: str | None) -> str:
    line = plain(text or "").strip()
    return f"'{line}" if line.startswith(_FORMULA) else line


def _prediction(row: dict[str, Any], where: str) -> Prediction:
    """The prediction of a line, if every field is what it should be."""
    if not row.get("labels") and not row.get("thresholds"):  # of a model of one emotion per utterance
        row = {name: value for name, value in row.items() if name not in ("labels", "thresholds")}
    probabilities, missing, modalities = row.get("probabilities"), row.get("missing"), row.get("modalities")
    labels, thresholds = row.get("labels"), row.get("thresholds")
    has_sets = "labels" in row or "thresholds" in row
    is_good = {
        "start_s": _is_time(row.get("start_s")),
        "end_s": _is_time(row.get("end_s")) and (row.get("start_s") is None) == (row.get("end_s") is None),
        "speaker": isinstance(row.get("speaker"), str | None),
        "text": isinstance(row.get("text"), str | None),
        "probabilities": isinstance(probabilities, dict)
        and (_are_shares(probabilities) if has_sets else _sums_to_one(list(probabilities.values()))),
        "emotion": isinstance(probabilities, dict) and row.get("emotion") in list(probabilities),
        "modalities": isinstance(modalities, list) and all(name in MODALITIES for name in modalities),
        "missing": isinstance(missing, dict)
        and all(name in MODALITIES for name in missing)
        and all(isinstance(reason, str) for reason in missing.values()),
        "frames": isinstance(row.get("frames"), list) and all(map(_is_frame, row["frames"])),
    }
    if has_sets and isinstance(probabilities, dict):
        is_good["labels"] = isinstance(labels, list) and all(name in list(probabilities) for name in labels)
        is_good["thresholds"] = (
            isinstance(thresholds, dict) and list(thresholds) == list(probabilities) and _are_shares(thresholds)
        )
    is_good |= {name: isinstance(row[name], str | None) for name in _SOURCES if name in row}
    if "ratings" in row:
        is_good["ratings"] = isinstance(row["ratings"], dict) and all(map(_is_number, row["ratings"].values()))
    wrong = next((name for name, good in is_good.items() if not good or name not in row), None)
    surplus = next((name for name in row if name not in is_good), None)
    if wrong is not None or surplus is not None:
        problem = f"the field {wrong!r} is {row.get(wrong)!r}" if wrong is not None else f"{surplus!r} is unknown"
        raise ConversationError(f"{where} is not a prediction: {problem[:200]}. {_ADVICE}")
    frames = tuple(SeenFrame(frame["time_s"], tuple(map(tuple, frame["faces"]))) for frame in row["frames"])
    if has_sets:
        row = {**row, "labels": tuple(row["labels"])}
    return Prediction(**{**row, "modalities": tuple(row["modalities"]), "frames": frames})


def _is_frame(value: object) -> bool:
    return (
        isinstance(value, dict)
        and value.keys() == {"time_s", "faces"}
        and _is_number(value["time_s"])
        and isinstance(value["faces"], list)
        and all(map(_is_box, value["faces"]))
    )


def _is_box(value: object) -> bool:
    if not isinstance(value, list) or len(value) != 4 or not all(_is_number(side) and 0 <= side <= 1 for side in value):
        return False
    left, top, right, bottom = value
    return bool(left < right and top < bottom)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < _MOST


def _is_time(value: object) -> bool:
    return value is None or _is_number(value)


def _are_shares(values: dict[str, Any]) -> bool:
    return all(_is_number(value) and 0 <= value <= 1 for value in values.values())


def _sums_to_one(values: list[Any]) -> bool:
    return all(_is_number(value) and 0 <= value <= 1.01 for value in values) and abs(math.fsum(values) - 1) < 1e-2
