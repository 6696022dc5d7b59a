"""Gradients of faces and colours of the scene: the embedded visual extractor and its baseline.

The closed-form twin of M2FNet's dual network (arXiv:2206.02187, section 3.2.1 and Fig 3): one branch for the whole
frames, one for the faces that MTCNN finds, weighted by their area.
"""

import math
from collections.abc import Sequence
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from extractors.base import FittedExtractor, PlacedUtterance, Sample
from extractors.layers.pca import Projection
from extractors.layers.scaling import Scaling
from extractors.visual.pictures import Frames, utterance_frames
from m2fnet.media.faces import Face, FaceDetector
from m2fnet.media.video import Place
from m2fnet.records import Modality

FACE_SIDE, CELLS, DIRECTIONS = 48, 6, 8  # ours, chosen on the dev split of a corpus of face photographs
SCENE_SIZE = (12, 16)
_GREY = (0.299, 0.587, 0.114)  # ITU-R BT.601


class FaceGradients(FittedExtractor):
    """Embeddings of single utterances: scene, faces, and the share of frames that show a face, concatenated.

    An utterance without any face has zeros, the training mean, in the face part and 0 as its share.

    Args:
        scene_width: number of dimensions for the scene.
        face_width: number of dimensions for the faces.
        frames: how many frames are looked at.
        place: where in the utterance they are.
        max_side: larger frames are scaled down to this many pixels before faces are looked for.
        min_face: smallest face looked for, in pixels of the scaled frame, rounded down to 20, 28, 40, 56 ...
        scaling: how both parts are scaled.
    """

    modality: ClassVar[Modality] = "visual"

    def __init__(
        self,
        scene_width: int = 32,
        face_width: int = 64,
        frames: int = 3,
        place: Place = "spread",
        max_side: int = 320,
        min_face: int = 32,
        scaling: Scaling = "variance",
    ) -> None:
        super().__init__()
        if frames < 1 or min_face < 12 or max_side < min_face:
            raise ValueError(
                "Expected frames >= 1 and 12 <= min_face <= max_side, "
                f"but got frames={frames}, min_face={min_face}, max_side={max_side}."
            )
        self.which = Frames(frames, place, max_side)
        self.detector = FaceDetector(min_side=min_face)
        self.scene = Projection(scene_width, scaling)
        self.face = Projection(face_width, scaling)

    @property
    def width(self) -> int:
        """Length D of the embeddings."""
        return self.scene.width + self.face.width + 1

    def preprocess(self, placed: PlacedUtterance) -> Sample:
        """Colours of the scene (S,), gradients of the faces (G,) and the share of frames with a face.

        Raises:
            MediaError: if the utterance has no picture that can be decoded.
        """
        frames = utterance_frames(placed, self.which)
        seen = [
            face_gradients(frame, faces) for frame, faces in zip(frames, self.detector(frames), strict=True) if faces
        ]
        nothing = torch.zeros(DIRECTIONS * CELLS**2)
        return {
            "scene": scene_colours(frames),
            "face": torch.stack(seen).mean(0) if seen else nothing,
            "share": torch.tensor([len(seen) / len(frames)]),
        }

    def collate(self, samples: Sequence[Sample]) -> Sample:
        """Scenes (B, S), faces (B, G) and shares (B, 1)."""
        return {name: torch.stack([sample[name] for sample in samples]) for name in ("scene", "face", "share")}

    def forward(self, batch: Sample) -> Tensor:
        """Embeddings (B, D)."""
        share = batch["share"]
        return torch.cat([self.scene(batch["scene"]), self.face(batch["face"]) * (share > 0), share], dim=1)

    def fit(self, samples: Sequence[Sample], *, seed: int = 0) -> None:
        """Learn both branches from the training split, faces where there are any; nothing in it is random."""
        batch = self.collate(samples)
        self.scene.fit(batch["scene"])
        has_face = batch["share"][:, 0] > 0
        self.face.fit(batch["face"][has_face] if has_face.any() else batch["face"][:1])


def scene_colours(frames: Tensor) -> Tensor:
    """Colours (3 x 12 x 16,) in 0..1 of frames (T, H, W, 3), scaled down and averaged over time."""
    small = F.interpolate(frames.permute(0, 3, 1, 2).float() / 255, SCENE_SIZE, mode="area")
    return small.mean(0).flatten()


def face_gradients(frame: Tensor, faces: Sequence[Face]) -> Tensor:
    """Histograms of oriented gradients (8 x 6 x 6,) of a frame's faces, averaged with their areas as weights.

    Dalal and Triggs, CVPR 2005, with one block over the whole face; the weights are M2FNet's, areas over their sum.
    """
    grey = frame.float() @ torch.tensor(_GREY)
    crops = [grey[top:bottom, left:right] for left, top, right, bottom in (face.box for face in faces)]
    same = torch.stack([_resized(crop) for crop in crops])
    areas = torch.tensor([float(face.area) for face in faces])
    return (areas / areas.sum()) @ _histograms(same)


def _resized(crop: Tensor) -> Tensor:
    size = (FACE_SIDE, FACE_SIDE)
    return F.interpolate(crop[None, None], size, mode="bilinear", antialias=True, align_corners=False)[0, 0]


def _histograms(faces: Tensor) -> Tensor:
    """Square roots of normalised histograms (N, 8 x 6 x 6) of grey faces (N, 48, 48)."""
    across = faces[:, 1:-1, 2:] - faces[:, 1:-1, :-2]
    down = faces[:, 2:, 1:-1] - faces[:, :-2, 1:-1]
    direction = ((torch.atan2(down, across) / (2 * math.pi) + 0.5) * DIRECTIONS).long() % DIRECTIONS
    votes = F.one_hot(direction, DIRECTIONS).permute(0, 3, 1, 2) * torch.hypot(across, down)[:, None]
    histograms = F.adaptive_avg_pool2d(votes, CELLS).flatten(1)
    return F.normalize(histograms).sqrt()
