"""All pictures of tested settings, in the order of the page."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from torch import Tensor

from m2fnet.errors import LabelSetsError, M2FNetError, MediaError, RunError, UsageError
from m2fnet.manifest import Manifest
from m2fnet.media.audio import RATE, read_audio
from m2fnet.media.prosody import HOP_SECONDS, WINDOW_SECONDS, energy, pitch
from m2fnet.metrics.calibration import Floats, at_temperature, fit_temperature
from m2fnet.plots.attention import attention_maps
from m2fnet.plots.calibration import HANDFUL, Answers, label_reliability, reliability_diagram
from m2fnet.plots.classes import PAPER, class_scores
from m2fnet.plots.confusion import confusion, together
from m2fnet.plots.curves import gradient_norms, training_curves
from m2fnet.plots.embeddings import MOST, embedding_map
from m2fnet.plots.missing import missing_curves
from m2fnet.plots.spectrogram import spectrogram
from m2fnet.plots.style import short, short_names
from m2fnet.plots.timeline import timeline
from m2fnet.records import Dialogue, ScoredPrediction, Utterance
from m2fnet.reports.mistakes import find_mistakes
from m2fnet.reports.summary import Summary
from m2fnet.runs.attention import ATTENTION, DialogueAttention
from m2fnet.runs.curves import Curves
from m2fnet.runs.folder import CONFIG
from m2fnet.runs.missing_scores import MISSING, MissingScores
from m2fnet.runs.noise_scores import NOISE, NoiseScores
from m2fnet.runs.tested import TestedRun, TestedSetting, inputs_of, kind_of, read_predictions
from m2fnet.store import Store

_RANKS = {"hard": 0.1, "middling": 0.5, "easy": 0.9}  # among the dialogues by accuracy, whose timelines are drawn
_FEWEST, _MOST = 5, 24  # utterances of a timeline: shorter shows no course, longer does not fit a screen
_SPECTROGRAMS = 3
_TRIED = 30  # clips of which none can be read, before no spectrogram is drawn
_SECONDS = 15.0  # of a long utterance, the beginning is drawn


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
class NotDrawn:
    """A picture that could not be drawn, and why."""

    title: str
    reason: str


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


def pictures(
    settings: Sequence[TestedSetting], summary: Summary, find_manifest: Callable[[], Manifest]
) -> Iterator[Picture | NotDrawn]:
    """Every picture that the runs have the data for, and a `NotDrawn` in the place of each other one.

    Args:
        settings: as `m2fnet.runs.tested.collect` returns them.
        summary: of `m2fnet.reports.summary.summarise_settings`.
        find_manifest: returns the manifest that the runs were tested on, or raises an error that says what to do.
    """
    names = dict(zip((s.name for s in settings), short_names([s.name for s in settings]), strict=True))
    labels = [_Label(number, len(settings), names[s.name]) for number, s in enumerate(settings, start=1)]
    labelled = list(zip(settings, labels, strict=True))
    yield _classes(summary, names)
    for setting, label in labelled:
        if kind_of(setting.runs[0].report) == "single":
            yield from _try(label.title("Confusion on test"), partial(_confusion, setting, label))
        else:
            yield from _together(setting, label)
    yield from _try("Training curves", partial(_curves, settings, names))
    for setting, label in labelled:
        draw = _calibration if kind_of(setting.runs[0].report) == "single" else _calibration_of_labels
        yield from _try(label.title("Calibration"), partial(draw, setting, label))
    yield from _try("Missing modalities", partial(_missing, settings, names))
    yield from _try("Dialogue timelines", lambda: _timelines(labelled, find_manifest()))
    yield from _try("Spectrograms", lambda: _spectrograms(settings[0], find_manifest()))
    for setting, label in labelled:
        yield from _try(label.title("Attention of the fusion layers"), partial(_attention, setting, label))
    yield from _try("Embedding maps", lambda: _maps(settings, find_manifest()))


def _try(title: str, draw: Callable[[], Iterable[Picture | NotDrawn]]) -> Iterator[Picture | NotDrawn]:
    """What ``draw`` draws, or why it cannot."""
    try:
        yield from draw()
    except M2FNetError as problem:
        yield NotDrawn(title, str(problem))


def _classes(summary: Summary, names: Mapping[str, str]) -> Picture:
    rows = summary.table("class")
    settings = {names[name]: part.set_index("class") for name, part in rows.groupby("setting", sort=False)}
    paper = PAPER.get(summary.corpus, {})
    published = paper if paper.keys() == set(rows["class"]) else None
    caption = "Mean over the seeds, with the 95 % bootstrap interval over test dialogues."
    if published:
        caption += (
            " Dashed: M2FNet with text, audio and visual on the whole test set, as printed in arXiv:2206.02187, which "
            "does not say how many seeds it ran or how it chose the epoch."
        )
    return Picture("classes", "F1 of each emotion on test", caption, class_scores(settings, published))


def _confusion(setting: TestedSetting, label: _Label) -> Iterator[Picture]:
    runs = len(setting.runs)
    unit = "utterances" if runs == 1 else f"utterances of {runs} runs"
    matrices = np.sum([run.confusion() for run in setting.runs], axis=0)
    figure = confusion(matrices, setting.runs[0].report["classes"], unit)
    caption = "Rows are the true emotion, columns the prediction; the diagonal is right." + (
        f" The counts of the {runs} runs are added up." if runs > 1 else ""
    )
    yield Picture(label.name("confusion"), label.title("Confusion on test"), caption, figure)


def _together(setting: TestedSetting, label: _Label) -> Iterator[Picture]:
    found = [run.report["test"]["together"] for run in setting.runs]
    true, predicted = (np.sum([one[kind] for one in found], axis=0) for kind in ("true", "predicted"))
    caption = (
        "How many of the utterances with the emotion of a row have that of a column too, in per cent: on the left in "
        "the true sets, on the right in the predicted ones."
    ) + (f" The counts of the {len(found)} runs are added up." if len(found) > 1 else "")
    figure = together(true, predicted, setting.runs[0].report["classes"])
    yield Picture(label.name("together"), label.title("Emotions that occur together on test"), caption, figure)


def _curves(settings: Sequence[TestedSetting], names: Mapping[str, str]) -> Iterator[Picture]:
    curves = {names[s.name]: [Curves.read(run.folder) for run in s.runs] for s in settings}
    caption = (
        "One line per run. A dev loss that rises while the dev score holds says that the network grows too sure. The "
        "loss on train has dropout and, if they are set, smoothed labels, so the gap may be below 0."
    )
    yield Picture("curves", "Training curves", caption, training_curves(curves))
    measured = {name: runs for name, runs in curves.items() if any(run.gradients for run in runs)}
    if measured:
        caption = (
            "Mean over the first steps of each epoch and over the runs, before clipping. Layers whose gradients are "
            "thousands of times smaller than those of others hardly learn."
        )
        yield Picture("gradients", "Gradient norms by layer", caption, gradient_norms(measured))


def _calibration(setting: TestedSetting, label: _Label) -> Iterator[Picture]:
    before, after, temperatures = [], [], []
    for run in setting.runs:
        classes = run.report["classes"]
        temperature = run.report.get("temperature")
        if not isinstance(temperature, float):  # an older version wrote the report
            temperature = fit_temperature(*_answers(read_predictions(run.folder, "dev", classes), classes))
        probabilities, labels = _answers(run.predictions, classes)
        before.append((probabilities, labels))
        after.append((at_temperature(probabilities, temperature), labels))
        temperatures.append(temperature)
    figure = reliability_diagram(
        {"test, as trained": _joined(before), "test, temperature fitted on dev": _joined(after)}
    )
    caption = (
        f"Bars below the dashed line: too sure; hatched ones hold fewer than {HANDFUL} predictions, which say little. "
        "ECE is the mean distance from the line, weighted by the predictions in each bin (arXiv:1706.04599). "
        "Temperature of each run, in the order of the seeds: "
        f"{', '.join(f'{t:.2f}' for t in temperatures)}; above 1 the network was too sure. The predicted emotions stay "
        "the same."
    )
    yield Picture(label.name("calibration"), label.title("Calibration"), caption, figure)


def _calibration_of_labels(setting: TestedSetting, label: _Label) -> Iterator[Picture]:
    scored = [one for run in setting.runs for one in run.scored]
    sets = [(one.probabilities, one.label_sets[0]) for one in scored]
    labelled = [(chances, true) for chances, true in sets if true is not None]
    answers = {
        name: (
            np.array([chances[name] for chances, _ in labelled]),
            np.array([name in true for _, true in labelled]),
        )
        for name in setting.runs[0].report["classes"]
    }
    caption = (
        "Bars below the dashed line: given with too much probability; hatched ones hold fewer than "
        f"{HANDFUL} utterances, which say little. n is how many have the emotion."
    ) + (f" The utterances of the {len(setting.runs)} runs are taken together." if len(setting.runs) > 1 else "")
    yield Picture(
        label.name("calibration"), label.title("Calibration of each emotion"), caption, label_reliability(answers)
    )


def _answers(predictions: Sequence[ScoredPrediction], classes: Sequence[str]) -> Answers:
    probabilities: Floats = np.array([[p.probabilities[name] for name in classes] for p in predictions])
    return probabilities, np.array([classes.index(str(p.label)) for p in predictions])


def _joined(parts: Sequence[Answers]) -> Answers:
    return np.concatenate([p for p, _ in parts]), np.concatenate([labels for _, labels in parts])


def _missing(settings: Sequence[TestedSetting], names: Mapping[str, str]) -> Iterator[Picture]:
    """The settings that have been tested with parts of their inputs missing."""
    tested = {names[s.name]: [run for run in s.runs if (run.folder / MISSING).exists()] for s in settings}
    tested = {name: runs for name, runs in tested.items() if runs}
    several = [run for s in settings for run in s.runs if len(inputs_of(run.report)) > 1]
    if not several:
        raise RunError("Every run reads one modality, so none can be missing.")
    if not tested:
        config = several[0].folder / CONFIG
        raise RunError(f"No run has a {MISSING}; `m2fnet dialog missing --config {config}` writes it.")
    scores = {name: [_missing_scores(run) for run in runs] for name, runs in tested.items()}
    counts = ", ".join(f"{name}: {len(runs)}" for name, runs in scores.items())
    caption = (
        "The same weights, tested with parts of their inputs missing. Left: each modality of each utterance is dropped "
        "with this probability, but never all of an utterance. Right: the only modalities given. Means over the "
        f"runs, bars one standard deviation; runs of each setting: {counts}."
    )
    noise = {names[s.name]: found for s in settings if (found := [*map(_noise_scores, _with_noise(s))])}
    if noise:
        counts = ", ".join(f"{name}: {len(runs)}" for name, runs in noise.items())
        split = " and ".join(sorted({run.split for runs in noise.values() for run in runs}))
        caption += f" Below: noise in one modality, scored on {split}; runs of each setting: {counts}."
    majority = settings[0].runs[0].report["test"].get("majority_weighted_f1")
    yield Picture("missing", "Missing modalities", caption, missing_curves(scores, majority, noise))


def _missing_scores(run: TestedRun) -> MissingScores:
    found = MissingScores.read(run.folder)
    if found.manifest_sha256 != run.report["manifest_sha256"]:
        raise RunError(f"{run.folder / MISSING} is of other data than the report; run `m2fnet dialog missing` again.")
    return found


def _with_noise(setting: TestedSetting) -> list[TestedRun]:
    return [run for run in setting.runs if (run.folder / NOISE).exists()]


def _noise_scores(run: TestedRun) -> NoiseScores:
    found = NoiseScores.read(run.folder)
    if found.manifest_sha256 != run.report["manifest_sha256"]:
        raise RunError(f"{run.folder / NOISE} is of other data than the report; run `m2fnet noise {run.folder}` again.")
    return found


def _timelines(settings: Sequence[tuple[TestedSetting, _Label]], manifest: Manifest) -> Iterator[Picture]:
    """The same dialogues for all settings, chosen by the predictions of the first one."""
    chosen = _chosen(settings[0][0], manifest.dialogues("test"))
    for setting, label in settings:
        probabilities = _averaged(setting.runs)
        for rank, dialogue in chosen.items():
            shown = Dialogue(dialogue.id, dialogue.split, dialogue.utterances[:_MOST])
            first = f"; its first {_MOST} of {len(dialogue)} utterances" if len(dialogue) > len(shown) else ""
            averaged = " averaged over the runs" if len(setting.runs) > 1 else ""
            caption = (
                f"Dialogue {dialogue.id}{first}; {_RANKS[rank]:.0%} of the dialogues have a smaller share of right "
                f"predictions. Probabilities in percent{averaged}; the number is in the predicted emotion, the frame "
                "around the true one, solid green where they agree, dashed red where not."
            )
            title = label.title(f"A dialogue that is {rank} to the runs")
            figure = timeline(shown, probabilities, setting.runs[0].report["classes"])
            yield Picture(label.name(f"timeline-{rank}"), title, caption, figure)


def _chosen(setting: TestedSetting, dialogues: Sequence[Dialogue]) -> dict[str, Dialogue]:
    """The dialogues at `_RANKS` of all that are long enough, sorted by the share of right predictions."""
    rows = [(p.dialogue, p.label == p.predicted) for run in setting.runs for p in run.predictions]
    right = pd.DataFrame(rows, columns=["dialogue", "is_right"]).groupby("dialogue")["is_right"].mean()
    found = [d for d in dialogues if d.id in right.index and len(d) >= _FEWEST]
    if not found:
        raise UsageError(f"No test dialogue has {_FEWEST} utterances; expected one to draw.")
    found.sort(key=lambda d: (right[d.id], d.id))
    return {rank: found[int(share * (len(found) - 1))] for rank, share in _RANKS.items()}


def _averaged(runs: Sequence[TestedRun]) -> dict[str, dict[str, float]]:
    """Utterance id -> emotion -> probability, averaged over the runs."""
    ids = [prediction.id for run in runs for prediction in run.predictions]
    rows = [dict(prediction.probabilities) for run in runs for prediction in run.predictions]
    averaged: dict[str, dict[str, float]] = pd.DataFrame(rows, index=ids).groupby(level=0).mean().to_dict("index")
    return averaged


def _spectrograms(setting: TestedSetting, manifest: Manifest) -> Iterator[Picture]:
    """The most confident mistakes whose sound can be read, then other test utterances."""
    mistakes = find_mistakes(setting.runs, manifest, ["test"]).set_index("id")
    by_id = {u.id: u for u in manifest.utterances if u.split == "test" and u.audio is not None}
    ids = [*(name for name in mistakes.index if name in by_id), *(name for name in by_id if name not in mistakes.index)]
    if not ids:
        raise UsageError("The manifest names no sound of a test utterance.")
    drawn, problem = 0, ""
    for name in ids[:_TRIED]:
        try:
            sound = _sound(by_id[name], manifest)
        except (MediaError, OSError) as error:
            problem = problem or f"{name}: {error}"
            continue
        drawn += 1
        utterance = by_id[name]
        caption = f"Utterance {name}, labelled {utterance.label or 'nothing'}"
        if name in mistakes.index:
            mistake = mistakes.loc[name]
            caption += f", predicted {mistake['predicted']} with {100 * mistake['confidence']:.0f} %"
        caption += (
            ". Mel spectrogram of its sound in dB below the loudest point; the line is the pitch of the voice, with "
            "gaps where it has none; below, the energy."
        )
        spoken = short(f"{utterance.speaker or 'someone'}: {utterance.text or '(no transcript)'}", 90)
        hertz, decibels = pitch(sound, RATE), energy(sound, RATE)
        times = HOP_SECONDS * np.arange(len(hertz)) + WINDOW_SECONDS / 2
        figure = spectrogram(sound, RATE, hertz, decibels, times=times, title=spoken)
        what = "A confident mistake" if name in mistakes.index else "An utterance"
        yield Picture(f"spectrogram-{drawn}", f"{what} as sound: {name}", caption, figure)
        if drawn == _SPECTROGRAMS:
            return
    if not drawn:
        raise UsageError(f"No sound of the {min(_TRIED, len(ids))} test utterances tried can be read, first {problem}.")


def _sound(utterance: Utterance, manifest: Manifest) -> Tensor:
    path = manifest.media_path(str(utterance.audio))
    return read_audio(path, span=utterance.audio_span, max_seconds=_SECONDS).samples


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
            f"Dialogue {one.dialogue}, {run.folder.name}, mean over the heads. A row reads the utterances of its "
            "columns and sums to 100 %, or is empty where there is nothing to read: the queries are of text, the keys "
            "of another modality (arXiv:2206.02187, eq 6). Attention says what was read, not what decided."
        )
        title = label.title(f"Attention of the fusion layers, dialogue {number}")
        yield Picture(label.name(f"attention-{number}"), title, caption, attention_maps(one.utterances, shown))


def _maps(settings: Sequence[TestedSetting], manifest: Manifest) -> Iterator[Picture | NotDrawn]:
    """A map for each store that any of the settings read."""
    stores = {store: None for setting in settings for store in _stores(setting.runs[0])}
    if not stores:
        raise UsageError(f"The configuration of {settings[0].runs[0].folder} names no store of embeddings.")
    for number, (modality, folder) in enumerate(stores, start=1):
        title = f"Map of the {modality} embeddings"
        yield from _try(title, partial(_map, Path(folder), manifest, title, f"embeddings-{number}"))


def _stores(run: TestedRun) -> list[tuple[str, str]]:
    """Modality and folder of the stores that the run read."""
    data = run.config.get("data")
    stores = data.get("stores") if isinstance(data, dict) else None
    if not isinstance(stores, dict):
        return []
    return [(name, place) for name, place in stores.items() if name in inputs_of(run.report) and isinstance(place, str)]


def _map(folder: Path, manifest: Manifest, title: str, name: str) -> Iterator[Picture]:
    if manifest.label_set.kind != "single":
        raise LabelSetsError(manifest.corpus, "a map, which colours by emotion,")
    store = Store(folder)
    store.require(manifest)
    utterances = [u for u in manifest.utterances if u.split == "test" and u.label is not None]
    vectors, present = store.matrix([u.id for u in utterances])
    here = [one for one, is_there in zip(utterances, present.tolist(), strict=True) if is_there]
    if not vectors.isfinite().all():
        raise UsageError(
            f"{store.folder} holds values that are not finite, which have no place on a map. Extract again."
        )
    if len(here) < 4:
        raise UsageError(
            f"{store.folder} has {len(here)} embeddings of labelled test utterances; a map needs at least 4."
        )
    figure = embedding_map(vectors[present].numpy(), [str(u.label) for u in here], [u.speaker for u in here])
    sample = f"{MOST} of {len(here)} labelled test utterances, drawn at random"
    drawn = sample if len(here) > MOST else "Labelled test utterances"
    caption = (
        f"{drawn}: what the network is given, from {store.folder} ({store.meta.width} numbers per utterance). "
        "Neighbours in the map are neighbours in the embeddings; distances between groups mean little."
    )
    yield Picture(name, title, caption, figure)
