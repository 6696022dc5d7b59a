"""Text: a pretrained encoder reads an utterance between what was said before and after it.

The input is that of EmoBERTa, Kim & Vossen, arXiv:2108.12009, and tae898/erc utils.py `ErcTextDataset`, which M2FNet
(arXiv:2206.02187, section 3.2.1) builds on. Models that write text read an utterance without its context.
"""

from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from itertools import chain
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence
from transformers import PreTrainedTokenizerBase

from extractors.base import PlacedUtterance, Sample
from extractors.layers.encoder import KEPT, EncoderExtractor, States, Trained
from extractors.layers.hidden_states import Layers, hidden_states
from extractors.layers.low_rank import LowRank
from extractors.layers.readout import Combine, Pooling, Readout, parts
from extractors.pretrained import fetch, load_encoder, load_tokenizer, write_files
from extractors.text.transcript import has_text, utterance_text
from m2fnet.errors import MediaError, RunError
from m2fnet.records import Modality, Utterance


class TextEncoder(EncoderExtractor):
    """Embeddings of utterances in their dialogue from any encoder of text that Hugging Face's ``AutoModel`` can load.

    The input is ``PAST </s></s> CURRENT </s></s> FUTURE``, with whatever the encoder's own tokenizer puts around and
    between two texts. The current utterance comes first into the token budget: its text, then its speaker. The
    utterances around it are added one past, one future, one past ..., each whole or not at all; the first that does not
    fit closes its side. An encoder with segments (token types) is given which tokens are the current utterance. What
    did not fit is counted in every sample: ``cut_utterances`` of the context, ``cut_tokens`` of the current one. With
    an ``overlap``, an utterance that is longer than the budget is read in parts, and nothing of it is cut.

    Pooling is over the tokens of the current utterance, its speaker's name included; ``first`` is the first token of
    the whole input, the one that BERT and RoBERTa are trained to sum up in.

    Args:
        model: name on the Hugging Face hub, or folder, of the encoder and its tokenizer.
        pretrained: take its weights; otherwise only the architecture and the tokenizer.
        past: number of utterances before the current one; None for all.
        future: number of utterances after it; None for all, 0 for an extractor that never waits.
        budget: most tokens of an input.
        speakers: put the speaker's name in capitals before every utterance, as in ``JOEY: How are you?``
        names: what to call speakers that the corpus has only codes for, such as ``Ses01_F``; the others keep theirs.
        layers: which hidden states are the embedding, see `extractors.layers.hidden_states.layer_numbers`.
        combine: how several layers become one, see `extractors.layers.readout.Readout`.
        pooling: how tokens become one vector, see there.
        trained: what of the encoder learns, see `extractors.layers.encoder.EncoderExtractor`.
        low_rank: the change of low rank that learns, with ``trained: low_rank``.
        overlap: tokens that the parts of a text longer than the budget share; None: such a text is cut. Only without
            context.
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
        layers: Layers = -1,
        combine: Combine = "average",
        pooling: Pooling = "first",
        trained: Trained = "all",
        low_rank: LowRank | None = None,
        overlap: int | None = None,
        gradient_checkpointing: bool = False,
    ) -> None:
        super().__init__()
        for name, utterances in {"past": past, "future": future}.items():
            if utterances is not None and utterances < 0:
                raise ValueError(f"Expected {name} >= 0 utterances, or None for all, but got {utterances}.")
        self.past, self.future = past, future
        folder = fetch(model)
        self.tokenizer = load_tokenizer(folder)
        encoder = load_encoder(folder, pretrained=pretrained)
        self.opening, self.joint, self.closing = _separators(self.tokenizer)
        if not self.joint and (past, future) != (0, 0):
            raise RunError(
                f"The tokenizer of {model!r} has no separator between two texts, as those of models that write text; "
                "expected an encoder such as RoBERTa or BERT, or the settings past: 0 and future: 0."
            )
        self.room = budget - len(self.opening) - len(self.closing) - len(self.joint) * ((past != 0) + (future != 0))
        _check_budget(budget, self.room, encoder)
        if overlap is not None and not ((past, future) == (0, 0) and 0 <= overlap <= self.room // 2):
            raise ValueError(
                f"Expected an overlap from 0 to {self.room // 2} tokens, half of what fits, and past: 0 and future: 0, "
                f"but got overlap={overlap}, past={past}, future={future}."
            )
        self.overlap = overlap
        self.speakers, self.names = speakers, names or {}
        self.marks_current = (past, future) != (0, 0) and getattr(encoder.config, "type_vocab_size", 0) > 1
        if gradient_checkpointing:
            encoder.activation_checkpointing_enable()
        self.read_encoder(encoder, Readout.of(encoder, layers, combine, pooling), trained, low_rank)
        if trained == "all" and self.depth not in self.readout.numbers:
            self.freeze_unreached()

    @property
    def width(self) -> int:
        """Length D of the embeddings."""
        return self.readout.width

    def preprocess(self, placed: PlacedUtterance) -> Sample:
        """Token ids (T,) of the utterance in its context, the place of the current one in them, and what was cut.

        Of a text that is read in parts this is the first part, and ``rest`` has the same of the others.

        Raises:
            MediaError: if the utterance has no text, or none that the tokenizer knows anything of.
        """
        if self.overlap is not None:
            return self._in_parts(self._whole(placed.utterance), self.overlap)
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
        """One batch of R inputs, padded to its longest: ``tokens``, ``mask`` and ``current`` (R, T); ``cut_*`` (B,).

        ``inputs`` (B,) is how many of them are each utterance's: one, unless it is read in parts.
        """
        inputs = [[sample, *sample.get("rest", ())] for sample in samples]
        rows = [one for found in inputs for one in found]
        tokens = [one["tokens"] for one in rows]
        lengths = torch.tensor([len(ids) for ids in tokens])[:, None]
        bounds = torch.tensor([(one["start"], one["end"]) for one in rows])
        place = torch.arange(int(lengths.max()))
        return {
            "tokens": pad_sequence(tokens, batch_first=True, padding_value=float(self.tokenizer.pad_token_id or 0)),
            "mask": place < lengths,
            "current": (place >= bounds[:, :1]) & (place < bounds[:, 1:]),
            "inputs": torch.tensor([len(found) for found in inputs]),
            **{name: torch.tensor([s[name] for s in samples]) for name in ("cut_utterances", "cut_tokens")},
        }

    def states(self, batch: Sample) -> States:
        """Hidden states at the tokens that are pooled; as many inputs together as there are utterances."""
        counted = batch["current"]
        if self.readout.pooling == "first":
            is_first_input = batch["inputs"].cumsum(0) - batch["inputs"]
            counted = torch.zeros_like(counted)
            counted[is_first_input, 0] = True
        owner = torch.repeat_interleave(batch["inputs"])
        lengths = owner.new_zeros(len(batch["inputs"])).index_add(0, owner, counted.sum(1))
        found: dict[int, list[Tensor]] = {number: [] for number in self.readout.numbers}
        given = (batch["tokens"], batch["mask"].long(), batch["current"].long(), counted)
        for tokens, mask, current, kept in zip(*(part.split(len(lengths)) for part in given), strict=True):
            segments = {"token_type_ids": current} if self.marks_current else {}
            read = partial(self._read, input_ids=tokens, attention_mask=mask, **segments)
            for number, states in hidden_states(self.blocks, found, self.depth, read).items():
                found[number].append(states[kept])
        return States({number: torch.cat(states) for number, states in found.items()}, lengths)

    def example(self) -> Sample:
        """A text of one token."""
        return self._in_parts([0], 0)

    def words(self, utterance: Utterance) -> str:
        """What is read of an utterance: its transcript.

        Raises:
            MediaError: if it has none.
        """
        return utterance_text(utterance).strip()

    def forward(self, batch: Sample) -> Tensor | list[Tensor]:
        """Embeddings (B, D), or the tokens' (T, D) each."""
        states = self.states(batch)
        return self.readout(states.layers, states.lengths)

    def save_assets(self, folder: Path) -> None:
        """Write the encoder's architecture and its tokenizer into ``folder``, so that the hub is not asked again."""
        super().save_assets(folder)
        write_files(folder / KEPT, self.encoder.config, self.tokenizer)

    def _read(self, **given: Tensor) -> Tensor:
        output: Tensor = self.encoder(**given).last_hidden_state
        return output

    def _in_parts(self, tokens: list[int], overlap: int) -> Sample:
        """The sample of tokens without context, in parts if they do not fit."""
        before = len(self.opening)
        inputs: list[Sample] = [
            {
                "tokens": torch.tensor([*self.opening, *tokens[part], *self.closing]),
                "start": before + counted.start - part.start,
                "end": before + counted.stop - part.start,
            }
            for part, counted in parts(len(tokens), self.room, overlap)
        ]
        return {**inputs[0], "rest": inputs[1:], "cut_utterances": 0, "cut_tokens": 0}

    def _whole(self, utterance: Utterance) -> list[int]:
        """All tokens of an utterance, its speaker's name included."""
        name, text = self._known(utterance)
        return name + text

    def _current(self, utterance: Utterance) -> tuple[list[int], int]:
        """Tokens of the current utterance that fit, and the number of the others: first the name goes, then text."""
        name, text = self._known(utterance)
        kept = text[: self.room]
        kept = [*name, *kept] if len(name) + len(kept) <= self.room else kept
        return kept, len(name) + len(text) - len(kept)

    def _known(self, utterance: Utterance) -> tuple[list[int], list[int]]:
        """Tokens of the name and of the text, which holds something that the tokenizer knows."""
        name, text = self._name_and_text(utterance, "")
        if all(token == self.tokenizer.unk_token_id for token in text):
            raise MediaError("text", "the transcript holds no character that the tokenizer knows")
        return name, text

    def _tokens_of(self, utterances: Iterable[Utterance]) -> Iterator[list[int]]:
        """Tokens of each utterance, made only when asked for: a dialogue may be longer than anything that fits."""
        for utterance in utterances:
            name, text = self._name_and_text(utterance, " ")
            yield name + text

    def _name_and_text(self, utterance: Utterance, gap: str) -> tuple[list[int], list[int]]:
        """Tokens of the speaker's name, if it is asked for and known, and of what was said; ``gap`` goes before."""
        text = self.words(utterance)
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


def _around(placed: PlacedUtterance, past: int | None, future: int | None) -> tuple[list[Utterance], list[Utterance]]:
    """Up to ``past`` utterances with text before the current one and ``future`` after it, nearest first."""
    before = placed.dialogue.utterances[: placed.position][::-1]
    after = placed.dialogue.utterances[placed.position + 1 :]
    return [u for u in before[:past] if has_text(u)], [u for u in after[:future] if has_text(u)]


def _separators(tokenizer: PreTrainedTokenizerBase) -> tuple[list[int], list[int], list[int]]:
    """What the tokenizer puts before, between and after two texts.

    A model that writes text attends to its first token whatever it is, so that a token that begins a text is put there
    if the tokenizer has one.
    """
    coded = tokenizer("a", "b")
    tokens, texts = coded["input_ids"], coded.sequence_ids(0)
    first_ends, second_starts = len(texts) - texts[::-1].index(0), texts.index(1)
    second_ends = len(texts) - texts[::-1].index(1)
    opening, joint, closing = tokens[: texts.index(0)], tokens[first_ends:second_starts], tokens[second_ends:]
    if not (opening or joint or closing) and tokenizer.bos_token_id is not None:
        opening = [tokenizer.bos_token_id]
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
        if name.endswith(("position_embeddings", "wpe", "embed_positions")) and isinstance(module, nn.Embedding):
            # RoBERTa's family counts from behind the number that stands for padding
            return module.num_embeddings - (0 if module.padding_idx is None else module.padding_idx + 1)
    return None
