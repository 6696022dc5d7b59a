"""Recurrent networks over the utterances of padded dialogues."""

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence


def run_recurrent(network: nn.LSTM | nn.GRU, inputs: Tensor, valid: Tensor) -> Tensor:
    """States (B, U, D) of a recurrent ``network`` over dialogues (B, U, D_in), in both directions if it has them.

    Args:
        network: with ``batch_first``.
        inputs: of the utterances.
        valid: (B, U), False for padding, which the backward direction starts behind.

    Example:
        >>> network = nn.GRU(4, 3, batch_first=True, bidirectional=True)
        >>> run_recurrent(network, torch.zeros(1, 5, 4), torch.tensor([[True, True, True, False, False]])).shape
        torch.Size([1, 5, 6])
    """
    packed = pack_padded_sequence(inputs, valid.sum(1).cpu(), batch_first=True, enforce_sorted=False)
    states, _ = pad_packed_sequence(network(packed)[0], batch_first=True, total_length=valid.shape[1])
    return states


def reversed_dialogues(values: Tensor, valid: Tensor) -> Tensor:
    """Values (B, U, ...) with the utterances of each dialogue in reverse order; padding stays at the end.

    Example:
        >>> reversed_dialogues(torch.tensor([[1, 2, 3, 0]]), torch.tensor([[True, True, True, False]]))
        tensor([[3, 2, 1, 0]])
    """
    place = torch.arange(valid.shape[1], device=valid.device)
    order = torch.where(valid, valid.sum(1, keepdim=True) - 1 - place, place)
    return values[torch.arange(len(values), device=values.device)[:, None], order]


def gru_update(from_input: Tensor, from_hidden: Tensor, hidden: Tensor) -> Tensor:
    """The next state (B, D) of a GRU, from what its two linear layers gave.

    With `torch.nn.GRUCell`, ``from_input`` is ``weight_ih @ input + bias_ih`` and ``from_hidden`` likewise, (B, 3 D).
    Networks that loop over the utterances compute whichever of them they know beforehand for all utterances together.
    """
    reset, update, new = from_input.chunk(3, dim=-1)
    reset_hidden, update_hidden, new_hidden = from_hidden.chunk(3, dim=-1)
    candidate = torch.tanh(new + torch.sigmoid(reset + reset_hidden) * new_hidden)
    return torch.lerp(candidate, hidden, torch.sigmoid(update + update_hidden))
