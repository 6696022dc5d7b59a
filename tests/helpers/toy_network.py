"""The smallest network that `ExtractorTask` can train: counts of letters, two layers."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from extractors.base import Extractor, PlacedUtterance, Sample
from m2fnet.errors import MediaError
from m2fnet.files import write_text
from m2fnet.records import Modality


class ToyNetwork(Extractor):
    """Embeddings of texts from their letters; ``alphabet`` is a file, as a tokenizer would be."""

    modality: ClassVar[Modality] = "text"

    def __init__(self, width: int = 8, dropout: float = 0.0, alphabet: str = "") -> None:
        super().__init__()
        if width < 1:
            raise ValueError(f"Expected a width of at least 1, but got {width}.")
        self.alphabet = Path(alphabet).read_text(encoding="utf-8") if alphabet else "abcdefghijklmnopqrstuvwxyz"
        self.letters = nn.Sequential(nn.Linear(len(self.alphabet), 16), nn.BatchNorm1d(16), nn.Tanh())
        self.projector = nn.Sequential(nn.Dropout(dropout), nn.Linear(16, width))

    @property
    def width(self) -> int:
        return self.projector[1].out_features

    def preprocess(self, placed: PlacedUtterance) -> Sample:
        text = placed.utterance.text
        if not text:
            raise MediaError("text", "there is no transcript")
        return {
            "counts": torch.tensor([float(text.count(letter)) for letter in self.alphabet]),
            "text": text,
            "cut_marks": text.count("!"),
        }

    def length(self, sample: Sample) -> int:
        return len(sample["text"])

    def collate(self, samples: Sequence[Sample]) -> Sample:
        return {"counts": torch.stack([sample["counts"] for sample in samples])}

    def forward(self, batch: Sample) -> Tensor:
        embeddings: Tensor = self.projector(self.letters(batch["counts"]))
        return embeddings

    def backbones(self) -> Sequence[nn.Module]:
        return (self.letters,)

    def save_assets(self, folder: Path) -> None:
        write_text(folder / "alphabet.txt", self.alphabet)

    @classmethod
    def asset_settings(cls, folder: Path) -> dict[str, Any]:
        return {"alphabet": str(folder / "alphabet.txt")}
