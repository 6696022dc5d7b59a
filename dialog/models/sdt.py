"""SDT: transformers within and between streams, gated fusion, and students that learn from the fused stream.

Ma et al., "A Transformer-Based Model With Self-Distillation for Multimodal Emotion Recognition in Conversations", IEEE
Transactions on Multimedia 2023, arXiv:2310.20494, section III. Authors' code: butterfliesss/SDT@bb07b24 model.py,
`Transformer_Based_Model`, and train.py for the losses.
"""

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dialog.batch import DialogueBatch, Output
from dialog.fusion.attention import CrossAttention, allowed_pairs
from dialog.fusion.encoder import sinusoidal_positions
from dialog.fusion.pairs import masked_softmax
from dialog.fusion.projection import ProjectedStreams
from dialog.fusion.relations import SpeakerEmbedding
from dialog.fusion.streams import InputNorm
from m2fnet.problems import UNLABELLED, MultiLabel, Problem

Gate = Literal["learned", "identity"]


class StreamTransformer(nn.Module):
    """One stream (B, U, D) that has read itself or another stream, gated: zero where there is nothing to read.

    Args:
        width: D.
        heads: attention heads.
        layers: of the transformer.
        dropout: inside of it.
        gate: a sigmoid of a linear map of the result scales it; ``identity`` leaves the map away.
    """

    def __init__(self, width: int, heads: int, layers: int, dropout: float, gate: Gate) -> None:
        super().__init__()
        self.norms = nn.ModuleList(
            nn.LayerNorm(width, eps=1e-6) if number else nn.Identity() for number in range(layers)
        )
        self.attentions = nn.ModuleList(CrossAttention(width, width, width, heads, dropout) for _ in range(layers))
        self.feedforwards = nn.ModuleList(
            nn.Sequential(
                nn.LayerNorm(width, eps=1e-6),
                nn.Linear(width, width),
                nn.GELU(),
                nn.Dropout(dropout),
                nn.Linear(width, width),
                nn.Dropout(dropout),
            )
            for _ in range(layers)
        )
        self.dropout = nn.Dropout(dropout)
        self.gate = nn.Linear(width, width, bias=False) if gate == "learned" else nn.Identity()

    def forward(self, h: Tensor, read: Tensor | None, allowed: Tensor) -> Tensor:
        """The stream ``h`` after reading ``read``, or itself if that is None, under ``allowed`` (B, U, U)."""
        for norm, attention, feedforward in zip(self.norms, self.attentions, self.feedforwards, strict=True):
            query = norm(h)
            source = query if read is None else read
            h = self.dropout(attention(query, source, source, allowed)) + query  # the norm is before the skip
            h = h + feedforward(h)
        gated: Tensor = torch.sigmoid(self.gate(h)) * h
        return torch.where(allowed.any(-1, keepdim=True), gated, 0.0)


class SDT(nn.Module):
    """Scores (B, U, C) of a fused stream; in training its students add the terms ``students`` and ``distillation``.

    Every stream reads itself and each other one, and what it read is mixed into one vector. A softmax over the streams
    that are present, in every dimension, fuses these. Each vector also has a classifier, a student, that learns
    from the labels (``students``, cross-entropy) and from the probabilities of the fused stream (``distillation``,
    Kullback-Leibler divergence).

    Args:
        problem: emotions and streams.
        width: every stream is projected to it.
        heads: attention heads; must divide ``width``.
        layers: of each transformer.
        gate: see `StreamTransformer`; the authors' code has ``identity`` for MELD and ``learned`` for IEMOCAP.
        speaker: add an embedding of the speaker, numbered by order of appearance in the dialogue, to every stream.
        students: weight of the cross-entropy of the students, the sum over the streams.
        distillation: weight of the divergence, the sum over the streams.
        temperature: divides the scores before the divergence.
        dropout: on the embedded streams, in the transformers and before the students' classifiers.
        input_norm: scale of the embeddings, see `dialog.fusion.streams.input_normalisation`.
        causal: no utterance sees a later one.

    Raises:
        ValueError: if a size or a weight does not fit, or a stream has sequences.
    """

    def __init__(
        self,
        problem: Problem,
        *,
        width: int = 1024,
        heads: int = 8,
        layers: int = 1,
        gate: Gate = "learned",
        speaker: bool = True,
        students: float = 1.0,
        distillation: float = 1.0,
        temperature: float = 1.0,
        dropout: float = 0.5,
        input_norm: InputNorm | bool = True,
        causal: bool = False,
    ) -> None:
        super().__init__()
        if min(width, heads, layers) < 1 or width % heads:
            raise ValueError(
                "Expected `width`, `heads` and `layers` to be at least 1 and `heads` to divide `width`, "
                f"but got {width}, {heads} and {layers}."
            )
        if min(students, distillation) < 0 or temperature <= 0:
            raise ValueError(
                "Expected `students` and `distillation` to be at least 0 and `temperature` to be above 0, "
                f"but got {students}, {distillation} and {temperature}."
            )
        self.problem, self.causal = problem, causal
        self.weights, self.temperature = (students, distillation), temperature
        names, classes = list(problem.streams), len(problem.label_set.classes)
        self.project = ProjectedStreams(problem, width, normalise=input_norm, bias=False)
        self.speakers = SpeakerEmbedding(width) if speaker else None
        self.dropout = nn.Dropout(dropout)
        self.transformers = nn.ModuleDict(
            {
                name: nn.ModuleDict({read: StreamTransformer(width, heads, layers, dropout, gate) for read in names})
                for name in names
            }
        )
        self.mix = nn.ModuleDict({name: nn.Linear(len(names) * width, width) for name in names})
        self.fuse = nn.Linear(width, width, bias=False) if len(names) > 1 else None
        self.classify = nn.Linear(width, classes)
        self.students = nn.ModuleDict(
            {name: nn.Sequential(nn.ReLU(), nn.Dropout(dropout), nn.Linear(width, classes)) for name in names}
            if any(self.weights)
            else {}
        )

    def forward(self, batch: DialogueBatch) -> Output:
        """Scores (B, U, C), and while training the terms."""
        present, streams = batch["present"], self.project(batch)
        for name, stream in streams.items():
            h = stream + sinusoidal_positions(stream.shape[1], stream.shape[2], stream)
            if self.speakers is not None:
                h = h + self.speakers(batch["speaker"])
            streams[name] = self.dropout(h) * present[name][..., None]
        allowed = {name: allowed_pairs(present[name], causal=self.causal) for name in streams}
        mixed = {}
        for name, own in streams.items():
            parts = [
                transformer(own, None if read == name else streams[read], allowed[read])
                for read, transformer in self.transformers[name].items()  # type: ignore[operator]
            ]
            mixed[name] = self.mix[name](torch.cat(parts, dim=-1)) * present[name][..., None]
        vectors = torch.stack(list(mixed.values()), dim=-1)  # (B, U, D, S)
        if self.fuse is None:
            fused = vectors[..., 0]
        else:
            there = torch.stack([present[name] for name in mixed], dim=-1)[:, :, None]
            similarity = torch.stack([self.fuse(one) for one in mixed.values()], dim=-1)
            fused = (masked_softmax(similarity, there) * vectors).sum(-1)
        scores = self.classify(fused)
        if not (self.training and self.students):
            return Output(scores)
        return Output(
            scores, self._terms(scores, {name: self.students[name](one) for name, one in mixed.items()}, batch)
        )

    def _terms(self, scores: Tensor, students: dict[str, Tensor], batch: DialogueBatch) -> dict[str, Tensor]:
        """The two losses of the students, over the utterances that have their stream."""
        label = batch["label"]
        teacher = log_probabilities(self.problem, scores / self.temperature)
        cross_entropy = divergence = scores.new_zeros(())
        for name, own in students.items():
            here = batch["present"][name]
            target = label.masked_fill(~here if label.ndim == 2 else ~here[..., None], UNLABELLED)
            loss = self.problem.loss(own.flatten(0, 1), target.flatten(0, 1))
            cross_entropy = cross_entropy + loss / max(batch["labelled"], 1)
            student = log_probabilities(self.problem, own / self.temperature)
            apart = F.kl_div(student, teacher, reduction="none", log_target=True).sum(-1).flatten(2).mean(-1)
            divergence = divergence + (apart * here).sum() / batch["valid"].sum()
        terms = {"students": cross_entropy, "distillation": divergence}
        return {name: weight * terms[name] for name, weight in zip(terms, self.weights, strict=True) if weight}


def log_probabilities(problem: Problem, scores: Tensor) -> Tensor:
    """Log probabilities of the outcomes, for logits (B, U, C): (B, U, 1, C), or for label sets (B, U, C, 2)."""
    if isinstance(problem, MultiLabel):
        return torch.stack([F.logsigmoid(scores), F.logsigmoid(-scores)], dim=-1)
    return scores.log_softmax(-1)[:, :, None]
