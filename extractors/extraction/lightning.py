"""Embedding by Lightning's predict loop, in one process or many; each writes down what it has finished."""

import signal
import threading
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from datetime import timedelta
from pathlib import Path

import pytorch_lightning as pl
from lightning_fabric.utilities.exceptions import MisconfigurationException
from pytorch_lightning.strategies import DDPStrategy
from torch import Tensor

from extractors.base import Extractor, PlacedUtterance
from extractors.extraction.embedding import EmbeddingBatch, Loading, Reading, on_cpu, results
from extractors.extraction.inference import Precision, arithmetic, inference_form
from m2fnet.errors import UsageError
from m2fnet.store.layout import Outcome, StoreMeta
from m2fnet.store.parts import PartWriter
from m2fnet.training.lightning_output import keep_lightning_to_the_point

_SLOWEST = timedelta(days=7)  # how long a process that has finished its share waits for the others
_MEANT = (".*across ranks is zero", ".*does not have many workers", ".*srun. command is available", ".*LeafSpec")


class EmbeddingTask(pl.LightningModule):
    """An extractor in Lightning's predict loop. Every process embeds its share of the same batches.

    Args:
        extractor: trained or fitted.
        wanted: the utterances.
        loading: worker processes.
        precision: of the network's arithmetic; all processes follow the first.

    Attributes:
        left: the batches to embed, as places in ``wanted``; the first process sends them to the others.
        share: those of this process.
    """

    def __init__(
        self, extractor: Extractor, wanted: Sequence[PlacedUtterance], loading: Loading, precision: Precision
    ) -> None:
        super().__init__()
        self.extractor, self.wanted, self.loading, self.precision = extractor, wanted, loading, precision
        self.left: list[list[int]] = []
        self.share: list[list[int]] = []
        self.allow_zero_length_dataloader_with_multiple_devices = True  # there may be fewer batches than processes

    def running(self) -> AbstractContextManager[None]:
        """What has to run while utterances are embedded, in addition to the processes of the trainer."""
        return nullcontext()

    def predict_dataloader(self) -> Reading:
        """The share of this process, read."""
        self.left, self.precision = self.trainer.strategy.broadcast((self.left, self.precision))
        self.network = inference_form(self.extractor, self.precision)
        self.share = self.left[self.trainer.global_rank :: self.trainer.world_size]
        return Reading(self.extractor, self.wanted, self.share, self.loading.workers_for(self.extractor))

    def predict_step(self, batch: EmbeddingBatch, batch_idx: int) -> list[Outcome]:
        """What became of the utterances of a batch, embeddings on the CPU."""
        embeddings = list[Tensor]()
        if batch["inputs"] is not None:
            with arithmetic(self.precision, self.device.type):
                embeddings = on_cpu(self.network(batch["inputs"]))
        ids = [self.wanted[place].utterance.id for place in batch["places"]]
        return list(map(Outcome, ids, results(batch["missing"], embeddings), batch["cut"]))


class KeepParts(pl.Callback):
    """Writes the utterances that this process finishes into parts of the store, also when it is stopped.

    Args:
        store: folder of the store.
        meta: what its ``meta.json`` will say.
        seconds: how often.
    """

    def __init__(self, store: Path, meta: StoreMeta, seconds: float) -> None:
        self.store, self.meta, self.seconds = store, meta, seconds
        self.writer: PartWriter | None = None

    def on_predict_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Open the parts; from now on SIGTERM does what Ctrl-C does.

        Lightning only notes a SIGTERM, for training loops that look at the note at the end of a step.
        """
        self.writer = PartWriter(self.store, self.meta, seconds=self.seconds)
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, signal.default_int_handler)
        if trainer.received_sigterm:
            raise KeyboardInterrupt

    def on_predict_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: list[Outcome],
        batch: EmbeddingBatch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Take over a batch."""
        assert self.writer is not None, "it is made when the loop starts"
        self.writer.add(outputs)

    def on_predict_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write the last part."""
        assert self.writer is not None, "it is made when the loop starts"
        self.writer.flush()

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        """Write what is finished, unless writing is what failed."""
        if self.writer is not None and not isinstance(exception, OSError):
            self.writer.flush()


def trainer_for(
    accelerator: str = "cpu",
    devices: str = "1",
    nodes: int = 1,
) -> pl.Trainer:
    """A trainer that only predicts, with Lightning's words for where.

    Args:
        accelerator: ``cpu``, ``gpu``, ``auto`` ...
        devices: processes per node, one device each: a number, ``auto``, or for GPUs their numbers, such as ``0,2``.
        nodes: machines; more than one under torchrun or SLURM.

    Raises:
        UsageError: if Lightning does not accept that.
    """
    keep_lightning_to_the_point(_MEANT)
    try:
        return pl.Trainer(
            accelerator=accelerator,
            devices=devices,
            num_nodes=nodes,
            strategy="auto" if (devices, nodes) == ("1", 1) else DDPStrategy(timeout=_SLOWEST),
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            use_distributed_sampler=False,
        )
    except (MisconfigurationException, ValueError, TypeError, RuntimeError) as error:
        raise UsageError(
            f"--accelerator {accelerator} --devices {devices} --nodes {nodes}: {' '.join(str(error).split())}"
        ) from error
