"""Late fusion: a plain transformer per stream over the dialogue, and the mean of their scores."""

from typing import cast

import torch
from torch import Tensor, nn

from dialog.batch import DialogueBatch, Output
from dialog.fusion.attention import allowed_pairs, attention_mask
from dialog.fusion.encoder import Norm, Position, encoder_layer, sinusoidal_positions
from dialog.fusion.frames import FramePooling, Pooling
from dialog.fusion.relations import AttentionBias, Relations, SpeakerEmbedding
from dialog.fusion.streams import InputNorm, input_normalisation
from m2fnet.problems import Problem

NO_RELATIONS = Relations()


class LateFusion(nn.Module):
    """Scores (B, U, C): the mean over the streams that the utterance has.

    Args:
        problem: emotions and streams.
        width: every stream is projected to it.
        layers: encoder layers per stream.
        heads: attention heads; must divide ``width``.
        feedforward: inner width of the encoders as a multiple of ``width``.
        dropout: in the encoders and before the classifiers.
        input_norm: scale of the embeddings, see `dialog.fusion.streams.input_normalisation`.
        norm: place of the layer norm in the encoders.
        position: ``sinusoidal`` adds a position encoding to every stream, ``rotary`` rotates queries and keys.
        relations: what attention knows about distance and speakers.
        speaker_embedding: add a vector for the speaker of each utterance to every stream.
        causal: no utterance sees a later one.
        pooling: of the frames of streams of sequences, ``mean`` or ``attention``; None to read vectors only.

    Raises:
        ValueError: if a size does not fit, or a stream has sequences.
    """

    def __init__(
        self,
        problem: Problem,
        *,
        width: int = 256,
        layers: int = 1,
        heads: int = 4,
        feedforward: float = 4.0,
        dropout: float = 0.4,
        input_norm: InputNorm | bool = True,
        norm: Norm = "post",
        position: Position = "sinusoidal",
        relations: Relations = NO_RELATIONS,
        speaker_embedding: bool = False,
        causal: bool = False,
        pooling: Pooling | None = None,
    ) -> None:
        super().__init__()
        if min(width, layers, heads) < 1 or width % heads:
            raise ValueError(
                "Expected `width`, `layers` and `heads` to be at least 1 and `heads` to divide `width`, "
                f"but got {width}, {layers} and {heads}."
            )
        if position == "rotary" and width // heads % 2:
            raise ValueError(f"Expected heads of even width for `position: rotary`, but got {width // heads}.")
        self.pooling = FramePooling(problem, pooling)
        widths = self.pooling.widths
        self.heads, self.position, self.causal, self.window = heads, position, causal, relations.window
        self.bias = AttentionBias(relations, heads)
        self.project = nn.ModuleDict(
            {
                name: nn.Sequential(input_normalisation(name, own, input_norm), nn.Linear(own, width))
                for name, own in widths.items()
            }
        )
        biased, rotary = self.bias.is_used, position == "rotary"
        self.encoders = nn.ModuleDict(
            {
                name: nn.ModuleList(
                    encoder_layer(
                        width, heads, round(feedforward * width), dropout, norm, "relu", biased=biased, rotary=rotary
                    )
                    for _ in range(layers)
                )
                for name in widths
            }
        )
        classes = len(problem.label_set.classes)
        self.classify = nn.ModuleDict(
            {name: nn.Sequential(nn.Dropout(dropout), nn.Linear(width, classes)) for name in widths}
        )
        self.speakers = nn.ModuleDict({name: SpeakerEmbedding(width) for name in widths}) if speaker_embedding else None

    def forward(self, batch: DialogueBatch) -> Output:
        """Scores (B, U, C); zero where nothing is present."""
        batch = self.pooling(batch)
        present = torch.stack([batch["present"][name] for name in self.encoders])[..., None]  # (S, B, U, 1)
        bias = self.bias(batch)
        scores = torch.stack([self._scores(name, batch, bias) for name in self.encoders])
        return Output((scores * present).sum(0) / present.sum(0).clamp(min=1))

    def _scores(self, name: str, batch: DialogueBatch, bias: Tensor | None) -> Tensor:
        h: Tensor = self.project[name](batch["inputs"][name])
        if self.position == "sinusoidal":
            h = h + sinusoidal_positions(h.shape[1], h.shape[2], h)
        if self.speakers is not None:
            h = h + self.speakers[name](batch["speaker"])
        allowed = allowed_pairs(batch["present"][name], causal=self.causal, window=self.window)
        mask = attention_mask(allowed, self.heads, bias)
        for layer in cast(nn.ModuleList, self.encoders[name]):
            h = layer(h, src_mask=mask)
        scores: Tensor = self.classify[name](h)
        return scores
