"""From the hidden states of an encoder to one vector per utterance: layers combined, frames pooled."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, Literal

import torch
from torch import Tensor, nn

from extractors.layers.hidden_states import AUTO, Layers, blocks_of, layer_numbers

Combine = Literal["average", "concatenate", "learned"]
Pooling = Literal["mean", "first", "last", "mean_std", "attention", "frames"]
_LEAST_VARIANCE = 1e-10  # below, the square root has no gradient to speak of


class Readout(nn.Module):
    """Vectors (B, F), or sequences (T, F), from hidden states of several layers.

    The frames (tokens, steps of sound, pictures) of all utterances follow each other without padding: (N, D) per layer,
    with lengths (B,). So an embedding cannot depend on the utterances around it.

    Args:
        layers: which; ``auto`` until `choose` has settled it.
        combine: several layers are their ``average``, ``concatenate``-d, or a sum with ``learned`` weights, softmax of
            one number per layer times a scale (ELMo, arXiv:1802.05365, eq 1).
        pooling: over the frames: ``mean``, ``first``, ``last``, mean and standard deviation (``mean_std``),
            ``attention`` with one learned query (softmax of a linear score per frame), or ``frames``: no pooling.
        depth: number of blocks of the encoder.
        width: D.

    Example:
        >>> readout = Readout([0, 1], "average", "mean_std", depth=2, width=1)
        >>> states = {0: torch.tensor([[1.0], [3.0], [5.0]]), 1: torch.tensor([[1.0], [3.0], [7.0]])}
        >>> readout(states, torch.tensor([2, 1])).round(decimals=3)
        tensor([[2., 1.],
                [6., 0.]])

    Raises:
        ValueError: for layers that the encoder does not have, or settings that exclude each other.
    """

    def __init__(self, layers: Layers, combine: Combine, pooling: Pooling, *, depth: int, width: int) -> None:
        super().__init__()
        self.numbers = layer_numbers(layers, depth)
        self.is_open = layers == AUTO
        self.combine, self.pooling, self.layer_width = combine, pooling, width
        if self.is_open and (combine == "learned" or pooling in ("attention", "frames")):
            raise ValueError(
                f"layers: auto is chosen by a probe of pooled vectors; expected combine: average and pooling of mean, "
                f"first, last or mean_std, but got {combine} and {pooling}."
            )
        if combine == "learned":
            if len(self.numbers) < 2:
                raise ValueError(f"combine: learned weighs several layers, but layers is {layers!r}.")
            self.layer_weights = nn.Parameter(torch.zeros(len(self.numbers)))
            self.layer_scale = nn.Parameter(torch.ones(()))
        self.query = nn.Linear(self._combined_width, 1, bias=False) if pooling == "attention" else None

    @classmethod
    def of(cls, encoder: Any, layers: Layers, combine: Combine, pooling: Pooling) -> "Readout":  # noqa: ANN401
        """The readout of an ``encoder`` with all its blocks."""
        return cls(layers, combine, pooling, depth=len(blocks_of(encoder)), width=int(encoder.config.hidden_size))

    @property
    def _combined_width(self) -> int:
        several = len(self.numbers) if self.combine == "concatenate" and not self.is_open else 1
        return self.layer_width * several

    @property
    def width(self) -> int:
        """Length F of the vectors."""
        return self._combined_width * (2 if self.pooling == "mean_std" else 1)

    def choose(self, number: int) -> None:
        """From now on read only the layer of this ``number``."""
        self.numbers, self.is_open = [number], False

    def __call__(self, states: Mapping[int, Tensor], lengths: Tensor) -> Tensor | list[Tensor]:
        """What `forward` gives, typed."""
        result: Tensor | list[Tensor] = super().__call__(states, lengths)
        return result

    def forward(self, states: Mapping[int, Tensor], lengths: Tensor) -> Tensor | list[Tensor]:
        """Vectors (B, F), or for ``frames`` one (T, F) per utterance, from states (N, D) by layer and lengths (B,)."""
        parts = [states[number].float() for number in self.numbers]
        if self.combine == "concatenate":
            frames = torch.cat(parts, 1)
        elif self.combine == "learned":
            weights = self.layer_scale * self.layer_weights.softmax(0)
            frames = torch.einsum("l,lnd->nd", weights, torch.stack(parts))
        else:
            frames = torch.stack(parts).mean(0) if len(parts) > 1 else parts[0]
        if self.pooling == "frames":
            return list(torch.split(frames, lengths.tolist()))
        return pooled(frames, lengths, self.pooling, self.query)

    def by_layer(self, states: Mapping[int, Tensor], lengths: Tensor) -> Tensor:
        """Vectors (B, L, F) of every layer separately, which a probe compares."""
        each = [pooled(states[number].float(), lengths, self.pooling) for number in self.numbers]
        return torch.stack(each, 1)


def pooled(frames: Tensor, lengths: Tensor, pooling: Pooling, query: nn.Module | None = None) -> Tensor:
    """Vectors (B, F) of frames (N, F), the first ``lengths[0]`` of which are the first utterance's, and so on.

    Example:
        >>> pooled(torch.tensor([[1.0], [3.0], [5.0]]), torch.tensor([2, 1]), "last")
        tensor([[3.],
                [5.]])
    """
    ends = lengths.cumsum(0)
    if pooling == "first":
        return frames[ends - lengths]
    if pooling == "last":
        return frames[ends - 1]
    owner = torch.repeat_interleave(lengths)
    if pooling == "attention":
        assert query is not None, "attention has a query"
        scores = query(frames)[:, 0].float()
        highest = scores.new_zeros(len(lengths)).scatter_reduce(0, owner, scores.detach(), "amax", include_self=False)
        shares = (scores - highest[owner]).exp()
        return _sums(frames * shares[:, None], owner, len(lengths)) / _sums(shares, owner, len(lengths))[:, None]
    mean = _sums(frames, owner, len(lengths)) / lengths[:, None]
    if pooling == "mean":
        return mean
    variance = _sums((frames - mean[owner]).square(), owner, len(lengths)) / lengths[:, None]
    return torch.cat([mean, variance.clamp_min(_LEAST_VARIANCE).sqrt()], 1)


def _sums(values: Tensor, owner: Tensor, count: int) -> Tensor:
    return values.new_zeros(count, *values.shape[1:]).index_add(0, owner, values)


def parts(length: int, size: int, overlap: int) -> Sequence[tuple[slice, slice]]:
    """Parts of a long input: what to read, and which of that counts.

    Every part is ``size`` long, or as long as the input if that is shorter, neighbours share at least ``overlap``, and
    each place counts once: in the part in whose inner half of the overlap it is.

    Example:
        >>> parts(10, 6, 2)
        [(slice(0, 6, None), slice(0, 5, None)), (slice(4, 10, None), slice(5, 10, None))]
    """
    starts = [0]
    while starts[-1] + size < length:
        starts.append(min(starts[-1] + size - overlap, length - size))
    bounds = [0, *((left + size + right) // 2 for left, right in pairwise(starts)), length]
    return [
        (slice(start, min(start + size, length)), slice(bounds[n], bounds[n + 1])) for n, start in enumerate(starts)
    ]
