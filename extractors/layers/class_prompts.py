"""Heads that compare an embedding with a vector per emotion: what CLIP's text tower makes of a text, or a prototype.

Zhou et al., "Learning to Prompt for Vision-Language Models" (CoOp), IJCV 2022, arXiv:2109.01134, section 3.2. Emotions
described in words instead of by their names: Zhao and Patras, "DFER-CLIP", BMVC 2023, arXiv:2308.13382, section 3.2.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import CLIPModel, PreTrainedTokenizerBase

from extractors.layers.frozen import Frozen

Place = Literal["end", "middle", "front"]
_DEVIATION = 0.02  # of learned words at the beginning; CoOp's code


@dataclass(frozen=True)
class Context:
    """Learned words around the name or description of an emotion.

    Attributes:
        tokens: how many; 0 leaves the text as it is.
        place: of the emotion: at the ``end``, in the ``middle`` or in ``front`` of the learned words.
        per_class: each emotion learns separate ones instead of all the same.
    """

    tokens: int = 8
    place: Place = "end"
    per_class: bool = True

    def __post_init__(self) -> None:
        if self.tokens < 0:
            raise ValueError(f"Expected context.tokens to be at least 0, but got {self.tokens}.")


@dataclass(frozen=True)
class ClassTexts:
    """Texts in the numbers of a tokenizer.

    Attributes:
        classes: the tokens of each emotion's name or description, without any others.
        start: tokens before the text.
        end: tokens behind it; the last is the one at which CLIP reads the text.
    """

    classes: tuple[tuple[int, ...], ...]
    start: tuple[int, ...]
    end: tuple[int, ...]

    @classmethod
    def of(cls, texts: Sequence[str], tokenizer: PreTrainedTokenizerBase) -> "ClassTexts":
        """``texts``, each of which a full stop ends."""

        def numbers(text: str) -> tuple[int, ...]:
            return tuple(tokenizer(text, add_special_tokens=False)["input_ids"])

        start, end = cast(int, tokenizer.bos_token_id), cast(int, tokenizer.eos_token_id)
        return cls(tuple(numbers(text.rstrip(". ")) for text in texts), (start,), (*numbers("."), end))


class ClassPrompts(nn.Module):
    """Logits (B, C) of embeddings (B, E): their cosine with the text features of the emotions, times a learned scale.

    Args:
        clip: CLIP, frozen.
        texts: the emotions.
        context: learned words around them.

    Raises:
        ValueError: if a text is empty, or too long for the text tower.
    """

    start: Tensor
    end: Tensor

    def __init__(self, clip: Frozen[CLIPModel], texts: ClassTexts, context: Context) -> None:
        super().__init__()
        settings: Any = clip.network.config.text_config
        if not all(texts.classes):
            raise ValueError("Expected a name or description of every emotion, but one of them has no token.")
        longest = len(texts.start) + context.tokens + max(map(len, texts.classes)) + len(texts.end)
        if longest > settings.max_position_embeddings:
            raise ValueError(
                f"The longest description takes {longest} tokens with the {context.tokens} of context, but the text "
                f"tower reads {settings.max_position_embeddings}; shorten it, or set fewer context.tokens."
            )
        self.clip, self.texts, self.place, self.length = clip, texts, context.place, longest
        shape = (len(texts.classes) if context.per_class else 1, context.tokens, settings.hidden_size)
        self.context = nn.Parameter(_DEVIATION * torch.randn(shape)) if context.tokens else None
        self.logit_scale = nn.Parameter(clip.network.logit_scale.detach().clone())

    def prompts(self) -> Tensor:
        """Embeddings (C, L, D) of the texts with their context, without positions; zero behind the last token."""
        table: Any = self.clip.network.text_model.embeddings.token_embedding
        classes = len(self.texts.classes)
        none = table.weight.new_zeros(classes, 0, table.weight.shape[1])
        context = none if self.context is None else self.context.expand(classes, -1, -1)
        before = {"end": context.shape[1], "middle": context.shape[1] // 2, "front": 0}[self.place]

        def words(tokens: Sequence[int]) -> Tensor:
            return cast(Tensor, table(torch.tensor(tokens, device=table.weight.device)))

        start, end = words(self.texts.start), words(self.texts.end)
        rows = [
            torch.cat([start, own[:before], words(name), own[before:], end])
            for own, name in zip(context, self.texts.classes, strict=True)
        ]
        return nn.utils.rnn.pad_sequence(rows, batch_first=True)

    def features(self) -> Tensor:
        """Un-normalised features (C, E) of the emotions, read at the last token of each."""
        text: Any = self.clip.network.text_model
        prompts = self.prompts()
        length = prompts.shape[1]
        x = prompts + text.embeddings.position_embedding.weight[:length]
        later = torch.ones(length, length, dtype=torch.bool, device=x.device).triu(1)
        mask = torch.zeros_like(later, dtype=x.dtype).masked_fill(later, float("-inf"))[None, None]
        hidden = text.final_layer_norm(text.encoder(x, mask, is_causal=False).last_hidden_state)
        context = 0 if self.context is None else self.context.shape[1]
        around = len(self.texts.start) + context + len(self.texts.end)
        last = torch.tensor([around + len(name) - 1 for name in self.texts.classes], device=x.device)
        features: Tensor = self.clip.network.text_projection(hidden[torch.arange(len(last), device=x.device), last])
        return features

    def forward(self, embeddings: Tensor) -> Tensor:
        """Logits (B, C)."""
        return scaled_cosine(embeddings, self.features(), self.logit_scale)


class Prototypes(nn.Module):
    """Logits (B, C) of embeddings (B, E): their cosine with a learned vector per emotion, times a learned scale.

    The control for `ClassPrompts`: what it gets from words is what it scores above this.

    Args:
        width: E.
        classes: C.
        logit_scale: logarithm of the scale at the beginning.

    Example:
        >>> Prototypes(4, 3, logit_scale=2.66)(torch.randn(2, 4)).shape
        torch.Size([2, 3])
    """

    def __init__(self, width: int, classes: int, logit_scale: float) -> None:
        super().__init__()
        self.prototypes = nn.Parameter(torch.randn(classes, width) / width**0.5)
        self.logit_scale = nn.Parameter(torch.tensor(logit_scale))

    def forward(self, embeddings: Tensor) -> Tensor:
        """Logits (B, C)."""
        return scaled_cosine(embeddings, self.prototypes, self.logit_scale)


def scaled_cosine(embeddings: Tensor, classes: Tensor, logit_scale: Tensor) -> Tensor:
    """Logits (B, C): exp(logit_scale) times the cosine of embeddings (B, E) with the vectors (C, E) of the classes.

    Radford et al., arXiv:2103.00020, figure 3. The scale is at most 100, as there.

    Example:
        >>> scaled_cosine(torch.tensor([[2.0, 0.0]]), torch.eye(2), torch.tensor(0.0))
        tensor([[1., 0.]])
    """
    scale = logit_scale.exp().clamp(max=100.0)
    return scale * F.normalize(embeddings, dim=-1) @ F.normalize(classes, dim=-1).T
