"""Several runs in one table: mean ± s.d. over the seeds of each setting."""

import json
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from m2fnet.errors import M2FNetError, UsageError
from m2fnet.files import read_json
from m2fnet.metrics.report import percent

SCORES = ("test.weighted_f1", "test.accuracy", "test.macro_f1", "dev.weighted_f1")
_FACTS = ("corpus", "manifest_sha256", "modalities", "select", "seed", "classes", "test")
_VARIES_BETWEEN_SEEDS = ("seed_everything", "run", "trainer.default_root_dir")


@dataclass(frozen=True)
class Setting:
    """The runs that differ in nothing but the seed, and their scores.

    Attributes:
        name: what tells it apart: the folder of its ``seed-*`` runs, or else its first run.
        runs: the run folders.
        reports: what is in their ``report.json``.
    """

    name: str
    runs: tuple[Path, ...]
    reports: tuple[dict[str, Any], ...]

    def as_dict(self) -> dict[str, Any]:
        """Mean and standard deviation (n - 1; None for one seed) of every score, and what the runs share."""
        first = self.reports[0]
        classes = {name: [r["test"]["per_class"][name]["f1"] for r in self.reports] for name in first["classes"]}
        return {
            "setting": self.name,
            "corpus": first["corpus"],
            "manifest_sha256": first["manifest_sha256"],
            "modalities": first["modalities"],
            "select": first["select"],
            "seeds": [r["seed"] for r in self.reports],
            "n": first["test"]["n"],
            "majority_weighted_f1": first["test"]["majority_weighted_f1"],
            **{score: _spread([r[score] for r in self.reports]) for score in SCORES},
            "per_class_f1": {name: _spread(values) for name, values in classes.items()},
            "runs": [str(run) for run in self.runs],
        }


def collect(runs: Sequence[Path]) -> list[Setting]:
    """Settings in the order of their first run.

    Raises:
        UsageError: if a run has not been tested, or two runs of one setting have the same seed or other data.
    """
    groups: dict[str, list[Path]] = {}
    for run in runs:
        groups.setdefault(_settings_key(run), []).append(run)
    settings = []
    for members in groups.values():
        reports = [_report(run) for run in members]
        seeds = [report["seed"] for report in reports]
        if len(set(seeds)) < len(seeds):
            raise UsageError(f"Two runs of one setting have the same seed {seeds}: {', '.join(map(str, members))}.")
        if len({report["manifest_sha256"] for report in reports}) > 1:
            raise UsageError(
                f"Runs of one setting come from different manifests: {', '.join(map(str, members))}. Train and test "
                "them again on one manifest, or give them to `m2fnet report` apart."
            )
        by_seed = all(run.name.startswith("seed-") for run in members)
        settings.append(Setting(str(members[0].parent if by_seed else members[0]), tuple(members), tuple(reports)))
    return settings


def as_table(settings: Sequence[Setting]) -> str:
    """A Markdown table with one row per setting, scores in per cent as mean ± s.d. over seeds."""
    rows = [setting.as_dict() for setting in settings]
    lines = [
        "| setting | corpus | modalities | seeds | test weighted F1 | test accuracy | test macro F1 | dev weighted F1 "
        "| majority weighted F1 |",
        "|---" * 9 + "|",
    ]
    for row in rows:
        scores = " | ".join(_shown(row[score]) for score in SCORES)
        lines.append(
            f"| {row['setting']} | {row['corpus']} (n = {row['n']}) | {' + '.join(row['modalities'])} "
            f"| {len(row['seeds'])} | {scores} | {percent(row['majority_weighted_f1'])} |"
        )
    for classes in dict.fromkeys(tuple(row["per_class_f1"]) for row in rows):
        lines += ["", f"| F1 per class on test | {' | '.join(classes)} |", "|---" * (1 + len(classes)) + "|"]
        same = [row for row in rows if tuple(row["per_class_f1"]) == classes]
        lines += [
            f"| {row['setting']} | " + " | ".join(_shown(row["per_class_f1"][name]) for name in classes) + " |"
            for row in same
        ]
    if len({row["manifest_sha256"] for row in rows}) > 1:
        lines += ["", "The rows come from different manifests: their scores are not comparable with each other."]
    return "\n".join(lines) + "\n"


def _report(run: Path) -> dict[str, Any]:
    advice = f"Test the run first: `m2fnet dialog test --config {run / 'config.yaml'}`."
    report = read_json(run / "report.json", UsageError, advice)
    missing = [key for key in (*_FACTS, *SCORES) if key not in report]
    if missing:
        raise UsageError(f"{run / 'report.json'} lacks {', '.join(missing)}. {advice}")
    return report


def _settings_key(run: Path) -> str:
    """The run's configuration without what differs between seeds, as one string."""
    try:
        config = yaml.safe_load((run / "config.yaml").read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as problem:
        raise M2FNetError(f"{run} is no run folder: cannot read its config.yaml ({problem}).") from problem
    flat = _flatten(config, "")
    return json.dumps({key: value for key, value in sorted(flat.items()) if key not in _VARIES_BETWEEN_SEEDS})


def _flatten(content: Any, key: str) -> dict[str, Any]:  # noqa: ANN401
    if not isinstance(content, dict):
        return {key: content}
    return {k: v for name, value in content.items() for k, v in _flatten(value, f"{key}.{name}".lstrip(".")).items()}


def _spread(values: Sequence[float]) -> dict[str, float | None]:
    return {
        "mean": statistics.fmean(values),
        "sd": statistics.stdev(values) if len(values) > 1 else None,
    }


def _shown(spread: dict[str, float]) -> str:
    return percent(spread["mean"]) + (f" ± {percent(spread['sd'])}" if spread["sd"] is not None else "")
