"""The triplet loss with an adaptive margin: positives come closer than negatives, hard triplets count more."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from m2fnet.losses.mining import MINERS, Mining


def adaptive_margin(d_ap: Tensor, d_an: Tensor) -> Tensor:
    """Margin of each triplet from its distances ``(T,)``: large when the positive is near or the negative far.

    ``m = 1 + 2 exp(-4 D_ap) + 1 + 2 exp(4 D_an - 4)``; M2FNet, arXiv:2206.02187, eq 11.
    """
    similar = 1 + 2 * torch.exp(-4 * d_ap)
    dissimilar = 1 + 2 * torch.exp(4 * d_an - 4)
    return similar + dissimilar


def adaptive_margin_triplet(d_ap: Tensor, d_an: Tensor, d_pn: Tensor, *, as_printed: bool = False) -> Tensor:
    """Loss of each triplet ``(T,)`` from the distances of its anchor, positive and negative, ``(T,)`` each.

    ``D_ap - (D_an + D_pn) / 2 + m``; M2FNet, arXiv:2206.02187, eq 10, which prints no hinge.

    Args:
        d_ap: distance from anchor to positive.
        d_an: from anchor to negative.
        d_pn: from positive to negative.
        as_printed: let gradients pass through the margin, as printed. It then grows with ``D_an`` faster than the rest
            falls: above 0.307, the loss pulls negatives closer. By default the margin is a constant of each step.

    Example:
        >>> d_an = torch.tensor([1.0], requires_grad=True)
        >>> loss = adaptive_margin_triplet(torch.tensor([0.5]), d_an, torch.tensor([0.5])).sum()
        >>> loss.backward()
        >>> d_an.grad  # a step pushes the negative away
        tensor([-0.5000])
    """
    margin = adaptive_margin(d_ap, d_an)
    return d_ap - (d_an + d_pn) / 2 + (margin if as_printed else margin.detach())


def distances(z: Tensor) -> Tensor:
    """Euclidean distances ``(N, N)`` between embeddings ``(N, D)`` brought to length 1, so between 0 and 2."""
    z = F.normalize(z)
    return torch.cdist(z, z, compute_mode="donot_use_mm_for_euclid_dist")  # the other mode is imprecise near 0


class TripletLoss(nn.Module):
    """Mean adaptive-margin triplet loss over the triplets mined in a batch.

    Args:
        mining: which triplets, see `m2fnet.losses.mining`.
        as_printed: the form as printed, see `adaptive_margin_triplet`.
    """

    def __init__(self, mining: Mining = "semi-hard", *, as_printed: bool = False) -> None:
        super().__init__()
        self.mining, self.as_printed = mining, as_printed
        self.mine = MINERS[mining]

    def forward(self, z: Tensor, labels: Tensor) -> tuple[Tensor, int]:
        """Loss and number of triplets of un-normalised embeddings ``(N, D)`` with class numbers ``(N,)``.

        A batch without a valid triplet has the loss 0, with a gradient of 0.
        """
        between = distances(z)
        found = self.mine(between.detach(), labels)
        if len(found) == 0:
            return z.sum() * 0.0, 0
        a, p, n = found.T
        losses = adaptive_margin_triplet(between[a, p], between[a, n], between[p, n], as_printed=self.as_printed)
        return losses.mean(), len(found)
