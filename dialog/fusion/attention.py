"""Attention over the utterances of a dialogue: absent ones contribute nothing."""

import torch
from torch import Tensor, nn


def allowed_pairs(present: Tensor, *, causal: bool, window: int | None = None) -> Tensor:
    """Which utterance may read which, (B, U, U) as bool, from the presence of the keys (B, U).

    Entry ``[b, t, s]`` says whether utterance ``t`` may read utterance ``s``; with ``causal`` none reads a later one,
    and with ``window`` none reads another that is more than this number of utterances away.

    Example:
        >>> allowed_pairs(torch.tensor([[True, False, True]]), causal=True)[0].int()
        tensor([[1, 0, 0],
                [1, 0, 0],
                [1, 0, 1]], dtype=torch.int32)
    """
    allowed = present[:, None, :].expand(-1, present.shape[1], -1)
    if window is not None:
        place = torch.arange(present.shape[1], device=present.device)
        allowed = allowed & ((place - place[:, None]).abs() <= window)
    return allowed.tril() if causal else allowed


def blocked_for_heads(allowed: Tensor, heads: int) -> Tensor:
    """The mask (B * heads, U, U) that `torch.nn.MultiheadAttention` expects: True where attention is forbidden.

    An utterance that may read nothing reads itself, because a softmax over nothing is NaN; the caller drops the
    result for such an utterance.
    """
    itself = torch.eye(allowed.shape[1], dtype=torch.bool, device=allowed.device)
    reads_nothing = ~allowed.any(-1, keepdim=True)
    return ~(allowed | (reads_nothing & itself)).repeat_interleave(heads, dim=0)


def attention_mask(allowed: Tensor, heads: int, bias: Tensor | None = None) -> Tensor:
    """The mask (B * H, U, U) of `torch.nn.MultiheadAttention` for ``allowed`` (B, U, U).

    Without ``bias`` (B, H, U, U) it is that of `blocked_for_heads`; with it the numbers that are added to the logits,
    minus infinity where attention is forbidden.

    Example:
        >>> attention_mask(torch.tensor([[[True, False], [True, True]]]), 1, torch.tensor([[[[0.0, 1.0], [1.0, 0.0]]]]))
        tensor([[[0., -inf],
                 [1., 0.]]])
    """
    blocked = blocked_for_heads(allowed, heads)
    return blocked if bias is None else bias.flatten(0, 1).masked_fill(blocked, -torch.inf)


class CrossAttention(nn.Module):
    """Multi-head attention (B, U, D_q) of queries over other streams' keys (B, U, D_k) and values (B, U, D_v).

    A query that may read nothing gets zeros.
    """

    def __init__(self, width: int, key_width: int, value_width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(
            width, heads, dropout=dropout, kdim=key_width, vdim=value_width, batch_first=True
        )

    def forward(self, query: Tensor, key: Tensor, value: Tensor, allowed: Tensor, bias: Tensor | None = None) -> Tensor:
        """Attended values (B, U, D_q) under ``allowed`` (B, U, U), with ``bias`` (B, H, U, U) added to the logits."""
        mask = attention_mask(allowed, self.attention.num_heads, bias)
        # with a bias, torch's fused attention cannot be written as ONNX; the one that also returns weights can
        attended, _ = self.attention(query, key, value, attn_mask=mask, need_weights=bias is not None)
        return torch.where(allowed.any(-1, keepdim=True), attended, 0.0)

    def weights(self, query: Tensor, key: Tensor, value: Tensor, allowed: Tensor, bias: Tensor | None = None) -> Tensor:
        """How much each utterance reads of each other, (B, U, U), for the arguments of `forward`: mean over the heads.

        A row sums to one, or is zero where the utterance may read nothing.
        """
        mask = attention_mask(allowed, self.attention.num_heads, bias)
        _, weights = self.attention(query, key, value, attn_mask=mask)  # torch averages over the heads
        assert weights is not None, "asked for by need_weights, whose default is True"
        return torch.where(allowed, weights, 0.0)
