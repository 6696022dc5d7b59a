"""Shots the toy corpus's clips: a room, heads that move a little, a voice, H.264 and AAC."""

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain
from pathlib import Path

import av
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from m2fnet.corpora.toy_face import BOTTOM, EXPRESSIONS, LEFT, TOP, Expression, Look, draw_head
from m2fnet.corpora.toy_script import Shot
from m2fnet.corpora.toy_voice import RATE, Waveform, opening, speak

WIDTH, HEIGHT, FPS = 192, 144, 12
_MOUTHS = 4  # so many openings of the mouth are drawn per clip, and each frame shows the nearest
_AAC_FRAME = 1024


def shoot(path: Path, *shots: Shot) -> None:
    """Write ``shots``, one after the other, to ``path`` as MP4 with H.264 pictures and stereo AAC sound."""
    rngs = [np.random.default_rng(shot.seed) for shot in shots]
    sounds = [
        speak(shot.speaker.voice, shot.voice_emotion, shot.seconds, rng) for shot, rng in zip(shots, rngs, strict=True)
    ]
    sound = np.concatenate(sounds)
    pictures = chain.from_iterable(
        _pictures(shot, opening(spoken, max(2, round(shot.seconds * FPS))), rng)
        for shot, spoken, rng in zip(shots, sounds, rngs, strict=True)
    )
    with av.open(str(path), "w") as out:
        video = out.add_stream("libx264", rate=FPS, options={"preset": "ultrafast", "crf": "24", "threads": "1"})
        video.width, video.height, video.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        audio = out.add_stream("aac", rate=RATE, layout="stereo", options={"aac_coder": "fast"})
        for picture in pictures:
            out.mux(video.encode(av.VideoFrame.from_ndarray(np.asarray(picture), format="rgb24")))
        out.mux(video.encode())
        for frame in _audio_frames(sound):
            out.mux(audio.encode(frame))
        out.mux(audio.encode())


def _audio_frames(sound: Waveform) -> Iterator[av.AudioFrame]:
    """The sound in pieces; the right channel is quieter, so that a reader has to mix the two."""
    both = np.stack([sound, 0.7 * sound]).astype(np.float32)
    for start in range(0, both.shape[1], _AAC_FRAME):
        piece = np.ascontiguousarray(both[:, start : start + _AAC_FRAME])
        frame = av.AudioFrame.from_ndarray(piece, format="fltp", layout="stereo")
        frame.sample_rate, frame.pts, frame.time_base = RATE, start, Fraction(1, RATE)
        yield frame


@dataclass(frozen=True)
class _Actor:
    """Somebody in the picture: one drawing per opening of the mouth, and where it sways."""

    drawings: list[Image.Image]
    x: float
    y: float
    phase: float

    @classmethod
    def place(cls, look: Look, expressions: list[Expression], unit: float, x: float, rng: Generator) -> "_Actor":
        """Somebody whose face is around the column ``x`` and whose shoulders reach the lower edge."""
        drawings = draw_head(look, unit, expressions)
        y = max(0.45 * HEIGHT + rng.uniform(-4, 4), HEIGHT - (BOTTOM - 0.2) * unit)
        return cls(drawings, x + LEFT * unit, y + TOP * unit, rng.uniform(0, 2 * np.pi))

    def paste(self, picture: Image.Image, second: float, openness: float) -> None:
        """Show the actor in ``picture`` at a time, with the mouth open by 0..1."""
        drawing = self.drawings[round(openness * (len(self.drawings) - 1))]
        sway, nod = 2.5 * np.sin(2.1 * second + self.phase), 1.5 * np.sin(4.3 * second + 2 * self.phase)
        picture.paste(drawing, (round(self.x + sway), round(self.y + nod)), drawing)


def _pictures(shot: Shot, openings: NDArray[np.float64], rng: Generator) -> Iterator[Image.Image]:
    room = _room(np.random.default_rng(shot.room))
    actors = _actors(shot, rng)
    for number, openness in enumerate(openings):
        picture = room.copy()
        for actor in actors:
            actor.paste(picture, number / FPS, openness)
        yield picture


def _actors(shot: Shot, rng: Generator) -> list[_Actor]:
    """Who is in the picture, the speaker last and therefore in front."""
    unit = rng.uniform(24, 30)
    if shot.is_faceless:
        if rng.random() < 0.3:
            return []
        return [_Actor.place(shot.speaker.look, [], unit, WIDTH * rng.uniform(0.35, 0.65), rng)]
    face = EXPRESSIONS[shot.face_emotion].scaled(rng.uniform(0.5, 1.1))
    mouths = [face.talking(0.6 * n / (_MOUTHS - 1)) for n in range(_MOUTHS)]
    if shot.listener is None:
        return [_Actor.place(shot.speaker.look, mouths, unit, WIDTH * rng.uniform(0.4, 0.6), rng)]
    left, right = 0.33 * WIDTH, 0.76 * WIDTH
    near, far = (left, right) if rng.random() < 0.5 else (right, left)
    return [
        _Actor.place(shot.listener.look, [Expression()], 0.62 * unit, far, rng),
        _Actor.place(shot.speaker.look, mouths, 0.9 * unit, near, rng),
    ]


def _room(rng: Generator) -> Image.Image:
    """A wall, a floor and a few things out of focus."""
    wall = rng.uniform(120, 190) + rng.uniform(-28, 28, size=3)
    light = np.linspace(1.1, 0.75, WIDTH)[None, :, None] * np.linspace(1.05, 0.9, HEIGHT)[:, None, None]
    room = Image.fromarray(np.clip(wall * light, 0, 255).astype(np.uint8))
    draw = ImageDraw.Draw(room)
    draw.rectangle((0, HEIGHT * 0.82, WIDTH, HEIGHT), fill=_colour(rng, 50, 110))
    window = rng.uniform(0, 0.2) * WIDTH
    draw.rectangle((window, 8, window + 34, 62), fill=(206, 222, 232), outline=(236, 232, 226), width=3)
    picture = rng.uniform(0.68, 0.85) * WIDTH
    draw.rectangle((picture, 14, picture + 28, 44), fill=_colour(rng, 60, 200), outline=(70, 52, 38), width=3)
    sofa = rng.uniform(0, 0.3) * WIDTH
    draw.rounded_rectangle((sofa, HEIGHT * 0.66, sofa + 0.7 * WIDTH, HEIGHT + 10), 12, fill=_colour(rng, 60, 150))
    return room.filter(ImageFilter.GaussianBlur(2))


def _colour(rng: Generator, low: int, high: int) -> tuple[int, int, int]:
    red, green, blue = (int(value) for value in rng.integers(low, high, size=3))
    return (red, green, blue)
