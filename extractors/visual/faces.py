"""The faces in the frames of an utterance: which of them count, how they are cut out, and how much each weighs."""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from extractors.audio.sound import utterance_sound
from extractors.base import PlacedUtterance
from extractors.visual.pictures import Frames, utterance_times
from m2fnet.errors import MediaError
from m2fnet.media.audio import RATE
from m2fnet.media.faces import Face
from m2fnet.media.speaker import follow, largest, loudness_at, speaking

Area = Literal["sum", "max", "frame"]
Choice = Literal["all", "largest", "speaker"]


def chosen_faces(
    placed: PlacedUtterance, which: Frames, frames: Tensor, found: Sequence[Sequence[Face]], choice: Choice
) -> Sequence[Sequence[Face]]:
    """Of the faces ``found`` in each of the frames (T, H, W, 3) of an utterance those of the ``choice``.

    Args:
        placed: the utterance.
        which: frames of it are looked at.
        frames: what was looked at.
        found: the faces in each of them.
        choice: ``all``, the one that is ``largest`` over the clip, or that of the ``speaker``, by the heuristic of
            `m2fnet.media.speaker`.
    """
    tracks = follow(found) if choice != "all" else []
    if not tracks:
        return found
    chosen = largest(tracks) if choice == "largest" else speaking(tracks, frames, _loudness(placed, which, frames))
    return [[chosen[number]] if number in chosen else [] for number in range(len(found))]


def face_weights(faces: Sequence[Face], area: Area, frame_area: int) -> Tensor:
    """Weights (N,) of one frame's faces: their areas divided by the areas' sum, by the largest, or by the frame's.

    Left open in arXiv:2206.02187, section 3.2.1 ("areas normalised to 0..1").

    >>> faces = [Face((0, 0, 30, 10), 1.0), Face((0, 0, 10, 10), 1.0)]
    >>> face_weights(faces, "sum", 1000)
    tensor([0.7500, 0.2500])
    >>> face_weights(faces, "max", 1000)
    tensor([1.0000, 0.3333])
    >>> face_weights(faces, "frame", 1000)
    tensor([0.3000, 0.1000])
    """
    areas = torch.tensor([float(face.area) for face in faces])
    return areas / {"sum": areas.sum(), "max": areas.max(), "frame": torch.tensor(float(frame_area))}[area]


def face_cut(picture: Tensor, face: Face, margin: float) -> Tensor:
    """The part of a picture (3, H, W) that shows the face, with a margin where there is room."""
    left, top, right, bottom = face.box
    more_x, more_y = round(margin * (right - left) / 2), round(margin * (bottom - top) / 2)
    return picture[:, max(0, top - more_y) : bottom + more_y, max(0, left - more_x) : right + more_x]


def _loudness(placed: PlacedUtterance, which: Frames, frames: Tensor) -> Tensor:
    """How loud it is at each frame (T,); zeros for an utterance without sound that can be heard."""
    times = utterance_times(placed, which)
    try:
        sound = utterance_sound(placed, max_seconds=float(times.max()) + 1)
    except MediaError:
        return torch.zeros(len(frames))
    if len(times) != len(frames):  # times that share a frame show it once
        times = times[torch.linspace(0, len(times) - 1, len(frames)).long()]
    return loudness_at(sound.samples, RATE, times)
