"""M2FNet: an encoder per stream, then multi-head attention fusion led by text.

Chudasama et al., "M2FNet: Multi-modal Fusion Network for Emotion Recognition in Conversation", arXiv:2206.02187,
section 3.2.2 and Fig 3. Where the paper is silent there is a setting here, marked "ours" in ``conf/dialog``.
"""

from typing import Literal

import torch
from torch import Tensor, nn

from dialog.batch import DialogueBatch, Output
from dialog.fusion.attention import CrossAttention, allowed_pairs
from dialog.fusion.encoder import Norm, Position, Skip, SkipEncoder, sinusoidal_positions
from dialog.fusion.frames import FramePooling, Pooling
from dialog.fusion.relations import AttentionBias, Relations, SpeakerEmbedding
from dialog.fusion.streams import InputNorm, input_normalisation
from m2fnet.problems import Problem

AS_PRINTED = Relations()  # the paper's attention knows neither distance nor speakers


class FusionLayer(nn.Module):
    """One fusion layer: ``F_j = FC([F_{j-1}; MHA(Q=F_{j-1}, K=F_A, V), MHA(Q=F_{j-1}, K=F_V, V)])`` (eq 6, Fig 3).

    ``V`` is the leading text stream ``F_{j-1}`` as printed, or with ``values="other"`` the stream the keys come from.

    With ``residual``, which the paper does not have, ``F_j = LayerNorm(F_{j-1} + Dropout(FC([...])))``.

    Args:
        widths: stream -> its width.
        leader: the stream whose utterances ask.
        heads: attention heads; must divide the width of each stream.
        dropout: of the attention weights, and before the residual.
        values: see above.
        residual: see above.
    """

    def __init__(
        self,
        widths: dict[str, int],
        leader: str,
        heads: int,
        dropout: float,
        values: Literal["leader", "other"],
        *,
        residual: bool = False,
    ) -> None:
        super().__init__()
        width = widths[leader]
        self.values = values
        self.attentions = nn.ModuleDict(
            {
                name: CrossAttention(width, key, width if values == "leader" else key, heads, dropout)
                for name, key in widths.items()
                if name != leader
            }
        )
        self.mix = nn.Linear(width * (1 + len(self.attentions)), width)
        self.dropout = nn.Dropout(dropout) if residual else None
        self.norm = nn.LayerNorm(width) if residual else None

    def forward(
        self,
        leader: Tensor,
        streams: dict[str, Tensor],
        allowed: dict[str, Tensor],
        bias: Tensor | None = None,
    ) -> Tensor:
        """The next leading stream (B, U, D); ``bias`` (B, H, U, U) is added to the logits of every attention."""
        attended = [
            attention(leader, streams[name], leader if self.values == "leader" else streams[name], allowed[name], bias)
            for name, attention in self.attentions.items()
        ]
        mixed: Tensor = self.mix(torch.cat([leader, *attended], dim=-1))
        if self.norm is not None and self.dropout is not None:
            mixed = self.norm(leader + self.dropout(mixed))
        return mixed


class M2FNet(nn.Module):
    """Scores (B, U, C) for a batch of dialogues, from any streams.

    Absent embeddings contribute nothing: if a stream is missing in a whole dialogue, the scores are exactly those of
    the network without that stream's columns.

    The stream of text leads the fusion, whatever its name. Without one, or with no other stream, there is nothing to
    fuse, and the encoded streams go straight to the final concatenation.

    Args:
        problem: emotions and streams.
        width: project every stream to this width first; None keeps the width of each stream, which ``heads`` must
            then divide.
        encoders: N, transformer encoders per stream.
        fusion_layers: m, fusion layers.
        fusion: ``attention`` as in the paper; ``concat`` skips the fusion layers (the paper's baseline).
        values: which stream the fusion layers take their values from: ``leader`` (text, as printed) or ``other``.
        heads: attention heads in encoders and fusion layers.
        feedforward: inner width of the encoders as a multiple of the stream's width.
        hidden: width between the two final fully connected layers.
        dropout: in encoders, attention and head.
        input_norm: scale of the embeddings, see `dialog.fusion.streams.input_normalisation`.
        input_dropout: on the embeddings.
        norm: place of the layer norm in the encoders.
        skip: around each encoder, see `dialog.fusion.encoder.SkipEncoder`; ``outer`` is as printed.
        final_norm: layer norm on every stream after its last encoder, which the paper does not have.
        fusion_residual: see `FusionLayer`; False is as printed.
        position: ``sinusoidal`` adds a position encoding to every stream, ``rotary`` rotates queries and keys in the
            encoders.
        relations: what attention, in encoders and fusion layers, knows about distance and speakers.
        speaker_embedding: add a vector for the speaker of each utterance to every stream.
        causal: no utterance sees a later one.
        pooling: of the frames of streams of sequences, ``mean`` or ``attention``; None to read vectors only.

    Raises:
        ValueError: if a size is too small, ``heads`` does not divide the width of a stream, a stream has sequences, or
            several streams of text could lead the fusion.

    Example:
        >>> import torch
        >>> from m2fnet.problems import make_problem
        >>> from m2fnet.records import LabelSet
        >>> problem = make_problem(LabelSet("two", ("anger", "joy")), {"text": 8, "audio": 4})
        >>> network = M2FNet(problem, width=8, encoders=1, fusion_layers=1, hidden=8).eval()
        >>> batch = {
        ...     "inputs": {"text": torch.randn(1, 3, 8), "audio": torch.randn(1, 3, 4)},
        ...     "present": {"text": torch.ones(1, 3, dtype=torch.bool), "audio": torch.ones(1, 3, dtype=torch.bool)},
        ...     "valid": torch.ones(1, 3, dtype=torch.bool),
        ... }
        >>> network(batch).scores.shape  # (B, U, C)
        torch.Size([1, 3, 2])
    """

    def __init__(
        self,
        problem: Problem,
        *,
        width: int | None = 256,
        encoders: int = 1,
        fusion_layers: int = 5,
        fusion: Literal["attention", "concat"] = "attention",
        values: Literal["leader", "other"] = "leader",
        heads: int = 4,
        feedforward: float = 4.0,
        hidden: int = 256,
        dropout: float = 0.4,
        input_norm: InputNorm | bool = True,
        input_dropout: float = 0.0,
        norm: Norm = "post",
        skip: Skip = "outer",
        final_norm: bool = False,
        fusion_residual: bool = False,
        position: Position = "none",
        relations: Relations = AS_PRINTED,
        speaker_embedding: bool = False,
        causal: bool = False,
        pooling: Pooling | None = None,
    ) -> None:
        super().__init__()
        sizes = {"width": width, "heads": heads, "hidden": hidden, "encoders": encoders, "fusion_layers": fusion_layers}
        for name, size in sizes.items():
            least = 0 if name in ("encoders", "fusion_layers") else 1
            if size is not None and size < least:
                raise ValueError(f"Expected `{name}` to be at least {least}, but got {size}.")
        self.pooling = FramePooling(problem, pooling)
        own_widths = self.pooling.widths
        widths = {name: width or own for name, own in own_widths.items()}
        for name, stream in widths.items():
            if stream % heads:
                raise ValueError(
                    f"Expected `heads` to divide the width of every stream, but {heads} heads do not divide {stream} "
                    f"({name}); set `width` to project all streams to one width."
                )
            if position == "rotary" and stream // heads % 2:
                raise ValueError(
                    f"Expected heads of even width for `position: rotary`, but {heads} heads divide {stream} ({name}) "
                    f"into {stream // heads} each; set another `width` or number of `heads`."
                )
        texts = [name for name, modality in problem.modalities.items() if modality == "text"]
        if fusion == "attention" and len(texts) > 1:
            raise ValueError(
                f"One stream of text leads the fusion, but {' and '.join(texts)} are text. Choose one of them with "
                "data.streams, or set `fusion: concat`, which treats all streams alike."
            )
        self.causal = causal
        self.position = position
        self.window = relations.window
        self.bias = AttentionBias(relations, heads)
        self.project = nn.ModuleDict(
            {
                name: nn.Sequential(
                    input_normalisation(name, own, input_norm),
                    nn.Dropout(input_dropout),
                    nn.Linear(own, widths[name]) if width else nn.Identity(),
                )
                for name, own in own_widths.items()
            }
        )
        self.encoders = nn.ModuleDict(
            {
                name: SkipEncoder(
                    stream,
                    encoders,
                    heads,
                    round(feedforward * stream),
                    dropout,
                    norm,
                    skip=skip,
                    final_norm=final_norm,
                    biased=self.bias.is_used,
                    rotary=position == "rotary",
                )
                for name, stream in widths.items()
            }
        )
        self.leader = texts[0] if fusion == "attention" and texts and len(widths) > 1 else None
        self.fusion = nn.ModuleList(
            FusionLayer(widths, self.leader, heads, dropout, values, residual=fusion_residual)
            for _ in range(fusion_layers)
            if self.leader is not None
        )
        self.values = values
        self.classify = nn.Sequential(
            nn.Linear(sum(widths.values()), hidden),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(hidden, len(problem.label_set.classes)),
        )
        self.speakers = (
            nn.ModuleDict({name: SpeakerEmbedding(stream) for name, stream in widths.items()})
            if speaker_embedding
            else None
        )

    def forward(self, batch: DialogueBatch) -> Output:
        """Scores (B, U, C)."""
        batch = self.pooling(batch)
        bias = self.bias(batch)
        streams = {name: self._encode(name, batch, bias) for name in self.encoders}
        if self.fusion and self.leader is not None:
            streams[self.leader] = self._fuse(self.leader, streams, batch["present"], bias)
        return Output(self.classify(torch.cat(list(streams.values()), dim=-1)))  # eq 7, 8

    def _encode(self, name: str, batch: DialogueBatch, bias: Tensor | None) -> Tensor:
        present = batch["present"][name]
        h: Tensor = self.project[name](batch["inputs"][name])
        if self.position == "sinusoidal":
            h = h + sinusoidal_positions(h.shape[1], h.shape[2], h)
        if self.speakers is not None:
            h = h + self.speakers[name](batch["speaker"])
        h = h * present[..., None]
        encoded: Tensor = self.encoders[name](h, present, causal=self.causal, window=self.window, bias=bias)
        return encoded

    def _fuse(self, leader: str, streams: dict[str, Tensor], present: dict[str, Tensor], bias: Tensor | None) -> Tensor:
        """The leading stream after all fusion layers; untouched in dialogues that have nothing to fuse."""
        others = {name: present[name] for name in streams if name != leader}
        readable = {
            name: present[leader] & other if self.values == "leader" else other for name, other in others.items()
        }
        allowed = {name: allowed_pairs(keys, causal=self.causal, window=self.window) for name, keys in readable.items()}
        something = present[leader] & torch.stack(list(others.values())).any(0)
        h = streams[leader]
        seen = something.cumsum(1) if self.causal else something.sum(1, keepdim=True)
        fuses = (seen > 0)[..., None]
        for layer in self.fusion:
            h = torch.where(fuses, layer(h, streams, allowed, bias), h)
        return h
