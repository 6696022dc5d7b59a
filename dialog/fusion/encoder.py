"""Transformer encoders over the utterances of one stream."""

import math
from typing import Literal

import torch
from torch import Tensor, nn

from dialog.fusion.attention import allowed_pairs, blocked_for_heads

Norm = Literal["post", "pre"]
Position = Literal["none", "sinusoidal"]


class SkipEncoder(nn.Module):
    """A stack of transformer encoders with a skip around each: ``h <- h + Tr(h)`` (arXiv:2206.02187, eq 5).

    Args:
        width: D of the stream.
        layers: number N of encoders.
        heads: attention heads; must divide ``width``.
        feedforward: width of the inner feed-forward layer.
        dropout: inside the encoders.
        norm: layer norm after each block (``post``, as in the first transformer) or before it (``pre``).
    """

    def __init__(self, width: int, layers: int, heads: int, feedforward: int, dropout: float, norm: Norm) -> None:
        super().__init__()
        self.heads = heads
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(
                width, heads, feedforward, dropout, activation="gelu", batch_first=True, norm_first=norm == "pre"
            )
            for _ in range(layers)
        )

    def forward(self, h: Tensor, present: Tensor, *, causal: bool) -> Tensor:
        """Encoded stream (B, U, D), zero where ``present`` (B, U) is False."""
        blocked = blocked_for_heads(allowed_pairs(present, causal=causal), self.heads)
        for layer in self.layers:
            h = h + layer(h, src_mask=blocked)
        return h * present[..., None]


def sinusoidal_positions(length: int, width: int, like: Tensor) -> Tensor:
    """Position encoding (U, D) of the first ``length`` places (arXiv:1706.03762, section 3.5).

    Args:
        length: U.
        width: D.
        like: a tensor of the wanted device and number type.

    Example:
        >>> sinusoidal_positions(2, 4, torch.zeros(1)).shape
        torch.Size([2, 4])
    """
    place = torch.arange(length, device=like.device, dtype=torch.float32)[:, None]
    rate = torch.exp(torch.arange(0, width, 2, device=like.device) * (-math.log(10_000.0) / width))
    encoding = torch.zeros(length, width, device=like.device)
    encoding[:, 0::2] = torch.sin(place * rate)
    encoding[:, 1::2] = torch.cos(place * rate)[:, : width // 2]
    return encoding.to(like.dtype)
