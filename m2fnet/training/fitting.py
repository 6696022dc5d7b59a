"""One training in a run folder: begun, resumed or found done, and what is written about it."""

from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
import yaml
from pytorch_lightning.callbacks import ModelCheckpoint

from m2fnet.errors import M2FNetError, RunError, UsageError
from m2fnet.files import locked, write_json, write_text
from m2fnet.runs.checkpoints import refuse_damaged
from m2fnet.runs.folder import CONFIG, FIT, PROVENANCE
from m2fnet.runs.provenance import Environment, Provenance
from m2fnet.training.callbacks import EpochTimer, print_rank_zero


class Fitting:
    """Trains a model in a run folder, from the last checkpoint if there is one.

    Args:
        run: the run folder.
        trainer: with the callbacks of `m2fnet.training.callbacks`.
        checkpoint: the callback that keeps the selected weights.
        timer: the callback that measures epochs.
        monitor: the score on dev that selects weights, such as ``dev/weighted_f1``.
    """

    def __init__(
        self, run: Path, trainer: pl.Trainer, checkpoint: ModelCheckpoint, timer: EpochTimer, monitor: str
    ) -> None:
        self.run, self.trainer, self.checkpoint, self.timer, self.monitor = run, trainer, checkpoint, timer, monitor

    def fit(
        self,
        model: pl.LightningModule,
        datamodule: pl.LightningDataModule,
        settings: dict[str, Any],
        provenance: Callable[[Environment], Provenance],
        *,
        overwrite: bool,
    ) -> None:
        """Train ``model``, or say that it is trained already.

        Args:
            model: the task.
            datamodule: the data.
            settings: of the run; they become its ``config.yaml``.
            provenance: what a new run is made from, in the environment of this process.
            overwrite: train a finished run again.

        Raises:
            RunError: if another process trains it, or its last checkpoint is damaged.
            UsageError: if no epoch was scored on dev.
        """
        if (self.run / FIT).exists() and not overwrite:
            print_rank_zero(f"{self.run} is trained already; `--overwrite` trains it again.")
            return
        with locked(self.run, RunError) if self.trainer.is_global_zero else nullcontext():
            last = self.run / "checkpoints" / "last.ckpt"
            if overwrite:
                self._delete_results()
            resumes = (self.run / CONFIG).exists() and last.exists()
            if resumes:
                refuse_damaged(last)
                print_rank_zero(f"Resuming {self.run} from {last.name}.")
            environment = Environment.of(self.trainer.strategy.root_device)
            if self.trainer.is_global_zero:
                write_text(self.run / CONFIG, yaml.safe_dump(settings, sort_keys=False))
                if resumes and (self.run / PROVENANCE).exists():
                    Provenance.read(self.run).resumed_in(environment).write(self.run)
                else:
                    provenance(environment).write(self.run)
            try:
                self.trainer.fit(
                    model, datamodule=datamodule, ckpt_path=str(last) if resumes else None, weights_only=True
                )
            except M2FNetError:
                if not last.exists():  # nothing was trained: the folder stays free for other settings
                    for name in (CONFIG, PROVENANCE):
                        (self.run / name).unlink(missing_ok=True)
                raise
            self._write_fit(model, datamodule, str(settings["select"]))

    def _delete_results(self) -> None:
        results = (self.run / FIT, self.run / "report.json", self.run / "report.md")
        for path in (*results, *(self.run / "checkpoints").glob("*.ckpt")):
            path.unlink(missing_ok=True)

    def _write_fit(self, model: pl.LightningModule, datamodule: pl.LightningDataModule, select: str) -> None:
        if self.checkpoint.monitor is not None:
            score = self.checkpoint.best_model_score
        else:
            if not self.timer.seconds:  # resumed after the last epoch: nothing was scored this time
                self.trainer.validate(model, datamodule=datamodule, verbose=False)
            score = self.trainer.callback_metrics.get(self.monitor)
        if score is None or not self.checkpoint.best_model_path:
            raise UsageError(
                "No epoch was finished and scored on dev, so no weights were kept; trainer.max_epochs, "
                "trainer.limit_val_batches and trainer.fast_dev_run have to leave at least one."
            )
        best = torch.load(self.checkpoint.best_model_path, weights_only=True, map_location="cpu", mmap=True)
        if self.trainer.is_global_zero:
            fitted = {
                "select": select,
                "epoch": best["epoch"] + 1,  # counted from 1, as in the log
                "epochs": self.trainer.current_epoch,
                self.monitor.replace("/", "."): float(score),
                "parameters": sum(p.numel() for p in model.parameters()),
                "device": str(self.trainer.strategy.root_device),
                **self.timer.summary(),
            }
            write_json(self.run / FIT, fitted)
        self.trainer.strategy.barrier()  # nobody reads the file before it is there
