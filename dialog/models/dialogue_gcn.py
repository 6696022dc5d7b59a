"""DialogueGCN: a graph of the dialogue, whose edges know whether the speaker is the same and which came first.

Ghosal et al., "DialogueGCN: A Graph Convolutional Neural Network for Emotion Recognition in Conversation", EMNLP 2019,
arXiv:1908.11540, section 3. Authors' code: declare-lab/conv-emotion, DialogueGCN/model.py.

A graph over the utterances is a set of masks (B, U, U), so no graph library is needed. There a relation is a pair of
speakers and a direction; here it is whether both speakers are the same, and the direction. For two speakers that is
what the authors' relations distinguish up to which of the two is which, and it holds for any number of them.
"""

from typing import Literal

import torch
from torch import Tensor, nn

from dialog.batch import DialogueBatch, Output
from dialog.fusion.attention import allowed_pairs
from dialog.fusion.concatenation import EarlyFusion
from dialog.fusion.pairs import masked_softmax, same_speaker
from dialog.fusion.recurrence import run_recurrent
from dialog.fusion.streams import InputNorm
from m2fnet.problems import Problem

RELATIONS = 4  # the same speaker or another, before or after
_CELLS = {"lstm": nn.LSTM, "gru": nn.GRU}


class RelationalGraph(nn.Module):
    """Node features (B, U, D_g) after two graph convolutions over a window (section 3.3.2, equations 2 to 4).

    Args:
        inputs: width of the nodes.
        width: D_g.
        past: how many utterances before an utterance are its neighbours.
        future: how many after it.
    """

    def __init__(self, inputs: int, width: int, past: int, future: int) -> None:
        super().__init__()
        self.past, self.future = past, future
        self.edges = nn.Linear(inputs, inputs, bias=False)
        self.relations = nn.Linear(inputs, RELATIONS * width, bias=False)
        self.itself = nn.Linear(inputs, width, bias=False)
        self.second = nn.Linear(width, width, bias=False)
        self.second_itself = nn.Linear(width, width, bias=False)

    def forward(self, nodes: Tensor, speaker: Tensor, valid: Tensor) -> Tensor:
        """The features for nodes (B, U, D)."""
        place = torch.arange(nodes.shape[1], device=nodes.device)
        offset = place - place[:, None]  # of the neighbour, in utterances
        neighbours = valid[:, None, :] & (offset >= -self.past) & (offset <= self.future)
        weights = masked_softmax(self.edges(nodes) @ nodes.transpose(1, 2), neighbours)  # eq 2
        itself = weights.diagonal(dim1=1, dim2=2)[..., None]
        same, is_later = same_speaker(speaker), offset > 0
        relations = torch.stack([same & ~is_later, same & is_later, ~same & ~is_later, ~same & is_later], dim=1)
        relations = relations & neighbours[:, None]  # (B, R, U, U)
        shares = weights[:, None] * relations / relations.sum(-1, keepdim=True).clamp(min=1)
        messages = self.relations(nodes).unflatten(-1, (RELATIONS, -1))  # (B, U, R, D_g)
        first = torch.relu(torch.einsum("brts,bsrd->btd", shares, messages) + itself * self.itself(nodes))  # eq 3
        summed = neighbours.to(first.dtype) @ self.second(first)
        return torch.relu(summed + itself * self.second_itself(first))  # eq 4


class DialogueGCN(nn.Module):
    """Scores (B, U, C) from a recurrent network over the dialogue and a graph of its utterances.

    Args:
        problem: emotions and streams.
        cell: ``gru`` as in the paper, or ``lstm`` as in the authors' code.
        width: of the recurrent state, per direction.
        layers: number of recurrent layers.
        graph_width: of the graph's node features.
        hidden: width before the classifier.
        past: neighbours of an utterance before it.
        future: neighbours after it; none with ``causal``.
        dropout: between recurrent layers and before the classifier.
        input_norm: scale of the embeddings, see `dialog.fusion.streams.input_normalisation`.
        causal: no utterance sees a later one.

    Raises:
        ValueError: if a size is too small, or a stream has sequences.
    """

    def __init__(
        self,
        problem: Problem,
        *,
        cell: Literal["gru", "lstm"] = "gru",
        width: int = 100,
        layers: int = 2,
        graph_width: int = 100,
        hidden: int = 100,
        past: int = 10,
        future: int = 10,
        dropout: float = 0.5,
        input_norm: InputNorm | bool = True,
        causal: bool = False,
    ) -> None:
        super().__init__()
        if min(width, layers, graph_width, hidden) < 1 or min(past, future) < 0:
            raise ValueError(
                "Expected `width`, `layers`, `graph_width` and `hidden` to be at least 1 and `past` and `future` to be "
                f"at least 0, but got {width}, {layers}, {graph_width}, {hidden}, {past} and {future}."
            )
        self.causal = causal
        self.inputs = EarlyFusion(problem, normalise=input_norm)
        self.recurrent = _CELLS[cell](
            self.inputs.width,
            width,
            layers,
            batch_first=True,
            dropout=dropout if layers > 1 else 0.0,
            bidirectional=not causal,
        )
        nodes = width * (1 if causal else 2)
        self.graph = RelationalGraph(nodes, graph_width, past, 0 if causal else future)
        self.attention = nn.Linear(nodes + graph_width, nodes + graph_width, bias=False)
        self.classify = nn.Sequential(
            nn.Linear(nodes + graph_width, hidden),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(hidden, len(problem.label_set.classes)),
        )

    def forward(self, batch: DialogueBatch) -> Output:
        """Scores (B, U, C)."""
        valid = batch["valid"]
        nodes = run_recurrent(self.recurrent, self.inputs(batch), valid)
        h = torch.cat([nodes, self.graph(nodes, batch["speaker"], valid)], dim=-1)
        similarity = self.attention(h) @ h.transpose(1, 2)
        h = masked_softmax(similarity, allowed_pairs(valid, causal=self.causal)) @ h  # eq 5, 6
        return Output(self.classify(h))
