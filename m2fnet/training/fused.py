"""Steps of Adam in one pass over the weights."""

from torch import nn
from torch.optim import Adam, Optimizer

_DEVICES = ("cpu", "cuda")  # where torch has such a step and this project trains


def with_fused_steps(optimizer: Optimizer) -> Optimizer:
    """The same optimizer; if it is Adam or AdamW, it takes its steps by torch's fused kernel.

    A step is mostly reading and writing memory: torch's usual one goes over all weights a dozen times, the fused one
    once. The weights are the same up to rounding. Settings that name the kind of step (``fused``, ``foreach``) or
    exclude this one are kept, as is the kind in the checkpoint from which a training is resumed.

    Example:
        >>> import torch
        >>> weights = [torch.nn.Parameter(torch.zeros(2))]
        >>> with_fused_steps(torch.optim.AdamW(weights)).param_groups[0]["fused"]
        True
        >>> with_fused_steps(torch.optim.AdamW(weights, fused=False)).param_groups[0]["fused"]
        False
    """
    if isinstance(optimizer, Adam):  # AdamW is one
        for group in optimizer.param_groups:
            is_open = group["fused"] is None and not (group["foreach"] or group["differentiable"])
            if is_open and all(map(_fits, group["params"])):
                # not as an argument of Adam: Lightning would then refuse to clip gradients in `16-mixed`
                group["fused"] = True
    return optimizer


def _fits(parameter: nn.Parameter) -> bool:
    # on a CPU the kernel reads weights, gradients and averages in the order of their memory, so it must be one order
    return parameter.is_floating_point() and parameter.is_contiguous() and parameter.device.type in _DEVICES
