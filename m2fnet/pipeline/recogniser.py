"""Speech to words with Whisper, one stretch of at most 30 seconds at a time."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import GenerationConfig, GenerationMixin, WhisperFeatureExtractor
from transformers.generation.logits_process import LogitsProcessorList, WhisperTimeStampLogitsProcessor
from transformers.modeling_outputs import BaseModelOutput
from transformers.models.whisper.tokenization_whisper import LANGUAGES

from extractors.pretrained import fetch, load_recogniser, load_tokenizer
from m2fnet.conversation.recognised import Heard, Phrase
from m2fnet.errors import RunError, UsageError
from m2fnet.files import read_json, sha256_of
from m2fnet.media.audio import RATE

_ADVICE = "Expected what `save_pretrained` writes for a Whisper."
_START, _NO_TIMES, _TASK = "<|startoftranscript|>", "<|notimestamps|>", "<|transcribe|>"
_NO_SPEECH = ("<|nospeech|>", "<|nocaptions|>")  # the name in newer and in older vocabularies
_STEP_S = 0.02  # between two tokens of time
_MULTILINGUAL = 51_865  # tokens of such a model, at least
_MOST_TOKENS = 224  # openai/whisper decoding.py `sample_len`, half of its 448
_LATEST_FIRST = 50  # steps; the first words begin in the first second, as `max_initial_timestamp` there
_QUIETEST = 1e-10  # power


class Recogniser:
    """A Whisper that writes what is said, with times, and how sure it is.

    Its likeliest token is taken each time, without sampling, so that the same sound gives the same words. Weights are
    read from safetensors only, and no code comes with them.

    Args:
        model: name on the Hugging Face hub, such as ``openai/whisper-base``, or a folder.
        device: where it runs.
        language: of the speech, as a code (``de``) or an English word (``german``); None: a multilingual model finds
            it, and one of English only needs none.

    Attributes:
        name: of the model, of a folder its last part.
        sha256: of its settings and weights, and the language that is given.
        languages: code of a language -> its token; empty for a model of English only.

    Raises:
        UsageError: if the model is no Whisper, or does not write ``language``.
        RunError: if there is no such model, or it is damaged.
    """

    def __init__(self, model: str, *, device: str = "cpu", language: str | None = None) -> None:
        folder = fetch(model)
        settings = read_json(folder / "config.json", RunError, _ADVICE)
        if (kind := settings.get("model_type")) != "whisper":
            raise UsageError(
                f"{model} is a model of the type {kind!r}, which does not write what is said; expected a Whisper, such "
                "as openai/whisper-tiny."
            )
        self.name = folder.name if Path(model).is_dir() else model
        network: Any = load_recogniser(folder)
        self._network = network.to(device)
        self._tokenizer = load_tokenizer(folder)
        self._listen = _feature_extractor(folder)
        tokens = self._tokenizer.get_vocab()
        if missing := [name for name in (_START, _NO_TIMES) if name not in tokens]:
            raise RunError(f"The tokenizer in {folder} has no {missing[0]}. {_ADVICE}")
        self._start, self._first_time = tokens[_START], tokens[_NO_TIMES] + 1
        self._no_speech = next((tokens[name] for name in _NO_SPEECH if name in tokens), None)
        steps = self._network.config.vocab_size - self._first_time
        self._has_times = steps > self.longest_s / _STEP_S  # otherwise all words of a stretch are one phrase
        written = folder / "generation_config.json"
        given = read_json(written, RunError, _ADVICE) if written.is_file() else {}
        # models of English only have the tokens of languages too, but one token less in all
        has_languages = given.get("is_multilingual", self._network.config.vocab_size >= _MULTILINGUAL)
        names = [code for code in LANGUAGES if f"<|{code}|>" in tokens] if has_languages and _TASK in tokens else []
        self.languages = {code: tokens[f"<|{code}|>"] for code in names}
        self._task = tokens.get(_TASK)
        self.language = self._checked(language)
        self.sha256 = _sha256(folder, self.language)
        self._settings = self._generation(given)

    @property
    def longest_s(self) -> float:
        """The most seconds of sound that are heard together."""
        return float(self._listen.chunk_length)

    @torch.inference_mode()
    def hear(self, samples: Tensor, language: str | None = None) -> Heard:
        """What is said in samples (N,) at 16 kHz, at most `longest_s` of them.

        Args:
            samples: in -1..1.
            language: code of the one that is spoken, for a multilingual model.

        Returns:
            Phrases with times from the first sample on. A model without tokens of time gives one.
        """
        seconds = len(samples) / RATE
        states = self._encode(samples)
        prompt = [self._start]
        if self.languages and self._task is not None:
            prompt += [self.languages[language or self.language or "en"], self._task]
        if not self._has_times:
            prompt.append(self._first_time - 1)
        no_speech = 0.0
        if self._no_speech is not None:
            no_speech = float(self._first_token(states).softmax(-1)[self._no_speech])
        tokens, log_probabilities = self._write(states, prompt)
        phrases = tuple(self._phrases(tokens, log_probabilities, seconds))
        level_db = float(10 * samples.square().mean().clamp(min=_QUIETEST).log10())
        return Heard(phrases, no_speech, level_db)

    @torch.inference_mode()
    def language_of(self, sounds: Sequence[Tensor]) -> str | None:
        """Code of the language that is most probable in all sounds (N,) together; None for a model of English only."""
        if self.language is not None or not self.languages or not sounds:
            return self.language
        ids = torch.tensor(list(self.languages.values()))
        scores = sum(self._first_token(self._encode(sound))[ids].log_softmax(-1) for sound in sounds)
        assert isinstance(scores, Tensor)
        return list(self.languages)[int(scores.argmax())]

    def _checked(self, language: str | None) -> str | None:
        """The code of a language that the model writes."""
        if language is None:
            return None
        names = {name: code for code, name in LANGUAGES.items()}
        code = names.get(language.lower(), language.lower())
        if not self.languages and code != "en":
            raise UsageError(f"{self.name} writes English only; name a multilingual Whisper, or drop --language.")
        if self.languages and code not in self.languages:
            raise UsageError(f"{self.name} does not know the language {language!r}; expected a code such as en or de.")
        return code if self.languages else None

    def _generation(self, given: Mapping[str, object]) -> GenerationConfig:
        """How it writes: what a released model suppresses, and all tokens that are neither words nor times."""
        config, size = self._network.config, self._network.config.vocab_size
        marks = range(config.eos_token_id + 1, self._first_time) if config.eos_token_id < self._first_time else ()
        listed = given.get("suppress_tokens") or ()
        first = given.get("begin_suppress_tokens") or (config.eos_token_id,)
        return GenerationConfig(  # type: ignore[no-untyped-call]
            max_new_tokens=min(_MOST_TOKENS, config.max_target_positions - 5),
            do_sample=False,
            num_beams=1,
            eos_token_id=config.eos_token_id,
            pad_token_id=config.pad_token_id,
            bos_token_id=self._start,
            decoder_start_token_id=self._start,
            suppress_tokens=sorted({*_ids(listed, size), *marks}) or None,
            begin_suppress_tokens=None if self._has_times else _ids(first, size),
            no_timestamps_token_id=self._first_time - 1,
            max_initial_timestamp_index=_LATEST_FIRST,
            return_dict_in_generate=True,
            output_scores=True,
        )

    def _encode(self, samples: Tensor) -> Tensor:
        """States (1, T, D) of the encoder for samples (N,), padded to its length as in its training."""
        device = self._network.device
        mel = self._listen(samples.cpu().numpy(), sampling_rate=RATE, return_tensors="pt")["input_features"]
        states: Tensor = self._network.get_encoder()(mel.to(device)).last_hidden_state
        return states

    def _first_token(self, states: Tensor) -> Tensor:
        """Scores (V,) of the token after the start: a language, or that nobody speaks."""
        start = torch.tensor([[self._start]], device=states.device)
        output = self._network(encoder_outputs=BaseModelOutput(last_hidden_state=states), decoder_input_ids=start)
        scores: Tensor = output.logits[0, -1].float().cpu()
        return scores

    def _write(self, states: Tensor, prompt: Sequence[int]) -> tuple[list[int], list[float]]:
        """The tokens that are written, and their log-probabilities.

        The method of the base class is called, because Whisper's own loses the scores and asks for settings that older
        and converted models do not have.
        """
        processors = LogitsProcessorList()
        if self._has_times:
            processors.append(
                WhisperTimeStampLogitsProcessor(
                    self._settings, begin_index=len(prompt), _detect_timestamp_from_logprob=True
                )
            )
        generate: Any = GenerationMixin.generate
        output = generate(
            self._network,
            encoder_outputs=BaseModelOutput(last_hidden_state=states),
            decoder_input_ids=torch.tensor([prompt], device=states.device),
            generation_config=self._settings,
            logits_processor=processors,
        )
        tokens = output.sequences[0, len(prompt) :].tolist()
        scores = (float(step[0].log_softmax(-1)[token]) for step, token in zip(output.scores, tokens, strict=True))
        return tokens, list(scores)

    def _phrases(self, tokens: Sequence[int], log_probabilities: Sequence[float], seconds: float) -> Iterator[Phrase]:
        """The words between tokens of time."""
        start_s, words, scores = 0.0, list[int](), list[float]()
        for token, score in zip(tokens, log_probabilities, strict=True):
            if token < self._first_time:
                words += [token] if token != self._network.config.eos_token_id else []
                scores.append(score)
                continue
            time_s = min((token - self._first_time) * _STEP_S, seconds)
            if words:
                yield self._phrase(start_s, time_s, words, scores)
            start_s, words, scores = time_s, [], []
        if words:
            yield self._phrase(start_s, seconds, words, scores)

    def _phrase(self, start_s: float, end_s: float, words: Sequence[int], scores: Sequence[float]) -> Phrase:
        text = str(self._tokenizer.decode(list(words), skip_special_tokens=True))
        return Phrase(start_s, end_s, " ".join(text.split()), sum(scores) / len(scores))


def _feature_extractor(folder: Path) -> WhisperFeatureExtractor:
    """What makes the log-mel spectrogram, from the numbers in ``preprocessor_config.json``."""
    given: Mapping[str, object] = read_json(folder / "preprocessor_config.json", RunError, _ADVICE)
    names = ("feature_size", "sampling_rate", "hop_length", "chunk_length", "n_fft")
    numbers = {name: given[name] for name in names if name in given}
    if not all(isinstance(value, int) and 0 < value <= RATE for value in numbers.values()) or (
        numbers.get("sampling_rate", RATE) != RATE
    ):
        raise RunError(f"The settings in {folder / 'preprocessor_config.json'} are not those of a Whisper. {_ADVICE}")
    return WhisperFeatureExtractor(**numbers)  # type: ignore[no-untyped-call]


def _sha256(folder: Path, language: str | None) -> str:
    """SHA-256 of the files that the words depend on, and of the language."""
    digest = hashlib.sha256(f"{language}\n".encode())
    names = ("config.json", "generation_config.json", "preprocessor_config.json", "tokenizer.json")
    for path in (*(folder / name for name in names), *sorted(folder.glob("model*.safetensors"))):
        if path.is_file():
            digest.update(f"{path.name} {sha256_of(path)}\n".encode())
    return digest.hexdigest()


def _ids(values: object, size: int) -> list[int]:
    """The numbers in ``values`` that are tokens."""
    found = values if isinstance(values, list | tuple) else ()
    return [value for value in found if isinstance(value, int) and 0 <= value < size]
