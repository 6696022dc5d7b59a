"""Callbacks that every training run has: epoch times, random state, a stop on NaN, checkpoints, progress lines."""

import math
import re
import resource
import statistics
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from lightning_utilities.core.rank_zero import rank_zero_only
from pytorch_lightning.callbacks import EarlyStopping, ModelCheckpoint

from m2fnet.errors import RunError, UsageError
from m2fnet.runs.checkpoints import BEST, LAST, checkpoint_file
from m2fnet.runs.curves import GRADIENT
from m2fnet.training.averaging import AverageWeights, Averaging

GRADIENT_STEPS = 5  # of an epoch, in which gradients are measured


class EpochTimer(pl.Callback):
    """Seconds per training epoch (validation included) and peak memory."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Note when the epoch starts."""
        self._start = time.perf_counter()

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Add the seconds of the epoch."""
        self.seconds.append(time.perf_counter() - self._start)

    def summary(self) -> dict[str, float | None]:
        """Median epoch in seconds (None if none was run), peak memory of this process and of the GPU in MiB."""
        gpu = torch.cuda.max_memory_allocated() / 2**20 if torch.cuda.is_available() else 0.0
        seconds = round(statistics.median(self.seconds), 4) if self.seconds else None
        return {
            "epoch_seconds": seconds,
            "peak_memory_mib": round(_peak_memory_mib()),
            "peak_gpu_memory_mib": round(gpu),
        }


def _peak_memory_mib() -> float:
    """Of this process; `getrusage` would count the memory of the process that started it too."""
    status = Path("/proc/self/status")
    line = re.search(r"VmHWM:\s*(\d+) kB", status.read_text()) if status.exists() else None
    if line is not None:  # some sandboxes do not have it
        return int(line[1]) / 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 1024


class RandomState(pl.Callback):
    """Lets a resumed run draw the random numbers that it would have drawn uninterrupted (in one process)."""

    def __init__(self) -> None:
        self.state: dict[str, Any] | None = None

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Save the state of the generators."""
        cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
        checkpoint["random_state"] = {"cpu": torch.get_rng_state(), "cuda": cuda}

    def on_load_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Hold the saved state until the sanity check is over."""
        self.state = checkpoint.get("random_state")

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Restore the generators."""
        if self.state is None or trainer.world_size > 1:
            return
        torch.set_rng_state(self.state["cpu"].cpu())
        if len(self.state["cuda"]) == torch.cuda.device_count():
            torch.cuda.set_rng_state_all([state.cpu() for state in self.state["cuda"]])


class StopOnNonFinite(pl.Callback):
    """Stops training when its numbers are not finite any more, before such weights are saved."""

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Check everything that was logged.

        Raises:
            RunError: naming the first metric that is NaN or infinite.
        """
        for name, value in trainer.callback_metrics.items():
            if trainer.state.fn == "fit" and not trainer.sanity_checking and not math.isfinite(value):
                raise RunError(
                    f"The training diverged: {name} is {float(value)} in epoch {trainer.current_epoch + 1}. Lower "
                    "model.optimizer.init_args.lr, or set trainer.gradient_clip_val."
                )


class ScoreLastStep(pl.Callback):
    """Ends a training at ``trainer.max_steps`` as one that is stopped: dev is scored, within an epoch too."""

    def on_train_batch_end(self, trainer: pl.Trainer, *_: object) -> None:
        """Ask the trainer to stop after the last step."""
        if trainer.global_step == trainer.max_steps:
            trainer.should_stop = True


class GradientNorms(pl.Callback):
    """Logs how large the gradient of each layer is: the mean of the first steps of each epoch.

    A name is ``gradient/<place>/<layer>``, because the CSV file has its columns in alphabetical order.
    """

    def __init__(self) -> None:
        self.norms: list[dict[str, float]] = []

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Forget the steps of the epoch before."""
        self.norms = []

    def on_before_optimizer_step(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: object) -> None:
        """Measure the gradients as they are before clipping."""
        if len(self.norms) == GRADIENT_STEPS or not trainer.loggers:
            return
        squares: dict[str, torch.Tensor] = {}
        for name, parameter in pl_module.named_parameters():
            if parameter.grad is not None:
                layer = layer_of(name)
                squares[layer] = squares.get(layer, 0) + parameter.grad.detach().float().square().sum()
        self.norms.append({layer: math.sqrt(square) for layer, square in squares.items()})

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Log the means, past the metrics that a run is stopped by if they are not finite."""
        names = dict.fromkeys(layer for norms in self.norms for layer in norms)
        means = {
            f"{GRADIENT}{place:03}/{name}": statistics.mean(norms.get(name, 0.0) for norms in self.norms)
            for place, name in enumerate(names)
        }
        for logger in trainer.loggers if means else []:
            logger.log_metrics({**means, "epoch": trainer.current_epoch}, step=trainer.global_step)


def layer_of(parameter: str) -> str:
    """Name of the layer that a parameter belongs to: up to the first number in its name, or two parts long.

    Example:
        >>> [layer_of(name) for name in ("net.encoders.text.0.attention.weight", "net.head.weight", "head.bias")]
        ['encoders.text.0', 'head', 'head']
    """
    parts = parameter.removeprefix("net.").split(".")[:-1]
    number = next((place for place, part in enumerate(parts) if part.isdigit()), 1)
    return ".".join(parts[: number + 1]) or parameter


class EpochLines(pl.Callback):
    """A line per epoch, where no terminal could show a bar.

    Args:
        monitor: name of the score on dev, such as ``dev/weighted_f1``.
    """

    def __init__(self, monitor: str) -> None:
        self.monitor = monitor

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Print how far the training is."""
        if not trainer.sanity_checking and trainer.state.fn == "fit":
            score = 100 * float(trainer.callback_metrics[self.monitor])
            name = self.monitor.replace("/", " ").replace("_", " ").replace("f1", "F1")
            epoch = f"epoch {trainer.current_epoch + 1}"
            if trainer.max_epochs is not None and trainer.max_epochs > 0:
                epoch += f"/{trainer.max_epochs}"
            if trainer.max_steps > 0:
                epoch += f", step {trainer.global_step}/{trainer.max_steps}"
            print_rank_zero(f"{epoch}: {name} {score:.2f}")


def refuse_unknown_monitors(callbacks: Iterable[pl.Callback], logged: Iterable[str]) -> None:
    """Do nothing if the configured ``callbacks`` look at scores that are ``logged`` on dev, or at none.

    Raises:
        UsageError: naming the scores that are logged; Lightning would stop at the end of the first epoch.
    """
    known = sorted(f"dev/{name}" for name in logged)
    for callback in callbacks:
        monitor = getattr(callback, "monitor", None)
        if monitor is not None and monitor not in known and not str(monitor).startswith("train/"):
            raise UsageError(
                f"{type(callback).__name__} monitors {monitor!r}, which is never logged; expected one of "
                f"{', '.join(known)}, or train/loss."
            )


class RunCallbacks:
    """The callbacks that every run has.

    Besides ``best.ckpt``, the weights that are best on dev, the last state has a callback that writes ``last.ckpt``:
    ``save_last`` would write it only in epochs that are the best so far.

    Args:
        run: the run folder.
        select: ``"dev"`` or ``"last"``, the weights to keep.
        monitor: name of the score on dev that selects weights.
        prints_lines: print a line per epoch.

    Attributes:
        checkpoint: saves the weights that ``select`` names.
        timer: measures the epochs.
    """

    def __init__(self, run: Path, select: str, monitor: str, *, prints_lines: bool = False) -> None:
        folder = checkpoint_file(run, LAST).parent
        last = ModelCheckpoint(folder, filename=LAST, enable_version_counter=False)
        best = ModelCheckpoint(
            folder, filename=BEST, monitor=monitor, mode="max", save_weights_only=True, enable_version_counter=False
        )
        checkpoints = [last] if select == "last" else [best, last]
        self.checkpoint, self.timer = checkpoints[0], EpochTimer()
        self._all = [StopOnNonFinite(), ScoreLastStep(), GradientNorms(), *checkpoints, self.timer, RandomState()]
        self._all += [EpochLines(monitor)] if prints_lines else []

    def after(
        self, configured: pl.Callback | Iterable[pl.Callback] | None, logged: Iterable[str] | None
    ) -> list[pl.Callback]:
        """The callbacks that are ``configured``, and then these.

        Args:
            configured: one, several or none.
            logged: names of the scores that are logged on dev; None if nothing is trained.

        Raises:
            UsageError: if a configured one monitors a score that is never logged.
        """
        first = [configured] if isinstance(configured, pl.Callback) else list(configured or [])
        if logged is not None:
            refuse_unknown_monitors(first, logged)
        return [*first, *self._all]


def shown_progress(asked: bool | None, *, quiet: bool) -> tuple[bool, bool]:
    """Whether a training shows a progress bar, and whether it prints a line per epoch.

    Args:
        asked: the setting ``trainer.enable_progress_bar``; None for a bar in a terminal and lines elsewhere.
        quiet: show neither.

    Example:
        >>> shown_progress(asked=True, quiet=False), shown_progress(asked=None, quiet=True)
        ((True, False), (False, False))
    """
    if asked is not None and not quiet:
        return asked, False
    is_terminal = sys.stdout.isatty()
    return is_terminal and not quiet, not is_terminal and not quiet


def callbacks_of_settings(monitor: str, patience: int | None, averaging: Averaging | None) -> list[pl.Callback]:
    """The callbacks that a task's settings ask for while it is trained.

    Args:
        monitor: name of the score on dev that selects weights.
        patience: epochs without a better score after which training stops.
        averaging: which average of the weights is scored and saved.

    Raises:
        UsageError: if the patience is no number of epochs.
    """
    if patience is not None and patience < 1:
        raise UsageError(f"model.patience is {patience}, expected at least 1 epoch.")
    stops = [] if patience is None else [EarlyStopping(monitor, mode="max", patience=patience)]
    return [*stops, *([] if averaging is None else [AverageWeights(averaging)])]


@rank_zero_only
def print_rank_zero(text: str) -> None:
    """Print a line for the user, once under distributed training."""
    print(text, flush=True)  # noqa: T201
