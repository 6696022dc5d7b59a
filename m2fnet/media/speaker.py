"""Which of several faces speaks: a heuristic without any training.

Faces are followed from frame to frame. Of two successive frames the second is shifted so that the upper part of the
face stays where it was; what changes below more than above is then the mouth, and not the head, the camera or the
light. The mouth that moves most while the sound is loud belongs to the speaker. Where none moves clearly more than
every other, the face that fills most of the picture over time counts as the speaker.
"""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor
from torchvision.ops import box_iou
from torchvision.transforms.v2.functional import resize, rgb_to_grayscale

from m2fnet.media.faces import Face

Track = dict[int, Face]  # number of the frame -> the face in it

_SAME = 0.3  # boxes of one face overlap at least this much from frame to frame
_SIDE, _REACH = 64, 4  # pixels to which faces are scaled, and by which they are shifted at most
_INNER = _SIDE - 2 * _REACH
_UPPER, _MOUTH, _ACROSS = slice(0, 32), slice(36, 56), slice(8, 48)  # rows and columns of the inner face
_CLEARLY = 1.5  # times the motion of any other mouth
_LEAST = 0.02  # motion of a mouth that speaks, as a share of the face's contrast
_HALF_WINDOW = 0.04  # seconds of sound on either side of a frame


def follow(faces: Sequence[Sequence[Face]]) -> list[Track]:
    """Tracks of the faces in successive frames; a face continues the track whose last box it overlaps with most."""
    tracks: list[Track] = []
    for number, present in enumerate(faces):
        free = list(range(len(tracks)))
        for face in sorted(present, key=lambda face: -face.area):
            overlaps = _boxes([list(tracks[place].values())[-1] for place in free])
            overlap = box_iou(_boxes([face]), overlaps)[0]
            if len(overlap) and overlap.max() >= _SAME:
                tracks[free.pop(int(overlap.argmax()))][number] = face
            else:
                tracks.append({number: face})
    return tracks


def largest(tracks: Sequence[Track]) -> Track:
    """The track whose boxes have the largest area in all."""
    return max(tracks, key=lambda track: sum(face.area for face in track.values()))


def speaking(tracks: Sequence[Track], frames: Tensor, loudness: Tensor) -> Track:
    """The track whose mouth moves with the sound, or else the largest.

    Args:
        tracks: at least one.
        frames: (T, H, W, 3) uint8.
        loudness: (T,) at each frame, see `loudness_at`.
    """
    motions = torch.tensor([mouth_motion(track, frames, loudness) for track in tracks])
    first, *others = motions.sort(descending=True).values.tolist()
    if first < _LEAST or (others and first < _CLEARLY * others[0]):
        return largest(tracks)
    return tracks[int(motions.argmax())]


def mouth_motion(track: Track, frames: Tensor, loudness: Tensor) -> float:
    """How much the mouth moves beyond the rest of the face, as a share of contrast; loud moments weigh more."""
    numbers = sorted(track)
    total = weight = 0.0
    for earlier, later in pairwise(numbers):
        loud = float(loudness[earlier] + loudness[later]) / 2
        total += loud * _change(frames[[earlier, later]], track[earlier], track[later])
        weight += loud
    return total / weight if weight > 0 else 0.0


def loudness_at(sound: Tensor, rate: int, times: Tensor) -> Tensor:
    """Root mean squares (T,) of a sound (N,) around ``times`` (T,) in seconds; 0 where there is none."""
    half = round(_HALF_WINDOW * rate)
    power = torch.cat([torch.zeros(1, dtype=torch.float64), sound.double().square().cumsum(0)])
    centre = (times * rate).round().long()
    start, stop = (centre - half).clamp(0, len(sound)), (centre + half).clamp(0, len(sound))
    return ((power[stop] - power[start]).clamp(min=0) / (2 * half)).sqrt().float()


def _change(pair: Tensor, earlier: Face, later: Face) -> float:
    """What changes around the mouth beyond what changes above it, as a share of the face's contrast."""
    left, top, right, bottom = ((a + b) // 2 for a, b in zip(earlier.box, later.box, strict=True))
    cut = pair[:, top:bottom, left:right].permute(0, 3, 1, 2)  # one window on both frames: boxes jitter
    before, after = resize(rgb_to_grayscale(cut), [_SIDE, _SIDE])[:, 0].float()
    still = before[_REACH:-_REACH, _REACH:-_REACH]
    shifted = after.unfold(0, _INNER, 1).unfold(1, _INNER, 1).flatten(0, 1)  # (all shifts, inner, inner)
    change = (shifted - still).abs()[:, :, _ACROSS]
    above = change[:, _UPPER].mean((1, 2))
    best = int(above.argmin())
    return float(change[best, _MOUTH].mean() - above[best]) / (float(still.std()) + 1.0)


def _boxes(faces: Sequence[Face]) -> Tensor:
    return torch.tensor([face.box for face in faces], dtype=torch.float).reshape(-1, 4)
