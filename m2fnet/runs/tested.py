"""Tested runs and settings as reports read them: every file is checked, and only like is compared with like."""

import math
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from m2fnet.errors import LabelSetsError, M2FNetError, UsageError
from m2fnet.files import like_it, read_json, read_jsonl
from m2fnet.formatting import percent
from m2fnet.manifest import Manifest
from m2fnet.metrics.counts import Array, Counts, count_dialogues
from m2fnet.metrics.scores import STATISTICS, main_score, score_title
from m2fnet.records import LabelKind, Scored, ScoredLabelSet, ScoredPrediction
from m2fnet.runs.folder import differences, settings_of_a_run
from m2fnet.runs.renamed import with_current_names

PREDICTIONS = {"dev": "predictions_dev.jsonl", "test": "predictions.jsonl"}
_FACTS = ("corpus", "manifest_sha256", "modalities", "select", "seed", "classes", "dev", "test")


@dataclass(frozen=True)
class TestedRun:
    """One tested run.

    Attributes:
        folder: the run folder.
        config: what is in its ``config.yaml``.
        report: what is in its ``report.json``.
        scored: the predictions for the labelled test utterances, sorted by id.
    """

    folder: Path
    config: dict[str, Any]
    report: dict[str, Any]
    scored: tuple[Scored, ...]

    @classmethod
    def read(cls, folder: Path) -> "TestedRun":
        """Read the run in ``folder``.

        Raises:
            UsageError: if it has not been tested, its files are damaged or contradict each other, or it is a folder of
                runs.
            M2FNetError: if it is not a run folder.

        Example:
            >>> import tempfile
            >>> from m2fnet.files import write_json, write_jsonl, write_text
            >>> from m2fnet.problems import make_problem
            >>> from m2fnet.records import LabelSet
            >>> problem = make_problem(LabelSet("own", ("joy", "anger")), {})
            >>> answers = [ScoredPrediction("a_0", "a", "joy", "joy", {"joy": 0.75, "anger": 0.25})]
            >>> report = problem.report({"dev": answers, "test": answers}, [("joy",)])
            >>> facts = {"corpus": "own", "manifest_sha256": "0", "modalities": ["text"], "select": "dev", "seed": 0}
            >>> with tempfile.TemporaryDirectory() as folder:
            ...     write_text(Path(folder) / "config.yaml", "seed_everything: 0")
            ...     write_json(Path(folder) / "report.json", {**facts, **report})
            ...     write_jsonl(Path(folder) / "predictions.jsonl", [vars(row) for row in answers])
            ...     run = TestedRun.read(Path(folder))
            >>> run.predictions[0].predicted, run.confusion().tolist(), run.counts().exact.tolist()
            ('joy', [[1.0, 0.0], [0.0, 0.0]], [1.0])
        """
        config, report = _config(folder), _report(folder)
        run = cls(folder, config, report, read_scored(folder, "test", report["classes"], kind_of(report)))
        name = main_score(run.kind)
        found, said = float(STATISTICS[run.kind][name](run.counts().sum(0))), report["test"][name]
        if abs(found - said) > 1e-6:
            raise UsageError(
                f"{folder / 'report.json'} says a {score_title(name)} of {percent(said)}, but its "
                f"{PREDICTIONS['test']} gives {percent(found)}: they do not come from one test. {_advice(folder)}"
            )
        return run

    @property
    def kind(self) -> LabelKind:
        """Whether an utterance has one emotion or a set of them."""
        return kind_of(self.report)

    @property
    def predictions(self) -> tuple[ScoredPrediction, ...]:
        """``scored`` of a corpus with one emotion per utterance.

        Raises:
            UsageError: if utterances have sets of emotions.
        """
        single = tuple(one for one in self.scored if isinstance(one, ScoredPrediction))
        if len(single) < len(self.scored):
            raise LabelSetsError(self.folder)
        return single

    def counts(self, ids: Collection[str] | None = None) -> Counts:
        """Counts ``(D,)`` of the test dialogues; only of the utterances ``ids`` if given."""
        rows = [p for p in self.scored if ids is None or p.id in ids]
        true, answers = [p.label_sets[0] or () for p in rows], [p.label_sets[1] for p in rows]
        return count_dialogues(true, answers, [p.dialogue for p in rows], self.report["classes"])

    def confusion(self) -> Array:
        """Confusion matrix ``(C, C)`` of the test utterances, rows true, columns predicted.

        Raises:
            UsageError: if utterances have sets of emotions, which have none.
        """
        number = {name: n for n, name in enumerate(self.report["classes"])}
        matrix = np.zeros((len(number), len(number)))
        for one in self.predictions:
            matrix[number[str(one.label)], number[one.predicted]] += 1
        return matrix


@dataclass(frozen=True)
class TestedSetting:
    """The runs that differ in nothing but the seed, in the order of their seeds.

    Attributes:
        name: what tells it apart: the folder of its ``seed-*`` runs, or else its first run.
        runs: the tested runs.
    """

    name: str
    runs: tuple[TestedRun, ...]

    @property
    def seeds(self) -> list[int]:
        """The seeds of its runs."""
        return [run.report["seed"] for run in self.runs]

    @property
    def kind(self) -> LabelKind:
        """Whether an utterance has one emotion or a set of them."""
        return self.runs[0].kind

    def counts(self, ids: Collection[str] | None = None) -> Counts:
        """Counts ``(S, D)`` of its runs and the test dialogues; only of the utterances ``ids`` if given."""
        return Counts.stack([run.counts(ids) for run in self.runs])


def inputs_of(report: Mapping[str, Any]) -> list[str]:
    """Names of the streams that the network read; an older report has only their modalities, which named them.

    Example:
        >>> inputs_of({"streams": ["text", "clip"], "modalities": ["text", "visual"]})
        ['text', 'clip']
    """
    return list(report.get("streams", report["modalities"]))


def name_of_data(report: Mapping[str, Any]) -> str:
    """Name of the corpus that was tested, and of the one that the run was trained on if that is another.

    Example:
        >>> name_of_data({"corpus": "iemocap6", "trained_on": "meld"})
        'iemocap6 (trained on meld)'
    """
    return f"{report['corpus']} (trained on {report['trained_on']})" if "trained_on" in report else report["corpus"]


def collect(folders: Sequence[Path]) -> list[TestedSetting]:
    """Settings in the order of their first run, all tested on the same utterances.

    Raises:
        UsageError: if a run has not been tested, two runs of one setting have the same seed or other data, or two runs
            were tested on other utterances, labels or label sets.
    """
    groups: list[list[TestedRun]] = []
    runs = [TestedRun.read(folder) for folder in folders]
    for run in runs:
        _refuse_unlike(runs[0], run)
        same = next((members for members in groups if not _what_differs(members[0], run)), None)
        if same is None:
            groups.append([run])
        else:
            same.append(run)
    settings = [_setting(members) for members in groups]
    names = Counter(setting.name for setting in settings)
    return [
        setting if names[setting.name] == 1 else replace(setting, name=str(setting.runs[0].folder))
        for setting in settings
    ]


def what_differs(settings: Sequence[TestedSetting]) -> dict[str, dict[str, str]]:
    """Name of a setting -> dotted key -> value, of the keys whose values are not the same in all of ``settings``.

    A setting without a key, because its network has none of that name or leaves it open, has a dash there.
    """
    first = settings[0].runs[0]
    found = [_what_differs(first, setting.runs[0]) for setting in settings]
    same = {key: before for some in found for key, (before, _) in some.items()}
    values = [same | {key: after for key, (_, after) in some.items()} for some in found]
    return {
        setting.name: {key: "–" if value is None else str(value) for key, value in its.items()}
        for setting, its in zip(settings, values, strict=True)
    }


def manifest_of(settings: Sequence[TestedSetting], folder: Path | None = None) -> Manifest:
    """The manifest that the runs were tested on: the one in ``folder``, or else where their configuration says.

    Raises:
        UsageError: if it cannot be found or is another one.
    """
    reports = [run.report for setting in settings for run in setting.runs]
    first = settings[0].runs[0]
    named = first.config.get("data", {}).get("manifest") if isinstance(first.config.get("data"), dict) else None
    place = folder or (Path(named) if isinstance(named, str) else None)
    advice = "Name the folder of the manifest with --manifest DIR."
    if place is None or not place.is_dir():
        raise UsageError(f"The manifest of {first.folder} is not at {place}. {advice}")
    manifest = Manifest.load(place)
    if manifest.sha256 not in {report["manifest_sha256"] for report in reports}:
        raise UsageError(
            f"The manifest in {place} has SHA-256 {manifest.sha256[:12]}…, but {first.folder} was tested on "
            f"{str(first.report['manifest_sha256'])[:12]}…. {advice}"
        )
    strangers = {p.id for p in first.scored} - {u.id for u in manifest.utterances}
    if strangers:
        raise UsageError(f"{first.folder} has predictions of {min(strangers)!r}, which is not in {place}. {advice}")
    return manifest


def read_predictions(folder: Path, split: str, classes: Sequence[str]) -> tuple[ScoredPrediction, ...]:
    """The predictions of a run for the labelled utterances of ``"dev"`` or ``"test"``, sorted by id.

    Raises:
        UsageError: if the file is absent or a line of it is not a prediction with one probability per class.

    Example:
        >>> import json, tempfile
        >>> row = {
        ...     "id": "a_0", "dialogue": "a", "label": "joy", "predicted": "joy",
        ...     "probabilities": {"joy": 0.9, "anger": 0.1},
        ... }
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = (Path(folder) / "predictions.jsonl").write_text(json.dumps(row))
        ...     read_predictions(Path(folder), "test", ["joy", "anger"])[0].predicted
        'joy'
    """
    report = folder / "report.json"
    if report.is_file() and kind_of(read_json(report, UsageError, _advice(folder))) == "multi":
        raise LabelSetsError(folder)
    found = read_scored(folder, split, classes, "single")
    return tuple(one for one in found if isinstance(one, ScoredPrediction))


def read_scored(folder: Path, split: str, classes: Sequence[str], kind: LabelKind) -> tuple[Scored, ...]:
    """The predictions of a run for the labelled utterances of ``"dev"`` or ``"test"``, sorted by id.

    Raises:
        UsageError: if the file is absent or a line of it is not a prediction of this ``kind`` with one probability per
            class.
    """
    path = folder / PREDICTIONS[split]
    rows = read_jsonl(path, UsageError, _advice(folder))
    read = _prediction if kind == "single" else _label_set
    found: list[Scored] = [read(row, f"{path}:{number}", classes) for number, row in enumerate(rows, start=1)]
    if not found or len({p.id for p in found}) < len(found):
        raise UsageError(
            f"{path} holds no prediction, or two of one utterance; expected one of each. {_advice(folder)}"
        )
    return tuple(sorted(found, key=lambda p: p.id))


def kind_of(report: Mapping[str, Any]) -> LabelKind:
    """Whether a report is about one emotion per utterance, as all were before they said so, or sets of them."""
    return "multi" if report.get("kind") == "multi" else "single"


def _label_set(row: dict[str, Any], where: str, classes: Sequence[str]) -> ScoredLabelSet:
    probabilities = row.get("probabilities")
    is_good = (
        all(isinstance(row.get(key), str) for key in ("id", "dialogue"))
        and all(_is_texts(row.get(key)) and set(row[key]) <= set(classes) for key in ("labels", "predicted"))
        and isinstance(probabilities, dict)
        and set(probabilities) == set(classes)
        and all(_is_number(value) and 0 <= value <= 1 for value in probabilities.values())
    )
    if not is_good:
        raise UsageError(
            f"{where} is not a prediction; expected id, dialogue, labels, predicted and a probability from 0 to 1 for "
            f"each of {', '.join(classes)}. {_advice(Path(where).parent)}"
        )
    return ScoredLabelSet(
        row["id"], row["dialogue"], tuple(row["labels"]), tuple(row["predicted"]), row["probabilities"]
    )


def _prediction(row: dict[str, Any], where: str, classes: Sequence[str]) -> ScoredPrediction:
    probabilities = row.get("probabilities")
    is_good = (
        all(isinstance(row.get(key), str) for key in ("id", "dialogue", "label", "predicted"))
        and {row["label"], row["predicted"]} <= set(classes)
        and isinstance(probabilities, dict)
        and set(probabilities) == set(classes)
        and all(_is_number(value) and 0 <= value <= 1.01 for value in probabilities.values())
        and abs(math.fsum(probabilities.values()) - 1) < 1e-2  # softmax in bfloat16
    )
    if not is_good:
        raise UsageError(
            f"{where} is not a prediction; expected id, dialogue, label, predicted and probabilities that add up to 1, "
            f"one for each of {', '.join(classes)}. {_advice(Path(where).parent)}"
        )
    return ScoredPrediction(row["id"], row["dialogue"], row["label"], row["predicted"], row["probabilities"])


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _setting(members: Sequence[TestedRun]) -> TestedSetting:
    names = ", ".join(str(run.folder) for run in members)
    runs = sorted(members, key=lambda run: run.report["seed"])
    seeds = [run.report["seed"] for run in runs]
    if len(set(seeds)) < len(seeds):
        raise UsageError(f"Two runs of one setting have the same seed {seeds}: {names}.")
    if len({run.report["manifest_sha256"] for run in runs}) > 1:
        raise UsageError(
            f"Runs of one setting come from different manifests: {names}. Train and test them again on one manifest, "
            "or give them to `m2fnet report` apart."
        )
    by_seed = all(run.folder.name.startswith("seed-") for run in members)
    return TestedSetting(str(members[0].folder.parent if by_seed else members[0].folder), tuple(runs))


def _refuse_unlike(first: TestedRun, second: TestedRun) -> None:
    """Raise unless both runs were tested on the same utterances and labels, out of the same label set."""
    names, advice = f"{first.folder} and {second.folder}", "Only like is compared with like: report them apart."
    for key, what in (("corpus", "corpora"), ("classes", "label sets"), ("kind", "kinds of label sets")):
        found = [run.kind if key == "kind" else run.report[key] for run in (first, second)]
        if found[0] != found[1]:
            raise UsageError(f"{names} have different {what}: {found[0]} and {found[1]}. {advice}")
    true = [{p.id: (p.dialogue, p.label_sets[0]) for p in run.scored} for run in (first, second)]
    if true[0] != true[1]:
        differing = sorted(key for key in true[0].keys() | true[1].keys() if true[0].get(key) != true[1].get(key))
        raise UsageError(
            f"{names} were tested on different utterances or labels: {len(true[0])} and {len(true[1])} utterances, "
            f"of which {len(differing)} differ, the first is {differing[0]!r}. {advice}"
        )


def _advice(folder: Path) -> str:
    return f"Test the run first: `m2fnet dialog test --config {folder / 'config.yaml'}`."


def _report(folder: Path) -> dict[str, Any]:
    report = read_json(folder / "report.json", UsageError, _advice(folder))
    missing = [key for key in _FACTS if key not in report]
    if missing:
        raise UsageError(
            f"{folder / 'report.json'} is not a report of `m2fnet dialog test` or `m2fnet extractor test`: it lacks "
            f"{', '.join(missing)}. {_advice(folder)}"
        )
    classes = report["classes"] if _is_texts(report["classes"]) else []
    kind = kind_of(report)
    main, *others = STATISTICS[kind]
    scores = {"dev": [main], "test": [main, *others]}
    is_good = {
        **{name: isinstance(report[name], str) for name in ("corpus", "manifest_sha256", "select")},
        "seed": isinstance(report["seed"], int),
        "classes": 1 < len(set(classes)) == len(classes),
        "modalities": _is_texts(report["modalities"]),
        **{name: isinstance(report[name], dict) for name in scores},
        **{
            f"{split}.{name}": isinstance(report[split], dict) and _is_number(report[split].get(name))
            for split, names in scores.items()
            for name in names
        },
    }
    if kind == "single" and is_good["test"]:
        is_good["test.majority_class"] = report["test"].get("majority_class") in classes
    if kind == "multi" and is_good["test"]:
        is_good["test.baselines"] = _are_baselines(report["test"].get("baselines"), classes)
    damaged = [name for name, good in is_good.items() if not good]
    if damaged:
        raise UsageError(f"{folder / 'report.json'} is damaged: {', '.join(damaged)}. {_advice(folder)}")
    return report


def _are_baselines(value: object, classes: Sequence[str]) -> bool:
    return isinstance(value, dict) and all(
        isinstance(one, dict) and _is_texts(one.get("labels")) and set(one["labels"]) <= set(classes)
        for one in value.values()
    )


def _is_texts(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def _config(folder: Path) -> dict[str, Any]:
    if not (folder / "config.yaml").exists() and any(folder.glob("seed-*/config.yaml")):
        raise UsageError(f"{folder} is not a run, but holds runs; name those: {folder / 'seed-*'}.")
    try:
        config = yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as problem:
        why = f"{folder} is not a run folder: cannot read its config.yaml ({problem}).{like_it(folder)}"
        raise M2FNetError(why) from problem
    if not isinstance(config, dict):
        raise M2FNetError(f"{folder} is not a run folder: its config.yaml holds no settings.")
    return with_current_names(config)


def _what_differs(first: TestedRun, second: TestedRun) -> dict[str, tuple[Any, Any]]:
    """Dotted key -> both values of every setting that makes another run, the seed aside."""
    found = differences(*(settings_of_a_run(run.config) for run in (first, second)))
    return {key: values for key, values in found.items() if key != "seed_everything"}
