"""The scores of a run whose inputs are missing in part, as ``m2fnet dialog missing`` wrote them."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from m2fnet.errors import RunError
from m2fnet.files import read_json
from m2fnet.metrics.scores import main_score, score_title

MISSING = "missing.json"


@dataclass(frozen=True)
class MissingScores:
    """The main score of one run on test, by the inputs that were given.

    Attributes:
        by_share: share missing at random -> score.
        by_subset: the modalities that were given -> score.
        manifest_sha256: of the corpus that it was tested on.
        title: name of the score.
    """

    by_share: Mapping[float, float]
    by_subset: Mapping[str, float]
    manifest_sha256: str
    title: str = "weighted F1"

    @classmethod
    def read(cls, run: Path) -> "MissingScores":
        """What ``missing.json`` in the run folder says.

        Raises:
            RunError: if there is none, or it is damaged.

        Example:
            >>> import tempfile
            >>> from m2fnet.files import write_json
            >>> both = {"present": ["text", "audio"], "test.weighted_f1": {"value": 0.75}}
            >>> none = {"share": 0.0, "test.weighted_f1": {"value": 0.75}}
            >>> with tempfile.TemporaryDirectory() as folder:
            ...     content = {"subsets": [both], "random": [none], "manifest_sha256": "0"}
            ...     write_json(Path(folder) / MISSING, content)
            ...     MissingScores.read(Path(folder)).by_subset
            {'text + audio': 0.75}
        """
        path, advice = run / MISSING, f"`m2fnet dialog missing --config {run / 'config.yaml'}` writes it again."
        content = read_json(path, RunError, advice)
        main = main_score("multi" if content.get("kind") == "multi" else "single")
        try:
            return cls(
                {float(row["share"]): score_in(row, f"test.{main}") for row in content["random"]},
                {" + ".join(row["present"]): score_in(row, f"test.{main}") for row in content["subsets"]},
                str(content["manifest_sha256"]),
                score_title(main),
            )
        except (KeyError, TypeError, ValueError) as problem:
            raise RunError(f"{path} is damaged ({problem!r}). {advice}") from problem


def score_in(row: Mapping[str, Any], name: str) -> float:
    """The score ``name`` in a row of a file of scores.

    Raises:
        KeyError, TypeError, ValueError: if there is none, or it is no finite number.

    Example:
        >>> score_in({"test.accuracy": {"value": 0.5}}, "test.accuracy")
        0.5
    """
    score = float(row[name]["value"])
    if not math.isfinite(score):
        raise ValueError(f"a score of {score}")
    return score
