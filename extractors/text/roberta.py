"""Text: a pretrained encoder reads an utterance between what was said before and after it.

The input is that of EmoBERTa, Kim & Vossen, arXiv:2108.12009, and tae898/erc utils.py `ErcTextDataset`, which M2FNet
(arXiv:2206.02187, section 3.2.1) builds on; the last layer is the embedding.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence
from transformers import PreTrainedTokenizerBase

from extractors.base import Extractor, PlacedUtterance, Sample
from extractors.pretrained import fetch, load_encoder, load_tokenizer, write_files
from extractors.text.transcript import has_text, utterance_text
from m2fnet.errors import MediaError, RunError
from m2fnet.records import Modality, Utterance

KEPT = "encoder"


class TextEncoder(Extractor):
    """Embeddings of utterances in their dialogue from any encoder of text that Hugging Face's ``AutoModel`` can load.

    The input is ``PAST </s></s> CURRENT </s></s> FUTURE``, with whatever the encoder's own tokenizer puts around and
    between two texts. The current utterance comes first into the token budget: its text, then its speaker. The
    utterances around it are added one past, one future, one past ..., each whole or not at all; the first that does not
    fit closes its side. An encoder with segments (token types) is given which tokens are the current utterance. What
    did not fit is counted in every sample: ``cut_utterances`` of the context, ``cut_tokens`` of the current one.

    Args:
        model: name on the Hugging Face hub, or folder, of the encoder and its tokenizer.
        pretrained: take its weights; otherwise only the architecture and the tokenizer.
        past: number of utterances before the current one; None for all.
        future: number of utterances after it; None for all, 0 for an extractor that never waits.
        budget: most tokens of an input.
        speakers: put the speaker's name in capitals before every utterance, as in ``JOEY: How are you?``
        names: what to call speakers that the corpus has only codes for, such as ``Ses01_F``; the others keep theirs.
        pooling: the embedding is the last layer at the ``first`` token, or its ``mean`` over the current utterance;
            ``tokens``: its sequence over the tokens of the current utterance, for networks that read sequences. That is
            for encoders as they are, because training needs one vector.
        gradient_checkpointing: compute activations twice instead of keeping them; less memory, slower.

    Raises:
        ValueError: for a setting that makes no sense or that the encoder cannot follow.
        RunError: if the encoder cannot be loaded.
    """

    modality: ClassVar[Modality] = "text"

    def __init__(
        self,
        model: str = "roberta-large",
        *,
        pretrained: bool = True,
        past: int | None = None,
        future: int | None = None,
        budget: int = 512,
        speakers: bool = True,
        names: dict[str, str] | None = None,
        pooling: Literal["first", "mean", "tokens"] = "first",
        gradient_checkpointing: bool = False,
    ) -> None:
        super().__init__()
        for name, utterances in {"past": past, "future": future}.items():
            if utterances is not None and utterances < 0:
                raise ValueError(f"Expected {name} >= 0 utterances, or None for all, but got {utterances}.")
        folder = fetch(model)
        self.tokenizer = load_tokenizer(folder)
        self.encoder = load_encoder(folder, pretrained=pretrained)
        self.opening, self.joint, self.closing = _separators(self.tokenizer, model)
        self.past, self.future = past, future
        self.room = budget - len(self.opening) - len(self.closing) - len(self.joint) * ((past != 0) + (future != 0))
        _check_budget(budget, self.room, self.encoder)
        self.speakers, self.names = speakers, names or {}
        self.pooling = pooling
        self.resolution = "frame" if pooling == "tokens" else "utterance"
        self.marks_current = (past, future) != (0, 0) and getattr(self.encoder.config, "type_vocab_size", 0) > 1
        if gradient_checkpointing:
            self.encoder.activation_checkpointing_enable()

    @property
    def width(self) -> int:
        """Length D of the embeddings."""
        return int(self.encoder.config.hidden_size)

    def preprocess(self, placed: PlacedUtterance) -> Sample:
        """Token ids (T,) of the utterance in its context, the place of the current one in them, and what was cut.

        Raises:
            MediaError: if the utterance has no text, or none that the tokenizer knows anything of.
        """
        current, cut_tokens = self._current(placed.utterance)
        before, after = _around(placed, self.past, self.future)
        past, future = fill(self._tokens_of(before), self._tokens_of(after), self.room - len(current))
        head = [*self.opening, *chain(*reversed(past)), *(self.joint if self.past != 0 else ())]
        tail = [*(self.joint if self.future != 0 else ()), *chain(*future), *self.closing]
        return {
            "tokens": torch.tensor([*head, *current, *tail]),
            "start": len(head),
            "end": len(head) + len(current),
            "cut_utterances": len(before) + len(after) - len(past) - len(future),
            "cut_tokens": cut_tokens,
        }

    def size(self, placed: PlacedUtterance) -> int:
        """Characters of the utterance and of those around it, of which many may not fit into the budget."""
        before, after = _around(placed, self.past, self.future)
        return sum(len(u.text or "") for u in (placed.utterance, *before, *after))

    def length(self, sample: Sample) -> int:
        """Number of tokens."""
        return len(sample["tokens"])

    def collate(self, samples: Sequence[Sample]) -> Sample:
        """One batch, padded to its longest sample: ``tokens``, ``mask`` and ``current`` (B, T); ``cut_*`` (B,)."""
        tokens = [sample["tokens"] for sample in samples]
        lengths = torch.tensor([len(ids) for ids in tokens])[:, None]
        bounds = torch.tensor([(sample["start"], sample["end"]) for sample in samples])
        place = torch.arange(int(lengths.max()))
        return {
            "tokens": pad_sequence(tokens, batch_first=True, padding_value=float(self.tokenizer.pad_token_id)),
            "mask": place < lengths,
            "current": (place >= bounds[:, :1]) & (place < bounds[:, 1:]),
            **{name: torch.tensor([s[name] for s in samples]) for name in ("cut_utterances", "cut_tokens")},
        }

    def forward(self, batch: Sample) -> Tensor | list[Tensor]:
        """Embeddings (B, D), or for every utterance those of its tokens, (T, D)."""
        segments = {"token_type_ids": batch["current"].long()} if self.marks_current else {}
        output = self.encoder(input_ids=batch["tokens"], attention_mask=batch["mask"].long(), **segments)
        hidden: Tensor = output.last_hidden_state
        if self.pooling == "tokens":
            return [row[current] for row, current in zip(hidden, batch["current"], strict=True)]
        return hidden[:, 0] if self.pooling == "first" else masked_mean(hidden, batch["current"])

    def backbones(self) -> Sequence[nn.Module]:
        """The encoder; there is nothing else."""
        return (self.encoder,)

    def save_assets(self, folder: Path) -> None:
        """Write the encoder's architecture and its tokenizer into ``folder``, so that the hub is not asked again."""
        write_files(folder / KEPT, self.encoder.config, self.tokenizer)

    @classmethod
    def asset_settings(cls, folder: Path) -> dict[str, object]:
        """Settings for the same network without pretrained weights from what `save_assets` wrote."""
        return {"model": str(folder / KEPT), "pretrained": False}

    def _current(self, utterance: Utterance) -> tuple[list[int], int]:
        """Tokens of the current utterance that fit, and the number of the others: first the name goes, then text."""
        name, text = self._name_and_text(utterance, "")
        if all(token == self.tokenizer.unk_token_id for token in text):
            raise MediaError("text", "the transcript holds no character that the tokenizer knows")
        kept = text[: self.room]
        kept = [*name, *kept] if len(name) + len(kept) <= self.room else kept
        return kept, len(name) + len(text) - len(kept)

    def _tokens_of(self, utterances: Iterable[Utterance]) -> Iterator[list[int]]:
        """Tokens of each utterance, made only when asked for: a dialogue may be longer than anything that fits."""
        for utterance in utterances:
            name, text = self._name_and_text(utterance, " ")
            yield name + text

    def _name_and_text(self, utterance: Utterance, gap: str) -> tuple[list[int], list[int]]:
        """Tokens of the speaker's name, if it is asked for and known, and of what was said; ``gap`` goes before."""
        text = utterance_text(utterance).strip()
        if not self.speakers or utterance.speaker is None:
            return [], self._tokens(gap + text)
        name = self.names.get(utterance.speaker, utterance.speaker).upper()
        return self._tokens(f"{gap}{name}:"), self._tokens(f" {text}")

    def _tokens(self, text: str) -> list[int]:
        # a text that spells out a separator must not become one
        coded = self.tokenizer(text, add_special_tokens=False, split_special_tokens=True, verbose=False)
        tokens: list[int] = coded["input_ids"]
        return tokens


def fill(past: Iterable[list[int]], future: Iterable[list[int]], room: int) -> tuple[list[list[int]], list[list[int]]]:
    """The utterances of either side, nearest first, that fit into ``room`` tokens, added one past, one future, ...

    The first that does not fit closes its side; the other side continues.

    Example:
        >>> fill(past=[[1], [2, 3], [4]], future=[[5, 6], [7]], room=4)
        ([[1]], [[5, 6], [7]])
    """
    taken: tuple[list[list[int]], list[list[int]]] = ([], [])
    sides = [(iter(past), taken[0]), (iter(future), taken[1])]
    while sides:
        for side in tuple(sides):
            utterances, chosen = side
            placed = next(utterances, None)
            if placed is None or len(placed) > room:
                sides.remove(side)
            else:
                chosen.append(placed)
                room -= len(placed)
    return taken


def masked_mean(x: Tensor, mask: Tensor) -> Tensor:
    """Mean (B, D) of the rows of ``x`` (B, T, D) where ``mask`` (B, T) is true; at least one in every sequence."""
    weights = mask.to(x.dtype)[..., None]
    mean: Tensor = (x * weights).sum(1) / weights.sum(1)
    return mean


def _around(placed: PlacedUtterance, past: int | None, future: int | None) -> tuple[list[Utterance], list[Utterance]]:
    """Up to ``past`` utterances with text before the current one and ``future`` after it, nearest first."""
    before = placed.dialogue.utterances[: placed.position][::-1]
    after = placed.dialogue.utterances[placed.position + 1 :]
    return [u for u in before[:past] if has_text(u)], [u for u in after[:future] if has_text(u)]


def _separators(tokenizer: PreTrainedTokenizerBase, model: str) -> tuple[list[int], list[int], list[int]]:
    """What the tokenizer puts before, between and after two texts.

    Raises:
        RunError: if it puts nothing between them or has no padding, as those of models that write text do.
    """
    coded = tokenizer("a", "b")
    tokens, texts = coded["input_ids"], coded.sequence_ids(0)
    first_ends, second_starts = len(texts) - texts[::-1].index(0), texts.index(1)
    second_ends = len(texts) - texts[::-1].index(1)
    opening, joint, closing = tokens[: texts.index(0)], tokens[first_ends:second_starts], tokens[second_ends:]
    if not joint or tokenizer.pad_token_id is None:
        raise RunError(
            f"The tokenizer of {model!r} has no separator or no padding; expected an encoder such as RoBERTa or BERT, "
            "not a model that writes text."
        )
    return opening, joint, closing


def _check_budget(budget: int, room: int, encoder: nn.Module) -> None:
    if room < 1:
        raise ValueError(f"Expected a budget of more than {budget - room} tokens, which separators take; got {budget}.")
    positions = _positions(encoder)
    if positions is not None and budget > positions:
        raise ValueError(f"Expected a budget of at most {positions} tokens for this encoder, but got {budget}.")


def _positions(encoder: nn.Module) -> int | None:
    """Longest input an encoder with learnt positions can take; None for one without such a limit."""
    for name, module in encoder.named_modules():
        if name.endswith("position_embeddings") and isinstance(module, nn.Embedding):
            # RoBERTa's family counts from behind the number that stands for padding
            return module.num_embeddings - (0 if module.padding_idx is None else module.padding_idx + 1)
    return None
