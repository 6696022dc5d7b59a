"""The predictions of a tested run as a file that `m2fnet.runs.tested` reads."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from m2fnet.files import write_jsonl
from m2fnet.records import ScoredLabelSet, ScoredPrediction


def write_predictions(run: Path, split: str, rows: Sequence[ScoredPrediction | ScoredLabelSet]) -> None:
    """Write ``predictions.jsonl`` (of the test split) or ``predictions_SPLIT.jsonl`` into ``run``, a row per line."""
    name = "predictions.jsonl" if split == "test" else f"predictions_{split}.jsonl"
    write_jsonl(run / name, [asdict(row) for row in rows])
