"""A language model on this machine, by `transformers`."""

import hashlib
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import LogitsProcessor, LogitsProcessorList

from extractors.pretrained import fetch, load_language_model, load_tokenizer
from extractors.text.hint_prompt import Question
from extractors.text.hints import Answer, NoAnswerError
from m2fnet.errors import HintError
from m2fnet.files import sha256_of

_PLACE = "M2FNET-TRANSCRIPT"  # in a chat template, until the tokens of the transcript take its place


class _Begin(LogitsProcessor):
    """Rules out tokens that lead to none of the allowed beginnings, until one of them is written.

    Args:
        start: how many tokens were read.
        allowed: tokens of each beginning.
    """

    def __init__(self, start: int, allowed: Sequence[Sequence[int]]) -> None:
        self.start, self.allowed = start, [list(tokens) for tokens in allowed]

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Scores (1, V) of the next token after ``input_ids`` (1, N)."""
        written = input_ids[0, self.start :].tolist()
        if any(written[: len(tokens)] == tokens for tokens in self.allowed):
            return scores
        following = [tokens[len(written)] for tokens in self.allowed if tokens[: len(written)] == written]
        ruled_out = torch.ones_like(scores, dtype=torch.bool)
        ruled_out[:, following] = False
        return scores.masked_fill(ruled_out, -torch.inf)


class LocalModel:
    """Answers by a causal language model, one at a time, each token the most probable one that is allowed.

    Where an answer has to begin with a label, no other beginning is allowed: small models seldom keep to a form.

    A model with a chat template is asked by it. Whatever a transcript spells out, it is never one of the model's
    special tokens, such as the end of a message.

    Args:
        model: name on the Hugging Face hub, or folder, of the model and its tokenizer.
        most_tokens: of an answer.
        device: where it runs; its weights are loaded at the first question.

    Raises:
        RunError: if it cannot be loaded.
    """

    keeps_to_beginnings = True

    def __init__(self, model: str, *, most_tokens: int = 60, device: str = "cpu") -> None:
        self.most_tokens, self.parallel, self.device = most_tokens, 1, device
        self._folder = fetch(model)
        self._name = Path(model).name if Path(model).is_dir() else model
        self._tokenizer = load_tokenizer(self._folder)

    @cached_property
    def settings(self) -> dict[str, object]:
        """The model by its name and the hash of its files."""
        files = sorted(path for kind in ("*.json", "*.jinja", "*.safetensors") for path in self._folder.glob(kind))
        listing = "\n".join(f"{path.name} {sha256_of(path)}" for path in files)
        sha256 = hashlib.sha256(listing.encode()).hexdigest()
        return {"provider": "local", "model": self._name, "sha256": sha256, "most_tokens": self.most_tokens}

    def count(self, question: Question) -> int:
        """Tokens of a question."""
        return len(self._tokens(question))

    @torch.inference_mode()
    def ask(self, question: Question) -> Answer:
        """The model's answer.

        Raises:
            NoAnswerError: if the question is too long for the model.
        """
        tokens, network = self._tokens(question), self._network
        most = getattr(network.config, "max_position_embeddings", None)
        if most is not None and len(tokens) + self.most_tokens > most:
            raise NoAnswerError(
                f"The question has {len(tokens)} tokens; with {self.most_tokens} of the answer, the model has room for "
                f"{most}."
            )
        given = torch.tensor([tokens], device=self.device)
        allowed = self._beginnings(question)
        room = max(map(len, allowed)) if question.is_beginning_all else self.most_tokens
        written = network.generate(
            given, attention_mask=torch.ones_like(given), max_new_tokens=room, do_sample=False,
            temperature=None, top_p=None, top_k=None, pad_token_id=self._tokenizer.pad_token_id or 0,
            logits_processor=LogitsProcessorList([_Begin(len(tokens), allowed)] if allowed else []),
        )[0, len(tokens) :].tolist()  # fmt: skip
        if question.is_beginning_all:  # whatever a model without an end writes after it
            written = next(beginning for beginning in allowed if written[: len(beginning)] == beginning)
        text = self._tokenizer.decode(written, skip_special_tokens=True)
        return Answer(str(text), len(tokens), len(written))

    def _beginnings(self, question: Question) -> list[list[int]]:
        """The tokens of what an answer may begin with; if that is all of it, the end of an answer is one of them."""
        space = "" if self._tokenizer.chat_template is not None else " "
        found = [self._tokenizer(space + text, add_special_tokens=False)["input_ids"] for text in question.beginnings]
        if question.is_beginning_all:
            ends = self._network.generation_config.eos_token_id
            end = ends[0] if isinstance(ends, list) else ends
            return [[*tokens, *([] if end is None else [end])] for tokens in found]
        return found

    @cached_property
    def _network(self) -> Any:  # noqa: ANN401
        network: Any = load_language_model(self._folder)
        return network.to(self.device)

    def _tokens(self, question: Question) -> list[int]:
        """Tokens of a question; only the template's special tokens are special."""
        has_template = self._tokenizer.chat_template is not None
        asked = f"{question.instruction}\n\n{_PLACE}"
        if has_template:
            try:
                asked = str(
                    self._tokenizer.apply_chat_template(
                        [{"role": "user", "content": asked}],
                        tokenize=False, add_generation_prompt=True, enable_thinking=False,
                    )
                )  # fmt: skip
            except Exception as problem:  # templates are programs, and fail as those do
                raise HintError(
                    f"The chat template of {self._name} fails on one message of a user ({type(problem).__name__}); "
                    "choose another model."
                ) from problem
        else:
            asked = f"{asked}\n\nAnswer:"
        before, _, after = asked.partition(_PLACE)
        if asked.count(_PLACE) != 1:
            raise HintError(f"The chat template of {self._name} does not show a message once; choose another model.")
        pieces = (
            self._tokenizer(before, add_special_tokens=not has_template, verbose=False),
            self._tokenizer(question.data, add_special_tokens=False, split_special_tokens=True, verbose=False),
            self._tokenizer(after, add_special_tokens=False, verbose=False),
        )
        return [token for piece in pieces for token in piece["input_ids"]]
