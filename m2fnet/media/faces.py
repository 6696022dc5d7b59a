"""Faces in frames, looked for in a smaller copy of them."""

import math
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.transforms.v2.functional import resize

from m2fnet.media.mtcnn import FACTOR, MTCNN

_THRESHOLDS = (0.6, 0.7)  # facenet-pytorch's for the first two networks; 0.8 loses one in a hundred of its faces
_SMALLEST = 20  # pixels: facenet-pytorch's smallest face; each further size is 1 / FACTOR larger
_SMALL = 320  # pixels: scaling frames of this length down would save next to nothing


@dataclass(frozen=True)
class Face:
    """A face in a frame.

    Attributes:
        box: left, top, right, bottom in pixels, inside the frame.
        confidence: 0..1.
    """

    box: tuple[int, int, int, int]
    confidence: float

    @property
    def area(self) -> int:
        """Pixels in the box."""
        left, top, right, bottom = self.box
        return (right - left) * (bottom - top)


class FaceDetector:
    """Finds all faces in frames.

    Args:
        min_side: smallest face looked for, in pixels, rounded down to 20, 28.2, 39.8, 56.1, ...: the sizes at which
            facenet-pytorch looks, as between them other faces would be found. The larger, the faster.
        min_confidence: how sure the last network has to be; facenet-pytorch's 0.7.
        border: grey put around the frames, as a share of their longer side: MTCNN misses faces that fill the picture.
        working_side: frames are scaled down until the smallest face has this many pixels; small frames are not.
        batch_pixels: how many pixels of scaled-down frames are searched together; more cost memory, and help only
            GPUs.
        device: where the three small networks run.

    Example:
        >>> detect = FaceDetector(min_side=40)
        >>> grey = torch.full((2, 120, 160, 3), 128, dtype=torch.uint8)  # two frames without a face
        >>> detect(grey)
        [[], []]
    """

    def __init__(
        self,
        min_side: int = 20,
        min_confidence: float = 0.7,
        border: float = 0.0,
        working_side: int = 20,
        batch_pixels: int = 1_000_000,
        device: str = "cpu",
    ) -> None:
        self.min_side, self.min_confidence, self.border = min_side, min_confidence, border
        self.working_side, self.batch_pixels, self.device = working_side, batch_pixels, device
        self._mtcnn = MTCNN((*_THRESHOLDS, min_confidence)).to(device)

    @property
    def settings(self) -> dict[str, Any]:
        """Everything except the frames that decides which faces are found."""
        return {
            "mtcnn": f"{version('facenet-pytorch')}, batched",
            "thresholds": [*_THRESHOLDS, self.min_confidence],
            "min_side": self.min_side,
            "border": self.border,
            "working_side": self.working_side,
        }

    def __call__(self, frames: Tensor) -> list[list[Face]]:
        """Faces of each frame of (T, H, W, 3) uint8, largest first; an empty list where there is none.

        The frames of several clips of one size can be searched together; memory does not grow with their number.
        """
        height, width = frames.shape[1:3]
        edge = round(self.border * max(height, width))
        framed = (height + 2 * edge, width + 2 * edge)
        smallest = _size_of_mtcnn(self.min_side)
        factor = min(1.0, max(self.working_side / smallest, _SMALL / max(framed)))
        working = [max(1, round(side * factor)) for side in framed]
        stretch = torch.tensor([framed[1] / working[1], framed[0] / working[0]] * 2)
        faces: list[list[Face]] = []
        for some in torch.split(frames, max(1, self.batch_pixels // math.prod(working))):
            small = resize(_framed(some, edge).permute(0, 3, 1, 2), working).to(self.device)
            for boxes in self._mtcnn(small, smallest * factor):
                corners = boxes[:, :4] * stretch - edge
                faces.append(self._faces(corners.tolist(), boxes[:, 4].tolist(), width, height))
        return faces

    def _faces(self, boxes: list[list[float]], confidences: list[float], width: int, height: int) -> list[Face]:
        found: list[Face] = []
        for (left, top, right, bottom), confidence in zip(boxes, confidences, strict=True):
            box = (max(0, int(left)), max(0, int(top)), min(width, round(right)), min(height, round(bottom)))
            if box[2] > box[0] and box[3] > box[1]:
                found.append(Face(box, confidence))
        return sorted(found, key=lambda face: -face.area)


def _size_of_mtcnn(side: float) -> float:
    """The largest size of face that facenet-pytorch looks for and that is no larger than ``side``.

    >>> [round(_size_of_mtcnn(side), 1) for side in (15, 20, 32, 40)]
    [14.2, 20.0, 28.2, 39.8]
    """
    steps = math.floor(math.log(_SMALLEST / side, FACTOR))
    return _SMALLEST / FACTOR**steps


def _framed(frames: Tensor, edge: int) -> Tensor:
    return F.pad(frames, (0, 0, edge, edge, edge, edge), value=127) if edge else frames
