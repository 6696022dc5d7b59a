"""Binary cross-entropy over label sets, in which some utterances are unlabelled."""

from torch import Tensor
from torch.nn import functional as F


def binary_cross_entropy(
    logits: Tensor, targets: Tensor, positive_weight: Tensor | None = None, ignored: int = -100, smoothing: float = 0.0
) -> Tensor:
    """Binary cross-entropy of logits ``(N, C)``, mean over the C labels and summed over the rows.

    -[w_c y_c log s(z_c) + (1 - y_c) log(1 - s(z_c))] with the sigmoid s, y in {0, 1} and the weight w_c of having
    label c. A mean over utterances is this divided by their number.

    Args:
        logits: (N, C).
        targets: 0 or 1, (N, C); a row of ``ignored`` does not count.
        positive_weight: (C,), or None for 1 each.
        ignored: marks rows without labels.
        smoothing: targets become ``y (1 - smoothing) + smoothing / 2``.

    Raises:
        ValueError: if the shapes differ.

    Example:
        >>> import torch
        >>> float(binary_cross_entropy(torch.zeros(2, 3), torch.tensor([[1, 0, 0], [-100, -100, -100]])))
        0.6931471824645996
    """
    if logits.ndim != 2 or logits.shape != targets.shape:
        raise ValueError(
            f"Expected logits and targets of one shape (N, C), but got {tuple(logits.shape)} and "
            f"{tuple(targets.shape)}."
        )
    counts = targets != ignored
    weight = None if positive_weight is None else positive_weight.to(logits)
    smooth = (targets * counts).to(logits.dtype) * (1 - smoothing) + smoothing / 2
    terms = F.binary_cross_entropy_with_logits(logits, smooth, pos_weight=weight, reduction="none")
    return (terms * counts).mean(-1).sum()


def positive_weights(targets: Tensor, power: float) -> Tensor:
    """How much having a label weighs against not having it: ``(negative / positive) ** power``, (C,).

    With a power of 0 all weigh 1; with 1 the utterances with a label weigh as much as those without it.

    Args:
        targets: 0 or 1, (N, C), without unlabelled rows.
        power: 0 to 1.

    Returns:
        The weights; a label that never occurs, or always, counts as if it occurred, or lacked, once.

    Example:
        >>> import torch
        >>> positive_weights(torch.tensor([[1, 1], [0, 1], [0, 0], [0, 0]]), 1.0)
        tensor([3., 1.])
    """
    positive = targets.sum(0).double().clamp(min=1)
    negative = (1 - targets).sum(0).double().clamp(min=1)
    return ((negative / positive) ** power).float()
