"""DAG-ERC: a directed acyclic graph of the dialogue, where an utterance hears those since its speaker last spoke.

Shen et al., "Directed Acyclic Graph Network for Conversational Emotion Recognition", ACL 2021, arXiv:2105.12907,
section 3. Authors' code: shenwzh3/DAG-ERC@b1d813f model.py, `DAGERC_fushion`, and dataset.py, `get_adj_v1`.

No utterance hears a later one, so the network is causal and has no setting for it.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dialog.batch import DialogueBatch, Output
from dialog.fusion.concatenation import EarlyFusion
from dialog.fusion.pairs import masked_softmax, same_speaker
from dialog.fusion.recurrence import gru_update
from dialog.fusion.streams import InputNorm
from m2fnet.problems import Problem


def predecessors(speaker: Tensor, omega: int) -> Tensor:
    """Whether utterance ``t`` hears utterance ``s``, (B, U, U) as bool, for the speakers (B, U).

    It hears the last ``omega`` earlier utterances of its speaker and everything between the first of these and itself
    (section 3.2, Algorithm 1).

    Example:
        >>> predecessors(torch.tensor([[0, 1, 0, 1]]), omega=1)[0].int()
        tensor([[0, 0, 0, 0],
                [1, 0, 0, 0],
                [1, 1, 0, 0],
                [0, 1, 1, 0]], dtype=torch.int32)
    """
    earlier = torch.ones(speaker.shape[1], speaker.shape[1], dtype=torch.bool, device=speaker.device).tril(-1)
    own = same_speaker(speaker) & earlier
    own_from_here_on = own.long().flip(-1).cumsum(-1).flip(-1)
    return earlier & (own_from_here_on - own.long() < omega)


class DirectedLayer(nn.Module):
    """Hidden states (B, U, D) of one layer, from the first utterance to the last (equations 4 to 8).

        M_i  = sum_j a_ij W_{same speaker or not} H_j        over the predecessors j of utterance i
        H_i  = GRU_H(h_i, M_i) + GRU_M(M_i, h_i)             h is the layer below; (input, state)

    In ``a_ij = softmax_j(w [H_j; h_i])`` the share of ``h_i`` is the same for all ``j`` and cancels, so ``w`` has only
    the part for ``H_j``.

    Args:
        width: D.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.attention = nn.Linear(width, 1, bias=False)
        self.relations = nn.Linear(width, 2 * width, bias=False)  # of the same speaker, of another
        self.node_cell = nn.GRUCell(width, width)
        self.context_cell = nn.GRUCell(width, width)

    def forward(self, below: Tensor, heard: Tensor, same: Tensor) -> Tensor:
        """The states above ``below``; ``heard`` and ``same`` are (B, U, U)."""
        width, node_cell, context_cell = below.shape[-1], self.node_cell, self.context_cell
        node_inputs = F.linear(below, node_cell.weight_ih, node_cell.bias_ih).unbind(1)
        context_states = F.linear(below, context_cell.weight_hh, context_cell.bias_hh).unbind(1)
        of_message = torch.cat([node_cell.weight_hh, context_cell.weight_ih])
        of_message_bias = torch.cat([node_cell.bias_hh, context_cell.bias_ih])
        of_state = torch.cat([self.attention.weight, self.relations.weight])  # a score and two messages per utterance
        place = torch.arange(below.shape[1], device=below.device)
        farthest = int(torch.where(heard, place[:, None] - place, 0).amax())  # utterances back, in the whole batch

        sent: list[Tensor] = []
        states: list[Tensor] = []
        for number, h in enumerate(below.unbind(1)):
            message = torch.zeros_like(h)
            first = max(0, number - farthest)
            if first < number:
                heard_from = torch.stack(sent[first:], dim=1)
                scores, by_same, by_other = torch.split(heard_from, [1, width, width], dim=-1)
                weights = masked_softmax(scores[..., 0], heard[:, number, first:number])[..., None]
                values = torch.where(same[:, number, first:number, None], by_same, by_other)
                message = (weights * values).sum(1)
            to_node, to_context = F.linear(message, of_message, of_message_bias).chunk(2, dim=-1)
            state = gru_update(node_inputs[number], to_node, message)
            state = state + gru_update(to_context, context_states[number], h)
            states.append(state)
            sent.append(F.linear(state, of_state))
        return torch.stack(states, dim=1)


class DagERC(nn.Module):
    """Scores (B, U, C) from the states of all layers of a directed acyclic graph over the dialogue.

    Args:
        problem: emotions and streams.
        width: of the states.
        layers: of the graph.
        omega: how many earlier utterances of its speaker an utterance hears, with all in between.
        mlp_layers: hidden layers of the classifier.
        dropout: before the last layer.
        input_norm: scale of the embeddings, see `dialog.fusion.streams.input_normalisation`.

    Raises:
        ValueError: if a size is below 1, or a stream has sequences.
    """

    def __init__(
        self,
        problem: Problem,
        *,
        width: int = 300,
        layers: int = 2,
        omega: int = 1,
        mlp_layers: int = 2,
        dropout: float = 0.1,
        input_norm: InputNorm | bool = True,
    ) -> None:
        super().__init__()
        if min(width, layers, omega, mlp_layers) < 1:
            raise ValueError(
                "Expected `width`, `layers`, `omega` and `mlp_layers` to be at least 1, but got "
                f"{width}, {layers}, {omega} and {mlp_layers}."
            )
        self.omega = omega
        self.inputs = EarlyFusion(problem, normalise=input_norm)
        self.project = nn.Linear(self.inputs.width, width)
        self.layers = nn.ModuleList(DirectedLayer(width) for _ in range(layers))
        hidden = [nn.Linear((layers + 1) * width + self.inputs.width, width), nn.ReLU()]
        for _ in range(mlp_layers - 1):
            hidden += [nn.Linear(width, width), nn.ReLU()]
        self.classify = nn.Sequential(*hidden, nn.Dropout(dropout), nn.Linear(width, len(problem.label_set.classes)))

    def forward(self, batch: DialogueBatch) -> Output:
        """Scores (B, U, C)."""
        inputs = self.inputs(batch)
        same = same_speaker(batch["speaker"])
        heard = predecessors(batch["speaker"], self.omega) & batch["valid"][:, :, None]
        states = [torch.relu(self.project(inputs))]
        for layer in self.layers:
            states.append(layer(states[-1], heard, same))
        return Output(self.classify(torch.cat([*states, inputs], dim=-1)))
