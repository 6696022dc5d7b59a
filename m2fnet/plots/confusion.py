"""Confusion matrix: which emotion is taken for which; and of sets, which emotions occur together."""

from collections.abc import Sequence

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike, NDArray

from m2fnet.plots.style import SHADES, short, styled


def confusion(table: ArrayLike, classes: Sequence[str], unit: str = "utterances") -> Figure:
    """Confusion matrix ``(C, C)``, rows true and columns predicted: counts left, shares of each row right.

    Args:
        table: counts.
        classes: the emotions in the order of the table.
        unit: what was counted.

    Raises:
        ValueError: if the table is not square with one row per class.

    Example:
        >>> figure = confusion([[8, 2], [1, 4]], ["joy", "anger"])
        >>> figure.axes[0].get_title()
        'counts (utterances, n = 15)'
    """
    counts = np.asarray(table, dtype=float)
    if counts.shape != (len(classes), len(classes)):
        raise ValueError(f"Expected a table of {len(classes)} x {len(classes)} counts, got shape {counts.shape}.")
    totals = counts.sum(1, keepdims=True)
    shares = counts / np.maximum(totals, 1)
    side = 2.4 + 0.62 * len(classes)
    with styled():
        figure = Figure(figsize=(2 * side + 0.6, side))
        left, right = figure.subplots(1, 2)
        _matrix(left, counts, counts / max(counts.max(), 1), classes, [f"{n:.0f}" for n in counts.flat])
        _matrix(right, shares, shares, classes, [f"{100 * share:.0f}" for share in shares.flat])
        left.set(ylabel="true emotion", title=f"counts ({unit}, n = {counts.sum():.0f})")
        right.set(title="share of each true emotion (%)")
        rows = [f"{short(name, 18)}\nn = {n:.0f}" for name, n in zip(classes, totals[:, 0], strict=True)]
        right.set_yticklabels(rows, parse_math=False)
    return figure


def together(true: ArrayLike, predicted: ArrayLike, classes: Sequence[str]) -> Figure:
    """How often emotions occur together in sets, ``(C, C)`` counts each: shares of each row's emotion, in per cent.

    The diagonal of a table is how often each emotion occurs; the left panel is of the true sets, the right one of the
    predicted ones. An emotion that does not occur has no shares.

    Args:
        true: counts in the true sets.
        predicted: counts in the predicted sets.
        classes: the emotions in the order of the tables.

    Raises:
        ValueError: if a table is not square with one row per class.

    Example:
        >>> figure = together([[8, 2], [2, 4]], [[9, 0], [0, 3]], ["joy", "anger"])
        >>> figure.axes[1].get_title()
        'predicted sets (%)'
    """
    tables = [np.asarray(table, dtype=float) for table in (true, predicted)]
    for table in tables:
        if table.shape != (len(classes), len(classes)):
            raise ValueError(f"Expected tables of {len(classes)} x {len(classes)} counts, got shape {table.shape}.")
    side = 2.4 + 0.62 * len(classes)
    with styled():
        figure = Figure(figsize=(2 * side + 0.6, side))
        for axes, table, kind in zip(figure.subplots(1, 2), tables, ("true", "predicted"), strict=True):
            counts = table.diagonal()
            shares = table / np.maximum(counts, 1)[:, None]
            texts = [f"{100 * share:.0f}" if n else "–" for row, n in zip(shares, counts, strict=True) for share in row]
            _matrix(axes, shares, shares, classes, texts)
            rows = [f"{short(name, 18)}\nn = {n:.0f}" for name, n in zip(classes, counts, strict=True)]
            axes.set_yticklabels(rows, parse_math=False)
            axes.set(title=f"{kind} sets (%)", xlabel="also has")
    return figure


def _matrix(
    axes: Axes, values: NDArray[np.float64], shades: NDArray[np.float64], classes: Sequence[str], texts: Sequence[str]
) -> None:
    size = len(classes)
    palette = colormaps[SHADES]
    axes.pcolormesh(shades, vmin=0, vmax=1, cmap=palette, edgecolors="white", linewidth=0.5)
    for (row, column), text in zip(np.ndindex(values.shape), texts, strict=True):
        ink = "white" if shades[row, column] > 0.6 else "black"
        axes.text(column + 0.5, row + 0.5, text, ha="center", va="center", color=ink, fontsize=10)
    names, middles = [short(name, 18) for name in classes], np.arange(size) + 0.5
    axes.set_xticks(middles, names, rotation=45, ha="right", rotation_mode="anchor", parse_math=False)
    axes.set_yticks(middles, names, parse_math=False)
    axes.set(xlabel="predicted emotion", xlim=(0, size), ylim=(size, 0), aspect="equal")
    axes.grid(visible=False)
    axes.tick_params(length=0)
