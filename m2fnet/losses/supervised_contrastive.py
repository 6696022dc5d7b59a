"""Supervised contrastive loss with a queue of earlier rows, without the matrix of all similarities."""

import torch
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx, once_differentiable
from torch.nn import functional as F

NO_CLASS = -1  # the class of a row that matches nothing


def supervised_contrastive(
    rows: Tensor,
    classes: Tensor,
    queue: tuple[Tensor, Tensor] | None = None,
    *,
    temperature: float = 0.07,
    queue_anchors: bool = False,
    mean_over_all: bool = False,
    chunk: int = 512,
) -> Tensor:
    """Mean over anchors i of ``-1/|P_i| sum over j in P_i of [s_ij - log sum over k != i of exp s_ik]``, a scalar.

    ``s_ij = <r_i, r_j> / temperature`` and P_i are the rows of the class of i without i itself; Khosla et al.,
    "Supervised Contrastive Learning", arXiv:2004.11362, eq 2, with the rows of a queue in addition, as CARAT
    (arXiv:2312.10201) uses it. The positives enter by the sum of the rows of each class, and the logarithm chunk by
    chunk together with its gradient, so memory grows with ``chunk`` times the number of rows, not with its square.

    Args:
        rows: (N, D), of unit length; gradients reach them.
        classes: (N,) whole numbers from 0.
        queue: rows (Q, D) and classes (Q,) of earlier batches, `NO_CLASS` for a row that matches nothing; no gradient
            reaches them.
        temperature: divides the similarities.
        queue_anchors: rows of the queue are anchors too, as in the code released with CARAT.
        mean_over_all: an anchor without a positive counts in the mean, as 0; by default it does not count.
        chunk: anchors whose similarities are in memory together.

    Returns:
        The loss; 0 if no anchor has a positive.

    Raises:
        ValueError: if the shapes do not fit, or the temperature is not above 0.

    Example:
        >>> rows = torch.nn.functional.normalize(torch.tensor([[1.0, 0.0], [1.0, 0.1], [0.0, 1.0]]), dim=-1)
        >>> loss = supervised_contrastive(rows, torch.tensor([0, 0, 1]), temperature=0.5)
        >>> round(float(loss), 4)
        0.1412
    """
    if rows.ndim != 2 or classes.shape != rows.shape[:1] or not temperature > 0:
        raise ValueError(
            "Expected rows (N, D), classes (N,) and a temperature above 0, but got "
            f"{tuple(rows.shape)}, {tuple(classes.shape)} and {temperature}."
        )
    with torch.autocast(rows.device.type, enabled=False):
        if rows.dtype not in (torch.float32, torch.float64):
            rows = rows.float()
        earlier, places = rows.new_zeros(0, rows.shape[1]), classes
        if queue is not None:
            earlier, places = queue[0].detach().to(rows), torch.cat([classes, queue[1].to(classes)])
        everything = torch.cat([rows, earlier])
        anchors = len(everything) if queue_anchors else len(rows)
        bins = places - NO_CLASS  # 0 for a row without a class
        size = int(bins.max()) + 1 if len(bins) else 1
        counts = torch.bincount(bins, minlength=size)
        sums = everything.new_zeros(size, rows.shape[1]).index_add(0, bins, everything)
        own = bins[:anchors]
        positives = (counts[own] - 1) * (own > 0)
        matched = positives > 0
        counted = torch.full_like(own, anchors) if mean_over_all else matched.sum().clamp(min=1)
        weight = matched.to(rows.dtype) / counted
        chosen = everything[:anchors]
        to_positives = (chosen * (sums[own] - chosen)).sum(1) / temperature / positives.clamp(min=1)
        total: Tensor = _WeightedLogSumExp.apply(rows, earlier, weight, temperature, chunk)  # type: ignore[no-untyped-call]
        return total - (weight * to_positives).sum()


class _WeightedLogSumExp(torch.autograd.Function):
    """``sum over i of w_i log sum over j != i of exp(<r_i, r_j> / temperature)``, with its gradient in the same pass.

    For ``p_ij``, the softmax of row i without its diagonal, the gradient of row k is
    ``(sum over j of w_k p_kj r_j + sum over i of w_i p_ik r_i) / temperature``.
    """

    @staticmethod
    def forward(
        ctx: FunctionCtx, rows: Tensor, earlier: Tensor, weight: Tensor, temperature: float, chunk: int
    ) -> Tensor:
        everything, count = torch.cat([rows, earlier]), len(rows)
        gradient, total = torch.zeros_like(rows), rows.new_zeros(())
        for start in range(0, len(weight), chunk):
            w = weight[start : start + chunk, None]
            anchors = everything[start : start + len(w)]
            similarity = (anchors / temperature) @ everything.T
            similarity.diagonal(start).fill_(-torch.inf)
            highest = similarity.amax(1, keepdim=True).clamp(min=torch.finfo(rows.dtype).min)
            share = similarity.sub_(highest).exp_()
            whole = share.sum(1, keepdim=True)
            whole = whole.clamp(min=torch.finfo(rows.dtype).tiny)  # 0 for the only row there is
            total += (w * (highest + whole.log())).sum()
            share *= w / (whole * temperature)
            gradient += share[:, :count].T @ anchors
            if start < count:
                gradient[start : start + len(w)] += share[: count - start] @ everything
        ctx.save_for_backward(gradient)
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, incoming: Tensor) -> tuple[Tensor, None, None, None, None]:
        (gradient,) = ctx.saved_tensors  # type: ignore[attr-defined]
        return incoming * gradient, None, None, None, None


class ContrastiveQueue(nn.Module):
    """A ring of the last rows of earlier batches, without their graph, for `supervised_contrastive`.

    Args:
        size: most rows Q that it holds; 0 for no queue.
        width: D of a row.
        noisy_start: begin full of noise that matches nothing, as in the code released with CARAT (Gaussian, of unit
            length over the rows of each column, so a row has length about sqrt(D / Q)); by default it begins empty.

    Raises:
        ValueError: if a size is negative.

    Example:
        >>> queue = ContrastiveQueue(3, 2)
        >>> queue.push(torch.ones(2, 2), torch.tensor([0, 1]))
        >>> queue.push(torch.zeros(2, 2), torch.tensor([2, 3]))
        >>> queue.content()[1]
        tensor([3, 1, 2])
    """

    rows: Tensor
    classes: Tensor
    position: Tensor
    filled: Tensor

    def __init__(self, size: int, width: int, *, noisy_start: bool = False) -> None:
        super().__init__()
        if size < 0 or width < 1:
            raise ValueError(f"Expected a queue of 0 or more rows of width 1 or more, but got {size} and {width}.")
        start = F.normalize(torch.randn(size, width), dim=0) if noisy_start else torch.zeros(size, width)
        self.register_buffer("rows", start)
        self.register_buffer("classes", torch.full((size,), NO_CLASS))
        self.register_buffer("position", torch.tensor(0))
        self.register_buffer("filled", torch.tensor(size if noisy_start else 0))

    def content(self) -> tuple[Tensor, Tensor]:
        """The rows (at most Q, D) that are in it, and their classes."""
        filled = int(self.filled)
        return self.rows[:filled].clone(), self.classes[:filled].clone()

    @torch.no_grad()
    def push(self, rows: Tensor, classes: Tensor) -> None:
        """Put in rows (N, D) with their classes (N,), in place of the oldest; of more than Q the last Q."""
        size = len(self.rows)
        if size == 0:
            return
        surplus = max(len(rows) - size, 0)
        places = (self.position + torch.arange(surplus, len(rows), device=self.rows.device)) % size
        self.rows[places] = rows[surplus:].detach().to(self.rows)
        self.classes[places] = classes[surplus:].to(self.classes)
        self.position.copy_((self.position + len(rows)) % size)
        self.filled.copy_((self.filled + len(rows)).clamp(max=size))
