"""The folder with the results of one conversation: predictions, subtitles, a timeline, and their provenance."""

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from safetensors.torch import save

from m2fnet.conversation.segments import Found
from m2fnet.conversation.writing import write_csv, write_jsonl, write_srt
from m2fnet.errors import ConversationError
from m2fnet.files import read_json, replaced, write_json
from m2fnet.model import Model
from m2fnet.plots.emotion_timeline import emotion_timeline
from m2fnet.plots.style import rendered
from m2fnet.records import Prediction

ABOUT = "about.json"  # written last: a folder without it holds no whole results
_OTHERS = {
    "segments": "other segments",
    "subtitles": "other subtitles or none next to the clip",
    "context": "other utterances as context (--causal or not)",
    "recogniser": "words of another recogniser or of none (--transcribe)",
    "speakers": "other speakers or none that are guessed (--speakers)",
}


def changed_since(folder: Path, made_from: Mapping[str, str | None]) -> list[str] | None:
    """What the results in ``folder`` were made from that is not the same now, in words; None if it holds no results.

    Args:
        folder: of the results of one conversation.
        made_from: name -> hash or setting of everything that the results depend on; None where it has no part in them.
    """
    try:
        found = read_json(folder / ABOUT, ConversationError, "").get("made_from")
    except ConversationError:
        return None  # absent, or damaged: there are no whole results
    before = found if isinstance(found, dict) else {}
    names = [name for name, value in made_from.items() if before.get(name) != value]
    return [_OTHERS.get(name, f"another {name}") for name in names]


def write_results(
    folder: Path, predictions: Sequence[Prediction], found: Found, made_from: Mapping[str, str | None]
) -> list[str]:
    """Write all results into ``folder`` and return the names of the files.

    Args:
        folder: created if it does not exist; files of the same names are replaced.
        predictions: of one conversation, at least one; without times no subtitles are written.
        found: the utterances, where they were found, and which cues and lines were skipped.
        made_from: what the results depend on, for `changed_since`.
    """
    (folder / ABOUT).unlink(missing_ok=True)
    has_times = all(prediction.start_s is not None for prediction in predictions)
    write_jsonl(predictions, folder / "predictions.jsonl")
    write_csv(predictions, folder / "predictions.csv")
    if has_times:
        write_srt(predictions, folder / "predictions.srt")
    figure = emotion_timeline(predictions, list(predictions[0].probabilities), folder.name)
    for kind in ("svg", "png"):
        with replaced(folder / f"timeline.{kind}") as temporary:
            temporary.write_bytes(rendered(figure, kind))
    about = {
        "made_from": dict(made_from),
        "segments": found.source,
        **{
            name: sources
            for name in ("text_source", "speaker_source")
            if (sources := sorted({value for p in predictions if (value := getattr(p, name)) is not None}))
        },
        "utterances": len(predictions),
        "skipped": list(found.skipped),
        "notes": list(found.notes),
        "missing": {name: dict(reasons) for name, reasons in missing(predictions).items()},
    }
    write_json(folder / ABOUT, about)
    subtitles = ["predictions.srt"] if has_times else []
    return ["predictions.jsonl", "predictions.csv", *subtitles, "timeline.svg", "timeline.png", ABOUT]


def missing(predictions: Sequence[Prediction]) -> dict[str, Counter[str]]:
    """Modality -> reason -> number of utterances that lack it for that reason.

    Example:
        >>> from m2fnet.records import Prediction
        >>> silent = Prediction(0, 1, None, "Hi!", "joy", {"joy": 0.9, "anger": 0.1}, ("text",), {"audio": "no sound"})
        >>> missing([silent, silent])
        {'audio': Counter({'no sound': 2})}
    """
    counts: dict[str, Counter[str]] = {}
    for prediction in predictions:
        for name, reason in prediction.missing.items():
            counts.setdefault(name, Counter())[reason] += 1
    return counts


def model_sha256(model: Model) -> str:
    """Hexadecimal SHA-256 of all that predictions depend on; a run and the model exported from it have the same."""
    parts = {name: model.config.get(name) for name in ("label_set", "network", "extractors", "temperature")}
    if model.thresholds:
        parts["thresholds"] = model.thresholds
    digest = hashlib.sha256(json.dumps(parts, sort_keys=True).encode())
    for name, tensor in model.network.state_dict().items():
        digest.update(save({name: tensor.cpu().contiguous()}))
    return digest.hexdigest()
