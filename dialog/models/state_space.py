"""A selective state-space network over the dialogue, in both directions: its cost grows linearly with the utterances.

The layer is Mamba-2's, Dao and Gu, "Transformers are SSMs: Generalized Models and Efficient Algorithms Through
Structured State Space Duality", ICML 2024, arXiv:2405.21060: sections 6 and 7, Listing 1. Authors' code:
state-spaces/mamba@5d468df mamba_ssm/modules/ssd_minimal.py. Reading a dialogue in both directions is ours.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dialog.batch import DialogueBatch, Output
from dialog.fusion.concatenation import EarlyFusion
from dialog.fusion.projection import anything_present
from dialog.fusion.relations import SpeakerEmbedding
from dialog.fusion.streams import InputNorm
from m2fnet.problems import Problem

CHUNK = 16  # utterances that are read together; it changes the speed, not the result


def sums_between(x: Tensor) -> Tensor:
    """``x[s + 1] + ... + x[t]`` at ``[..., t, s]`` for ``s <= t``, minus infinity elsewhere, for ``x`` (..., T).

    Example:
        >>> sums_between(torch.tensor([1.0, 2.0, 3.0]))
        tensor([[0., -inf, -inf],
                [2., 0., -inf],
                [5., 3., 0.]])
    """
    length = x.shape[-1]
    later = torch.ones(length, length, dtype=torch.bool, device=x.device).tril(-1)
    summed = torch.where(later, x[..., :, None], 0.0).cumsum(-2)
    return summed.masked_fill(~(later | torch.eye(length, dtype=torch.bool, device=x.device)), -torch.inf)


def selective_scan(x: Tensor, decay: Tensor, write: Tensor, read: Tensor, chunk: int = CHUNK) -> Tensor:
    """``y_t = read_t . s_t`` of the states ``s_t = exp(decay_t) s_{t-1} + write_t x_t``, (B, U, H, P).

    Within a chunk this is a masked product of matrices, and between chunks the states are passed on, so that nothing
    loops over utterances (arXiv:2405.21060, Listing 1).

    Args:
        x: (B, U, H, P), of H heads.
        decay: (B, U, H), at most 0.
        write: (B, U, N), N numbers per state.
        read: (B, U, N).
        chunk: utterances per chunk.
    """
    dialogues, utterances, heads, width = x.shape
    chunks = (utterances + chunk - 1) // chunk
    missing = chunks * chunk - utterances
    x = F.pad(x, (0, 0, 0, 0, 0, missing)).view(dialogues, chunks, chunk, heads, width)  # (B, K, L, H, P)
    write = F.pad(write, (0, 0, 0, missing)).view(dialogues, chunks, chunk, -1)
    read = F.pad(read, (0, 0, 0, missing)).view(dialogues, chunks, chunk, -1)
    decay = F.pad(decay, (0, 0, 0, missing)).view(dialogues, chunks, chunk, heads).permute(0, 3, 1, 2)  # (B, H, K, L)
    summed = decay.cumsum(-1)
    product = torch.einsum("bkln,bksn->bkls", read, write)
    inside = torch.einsum("bkls,bhkls,bkshp->bklhp", product, sums_between(decay).exp(), x)
    until_end = torch.exp(summed[..., -1:] - summed)
    written = torch.einsum("bkln,bhkl,bklhp->bkhpn", write, until_end, x)
    whole = sums_between(F.pad(summed[..., -1], (1, 0))).exp()[..., :-1, 1:]  # (B, H, K, K): start of k, end of c
    before = torch.einsum("bhkc,bchpn->bkhpn", whole, written)
    outside = torch.einsum("bkln,bkhpn,bhkl->bklhp", read, before, summed.exp())
    return (inside + outside).flatten(1, 2)[:, :utterances]


class StateSpaceLayer(nn.Module):
    """What a Mamba-2 block adds to a stream (B, U, D), reading from the first utterance to the last.

    Absent utterances, and padding before or after, neither write to the states nor let them decay.

    Args:
        width: D.
        heads: that divide twice the width.
        state: N, numbers per state.
        kernel: utterances that the short convolution reads.
    """

    def __init__(self, width: int, heads: int, state: int, kernel: int) -> None:
        super().__init__()
        inner = 2 * width
        self.heads, self.inner, self.state, self.kernel = heads, inner, state, kernel
        self.norm = nn.LayerNorm(width)
        self.project = nn.Linear(width, 2 * inner + 2 * state + heads, bias=False)
        mixed = inner + 2 * state
        self.convolve = nn.Conv1d(mixed, mixed, kernel, groups=mixed)
        self.log_rate = nn.Parameter(torch.linspace(1, 16, heads).log())  # of decay: 1 to 16, as in `Mamba2`
        step = torch.logspace(-3, -1, heads)
        self.step_bias = nn.Parameter(step + torch.log(-torch.expm1(-step)))  # its softplus is `step`
        self.skip = nn.Parameter(torch.ones(heads))
        self.out_norm = nn.RMSNorm(inner)
        self.out = nn.Linear(inner, width, bias=False)

    def forward(self, h: Tensor, present: Tensor) -> Tensor:
        """What to add to ``h``, for the presence (B, U) of its utterances."""
        sizes = [self.inner, self.inner + 2 * self.state, self.heads]
        gate, mixed, step = torch.split(self.project(self.norm(h)), sizes, dim=-1)
        past = F.pad(mixed * present[..., None], (0, 0, self.kernel - 1, 0))
        assert self.convolve.bias is not None
        mixed = self.convolve.bias.expand(1, 1, -1)
        for back, weight in enumerate(self.convolve.weight[:, 0].unbind(-1)):  # torch's own is slow for many groups
            mixed = torch.addcmul(mixed, past[:, back : back + h.shape[1]], weight)
        x, write, read = torch.split(F.silu(mixed), [self.inner, self.state, self.state], dim=-1)
        x = x.reshape(*x.shape[:-1], self.heads, -1)
        step = F.softplus(step + self.step_bias) * present[..., None]
        y = selective_scan(x * step[..., None], -step * self.log_rate.exp(), write, read)
        y = (y + self.skip[:, None] * x).flatten(2)
        added: Tensor = self.out(self.out_norm(y * F.silu(gate)))
        return added


class StateSpace(nn.Module):
    """Scores (B, U, C) from a stack of state-space layers over the dialogue.

    Args:
        problem: emotions and streams.
        width: of the stream that the layers read.
        layers: number of layers, each in both directions.
        heads: of a layer; must divide twice the width.
        state: numbers per state.
        kernel: utterances that the short convolution of a layer reads.
        speaker: add an embedding of the speaker, numbered by order of appearance in the dialogue.
        dropout: on the embeddings, on what a layer adds and before the classifier.
        input_norm: scale of the embeddings, see `dialog.fusion.streams.input_normalisation`.
        causal: forwards only, so that no utterance sees a later one.

    Raises:
        ValueError: if a size does not fit, or a stream has sequences.
    """

    def __init__(
        self,
        problem: Problem,
        *,
        width: int = 128,
        layers: int = 2,
        heads: int = 8,
        state: int = 16,
        kernel: int = 4,
        speaker: bool = True,
        dropout: float = 0.4,
        input_norm: InputNorm | bool = True,
        causal: bool = False,
    ) -> None:
        super().__init__()
        if min(width, layers, heads, state, kernel) < 1 or (2 * width) % heads:
            raise ValueError(
                "Expected `width`, `layers`, `heads`, `state` and `kernel` to be at least 1 and `heads` to divide "
                f"2 * `width`, but got {width}, {layers}, {heads}, {state} and {kernel}."
            )
        self.inputs = EarlyFusion(problem, normalise=input_norm)
        self.project = nn.Linear(self.inputs.width, width)
        self.speakers = SpeakerEmbedding(width) if speaker else None
        self.dropout = nn.Dropout(dropout)
        self.forwards = nn.ModuleList(StateSpaceLayer(width, heads, state, kernel) for _ in range(layers))
        self.backwards = nn.ModuleList(
            StateSpaceLayer(width, heads, state, kernel) for _ in range(0 if causal else layers)
        )
        self.classify = nn.Sequential(
            nn.LayerNorm(width), nn.Dropout(dropout), nn.Linear(width, len(problem.label_set.classes))
        )

    def forward(self, batch: DialogueBatch) -> Output:
        """Scores (B, U, C)."""
        present = anything_present(batch)
        h = self.project(self.dropout(self.inputs(batch)))
        if self.speakers is not None:
            h = h + self.speakers(batch["speaker"])
        for number, forwards in enumerate(self.forwards):
            added = forwards(h, present)
            if self.backwards:
                added = added + self.backwards[number](h.flip(1), present.flip(1)).flip(1)
            h = h + self.dropout(added)
        return Output(self.classify(h))
