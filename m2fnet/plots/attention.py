"""Attention over a dialogue: how much each turn reads of each other."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from m2fnet.errors import RunError
from m2fnet.files import read_json
from m2fnet.plots.style import SHADES, short, styled

FILE = "attention.json"
_NAME = 24  # characters of a turn's name beside the map


@dataclass(frozen=True)
class DialogueAttention:
    """What the fusion layers of a run look at in one dialogue.

    Attributes:
        dialogue: its id.
        turns: speaker and true emotion of each.
        maps: layer and modality of the keys -> shares (U, U); a row reads, a column is read.
    """

    dialogue: str
    turns: tuple[str, ...]
    maps: Mapping[tuple[int, str], NDArray[np.float64]]

    @classmethod
    def read(cls, run: Path) -> list["DialogueAttention"]:
        """The dialogues in ``attention.json`` of the run folder.

        Raises:
            RunError: if there is none, or it is damaged.
        """
        path, advice = run / FILE, f"`m2fnet dialog test --config {run / 'config.yaml'}` writes it anew."
        content = read_json(path, RunError, advice)
        try:
            found = [cls._of(dialogue) for dialogue in content["dialogues"]]
        except (KeyError, TypeError, ValueError, AttributeError) as problem:
            raise RunError(f"{path} is damaged ({problem!r}). {advice}") from problem
        return found

    @classmethod
    def _of(cls, content: Mapping[str, Any]) -> "DialogueAttention":
        turns = tuple(f"{turn['speaker'] or 'someone'}: {turn['label'] or 'no label'}" for turn in content["turns"])
        maps = {(int(one["layer"]), str(one["keys"])): np.array(one["weights"], float) for one in content["attention"]}
        for shares in maps.values():
            if shares.shape != (len(turns), len(turns)) or not (np.abs(shares - 0.5) <= 0.5).all():
                raise ValueError(f"shares of shape {shares.shape} for {len(turns)} turns, each expected from 0 to 1")
        return cls(str(content["dialogue"]), turns, maps)


def attention_maps(turns: Sequence[str], maps: Mapping[str, NDArray[np.float64]]) -> Figure:
    """How much each turn reads of each other, in per cent: a panel per entry of ``maps``.

    Args:
        turns: names of the U turns, in speaking order.
        maps: title -> shares (U, U); a row reads, a column is read.
    """
    size = len(turns)
    top = max(float(shares.max()) for shares in maps.values())
    side = 1.6 + 0.27 * size
    names = [short(f"{number} {name}", _NAME) for number, name in enumerate(turns, start=1)]
    with styled():
        figure = Figure(figsize=(2.6 + len(maps) * side, side + 1.2))
        panels = figure.subplots(1, len(maps), sharey=True, squeeze=False)[0]
        for axes, (title, shares) in zip(panels, maps.items(), strict=True):
            mesh = axes.pcolormesh(100 * shares, vmin=0, vmax=100 * top, cmap=SHADES, edgecolors="white", linewidth=0.5)
            axes.set_xticks(np.arange(size) + 0.5, [str(number) for number in range(1, size + 1)], fontsize=9)
            axes.set_yticks(np.arange(size) + 0.5, names, fontsize=9, parse_math=False)
            axes.set(xlim=(0, size), ylim=(size, 0), aspect="equal", xlabel="turn that is read", title=title)
            axes.grid(visible=False)
            axes.tick_params(length=0)
        panels[0].set(ylabel="turn that reads, with its true emotion")
        figure.colorbar(mesh, ax=list(panels), label="attention (%)", aspect=30, pad=0.02)
    return figure
