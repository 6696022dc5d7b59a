"""The stages of a model on a device: turns -> embeddings -> probabilities, for one thread at a time."""

import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from dialog.batch import DialogueBatch, output_of
from extractors.base import PlacedUtterance
from extractors.extraction.embedding import Loading, embed
from m2fnet.errors import UsageError
from m2fnet.manifest import Manifest
from m2fnet.model import Model
from m2fnet.pipeline.face_frames import embed_and_watch, looks_for_faces
from m2fnet.problems import UNLABELLED
from m2fnet.records import Dialogue, SeenFrame, Utterance
from m2fnet.store import Missing

WINDOW = 256  # turns that see each other; MELD's longest dialogue has 33, IEMOCAP's 110
TOGETHER = 8  # turns that are read and embedded at once


@dataclass(frozen=True)
class Embedded:
    """One turn.

    Attributes:
        vectors: modality -> its embedding (D,), or why there is none.
        frames: in which faces were looked for.
    """

    vectors: Mapping[str, Tensor | Missing]
    frames: tuple[SeenFrame, ...]


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
        self.widths: dict[str, int] = {name: extractor.width for name, extractor in model.extractors.items()}
        self._network = model.network.eval().to(device)
        self._lock = threading.Lock()  # tokenizers are not made for several threads, and one keeps all cores busy

    def embed(self, manifest: Manifest, utterances: Sequence[Utterance], wanted: range) -> list[Embedded]:
        """The embeddings of some of a dialogue's utterances.

        Args:
            manifest: knows where their media lie.
            utterances: the dialogue as far as it may be looked at; a turn sees those up to `WINDOW` turns away.
            wanted: which of them are embedded.
        """
        turns = [self._in_its_place(manifest, utterances, place) for place in wanted]
        loading = Loading(TOGETHER, workers=0, device=self.device)
        columns: dict[str, list[Tensor | Missing]] = {}
        frames: list[tuple[SeenFrame, ...]] = [()] * len(turns)
        with self._lock:
            for name, extractor in self.model.extractors.items():
                if looks_for_faces(extractor):
                    columns[name], frames = embed_and_watch(extractor, turns, loading)
                else:
                    columns[name] = [found for _, found in embed(extractor, turns, loading)]
        rows = ({name: column[row] for name, column in columns.items()} for row in range(len(turns)))
        return list(map(Embedded, rows, frames))

    def judge(self, turns: Sequence[Embedded]) -> Tensor:
        """Probabilities (U, C) of the turns of a conversation.

        Up to `WINDOW` turns are all context of each other. Of a longer conversation the network sees overlapping
        windows, and the answer of a turn comes from one in which at least a quarter of a window lies on either side of
        it, where there are so many turns.
        """
        parts = []
        with self._lock:
            for seen, counted in windows(len(turns), WINDOW):
                logits = self._logits(turns[seen.start : seen.stop])
                parts.append(logits[counted.start - seen.start : counted.stop - seen.start])
        return self.model.probabilities(torch.cat(parts))

    def _in_its_place(self, manifest: Manifest, utterances: Sequence[Utterance], place: int) -> PlacedUtterance:
        first = max(0, place - WINDOW)
        near = tuple(utterances[first : place + WINDOW + 1])
        return PlacedUtterance(manifest, Dialogue(near[0].dialogue, near[0].split, near), place - first)

    @torch.inference_mode()
    def _logits(self, turns: Sequence[Embedded]) -> Tensor:
        return output_of(self._network, batch_of(turns, self.widths, self.device)).scores[0].float().cpu()


def windows(turns: int, size: int) -> Iterator[tuple[range, range]]:
    """Turns seen at once, and those of them whose answers count; every turn counts once.

    >>> list(windows(10, 4))
    [(range(0, 4), range(0, 3)), (range(2, 6), range(3, 5)), (range(4, 8), range(5, 7)), (range(6, 10), range(7, 10))]
    """
    edge, first = size // 4, 0
    while first < turns:
        start = max(0, min(first - edge, turns - size))
        stop = min(turns, start + size)
        last = turns if stop == turns else stop - edge
        yield range(start, stop), range(first, last)
        first = last


def batch_of(turns: Sequence[Embedded], widths: Mapping[str, int], device: str) -> DialogueBatch:
    """The turns as a batch of one dialogue: what a dialogue network takes."""
    count = len(turns)
    columns = {name: [turn.vectors[name] for turn in turns] for name in widths}
    vectors = {
        name: [torch.zeros(widths[name]) if isinstance(v, Missing) else v for v in column]
        for name, column in columns.items()
    }
    present = {name: [not isinstance(v, Missing) for v in column] for name, column in columns.items()}
    return {
        "inputs": {name: torch.stack(rows)[None].to(device) for name, rows in vectors.items()},
        "present": {name: torch.tensor([row], device=device) for name, row in present.items()},
        "valid": torch.ones(1, count, dtype=torch.bool, device=device),
        "label": torch.full((1, count), UNLABELLED, device=device),
        "row": torch.arange(count, device=device)[None],
        "labelled": 0,
    }


def use_threads(wanted: int | None, model: Model) -> None:
    """Let torch have ``wanted`` threads; by default one for extractors in closed form, all cores for networks.

    What is fitted in closed form has so little to share out that threads only wait for each other: on a busy machine
    for ten times as long as the work takes.
    """
    has_networks = any(list(extractor.parameters()) for extractor in model.extractors.values())
    if wanted is not None or not has_networks:
        torch.set_num_threads(wanted or 1)


def _check_device(device: str) -> None:
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as problem:  # builds of torch for the CPU alone assert
        reason = str(problem).splitlines()[0]
        raise UsageError(
            f"The device {device!r} is not there ({reason}); expected cpu, cuda:0 or the like."
        ) from problem
