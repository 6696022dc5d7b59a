"""Pictures as they might have been taken too: mirrored, moved, nearer, turned, lighter, with more or less contrast."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Generator, Tensor


@dataclass(frozen=True)
class Augmentation:
    """How far pictures may be changed in training; 0 switches a change off.

    Attributes:
        mirror: probability of left and right changing places.
        shift: largest move in each direction, as a share of the side.
        zoom: largest change of size, as a share: 0.1 draws factors from 0.9 to 1.1.
        turn: largest turn, in degrees.
        light: largest change of brightness, as a share of the full range.
        contrast: largest change of contrast, as a share.
    """

    mirror: float = 0.0
    shift: float = 0.0
    zoom: float = 0.0
    turn: float = 0.0
    light: float = 0.0
    contrast: float = 0.0

    def __post_init__(self) -> None:
        shares = (self.mirror, self.shift, self.zoom, self.light, self.contrast)
        if not all(0 <= share <= 1 for share in shares) or self.zoom == 1 or not 0 <= self.turn <= 180:
            raise ValueError(f"Expected shares in 0..1, a zoom below 1 and a turn in 0..180 degrees, but got {self}.")


def augmented(pictures: Tensor, how: Augmentation, clip: Tensor, clips: int, generator: Generator) -> Tensor:
    """Pictures (N, 3, S, S) with values in 0..255, changed as drawn for each clip.

    Args:
        pictures: the originals.
        how: ranges of the changes.
        clip: of which clip (N,) each picture is; pictures of one clip change alike, so that it stays one scene.
        clips: number of clips.
        generator: of the CPU, so that every device gets the same changes.
    """
    draws = torch.rand(clips, 7, generator=generator).to(pictures.device)[clip]
    mirror, even = draws[:, 0], 2 * draws[:, 1:] - 1  # 0..1 and -1..1
    places = _places(mirror < how.mirror, even[:, :4], how)
    grid = F.affine_grid(places, list(pictures.shape), align_corners=False)
    moved = F.grid_sample(pictures, grid, padding_mode="border", align_corners=False)
    contrast, light = ((share[:, None, None, None]) for share in (how.contrast * even[:, 4], how.light * even[:, 5]))
    mean = moved.mean((1, 2, 3), keepdim=True)
    return ((moved - mean) * (1 + contrast) + mean + 255 * light).clamp(0, 255)


def _places(is_mirrored: Tensor, even: Tensor, how: Augmentation) -> Tensor:
    """Affine maps (N, 2, 3) from a place in the new picture to its place in the old one."""
    across, down, zoom, turn = even.unbind(1)
    scale = 1 / (1 + how.zoom * zoom)
    angle = torch.deg2rad(how.turn * turn)
    cos, sin = scale * angle.cos(), scale * angle.sin()
    side = torch.where(is_mirrored, -1.0, 1.0)
    first = torch.stack([side * cos, -sin, 2 * how.shift * across], dim=1)
    second = torch.stack([side * sin, cos, 2 * how.shift * down], dim=1)
    return torch.stack([first, second], dim=1)
