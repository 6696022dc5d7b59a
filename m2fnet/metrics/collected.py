"""Predictions that are collected over the batches of an epoch, and over processes, until a threshold is chosen."""

import torch
from torch import Tensor
from torchmetrics import Metric


class LabelledProbabilities(Metric):
    """Probabilities and label sets (N, C) of all labelled utterances that it was updated with.

    Args:
        ignored: the target that fills the row of an unlabelled utterance.

    Example:
        >>> collected = LabelledProbabilities()
        >>> collected.update(torch.zeros(2, 2), torch.tensor([[1, 0], [-100, -100]]))
        >>> collected.compute()
        (tensor([[0.5000, 0.5000]]), tensor([[1, 0]]))
    """

    full_state_update = False
    logits: list[Tensor]
    targets: list[Tensor]

    def __init__(self, ignored: int = -100) -> None:
        super().__init__()
        self.ignored = ignored
        self.add_state("logits", [], dist_reduce_fx="cat")
        self.add_state("targets", [], dist_reduce_fx="cat")

    def update(self, logits: Tensor, targets: Tensor) -> None:
        """Add a batch of logits and targets (N, C)."""
        labelled = targets[:, 0] != self.ignored
        self.logits.append(logits[labelled].float())
        self.targets.append(targets[labelled])

    def compute(self) -> tuple[Tensor, Tensor]:
        """Probabilities and targets (N, C)."""
        logits, targets = (torch.cat(list(part)) if len(part) else None for part in (self.logits, self.targets))
        if logits is None or targets is None:
            raise ValueError("Expected at least one batch before `compute`.")
        return logits.sigmoid(), targets
