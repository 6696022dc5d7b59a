"""Utterances -> embeddings, in order: media are read in worker processes, batches go through the extractor."""

import functools
import re
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ParamSpec, TypeVar

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from extractors.base import Extractor, Sample, Turn
from m2fnet.errors import MediaError, RunError
from m2fnet.manifest import Manifest
from m2fnet.records import Split
from m2fnet.store import Missing

P = ParamSpec("P")
R = TypeVar("R")
_REPORT_OF_DEATH = 2.0  # seconds until torch has surely noticed that a worker died


@dataclass(frozen=True)
class Loading:
    """How utterances are loaded.

    Attributes:
        batch_size: utterances per forward pass.
        workers: processes that read media; 0 reads in the process itself, None: one per core, for text none.
        device: where the forward pass runs.
    """

    batch_size: int = 64
    workers: int | None = None
    device: str = "cpu"

    def workers_for(self, extractor: Extractor) -> int:
        """Number of processes that read what ``extractor`` needs."""
        if self.workers is not None:
            return self.workers
        return 0 if extractor.modality == "text" else torch.get_num_threads()  # the cores it may use


def names_dead_workers(function: Callable[P, R]) -> Callable[P, R]:
    """A ``function`` that raises `RunError` when a worker process dies.

    Torch reports the death by a signal, wherever the main process happens to be, so a whole piece of work is wrapped.
    """

    @functools.wraps(function)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return function(*args, **kwargs)
        except RuntimeError as error:
            if not re.search(r"DataLoader worker.*(exited unexpectedly|is killed)", str(error)):
                raise
            death = str(error)
        # raised out here so that no traceback keeps the loader alive: it would report the death again and again
        raise RunError(
            f"A worker process died ({death}); it may have run out of memory. Nothing was finished; "
            "try again with fewer workers (--workers 0 reads in the process itself)."
        )

    return wrapper


def turns(manifest: Manifest, split: Split | None = None) -> list[Turn]:
    """Every utterance of ``split`` (of all splits when None) in its place, dialogue by dialogue."""
    return [
        Turn(manifest, dialogue, position)
        for dialogue in manifest.dialogues(split)
        for position in range(len(dialogue))
    ]


def embed(extractor: Extractor, wanted: Sequence[Turn], loading: Loading) -> Iterator[tuple[Turn, Tensor | Missing]]:
    """Each turn with its embedding, (D,) or (T, D), on the CPU, or with why it has none; in the given order."""
    extractor.eval().to(loading.device)
    place = 0
    for outcomes, batch in _batches(extractor, wanted, loading, _Collate(extractor)):
        embeddings = iter(_forward(extractor, batch, loading.device) if batch is not None else ())
        for outcome in outcomes:
            yield wanted[place], outcome if outcome is not None else next(embeddings)
            place += 1


def read(extractor: Extractor, wanted: Sequence[Turn], loading: Loading) -> list[Sample | Missing]:
    """The sample of each turn, or why it has none, in the given order."""
    return [_owned(outcome) for batch in _batches(extractor, wanted, loading, list) for outcome in batch]


def embed_samples(extractor: Extractor, samples: Sequence[Sample], loading: Loading) -> list[Tensor]:
    """Embeddings of samples that are in memory already."""
    extractor.eval().to(loading.device)
    starts = range(0, len(samples), loading.batch_size)
    batches = (extractor.collate(samples[start : start + loading.batch_size]) for start in starts)
    return [embedding for batch in batches for embedding in _forward(extractor, batch, loading.device)]


class Outcomes(Dataset[Sample | Missing]):
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
    workers = loading.workers_for(extractor)
    try:
        yield from DataLoader(Outcomes(extractor, wanted), loading.batch_size, num_workers=workers, collate_fn=collate)
    except (ConnectionError, EOFError, FileNotFoundError):
        if workers:
            time.sleep(_REPORT_OF_DEATH)  # a dead worker's tensors are gone; torch's report raises in here
        raise


@torch.inference_mode()
def _forward(extractor: Extractor, batch: Sample, device: str) -> list[Tensor]:
    on_device = {name: v.to(device) if isinstance(v, Tensor) else v for name, v in batch.items()}
    return [embedding.cpu() for embedding in extractor(on_device)]


def _owned(outcome: Sample | Missing) -> Sample | Missing:
    """The sample outside shared memory: thousands of shared tensors would use up the open files of the process."""
    if isinstance(outcome, Missing):
        return outcome
    return {name: v.clone() if isinstance(v, Tensor) else v for name, v in outcome.items()}
