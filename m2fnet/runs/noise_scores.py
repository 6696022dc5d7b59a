"""The scores of a run with noise in its inputs, as ``m2fnet noise`` wrote them."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from m2fnet.errors import RunError
from m2fnet.files import read_json
from m2fnet.metrics.scores import main_score, score_title
from m2fnet.runs.missing_scores import score_in

NOISE = "noise.json"
# of each modality the noise, and what its level is
NOISES: Mapping[str, tuple[str, str]] = {
    "audio": ("white noise in the sound", "signal to noise (dB)"),
    "visual": ("blurred pictures", "blur (% of the height)"),
    "text": ("words replaced by others", "words replaced (%)"),
}


@dataclass(frozen=True)
class NoiseScores:
    """The main score of one run, by the noise in its inputs.

    Attributes:
        clean: score without noise.
        by_level: modality -> level -> score.
        split: that was scored.
        manifest_sha256: of the corpus that it was tested on.
        title: name of the score.
    """

    clean: float
    by_level: Mapping[str, Mapping[float, float]]
    split: str
    manifest_sha256: str
    title: str = "weighted F1"

    @classmethod
    def read(cls, run: Path) -> "NoiseScores":
        """What ``noise.json`` in the run folder says.

        Raises:
            RunError: if there is none, or it is damaged.

        Example:
            >>> import tempfile
            >>> from m2fnet.files import write_json
            >>> heard = {"modality": "audio", "level": 0.0, "weighted_f1": {"value": 0.5}}
            >>> with tempfile.TemporaryDirectory() as folder:
            ...     content = {"without": {"weighted_f1": {"value": 0.75}}, "noise": [heard], "split": "test"}
            ...     write_json(Path(folder) / NOISE, {**content, "manifest_sha256": "0"})
            ...     NoiseScores.read(Path(folder)).by_level
            {'audio': {0.0: 0.5}}
        """
        path, advice = run / NOISE, f"`m2fnet noise {run}` writes it again."
        content = read_json(path, RunError, advice)
        main = main_score("multi" if content.get("kind") == "multi" else "single")
        try:
            by_level: dict[str, dict[float, float]] = {}
            for row in content["noise"]:
                by_level.setdefault(str(row["modality"]), {})[float(row["level"])] = score_in(row, main)
            return cls(
                score_in(content["without"], main),
                by_level,
                str(content["split"]),
                str(content["manifest_sha256"]),
                score_title(main),
            )
        except (KeyError, TypeError, ValueError) as problem:
            raise RunError(f"{path} is damaged ({problem!r}). {advice}") from problem
