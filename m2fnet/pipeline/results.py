"""The folder with the results of one conversation: records, subtitles, a picture, and what they were made from."""

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

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
_OTHERS = {"segments": "other segments", "context": "other turns as context (--causal or not)"}
_ADVICE = "Make the results again with --overwrite, or name another folder with --out."


def is_done(folder: Path, made_from: Mapping[str, Any]) -> bool:
    """Whether ``folder`` already holds the results of the same model on the same conversation.

    Raises:
        ConversationError: if it holds those of something else.
    """
    if not (folder / ABOUT).is_file():
        return False
    found = read_json(folder / ABOUT, ConversationError, _ADVICE).get("made_from")
    found = found if isinstance(found, dict) else {}
    names = [name for name, value in made_from.items() if found.get(name) != value]
    if names:
        others = " and ".join(_OTHERS.get(name, f"another {name}") for name in names)
        raise ConversationError(f"{folder} holds results that were made from {others}. {_ADVICE}")
    return True


def write_results(
    folder: Path, predictions: Sequence[Prediction], found: Found, made_from: Mapping[str, Any]
) -> list[str]:
    """Write everything into ``folder`` and return the names of the files.

    Args:
        folder: made if it is not there; what lay there under the same names is replaced.
        predictions: of one conversation; without times there are no subtitles.
        found: the turns, what told them, and which cues and lines are none.
        made_from: what the results depend on, for `is_done`.
    """
    (folder / ABOUT).unlink(missing_ok=True)
    has_times = all(prediction.start_s is not None for prediction in predictions)
    writers = {"predictions.jsonl": write_jsonl, "predictions.csv": write_csv}
    writers |= {"predictions.srt": write_srt} if has_times else {}
    for name, write in writers.items():
        write(predictions, folder / name)
    figure = emotion_timeline(predictions, list(predictions[0].probabilities), folder.name)
    for kind in ("svg", "png"):
        with replaced(folder / f"timeline.{kind}") as temporary:
            temporary.write_bytes(rendered(figure, kind))
    about = {
        "made_from": dict(made_from),
        "segments": found.source,
        "turns": len(predictions),
        "left_out": list(found.left_out),
        "missing": {name: dict(reasons) for name, reasons in missing(predictions).items()},
    }
    write_json(folder / ABOUT, about)
    return [*writers, "timeline.svg", "timeline.png", ABOUT]


def missing(predictions: Sequence[Prediction]) -> dict[str, Counter[str]]:
    """Modality -> reason -> number of turns that lack it for that reason."""
    counts: dict[str, Counter[str]] = {}
    for prediction in predictions:
        for name, reason in prediction.missing.items():
            counts.setdefault(name, Counter())[reason] += 1
    return counts


def model_sha256(model: Model) -> str:
    """One hash of all that a model's answers depend on; a run and the folder exported from it have the same."""
    parts = {name: model.config.get(name) for name in ("label_set", "network", "extractors", "temperature")}
    digest = hashlib.sha256(json.dumps(parts, sort_keys=True).encode())
    for name, tensor in model.network.state_dict().items():
        digest.update(save({name: tensor.cpu().contiguous()}))
    return digest.hexdigest()
