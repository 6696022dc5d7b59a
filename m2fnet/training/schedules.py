"""How the learning rate changes while a network trains: by optimizer steps, by epochs, or when dev gets no better."""

import math
from collections.abc import Sequence
from typing import Literal

import pytorch_lightning as pl
from pytorch_lightning.utilities.types import OptimizerLRScheduler
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler, ReduceLROnPlateau

from m2fnet.errors import UsageError
from m2fnet.training.fused import with_fused_steps

Decay = Literal["none", "linear", "cosine"]


def rate_at(step: int, steps: int, warmup: float, decay: Decay) -> float:
    """Share of the learning rate at ``step`` (from 0) of ``steps``.

    It rises in equal steps over the share ``warmup`` of all steps, reaches 1 at the end of it, and then stays there
    (``none``) or falls to 0 in a straight line (``linear``) or along half a cosine (arXiv:1608.03983, eq 5).

    Example:
        >>> [rate_at(step, 6, warmup=0.3, decay="linear") for step in range(6)]
        [0.5, 1.0, 1.0, 0.75, 0.5, 0.25]
        >>> [round(rate_at(step, 4, warmup=0.0, decay="cosine"), 3) for step in range(4)]
        [1.0, 0.854, 0.5, 0.146]
    """
    rising = math.ceil(warmup * steps)
    if step < rising:
        return (step + 1) / rising
    passed = min(1.0, (step - rising) / max(1, steps - rising))
    return {"none": 1.0, "linear": 1 - passed, "cosine": (1 + math.cos(math.pi * passed)) / 2}[decay]


def refuse_wrong_schedule(warmup: float, decay: Decay, *, has_scheduler: bool = False) -> None:
    """Refuse settings of a schedule that cannot work, before anything is trained.

    Raises:
        UsageError: if the warm-up is no share of all steps, or there are two schedules.
    """
    if not 0 <= warmup < 1:
        raise UsageError(f"Expected model.warmup in [0, 1), the share of all steps, but got {warmup}.")
    if has_scheduler and (warmup or decay != "none"):
        raise UsageError("model.scheduler and model.warmup or model.decay are two schedules; set one of them.")


def refuse_unlogged(scheduler: LRScheduler | ReduceLROnPlateau | None, logged: Sequence[str]) -> None:
    """Do nothing if a schedule follows a score that is logged and in its direction, or follows none.

    Args:
        scheduler: the schedule; Lightning's ``ReduceLROnPlateau`` names what it follows.
        logged: names of the scores on dev.

    Raises:
        UsageError: otherwise; Lightning would stop at the end of the first epoch, or lower the rate of good epochs.
    """
    followed = getattr(scheduler, "monitor", None)
    if not isinstance(scheduler, ReduceLROnPlateau) or followed is None:
        return
    if followed not in logged and not followed.startswith("train/"):
        raise UsageError(
            f"model.scheduler monitors {followed!r}, which is never logged; expected one of {', '.join(logged)}, or "
            "train/loss."
        )
    mode = "min" if followed.startswith("train/") or followed.endswith(("loss", "entropy")) else "max"
    if scheduler.mode != mode:
        raise UsageError(
            f"model.scheduler monitors {followed} with mode {scheduler.mode!r}, so it would lower the learning rate "
            f"while that score improves. Set mode: {mode}."
        )


def scheduled(
    optimizer: Optimizer,
    trainer: pl.Trainer,
    warmup: float = 0.0,
    decay: Decay = "none",
    scheduler: LRScheduler | ReduceLROnPlateau | None = None,
    monitor: str = "dev/loss",
) -> OptimizerLRScheduler:
    """What `configure_optimizers` returns for an optimizer, with fused steps, and the settings of its schedule.

    Args:
        optimizer: all its groups follow the schedule, each from its own rate.
        trainer: knows the number of steps, see `rate_at`.
        warmup: share of all steps over which the rate rises.
        decay: how it falls over the rest.
        scheduler: instead: a schedule that is stepped after every epoch. ``ReduceLROnPlateau`` follows ``monitor`` with
            ``mode: max`` and the loss on dev with ``mode: min``; Lightning's own follows its own ``monitor``.
        monitor: name of the score on dev that selects weights.

    Raises:
        UsageError: if warm-up or decay is asked for and the training has no end.
    """
    optimizer = with_fused_steps(optimizer)
    if isinstance(scheduler, ReduceLROnPlateau):
        followed = getattr(scheduler, "monitor", monitor if scheduler.mode == "max" else "dev/loss")
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "monitor": followed}}
    if scheduler is not None:
        return {"optimizer": optimizer, "lr_scheduler": scheduler}
    if not warmup and decay == "none":
        return optimizer
    steps = trainer.estimated_stepping_batches
    if not math.isfinite(steps):
        raise UsageError("model.warmup and model.decay need to know the end: set trainer.max_epochs or max_steps.")
    schedule = LambdaLR(optimizer, lambda step: rate_at(step, int(steps), warmup, decay))
    return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}
