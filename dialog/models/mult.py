"""MulT over utterances: crossmodal transformers, in which each stream reads each other one.

Tsai et al., "Multimodal Transformer for Unaligned Multimodal Language Sequences", ACL 2019, arXiv:1906.00295, section
3. Authors' code: yaohungt/Multimodal-Transformer, src/models.py, `MULTModel`, and modules/transformer.py.

There a sequence is the frames of one utterance, and the last frame is classified. Here a sequence is the utterances of
a dialogue, and each of them is classified. The temporal convolution has a kernel of 1, as in the authors' code.
"""

import math

import torch
from torch import Tensor, nn

from dialog.batch import DialogueBatch, Output
from dialog.fusion.attention import CrossAttention, allowed_pairs
from dialog.fusion.encoder import sinusoidal_positions
from dialog.fusion.projection import ProjectedStreams
from dialog.fusion.streams import InputNorm
from m2fnet.problems import Problem


class CrossmodalTransformer(nn.Module):
    """A stream (B, U, D) that reads another one, always as it was before any layer, or itself (equations 4 to 7).

    Args:
        width: D.
        heads: attention heads.
        layers: of the transformer.
        dropout: of the attention weights, the hidden layers and the residuals.
        embed_dropout: on the streams.
    """

    def __init__(self, width: int, heads: int, layers: int, dropout: float, embed_dropout: float) -> None:
        super().__init__()
        self.embed_dropout = nn.Dropout(embed_dropout)
        self.dropout = nn.Dropout(dropout)
        self.attentions = nn.ModuleList(CrossAttention(width, width, width, heads, dropout) for _ in range(layers))
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(layers))
        self.feedforwards = nn.ModuleList(
            nn.Sequential(
                nn.LayerNorm(width),
                nn.Linear(width, 4 * width),
                nn.ReLU(),
                nn.Dropout(dropout),
                nn.Linear(4 * width, width),
                nn.Dropout(dropout),
            )
            for _ in range(layers)
        )
        self.norm = nn.LayerNorm(width)

    def forward(self, h: Tensor, read: Tensor | None, allowed: Tensor) -> Tensor:
        """The stream ``h`` after reading ``read``, or itself if that is None; zero where it may read nothing."""
        h = self._embed(h)
        source = None if read is None else self._embed(read)
        for attention, norm, feedforward in zip(self.attentions, self.norms, self.feedforwards, strict=True):
            query = norm(h)
            keys = query if source is None else norm(source)
            h = h + self.dropout(attention(query, keys, keys, allowed))
            h = h + feedforward(h)
        return torch.where(allowed.any(-1, keepdim=True), self.norm(h), 0.0)

    def _embed(self, stream: Tensor) -> Tensor:
        utterances, width = stream.shape[1:]
        placed = math.sqrt(width) * stream + sinusoidal_positions(utterances, width, stream)
        embedded: Tensor = self.embed_dropout(placed)
        return embedded


class MulT(nn.Module):
    """Scores (B, U, C) from every stream after it has read each other one, then itself.

    With one stream there is nothing to read but itself.

    Args:
        problem: emotions and streams.
        width: every stream is projected to it.
        heads: attention heads; must divide ``width``.
        layers: of each transformer; those in which a stream reads itself have at least three.
        dropout: see `CrossmodalTransformer`.
        embed_dropout: see there.
        output_dropout: in the block before the classifier.
        input_norm: scale of the embeddings, see `dialog.fusion.streams.input_normalisation`.
        causal: no utterance sees a later one.

    Raises:
        ValueError: if a size does not fit, or a stream has sequences.
    """

    def __init__(
        self,
        problem: Problem,
        *,
        width: int = 30,
        heads: int = 5,
        layers: int = 5,
        dropout: float = 0.1,
        embed_dropout: float = 0.2,
        output_dropout: float = 0.0,
        input_norm: InputNorm | bool = True,
        causal: bool = False,
    ) -> None:
        super().__init__()
        if min(width, heads, layers) < 1 or width % heads:
            raise ValueError(
                "Expected `width`, `heads` and `layers` to be at least 1 and `heads` to divide `width`, "
                f"but got {width}, {heads} and {layers}."
            )
        self.causal = causal
        names = list(problem.streams)
        self.project = ProjectedStreams(problem, width, normalise=input_norm, bias=False)
        self.crossmodal = nn.ModuleDict(
            {
                name: nn.ModuleDict(
                    {
                        read: CrossmodalTransformer(width, heads, layers, dropout, embed_dropout)
                        for read in names
                        if read != name
                    }
                )
                for name in names
            }
        )
        joined = width * max(len(names) - 1, 1)
        self.memory = nn.ModuleDict(
            {name: CrossmodalTransformer(joined, heads, max(layers, 3), dropout, embed_dropout) for name in names}
        )
        total = joined * len(names)
        self.block = nn.Sequential(
            nn.Linear(total, total), nn.ReLU(), nn.Dropout(output_dropout), nn.Linear(total, total)
        )
        self.classify = nn.Linear(total, len(problem.label_set.classes))

    def forward(self, batch: DialogueBatch) -> Output:
        """Scores (B, U, C)."""
        present, streams = batch["present"], self.project(batch)
        allowed = {name: allowed_pairs(present[name], causal=self.causal) for name in streams}
        parts = []
        for name, own in streams.items():
            read_by_it = [
                transformer(own, streams[read], allowed[read])
                for read, transformer in self.crossmodal[name].items()  # type: ignore[operator]
            ]
            here = present[name][..., None]
            h = torch.cat(read_by_it, dim=-1) * here if read_by_it else own
            parts.append(self.memory[name](h, None, allowed[name]) * here)
        h = torch.cat(parts, dim=-1)
        return Output(self.classify(h + self.block(h)))
