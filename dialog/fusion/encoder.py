"""Transformer encoders over the utterances of one stream."""

import math
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dialog.fusion.attention import allowed_pairs, attention_mask

Norm = Literal["post", "pre"]
Position = Literal["none", "sinusoidal", "rotary"]
Skip = Literal["outer", "scaled", "none"]


class SkipEncoder(nn.Module):
    """A stack of transformer encoders, with a skip around each as printed: ``h <- h + Tr(h)`` (arXiv:2206.02187, eq 5).

    Each encoder has residuals already, so the printed skip doubles the stream in each: after five of them with
    ``pre`` norm it is 32 times as large, and what an encoder adds no longer matters. ``scaled`` halves the sum,
    ``h <- (h + Tr(h)) / 2``, which keeps the scale; ``none`` has only the residuals of the encoders, ``h <- Tr(h)``.

    Args:
        width: D of the stream.
        layers: number N of encoders.
        heads: attention heads; must divide ``width``.
        feedforward: width of the inner feed-forward layer.
        dropout: inside the encoders.
        norm: layer norm after each block (``post``, as in the first transformer) or before it (``pre``).
        skip: see above; ``outer`` is as printed.
        final_norm: layer norm on the stream after the last encoder, which the paper does not have.
        biased: whether `forward` gets a bias.
        rotary: rotate queries and keys by their place, see `RelativeEncoderLayer`.
    """

    def __init__(
        self,
        width: int,
        layers: int,
        heads: int,
        feedforward: int,
        dropout: float,
        norm: Norm,
        *,
        skip: Skip = "outer",
        final_norm: bool = False,
        biased: bool = False,
        rotary: bool = False,
    ) -> None:
        super().__init__()
        self.heads, self.skip = heads, skip
        self.layers = nn.ModuleList(
            encoder_layer(width, heads, feedforward, dropout, norm, "gelu", biased=biased, rotary=rotary)
            for _ in range(layers)
        )
        self.norm = nn.LayerNorm(width) if final_norm and layers else nn.Identity()

    def forward(
        self, h: Tensor, present: Tensor, *, causal: bool, window: int | None = None, bias: Tensor | None = None
    ) -> Tensor:
        """Encoded stream (B, U, D), zero where ``present`` (B, U) is False; ``bias`` (B, H, U, U) is of attention."""
        mask = attention_mask(allowed_pairs(present, causal=causal, window=window), self.heads, bias)
        for layer in self.layers:
            encoded = layer(h, src_mask=mask)
            h = encoded if self.skip == "none" else h + encoded
            if self.skip == "scaled":
                h = h / 2
        normed: Tensor = self.norm(h)
        return normed * present[..., None]


class RelativeEncoderLayer(nn.TransformerEncoderLayer):
    """A transformer encoder layer whose attention may have a bias and rotated queries and keys.

    `torch.nn.TransformerEncoderLayer` has the same weights and the same result without either, but in evaluation mode
    it takes a path that reads only where its mask is zero, which loses the bias (torch 2.11).

    Args:
        rotary: rotate queries and keys by their place (RoFormer, arXiv:2104.09864), so that the logits of attention
            depend on how far apart two utterances are; the width of a head must be even.
        arguments: as of `torch.nn.TransformerEncoderLayer`.
    """

    def __init__(self, *arguments: Any, rotary: bool, **named: Any) -> None:  # noqa: ANN401
        super().__init__(*arguments, **named)
        self.rotary = rotary

    def forward(
        self,
        src: Tensor,
        src_mask: Tensor | None = None,
        src_key_padding_mask: Tensor | None = None,
        is_causal: bool = False,
    ) -> Tensor:
        """The layer's output (B, U, D); ``src_mask`` is that of `attention_mask`."""
        if self.norm_first:
            h = src + self._attend(self.norm1(src), src_mask)
            return h + self._ff_block(self.norm2(h))
        h = self.norm1(src + self._attend(src, src_mask))
        normed: Tensor = self.norm2(h + self._ff_block(h))
        return normed

    def _attend(self, h: Tensor, mask: Tensor | None) -> Tensor:
        attention, (dialogues, utterances, width) = self.self_attn, h.shape
        projected = F.linear(h, attention.in_proj_weight, attention.in_proj_bias)
        query, key, value = projected.view(dialogues, utterances, 3, attention.num_heads, -1).permute(2, 0, 3, 1, 4)
        if mask is not None:
            mask = mask.view(dialogues, -1, utterances, utterances)
            mask = ~mask if mask.dtype == torch.bool else mask  # here True allows
        if self.rotary:
            query, key = rotated(query), rotated(key)
        dropout = attention.dropout if self.training else 0.0
        attended = F.scaled_dot_product_attention(query, key, value, mask, dropout)
        mixed: Tensor = self.dropout1(
            attention.out_proj(attended.transpose(1, 2).reshape(dialogues, utterances, width))
        )
        return mixed


def encoder_layer(
    width: int,
    heads: int,
    feedforward: int,
    dropout: float,
    norm: Norm,
    activation: Literal["gelu", "relu"],
    *,
    biased: bool,
    rotary: bool,
) -> nn.TransformerEncoderLayer:
    """A transformer encoder layer: that of torch, or if its attention is ``biased`` or ``rotary`` our own.

    Example:
        >>> type(encoder_layer(8, 2, 16, 0.1, "pre", "gelu", biased=False, rotary=True)).__name__
        'RelativeEncoderLayer'
    """
    kind = partial(RelativeEncoderLayer, rotary=rotary) if biased or rotary else nn.TransformerEncoderLayer
    return kind(width, heads, feedforward, dropout, activation, batch_first=True, norm_first=norm == "pre")


def rotated(heads: Tensor) -> Tensor:
    """Vectors (B, H, U, D) of queries or keys, rotated by their place (arXiv:2104.09864, equation 34).

    Example:
        >>> query = torch.ones(1, 1, 2, 2)
        >>> rotated(query)[0, 0, 1]  # by one radian
        tensor([-0.3012,  1.3818])
    """
    length, width = heads.shape[-2:]
    rate = torch.exp(torch.arange(0, width, 2, device=heads.device) * (-math.log(10_000.0) / width))
    angle = torch.arange(length, device=heads.device, dtype=torch.float32)[:, None] * rate
    cos, sin = angle.cos().to(heads.dtype), angle.sin().to(heads.dtype)
    even, odd = heads[..., 0::2], heads[..., 1::2]
    return torch.stack([even * cos - odd * sin, even * sin + odd * cos], dim=-1).flatten(-2)


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
