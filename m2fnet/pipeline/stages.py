"""The stages of a model on a device: utterances -> embeddings -> probabilities, for one thread at a time."""

import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from dialog.batch import DialogueBatch, gaps_s, output_of, speaker_numbers
from extractors.base import Extractor, PlacedUtterance
from extractors.extraction.embedding import Loading, embed
from extractors.extraction.inference import inference_form
from m2fnet.errors import UsageError
from m2fnet.manifest import Manifest
from m2fnet.model import Model
from m2fnet.pipeline.face_frames import embed_and_watch, looks_for_faces
from m2fnet.problems import UNLABELLED
from m2fnet.records import Dialogue, SeenFrame, Utterance
from m2fnet.store import Missing
from m2fnet.store.sequences import Sequences

WINDOW = 256  # utterances that see each other; MELD's longest dialogue has 33, IEMOCAP's 110
TOGETHER = 8  # utterances that are read and embedded together


@dataclass(frozen=True)
class Embedded:
    """One utterance.

    Attributes:
        vectors: stream -> its embedding (D,), or (T, D) for sequences, or why there is none.
        frames: that a detector searched for faces.
    """

    vectors: Mapping[str, Tensor | Missing]
    frames: tuple[SeenFrame, ...]


@dataclass(frozen=True)
class Answers:
    """What a model says of U utterances.

    Attributes:
        probabilities: (U, C).
        ratings: (U, R), one number per scale of the model.
    """

    probabilities: Tensor
    ratings: Tensor


class Stages:
    """Extractors and dialogue network of a model.

    Args:
        model: a trained model.
        device: where its networks run.

    Raises:
        UsageError: if there is no such device.
    """

    def __init__(self, model: Model, device: str) -> None:
        _check_device(device)
        self.model, self.device = model, device
        self._network = model.network.eval().to(device)
        self._extractors = {name: inference_form(extractor) for name, extractor in model.extractors.items()}
        self._lock = threading.Lock()  # tokenizers are not made for several threads, and one keeps all cores busy

    def embed(self, manifest: Manifest, utterances: Sequence[Utterance], wanted: range) -> list[Embedded]:
        """The embeddings of some of a dialogue's utterances.

        Args:
            manifest: knows the files of their media.
            utterances: the part of the dialogue that may be used; an utterance sees those up to `WINDOW` places away.
            wanted: which of them are embedded.
        """
        placed = []
        for place in wanted:
            first = max(0, place - WINDOW)
            near = tuple(utterances[first : place + WINDOW + 1])
            placed.append(PlacedUtterance(manifest, Dialogue(near[0].dialogue, near[0].split, near), place - first))
        loading = Loading(TOGETHER, workers=0, device=self.device)
        columns: dict[str, list[Tensor | Missing]] = {}
        frames: list[list[SeenFrame]] = [[] for _ in placed]
        with self._lock:
            for name, extractor in self._extractors.items():
                if looks_for_faces(extractor):
                    columns[name], seen = embed_and_watch(extractor, placed, loading)
                    for several, found in zip(frames, seen, strict=True):
                        several += found
                else:
                    columns[name] = [vector for _, vector in embed(extractor, placed, loading)]
        rows = ({name: column[row] for name, column in columns.items()} for row in range(len(placed)))
        by_time = (tuple(sorted(several, key=lambda frame: frame.time_s)) for several in frames)
        return list(map(Embedded, rows, by_time))

    @torch.inference_mode()
    def answers(self, utterances: Sequence[Utterance], embedded: Sequence[Embedded]) -> Answers:
        """The answers to the utterances of a conversation.

        Up to `WINDOW` utterances are all context of each other. A longer conversation is read in overlapping windows,
        and an utterance gets its answer from one in which at least a quarter of a window is on either side of
        it, where there are so many utterances.
        """
        scores, ratings = [], []
        with self._lock:
            for seen, counted in windows(len(embedded), WINDOW):
                part = slice(seen.start, seen.stop)
                batch = batch_of(utterances[part], embedded[part], self.model.extractors, self.device)
                output = output_of(self._network, batch)
                own = slice(counted.start - seen.start, counted.stop - seen.start)
                scores.append(output.scores[0, own].float().cpu())
                rated = output.ratings if self.model.ratings else None
                ratings.append(torch.empty(len(counted), 0) if rated is None else rated[0, own].float().cpu())
        return Answers(self.model.probabilities(torch.cat(scores)), torch.cat(ratings))


def windows(utterances: int, size: int) -> Iterator[tuple[range, range]]:
    """Utterances that are seen together, and those of them whose scores count; every utterance counts once.

    >>> list(windows(10, 4))
    [(range(0, 4), range(0, 3)), (range(2, 6), range(3, 5)), (range(4, 8), range(5, 7)), (range(6, 10), range(7, 10))]
    """
    edge, first = size // 4, 0
    while first < utterances:
        start = max(0, min(first - edge, utterances - size))
        stop = min(utterances, start + size)
        last = utterances if stop == utterances else stop - edge
        yield range(start, stop), range(first, last)
        first = last


def batch_of(
    utterances: Sequence[Utterance], embedded: Sequence[Embedded], extractors: Mapping[str, Extractor], device: str
) -> DialogueBatch:
    """The utterances as a batch of one dialogue, the input of a dialogue network."""
    count = len(embedded)
    inputs: dict[str, Tensor] = {}
    frames: dict[str, Tensor] = {}
    present: dict[str, Tensor] = {}
    for name, extractor in extractors.items():
        here = [not isinstance(one.vectors[name], Missing) for one in embedded]
        present[name] = torch.tensor([here], device=device)
        is_sequence = extractor.resolution == "frame"
        nothing = torch.zeros(0, extractor.width) if is_sequence else torch.zeros(extractor.width)
        rows = [nothing if isinstance(found := one.vectors[name], Missing) else found.cpu() for one in embedded]
        if is_sequence:
            offsets = torch.tensor([0, *map(len, rows)]).cumsum(0)
            values, real = Sequences(torch.cat(rows), offsets, torch.tensor(here)).padded(torch.arange(count)[None])
            inputs[name], frames[name] = values.to(device), real.to(device)
        else:
            inputs[name] = torch.stack(rows)[None].to(device)
    return {
        "inputs": inputs,
        "frames": frames,
        "present": present,
        "valid": torch.ones(1, count, dtype=torch.bool, device=device),
        "speaker": speaker_numbers(utterances)[None].to(device),
        "gap_s": gaps_s(utterances)[None].to(device),
        "label": torch.full((1, count), UNLABELLED, device=device),
        "row": torch.arange(count, device=device)[None],
        "labelled": 0,
    }


def use_threads(wanted: int | None, model: Model) -> None:
    """Let torch have ``wanted`` threads; by default one for extractors in closed form, all cores for networks.

    Extractors in closed form have so little to share out that threads only wait for each other: on a busy machine for
    ten times as long as the work takes.
    """
    has_networks = any(list(extractor.parameters()) for extractor in model.extractors.values())
    if wanted is not None or not has_networks:
        torch.set_num_threads(wanted or 1)


def _check_device(device: str) -> None:
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as problem:  # CPU builds of torch assert
        reason = str(problem).splitlines()[0]
        raise UsageError(
            f"The device {device!r} is not there ({reason}); expected cpu, cuda:0 or the like."
        ) from problem
