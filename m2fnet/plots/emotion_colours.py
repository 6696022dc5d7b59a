"""One emotion, one colour, in every picture and on the page."""

from collections.abc import Sequence

from m2fnet.formatting import plain
from m2fnet.plots.style import COLOURS, DARK

# Emotions that no corpus has together share a colour: spellings of one, and neighbours of it. From Paul Tol's
# "bright", "vibrant" and "muted" schemes (SRON/EPS/TN/09-002, 2021), chosen so that the emotions of a corpus differ for
# every kind of colour vision.
_KNOWN = {
    "#EE6677": ("anger", "angry", "ang", "mad", "negative"),
    "#CCBB44": ("joy", "happy", "happiness", "hap", "joyful", "positive"),
    "#4477AA": ("sadness", "sad"),
    "#66CCEE": ("surprise", "surprised", "sur"),
    "#AA3377": ("fear", "fearful", "fea", "scared", "worried"),
    "#228833": ("disgust", "disgusted", "dis"),
    "#777777": ("neutral", "neu", "no emotion", "none"),
    "#EE7733": ("excited", "exc", "excitement", "powerful"),
    "#882255": ("frustrated", "frustration", "fru"),
    "#44AA99": ("calm", "peaceful"),
    "#555555": ("contempt", "other"),
}
_COLOUR = {name: colour for colour, names in _KNOWN.items() for name in names}
_REST = ("#332288", "#DDCC77", "#117733", "#CC6677", "#88CCEE", "#999933", "#AA4499", *COLOURS)
_VISIBLE = 3.0  # contrast with the ground


def emotion_colours(classes: Sequence[str]) -> list[str]:
    """The colour of each emotion: a fixed one if the emotion is known, however it is spelled, else the next free one.

    Example:
        >>> emotion_colours(["joy", "anger", "boredom"])
        ['#CCBB44', '#EE6677', '#332288']
        >>> emotion_colours(["Angry", "happy"])  # the same, whatever is before
        ['#EE6677', '#CCBB44']
    """
    found: list[str] = []
    for name in classes:
        known = _COLOUR.get(plain(name).strip().lower())
        free = [colour for colour in _REST if colour not in found] or list(_REST)
        found.append(known if known is not None and known not in found else free[0])
    return found


def on_dark(colour: str, ground: str = DARK) -> str:
    """``#RRGGBB`` with as much white in it as it takes to be seen on a dark ``ground``.

    That is a contrast of 3, which WCAG 2.2 asks for parts of a picture (1.4.11).

    Example:
        >>> on_dark("#CCBB44"), on_dark("#332288")
        ('#CCBB44', '#6E62AB')
    """
    parts = [int(colour[place : place + 2], 16) for place in (1, 3, 5)]
    for white in range(101):
        lighter = "#" + "".join(f"{round(part + (255 - part) * white / 100):02X}" for part in parts)
        if contrast(lighter, ground) >= _VISIBLE:
            return lighter
    return "#FFFFFF"


def is_light(colour: str) -> bool:
    """Whether black has more contrast than white on ``#RRGGBB``.

    Example:
        >>> is_light("#CCBB44"), is_light("#4477AA")
        (True, False)
    """
    return contrast(colour, "#000000") > contrast(colour, "#FFFFFF")


def contrast(one: str, other: str) -> float:
    """How much two colours ``#RRGGBB`` differ in lightness, from 1 to 21 (WCAG 2.2, "contrast ratio").

    Example:
        >>> contrast("#FFFFFF", "#000000")
        21.0
    """
    darker, lighter = sorted((_luminance(one), _luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


def _luminance(colour: str) -> float:
    linear = []
    for place in (1, 3, 5):
        share = int(colour[place : place + 2], 16) / 255
        linear.append(share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4)
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
