"""A pretrained network that never trains and is in no checkpoint."""

import hashlib
from collections.abc import Callable
from typing import Generic, Self, TypeVar

import torch
from torch import Tensor, nn

from m2fnet.errors import RunError

N = TypeVar("N", bound=nn.Module)


class Frozen(nn.Module, Generic[N]):
    """Holds a pretrained network: it moves to devices with the rest, but has no parameters and no weights to save.

    So optimizers, averages of weights and counts of parameters see only what trains, and a checkpoint of a few prompts
    is not as large as the network that they prompt. In place of the weights a checkpoint holds their SHA-256, and only
    a network with the same weights takes it.

    Args:
        network: the pretrained network, in its final values.

    Example:
        >>> frozen = Frozen(nn.Linear(2, 2))
        >>> list(frozen.parameters()), list(frozen.state_dict())
        ([], ['_extra_state'])
        >>> frozen.double().network.weight.dtype
        torch.float64
    """

    def __init__(self, network: N) -> None:
        super().__init__()
        self._unregistered = (network.eval().requires_grad_(False),)
        self.sha256 = weights_sha256(network)

    @property
    def network(self) -> N:
        """The network, in evaluation mode and without gradients of its weights."""
        return self._unregistered[0]

    def get_extra_state(self) -> Tensor:
        """The SHA-256 of the weights as 32 bytes, for a checkpoint."""
        return torch.tensor(list(bytes.fromhex(self.sha256)), dtype=torch.uint8)

    def set_extra_state(self, state: Tensor) -> None:
        """Compare with the SHA-256 in a checkpoint.

        Raises:
            RunError: if it is that of other weights.
        """
        found = bytes(state.tolist()).hex()
        if found != self.sha256:
            raise RunError(
                f"The checkpoint was trained on a frozen {type(self.network).__name__} with weights {found[:12]}…, but "
                f"this one has weights {self.sha256[:12]}…. Give `model` the network that it was trained on."
            )

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """Move to a device or change the number type, as torch does with every module."""
        self.network._apply(fn, recurse)  # type: ignore[no-untyped-call]
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        return self


def weights_sha256(network: nn.Module) -> str:
    """One SHA-256 over the names and values of all weights of ``network``.

    Example:
        >>> network = nn.Linear(2, 2)
        >>> before = weights_sha256(network)
        >>> nn.init.zeros_(network.bias) is None, weights_sha256(network) == before
        (False, False)
    """
    digest = hashlib.sha256()
    for name, value in sorted(network.state_dict().items()):
        digest.update(f"{name} {tuple(value.shape)} {value.dtype}\n".encode())
        digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()
