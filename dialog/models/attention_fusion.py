"""MERBench's attention fusion: an encoder per stream, and a sum of the streams weighted for each utterance.

Lian et al., "MERBench: A Unified Evaluation Benchmark for Multimodal Emotion Recognition", arXiv:2401.03429, section
4.2; code zeroQiaoba/MERTools@89120b7, MERBench/toolkit/models/attention.py. With more than three streams it is the
``attention_topn`` of MER2024 in the same repository.
"""

from typing import Literal

import torch
from torch import Tensor, nn

from dialog.batch import DialogueBatch, Output
from dialog.fusion.streams import InputNorm, input_normalisation, vector_widths
from m2fnet.problems import Problem

FusionWeights = Literal["plain", "softmax", "masked_softmax"]


class AttentionFusion(nn.Module):
    """Scores (B, U, C) of each utterance without its context.

    ``e_m = mlp_m(drop(x_m))`` per stream, ``a = W_o mlp([e_1; ...; e_M]) + b_o``, ``f = sum over m of a_m e_m``, and
    linear layers from f to the emotions and to ratings such as valence. An mlp has three layers, each with ReLU. The
    hidden vector of an absent stream is zero.

    Args:
        problem: emotions, streams and ratings.
        hidden: width of all layers.
        dropout: on the embeddings; there is none elsewhere, as in the authors' code.
        weights: of the streams: ``plain`` scores as they come, which may be negative (the authors' code), their
            ``softmax``, in which an absent stream takes a share of the weight for a zero vector, or ``masked_softmax``,
            in which it takes none.
        input_norm: scale of the embeddings, see `dialog.fusion.streams.input_normalisation`.

    Raises:
        ValueError: if ``hidden`` is below 1, or a stream has sequences.

    Example:
        >>> from m2fnet.problems import make_problem
        >>> from m2fnet.records import LabelSet
        >>> network = AttentionFusion(make_problem(LabelSet("two", ("joy", "anger")), {"text": 4, "audio": 3}))
        >>> here = torch.ones(1, 2, dtype=torch.bool)
        >>> inputs = {"text": torch.randn(1, 2, 4), "audio": torch.randn(1, 2, 3)}
        >>> network({"inputs": inputs, "present": {"text": here, "audio": here}}).scores.shape
        torch.Size([1, 2, 2])
    """

    def __init__(
        self,
        problem: Problem,
        *,
        hidden: int = 128,
        dropout: float = 0.3,
        weights: FusionWeights = "plain",
        input_norm: InputNorm | bool = True,
    ) -> None:
        super().__init__()
        if hidden < 1:
            raise ValueError(f"Expected `hidden` to be at least 1, but got {hidden}.")
        self.weights = weights
        widths = vector_widths(problem)
        self.norms = nn.ModuleDict(
            {name: input_normalisation(name, width, input_norm) for name, width in widths.items()}
        )
        self.dropout = nn.Dropout(dropout)
        self.encoders = nn.ModuleDict({name: three_layers(width, hidden) for name, width in widths.items()})
        self.attention = three_layers(len(widths) * hidden, hidden)
        self.weigh = nn.Linear(hidden, len(widths))
        self.classify = nn.Linear(hidden, len(problem.classes))
        self.rate = nn.Linear(hidden, len(problem.ratings)) if problem.ratings else None

    def forward(self, batch: DialogueBatch) -> Output:
        """Scores (B, U, C), and ratings (B, U, R) where the problem has some."""
        hidden = self.hidden(batch)
        present = torch.stack([batch["present"][name] for name in self.encoders], -1)
        fused = (self.stream_weights(hidden, present)[..., None] * hidden).sum(-2)
        return Output(self.classify(fused), ratings=None if self.rate is None else self.rate(fused))

    def hidden(self, batch: DialogueBatch) -> Tensor:
        """Hidden vectors (B, U, M, H) of the streams, zero where one is absent."""
        encoded = [
            encoder(self.dropout(self.norms[name](batch["inputs"][name]))) * batch["present"][name][..., None]
            for name, encoder in self.encoders.items()
        ]
        return torch.stack(encoded, -2)

    def stream_weights(self, hidden: Tensor, present: Tensor) -> Tensor:
        """Weights (B, U, M) of hidden vectors (B, U, M, H); with ``masked_softmax`` zero where not ``present``."""
        scores: Tensor = self.weigh(self.attention(hidden.flatten(-2)))
        if self.weights == "plain":
            return scores
        if self.weights == "softmax":
            return scores.softmax(-1)
        # not minus infinity: an utterance without any stream would have no gradient
        return scores.masked_fill(~present, torch.finfo(scores.dtype).min).softmax(-1) * present


def three_layers(width: int, hidden: int) -> nn.Sequential:
    """Three linear layers from ``width`` to ``hidden``, each with ReLU."""
    layers: list[nn.Module] = []
    for inner in (width, hidden, hidden):
        layers += [nn.Linear(inner, hidden), nn.ReLU()]
    return nn.Sequential(*layers)
