"""The latent space of CARAT, and its prototypes: where a present and an absent emotion are in it."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def two_layers(inputs: int, hidden: int, outputs: int) -> nn.Sequential:
    """``W_2 relu(W_1 x + b_1) + b_2``, Xavier-uniform weights."""
    first, second = nn.Linear(inputs, hidden), nn.Linear(hidden, outputs)
    for layer in (first, second):
        nn.init.xavier_uniform_(layer.weight)
    return nn.Sequential(first, nn.ReLU(), second)


class Latent(nn.Module):
    """To the latent space and back: ``z = W_1 relu(W_0 u)``, ``recon = W_3 relu(W_2 z)``; arXiv:2312.10201.

    Args:
        width: D of the features u.
        latent: width Z of the space.
    """

    def __init__(self, width: int, latent: int) -> None:
        super().__init__()
        hidden = max(width // 2, 1)
        self.encode = two_layers(width, hidden, latent)
        self.decode = two_layers(latent, hidden, width)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Latents (..., Z) and reconstructed features (..., D) of features (..., D)."""
        z = self.encode(features)
        return z, self.decode(z)


class Prototypes(nn.Module):
    """Per modality, emotion and sign (0 present, 1 absent) a vector: the running mean of the unit latents of its class.

    ``p <- 0.99 p + 0.01 z / |z|`` for each utterance in turn; they start at zero. arXiv:2312.10201, prototype-based
    imputation; chengzju/CARAT@3210086.

    Args:
        modalities: M.
        labels: C.
        latent: Z.
        momentum: share of a prototype that an utterance leaves.
    """

    vectors: Tensor

    def __init__(self, modalities: int, labels: int, latent: int, momentum: float) -> None:
        super().__init__()
        self.momentum = momentum
        self.register_buffer("vectors", torch.zeros(modalities, labels, 2, latent))

    def shares(self, latents: Tensor) -> Tensor:
        """How near latents (N, M, C, Z) are to [present, absent]: softmax of ``<z / |z|, p>``, (N, M, C, 2)."""
        similarity = torch.einsum(
            "nmcz,mcsz->nmcs", F.normalize(latents, dim=-1), self.vectors.to(latents.dtype, copy=True)
        )
        return similarity.softmax(-1)

    def mixed(self, shares: Tensor) -> Tensor:
        """Imputed latents (N, M, C, Z): the mix of both prototypes by ``shares``; in evaluation the closer one.

        On a tie it is the one of the absent emotion.
        """
        if not self.training:
            present = shares[..., 0] > shares[..., 1]
            shares = torch.stack([present, ~present], -1).to(shares.dtype)
        vectors = self.vectors.to(shares.dtype, copy=True)  # `update` changes them before the backward pass
        return torch.einsum("nmcs,mcsz->nmcz", shares, vectors)

    @torch.no_grad()
    def update(self, latents: Tensor, targets: Tensor, counts: Tensor) -> None:
        """Move the prototypes towards latents (N, M, C, Z), in the order of the utterances.

        Args:
            latents: not yet of unit length.
            targets: 1 or 0, (N, C).
            counts: (N, M) as bool; False for a modality that an utterance lacks.
        """
        unit = F.normalize(latents.detach().to(self.vectors.dtype), dim=-1)
        signs = torch.stack([targets == 1, targets == 0], -1)[:, None]  # (N, 1, C, 2)
        hits = (signs & counts[..., None, None]).to(unit.dtype)
        later = hits.flip(0).cumsum(0).flip(0) - hits
        weights = hits * (1 - self.momentum) * self.momentum**later
        moved = torch.einsum("nmcs,nmcz->mcsz", weights, unit)
        self.vectors.copy_(self.momentum ** hits.sum(0)[..., None] * self.vectors + moved)
