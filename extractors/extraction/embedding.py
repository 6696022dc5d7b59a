"""Utterances -> embeddings, in order: media are read in worker processes, batches go through the extractor."""

import functools
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from multiprocessing import active_children
from typing import ParamSpec, TypedDict, TypeVar, overload

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from extractors.base import Extractor, PlacedUtterance, Sample
from m2fnet.errors import MediaError, RunError
from m2fnet.manifest import Manifest
from m2fnet.manifest.table import UtterancesOf
from m2fnet.media.noise import Noise
from m2fnet.records import Dialogue, Split
from m2fnet.store import Missing
from m2fnet.store.layout import Outcome
from m2fnet.training.orphans import end_worker_with_parent

P = ParamSpec("P")
R = TypeVar("R")
_LOST_WORKER = r"DataLoader worker.*(exited unexpectedly|is killed)|can't allocate memory"
_REPORT_OF_DEATH = 2.0  # seconds until torch has surely noticed that a worker died


@dataclass(frozen=True)
class Loading:
    """How utterances are loaded.

    Attributes:
        batch_size: utterances per forward pass.
        workers: processes that read media; 0 reads in the main process, None: one per core, for text none.
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
    """``function``, which now raises `RunError` when a worker process dies or has no memory left.

    Torch reports the death by a signal, wherever the main process happens to be, so a whole piece of work is wrapped.
    """

    @functools.wraps(function)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return function(*args, **kwargs)
        except (RuntimeError, MemoryError) as error:
            if not isinstance(error, MemoryError) and not re.search(_LOST_WORKER, str(error)):
                raise
            death = str(error).strip().splitlines()[-1] if str(error) else "MemoryError"
        # raised out here so that no traceback keeps the loader alive: it would report the death again and again
        raise RunError(
            f"A worker process died ({death}); it may have run out of memory. Try again with fewer "
            "workers (--workers 0 reads in the main process)."
        )

    return wrapper


class PlacedUtterances(Sequence[PlacedUtterance]):
    """Every utterance of some dialogues in its place, dialogue by dialogue, made when it is asked for.

    Args:
        manifest: the corpus.
        split: whose dialogues; those of all splits when None.
        noise: see `PlacedUtterance`.
    """

    def __init__(self, manifest: Manifest, split: Split | None, noise: Noise | None) -> None:
        self.manifest, self.noise = manifest, noise
        dialogues = manifest.dialogues(split)
        if noise is not None and noise.modality == "text":
            dialogues = [_misread(dialogue, noise) for dialogue in dialogues]
        self.utterances = UtterancesOf(dialogues)

    def __len__(self) -> int:
        return len(self.utterances)

    @overload
    def __getitem__(self, place: int) -> PlacedUtterance: ...
    @overload
    def __getitem__(self, place: slice) -> list[PlacedUtterance]: ...
    def __getitem__(self, place: int | slice) -> PlacedUtterance | list[PlacedUtterance]:
        if isinstance(place, slice):
            return [self[number] for number in range(len(self))[place]]
        dialogue, position = self.utterances.placed(place)
        return PlacedUtterance(self.manifest, dialogue, position, self.noise)


def place_utterances(
    manifest: Manifest, split: Split | None = None, noise: Noise | None = None
) -> Sequence[PlacedUtterance]:
    """Every utterance of ``split`` (of all splits when None) in its place, dialogue by dialogue, perhaps with noise.

    Example:
        >>> from pathlib import Path
        >>> from m2fnet.manifest import Manifest
        >>> from m2fnet.records import LabelSet, Utterance
        >>> said = [Utterance(f"a{n}", "toy", "train", "a", n, "Ann", text) for n, text in enumerate(["Hi!", "Bye!"])]
        >>> manifest = Manifest("toy", LabelSet("toy", ("joy", "sadness")), tuple(said), Path())
        >>> [(placed.utterance.text, placed.position) for placed in place_utterances(manifest, "train")]
        [('Hi!', 0), ('Bye!', 1)]
    """
    return PlacedUtterances(manifest, split, noise)


def _misread(dialogue: Dialogue, noise: Noise) -> Dialogue:
    """The dialogue with noise in its text."""
    said = (one if one.text is None else replace(one, text=noise.read(one.text, one.id)) for one in dialogue.utterances)
    return replace(dialogue, utterances=tuple(said))


def embed(
    extractor: Extractor, wanted: Sequence[PlacedUtterance], loading: Loading
) -> list[tuple[PlacedUtterance, Tensor | Missing]]:
    """Each utterance with its embedding, (D,) or (T, D), on the CPU, or with why it has none; in the given order.

    Args:
        extractor: trained or fitted; it is put into evaluation mode and on the device.
        wanted: the utterances, see `place_utterances`.
        loading: batch size, worker processes and device.

    Example:
        >>> from pathlib import Path
        >>> from extractors.text.lsa import LSA
        >>> from m2fnet.manifest import Manifest
        >>> from m2fnet.records import LabelSet, Utterance
        >>> texts = ["so happy", "so sad", "happy", None]
        >>> said = [Utterance(f"a{n}", "toy", "train", "a", n, "Ann", text) for n, text in enumerate(texts)]
        >>> manifest = Manifest("toy", LabelSet("toy", ("joy", "sadness")), tuple(said), Path())
        >>> lsa = LSA(width=2, min_df=1)
        >>> lsa.fit([{"text": text} for text in texts if text])
        >>> found = embed(lsa, place_utterances(manifest), Loading(batch_size=2))
        >>> [(placed.utterance.id, tuple(v.shape)) for placed, v in found[:3]]
        [('a0', (2,)), ('a1', (2,)), ('a2', (2,))]
        >>> found[3][1]
        Missing(stage='text', reason='there is no transcript')
    """
    outcomes = embed_outcomes(extractor, wanted, loading)
    return [(placed, outcome.result) for placed, outcome in zip(wanted, outcomes, strict=True)]


def embed_outcomes(extractor: Extractor, wanted: Sequence[PlacedUtterance], loading: Loading) -> list[Outcome]:
    """The same as records that also say what was cut from each utterance."""
    extractor.eval().to(loading.device)
    batches = plan(extractor, wanted, loading.batch_size)
    found: dict[int, Outcome] = {}
    for batch in Reading(extractor, wanted, batches, loading.workers_for(extractor)):
        embeddings = _forward(extractor, batch["inputs"], loading.device) if batch["inputs"] is not None else []
        for place, result, cut in zip(
            batch["places"], results(batch["missing"], embeddings), batch["cut"], strict=True
        ):
            found[place] = Outcome(wanted[place].utterance.id, result, cut)
    return [found[place] for place in range(len(wanted))]


def read(extractor: Extractor, wanted: Sequence[PlacedUtterance], loading: Loading) -> list[Sample | Missing]:
    """The sample of each utterance, or why it has none, in the given order."""
    workers = loading.workers_for(extractor)
    batches: Iterable[list[Sample | Missing]] = DataLoader(
        Outcomes(extractor, wanted),
        loading.batch_size,
        num_workers=workers,
        worker_init_fn=end_worker_with_parent,
        collate_fn=list,
    )
    return [_owned(outcome) for batch in _read_by(batches) for outcome in batch]


def embed_samples(extractor: Extractor, samples: Sequence[Sample], loading: Loading) -> list[Tensor]:
    """Embeddings of samples that are in memory already."""
    extractor.eval().to(loading.device)
    starts = range(0, len(samples), loading.batch_size)
    batches = (extractor.collate(samples[start : start + loading.batch_size]) for start in starts)
    return [embedding for batch in batches for embedding in _forward(extractor, batch, loading.device)]


class Outcomes(Dataset[Sample | Missing]):
    """What preprocessing makes of each utterance."""

    def __init__(self, extractor: Extractor, wanted: Sequence[PlacedUtterance]) -> None:
        self.extractor, self.wanted = extractor, wanted

    def __len__(self) -> int:
        return len(self.wanted)

    def __getitem__(self, place: int) -> Sample | Missing:
        placed = self.wanted[place]
        try:
            return self.extractor.preprocess(placed)
        except MediaError as error:
            return Missing(error.stage, error.reason)
        except Exception as error:
            error.add_note(f"while reading the {self.extractor.modality} of utterance {placed.utterance.id!r}")
            raise


class EmbeddingBatch(TypedDict):
    """Utterances that are embedded together.

    Attributes:
        inputs: what the extractor's ``collate`` made of those that can be read; None if none can be read.
        places: which of the wanted utterances they are.
        missing: for each why it cannot be read, as stage and reason, or None.
        cut: for each what the extractor cut from it, such as ``{"cut_tokens": 3}``.
    """

    inputs: Sample | None
    places: list[int]
    missing: list[tuple[str, str] | None]
    cut: list[dict[str, int]]


def results(missing: Sequence[tuple[str, str] | None], embeddings: Iterable[Tensor]) -> list[Tensor | Missing]:
    """What became of each utterance of a batch: the next of the ``embeddings`` of its inputs, or why it has none."""
    in_order = iter(embeddings)
    return [next(in_order) if why is None else Missing(*why) for why in missing]


def on_cpu(embeddings: Tensor | list[Tensor]) -> list[Tensor]:
    """One embedding per utterance in single precision; those in one tensor travel together."""
    return list(embeddings.cpu().float()) if isinstance(embeddings, Tensor) else [v.cpu().float() for v in embeddings]


class Reading:
    """The batches of a plan, read in worker processes; these start when the first batch is asked for.

    Args:
        extractor: reads them.
        wanted: the utterances.
        plan: for each batch the places of its utterances in ``wanted``.
        workers: processes; 0 reads in this one.
    """

    def __init__(
        self, extractor: Extractor, wanted: Sequence[PlacedUtterance], plan: Sequence[Sequence[int]], workers: int
    ) -> None:
        self._batches, self._workers = Batches(extractor, wanted, plan), workers

    def __len__(self) -> int:
        return len(self._batches)

    def __iter__(self) -> Iterator[EmbeddingBatch]:
        batches: Iterable[EmbeddingBatch] = DataLoader(
            self._batches,
            batch_size=None,
            num_workers=self._workers,
            worker_init_fn=end_worker_with_parent,
            collate_fn=_as_it_is,
            generator=torch.Generator(),  # without one each pass would draw from the process's random numbers
        )
        yield from _read_by(batches)


class Batches(Dataset[EmbeddingBatch]):
    """Whole batches as items: for each those utterances of ``wanted`` that the ``plan`` names, read."""

    def __init__(self, extractor: Extractor, wanted: Sequence[PlacedUtterance], plan: Sequence[Sequence[int]]) -> None:
        self.extractor, self.plan, self.outcomes = extractor, plan, Outcomes(extractor, wanted)

    def __len__(self) -> int:
        return len(self.plan)

    def __getitem__(self, number: int) -> EmbeddingBatch:
        places = list(self.plan[number])
        outcomes = [self.outcomes[place] for place in places]
        samples = [outcome for outcome in outcomes if not isinstance(outcome, Missing)]
        return {
            "inputs": self.extractor.collate(samples) if samples else None,
            "places": places,
            "missing": [(o.stage, o.reason) if isinstance(o, Missing) else None for o in outcomes],
            "cut": [{} if isinstance(o, Missing) else cuts(o) for o in outcomes],
        }


def plan(extractor: Extractor, wanted: Sequence[PlacedUtterance], batch_size: int) -> list[list[int]]:
    """The places of all utterances in batches of similar size, so that padding to the longest costs little.

    The largest come first: if they need too much memory, that shows immediately.
    """
    sizes = np.fromiter((extractor.size(placed) for placed in wanted), float, len(wanted))
    order = np.argsort(-sizes, kind="stable").tolist()
    return [order[start : start + batch_size] for start in range(0, len(order), batch_size)]


def cuts(sample: Sample) -> dict[str, int]:
    """What an extractor cut from a sample, or did not find in it: whole numbers named ``cut_...``, ``without_...``.

    >>> cuts({"cut_utterances": 2, "cut_tokens": 0, "tokens": [1, 2]})
    {'cut_utterances': 2}
    """
    return {name: v for name, v in sample.items() if name.startswith(("cut_", "without_")) and isinstance(v, int) and v}


def as_words(cut: Mapping[str, int]) -> str:
    """What `cuts` counted, in words.

    >>> as_words({"cut_utterances": 2, "without_face": 1})
    '2 cut utterances, 1 without face'
    """
    return ", ".join(f"{amount} {kind.replace('_', ' ')}" for kind, amount in cut.items())


def _as_it_is(batch: R) -> R:
    return batch


def _read_by(batches: Iterable[R]) -> Iterator[R]:
    """What worker processes read; `names_dead_workers` understands the error if one of them dies."""
    others = set(active_children())
    found = iter(batches)
    workers = set(active_children()) - others
    try:
        yield from found
    except (ConnectionError, EOFError, FileNotFoundError):
        if workers:
            time.sleep(_REPORT_OF_DEATH)  # a dead worker's tensors are gone; torch's report raises in here
            if not all(worker.is_alive() for worker in workers):  # it cannot if Lightning took its signal handler away
                raise RuntimeError("DataLoader worker is killed") from None
        raise


@torch.inference_mode()
def _forward(extractor: Extractor, batch: Sample, device: str) -> list[Tensor]:
    on_device = {name: v.to(device) if isinstance(v, Tensor) else v for name, v in batch.items()}
    return on_cpu(extractor(on_device))


def _owned(outcome: Sample | Missing) -> Sample | Missing:
    """The sample outside shared memory: thousands of shared tensors would use up the open files of the process."""
    if isinstance(outcome, Missing):
        return outcome
    return {name: v.clone() if isinstance(v, Tensor) else v for name, v in outcome.items()}
