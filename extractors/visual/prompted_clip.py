"""CLIP that stays as it is and learns to see clips through prompts, as a visual extractor.

The vision tower is prompted as `extractors.layers.video_prompts` says, the emotions are compared as
`extractors.layers.class_prompts` says. Nothing of CLIP trains.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2.functional import center_crop, resize
from transformers import CLIPModel

from extractors.base import Extractor, PlacedUtterance, Sample
from extractors.layers.class_prompts import ClassPrompts, ClassTexts, Context, Prototypes
from extractors.layers.frozen import Frozen
from extractors.layers.video_prompts import PromptedVision, Prompts
from extractors.pretrained import fetch, load_model, load_tokenizer, write_files
from extractors.visual.pictures import Frames, utterance_frames
from m2fnet.errors import RunError
from m2fnet.files import read_json, write_json
from m2fnet.media.video import Place
from m2fnet.problems import Problem
from m2fnet.records import Modality

Head = Literal["class_prompts", "prototypes", "linear"]
Output = Literal["prompted", "plain"]
KEPT = "clip"
_SEEING = "preprocessor_config.json"  # which mean and deviation the encoder's pictures had
_PROMPTS, _CONTEXT = Prompts(), Context()
_TOGETHER = 64  # frames that CLIP sees together in evaluation, so that long clips do not fill the memory


class PromptedCLIP(Extractor):
    """Embeddings of single utterances: CLIP's features of their frames, averaged, as prompts have it see them.

    Before any training this is the mean of CLIP's features, unless ``prompts.gate`` is off. A clip may have any number
    of frames, of which ``frames`` are looked at; where it has fewer, or is a picture, what belongs to the frames is
    interpolated. Checkpoints hold the prompts and the hash of CLIP, whose weights are in the run folder once.

    Args:
        model: CLIP by its name on the Hugging Face hub, or a folder.
        pretrained: take its weights; otherwise only the architecture.
        frames: how many frames are looked at.
        place: where in the utterance they are; ``random`` is drawn once per utterance, from its id and ``seed``.
        prompts: of the vision tower.
        head: how emotions are compared in training: ``class_prompts`` with texts, ``prototypes`` with learned vectors,
            ``linear`` not by the cosine.
        context: learned words around the texts.
        descriptions: emotion -> text in place of its name, such as ``a smiling mouth and raised cheeks``.
        output: ``prompted``, or ``plain`` for the mean of CLIP's features of the same frames, another stream for a
            dialogue network; see `m2fnet extract --output`.
        seed: of the random place.

    Raises:
        ValueError: for a setting that makes no sense.
        RunError: if ``model`` cannot be loaded or is no CLIP.
    """

    modality: ClassVar[Modality] = "visual"
    outputs: ClassVar[tuple[str, ...]] = ("prompted", "plain")
    mean: Tensor
    deviation: Tensor

    def __init__(
        self,
        model: str = "openai/clip-vit-base-patch16",
        *,
        pretrained: bool = True,
        frames: int = 8,
        place: Place = "spread",
        prompts: Prompts = _PROMPTS,
        head: Head = "class_prompts",
        context: Context = _CONTEXT,
        descriptions: dict[str, str] | None = None,
        output: Output = "prompted",
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.folder = fetch(model)
        self.seeing = read_json(self.folder / _SEEING, RunError, "Expected what `save_pretrained` writes for a CLIP.")
        clip = load_model(self.folder, pretrained=pretrained)
        if not isinstance(clip, CLIPModel):
            kind = clip.config.model_type
            raise RunError(f"{self.folder} holds a {kind}; expected a CLIP, such as openai/clip-vit-base-patch16.")
        self.clip = Frozen(clip)
        self.vision = PromptedVision(self.clip, frames, prompts)
        seen: Any = clip.config.vision_config
        self.side: int = seen.image_size
        self.which = Frames(frames, place, 4 * self.side, seed)
        self.head_kind, self.context, self.descriptions, self.output = head, context, descriptions or {}, output
        for name in ("mean", "std"):
            values = self.seeing.get(f"image_{name}")
            if not isinstance(values, list) or len(values) != 3:
                raise RunError(f"{self.folder / _SEEING} has image_{name} {values!r}; expected three numbers.")
        self.register_buffer("mean", 255 * torch.tensor(self.seeing["image_mean"])[:, None, None], persistent=False)
        self.register_buffer("deviation", 255 * torch.tensor(self.seeing["image_std"])[:, None, None], persistent=False)

    @property
    def width(self) -> int:
        """Length E of the embeddings."""
        return self.clip.network.visual_projection.out_features

    def head(self, problem: Problem) -> nn.Module:
        """What compares the embeddings with the emotions of ``problem``.

        Raises:
            ValueError: if ``output`` is ``plain``, of which nothing trains, or ``descriptions`` do not fit.
            RunError: if the folder of CLIP holds no tokenizer.
        """
        if self.output == "plain":
            raise ValueError("Expected output to be prompted for training, but got plain, of which nothing trains.")
        if unknown := sorted(set(self.descriptions) - set(problem.classes)):
            raise ValueError(
                f"Expected descriptions of {', '.join(problem.classes)}, but {unknown[0]!r} is not one of them."
            )
        if self.head_kind == "class_prompts":
            texts = [self.descriptions.get(name, name) for name in problem.classes]
            return ClassPrompts(self.clip, ClassTexts.of(texts, load_tokenizer(self.folder)), self.context)
        if self.head_kind == "prototypes":
            return Prototypes(self.width, len(problem.classes), float(self.clip.network.logit_scale))
        return super().head(problem)

    def preprocess(self, placed: PlacedUtterance) -> Sample:
        """Frames (T, 3, S, S) as uint8: scaled until they fill the square that CLIP sees, and cut to it.

        Raises:
            MediaError: if the utterance has no picture that can be decoded.
        """
        return {"frames": square(utterance_frames(placed, self.which).permute(0, 3, 1, 2), self.side)}

    def length(self, sample: Sample) -> int:
        """Frames."""
        return len(sample["frames"])

    def collate(self, samples: Sequence[Sample]) -> Sample:
        """``frames`` (M, 3, S, S) of all clips one after the other, and ``counts``, how many each has."""
        return {
            "frames": torch.cat([sample["frames"] for sample in samples]),
            "counts": [len(sample["frames"]) for sample in samples],
        }

    def forward(self, batch: Sample) -> Tensor:
        """Un-normalised embeddings (B, E); clips with the same number of frames go through CLIP together."""
        counts: list[int] = batch["counts"]
        clips = batch["frames"].split(counts)
        rows: list[int] = []
        found: list[Tensor] = []
        for count in sorted(set(counts)):
            alike = [row for row, own in enumerate(counts) if own == count]
            together = len(alike) if self.training else max(1, _TOGETHER // count)
            for start in range(0, len(alike), together):
                some = alike[start : start + together]
                pictures = torch.stack([clips[row] for row in some]).to(self.mean.dtype)
                encode = self.vision if self.output == "prompted" else self.vision.plain
                found.append(encode((pictures - self.mean) / self.deviation))
                rows += some
        return torch.cat(found)[torch.tensor(rows, device=found[0].device).argsort()]

    def save_assets(self, folder: Path) -> None:
        """Write CLIP into ``folder``, its weights included, so that no checkpoint has to."""
        parts = [load_tokenizer(self.folder)] if self.head_kind == "class_prompts" else []
        write_files(folder / KEPT, self.clip.network, *parts)
        write_json(folder / KEPT / _SEEING, self.seeing)

    @classmethod
    def asset_settings(cls, folder: Path) -> dict[str, Any]:
        """Settings for the same network from what `save_assets` wrote."""
        return {"model": str(folder / KEPT), "pretrained": True}


def square(pictures: Tensor, side: int) -> Tensor:
    """Pictures (T, 3, S, S) of pictures (T, 3, H, W) in uint8, as CLIP's own preparation scales and cuts them.

    The shorter side is scaled to S, and the middle of the longer one is kept.

    Example:
        >>> square(torch.zeros(2, 3, 36, 48, dtype=torch.uint8), 24).shape
        torch.Size([2, 3, 24, 24])
    """
    scaled = resize(pictures, [side], interpolation=InterpolationMode.BICUBIC, antialias=True)
    cut: Tensor = center_crop(scaled, [side, side])
    return cut.contiguous()
