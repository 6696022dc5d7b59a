"""Prompts that let a frozen image encoder see a clip: further keys and values in every layer of CLIP's vision tower.

Wasim et al., "Vita-CLIP: Video and text adaptive CLIP via Multimodal Prompting", CVPR 2023, arXiv:2304.03307, section
3.2; authors' code TalalWasim/Vita-CLIP@c858299. There the prompts are appended to the tokens of a layer and cut off
again behind it. Their outputs are read by nobody, so here they are keys and values only, with the same result.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import CLIPModel

from extractors.layers.frozen import Frozen

Projection = Literal["identity", "frozen", "trained"]


@dataclass(frozen=True)
class Prompts:
    """What each layer of the vision tower gets in addition to the tokens of a frame.

    Attributes:
        time: a learned vector per frame of the clip is added to all tokens of that frame before the first layer. Only
            by these the order of the frames is seen. They begin at 0.
        global_tokens: learned tokens that are the same for every frame and clip; 0 for none.
        local_tokens: a token per frame of the clip, which every frame sees: its projected class token and a learned
            vector.
        summary_token: a token that holds the frame's own projected class token after attention over those of the clip.
            It has 4 D^2 weights per layer: 28 million in a ViT-B, too many for a few thousand clips.
        projection: of the class tokens: ``identity`` takes them as they are, ``frozen`` projects them by a random
            matrix that never trains (what the authors' code does, where no rule of training names it), ``trained``
            learns D^2 weights per layer, which begin as the identity.
        gate: each layer learns how much it heeds its prompts, from not at all at the beginning, so that the untrained
            network is CLIP (as zero-init attention, arXiv:2303.16199, section 3.2); without a gate, as the authors'
            code, random prompts disturb CLIP until they are trained.
    """

    time: bool = True
    global_tokens: int = 8
    local_tokens: bool = True
    summary_token: bool = False
    projection: Projection = "identity"
    gate: bool = True

    def __post_init__(self) -> None:
        if self.global_tokens < 0:
            raise ValueError(f"Expected prompts.global_tokens to be at least 0, but got {self.global_tokens}.")


class LayerPrompts(nn.Module):
    """The prompts of one layer.

    Args:
        width: D, of the tokens.
        frames: rows of the table of local tokens.
        heads: attention heads of the summary token.
        spread: learned tokens begin evenly between minus this and this.
        prompts: which there are.
    """

    def __init__(self, width: int, frames: int, heads: int, spread: float, prompts: Prompts) -> None:
        super().__init__()

        def table(rows: int) -> nn.Parameter | None:
            return nn.Parameter(torch.empty(rows, width).uniform_(-spread, spread)) if rows else None

        self.global_tokens = table(prompts.global_tokens)
        self.local_tokens = table(frames if prompts.local_tokens else 0)
        reads_frames = prompts.local_tokens or prompts.summary_token
        self.projection: nn.Module = nn.Identity()
        if reads_frames and prompts.projection != "identity":
            self.projection = nn.Linear(width, width)
            if prompts.projection == "trained":
                nn.init.eye_(self.projection.weight)
                nn.init.zeros_(self.projection.bias)
            else:
                self.projection.requires_grad_(False)
        self.summary = nn.MultiheadAttention(width, heads, batch_first=True) if prompts.summary_token else None
        self.summary_norm = nn.LayerNorm(width) if prompts.summary_token else None
        has_any = reads_frames or prompts.global_tokens
        self.gate = nn.Parameter(torch.zeros(())) if prompts.gate and has_any else None

    def forward(self, classes: Tensor) -> list[Tensor]:
        """The prompts for the class tokens (B, T, D) of the frames: each (B or 1, T or 1, P, D)."""
        found: list[Tensor] = []
        frames = self.projection(classes) if self.local_tokens is not None or self.summary is not None else classes
        if self.local_tokens is not None:
            found.append((resampled(self.local_tokens, frames.shape[1]) + frames)[:, None])
        if self.global_tokens is not None:
            found.append(self.global_tokens[None, None])
        if self.summary is not None and self.summary_norm is not None:
            normed = self.summary_norm(frames)
            found.append((frames + self.summary(normed, normed, normed, need_weights=False)[0])[:, :, None])
        return found


class PromptedVision(nn.Module):
    """Features (B, E) of clips of T frames (B, T, 3, S, S): the mean over CLIP's feature of each prompted frame.

    Tables of the time and of local tokens have a row per frame. For a clip of another length they are resampled along
    the time (`resampled`), never cut or folded.

    Args:
        clip: CLIP, frozen.
        frames: rows of the tables, the usual number of frames of a clip.
        prompts: which there are.

    Raises:
        ValueError: if ``frames`` is below 1.
    """

    def __init__(self, clip: Frozen[CLIPModel], frames: int, prompts: Prompts) -> None:
        super().__init__()
        if frames < 1:
            raise ValueError(f"Expected frames to be at least 1, but got {frames}.")
        settings: Any = clip.network.config.vision_config
        width = settings.hidden_size
        spread = math.sqrt(6 / (3 * settings.patch_size**2 + width))  # of the authors' code
        self.clip = clip
        self.time = nn.Parameter(torch.zeros(frames, width)) if prompts.time else None
        self.layers = nn.ModuleList(
            LayerPrompts(width, frames, settings.num_attention_heads, spread, prompts)
            for _ in range(settings.num_hidden_layers)
        )

    def forward(self, frames: Tensor) -> Tensor:
        """Un-normalised features (B, E) of normalised pictures (B, T, 3, S, S)."""
        clips, count = frames.shape[:2]
        vision: Any = self.clip.network.vision_model
        x = vision.embeddings(frames.flatten(0, 1)).unflatten(0, (clips, count))  # (B, T, N, D)
        if self.time is not None:
            x = x + resampled(self.time, count)[:, None]
        x = vision.pre_layrnorm(x)
        for layer, prompts in zip(vision.encoder.layers, self.layers, strict=True):
            own = [layer.layer_norm1(tokens) for tokens in prompts(x[:, :, 0])]
            gate = cast(LayerPrompts, prompts).gate
            x = x + prompted_attention(layer.self_attn, layer.layer_norm1(x), own, gate)
            x = x + layer.mlp(layer.layer_norm2(x))
        features: Tensor = self.clip.network.visual_projection(vision.post_layernorm(x[:, :, 0]))
        return features.mean(1)

    def plain(self, frames: Tensor) -> Tensor:
        """The same of CLIP without any prompt: the mean of its features of the frames."""
        features: Any = self.clip.network.get_image_features(frames.flatten(0, 1))
        each: Tensor = features.pooler_output
        return each.view(*frames.shape[:2], -1).mean(1)


def prompted_attention(attention: nn.Module, x: Tensor, prompts: Sequence[Tensor], gate: Tensor | None) -> Tensor:
    """What CLIP's ``attention`` gives for tokens (B, T, N, D) that also see ``prompts``, each (B or 1, T or 1, P, D).

    With ``gate`` g, a number, it is (1 - g) of what it gives without prompts and g of what it gives with them.
    """
    clip: Any = attention
    frames = x.shape[:2]

    def heads(tokens: Tensor) -> Tensor:  # (B T, heads, N, D / heads)
        everywhere = tokens.expand(*frames, *tokens.shape[2:]).flatten(0, 1)
        return everywhere.view(*everywhere.shape[:2], clip.num_heads, -1).transpose(1, 2)

    query, key, value = heads(clip.q_proj(x)), heads(clip.k_proj(x)), heads(clip.v_proj(x))
    if not prompts:
        seen = F.scaled_dot_product_attention(query, key, value)
    else:
        keys = torch.cat([key, *(heads(clip.k_proj(tokens)) for tokens in prompts)], 2)
        values = torch.cat([value, *(heads(clip.v_proj(tokens)) for tokens in prompts)], 2)
        seen = F.scaled_dot_product_attention(query, keys, values)
        if gate is not None:
            seen = torch.lerp(F.scaled_dot_product_attention(query, key, value), seen, gate.to(seen.dtype))
    joined: Tensor = clip.out_proj(seen.transpose(1, 2).flatten(2))
    return joined.view(*frames, *joined.shape[1:])


def resampled(table: Tensor, frames: int) -> Tensor:
    """A table (T, D) of one row per frame, for another number of frames: interpolated linearly along the time.

    Each row is the middle of an equal part of the clip, as the frames of ``place: spread`` are.

    Example:
        >>> table = torch.tensor([[0.0], [1.0], [2.0], [3.0]])
        >>> resampled(table, 4) is table, resampled(table, 2).flatten().tolist(), resampled(table, 1).tolist()
        (True, [0.5, 2.5], [[1.5]])
    """
    if frames == len(table):
        return table
    return F.interpolate(table.T[None], size=frames, mode="linear", align_corners=False)[0].T
