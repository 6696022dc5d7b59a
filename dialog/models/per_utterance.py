"""Baselines that see one utterance at a time: a linear classifier, or one hidden layer."""

from torch import nn

from dialog.batch import DialogueBatch, Output
from dialog.fusion.concatenation import EarlyFusion
from dialog.fusion.frames import Pooling
from dialog.fusion.streams import InputNorm
from m2fnet.problems import Problem


class PerUtterance(nn.Module):
    """Scores (B, U, C) of each utterance without its context.

    Args:
        problem: emotions and streams.
        hidden: width of a hidden layer; None for a linear classifier.
        dropout: on the embeddings, and on the hidden layer.
        input_norm: scale of the embeddings, see `dialog.fusion.streams.input_normalisation`.
        speaker_width: width of an embedding of the speaker; 0 for none.
        pooling: of the frames of streams of sequences, ``mean`` or ``attention``; None to read vectors only.

    Raises:
        ValueError: if ``hidden`` is below 1, or a stream has sequences and ``pooling`` is None.
    """

    def __init__(
        self,
        problem: Problem,
        *,
        hidden: int | None = None,
        dropout: float = 0.4,
        input_norm: InputNorm | bool = True,
        speaker_width: int = 0,
        pooling: Pooling | None = None,
    ) -> None:
        super().__init__()
        if hidden is not None and hidden < 1:
            raise ValueError(f"Expected `hidden` to be at least 1, or None for a linear classifier, but got {hidden}.")
        self.inputs = EarlyFusion(problem, normalise=input_norm, speaker_width=speaker_width, pooling=pooling)
        width, classes = self.inputs.width, len(problem.label_set.classes)
        layers: list[nn.Module] = [nn.Dropout(dropout)]
        if hidden is not None:
            layers += [nn.Linear(width, hidden), nn.ReLU(), nn.Dropout(dropout)]
        self.classify = nn.Sequential(*layers, nn.Linear(hidden or width, classes))

    def forward(self, batch: DialogueBatch) -> Output:
        """Scores (B, U, C)."""
        return Output(self.classify(self.inputs(batch)))
