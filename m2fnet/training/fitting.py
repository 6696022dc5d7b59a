"""A training in a run folder, begun, resumed or found done, what is written about it, and the use of its weights."""

from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import pytorch_lightning as pl
import torch
import yaml
from pytorch_lightning.callbacks import ModelCheckpoint

from m2fnet.errors import M2FNetError, RunError, UsageError
from m2fnet.files import locked, write_json, write_text
from m2fnet.runs.checkpoints import LAST, checkpoint_file, read_checkpoint, refuse_damaged
from m2fnet.runs.folder import CONFIG, FIT, PROVENANCE, RESULTS
from m2fnet.runs.provenance import Environment, Provenance
from m2fnet.training.callbacks import EpochTimer, print_rank_zero

Train = Callable[[Path | None], dict[str, object]]  # from a checkpoint to resume, to what ``fit.json`` holds


def fit_in_folder(
    run: Path,
    trainer: pl.Trainer,
    train: Train,
    settings: dict[str, object],
    provenance: Callable[[Environment], Provenance],
    *,
    overwrite: bool = False,
) -> None:
    """Train a run, resume it, or print that it is trained already.

    Args:
        run: the run folder; locked while it is trained.
        trainer: that ``train`` uses.
        train: does the training, from the last checkpoint if there is one, and returns what ``fit.json`` shall hold.
        settings: of the run; they become its ``config.yaml``.
        provenance: what a new run is made from, in the environment of this process.
        overwrite: train a finished run again.

    Raises:
        RunError: if another process trains it, or its last checkpoint is damaged.
        M2FNetError: whatever ``train`` raises; if nothing was trained, the folder stays free for other settings.
    """
    if (run / FIT).exists() and not overwrite:
        print_rank_zero(f"{run} is trained already; `--overwrite` trains it again.")
        return
    with locked(run, RunError) if trainer.is_global_zero else nullcontext():
        last = checkpoint_file(run, LAST)
        if overwrite:
            results = (path for pattern in RESULTS for path in run.glob(pattern))
            for path in (run / FIT, *results, *last.parent.glob("*.ckpt")):
                path.unlink(missing_ok=True)
        resumes = (run / CONFIG).exists() and last.exists()
        if resumes:
            refuse_damaged(last)
            print_rank_zero(f"Resuming {run} from {last.name}.")
        environment = Environment.of(trainer.strategy.root_device)
        if trainer.is_global_zero:
            write_text(run / CONFIG, yaml.safe_dump(settings, sort_keys=False))
            if resumes and (run / PROVENANCE).exists():
                Provenance.read(run).resumed_in(environment).write(run)
            else:
                provenance(environment).write(run)
        try:
            facts = train(last if resumes else None)
        except M2FNetError:
            if not last.exists():
                for name in (CONFIG, PROVENANCE):
                    (run / name).unlink(missing_ok=True)
            raise
        if trainer.is_global_zero:
            write_json(run / FIT, facts)
        trainer.strategy.barrier()  # nobody reads the file before it is there


def facts_of_training(
    trainer: pl.Trainer, checkpoint: ModelCheckpoint, timer: EpochTimer, monitor: str, select: str
) -> dict[str, object]:
    """What ``fit.json`` holds after `Trainer.fit`: the selected epoch, its score on dev, size, device, times.

    Args:
        trainer: that has trained.
        checkpoint: the callback that keeps the selected weights.
        timer: the callback that measures epochs.
        monitor: the score on dev that selects weights, such as ``dev/weighted_f1``.
        select: ``dev`` or ``last``.

    Raises:
        UsageError: if no epoch was scored on dev.
    """
    score: object = checkpoint.best_model_score
    if checkpoint.monitor is None:
        if not timer.seconds:  # resumed after the last epoch: nothing was scored this time
            trainer.validate(trainer.lightning_module, datamodule=_datamodule(trainer), verbose=False)
        score = trainer.callback_metrics.get(monitor)
    if not isinstance(score, torch.Tensor) or not checkpoint.best_model_path:
        raise UsageError(
            "No epoch was finished and scored on dev, so no weights were kept; trainer.max_epochs, "
            "trainer.limit_val_batches and trainer.fast_dev_run have to leave at least one."
        )
    best = read_checkpoint(Path(checkpoint.best_model_path), mmap=True)
    return {
        "select": select,
        "epoch": best["epoch"] + 1,  # counted from 1, as in the log
        "epochs": trainer.current_epoch,
        monitor.replace("/", "."): float(score),
        "parameters": sum(p.numel() for p in trainer.lightning_module.parameters()),
        "device": str(trainer.strategy.root_device),
        **timer.summary(),
    }


def evaluate(command: Callable[..., object], run: Path, weights: Path, **kwargs: object) -> None:
    """Call ``command`` of a trainer with the checkpoint ``weights`` in the run folder ``run``.

    Raises:
        UsageError: if they are of other settings.
        RunError: if the file is damaged.
    """
    refuse_damaged(weights)
    try:
        command(ckpt_path=str(weights), weights_only=True, **kwargs)
    except RuntimeError as error:
        if "state_dict" not in str(error):
            raise
        raise UsageError(
            f"The weights in {weights} do not fit these settings or data ({' '.join(str(error).split())[:300]}). "
            f"Use the run's own configuration: --config {run / CONFIG}"
        ) from error


def _datamodule(trainer: pl.Trainer) -> pl.LightningDataModule:
    """What the trainer was given to fit; its class does not declare the attribute."""
    datamodule: pl.LightningDataModule = trainer.datamodule  # type: ignore[attr-defined]
    return datamodule
