"""M2FNet: per-modality encoders, multi-head attention fusion led by text, one emotion per utterance.

Chudasama et al., "M2FNet: Multi-modal Fusion Network for Emotion Recognition in Conversation", arXiv:2206.02187,
section 3.2.2 and Fig 3. What the paper leaves open is a setting here and marked "ours" in ``conf/dialog``.
"""

from typing import Literal

import torch
from torch import Tensor, nn

from dialog.batch import DialogueBatch, Output
from dialog.fusion.attention import CrossAttention, allowed_pairs
from dialog.fusion.encoder import Norm, Position, SkipEncoder, sinusoidal_positions
from m2fnet.problems import Problem

LEADER = "text"


class FusionLayer(nn.Module):
    """One fusion layer: ``F_j = FC([F_{j-1}; MHA(Q=F_{j-1}, K=F_A, V), MHA(Q=F_{j-1}, K=F_V, V)])`` (eq 6, Fig 3).

    ``V`` is the leading text stream ``F_{j-1}`` as printed, or with ``values="other"`` the stream the keys come from.
    """

    def __init__(self, widths: dict[str, int], heads: int, dropout: float, values: Literal["leader", "other"]) -> None:
        super().__init__()
        width = widths[LEADER]
        self.values = values
        self.attentions = nn.ModuleDict(
            {
                name: CrossAttention(width, key, width if values == "leader" else key, heads, dropout)
                for name, key in widths.items()
                if name != LEADER
            }
        )
        self.mix = nn.Linear(width * (1 + len(self.attentions)), width)

    def forward(self, leader: Tensor, streams: dict[str, Tensor], allowed: dict[str, Tensor]) -> Tensor:
        """The next leading stream (B, U, D)."""
        attended = [
            attention(leader, streams[name], leader if self.values == "leader" else streams[name], allowed[name])
            for name, attention in self.attentions.items()
        ]
        mixed: Tensor = self.mix(torch.cat([leader, *attended], dim=-1))
        return mixed


class M2FNet(nn.Module):
    """Logits (B, U, C) for a batch of dialogues, from any subset of text, audio and visual embeddings.

    What is absent contributes nothing: a modality that is missing for a whole dialogue leaves exactly the logits of
    the network without that modality's columns. Without text, or with text alone, there is nothing to fuse, and the
    encoded streams go straight to the final concatenation.

    Args:
        problem: emotions and embedding widths.
        width: project every modality to this width first; None keeps each modality's own width, which ``heads`` must
            then divide.
        encoders: N, transformer encoders per modality.
        fusion_layers: m, fusion layers.
        fusion: ``attention`` as in the paper; ``concat`` skips the fusion layers (the paper's baseline).
        values: where the fusion layers take their values from: ``leader`` (text, as printed) or ``other``.
        heads: attention heads in encoders and fusion layers.
        feedforward: inner width of the encoders as a multiple of their own.
        hidden: width between the two final fully connected layers.
        dropout: in encoders, attention and head.
        input_norm: layer norm on the embeddings, for stores whose vectors come in any scale.
        input_dropout: on the embeddings.
        norm: place of the layer norm in the encoders.
        position: position encoding added to every stream.
        causal: no turn sees a later one.

    Raises:
        ValueError: if a size is too small, or ``heads`` does not divide a stream's width.
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
        input_norm: bool = True,
        input_dropout: float = 0.0,
        norm: Norm = "post",
        position: Position = "none",
        causal: bool = False,
    ) -> None:
        super().__init__()
        sizes = {"width": width, "heads": heads, "hidden": hidden, "encoders": encoders, "fusion_layers": fusion_layers}
        for name, size in sizes.items():
            least = 0 if name in ("encoders", "fusion_layers") else 1
            if size is not None and size < least:
                raise ValueError(f"Expected `{name}` to be at least {least}, but got {size}.")
        widths = {name: width or own for name, own in problem.widths.items()}
        for name, stream in widths.items():
            if stream % heads:
                raise ValueError(
                    f"Expected `heads` to divide the width of every stream, but {heads} heads do not divide {stream} "
                    f"({name}); set `width` to project all modalities to one width."
                )
        self.causal = causal
        self.position = position
        self.project = nn.ModuleDict(
            {
                name: nn.Sequential(
                    nn.LayerNorm(own) if input_norm else nn.Identity(),
                    nn.Dropout(input_dropout),
                    nn.Linear(own, widths[name]) if width else nn.Identity(),
                )
                for name, own in problem.widths.items()
            }
        )
        self.encoders = nn.ModuleDict(
            {
                name: SkipEncoder(stream, encoders, heads, round(feedforward * stream), dropout, norm)
                for name, stream in widths.items()
            }
        )
        fuses = fusion == "attention" and LEADER in widths and len(widths) > 1
        self.fusion = nn.ModuleList(
            FusionLayer(widths, heads, dropout, values) for _ in range(fusion_layers if fuses else 0)
        )
        self.values = values
        self.classify = nn.Sequential(
            nn.Linear(sum(widths.values()), hidden),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(hidden, len(problem.label_set.classes)),
        )

    def forward(self, batch: DialogueBatch) -> Output:
        """Scores (B, U, C)."""
        streams = {name: self._encode(name, batch) for name in self.encoders}
        if self.fusion:
            streams[LEADER] = self._fuse(streams, batch["present"])
        return Output(self.classify(torch.cat(list(streams.values()), dim=-1)))  # eq 7, 8

    def _encode(self, name: str, batch: DialogueBatch) -> Tensor:
        present = batch["present"][name]
        h: Tensor = self.project[name](batch["inputs"][name])
        if self.position == "sinusoidal":
            h = h + sinusoidal_positions(h.shape[1], h.shape[2], h)
        encoded: Tensor = self.encoders[name](h * present[..., None], present, causal=self.causal)
        return encoded

    def _fuse(self, streams: dict[str, Tensor], present: dict[str, Tensor]) -> Tensor:
        """The leading stream after all fusion layers; untouched in dialogues that have nothing to fuse."""
        others = {name: present[name] for name in streams if name != LEADER}
        readable = {
            name: present[LEADER] & other if self.values == "leader" else other for name, other in others.items()
        }
        allowed = {name: allowed_pairs(keys, causal=self.causal) for name, keys in readable.items()}
        something = present[LEADER] & torch.stack(list(others.values())).any(0)
        leader = streams[LEADER]
        seen = something.cumsum(1) if self.causal else something.sum(1, keepdim=True)
        fuses = (seen > 0)[..., None]
        for layer in self.fusion:
            leader = torch.where(fuses, layer(leader, streams, allowed), leader)
        return leader
