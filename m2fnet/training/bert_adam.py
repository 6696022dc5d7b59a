"""The optimiser of BERT's first code, which CARAT's released training uses."""

from collections.abc import Callable, Iterable
from typing import overload

import torch
from torch import nn


class BertAdam(torch.optim.Optimizer):
    """AdamW without bias correction, with its own warm-up and linear decay of the rate.

    ``m <- 0.9 m + 0.1 g``, ``v <- 0.999 v + 0.001 g^2``, ``w <- w - lr (m / (sqrt(v) + 1e-6) + decay w)``, where lr is
    the rate times ``x / warmup`` up to x = ``warmup`` and ``(1 - x) / (1 - warmup)`` from there; x is the share of all
    steps that were made, so the first step changes no weight. (huggingface/pytorch-pretrained-BERT, optimization.py.)
    The gradient is clipped by the trainer: ``trainer.gradient_clip_val: 1``.

    Args:
        params: parameters, or groups of them.
        lr: rate at the end of the warm-up.
        steps: of the whole training; -1 for a constant rate.
        warmup: share of the steps.
        weight_decay: of matrices; vectors, which are biases and the weights of norms, do not decay unless their group
            says ``decay_vectors``.

    Raises:
        ValueError: if a number is out of range.

    Example:
        >>> weight = torch.nn.Parameter(torch.ones(2))
        >>> optimizer = BertAdam([weight], lr=0.1)
        >>> weight.sum().backward()
        >>> _ = optimizer.step()
        >>> weight.detach()
        tensor([0.6838, 0.6838])
    """

    def __init__(
        self,
        params: Iterable[nn.Parameter] | Iterable[dict[str, object]],
        lr: float = 5e-5,
        steps: int = -1,
        warmup: float = 0.1,
        weight_decay: float = 0.01,
    ) -> None:
        if lr < 0 or weight_decay < 0 or not 0 <= warmup < 1 or (steps < 1 and steps != -1):
            raise ValueError(
                "Expected `lr` and `weight_decay` of at least 0, `warmup` from 0 to below 1, and `steps` of at least 1 "
                f"or -1, but got {lr}, {weight_decay}, {warmup} and {steps}."
            )
        defaults = {"lr": lr, "steps": steps, "warmup": warmup, "weight_decay": weight_decay, "decay_vectors": False}
        super().__init__(params, defaults)

    @overload
    def step(self, closure: None = None) -> None: ...
    @overload
    def step(self, closure: Callable[[], float]) -> float: ...
    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """Change every weight that has a gradient."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is None:
                    continue
                state = self.state[weight]
                if not state:
                    state.update(step=0, mean=torch.zeros_like(weight), square=torch.zeros_like(weight))
                state["mean"].lerp_(weight.grad, 0.1)
                state["square"].mul_(0.999).addcmul_(weight.grad, weight.grad, value=0.001)
                change = state["mean"] / (state["square"].sqrt() + 1e-6)
                if weight.ndim > 1 or group["decay_vectors"]:
                    change = change + group["weight_decay"] * weight
                rate = group["lr"]
                if group["steps"] > 0:
                    done, warmup = state["step"] / group["steps"], group["warmup"]
                    rate *= done / warmup if done < warmup else max((1 - done) / (1 - warmup), 0.0)
                weight.sub_(rate * change)
                state["step"] += 1
        return loss
