"""Attention over the utterances of a dialogue: absent ones contribute nothing."""

import torch
from torch import Tensor, nn


def allowed_pairs(present: Tensor, *, causal: bool) -> Tensor:
    """Which utterance may read which, (B, U, U) as bool, from the presence of the keys (B, U).

    Entry ``[b, t, s]`` says whether utterance ``t`` may read utterance ``s``; with ``causal`` none reads a later one.

    Example:
        >>> allowed_pairs(torch.tensor([[True, False, True]]), causal=True)[0].int()
        tensor([[1, 0, 0],
                [1, 0, 0],
                [1, 0, 1]], dtype=torch.int32)
    """
    allowed = present[:, None, :].expand(-1, present.shape[1], -1)
    return allowed.tril() if causal else allowed


def blocked_for_heads(allowed: Tensor, heads: int) -> Tensor:
    """The mask (B * heads, U, U) that `torch.nn.MultiheadAttention` expects: True where attention is forbidden.

    An utterance that may read nothing reads itself, because a softmax over nothing is NaN; the caller drops the
    result for such an utterance.
    """
    itself = torch.eye(allowed.shape[1], dtype=torch.bool, device=allowed.device)
    reads_nothing = ~allowed.any(-1, keepdim=True)
    return ~(allowed | (reads_nothing & itself)).repeat_interleave(heads, dim=0)


class CrossAttention(nn.Module):
    """Multi-head attention (B, U, D_q) of queries over other streams' keys (B, U, D_k) and values (B, U, D_v).

    A query that may read nothing gets zeros.
    """

    def __init__(self, width: int, key_width: int, value_width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(
            width, heads, dropout=dropout, kdim=key_width, vdim=value_width, batch_first=True
        )

    def forward(self, query: Tensor, key: Tensor, value: Tensor, allowed: Tensor) -> Tensor:
        """Attended values (B, U, D_q) under ``allowed`` (B, U, U)."""
        blocked = blocked_for_heads(allowed, self.attention.num_heads)
        attended, _ = self.attention(query, key, value, attn_mask=blocked, need_weights=False)
        return torch.where(allowed.any(-1, keepdim=True), attended, 0.0)

    def weights(self, query: Tensor, key: Tensor, value: Tensor, allowed: Tensor) -> Tensor:
        """How much each utterance reads of each other, (B, U, U), for the arguments of `forward`: mean over the heads.

        A row sums to one, or is zero where the utterance may read nothing.
        """
        blocked = blocked_for_heads(allowed, self.attention.num_heads)
        _, weights = self.attention(query, key, value, attn_mask=blocked)  # torch averages over the heads
        assert weights is not None, "asked for by need_weights, whose default is True"
        return torch.where(allowed, weights, 0.0)
