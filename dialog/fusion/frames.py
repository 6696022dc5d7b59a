"""From the frames of an utterance to one vector, or to one vector per emotion.

Frames are (N, T, D) with a mask (N, T), True for real frames. An utterance without any frame gives finite numbers,
which the caller drops.
"""

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx, once_differentiable

from dialog.batch import DialogueBatch
from dialog.fusion.streams import vector_widths
from m2fnet.errors import UsageError
from m2fnet.problems import Problem

Pooling = Literal["mean", "attention"]

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


def valid_rows(valid: Tensor) -> Tensor:
    """Numbers (N,) of the utterances of a batch that are no padding, by ``valid`` (B, U); all while exporting.

    Example:
        >>> valid_rows(torch.tensor([[True, False], [True, True]]))
        tensor([0, 2, 3])
    """
    if torch.compiler.is_exporting():
        return torch.arange(valid.numel(), device=valid.device)
    return valid.flatten().nonzero()[:, 0]


def in_dialogues(values: Tensor, rows: Tensor, valid: Tensor) -> Tensor:
    """Values (N, ...) of the utterances ``rows`` in their places, (B, U, ...), zero elsewhere.

    Example:
        >>> in_dialogues(torch.ones(3), torch.tensor([0, 2, 3]), torch.tensor([[True, False], [True, True]]))
        tensor([[1., 0.],
                [1., 1.]])
    """
    if torch.compiler.is_exporting():
        values = torch.where(valid.reshape(-1, *(1 for _ in values.shape[1:])), values, 0.0)
    else:
        values = values.new_zeros(valid.numel(), *values.shape[1:]).index_copy(0, rows, values)
    return values.reshape(*valid.shape, *values.shape[1:])


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
        aligned: Tensor = places.transpose(1, 2) @ frames
        return aligned


class Dropout(nn.Dropout):
    """`torch.nn.Dropout`, which on a CPU draws one byte per number, so that it takes a sixth of the time.

    There the rate is rounded to 1/256, and what remains is scaled by the rounded rate.

    Example:
        >>> float(Dropout(0.5)(torch.ones(10_000)).mean().round())
        1.0
    """

    def forward(self, input: Tensor) -> Tensor:
        """``input`` with zeros at random places while training."""
        dropped = round(256 * self.p)
        if not self.training or input.device.type != "cpu" or not 0 < dropped < 256:
            return super().forward(input)
        drawn = torch.empty(-(-input.numel() // 8), dtype=torch.int64).random_(-(2**63), None)
        remains = (drawn.view(torch.uint8)[: input.numel()] >= dropped).view(input.shape)
        kept: Tensor = _Kept.apply(input, remains, 256 / (256 - dropped))  # type: ignore[no-untyped-call]
        return kept


class _Kept(torch.autograd.Function):
    """``scale * input`` where ``remains``, else 0. A product of float and bool takes five times as long as this."""

    @staticmethod
    def forward(ctx: FunctionCtx, input: Tensor, remains: Tensor, scale: float) -> Tensor:
        ctx.save_for_backward(remains)
        ctx.scale = scale  # type: ignore[attr-defined]
        return remains.to(input.dtype).mul_(scale).mul_(input)

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, incoming: Tensor) -> tuple[Tensor, None, None]:
        (remains,) = ctx.saved_tensors  # type: ignore[attr-defined]
        return remains.to(incoming.dtype).mul_(ctx.scale).mul_(incoming), None, None  # type: ignore[attr-defined]


class _ComputedAgain(torch.autograd.Function):
    """``function(*given)``, computed again for the backward pass, with gradients for ``parameters`` only.

    `torch.utils.checkpoint` without reentrance keeps the nodes of the graph between both passes. Allocated among the
    tensors of a part, they keep glibc's allocator from using the memory of these for the next part: at CMU-MOSI's size
    a step then takes 400 MiB more. With reentrance it needs a graph of the inputs, and fails in
    DistributedDataParallel where a weight is used in several parts.
    """

    @staticmethod
    def forward(
        ctx: FunctionCtx, function: Callable[..., Tensor], given: tuple[Tensor, ...], *parameters: Tensor
    ) -> Tensor:
        ctx.function, ctx.given, ctx.parameters = function, given, parameters  # type: ignore[attr-defined]
        ctx.random = torch.get_rng_state()  # type: ignore[attr-defined]
        # weights that autocast keeps in half precision from here would have no gradient elsewhere
        ctx.autocast = {  # type: ignore[attr-defined]
            "device_type": "cpu",
            "enabled": torch.is_autocast_enabled("cpu"),
            "dtype": torch.get_autocast_dtype("cpu"),
            "cache_enabled": False,
        }
        with torch.autocast(**ctx.autocast):  # type: ignore[attr-defined]
            return function(*given)

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, incoming: Tensor) -> tuple[Tensor | None, ...]:
        later = torch.get_rng_state()
        torch.set_rng_state(ctx.random)  # type: ignore[attr-defined]
        with torch.enable_grad(), torch.autocast(**ctx.autocast):  # type: ignore[attr-defined]
            found = ctx.function(*ctx.given)  # type: ignore[attr-defined]
        torch.set_rng_state(later)
        wanted = ctx.parameters  # type: ignore[attr-defined]
        return None, None, *torch.autograd.grad(found, wanted, incoming)


class EncoderLayer(nn.Module):
    """``h <- LN(h + W softmax(q k^T / sqrt(d)) v)``, then ``h <- LN(h + W_2 gelu(W_1 h))``: BERT's layer, (N, T, D).

    Args:
        width: D.
        heads: attention heads; must divide D.
        feedforward: width inside the second block.
        dropout: of the results of both blocks.
        attention_dropout: of the attention weights. Above 0 they are all in memory, and a step takes longer.
    """

    def __init__(self, width: int, heads: int, feedforward: int, dropout: float, attention_dropout: float) -> None:
        super().__init__()
        self.heads, self.attention_dropout = heads, attention_dropout
        self.queries_keys_values = nn.Linear(width, 3 * width)
        self.output = nn.Linear(width, width)
        self.attention_norm = nn.LayerNorm(width, eps=EPSILON)
        self.feedforward = nn.Sequential(nn.Linear(width, feedforward), nn.GELU(), nn.Linear(feedforward, width))
        self.feedforward_norm = nn.LayerNorm(width, eps=EPSILON)
        self.dropout = Dropout(dropout)

    def forward(self, h: Tensor, allowed: Tensor | None) -> Tensor:
        """The next hidden frames; ``allowed`` (N, T) says which may be read, None all."""
        q, k, v = self.queries_keys_values(h).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        mask = None if allowed is None else allowed[:, None, None, :]
        rate = self.attention_dropout if self.training else 0.0
        read = nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=mask, dropout_p=rate)
        h = self.attention_norm(h + self.dropout(self.output(read.transpose(1, 2).flatten(2))))
        fed: Tensor = self.feedforward_norm(h + self.dropout(self.feedforward(h)))
        return fed


class FrameEncoder(nn.Module):
    """Frames (N, T, D) -> (N, T, width) by a BERT-style transformer over the frames, trained from scratch.

    ``x = LN(frame)``; ``h_0 = LN(x W + b + position_t)``; then layers, see `EncoderLayer`; arXiv:2312.10201, uni-modal
    feature extraction.

    Args:
        inputs: D.
        width: of the hidden frames.
        layers: number of layers.
        heads: attention heads; must divide ``width``.
        feedforward: inner width of the layers.
        dropout: on the first hidden frames and the result of each block.
        positions: learned positions; frames beyond the last have its position.
        align_to: bring the frames softly to this number first, see `SoftAlignment`; None to keep them.
        attention_dropout: of the attention weights.
        part: on a CPU train on so many utterances at a time and compute two thirds of these parts again for the
            backward pass, which takes less memory and more time; None for all together, as on a GPU.
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
        attention_dropout: float = 0.0,
        part: int | None = None,
    ) -> None:
        super().__init__()
        self.part = part
        self.norm = nn.LayerNorm(inputs, eps=EPSILON)
        self.align = SoftAlignment(inputs, align_to) if align_to is not None else None
        self.project = nn.Linear(inputs, width)
        self.position = nn.Embedding(positions, width)
        self.input_norm = nn.LayerNorm(width, eps=EPSILON)
        self.dropout = Dropout(dropout)
        self.layers = nn.ModuleList(
            EncoderLayer(width, heads, feedforward, dropout, attention_dropout) for _ in range(layers)
        )
        for name, weight in self.named_parameters():
            if "norm" not in name and "align" not in name:
                nn.init.zeros_(weight) if name.endswith("bias") else nn.init.normal_(weight, std=0.02)

    def forward(self, frames: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Hidden frames (N, T, width) and their mask (N, T); after an alignment T is its length."""
        after = mask if self.align is None else mask.any(1, keepdim=True).expand(-1, self.align.length)
        if self.part is None or not self.training or not torch.is_grad_enabled() or frames.device.type != "cpu":
            return self._encoded(frames, mask), after
        parts = list(zip(torch.split(frames, self.part), torch.split(mask, self.part), strict=True))
        parameters, again = tuple(self.parameters()), 2 * len(parts) // 3
        hidden = [_ComputedAgain.apply(self._encoded, part, *parameters) for part in parts[:again]]  # type: ignore[no-untyped-call]
        return torch.cat(hidden + [self._encoded(*part) for part in parts[again:]]), after

    def _encoded(self, frames: Tensor, mask: Tensor) -> Tensor:
        x = self.norm(frames)
        if self.align is not None:
            x = self.align(x, mask)
            mask = mask.any(1, keepdim=True).expand(-1, self.align.length)
        places = torch.arange(x.shape[1], device=x.device).clamp(max=self.position.num_embeddings - 1)
        h: Tensor = self.dropout(self.input_norm(self.project(x) + self.position(places)))
        # without a mask the attention is faster
        allowed = None if not torch.compiler.is_exporting() and bool(mask.all()) else some_frame(mask)
        for layer in self.layers:
            h = layer(h, allowed)
        return h


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
        problem: emotions and streams.
        pooling: ``mean`` over the real frames, or ``attention`` over them, which is learned; None for networks that
            are to read vectors only.

    Attributes:
        widths: stream -> width D.

    Raises:
        ValueError: if a stream has sequences and ``pooling`` is None.

    Example:
        >>> from m2fnet.problems import Stream, make_problem
        >>> from m2fnet.records import LabelSet
        >>> problem = make_problem(LabelSet("two", ("anger", "joy")), {"text": Stream("text", 4, is_sequence=True)})
        >>> real = torch.tensor([[[True, True, False]]])
        >>> inputs, present = {"text": torch.randn(1, 1, 3, 4)}, {"text": torch.tensor([[True]])}
        >>> pooled = FramePooling(problem, "mean")({"inputs": inputs, "frames": {"text": real}, "present": present})
        >>> pooled["inputs"]["text"].shape
        torch.Size([1, 1, 4])
    """

    def __init__(self, problem: Problem, pooling: Pooling | None) -> None:
        super().__init__()
        self.widths = vector_widths(problem) if pooling is None else problem.widths
        self.attention = nn.ModuleDict(
            {name: LabelAttention(of.width, 1) for name, of in problem.streams.items() if of.is_sequence}
            if pooling == "attention"
            else {}
        )

    def forward(self, batch: DialogueBatch) -> DialogueBatch:
        """The batch with every stream as vectors (B, U, D); zero where an utterance has no frame."""
        if not batch.get("frames"):
            return batch
        inputs = dict(batch["inputs"])
        for name in batch["frames"].keys() & self.widths.keys():
            frames, mask = frames_of(batch, name)
            if name in self.attention:
                inputs[name] = self.attention[name](frames, mask)[..., 0, :] * mask.any(-1, keepdim=True)
            else:
                real = mask[..., None]
                inputs[name] = (frames * real).sum(-2) / real.sum(-2).clamp(min=1)
        return {**batch, "inputs": inputs, "frames": {}}
