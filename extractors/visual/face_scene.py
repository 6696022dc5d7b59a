"""M2FNet's dual network (arXiv:2206.02187, section 3.2.1 and Fig 3): one encoder for the scene and for the faces in it.

The encoder sees every whole frame, and every face that MTCNN finds. A frame's faces are summed with their areas as
weights; frames, and frames' faces, are reduced by their maximum over the clip; both halves are concatenated.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn
from torchvision.transforms.v2.functional import resize

from extractors.base import Extractor, PlacedUtterance, Sample, next_generator
from extractors.visual.augmentation import Augmentation, augmented
from extractors.visual.encoder import Backbone, ImageEncoder
from extractors.visual.faces import Area, Choice, chosen_faces, face_cut, face_weights
from extractors.visual.pictures import Frames, utterance_frames
from m2fnet.errors import MediaError
from m2fnet.media.face_cache import CachedFaceDetector
from m2fnet.media.faces import FaceDetector
from m2fnet.media.video import Place
from m2fnet.records import Modality

Branches = Literal["both", "face", "scene"]
# Pictures the encoder sees together in evaluation: what is between its layers stays in the cache of a CPU, a quarter
# faster, and a crowd does not fill the memory of a GPU.
_TOGETHER_ON_CPU, _TOGETHER = 32, 256


class FaceScene(Extractor):
    """Embeddings of single utterances: the scene's vector and the faces' vector, concatenated.

    Without any face the face half is exactly zero and ``has_face`` of the batch is False; the scene is still there.
    With ``branches="face"`` such an utterance has no embedding. A still image is a clip of one frame, so a manifest
    of labelled face photographs trains it as well as one of clips.

    Args:
        backbone: ``resnet18`` or ``inception_resnet_v1``.
        weights: file with the backbone's weights: published ones, or the checkpoint of an earlier run; None: random.
        branch_width: length of each half.
        branches: ``both``, or only one.
        frames: how many frames are looked at.
        place: where in the utterance they are; ``random`` is drawn once per utterance, from its id and ``seed``.
        area: the faces' areas are divided by their ``sum``, by the largest (``max``) or by the area of the ``frame``.
        faces: of each frame ``all`` faces, the one of the ``largest`` over the clip, or the one of the ``speaker``, by
            the heuristic of `m2fnet.media.speaker`; the paper takes all.
        side: pictures are scaled to this many pixels, both ways.
        margin: how much more than its box belongs to a face, as a share of the box.
        max_faces: the largest faces of a frame that count; smaller ones are dropped, and counted as ``cut_faces``.
        max_side: larger frames are scaled down to this many pixels before faces are looked for and cut out.
        min_face: smallest face looked for, in pixels of the scaled frame, rounded down to 20, 28, 40, 56 ...
        min_confidence: faces that MTCNN is less sure of are dropped.
        border: grey around the frames while faces are looked for, as a share of the longer side; 0.25 finds most of
            the faces in pictures that are cut tightly around one, at twice the time.
        detections: folder that keeps the faces found, so that no frame is searched twice; None keeps nothing.
        augmentation: how pictures are changed in training.
        seed: of the random place.
    """

    modality: ClassVar[Modality] = "visual"
    convolutional: ClassVar[tuple[str, ...]] = ("encoder.backbone",)
    uncompiled: ClassVar[tuple[str, ...]] = ("_augmented",)
    local_settings: ClassVar[tuple[str, ...]] = ("detections",)
    step: Tensor

    def __init__(
        self,
        backbone: Backbone = "resnet18",
        weights: str | None = None,
        branch_width: int = 300,
        branches: Branches = "both",
        frames: int = 15,
        place: Place = "centre",
        area: Area = "sum",
        faces: Choice = "all",
        side: int = 112,
        margin: float = 0.1,
        max_faces: int = 10,
        max_side: int = 640,
        min_face: int = 40,
        min_confidence: float = 0.9,
        border: float = 0.0,
        detections: str | None = None,
        augmentation: Augmentation | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if min(frames, max_faces, branch_width) < 1 or min_face < 12 or max_side < min_face or min(margin, border) < 0:
            raise ValueError(
                "Expected frames, max_faces and branch_width >= 1, 12 <= min_face <= max_side, and margin "
                "and border >= 0, but got "
                f"frames={frames}, max_faces={max_faces}, branch_width={branch_width}, min_face={min_face}, "
                f"max_side={max_side}, margin={margin}, border={border}."
            )
        self.branch_width, self.branches, self.area = branch_width, branches, area
        self.which = Frames(frames, place, max_side, seed)
        self.side, self.margin, self.max_faces, self.faces = side, margin, max_faces, faces
        self.augmentation = augmentation or Augmentation()
        self.register_buffer("step", torch.zeros((), dtype=torch.long))
        detector = FaceDetector(min_side=min_face, min_confidence=min_confidence, border=border)
        self.detector = CachedFaceDetector(detector, Path(detections)) if detections is not None else detector
        self.encoder = ImageEncoder(backbone, branch_width, side, Path(weights) if weights is not None else None)
        self.is_pretrained = weights is not None

    @property
    def width(self) -> int:
        """Length D of the embeddings."""
        return self.branch_width * (2 if self.branches == "both" else 1)

    def backbones(self) -> Sequence[nn.Module]:
        """The encoder's backbone, if its weights came from a file."""
        return (self.encoder.backbone,) if self.is_pretrained else ()

    @classmethod
    def asset_settings(cls, folder: Path) -> dict[str, Any]:
        """A trained network holds its backbone itself; the file that it started from may be gone."""
        return {"weights": None}

    def preprocess(self, placed: PlacedUtterance) -> Sample:
        """Frames (T, 3, S, S), faces (N, 3, S, S), their weights and frames (N,), what was cut, what lacks.

        Raises:
            MediaError: if the utterance has no picture that can be decoded, or no face and ``branches`` is ``face``.
        """
        frames = utterance_frames(placed, self.which)
        pictures, size = frames.permute(0, 3, 1, 2), [self.side, self.side]
        found = self.detector(frames) if self.branches != "scene" else []
        wanted = [faces[: self.max_faces] for faces in chosen_faces(placed, self.which, frames, found, self.faces)]
        shown = [(picture, faces) for picture, faces in zip(pictures, wanted, strict=False) if faces]
        if self.branches == "face" and not shown:
            raise MediaError("faces", "no face was found")
        none = pictures.new_empty(0, 3, *size)
        weights = [face_weights(faces, self.area, picture[0].numel()) for picture, faces in shown]
        cuts = [resize(face_cut(picture, face, self.margin), size) for picture, faces in shown for face in faces]
        return {
            "scenes": resize(pictures, size) if self.branches != "face" else none,
            "faces": torch.stack(cuts) if cuts else none,
            "weight": torch.cat(weights) if weights else torch.empty(0),
            "cut_faces": sum(map(len, found)) - sum(map(len, wanted)),
            "without_face": int(self.branches != "scene" and not shown),  # half of the embedding is then 0
            "frame": torch.repeat_interleave(torch.tensor([len(faces) for _, faces in shown], dtype=torch.long)),
        }

    def length(self, sample: Sample) -> int:
        """Pictures that the encoder has to look at."""
        return len(sample["scenes"]) + len(sample["faces"])

    def collate(self, samples: Sequence[Sample]) -> Sample:
        """Scenes and faces of all clips one after the other; nothing is padded.

        ``pictures`` (M, 3, S, S) are first the scenes, then the faces. ``clip_of_scene`` (M - N,), ``frame_of_face``
        (N,) and ``clip_of_frame`` (K,) say what belongs to what; only frames that show a face count as such.
        ``weight`` (N,) is that of each face; ``has_face`` (B,) says which clips show one, ``cut_faces`` (B,) how many
        faces of each were dropped.
        """
        scenes = torch.tensor([len(sample["scenes"]) for sample in samples])
        frames = torch.tensor([len(sample["frame"].unique()) for sample in samples])
        starts = frames.cumsum(0) - frames
        return {
            "pictures": torch.cat([sample[part] for part in ("scenes", "faces") for sample in samples]),
            "clip_of_scene": torch.repeat_interleave(scenes),
            "frame_of_face": torch.cat([s["frame"] + start for s, start in zip(samples, starts, strict=True)]),
            "clip_of_frame": torch.repeat_interleave(frames),
            "weight": torch.cat([sample["weight"] for sample in samples]),
            "has_face": frames > 0,
            "cut_faces": torch.tensor([sample["cut_faces"] for sample in samples]),
        }

    def forward(self, batch: Sample) -> Tensor:
        """Un-normalised embeddings (B, D)."""
        clips, scenes = len(batch["has_face"]), len(batch["clip_of_scene"])
        vectors = self._encode(batch)
        parts = []
        if self.branches != "face":
            parts.append(maximum(vectors[:scenes], batch["clip_of_scene"], clips))
        if self.branches != "scene":
            clip = batch["clip_of_frame"]
            frames = weighted_sum(vectors[scenes:], batch["weight"], batch["frame_of_face"], len(clip))
            parts.append(maximum(frames, clip, clips))
        return torch.cat(parts, dim=1)

    def _encode(self, batch: Sample) -> Tensor:
        """Vectors (M, D) of all pictures, in single precision whatever the encoder runs in.

        In training, scenes and faces go through together: batch normalisation has to learn the mixture that it will
        be used on.
        """
        pictures: Tensor = batch["pictures"]
        if self.training:
            vectors: Tensor = self.encoder(self._augmented(pictures.float(), batch))
            return vectors.float()
        together = _TOGETHER_ON_CPU if pictures.device.type == "cpu" else _TOGETHER
        return torch.cat([self.encoder(some.float()).float() for some in torch.split(pictures, together)])

    @torch.no_grad()
    def _augmented(self, pictures: Tensor, batch: Sample) -> Tensor:
        if self.augmentation == Augmentation():
            return pictures
        clip = torch.cat([batch["clip_of_scene"], batch["clip_of_frame"][batch["frame_of_face"]]])
        return augmented(pictures, self.augmentation, clip, len(batch["has_face"]), next_generator(self.step))


def weighted_sum(vectors: Tensor, weights: Tensor, group: Tensor, groups: int) -> Tensor:
    """Sums (G, D) of vectors (N, D) times weights (N,), by group (N,); an empty group has zeros."""
    return vectors.new_zeros(groups, vectors.shape[1]).index_add(0, group, weights[:, None] * vectors)


def maximum(vectors: Tensor, group: Tensor, groups: int) -> Tensor:
    """Largest values (G, D) of vectors (N, D), by group (N,); an empty group has zeros."""
    places = group[:, None].expand_as(vectors)
    return vectors.new_zeros(groups, vectors.shape[1]).scatter_reduce(0, places, vectors, "amax", include_self=False)
