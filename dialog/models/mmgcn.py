"""MMGCN: one graph over all streams, a node per utterance and stream.

Hu et al., "MMGCN: Multimodal Fusion via Deep Graph Convolution Network for Emotion Recognition in Conversation", ACL
2021, arXiv:2107.06779, section 3. Authors' code: hujingwen6666/MMGCN@85732d9 model_mm.py, `MM_GCN` and
`create_big_adj`; the graph convolution is GCNII, Chen et al., arXiv:2007.02133, equation 5.

The graph joins all utterances of a dialogue within a stream, and the streams of one utterance. So its adjacency is a
mask (B, S, U, U) and another (B, S, S, U), which need no graph library and no matrix over all S U nodes.
"""

import math
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dialog.batch import DialogueBatch, Output
from dialog.fusion.attention import allowed_pairs
from dialog.fusion.projection import ProjectedStreams
from dialog.fusion.recurrence import run_recurrent
from dialog.fusion.relations import SpeakerEmbedding
from dialog.fusion.streams import InputNorm
from m2fnet.problems import Problem

_BELOW_ONE = 0.99999  # times the cosine, whose arc cosine has an infinite slope at 1 (model_mm.py, `create_big_adj`)


class StreamGraph(nn.Module):
    """Node features (B, S, U, D) after deep graph convolutions over utterances and streams.

    Two joined nodes weigh ``1 - arccos(cos(x, y)) / pi`` (equation 4), normalised by the degrees of both. A layer is
    ``h' = ReLU(((1 - alpha) P h + alpha h_0) ((1 - beta) I + beta W))`` with ``beta = log(decay / layer + 1)``.

    Args:
        inputs: width of the nodes.
        width: D.
        layers: number of convolutions.
        alpha: share of the first features in every layer.
        decay: see above.
        dropout: before every layer.
    """

    def __init__(self, inputs: int, width: int, layers: int, alpha: float, decay: float, dropout: float) -> None:
        super().__init__()
        self.alpha, self.decay = alpha, decay
        self.project = nn.Linear(inputs, width)
        self.layers = nn.ModuleList(nn.Linear(width, width, bias=False) for _ in range(layers))
        self.dropout = nn.Dropout(dropout)

    def forward(self, nodes: Tensor, present: Tensor, *, causal: bool) -> Tensor:
        """The features for nodes (B, S, U, D_in), of which ``present`` (B, S, U) are there."""
        unit = F.normalize(nodes, dim=-1)
        joined = present[..., None] & allowed_pairs(present.flatten(0, 1), causal=causal).view(*present.shape, -1)
        along = angular(unit @ unit.transpose(-1, -2)) * joined  # (B, S, U, U)
        itself = torch.eye(present.shape[1], dtype=torch.bool, device=nodes.device)[:, :, None]
        both = present[:, :, None] & present[:, None] & ~itself
        across = angular(torch.einsum("bsud,brud->bsru", unit, unit)) * both  # (B, S, S, U)
        scale = (along.sum(-1) + across.sum(2)).clamp(min=1e-6).rsqrt()  # a present node weighs almost 1 for itself
        along = along * scale[..., :, None] * scale[..., None, :]
        across = across * scale[:, :, None] * scale[:, None]

        first = h = torch.relu(self.project(self.dropout(nodes)))
        for number, layer in enumerate(self.layers, start=1):
            beta = math.log(self.decay / number + 1)
            h = self.dropout(h)
            gathered = along @ h + torch.einsum("bsru,brud->bsud", across, h)
            mixed = (1 - self.alpha) * gathered + self.alpha * first
            h = torch.relu(beta * layer(mixed) + (1 - beta) * mixed)
        return h


def angular(cosine: Tensor) -> Tensor:
    """Similarity from 0, opposite, to 1, the same direction, of vectors with this cosine.

    Example:
        >>> angular(torch.tensor([-1.0, 0.0, 1.0])).round(decimals=2)
        tensor([0.0000, 0.5000, 1.0000])
    """
    return 1 - torch.arccos(cosine * _BELOW_ONE) / math.pi


class MMGCN(nn.Module):
    """Scores (B, U, C) from a graph over the utterances and the streams of a dialogue.

    Args:
        problem: emotions and streams.
        width: every stream is projected to it; text goes through an LSTM over the dialogue too.
        recurrent_layers: of that LSTM.
        graph_width: of the node features.
        layers: graph convolutions.
        alpha: share of the first features in every convolution.
        decay: of the weights in deeper convolutions.
        speaker: add an embedding of the speaker to every stream.
        dropout: in the LSTM, in the graph and before the classifier.
        input_norm: scale of the embeddings, see `dialog.fusion.streams.input_normalisation`.
        causal: no utterance sees a later one.

    Raises:
        ValueError: if a size does not fit, or a stream has sequences.
    """

    def __init__(
        self,
        problem: Problem,
        *,
        width: int = 200,
        recurrent_layers: int = 2,
        graph_width: int = 100,
        layers: int = 4,
        alpha: float = 0.1,
        decay: float = 0.5,
        speaker: bool = True,
        dropout: float = 0.4,
        input_norm: InputNorm | bool = True,
        causal: bool = False,
    ) -> None:
        super().__init__()
        if min(width, recurrent_layers, graph_width, layers) < 1 or width % 2:
            raise ValueError(
                "Expected `width`, `recurrent_layers`, `graph_width` and `layers` to be at least 1 and `width` to be "
                f"even, but got {width}, {recurrent_layers}, {graph_width} and {layers}."
            )
        self.causal = causal
        self.project = ProjectedStreams(problem, width, normalise=input_norm)
        self.recurrent = nn.ModuleDict(
            {
                name: nn.LSTM(
                    width,
                    width if causal else width // 2,
                    recurrent_layers,
                    batch_first=True,
                    dropout=dropout if recurrent_layers > 1 else 0.0,
                    bidirectional=not causal,
                )
                for name, modality in problem.modalities.items()
                if modality == "text"
            }
        )
        self.speakers = SpeakerEmbedding(width) if speaker else None
        self.graph = StreamGraph(width, graph_width, layers, alpha, decay, dropout)
        streams = len(problem.streams)
        self.classify = nn.Sequential(
            nn.Dropout(dropout),
            nn.ReLU(),
            nn.Linear(streams * (width + graph_width), len(problem.label_set.classes)),
        )

    def forward(self, batch: DialogueBatch) -> Output:
        """Scores (B, U, C)."""
        streams = self.project(batch)
        for name, recurrent in self.recurrent.items():
            streams[name] = run_recurrent(cast(nn.LSTM, recurrent), streams[name], batch["valid"])
        present = torch.stack([batch["present"][name] for name in streams], dim=1)  # (B, S, U)
        nodes = torch.stack(list(streams.values()), dim=1)
        if self.speakers is not None:
            nodes = nodes + self.speakers(batch["speaker"])[:, None]
        nodes = nodes * present[..., None]
        features = self.graph(nodes, present, causal=self.causal) * present[..., None]
        joined = torch.cat([nodes, features], dim=-1)  # (B, S, U, width + graph_width)
        return Output(self.classify(joined.transpose(1, 2).flatten(2)))
