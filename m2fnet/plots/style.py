"""What all pictures share: colours that colour-blind readers tell apart, sizes, and how a figure becomes files."""

import io
import textwrap
import warnings
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any, Literal

import matplotlib as mpl
from matplotlib.figure import Figure

from m2fnet.formatting import plain

# Paul Tol's "bright" scheme (SRON/EPS/TN/09-002, 2021): distinct for every kind of colour vision. Each colour
# has a marker too, for print in grey.
COLOURS = ("#4477AA", "#EE6677", "#228833", "#CCBB44", "#66CCEE", "#AA3377", "#555555")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "*")
GREY = "#777777"
DARK = "#1b222c"  # ground of pictures for a dark page
SHADES = "Blues"  # one hue from light to dark: read by its lightness

_STYLE: Any = {
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "figure.constrained_layout.use": True,
    "font.size": 11,
    "axes.titlesize": 12,
    "grid.alpha": 0.3,
    "legend.frameon": False,
    "svg.fonttype": "path",  # looks the same where the font is not installed
    "svg.hashsalt": "m2fnet",  # the same picture is the same bytes
    "text.parse_math": False,  # a class, a speaker or a sentence may hold "$"
}


def styled() -> AbstractContextManager[None]:
    """A context in which figures are made and saved in this style; the user's own settings stay as they are."""
    return mpl.rc_context(_STYLE)


def dark() -> AbstractContextManager[None]:
    """A context in which figures are made with light ink on the ground `DARK`."""
    ink = dict.fromkeys(("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color"), "#e7ebf1")
    settings: Any = {"figure.facecolor": DARK, "axes.facecolor": DARK, **ink}
    return mpl.rc_context(settings)


def colour(number: int) -> str:
    """The colour of the class or setting ``number``."""
    return COLOURS[number % len(COLOURS)]


def marker(number: int) -> str:
    """The marker of the class or setting ``number``."""
    return MARKERS[number % len(MARKERS)]


def short(text: str, width: int) -> str:
    """``text`` on one line without control characters, cut at a word to at most ``width`` characters.

    Example:
        >>> short("What are you doing here?", 14)
        'What are you…'
    """
    line = " ".join(plain(text).split())
    cut = textwrap.shorten(line, width, placeholder="…")
    return cut if len(cut) > 1 or len(line) <= 1 else line[: width - 1] + "…"


def short_names(names: Sequence[str], width: int = 40) -> list[str]:
    """Names of settings without the folders that all share, the end kept where one is too long.

    Example:
        >>> short_names(["runs/mosi/text", "runs/mosi/audio"])
        ['text', 'audio']
    """
    parts = [plain(name).rstrip("/").split("/") for name in names]
    shared = 0
    while all(len(p) > shared + 1 for p in parts) and len({p[shared] for p in parts}) == 1:
        shared += 1
    rest = ["/".join(p[shared:]) for p in parts]
    cut = [name if len(name) <= width else "…" + name[1 - width :] for name in rest]
    return cut if len(set(cut)) == len(set(rest)) else rest  # two settings never get one name


def rendered(figure: Figure, kind: Literal["svg", "png"]) -> bytes:
    """The figure as the bytes of an svg or png file, the same bytes each time."""
    buffer = io.BytesIO()
    metadata = {"Date": None} if kind == "svg" else {"Software": None}
    with styled(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing")  # transcripts hold what no one font has
        figure.savefig(buffer, format=kind, dpi=150, metadata=metadata)
    return buffer.getvalue()
