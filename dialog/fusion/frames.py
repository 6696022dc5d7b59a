"""From the frames of an utterance to one vector, or to one vector per emotion.

Frames are (N, T, D) with a mask (N, T), True for real frames. An utterance without any frame gives finite numbers, which
the caller drops.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from dialog.batch import DialogueBatch
from m2fnet.errors import UsageError

EPSILON = 1e-12  # of the layer norms, as in BERT


def frames_of(batch: DialogueBatch, name: str) -> tuple[Tensor, Tensor]:
    """The stream ``name`` as frames (B, U, T, D) and their mask (B, U, T); a vector is a sequence of one frame.

    Raises:
        UsageError: if the mask is of another length than the frames.

    Example:
        >>> batch = {"inputs": {"text": torch.ones(1, 2, 4)}, "present": {"text": torch.tensor([[True, False]])}}
        >>> frames, mask = frames_of({**batch, "frames": {}}, "text")
        >>> frames.shape, mask.tolist()
        (torch.Size([1, 2, 1, 4]), [[[True], [False]]])
    """
    values, present = batch["inputs"][name], batch["present"][name]
    mask = batch["frames"].get(name)
    if mask is None:
        return values[..., None, :], present[..., None]
    if values.shape[:-1] != mask.shape:
        raise UsageError(
            f"The stream {name} has frames of shape {tuple(values.shape)}, but its mask has {tuple(mask.shape)}; "
            "expected (B, U, T, D) and (B, U, T)."
        )
    return values, mask & present[..., None]


def some_frame(mask: Tensor) -> Tensor:
    """The mask (..., T), True throughout where it is False throughout: a softmax over nothing is NaN.

    Example:
        >>> some_frame(torch.tensor([[True, False], [False, False]])).tolist()
        [[True, False], [True, True]]
    """
    return mask | ~mask.any(-1, keepdim=True)


class SoftAlignment(nn.Module):
    """Frames (N, T, D) -> (N, K, D): output place k is ``sum over t of p_tk x_t``.

    ``p_t`` is the softmax over K + 1 places, the first of which means "nowhere", of the output of a two-layer LSTM with
    K + 1 units; arXiv:2312.10201, its "CTC module" (chengzju/CARAT@3210086), which has no CTC loss. Nothing makes the
    shares of a place sum to one.

    Args:
        width: D.
        length: K.
    """

    def __init__(self, width: int, length: int) -> None:
        super().__init__()
        self.length = length
        self.lstm = nn.LSTM(width, length + 1, num_layers=2, batch_first=True)

    def forward(self, frames: Tensor, mask: Tensor) -> Tensor:
        """Aligned frames; those that ``mask`` (N, T) excludes have no share."""
        places = self.lstm(frames)[0].softmax(-1)[..., 1:] * mask[..., None]
        return places.transpose(1, 2) @ frames


class FrameEncoder(nn.Module):
    """Frames (N, T, D) -> (N, T, width) by a BERT-style transformer over the frames, trained from scratch.

    ``x = LN(frame)``; ``h_0 = LN(x W + b + position_t)``; each layer ``h <- LN(h + Attention(h))``, then
    ``h <- LN(h + W_2 gelu(W_1 h))``; arXiv:2312.10201, uni-modal feature extraction.

    Args:
        inputs: D.
        width: of the hidden frames.
        layers: number of layers.
        heads: attention heads; must divide ``width``.
        feedforward: inner width of the layers.
        dropout: on the first hidden frames, the attention weights and the result of each block.
        positions: learned positions; frames beyond the last have its position.
        align_to: bring the frames softly to this number first, see `SoftAlignment`; None to keep them.
    """

    def __init__(
        self,
        inputs: int,
        width: int,
        layers: int,
        heads: int,
        feedforward: int,
        dropout: float,
        positions: int,
        align_to: int | None = None,
    ) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(inputs, eps=EPSILON)
        self.align = SoftAlignment(inputs, align_to) if align_to is not None else None
        self.project = nn.Linear(inputs, width)
        self.position = nn.Embedding(positions, width)
        self.input_norm = nn.LayerNorm(width, eps=EPSILON)
        self.dropout = nn.Dropout(dropout)
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(width, heads, feedforward, dropout, "gelu", EPSILON, batch_first=True)
            for _ in range(layers)
        )
        for layer in self.layers:
            layer.dropout = nn.Identity()  # BERT has none inside the feed-forward block
        for name, weight in self.named_parameters():
            if "norm" not in name and "align" not in name:
                nn.init.zeros_(weight) if name.endswith("bias") else nn.init.normal_(weight, std=0.02)

    def forward(self, frames: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Hidden frames (N, T, width) and their mask (N, T); after an alignment T is its length."""
        x = self.norm(frames)
        if self.align is not None:
            x = self.align(x, mask)
            mask = mask.any(1, keepdim=True).expand(-1, self.align.length)
        places = torch.arange(x.shape[1], device=x.device).clamp(max=self.position.num_embeddings - 1)
        h: Tensor = self.dropout(self.input_norm(self.project(x) + self.position(places)))
        padding = ~some_frame(mask)
        for layer in self.layers:
            h = layer(h, src_key_padding_mask=padding)
        return h, mask


class LabelAttention(nn.Module):
    """Frames (N, T, D) -> one vector per emotion, ``U = softmax over T of (H W^T) times H``, (N, C, D).

    arXiv:2312.10201, label-specific features; frames that the mask excludes get no weight. With one label it is plain
    attention pooling.

    Args:
        width: D.
        labels: C.

    Example:
        >>> LabelAttention(4, 3)(torch.ones(2, 5, 4), torch.ones(2, 5, dtype=torch.bool)).shape
        torch.Size([2, 3, 4])
    """

    def __init__(self, width: int, labels: int) -> None:
        super().__init__()
        self.score = nn.Linear(width, labels, bias=False)
        nn.init.xavier_uniform_(self.score.weight)

    def weights(self, frames: Tensor, mask: Tensor) -> Tensor:
        """How much each emotion reads of each frame, (N, C, T); a row sums to one."""
        scores: Tensor = self.score(frames).transpose(-1, -2)
        return scores.masked_fill(~some_frame(mask)[..., None, :], -torch.inf).softmax(-1)

    def forward(self, frames: Tensor, mask: Tensor) -> Tensor:
        """The vectors; ``frames`` and ``mask`` may have any dimensions in front of T."""
        return self.weights(frames, mask).to(frames.dtype) @ frames


class FramePooling(nn.Module):
    """Every stream of sequences as one vector per utterance, for networks that read vectors.

    Args:
        widths: stream of sequences -> its width D.
        pooling: ``mean`` over the real frames, or ``attention`` over them, which is learned.

    Example:
        >>> FramePooling({"text": 4}, "mean").pooled("text", torch.ones(1, 2, 3, 4), torch.ones(1, 2, 3).bool()).shape
        torch.Size([1, 2, 4])
    """

    def __init__(self, widths: Mapping[str, int], pooling: str) -> None:
        super().__init__()
        self.attention = nn.ModuleDict(
            {name: LabelAttention(width, 1) for name, width in widths.items()} if pooling == "attention" else {}
        )

    def forward(self, batch: DialogueBatch) -> DialogueBatch:
        """The batch with every stream as vectors (B, U, D)."""
        inputs = {
            name: self.pooled(name, *frames_of(batch, name)) if name in batch["frames"] else values
            for name, values in batch["inputs"].items()
        }
        return {**batch, "inputs": inputs, "frames": {}}

    def pooled(self, name: str, frames: Tensor, mask: Tensor) -> Tensor:
        """Vectors (B, U, D) of frames (B, U, T, D); zero where an utterance has none."""
        if name in self.attention:
            vectors: Tensor = self.attention[name](frames, mask)[..., 0, :]
            return vectors * mask.any(-1, keepdim=True)
        real = mask[..., None]
        return (frames * real).sum(-2) / real.sum(-2).clamp(min=1)
