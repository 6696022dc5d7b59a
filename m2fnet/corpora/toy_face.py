"""The toy corpus's faces: a drawn head that a face detector takes for one, whose expression carries the emotion."""

from dataclasses import dataclass, fields, replace
from typing import Literal

import numpy as np
from numpy.random import Generator
from PIL import Image, ImageDraw, ImageFilter

Colour = tuple[int, int, int]
HairStyle = Literal["short", "long", "bun", "parted", "bald"]
Point = tuple[float, float]

_SKINS: tuple[Colour, ...] = ((241, 205, 178), (226, 180, 146), (204, 152, 116), (163, 113, 80), (122, 82, 60))
_HAIRS: tuple[Colour, ...] = ((38, 28, 24), (58, 40, 30), (120, 118, 116), (120, 78, 44), (196, 152, 92), (128, 56, 34))
_DARK_HAIRS = 3  # so many of them go with every skin
_SHIRTS: tuple[Colour, ...] = ((52, 78, 120), (126, 46, 52), (62, 98, 72), (88, 84, 92), (196, 186, 168), (94, 66, 112))
_IRISES: tuple[Colour, ...] = ((84, 56, 36), (66, 96, 130), (80, 104, 66))

# The part of the world a sprite shows, in units of half a head's width, the middle of the face at (0, 0).
LEFT, TOP, RIGHT, BOTTOM = -2.3, -1.85, 2.3, 3.6
_OVERSAMPLING = 3


@dataclass(frozen=True)
class Look:
    """How somebody looks."""

    skin: Colour
    hair: Colour
    shirt: Colour
    iris: Colour
    hair_style: HairStyle
    width: float
    has_beard: bool
    has_glasses: bool

    @classmethod
    def draw(cls, hair_style: HairStyle, rng: Generator) -> "Look":
        """Looks of somebody with such hair."""
        skin = int(rng.integers(len(_SKINS)))
        return cls(
            skin=_SKINS[skin],
            hair=_HAIRS[rng.integers(len(_HAIRS) if skin < 3 else _DARK_HAIRS)],
            shirt=_SHIRTS[rng.integers(len(_SHIRTS))],
            iris=_IRISES[rng.integers(len(_IRISES))],
            hair_style=hair_style,
            width=float(rng.uniform(0.9, 1.02)),
            has_beard=hair_style in ("short", "parted", "bald") and bool(rng.random() < 0.4),
            has_glasses=bool(rng.random() < 0.15),
        )


@dataclass(frozen=True)
class Expression:
    """What an emotion does to a face; 0 is rest.

    Attributes:
        smile: corners of the mouth up (1) or down (-1).
        mouth_width: wider (1) or narrower (-1).
        mouth_open: beyond what speaking opens.
        brow_raise: brows up (1) or down (-1).
        brow_slant: inner ends down (1, a frown) or up (-1, grief).
        eye_open: lids wide (1) or narrow (-1).
    """

    smile: float = 0.0
    mouth_width: float = 0.0
    mouth_open: float = 0.0
    brow_raise: float = 0.0
    brow_slant: float = 0.0
    eye_open: float = 0.0

    def scaled(self, strength: float) -> "Expression":
        """The same expression, stronger or weaker."""
        return Expression(**{f.name: strength * getattr(self, f.name) for f in fields(self)})

    def talking(self, opening: float) -> "Expression":
        """The same expression with the mouth open by ``opening`` (0..1) more."""
        return replace(self, mouth_open=self.mouth_open + opening)


EXPRESSIONS = {
    "neutral": Expression(),
    "joy": Expression(smile=1.0, mouth_width=0.9, mouth_open=0.3, brow_raise=0.25, eye_open=-0.35),
    "anger": Expression(smile=-0.5, mouth_width=0.1, brow_raise=-0.7, brow_slant=1.0, eye_open=-0.4),
    "sadness": Expression(smile=-1.0, mouth_width=-0.4, brow_raise=0.2, brow_slant=-1.0, eye_open=-0.55),
    "surprise": Expression(mouth_width=-0.8, mouth_open=1.0, brow_raise=1.0, eye_open=1.0),
}


class _Pen:
    """Draws on ``image`` in head units, of ``scale`` pixels each."""

    def __init__(self, image: Image.Image, scale: float) -> None:
        self.image = image
        self.scale = scale
        self._draw = ImageDraw.Draw(image)

    def polygon(self, points: list[Point], fill: Colour | int) -> None:
        self._draw.polygon([self._place(x, y) for x, y in points], fill=fill)

    def ellipse(self, x: float, y: float, rx: float, ry: float, fill: Colour | int) -> None:
        self._draw.ellipse([self._place(x - rx, y - ry), self._place(x + rx, y + ry)], fill=fill)

    def line(self, points: list[Point], width: float, fill: Colour) -> None:
        places = [self._place(x, y) for x, y in points]
        self._draw.line(places, fill=fill, width=max(1, round(width * self.scale)), joint="curve")

    def soft(self, x: float, y: float, rx: float, ry: float, fill: Colour, strength: float, blur: float) -> None:
        """An ellipse with a blurred edge, painted only where something is painted already."""
        left, top = self._place(x - rx - 2 * blur, y - ry - 2 * blur)
        margin = 2 * blur * self.scale
        mask = Image.new("L", (round(2 * (rx * self.scale + margin)), round(2 * (ry * self.scale + margin))))
        inner = (margin, margin, mask.width - margin, mask.height - margin)
        ImageDraw.Draw(mask).ellipse(inner, fill=round(255 * strength))
        alpha = self.image.getchannel("A")
        self.image.paste(fill, (round(left), round(top)), mask.filter(ImageFilter.BoxBlur(blur * self.scale)))
        self.image.putalpha(alpha)

    def _place(self, x: float, y: float) -> Point:
        return ((x - LEFT) * self.scale, (y - TOP) * self.scale)


def draw_head(look: Look, unit: float, expressions: list[Expression]) -> list[Image.Image]:
    """One RGBA picture of head and shoulders per expression; half a head's width is ``unit`` pixels.

    Without any expression it is one picture of the back of the head.
    """
    scale = unit * _OVERSAMPLING
    pen = _Pen(Image.new("RGBA", (round((RIGHT - LEFT) * scale), round((BOTTOM - TOP) * scale))), scale)
    _draw_body(pen, look)
    if not expressions:
        _draw_back(pen, look)
        return [pen.image.reduce(_OVERSAMPLING)]
    _draw_front(pen, look)
    return [_with_expression(pen, look, expression).reduce(_OVERSAMPLING) for expression in expressions]


def _with_expression(resting: _Pen, look: Look, face: Expression) -> Image.Image:
    pen = _Pen(resting.image.copy(), resting.scale)
    _draw_eyes(pen, look, face)
    _draw_brows(pen, look, face)
    _draw_mouth(pen, look, face)
    return pen.image


def _draw_body(pen: _Pen, look: Look) -> None:
    w = look.width
    if look.hair_style == "long":
        pen.ellipse(0, 0.25, 1.22 * w, 1.75, _shade(look.hair, 0.8))
    if look.hair_style == "bun":
        pen.ellipse(0, -1.45, 0.42, 0.36, _shade(look.hair, 0.9))
    shoulders = [
        (-2.2, 3.7),
        (-2.05, 2.35),
        (-1.5, 1.95),
        (-0.5, 1.7),
        (0.5, 1.7),
        (1.5, 1.95),
        (2.05, 2.35),
        (2.2, 3.7),
    ]
    pen.polygon([(-0.42, 0.8), (0.42, 0.8), (0.5, 1.8), (0, 2.15), (-0.5, 1.8)], _shade(look.skin, 0.8))
    pen.polygon([*shoulders[:4], (0, 2.2), *shoulders[4:]], look.shirt)
    pen.line([(-0.5, 1.7), (0, 2.22), (0.5, 1.7)], 0.09, _shade(look.shirt, 0.75))
    pen.soft(1.1, 2.9, 1.1, 0.9, _shade(look.shirt, 0.6), 0.45, 0.45)


def _draw_back(pen: _Pen, look: Look) -> None:
    top = look.skin if look.hair_style == "bald" else look.hair
    pen.ellipse(0, -0.1, 1.02 * look.width, 1.3, top)
    pen.soft(-0.35, -0.75, 0.35, 0.3, _shade(top, 1.25), 0.5, 0.25)


def _draw_front(pen: _Pen, look: Look) -> None:
    skin, w = look.skin, look.width
    for side in (-1, 1):
        pen.ellipse(side * 0.97 * w, 0.05, 0.14, 0.25, _shade(skin, 0.88))
    angle = np.linspace(0, 2 * np.pi, 60)
    jaw = 1 - 0.14 * np.clip(np.sin(angle), 0, 1) ** 2  # the lower half narrows towards the chin
    pen.polygon(
        [(float(x), float(y)) for x, y in zip(w * jaw * np.cos(angle), 1.28 * np.sin(angle), strict=True)], skin
    )
    pen.soft(0.75, 0.15, 0.3, 0.95, _shade(skin, 0.72), 0.55, 0.22)  # the light comes from the left
    pen.soft(0, 1.2, 0.6, 0.16, _shade(skin, 0.7), 0.5, 0.15)
    pen.soft(-0.3, -0.6, 0.5, 0.3, _shade(skin, 1.12), 0.6, 0.2)
    for side in (-1, 1):
        pen.soft(side * 0.5, 0.32, 0.2, 0.15, _mixed(skin, (214, 96, 84), 0.35), 0.6, 0.12)
        pen.soft(side * 0.37, -0.16, 0.27, 0.19, _shade(skin, 0.72), 0.6, 0.08)  # eye sockets
    if look.has_beard:
        pen.soft(0, 0.86, 0.72 * w, 0.42, _mixed(look.hair, skin, 0.25), 0.9, 0.1)
        pen.soft(0, 0.47, 0.34, 0.07, _mixed(look.hair, skin, 0.25), 0.85, 0.05)
    _draw_nose(pen, look)
    _draw_hair(pen, look)


def _draw_nose(pen: _Pen, look: Look) -> None:
    skin = look.skin
    pen.soft(0.1, 0.05, 0.07, 0.3, _shade(skin, 0.72), 0.6, 0.06)
    pen.soft(-0.03, 0.05, 0.05, 0.32, _shade(skin, 1.15), 0.6, 0.05)
    pen.soft(0, 0.36, 0.21, 0.06, _shade(skin, 0.62), 0.75, 0.05)
    pen.soft(-0.02, 0.26, 0.1, 0.08, _shade(skin, 1.14), 0.6, 0.05)
    for side in (-1, 1):
        pen.ellipse(side * 0.1, 0.35, 0.05, 0.03, _shade(skin, 0.42))


def _draw_hair(pen: _Pen, look: Look) -> None:
    w, hair = look.width, look.hair
    if look.hair_style == "bald":
        return
    low = {"short": -0.35, "parted": -0.3, "bun": -0.25, "long": 0.55}[look.hair_style]
    angle = np.linspace(np.pi, 2 * np.pi, 30)
    crown = [(1.06 * w * float(np.cos(a)), 1.4 * float(np.sin(a))) for a in angle]
    part = 0.35 if look.hair_style == "parted" else 0.0
    line = [(0.9 * w, -0.45), (0.62 * w, -0.86), (part, -0.98), (-0.62 * w, -0.8), (-0.9 * w, -0.45)]
    pen.polygon([(-1.04 * w, low), *crown, (1.04 * w, low), *line], hair)
    pen.soft(-0.4, -1.15, 0.4, 0.12, _shade(hair, 1.5), 0.5, 0.1)


def _draw_eyes(pen: _Pen, look: Look, face: Expression) -> None:
    height = 0.12 * (1 + 0.5 * face.eye_open)
    hole = _Pen(Image.new("L", pen.image.size), pen.scale)
    eye = _Pen(Image.new("RGBA", pen.image.size, (240, 238, 234, 255)), pen.scale)
    for side in (-1, 1):
        x, y = side * 0.4, -0.13
        hole.ellipse(x, y, 0.21, height, 255)
        eye.ellipse(x, y, 0.12, 0.12, look.iris)
        eye.ellipse(x, y, 0.06, 0.06, (16, 14, 14))
        eye.ellipse(x - 0.05, y - 0.05, 0.03, 0.03, (255, 255, 255))
    pen.image.paste(eye.image, (0, 0), hole.image)
    lid = _shade(look.skin, 0.35)
    for side in (-1, 1):
        t = np.linspace(-1, 1, 12)
        arc = zip(side * 0.4 + 0.22 * t, -0.13 - height * np.sqrt(1 - 0.9 * t**2), strict=True)
        pen.line([(float(x), float(y)) for x, y in arc], 0.045, lid)
        if look.has_glasses:
            _draw_lens(pen, side * 0.4)
    if look.has_glasses:
        pen.line([(-0.1, -0.14), (0.1, -0.14)], 0.04, (40, 36, 36))


def _draw_lens(pen: _Pen, x: float) -> None:
    angle = np.linspace(0, 2 * np.pi, 30)
    ring = zip(x + 0.31 * np.cos(angle), -0.11 + 0.25 * np.sin(angle), strict=True)
    pen.line([(float(px), float(py)) for px, py in ring], 0.04, (40, 36, 36))


def _draw_brows(pen: _Pen, look: Look, face: Expression) -> None:
    brow = _mixed(look.hair, (40, 30, 26), 0.5)
    base = -0.43 - 0.13 * face.brow_raise
    inner, outer = base + 0.13 * face.brow_slant, base + 0.04 - 0.05 * face.brow_slant
    for side in (-1, 1):
        middle = min(inner, outer) * 0.5 + (inner + outer) * 0.25 - 0.03
        upper = [(side * 0.15, inner - 0.04), (side * 0.4, middle - 0.05), (side * 0.66, outer - 0.01)]
        lower = [(side * 0.66, outer + 0.02), (side * 0.4, middle + 0.04), (side * 0.15, inner + 0.05)]
        pen.polygon([*upper, *lower], brow)


def _draw_mouth(pen: _Pen, look: Look, face: Expression) -> None:
    half = 0.34 * (1 + 0.3 * face.mouth_width)
    gap = 0.2 * max(0.0, face.mouth_open)
    t = np.linspace(-1, 1, 17)
    middle = 0.74 + 0.03 * gap + face.smile * (0.06 - 0.2 * t**2)  # y points down: the corners of a smile have less
    bulge = np.sqrt(1 - t**2)
    lips = _mixed(look.skin, (150, 44, 52), 0.55)

    def between(above: float, below: float) -> list[Point]:
        upper, lower = middle - above * bulge, middle + below * bulge
        edge = [*zip(half * t, upper, strict=True), *zip(half * t[::-1], lower[::-1], strict=True)]
        return [(float(x), float(y)) for x, y in edge]

    pen.polygon(between(0.4 * gap + 0.06, gap + 0.09), lips)
    if gap > 0.02:
        pen.polygon(between(0.4 * gap, gap), (62, 18, 22))
        pen.polygon(between(0.4 * gap, min(0.2 * gap, 0.04) - 0.2 * gap), (236, 232, 224))
    else:
        pen.line([(float(x), float(y)) for x, y in zip(half * t, middle, strict=True)], 0.035, _shade(lips, 0.5))


def _shade(colour: Colour, factor: float) -> Colour:
    red, green, blue = (min(255, round(value * factor)) for value in colour)
    return (red, green, blue)


def _mixed(colour: Colour, other: Colour, share: float) -> Colour:
    red, green, blue = (round(a + share * (b - a)) for a, b in zip(colour, other, strict=True))
    return (red, green, blue)
