"""The smallest network that reads sequences: the mean over the frames of every stream, then a linear classifier."""

import torch
from torch import Tensor, nn

from dialog.batch import DialogueBatch, Output
from m2fnet.problems import Problem


class MeanOverFrames(nn.Module):
    """Scores (B, U, C), and while training the term ``size``: a penalty on the weights.

    Args:
        problem: emotions and streams, of vectors or of sequences.
        penalty: weight of the term; 0 for none.
    """

    def __init__(self, problem: Problem, penalty: float = 0.0) -> None:
        super().__init__()
        self.streams, self.penalty = tuple(problem.streams), penalty
        self.classify = nn.Linear(sum(problem.widths.values()), len(problem.classes))

    def forward(self, batch: DialogueBatch) -> Output:
        """Scores and term."""
        parts = [self._vector(name, batch) * batch["present"][name][..., None] for name in self.streams]
        scores = self.classify(torch.cat(parts, -1))
        if not (self.penalty and self.training):
            return Output(scores)
        return Output(scores, {"size": self.penalty * self.classify.weight.square().sum()})

    def _vector(self, name: str, batch: DialogueBatch) -> Tensor:
        values = batch["inputs"][name]
        if name not in batch["frames"]:
            return values
        real = batch["frames"][name][..., None]  # (B, U, T, 1)
        return (values * real).sum(2) / real.sum(2).clamp(min=1)


class PlainScores(nn.Module):
    """A network that returns its scores without an `Output`."""

    def __init__(self, problem: Problem) -> None:
        super().__init__()
        self.inside = MeanOverFrames(problem)

    def forward(self, batch: DialogueBatch) -> Tensor:
        """Scores (B, U, C)."""
        return self.inside(batch).scores
