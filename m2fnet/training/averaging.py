"""Averages of a network's weights over its training, by which it is scored and saved."""

from dataclasses import dataclass
from typing import Literal

import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from m2fnet.errors import UsageError


@dataclass(frozen=True)
class Averaging:
    """Which average of the weights is scored on dev and saved.

    Attributes:
        kind: ``ema``, a moving average that forgets old weights, or ``swa``, the plain mean (stochastic weight
            averaging, arXiv:1803.05407).
        decay: of ``ema``: what the average so far weighs against the weights of the last step.
        start: share of all optimizer steps before the first whose weights count.
    """

    kind: Literal["ema", "swa"]
    decay: float = 0.99
    start: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.decay < 1 or not 0 <= self.start < 1:
            raise UsageError(
                f"Expected model.averaging with decay and start in [0, 1), but got {self.decay} and {self.start}."
            )


class AverageWeights(pl.Callback):
    """Averages the weights after every optimizer step, and has dev scored and checkpoints written with the average.

    From the start of a validation to the next training step the network holds the average, so every checkpoint that is
    written after a validation does; the weights that training continues with are in the state of this callback.
    Lightning's own `WeightAveraging` would write the weights of the last step into checkpoints without optimizer
    state, such as ``best.ckpt``, and score the initial weights before the first average.

    Args:
        averaging: which average.
    """

    def __init__(self, averaging: Averaging) -> None:
        self.averaging = averaging
        self.count = 0  # of averaged steps
        self.step = 0  # the last one
        self.shows_average = False
        self.other: dict[str, Tensor] = {}  # of average and weights those that the network does not hold

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Find the first step that counts.

        Raises:
            UsageError: if it is a share of a training without an end.
        """
        steps = trainer.estimated_stepping_batches
        if self.averaging.start and steps == float("inf"):
            raise UsageError("model.averaging.start needs to know the end: set trainer.max_epochs or max_steps.")
        self.first = self.averaging.start * steps if self.averaging.start else 0

    def on_train_batch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: object) -> None:
        """Continue training with the weights of the last step."""
        if self.shows_average:
            self._swap(pl_module)

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: object) -> None:
        """Take the weights into the average if a step was made."""
        if trainer.global_step == self.step or trainer.global_step <= self.first:
            return
        self.step, self.count = trainer.global_step, self.count + 1
        share = 1 / self.count if self.averaging.kind == "swa" or self.count == 1 else 1 - self.averaging.decay
        with torch.no_grad():
            for name, value in _weights(pl_module).items():
                if name in self.other:
                    self.other[name].lerp_(value, share)
                else:
                    self.other[name] = value.clone()

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Let dev be scored with the average, if there is one."""
        if self.count and not self.shows_average:
            self._swap(pl_module)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Hold the average for the checkpoint of an epoch after which dev is not scored, too."""
        if self.count and not self.shows_average:
            self._swap(pl_module)

    def state_dict(self) -> dict[str, object]:
        """What a resumed training needs: the weights or the average, whichever the network does not hold."""
        return {"count": self.count, "step": self.step, "shows_average": self.shows_average, "other": self.other}

    def load_state_dict(self, state_dict: dict[str, object]) -> None:
        """Continue from `state_dict`."""
        vars(self).update(state_dict)

    def _swap(self, module: nn.Module) -> None:
        with torch.no_grad():
            for name, value in _weights(module).items():
                held = value.clone()
                value.copy_(self.other[name])
                self.other[name] = held
        self.shows_average = not self.shows_average


def _weights(module: nn.Module) -> dict[str, Tensor]:
    """Parameters and floating-point buffers, such as the statistics of batch normalisation."""
    everything = {**dict(module.named_parameters()), **dict(module.named_buffers())}
    return {name: value for name, value in everything.items() if value.is_floating_point()}
