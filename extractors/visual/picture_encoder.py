"""Pretrained encoders of pictures (CLIP, SigLIP, DINOv2, ViT ...) as visual extractors, by transformers."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from extractors.base import PlacedUtterance, Sample
from extractors.layers.encoder import KEPT, EncoderExtractor, States, Trained
from extractors.layers.hidden_states import Layers, hidden_states
from extractors.layers.low_rank import LowRank
from extractors.layers.readout import Combine, Pooling, Readout
from extractors.pretrained import fetch, load_encoder, load_image_processor, write_files
from extractors.visual.face_scene import weighted_sum
from extractors.visual.faces import Choice, chosen_faces, face_cut, face_weights
from extractors.visual.pictures import Frames, utterance_frames
from m2fnet.errors import MediaError, RunError
from m2fnet.media.face_cache import CachedFaceDetector
from m2fnet.media.faces import FaceDetector
from m2fnet.media.video import Place
from m2fnet.records import Modality

_CLASS_TOKENS = ("class_embedding", "cls_token")  # the names that families give it


class PictureEncoder(EncoderExtractor):
    """Embeddings of single utterances from layers of an encoder of pictures, which sees whole frames or the faces.

    A frame's faces are summed with their areas as weights, as in `extractors.visual.face_scene`; pooling is over
    frames. An utterance in which no face is found has no embedding of its faces. A network that shall see both gets two
    streams.

    Args:
        model: name on the Hugging Face hub, or folder, of the encoder and its image processor.
        pretrained: take its weights; otherwise only the architecture.
        sees: the whole ``scene``, or the ``faces``.
        patches: what is read of a picture: its ``class`` token, or the ``mean`` over its patches, all that SigLIP has.
        layers: which hidden states are read, see `extractors.layers.hidden_states.layer_numbers`.
        combine: how several layers become one, see `extractors.layers.readout.Readout`.
        pooling: how frames become one vector, see there.
        trained: what of the encoder learns, see `extractors.layers.encoder.EncoderExtractor`.
        low_rank: the change of low rank that learns, with ``trained: low_rank``.
        frames: how many frames are looked at.
        place: where in the utterance they are.
        faces: of each frame ``all`` faces, the one of the ``largest`` over the clip, or the one of the ``speaker``.
        margin: how much more than its box belongs to a face, as a share of the box.
        max_faces: the largest faces of a frame that count.
        max_side: larger frames are scaled down to this many pixels before anything is looked at.
        min_face: smallest face looked for, in pixels of the scaled frame.
        min_confidence: faces that MTCNN is less sure of are dropped.
        border: grey around the frames while faces are looked for, as a share of the longer side.
        detections: folder that keeps the faces found; None keeps nothing.
        together: pictures that the encoder sees in one pass, so that memory stays bounded.
        seed: of the random place.

    Raises:
        ValueError: for a setting that makes no sense or that the encoder cannot follow.
        RunError: if the encoder cannot be loaded or sees no pictures.
    """

    modality: ClassVar[Modality] = "visual"
    local_settings: ClassVar[tuple[str, ...]] = ("detections",)

    def __init__(
        self,
        model: str = "openai/clip-vit-base-patch32",
        *,
        pretrained: bool = True,
        sees: Literal["scene", "faces"] = "scene",
        patches: Literal["class", "mean"] = "class",
        layers: Layers = -1,
        combine: Combine = "average",
        pooling: Pooling = "mean",
        trained: Trained = "all",
        low_rank: LowRank | None = None,
        frames: int = 8,
        place: Place = "spread",
        faces: Choice = "all",
        margin: float = 0.1,
        max_faces: int = 10,
        max_side: int = 640,
        min_face: int = 40,
        min_confidence: float = 0.9,
        border: float = 0.0,
        detections: str | None = None,
        together: int = 64,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if min(frames, max_faces, together) < 1 or min_face < 12 or max_side < min_face or min(margin, border) < 0:
            raise ValueError(
                "Expected frames, max_faces and together >= 1, 12 <= min_face <= max_side, and margin and border >= 0, "
                f"but got frames={frames}, max_faces={max_faces}, together={together}, min_face={min_face}, "
                f"max_side={max_side}, margin={margin}, border={border}."
            )
        folder = fetch(model)
        encoder: Any = load_encoder(folder, pretrained=pretrained)
        if not hasattr(encoder.config, "patch_size"):
            raise RunError(
                f"{folder} holds a {encoder.config.model_type}; expected an encoder of pictures in patches, such as "
                "CLIP, SigLIP, DINOv2 or ViT."
            )
        has_class = any(name.endswith(_CLASS_TOKENS) for name, _ in encoder.named_parameters())
        if patches == "class" and not has_class:
            raise ValueError(f"A {encoder.config.model_type} has no class token; expected patches: mean.")
        self.processor = load_image_processor(folder)
        self.sees, self.patches, self.together = sees, patches, together
        self.which = Frames(frames, place, max_side, seed)
        self.faces, self.margin, self.max_faces = faces, margin, max_faces
        detector = FaceDetector(min_side=min_face, min_confidence=min_confidence, border=border)
        self.detector = CachedFaceDetector(detector, Path(detections)) if detections is not None else detector
        self.read_encoder(encoder, Readout.of(encoder, layers, combine, pooling), trained, low_rank)
        if trained == "all":
            self.freeze_unreached()

    @property
    def width(self) -> int:
        """Length D of the embeddings."""
        return self.readout.width

    def preprocess(self, placed: PlacedUtterance) -> Sample:
        """Pictures (M, 3, S, S) as the encoder expects them, their weights and frames (M,), and what was cut.

        Raises:
            MediaError: if the utterance has no picture that can be decoded, or no face where faces are seen.
        """
        frames = utterance_frames(placed, self.which)
        pictures = list(frames.permute(0, 3, 1, 2))
        if self.sees == "scene":
            count = len(pictures)
            return {"pictures": self._processed(pictures), "weight": torch.ones(count), "frame": torch.arange(count)}
        found = self.detector(frames)
        wanted = [some[: self.max_faces] for some in chosen_faces(placed, self.which, frames, found, self.faces)]
        shown = [(picture, some) for picture, some in zip(pictures, wanted, strict=False) if some]
        if not shown:
            raise MediaError("faces", "no face was found")
        cuts = [face_cut(picture, face, self.margin) for picture, some in shown for face in some]
        return {
            "pictures": self._processed(cuts),
            "weight": torch.cat([face_weights(some, "sum", picture[0].numel()) for picture, some in shown]),
            "frame": torch.repeat_interleave(torch.tensor([len(some) for _, some in shown])),
            "cut_faces": sum(map(len, found)) - sum(map(len, wanted)),
        }

    def length(self, sample: Sample) -> int:
        """Pictures that the encoder has to look at."""
        return len(sample["pictures"])

    def collate(self, samples: Sequence[Sample]) -> Sample:
        """Pictures (M, 3, S, S) of all clips, their weights and frames (M,), and numbers of frames (B,)."""
        frames = torch.tensor([int(sample["frame"][-1]) + 1 for sample in samples])
        starts = frames.cumsum(0) - frames
        return {
            "pictures": torch.cat([sample["pictures"] for sample in samples]),
            "weight": torch.cat([sample["weight"] for sample in samples]),
            "frame": torch.cat([s["frame"].long() + start for s, start in zip(samples, starts, strict=True)]),
            "frames": frames,
        }

    def states(self, batch: Sample) -> States:
        """Hidden states of the frames of a batch."""
        found: dict[int, list[Tensor]] = {number: [] for number in self.readout.numbers}
        for some in batch["pictures"].split(self.together):
            states = hidden_states(self.blocks, found, self.depth, lambda some=some: self._read(some))  # type: ignore[misc]
            for number, tokens in states.items():
                found[number].append(self._picture_vectors(tokens, some).float())
        total = int(batch["frames"].sum())
        of_frames = {
            number: weighted_sum(torch.cat(vectors), batch["weight"], batch["frame"], total)
            for number, vectors in found.items()
        }
        return States(of_frames, batch["frames"])

    def example(self) -> Sample:
        """A grey picture."""
        grey = torch.full((3, 64, 64), 128, dtype=torch.uint8)
        return {"pictures": self._processed([grey]), "weight": torch.ones(1), "frame": torch.zeros(1)}

    def forward(self, batch: Sample) -> Tensor | list[Tensor]:
        """Embeddings (B, D), or one (T, D) per utterance with a row for every frame."""
        states = self.states(batch)
        return self.readout(states.layers, states.lengths)

    def save_assets(self, folder: Path) -> None:
        """Write architecture and image processor into ``folder``, so that the hub is not asked again."""
        super().save_assets(folder)
        write_files(folder / KEPT, self.encoder.config, self.processor)

    def _read(self, pictures: Tensor) -> Tensor:
        output: Tensor = self.encoder(pixel_values=pictures).last_hidden_state
        return output

    def _picture_vectors(self, tokens: Tensor, pictures: Tensor) -> Tensor:
        """One vector (M, D) of the tokens (M, T, D) of each picture; what is not a patch comes first among them."""
        if self.patches == "class":
            return tokens[:, 0]
        side = self.encoder.config.patch_size
        count = (pictures.shape[2] // side) * (pictures.shape[3] // side)
        return tokens[:, tokens.shape[1] - count :].mean(1)

    def _processed(self, pictures: Sequence[Tensor]) -> Tensor:
        """Pictures (3, H, W) of any sizes as uint8, scaled and normalised (M, 3, S, S)."""
        processed: Tensor = self.processor(images=list(pictures), return_tensors="pt")["pixel_values"]
        return processed
