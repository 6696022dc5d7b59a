"""Attention over a dialogue: how much each utterance reads of each other."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from m2fnet.plots.style import SHADES, short, styled

_NAME = 24  # characters of an utterance's name next to the map


def attention_maps(utterances: Sequence[str], maps: Mapping[tuple[int, str], NDArray[np.float64]]) -> Figure:
    """How much each utterance reads of each other, in per cent: a row of panels per layer, a column per key modality.

    Args:
        utterances: names of the U utterances, in speaking order.
        maps: layer and modality -> shares (U, U); a row reads, a column is read.

    Example:
        >>> import numpy as np
        >>> shares = np.array([[0.9, 0.1], [0.5, 0.5]])
        >>> figure = attention_maps(["Ann: joy", "Bob: anger"], {(1, "audio"): shares, (1, "visual"): shares})
        >>> [axes.get_title() for axes in figure.axes[:2]]
        ['layer 1, keys: audio', 'layer 1, keys: visual']
    """
    layers, keys = (list(dict.fromkeys(parts)) for parts in zip(*maps, strict=True))
    names = [short(f"{number} {name}", _NAME) for number, name in enumerate(utterances, start=1)]
    top = 100 * max(float(shares.max()) for shares in maps.values())
    side = 1.2 + 0.27 * len(utterances)
    with styled():
        figure = Figure(figsize=(3.0 + len(keys) * side, 1.9 + len(layers) * side))
        panels = figure.subplots(len(layers), len(keys), sharex=True, sharey=True, squeeze=False)
        for (layer, modality), shares in maps.items():
            axes = panels[layers.index(layer), keys.index(modality)]
            mesh = axes.pcolormesh(100 * shares, vmin=0, vmax=top, cmap=SHADES, edgecolors="white", linewidth=0.5)
            axes.set(aspect="equal", title=f"layer {layer}, keys: {modality}")
            axes.grid(visible=False)
            axes.tick_params(length=0)
        middles = np.arange(len(utterances)) + 0.5
        small: dict[str, Any] = {"fontsize": 9, "parse_math": False}
        panels[0, 0].set(xlim=(0, len(utterances)), ylim=(len(utterances), 0))
        for axes in panels[:, 0]:
            axes.set_yticks(middles, names, **small)
        for axes in panels[-1]:
            axes.set_xticks(middles, names, rotation=60, ha="right", rotation_mode="anchor", **small)
        figure.supxlabel("utterance that is read", fontsize=11)
        figure.supylabel("utterance that reads, with its true emotion", fontsize=11)
        figure.colorbar(mesh, ax=panels, label="attention (%)", aspect=40, pad=0.02, shrink=0.7)
    return figure
