"""MTCNN (Zhang et al., arXiv:1604.02878) over a batch of frames, with all boxes of a stage cut out together.

Networks, weights and the arithmetic of boxes are facenet-pytorch's. Its `detect_face` shrinks the full frames for every
size of face and cuts boxes out one by one in Python; here the frames are shrunk as bytes, and `roi_align` with a
sample per pixel takes the place of its averages over each box.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from facenet_pytorch.models.mtcnn import ONet, PNet, RNet
from facenet_pytorch.models.utils.detect_face import batched_nms_numpy, bbreg, generateBoundingBox, rerec
from torch import Tensor, nn
from torchvision.ops import batched_nms, roi_align
from torchvision.transforms.v2.functional import resize

WINDOW = 12  # pixels: the face that the first network looks for
FACTOR = 0.709  # facenet-pytorch's, about the square root of 1/2: each size has half the pixels of the one before
_CUTS = 64  # boxes seen together: what is between the layers stays in the cache of a CPU, twice as fast as with 512


@dataclass(frozen=True)
class Candidates:
    """Boxes that may show a face.

    Attributes:
        boxes: (N, 5): left, top, right, bottom, and how sure the last network was.
        frame: (N,): the number of its frame.
    """

    boxes: Tensor
    frame: Tensor

    def __len__(self) -> int:
        return len(self.boxes)

    def __getitem__(self, chosen: Tensor) -> "Candidates":
        return Candidates(self.boxes[chosen], self.frame[chosen])

    def apart(self, overlap: float) -> Tensor:
        """Places of the surest of those boxes of a frame that overlap by more than ``overlap`` (IoU)."""
        kept: Tensor = batched_nms(self.boxes[:, :4], self.boxes[:, 4], self.frame, overlap)
        return kept


class MTCNN(nn.Module):
    """Boxes of the faces in frames, by three networks that each look at what the one before let through.

    Args:
        thresholds: how sure each network has to be, 0..1.
    """

    def __init__(self, thresholds: Sequence[float]) -> None:
        super().__init__()
        self.thresholds = tuple(thresholds)
        self.proposing, self.refining, self.deciding = PNet(), RNet(), ONet()
        self.eval().to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    @torch.inference_mode()
    def forward(self, frames: Tensor, min_side: float) -> list[Tensor]:
        """Boxes (N, 5) of each frame of (T, 3, H, W) uint8: left, top, right, bottom, confidence.

        Args:
            frames: the frames, on the device of the networks.
            min_side: smallest face looked for, in pixels.
        """
        scales = list(_scales(min(frames.shape[2:]), min_side))
        if not scales:
            return [torch.empty(0, 5) for _ in frames]
        found = self._proposed(frames, scales)
        normal = _normal(frames).contiguous()
        for stage in (self._refined, self._decided):
            found = found[_has_view(found, frames)]
            if len(found):  # the networks cannot look at nothing
                found = stage(normal, found)
        boxes, frame = found.boxes.cpu(), found.frame.cpu()
        return [boxes[frame == number] for number in range(len(frames))]

    def _proposed(self, frames: Tensor, scales: Sequence[float]) -> Candidates:
        """Windows in frames of every size that look like a face, moved and made square."""
        parts = [self._windows(frames, scale) for scale in scales]
        found = Candidates(torch.cat([p.boxes for p in parts]), torch.cat([p.frame for p in parts]))
        found = found[found.apart(0.7)]
        corners, score, moves = torch.split(found.boxes, [4, 1, 4], dim=1)
        sides = (corners[:, 2:] - corners[:, :2]).repeat(1, 2)
        return Candidates(rerec(torch.cat([corners + moves * sides, score], dim=1)), found.frame)

    def _windows(self, frames: Tensor, scale: float) -> Candidates:
        """Windows (N, 5 + 4 moves) in frames of one size, in pixels of the given frames."""
        height, width = (int(side * scale + 1) for side in frames.shape[2:])
        moves, is_face = self.proposing(_normal(resize(frames, [height, width])))
        boxes, frame = generateBoundingBox(moves, is_face[:, 1], scale, self.thresholds[0])
        found = Candidates(boxes, frame)
        return found[found.apart(0.5)]

    def _refined(self, normal: Tensor, found: Candidates) -> Candidates:
        found, (moves, _) = _seen(self.refining, normal, found, 24, self.thresholds[1])
        kept = found.apart(0.7)
        found = found[kept]
        return Candidates(rerec(bbreg(found.boxes, moves[kept])), found.frame)

    def _decided(self, normal: Tensor, found: Candidates) -> Candidates:
        found, (moves, _, _) = _seen(self.deciding, normal, found, 48, self.thresholds[2])
        boxes = bbreg(found.boxes, moves)
        kept = batched_nms_numpy(boxes[:, :4], boxes[:, 4], found.frame, 0.7, "Min")
        return Candidates(boxes, found.frame)[kept]


def _scales(side: int, min_side: float) -> Iterator[float]:
    """Factors that bring faces of ``min_side`` and more to the window, while ``side`` has room for it.

    >>> [round(scale, 3) for scale in _scales(60, 20)]
    [0.6, 0.425, 0.302, 0.214]
    """
    scale = WINDOW / min_side
    while side * scale >= WINDOW:
        yield scale
        scale *= FACTOR


def _normal(pictures: Tensor) -> Tensor:
    """Pictures in 0..255 as the networks want them."""
    return pictures.float().sub_(127.5).mul_(1 / 128)


def _seen(
    network: nn.Module, normal: Tensor, found: Candidates, side: int, threshold: float
) -> tuple[Candidates, tuple[Tensor, ...]]:
    """The candidates that ``network`` takes for a face, and its outputs for them, its certainty last."""
    corners = _inside(found.boxes, normal)
    regions = torch.cat([found.frame[:, None].to(corners), corners], dim=1)
    cuts = (roi_align(normal, some, side, aligned=True) for some in torch.split(regions, _CUTS))
    outputs = tuple(torch.cat(parts) for parts in zip(*map(network, cuts), strict=True))
    score = outputs[-1][:, 1]
    is_face = score > threshold
    boxes = torch.cat([found.boxes[:, :4], score[:, None]], dim=1)
    return Candidates(boxes, found.frame)[is_face], tuple(part[is_face] for part in outputs)


def _inside(boxes: Tensor, frames: Tensor) -> Tensor:
    """Whole pixels (N, 4) inside the frame that facenet-pytorch, which counts them from 1, cuts out for boxes."""
    height, width = frames.shape[2:]
    left, top, right, bottom = boxes[:, :4].trunc().unbind(1)
    return torch.stack(
        [left.clamp(min=1) - 1, top.clamp(min=1) - 1, right.clamp(max=width), bottom.clamp(max=height)], dim=1
    )


def _has_view(found: Candidates, frames: Tensor) -> Tensor:
    left, top, right, bottom = _inside(found.boxes, frames).unbind(1)
    return (right > left) & (bottom > top)
