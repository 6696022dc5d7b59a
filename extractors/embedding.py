"""Utterances -> embeddings, in order: media are read in worker processes, batches go through the extractor."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from extractors.base import Extractor, Sample, Turn
from m2fnet.errors import MediaError, RunError
from m2fnet.manifest import Manifest
from m2fnet.records import Split
from m2fnet.store import Missing


@dataclass(frozen=True)
class Loading:
    """How utterances are loaded.

    Attributes:
        batch_size: utterances per forward pass.
        workers: processes that read media; 0 reads in the process itself.
        device: where the forward pass runs.
    """

    batch_size: int = 64
    workers: int = 0
    device: str = "cpu"


def turns(manifest: Manifest, split: Split | None = None) -> list[Turn]:
    """Every utterance of ``split`` (of all splits when None) in its place, dialogue by dialogue."""
    return [
        Turn(manifest, dialogue, position)
        for dialogue in manifest.dialogues(split)
        for position in range(len(dialogue))
    ]


def embed(extractor: Extractor, wanted: Sequence[Turn], loading: Loading) -> Iterator[tuple[Turn, Tensor | Missing]]:
    """Each turn with its embedding, (D,) or (T, D), on the CPU, or with why it has none; in the given order.

    Raises:
        RunError: if a worker process dies.
    """
    extractor.eval().to(loading.device)
    place = 0
    for outcomes, batch in _batches(extractor, wanted, loading, _Collate(extractor)):
        embeddings = iter(_forward(extractor, batch, loading.device) if batch is not None else ())
        for outcome in outcomes:
            yield wanted[place], outcome if outcome is not None else next(embeddings)
            place += 1


def read_samples(extractor: Extractor, wanted: Sequence[Turn], loading: Loading) -> list[Sample]:
    """The samples of all turns that have something to offer, in order: what a fit needs.

    Raises:
        RunError: if none has, or a worker process dies.
    """
    outcomes = [outcome for batch in _batches(extractor, wanted, loading, list) for outcome in batch]
    samples = [_owned(outcome) for outcome in outcomes if not isinstance(outcome, Missing)]
    if not samples:
        first = f"; the first is missing at {outcomes[0].stage}: {outcomes[0].reason}" if outcomes else ""
        raise RunError(
            f"None of the {len(wanted)} utterances of the training split can be read as {extractor.modality}{first}. "
            "Check the manifest, or use an extractor of another modality."
        )
    return samples


class _Outcomes(Dataset[Sample | Missing]):
    """What preprocessing makes of each turn."""

    def __init__(self, extractor: Extractor, wanted: Sequence[Turn]) -> None:
        self.extractor, self.wanted = extractor, wanted

    def __len__(self) -> int:
        return len(self.wanted)

    def __getitem__(self, place: int) -> Sample | Missing:
        turn = self.wanted[place]
        try:
            return self.extractor.preprocess(turn)
        except MediaError as error:
            return Missing(error.stage, error.reason)
        except Exception as error:
            error.add_note(f"while reading the {self.extractor.modality} of utterance {turn.utterance.id!r}")
            raise


@dataclass(frozen=True)
class _Collate:
    """Outcomes -> (one entry per turn: None or why it is missing, the batch of the others)."""

    extractor: Extractor

    def __call__(self, outcomes: list[Sample | Missing]) -> tuple[list[Missing | None], Sample | None]:
        samples = [outcome for outcome in outcomes if not isinstance(outcome, Missing)]
        missing = [outcome if isinstance(outcome, Missing) else None for outcome in outcomes]
        return missing, self.extractor.collate(samples) if samples else None


def _batches(extractor: Extractor, wanted: Sequence[Turn], loading: Loading, collate: Any) -> Iterator[Any]:  # noqa: ANN401
    loader = DataLoader(
        _Outcomes(extractor, wanted), loading.batch_size, num_workers=loading.workers, collate_fn=collate
    )
    try:
        yield from loader
    except RuntimeError as error:
        if re.search(r"DataLoader worker.*(exited unexpectedly|is killed)", str(error)):
            raise RunError(
                f"A worker process died while reading {extractor.modality} ({error}); it may have run out of memory. "
                "Nothing was finished; try again with fewer workers (--workers 0 reads in the process itself)."
            ) from error
        raise


@torch.inference_mode()
def _forward(extractor: Extractor, batch: Sample, device: str) -> list[Tensor]:
    on_device = {name: v.to(device) if isinstance(v, Tensor) else v for name, v in batch.items()}
    return [embedding.cpu() for embedding in extractor(on_device)]


def _owned(sample: Sample) -> Sample:
    """The sample outside shared memory: thousands of shared tensors would use up the open files of the process."""
    return {name: v.clone() if isinstance(v, Tensor) else v for name, v in sample.items()}
