"""Dialogue timeline: what was said, what it was labelled and what the network predicted, utterance by utterance."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from m2fnet.plots.style import COLOURS, GREY, SHADES, short, styled
from m2fnet.records import Dialogue

_TEXT = 58  # characters of an utterance that fit at the left of the picture


def timeline(dialogue: Dialogue, probabilities: Mapping[str, Mapping[str, float]], classes: Sequence[str]) -> Figure:
    """Probability of every emotion for every utterance of a dialogue, with the true one framed.

    Args:
        dialogue: utterances in speaking order; one row each.
        probabilities: utterance id -> emotion -> probability; an utterance without is drawn empty.
        classes: the emotions in the order of the columns.

    Example:
        >>> from m2fnet.records import Dialogue, Utterance
        >>> said = Utterance("a_0", "own", "test", "a", 0, speaker="Ann", text="None!", label="joy")
        >>> figure = timeline(Dialogue("a", "test", (said,)), {"a_0": {"joy": 0.9, "anger": 0.1}}, ["joy", "anger"])
        >>> [label.get_text() for label in figure.axes[0].get_yticklabels()]
        ['Ann: None!']
    """
    utterances = dialogue.utterances
    values = np.array([[probabilities.get(t.id, {}).get(name, np.nan) for name in classes] for t in utterances])
    with styled():
        figure = Figure(figsize=(5.8 + 0.75 * len(classes), 1.9 + 0.34 * len(utterances)))
        axes = figure.subplots()
        mesh = axes.pcolormesh(100 * values, vmin=0, vmax=100, cmap=SHADES, edgecolors="white", linewidth=1)
        for row, utterance in enumerate(utterances):
            _mark(axes, row, values[row], classes.index(utterance.label) if utterance.label in classes else None)
        rows = [short(f"{u.speaker or 'someone'}: {u.text or '(no transcript)'}", _TEXT) for u in utterances]
        axes.set_yticks(np.arange(len(utterances)) + 0.5, rows, fontsize=10, parse_math=False)
        names = [short(name, 18) for name in classes]
        axes.set_xticks(np.arange(len(classes)) + 0.5, names, rotation=45, ha="right", parse_math=False)
        axes.set(xlim=(0, len(classes)), ylim=(len(utterances), 0), xlabel="emotion", ylabel="utterance")
        axes.grid(visible=False)
        axes.tick_params(length=0)
        figure.colorbar(mesh, ax=axes, label="probability (%)", aspect=30, pad=0.02)
    return figure


def _mark(axes: Axes, row: int, values: NDArray[np.float64], true: int | None) -> None:
    """Write the probability of the predicted emotion, and frame the true emotion."""
    if np.isnan(values).all():
        axes.text(0.1, row + 0.5, "no label, not scored", va="center", color=GREY, fontsize=9)
        return
    answer = int(values.argmax())
    ink = "white" if values[answer] > 0.6 else "black"
    axes.text(answer + 0.5, row + 0.5, f"{100 * values[answer]:.0f}", ha="center", va="center", color=ink, fontsize=10)
    if true is not None:
        is_right = true == answer
        edge, style = (COLOURS[2], "-") if is_right else (COLOURS[1], (0, (2, 1)))
        frame = Rectangle(
            (true + 0.06, row + 0.08), 0.88, 0.84, fill=False, edgecolor=edge, linestyle=style, linewidth=3
        )
        axes.add_patch(frame)
