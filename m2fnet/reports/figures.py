"""All pictures of tested settings, in the order of the page."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from m2fnet.errors import M2FNetError, RunError, UsageError
from m2fnet.manifest import Manifest
from m2fnet.metrics.calibration import Floats, at_temperature, fit_temperature
from m2fnet.plots.attention import FILE as ATTENTION
from m2fnet.plots.attention import DialogueAttention, attention_maps
from m2fnet.plots.calibration import Answers, reliability_diagram
from m2fnet.plots.classes import PAPER, class_scores
from m2fnet.plots.confusion import confusion
from m2fnet.plots.curves import training_curves
from m2fnet.plots.embeddings import MOST, embedding_map
from m2fnet.plots.missing import FILE as MISSING
from m2fnet.plots.missing import MissingScores, missing_curves
from m2fnet.plots.style import short_names
from m2fnet.plots.timeline import timeline
from m2fnet.records import Dialogue
from m2fnet.runs.curves import Curves
from m2fnet.runs.folder import CONFIG
from m2fnet.runs.tested import TestedRun, TestedSetting, read_predictions
from m2fnet.store import Store

_PLACES = {"hard": 0.1, "middling": 0.5, "easy": 0.9}  # among the dialogues by accuracy, whose timelines are drawn
_FEWEST_TURNS, _MOST_TURNS = 5, 24  # of a timeline: shorter shows no course, longer does not fit a screen


@dataclass(frozen=True)
class Picture:
    """A figure with its words.

    Attributes:
        name: of its files, without suffix.
        title: what it shows.
        caption: how to read it, and where its numbers come from.
        figure: the drawing.
    """

    name: str
    title: str
    caption: str
    figure: Figure


@dataclass(frozen=True)
class LeftOut:
    """A picture that could not be drawn, and why."""

    title: str
    reason: str


def pictures(
    settings: Sequence[TestedSetting], summary: Mapping[str, Any], find_manifest: Callable[[], Manifest]
) -> Iterator[Picture | LeftOut]:
    """Every picture that the runs have the data for, and a `LeftOut` in the place of each other one.

    Args:
        settings: as `m2fnet.runs.tested.collect` returns them.
        summary: of `m2fnet.reports.summary.summarise_settings`.
        find_manifest: returns the manifest that the runs were tested on, or raises an error that says what to do.
    """
    names = dict(zip((s.name for s in settings), short_names([s.name for s in settings]), strict=True))
    yield _classes(summary, names)
    for number, setting in enumerate(settings, start=1):
        yield _confusion(setting, _Label(number, len(settings), names[setting.name]))
    yield from _try("Training curves", _curves, settings, names)
    for number, setting in enumerate(settings, start=1):
        label = _Label(number, len(settings), names[setting.name])
        yield from _try(label.title("Calibration"), _calibration, setting, label)
    yield from _try("Missing modalities", _missing, settings, names)
    yield from _try("Dialogue timelines", lambda: _timelines(settings, names, find_manifest()))
    for number, setting in enumerate(settings, start=1):
        label = _Label(number, len(settings), names[setting.name])
        yield from _try(label.title("Attention of the fusion layers"), _attention, setting, label)
    yield from _try("Embedding maps", lambda: _maps(settings, find_manifest()))


@dataclass(frozen=True)
class _Label:
    """How the pictures of one of several settings are called."""

    number: int
    of: int
    setting: str

    def title(self, what: str) -> str:
        return f"{what}: {self.setting}" if self.of > 1 else what

    def name(self, what: str) -> str:
        return f"{what}-{self.number}" if self.of > 1 else what


def _try(title: str, draw: Callable[..., Any], *given: object) -> Iterator[Picture | LeftOut]:
    """What ``draw`` draws, one picture or several, or why it cannot."""
    try:
        drawn = draw(*given)
        yield from [drawn] if isinstance(drawn, Picture) else drawn
    except M2FNetError as problem:
        yield LeftOut(title, str(problem))


def _classes(summary: Mapping[str, Any], names: Mapping[str, str]) -> Picture:
    settings = {names[row["setting"]]: row["per_class_f1"] for row in summary["settings"]}
    paper = PAPER.get(summary["corpus"], {})
    published = paper if paper.keys() == next(iter(settings.values())).keys() else None
    caption = "Mean over the seeds, with the 95 % bootstrap interval over test dialogues."
    if published:
        caption += (
            " Dashed: M2FNet with text, audio and visual on the whole test set, as printed in arXiv:2206.02187, which "
            "does not say how many seeds it ran or how it chose the epoch."
        )
    return Picture("classes", "F1 of each emotion on test", caption, class_scores(settings, published))


def _confusion(setting: TestedSetting, label: _Label) -> Picture:
    runs = len(setting.runs)
    unit = "turns" if runs == 1 else f"turns of {runs} runs"
    figure = confusion(setting.tables().sum((0, 1)), setting.runs[0].report["classes"], unit)
    caption = "Rows are the true emotion, columns the answer; what lies on the diagonal is right." + (
        f" The counts of the {runs} runs are added up." if runs > 1 else ""
    )
    return Picture(label.name("confusion"), label.title("Confusion on test"), caption, figure)


def _curves(settings: Sequence[TestedSetting], names: Mapping[str, str]) -> Picture:
    figure = training_curves({names[s.name]: [Curves.read(run.folder) for run in s.runs] for s in settings})
    caption = "One line per run. A dev loss that rises while the dev score holds says that the network grows too sure."
    return Picture("curves", "Training curves", caption, figure)


def _calibration(setting: TestedSetting, label: _Label) -> Picture:
    before, after, temperatures = [], [], []
    for run in setting.runs:
        classes = run.report["classes"]
        temperature = fit_temperature(*_answers(read_predictions(run.folder, "dev", classes), classes))
        probabilities, labels = _answers(run.predictions, classes)
        before.append((probabilities, labels))
        after.append((at_temperature(probabilities, temperature), labels))
        temperatures.append(temperature)
    figure = reliability_diagram(
        {"test, as trained": _joined(before), "test, temperature fitted on dev": _joined(after)}
    )
    caption = (
        "Bars below the dashed line: too sure. ECE is the mean distance from it, weighted by the answers in each bin "
        "(arXiv:1706.04599). Temperature of each run, in the order of the seeds: "
        f"{', '.join(f'{t:.2f}' for t in temperatures)}; above 1 the network was too sure. The answers stay the same."
    )
    return Picture(label.name("calibration"), label.title("Calibration"), caption, figure)


def _answers(predictions: Sequence[Any], classes: Sequence[str]) -> Answers:
    probabilities: Floats = np.array([[p.probabilities[name] for name in classes] for p in predictions])
    return probabilities, np.array([classes.index(p.label) for p in predictions])


def _joined(parts: Sequence[Answers]) -> Answers:
    return np.concatenate([p for p, _ in parts]), np.concatenate([labels for _, labels in parts])


def _missing(settings: Sequence[TestedSetting], names: Mapping[str, str]) -> Picture:
    """The settings that have been tested with parts of their inputs missing."""
    tested = {names[s.name]: [run for run in s.runs if (run.folder / MISSING).exists()] for s in settings}
    tested = {name: runs for name, runs in tested.items() if runs}
    several = [run for s in settings for run in s.runs if len(run.report["modalities"]) > 1]
    if not several:
        raise RunError("Every run reads one modality, so there is nothing to leave out.")
    if not tested:
        config = several[0].folder / CONFIG
        raise RunError(f"No run has a {MISSING}; `m2fnet dialog missing --config {config}` writes it.")
    scores = {name: [_missing_scores(run) for run in runs] for name, runs in tested.items()}
    counts = ", ".join(f"{name}: {len(runs)}" for name, runs in scores.items())
    caption = (
        "The same weights, tested with parts of their inputs missing. Left: each modality of each turn is left out "
        "with this probability, never all of a turn. Right: nothing else is given in any dialogue. Means over the "
        f"runs, bars one standard deviation; runs of each setting: {counts}."
    )
    majority = settings[0].runs[0].report["test"]["majority_weighted_f1"]
    return Picture("missing", "Missing modalities", caption, missing_curves(scores, majority))


def _missing_scores(run: TestedRun) -> MissingScores:
    found = MissingScores.read(run.folder)
    if found.manifest_sha256 != run.report["manifest_sha256"]:
        raise RunError(f"{run.folder / MISSING} is of other data than the report; run `m2fnet dialog missing` again.")
    return found


def _timelines(settings: Sequence[TestedSetting], names: Mapping[str, str], manifest: Manifest) -> Iterator[Picture]:
    """The same dialogues for all settings, chosen by the answers of the first one."""
    chosen = _chosen(settings[0], manifest.dialogues("test"))
    for number, setting in enumerate(settings, start=1):
        label = _Label(number, len(settings), names[setting.name])
        said = _averaged(setting.runs)
        for place, dialogue in chosen.items():
            shown = Dialogue(dialogue.id, dialogue.split, dialogue.utterances[:_MOST_TURNS])
            first = f"; its first {_MOST_TURNS} of {len(dialogue)} turns" if len(dialogue) > len(shown) else ""
            caption = (
                f"Dialogue {dialogue.id}{first}; {_PLACES[place]:.0%} of the dialogues have a smaller share of right "
                f"answers. Probabilities in percent"
                f"{' averaged over the runs' * (len(setting.runs) > 1)}; the number is the answer, the frame the true "
                "emotion, solid green where they agree, dashed red where not."
            )
            title = label.title(f"A dialogue that is {place} to the runs")
            figure = timeline(shown, said, setting.runs[0].report["classes"])
            yield Picture(label.name(f"timeline-{place}"), title, caption, figure)


def _chosen(setting: TestedSetting, dialogues: Sequence[Dialogue]) -> dict[str, Dialogue]:
    """The dialogues at `_PLACES` of all that are long enough, sorted by the share of right answers."""
    right: dict[str, list[bool]] = {}
    for run in setting.runs:
        for prediction in run.predictions:
            right.setdefault(prediction.dialogue, []).append(prediction.label == prediction.predicted)
    found = [d for d in dialogues if d.id in right and len(d) >= _FEWEST_TURNS]
    if not found:
        raise UsageError(f"No test dialogue has {_FEWEST_TURNS} turns; expected one to draw.")
    found.sort(key=lambda d: (np.mean(right[d.id]), d.id))
    return {place: found[int(share * (len(found) - 1))] for place, share in _PLACES.items()}


def _averaged(runs: Sequence[TestedRun]) -> dict[str, dict[str, float]]:
    """Utterance id -> emotion -> probability, averaged over the runs."""
    every: dict[str, list[Mapping[str, float]]] = {}
    for run in runs:
        for prediction in run.predictions:
            every.setdefault(prediction.id, []).append(prediction.probabilities)
    return {
        name: {emotion: float(np.mean([p[emotion] for p in found])) for emotion in found[0]}
        for name, found in every.items()
    }


def _attention(setting: TestedSetting, label: _Label) -> Iterator[Picture]:
    """The first and the last fusion layer of the first run."""
    run = setting.runs[0]
    if not (run.folder / ATTENTION).exists():
        test = f"m2fnet dialog test --config {run.folder / CONFIG}"
        raise RunError(f"{run.folder} has no {ATTENTION}; if its network has fusion layers, `{test}` writes it.")
    for number, one in enumerate(DialogueAttention.read(run.folder), start=1):
        layers = sorted({layer for layer, _ in one.maps})
        shown = {at: shares for at, shares in one.maps.items() if at[0] in (layers[0], layers[-1])}
        caption = (
            f"Dialogue {one.dialogue}, {run.folder.name}, mean over the heads. A row reads the turns of its columns "
            "and sums to 100 %, or is empty where there is nothing to read: text asks, the keys of another modality "
            "say where to look (arXiv:2206.02187, eq 6). Attention says what was read, not what decided."
        )
        title = label.title(f"Attention of the fusion layers, dialogue {number}")
        yield Picture(label.name(f"attention-{number}"), title, caption, attention_maps(one.turns, shown))


def _maps(settings: Sequence[TestedSetting], manifest: Manifest) -> Iterator[Picture | LeftOut]:
    """A map for each store that any of the settings read."""
    stores = {store: None for setting in settings for store in _stores(setting.runs[0])}
    if not stores:
        raise UsageError(f"The configuration of {settings[0].runs[0].folder} names no store of embeddings.")
    for number, (modality, folder) in enumerate(stores, start=1):
        title = f"Map of the {modality} embeddings"
        yield from _try(title, _map, Path(folder), manifest, title, f"embeddings-{number}")


def _stores(run: TestedRun) -> list[tuple[str, str]]:
    """Modality and folder of the stores that the run read."""
    data = run.config.get("data")
    stores = data.get("stores") if isinstance(data, dict) else None
    if not isinstance(stores, dict):
        return []
    return [
        (name, place) for name, place in stores.items() if name in run.report["modalities"] and isinstance(place, str)
    ]


def _map(folder: Path, manifest: Manifest, title: str, name: str) -> Picture:
    store = Store(folder)
    store.require(manifest)
    turns = [u for u in manifest.utterances if u.split == "test" and u.label is not None]
    vectors, present = store.matrix([u.id for u in turns])
    here = [turn for turn, is_there in zip(turns, present.tolist(), strict=True) if is_there]
    if not vectors.isfinite().all():
        raise UsageError(
            f"{store.folder} holds values that are not finite, which have no place on a map. Extract again."
        )
    if len(here) < 4:
        raise UsageError(f"{store.folder} has {len(here)} embeddings of labelled test turns; a map needs at least 4.")
    figure = embedding_map(vectors[present].numpy(), [str(u.label) for u in here], [u.speaker for u in here])
    drawn = f"{MOST} of {len(here)} labelled test turns, drawn at random" if len(here) > MOST else "Labelled test turns"
    caption = (
        f"{drawn}: what the network is given, from {store.folder} ({store.meta.width} numbers per turn). Neighbours in "
        "the map are neighbours in the embeddings; distances between groups mean little."
    )
    return Picture(name, title, caption, figure)
