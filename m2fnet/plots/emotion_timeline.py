"""Emotions of a conversation over time: who spoke when, in which emotion, and how sure the model was."""

from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import FuncFormatter, MaxNLocator
from numpy.typing import NDArray

from m2fnet.plots.emotion_colours import emotion_colours, is_light
from m2fnet.plots.style import SHADES, rendered, short, styled
from m2fnet.records import Prediction

MOST_DRAWN = 300  # utterances in a picture inside a page
_MOST_SPEAKERS = 8  # rows; of more, those who speak least share the last one
_MARGINS = 3.0  # inches around the panels, for names and the colour bar
_NONE = "#bbbbbb"  # of an empty set of emotions
_LETTER = 0.078  # inches of a letter of the names inside bars
_FEW = 60  # utterances; frames of more are drawn thinner
_VECTORS = 5_000  # cells; more are drawn as pixels, for an svg of a size that browsers open

Floats = NDArray[np.float64]


def emotion_timeline(predictions: Sequence[Prediction], classes: Sequence[str], title: str) -> Figure:
    """The utterances of a conversation by speaker, coloured by emotion, over the probability of every emotion.

    The second panel's rows tell the emotions apart without colour; the answer's cell is framed. Of a set of emotions
    every cell in the answer is framed; the colour is that of the most probable emotion in it, grey for an empty set.
    Time runs in ``mm:ss``; for a conversation without times, every utterance is equally long and has its number.

    Args:
        predictions: at least one, in speaking order.
        classes: the emotions in the order of the rows.
        title: of the figure, e.g. the clip's name.

    Raises:
        ValueError: if there is no prediction.
    """
    if not predictions:
        raise ValueError("A timeline needs at least one prediction, got none.")
    spans, is_timed = _spans(predictions)
    names, speakers = _speakers(predictions, spans)
    width = min(18.0, 10.0 + 0.03 * len(predictions))
    first, last = (0.0 if is_timed else 0.5), spans.max()
    top = [max(p.answers, key=p.probabilities.__getitem__, default=None) for p in predictions]
    answers = np.array([-1 if name is None else classes.index(name) for name in top])
    framed = [[classes.index(name) for name in p.answers] for p in predictions]
    utterances = _Spans(spans, (width - _MARGINS) / (last - first), answers)
    values = np.array([[p.probabilities[name] for name in classes] for p in predictions])
    with styled():
        heights = (0.42 * len(speakers), 0.36 * len(classes))
        figure = Figure(figsize=(width, sum(heights) + 1.7))
        who, what = figure.subplots(2, 1, sharex=True, height_ratios=heights)
        _draw_speakers(who, utterances, [speakers.index(name) for name in names], classes)
        cells = _draw_emotions(what, utterances, values, framed)
        figure.colorbar(cells, ax=(who, what), label="probability (%)", aspect=30, pad=0.02)
        _name_rows(who, speakers)
        _name_rows(what, classes)
        _draw_swatches(what, emotion_colours(classes), 0.11 / (width - _MARGINS))
        what.set(xlim=(first, last), xlabel="time (min:s)" if is_timed else "utterance")
        what.xaxis.set_major_locator(MaxNLocator(10, integer=True, steps=[1, 1.5, 2, 3, 5, 6, 10]))
        if is_timed:
            what.xaxis.set_major_formatter(FuncFormatter(lambda seconds, _: _clock(seconds)))
        figure.suptitle(short(title, 90), parse_math=False, fontsize=13)
    return figure


def timeline_base64(predictions: Sequence[Prediction]) -> str | None:
    """The picture of `emotion_timeline` as a PNG in base64, for a page or a notebook, without a title.

    None if there is no utterance, or more than `MOST_DRAWN`, which nobody could tell apart.

    Example:
        >>> from m2fnet.records import Prediction
        >>> joy = Prediction(0.0, 1.5, "Ann", "Hi!", "joy", {"joy": 0.9, "anger": 0.1}, ("text",), {})
        >>> timeline_base64([joy])[:11]  # how every PNG begins
        'iVBORw0KGgo'
        >>> timeline_base64([]) is timeline_base64(301 * [joy]) is None
        True
    """
    if not 0 < len(predictions) <= MOST_DRAWN:
        return None
    figure = emotion_timeline(predictions, list(predictions[0].probabilities), "")
    return b64encode(rendered(figure, "png")).decode()


@dataclass(frozen=True)
class _Spans:
    """What both panels draw: (N, 2) spans, inches per unit of them, and (N,) the row of each answer, -1 for none."""

    spans: Floats
    scale: float
    answers: NDArray[np.int_]

    def label(self, axes: Axes, number: int, row: int, text: str, ink: str) -> None:
        """Write ``text`` in the middle of an utterance's box, if it fits."""
        start, end = self.spans[number]
        if (end - start) * self.scale > _LETTER * len(text) + 0.12:
            middle = ((start + end) / 2, row + 0.5)
            axes.text(*middle, text, ha="center", va="center", color=ink, fontsize=9, parse_math=False)


def _spans(predictions: Sequence[Prediction]) -> tuple[Floats, bool]:
    """(N, 2) start and end of each, in seconds if all have times and else counted from 1, and whether they do."""
    times = [(p.start_s, p.end_s) for p in predictions if p.start_s is not None and p.end_s is not None]
    if len(times) == len(predictions):
        return np.array(times, dtype=float), True
    numbers = np.arange(1.0, len(predictions) + 1)
    return np.stack([numbers - 0.5, numbers + 0.5], axis=1), False


def _speakers(predictions: Sequence[Prediction], spans: Floats) -> tuple[list[str], list[str]]:
    """The name of the row of each utterance, and all rows: speakers in the order in which they first speak."""
    names = [p.speaker or "unknown" for p in predictions]
    spoken: dict[str, float] = {}
    for name, (start, end) in zip(names, spans.tolist(), strict=True):
        spoken[name] = spoken.get(name, 0.0) + end - start
    if len(spoken) <= _MOST_SPEAKERS:
        return names, list(spoken)
    kept = sorted(spoken, key=lambda name: -spoken[name])[: _MOST_SPEAKERS - 1]
    rest = f"{len(spoken) - len(kept)} others"
    return [name if name in kept else rest for name in names], [*(name for name in spoken if name in kept), rest]


def _draw_speakers(axes: Axes, utterances: _Spans, rows: Sequence[int], classes: Sequence[str]) -> None:
    of = emotion_colours(classes)
    colours = [_NONE if answer < 0 else of[answer] for answer in utterances.answers]
    boxes = _boxes(utterances.spans, np.array(rows) + 0.1, 0.8)
    axes.add_collection(PolyCollection(boxes, facecolors=colours, edgecolors="white", linewidth=0.6))
    for number, (row, answer) in enumerate(zip(rows, utterances.answers, strict=True)):
        ink = "black" if is_light(colours[number]) else "white"
        utterances.label(axes, number, row, "none" if answer < 0 else classes[answer], ink)
    axes.tick_params(labelbottom=False)


def _draw_emotions(axes: Axes, utterances: _Spans, values: Floats, framed: Sequence[Sequence[int]]) -> PolyCollection:
    """Draw the cells of all probabilities (N, C), a frame around the ``framed`` ones of each, and return them."""
    count = values.shape[1]
    rows = np.tile(np.arange(count, dtype=float), len(values))
    boxes = _boxes(np.repeat(utterances.spans, count, axis=0), rows, 1.0)
    is_large = values.size > _VECTORS
    cells = PolyCollection(boxes, cmap=SHADES, edgecolors="face", linewidth=0.2, rasterized=is_large)
    cells.set(array=100 * values.ravel(), clim=(0, 100))
    axes.add_collection(cells)
    pairs = [(number, row) for number, several in enumerate(framed) for row in several]
    places = np.array(pairs, dtype=int).reshape(-1, 2)
    frames = _boxes(utterances.spans[places[:, 0]], places[:, 1] + 0.06, 0.88)
    style: Any = {"facecolors": "none", "edgecolors": "black", "rasterized": is_large, "clip_on": False}
    axes.add_collection(PolyCollection(frames, linewidth=1.0 if len(values) <= _FEW else 0.5, **style))
    for number, answer in pairs:
        value = values[number, answer]
        utterances.label(axes, number, answer, f"{100 * value:.0f}", "white" if value > 0.6 else "black")
    return cells


def _name_rows(axes: Axes, names: Sequence[str]) -> None:
    axes.set_yticks(np.arange(len(names)) + 0.5, [short(name, 18) for name in names], parse_math=False)
    axes.set(ylim=(len(names), 0))
    axes.grid(visible=False, axis="y")
    axes.tick_params(length=0)


def _draw_swatches(axes: Axes, colours: Sequence[str], width: float) -> None:
    """Show each row's colour between its name and the axis, ``width`` being a share of the axis."""
    for row, colour in enumerate(colours):
        swatch = Rectangle((-1.4 * width, row + 0.2), width, 0.6, color=colour, clip_on=False)
        axes.add_patch(swatch)
        swatch.set_transform(axes.get_yaxis_transform())
    axes.tick_params(axis="y", pad=14)


def _boxes(spans: Floats, rows: Floats, height: float) -> list[Floats]:
    """(4, 2) corners of each of the rectangles of ``height`` over ``spans`` (N, 2), at ``rows`` (N,)."""
    (start, end), top, bottom = spans.T, rows, rows + height
    corners = [(start, top), (end, top), (end, bottom), (start, bottom)]
    return list(np.stack([np.stack(corner, axis=1) for corner in corners], axis=1))


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}" if minutes >= 60 else f"{minutes}:{rest:02d}"
