"""Hints: what a language model says about the emotion of a transcript, once for every utterance of a manifest.

A folder of hints holds::

    answers.jsonl   {"key", "answer", "input_tokens", "output_tokens"} per answer, appended when it arrives; the key is
                    a hash of all that was asked, of whom and how. A last line that a kill cut off is ignored
    hints.jsonl     {"id", "text_sha256", "hint", "why_not"} per utterance, written when all were asked
    meta.json       prompt, model, manifest, counts and the SHA-256 of ``hints.jsonl``; written last

So nothing that was answered is asked again, and a hint is only used for the transcript that it was made for.
"""

import hashlib
import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol

from extractors.text.hint_prompt import Hint, Prompt, Question
from extractors.text.transcript import has_text
from m2fnet.errors import HintError, UsageError
from m2fnet.files import read_json, read_jsonl, sha256_of, write_json, write_jsonl
from m2fnet.manifest import Manifest
from m2fnet.records import Utterance

ANSWERS, HINTS, META = "answers.jsonl", "hints.jsonl", "meta.json"
ADVICE = "Make them with `m2fnet hints`, which resumes what was interrupted."
MOST_BYTES = 2**28  # of a file of hints, which is read as a whole
_MOST_ANSWER = 20_000  # characters of an answer that are kept
_MOST_FAILURES = 5  # questions without an answer in sequence, after which it is not the questions' fault
_NO_TRANSCRIPT, _NO_ANSWER = "no transcript", "no answer"


class NoAnswerError(HintError):
    """A language model does not answer one question; others may be answered."""


@dataclass(frozen=True)
class Answer:
    """What a language model wrote, and the tokens that were read and written for it."""

    text: str
    input_tokens: int
    output_tokens: int


class LanguageModel(Protocol):
    """Whoever answers questions."""

    most_tokens: int  # of an answer
    parallel: int  # questions that it takes at the same time, from several threads

    @property
    def settings(self) -> Mapping[str, object]:
        """All that an answer depends on except the question, in plain values; nothing secret."""

    @property
    def keeps_to_beginnings(self) -> bool:
        """Whether it begins no answer but as the question allows."""

    def count(self, question: Question) -> int:
        """Tokens of a question, or about as many; nothing is sent for it."""

    def ask(self, question: Question) -> Answer:
        """The answer.

        Raises:
            NoAnswerError: if there is none to this question.
            HintError: if there will be none to any.
        """


class HintSource(Protocol):
    """Where hints come from: a language model, or a file."""

    prompt: Prompt

    @property
    def settings(self) -> Mapping[str, object]:
        """What the hints depend on except prompt and utterances."""

    def ask(self, utterance: Utterance, before: Sequence[Utterance] = ()) -> Hint:
        """The hint for an utterance, with those before it in its dialogue."""


class AnswerCache:
    """Answers by the hash of what was asked, in a file to which each is appended when it arrives.

    Args:
        path: the file; lines that are not whole are ignored.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "answers.jsonl"
        >>> AnswerCache(path).add("3f", Answer("joy", 20, 1))
        >>> AnswerCache(path)["3f"].text, "a0" in AnswerCache(path)
        ('joy', False)
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._answers: dict[str, Answer] = {}
        self._is_torn = False
        self._lock = threading.Lock()
        if path.is_file():
            with path.open("rb") as file:
                for line in file:
                    self._is_torn = not line.endswith(b"\n")
                    if found := _entry(line):
                        self._answers[found[0]] = found[1]

    def __contains__(self, key: str) -> bool:
        return key in self._answers

    def __getitem__(self, key: str) -> Answer:
        return self._answers[key]

    def add(self, key: str, answer: Answer) -> None:
        """Keep an answer."""
        entry = {"key": key, "answer": answer.text, **asdict(answer)}
        del entry["text"]
        with self._lock:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("ab", buffering=0) as file:
                file.write(("\n" * self._is_torn + json.dumps(entry) + "\n").encode())
            self._is_torn = False
            self._answers[key] = answer


class Hinter:
    """Asks a language model about utterances, one question for each, and none twice.

    Args:
        prompt: what is asked.
        model: who answers.
        cache: of answers.

    Example:
        >>> import tempfile
        >>> class Parrot:
        ...     most_tokens, parallel, keeps_to_beginnings, settings = 1, 1, False, {"model": "parrot"}
        ...
        ...     def count(self, question):
        ...         return len(question.data)
        ...
        ...     def ask(self, question):
        ...         return Answer("joy", self.count(question), 1)
        >>> cache = AnswerCache(Path(tempfile.mkdtemp()) / "answers.jsonl")
        >>> hinter = Hinter(Prompt(("joy", "anger"), "label"), Parrot(), cache)
        >>> hinter.hint(Utterance("u0", "own", "test", "d", 0, text="Great!"))
        'joy'
    """

    def __init__(self, prompt: Prompt, model: LanguageModel, cache: AnswerCache) -> None:
        self.prompt, self.model, self.cache = prompt, model, cache
        self.used: dict[str, Answer] = {}  # every answer that hints were made of, once
        self.unanswered: dict[str, str] = {}  # why a question of this call has no answer, by its hash
        self._failed = 0  # of these, in sequence

    @property
    def settings(self) -> Mapping[str, object]:
        """Those of the model."""
        return self.model.settings

    def hint(self, utterance: Utterance, context: Sequence[Utterance] = ()) -> str:
        """The hint for an utterance after those of ``context``; empty if there is none."""
        return self.ask(utterance, context).text

    def ask(self, utterance: Utterance, before: Sequence[Utterance] = ()) -> Hint:
        """The same, with the reason why there is none.

        Raises:
            HintError: if several questions in sequence have no answer, or there will be no answer at all.
        """
        if not has_text(utterance):
            return Hint("", _NO_TRANSCRIPT)
        question = self.prompt.question(utterance, before)
        key = self._key(question)
        if key not in self.cache and key not in self.unanswered:
            self._answer(question)
        if key in self.unanswered:
            return Hint("", _NO_ANSWER)
        self.used[key] = self.cache[key]
        return self.prompt.hint(self.cache[key].text)

    def answer(self, manifest: Manifest, done: Callable[[], None] = lambda: None) -> None:
        """Have all questions about a manifest answered, as many at the same time as the model takes.

        Args:
            manifest: the utterances.
            done: is called after every question.

        Raises:
            HintError: as of `ask`.
        """
        left = self.unasked(manifest)
        if self.model.parallel == 1:  # without threads, so that Ctrl-C waits for nothing
            for question in left:
                self._answer(question)
                done()
            return
        pool = ThreadPoolExecutor(self.model.parallel)
        try:
            for _ in pool.map(self._answer, list(left)):
                done()
        finally:
            pool.shutdown(cancel_futures=True)

    def unasked(self, manifest: Manifest) -> Iterator[Question]:
        """The questions that are left for a manifest, each once; nothing is asked."""
        seen: set[str] = set()
        for utterance, before in with_context(manifest, self.prompt.context):
            if has_text(utterance):
                question = self.prompt.question(utterance, before)
                key = self._key(question)
                if key not in self.cache and key not in seen:
                    seen.add(key)
                    yield question

    def _answer(self, question: Question) -> None:
        """Ask one question, and keep the answer or why there is none."""
        key = self._key(question)
        try:
            answer = self.model.ask(question)
        except NoAnswerError as why:
            self.unanswered[key] = str(why)
            self._failed += 1
            if self._failed >= _MOST_FAILURES:
                raise HintError(
                    f"{self._failed} questions in sequence got no answer, the last because: {why} What is finished is "
                    "kept; the same command resumes."
                ) from why
            return
        self._failed = 0
        self.cache.add(key, Answer(answer.text[:_MOST_ANSWER], answer.input_tokens, answer.output_tokens))

    def _key(self, question: Question) -> str:
        asked: dict[str, object] = asdict(question)
        if not self.model.keeps_to_beginnings:  # nobody has sent them: answers, which may have cost money, stay valid
            del asked["beginnings"], asked["is_beginning_all"]
        content = {"model": self.model.settings, **asked}
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


class HintFile:
    """Hints from a JSONL file of ``{"id": ..., "hint": ...}``, checked as answers are.

    Raises:
        HintError: if the file is absent, too large, or damaged.
    """

    def __init__(self, prompt: Prompt, path: Path) -> None:
        self.prompt = prompt
        self._rows = {name: hint for name, (_, hint) in _rows(path).items()}
        self.settings: Mapping[str, object] = {"provider": "file", "file": path.name, "sha256": sha256_of(path)}

    def ask(self, utterance: Utterance, before: Sequence[Utterance] = ()) -> Hint:
        """The hint of the utterance's row."""
        if not has_text(utterance):
            return Hint("", _NO_TRANSCRIPT)
        if utterance.id not in self._rows:
            return Hint("", "not in the file")
        return self.prompt.hint(self._rows[utterance.id])


@dataclass(frozen=True)
class Hints:
    """Hints of utterances as an extractor reads them.

    Attributes:
        of: id of an utterance -> SHA-256 of its transcript, or None if that is unknown, and the hint.
        made_from: hash, prompt and model, for the provenance of stores.

    Example:
        >>> hints = Hints({"u0": (None, "joy: she laughs")}, {})
        >>> hints.hint_of(Utterance("u0", "own", "test", "d", 0, text="Great!"))
        'joy: she laughs'
    """

    of: Mapping[str, tuple[str | None, str]]
    made_from: Mapping[str, object]

    def hint_of(self, utterance: Utterance) -> str:
        """The hint for exactly this transcript; empty if there is none."""
        sha256, hint = self.of.get(utterance.id, (None, ""))
        return hint if sha256 is None or sha256 == text_sha256(utterance) else ""


def write_hints(
    out: Path, manifest: Manifest, source: HintSource, *, done: Callable[[], None] = lambda: None
) -> Mapping[str, int]:
    """Ask ``source`` about every utterance of ``manifest`` and write ``hints.jsonl`` and ``meta.json`` into ``out``.

    Args:
        out: folder.
        manifest: it has been saved.
        source: of the hints.
        done: is called after every question to a language model.

    Returns:
        how many utterances have a hint, under ``"hints"``, and how many have none for which reason.

    Raises:
        HintError: if the source does not answer; what it answered is kept.
    """
    if isinstance(source, Hinter):
        source.answer(manifest, done)
    rows: list[dict[str, object]] = []
    counts: Counter[str] = Counter(hints=0)
    for utterance, before in with_context(manifest, source.prompt.context):
        hint = source.ask(utterance, before)
        counts[hint.why_not or "hints"] += 1
        row: dict[str, object] = {"id": utterance.id, "text_sha256": text_sha256(utterance), "hint": hint.text}
        rows.append({**row, "why_not": hint.why_not} if hint.why_not else row)
    write_jsonl(out / HINTS, rows)
    tokens = {}
    if isinstance(source, Hinter):
        used = source.used.values()
        tokens = {name: sum(getattr(one, name) for one in used) for name in ("input_tokens", "output_tokens")}
    content = {**identity(manifest, source), "counts": dict(counts), **tokens, "sha256": sha256_of(out / HINTS)}
    write_json(out / META, content)
    return counts


def refuse_other_hints(out: Path, manifest: Manifest, source: HintSource) -> None:
    """Do nothing unless ``out`` holds the hints of another manifest, prompt or model.

    Raises:
        UsageError: if it does.
    """
    if (out / META).is_file():
        found, wanted = read_json(out / META, HintError, ADVICE), identity(manifest, source)
        other = [name.removesuffix("_sha256") for name, value in wanted.items() if found.get(name) != value]
        if other:
            raise UsageError(
                f"{out} holds hints of another {' and '.join(other)}; choose another folder, or replace them with "
                "--overwrite, which keeps all answers."
            )


def identity(manifest: Manifest, source: HintSource) -> dict[str, object]:
    """What hints are made from: the manifest, the prompt and who answers."""
    return {"manifest_sha256": manifest.sha256, "prompt": source.prompt.as_dict(), "model": dict(source.settings)}


def read_hints(path: Path) -> Hints:
    """The hints in a folder of `m2fnet hints`, or in a JSONL file of ``{"id": ..., "hint": ...}``.

    Raises:
        HintError: if there are none, they are not finished, or were changed.
    """
    if path.is_file():
        clean = Prompt(form="free")
        rows = {name: (sha256, clean.hint(hint).text) for name, (sha256, hint) in _rows(path).items()}
        return Hints(rows, {"sha256": sha256_of(path)})
    meta = read_json(path / META, HintError, ADVICE)
    rows = _rows(path / HINTS)
    if meta.get("sha256") != sha256_of(path / HINTS):
        raise HintError(f"{path / HINTS} was changed after it was made. {ADVICE}")
    return Hints(rows, {name: meta.get(name) for name in ("sha256", "prompt", "model")})


def with_context(manifest: Manifest, context: int) -> Iterator[tuple[Utterance, Sequence[Utterance]]]:
    """Every utterance of a manifest with those before it in its dialogue; without any if ``context`` is 0."""
    for dialogue in manifest.dialogues():
        for position, utterance in enumerate(dialogue.utterances):
            yield utterance, dialogue.utterances[:position] if context else ()


def text_sha256(utterance: Utterance) -> str:
    """SHA-256 of the transcript of an utterance, which may be none."""
    return hashlib.sha256((utterance.text or "").encode("utf-8", "surrogatepass")).hexdigest()


def _entry(line: bytes) -> tuple[str, Answer] | None:
    """Key and answer in a line of the cache; None if it is not whole."""
    try:
        found = json.loads(line)
        answer = Answer(found["answer"], int(found["input_tokens"]), int(found["output_tokens"]))
        return (found["key"], answer) if isinstance(found["key"], str) and isinstance(answer.text, str) else None
    except (ValueError, TypeError, KeyError, RecursionError):
        return None


def _rows(path: Path) -> dict[str, tuple[str | None, str]]:
    """Id -> hash of the transcript, if it is there, and hint, which may be empty."""
    try:
        size = path.stat().st_size
    except OSError as problem:
        raise HintError(f"Cannot read {path}: {problem.strerror}. {ADVICE}") from problem
    if size > MOST_BYTES:
        raise HintError(f"{path} has {size} bytes; expected at most {MOST_BYTES}.")
    found: dict[str, tuple[str | None, str]] = {}
    for number, row in enumerate(read_jsonl(path, HintError, ADVICE), start=1):
        name, sha256, hint = row.get("id"), row.get("text_sha256"), row.get("hint")
        if not (isinstance(name, str) and isinstance(hint, str) and isinstance(sha256, str | None)):
            raise HintError(f'{path}:{number}: expected {{"id": "...", "hint": "..."}}, both texts.')
        if name in found:
            raise HintError(f"{path}:{number}: the utterance {name[:80]!r} has a hint already; expected one for each.")
        found[name] = (sha256, hint)
    return found
