"""Embedding by Ray Data: media are read in Ray tasks, actors hold the extractor, this process keeps what they find.

Tasks and actors are scaled independently of each other and run wherever the cluster has room; what was lost with a
process or a machine is done again. The batches are those of a local extraction, so the embeddings are the same.
"""

import logging
import os
import warnings
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import torch

from extractors.base import Extractor, PlacedUtterance
from extractors.extraction.embedding import Loading, results
from extractors.extraction.inference import Precision
from extractors.extraction.lightning import EmbeddingTask
from extractors.extraction.ray_processes import EmbedBatch, EmbeddedBatch, FoundBatch, SharedWork, put, read_batch
from m2fnet.errors import RunError
from m2fnet.store.layout import Outcome
from m2fnet.training.ray_cluster import nodes, ray_cluster, understood

# Of the CPUs of a machine, and of a CPU, if an actor computes on it: a machine then has one, and a reader for each CPU.
_ACTOR, _READER = 0.6, 0.4
_TRIES_AGAIN = 3  # times that what a dead process was doing is done again
_TASKS = 10_000  # at most; Ray Data keeps a record of each


@dataclass(frozen=True)
class RayEngine:
    """Where and how `extract` runs under Ray.

    Attributes:
        address: of a cluster; None starts Ray on this machine.
        accelerator: what the actors compute on.
        actors: most processes that hold the extractor; None: one per GPU, or one per machine where all have the same
            number of CPUs; larger ones then have several.
    """

    address: str | None = None
    accelerator: Literal["cpu", "gpu"] = "cpu"
    actors: int | None = None


class RayTask(EmbeddingTask):
    """An extractor whose batches are read and embedded by Ray; Lightning's loop only takes what was found.

    Args:
        extractor: trained or fitted.
        wanted: the utterances.
        loading: ``workers`` is how many batches may be read at the same time; None: as many as there are CPUs.
        precision: of the network's arithmetic.
        engine: where.
    """

    def __init__(
        self,
        extractor: Extractor,
        wanted: Sequence[PlacedUtterance],
        loading: Loading,
        precision: Precision,
        engine: RayEngine,
    ) -> None:
        super().__init__(extractor, wanted, loading, precision)
        self.engine = engine

    def running(self) -> AbstractContextManager[None]:
        """Ray, for as long as batches are embedded."""
        weights = sum(tensor.nbytes for tensor in (*self.extractor.parameters(), *self.extractor.buffers()))
        return ray_cluster(self.engine.address, shared_bytes=weights)

    def predict_dataloader(self) -> "Embedding":  # type: ignore[override]
        """Everything that is left, embedded."""
        self.share = self.left
        return Embedding(self.extractor, self.wanted, self.share, self.loading.workers, self.precision, self.engine)

    def predict_step(self, batch: EmbeddedBatch, batch_idx: int) -> list[Outcome]:  # type: ignore[override]
        """What became of the utterances of a batch."""
        ids = [self.wanted[place].utterance.id for place in batch["places"]]
        return list(map(Outcome, ids, results(batch["missing"], batch["embeddings"]), batch["cut"]))


class Embedding:
    """The batches of a plan, embedded by Ray, in any order; only inside `RayTask.running`.

    Args:
        extractor: reads and embeds.
        wanted: the utterances.
        plan: for each batch the places of its utterances in ``wanted``.
        workers: batches that are read at the same time, None: one for each CPU.
        precision: of the network's arithmetic.
        engine: where.
    """

    def __init__(
        self,
        extractor: Extractor,
        wanted: Sequence[PlacedUtterance],
        plan: Sequence[Sequence[int]],
        workers: int | None,
        precision: Precision,
        engine: RayEngine,
    ) -> None:
        self.extractor, self.wanted, self.plan = extractor, wanted, plan
        self.workers, self.precision, self.engine = workers, precision, engine

    def __len__(self) -> int:
        return len(self.plan)

    def __iter__(self) -> Iterator[EmbeddedBatch]:
        if not self.plan:
            return
        from ray.exceptions import ActorUnavailableError, NodeDiedError, ObjectLostError, RayError

        work = SharedWork(put(self.extractor), put((self.wanted, self.plan)), Path.cwd())
        left, failed = dict.fromkeys(range(len(self.plan))), 0
        while True:
            try:
                for found in self.found(work, list(left)):
                    require_shared(found)
                    del left[found.number]
                    failed = 0
                    yield found.batch
                return
            except RayError as problem:
                # of a machine that leaves, Ray may use up all tries before it knows, and then everything ends
                failed += 1
                gone = isinstance(problem, ActorUnavailableError | NodeDiedError | ObjectLostError)
                if not gone or failed > _TRIES_AGAIN:
                    raise understood(problem, _TRIES_AGAIN + 1) from problem

    def found(self, work: SharedWork, numbers: Sequence[int]) -> Iterator[FoundBatch]:
        """Those batches of the plan, embedded, in any order; Ray itself tries again what a dead process was doing."""
        from ray.data import ActorPoolStrategy, DataContext, from_items

        logging.getLogger("ray.data").setLevel(logging.CRITICAL)  # what fails comes as an exception
        context = DataContext.get_current()
        context.enable_progress_bars = context.print_on_execution_start = False
        has_gpu = self.engine.accelerator == "gpu"
        cpus = nodes(gpus=has_gpu).cpus_of_smallest
        settings = ("cuda" if has_gpu else "cpu", self.precision, torch.get_num_threads())
        items = from_items(list(numbers), override_num_blocks=min(len(numbers), _TASKS))
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".*ray_remote_args")  # until 2.64, and nothing else limits the tries
            read = items.map(
                partial(read_batch, work),
                num_cpus=1 if has_gpu else _READER,
                concurrency=self.workers,
                max_retries=_TRIES_AGAIN,
            )
            embedded = read.map(
                EmbedBatch,  # type: ignore[arg-type]  # made once per actor
                fn_constructor_args=(work, *settings),
                compute=ActorPoolStrategy(min_size=1, max_size=self.engine.actors),
                max_task_retries=_TRIES_AGAIN,
                num_cpus=None if has_gpu else round(_ACTOR * cpus, 2),
                num_gpus=1 if has_gpu else None,
            )
        for row in embedded.iter_rows():
            yield row["found"]


def require_shared(found: FoundBatch) -> None:
    """Do nothing if files that a machine cannot read cannot be read here either: then they are missing indeed."""
    for path in found.absent:
        if os.access(path, os.R_OK):
            raise RunError(
                f"The machine {found.machine} of the Ray cluster cannot read {path.absolute()}, which this one can; "
                "expected the media of the manifest on a file system that all machines share."
            )
