"""Faces in frames: MTCNN (Zhang et al., arXiv:1604.02878) of facenet-pytorch, whose wheel carries the weights."""

from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from facenet_pytorch import MTCNN
from torch import Tensor

# Ours: of two sets of clips MTCNN's own (0.6, 0.7, 0.7) found the same share of faces at a third more time.
_THRESHOLDS = [0.8, 0.8, 0.8]
_TOGETHER = 16  # frames at once; more are no faster and cost memory


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
        min_side: smallest face looked for, in pixels; the larger, the faster.
        min_confidence: faces below are left out.
        border: grey put around the frames, as a share of their longer side: MTCNN misses faces that fill the picture.
        device: where the three small networks run.
    """

    def __init__(
        self, min_side: int = 20, min_confidence: float = 0.9, border: float = 0.0, device: str = "cpu"
    ) -> None:
        self.min_side, self.min_confidence, self.border = min_side, min_confidence, border
        self._mtcnn = MTCNN(
            min_face_size=min_side, thresholds=_THRESHOLDS, keep_all=True, device=torch.device(device)
        ).eval()

    @property
    def settings(self) -> dict[str, Any]:
        """Everything beside the frames that decides which faces are found."""
        return {
            "mtcnn": version("facenet-pytorch"),
            "thresholds": _THRESHOLDS,
            "min_side": self.min_side,
            "min_confidence": self.min_confidence,
            "border": self.border,
        }

    def __call__(self, frames: Tensor) -> list[list[Face]]:
        """Faces of each frame of (T, H, W, 3) uint8, largest first; an empty list where there is none."""
        return [faces for some in torch.split(frames, _TOGETHER) for faces in self._detect(some)]

    def _detect(self, frames: Tensor) -> list[list[Face]]:
        height, width = frames.shape[1:3]
        edge = round(self.border * max(height, width))
        if min(height, width) + 2 * edge < self.min_side:  # MTCNN has no scale left to look at and fails
            return [[] for _ in frames]
        framed = F.pad(frames, (0, 0, edge, edge, edge, edge), value=127)
        boxes, confidences = self._mtcnn.detect(framed.numpy())
        return [
            self._faces(of_frame - edge, sure, width, height) if of_frame is not None else []
            for of_frame, sure in zip(boxes, confidences, strict=True)
        ]

    def _faces(self, boxes: np.ndarray, confidences: np.ndarray, width: int, height: int) -> list[Face]:
        found: list[Face] = []
        for (left, top, right, bottom), confidence in zip(boxes, confidences, strict=True):
            box = (max(0, int(left)), max(0, int(top)), min(width, round(right)), min(height, round(bottom)))
            if confidence >= self.min_confidence and box[2] > box[0] and box[3] > box[1]:
                found.append(Face(box, float(confidence)))
        return sorted(found, key=lambda face: -face.area)
