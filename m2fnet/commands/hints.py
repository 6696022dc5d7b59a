"""``m2fnet hints``: a manifest and a language model -> what that says about the emotion of every transcript."""

import argparse
import itertools
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from m2fnet.commands.arguments import make_parser, positive_float, positive_int
from m2fnet.commands.progress import shown_progress
from m2fnet.errors import HintError, UsageError

if TYPE_CHECKING:
    from extractors.text.hint_prompt import Prompt
    from extractors.text.hints import Hinter, HintSource, LanguageModel
    from m2fnet.manifest import Manifest

_MILLION = 1_000_000


def main(argv: list[str]) -> None:
    """Run ``m2fnet hints --manifest DIR --out HINTS --provider local|server|file``."""
    given = _parse(argv)
    from extractors.text.hint_prompt import Prompt
    from extractors.text.hints import ANSWERS, AnswerCache, Hinter, HintFile, refuse_other_hints
    from m2fnet.files import locked
    from m2fnet.manifest import Manifest

    manifest = Manifest.load(given.manifest)
    labels = () if given.form == "free" else manifest.label_set.classes
    prompt = Prompt(labels, given.form, _instruction(given.prompt), given.context, given.max_characters)
    source: HintSource = HintFile(prompt, given.file) if given.provider == "file" else _hinter(given, prompt)
    if not given.overwrite:
        refuse_other_hints(given.out, manifest, source)
    if isinstance(source, Hinter):
        _print_what_is_left(given, manifest, source)
    if given.dry_run:
        return
    with locked(given.out, HintError):
        if isinstance(source, Hinter):
            source.cache = AnswerCache(given.out / ANSWERS)  # another process may have added some until now
        _write(given, manifest, source)


def _parse(argv: list[str]) -> argparse.Namespace:
    parser = make_parser(
        "hints",
        "Ask a language model about the emotion of every transcript of a manifest, one question per utterance, and "
        "write the answers into a folder, which `m2fnet extract --config conf/extractors/text_hinted.yaml` puts in "
        "front of the transcripts. No answer is asked for twice; an interrupted command resumes.",
        notes="--provider server sends the transcripts to the OpenAI-compatible server at M2FNET_HINT_URL, with the "
        "key in M2FNET_HINT_KEY. Find out first whether the corpus may be sent there.",
        examples=[
            "m2fnet hints --manifest data/meld --out hints/meld \\\n"
            "      --provider local --model HuggingFaceTB/SmolLM2-360M-Instruct",
            "m2fnet hints --manifest data/meld --out hints/meld \\\n      --provider server --model NAME --dry-run",
        ],
    )
    parser.add_argument("--manifest", type=Path, required=True, metavar="DIR", help="folder of `m2fnet prepare`")
    parser.add_argument("--out", type=Path, required=True, metavar="HINTS", help="folder for the hints")
    parser.add_argument(
        "--provider", choices=["local", "server", "file"], required=True,
        help="who answers: a model on this machine, a server, or a file with hints",
    )  # fmt: skip
    parser.add_argument("--model", help="name or folder of the local model, or the server's name for it")
    parser.add_argument("--file", type=Path, help='JSONL of {"id": ..., "hint": ...}')
    parser.add_argument(
        "--form", choices=["label", "reason", "free"], default="reason", help="of an answer: one of the corpus's "
        "emotions, one with a reason, or a sentence that cannot be checked (default: reason)"
    )  # fmt: skip
    parser.add_argument(
        "--prompt", type=Path, metavar="FILE", help="text with the question; {labels} becomes the emotions"
    )
    parser.add_argument(
        "--context", type=_count, default=0, metavar="N", help="utterances before the current one that are sent with "
        "it. Above 0, a transcript can influence the hints of N utterances after it (default: 0)"
    )  # fmt: skip
    parser.add_argument(
        "--max-characters", type=positive_int, default=300, metavar="N", help="of a hint (default: 300)"
    )
    parser.add_argument("--max-tokens", type=positive_int, default=60, metavar="N", help="of an answer (default: 60)")
    parser.add_argument("--device", help="of a local model: cpu, cuda, ... (default: a GPU if there is one)")
    server = parser.add_argument_group("with --provider server")
    server.add_argument("--temperature", type=_temperature, default=0.0, metavar="T", help="default: 0")
    server.add_argument(
        "--parallel", type=positive_int, default=1, metavar="N", help="requests at the same time (default: 1)"
    )
    server.add_argument("--per-minute", type=positive_float, metavar="N", help="requests, at most")
    server.add_argument("--timeout", type=positive_float, default=60.0, metavar="SECONDS", help="default: 60")
    server.add_argument("--tries", type=positive_int, default=6, metavar="N", help="of a request (default: 6)")
    server.add_argument("--price-in", type=positive_float, metavar="P", help="of a million tokens that are sent")
    server.add_argument("--price-out", type=positive_float, metavar="P", help="of a million tokens that are answered")
    parser.add_argument("--dry-run", action="store_true", help="print how much there is to ask, and stop")
    parser.add_argument("--overwrite", action="store_true", help="replace hints of another prompt, model or manifest")
    parser.add_argument("--quiet", action="store_true", help="no progress")
    given = parser.parse_args(argv)
    needed, other = ("file", "model") if given.provider == "file" else ("model", "file")
    if getattr(given, needed) is None:
        raise UsageError(f"--provider {given.provider} needs --{needed}.")
    if getattr(given, other) is not None:
        raise UsageError(f"--{other} has no effect with --provider {given.provider}; remove it.")
    return given


def _instruction(path: Path | None) -> str:
    if path is None:
        return ""
    try:
        text = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as problem:
        raise UsageError(f"--prompt: cannot read {path} as text ({problem}).") from problem
    if not text:
        raise UsageError(f"--prompt: {path} is empty; expected the question to ask.")
    return text


def _hinter(given: argparse.Namespace, prompt: "Prompt") -> "Hinter":
    from extractors.text.hints import ANSWERS, AnswerCache, Hinter

    model: LanguageModel
    if given.provider == "server":
        from extractors.text.hint_server import ChatServer

        model = ChatServer.from_environment(
            given.model,
            temperature=given.temperature,
            most_tokens=given.max_tokens,
            parallel=given.parallel,
            per_minute=given.per_minute,
            timeout=given.timeout,
            tries=given.tries,
        )
    else:
        import torch

        from extractors.text.hint_model import LocalModel

        model = LocalModel(
            given.model,
            most_tokens=given.max_tokens,
            device=given.device or ("cuda" if torch.cuda.is_available() else "cpu"),
        )
    return Hinter(prompt, model, AnswerCache(given.out / ANSWERS))


def _print_what_is_left(given: argparse.Namespace, manifest: "Manifest", source: "Hinter") -> None:
    """How much there is to ask, what it may cost, and where transcripts go."""
    tokens = [source.model.count(question) for question in source.unasked(manifest)]
    most = len(tokens) * source.model.most_tokens
    about = "about " if given.provider == "server" else ""
    print(
        f"{len(manifest.utterances)} utterances, {len(tokens)} questions to ask: {about}{sum(tokens)} tokens, and at "
        f"most {most} tokens of answers{_cost(given, sum(tokens), most)}."
    )
    if tokens and given.provider == "server":
        verb = "would be sent" if given.dry_run else "are sent"
        print(f"Their transcripts {verb} to {source.model.settings['address']}.")
    if source.prompt.context:
        print(f"With --context {source.prompt.context}, a transcript can influence the hints of later utterances.")


def _write(given: argparse.Namespace, manifest: "Manifest", source: "HintSource") -> None:
    from extractors.text.hints import Hinter, write_hints

    total = sum(1 for _ in source.unasked(manifest)) if isinstance(source, Hinter) else 0
    answered = itertools.count(1)
    try:
        with shown_progress("hints", "questions", total, is_shown=not given.quiet) as progress:
            counts = write_hints(given.out, manifest, source, done=lambda: progress(next(answered), total))
    except KeyboardInterrupt:
        print("What is finished is kept; the same command resumes.", file=sys.stderr)
        raise
    print(f"{counts['hints']} of {len(manifest.utterances)} utterances have a hint in {given.out}")
    for why, count in counts.items():
        if why != "hints":
            print(f"  {count:6d}  {why}")
    if isinstance(source, Hinter):
        for why in list(source.unanswered.values())[:1]:
            print(f"The first without an answer: {why} The same command asks again.")
        read, written = (sum(getattr(one, name) for one in source.used.values()) for name in _COUNTED)
        print(f"All answers together: {read} tokens sent, {written} answered{_cost(given, read, written)}.")
    print(
        f"Next: m2fnet extract --config conf/extractors/text_hinted.yaml --model.net.init_args.hints {given.out} "
        f"--manifest {given.manifest} --out STORE"
    )


_COUNTED = ("input_tokens", "output_tokens")


def _cost(given: argparse.Namespace, read: int, written: int) -> str:
    if given.price_in is None and given.price_out is None:
        return ""
    cost = (read * (given.price_in or 0) + written * (given.price_out or 0)) / _MILLION
    return f", which cost {cost:.2f} by the given prices"


def _count(text: str) -> int:
    if not text.isascii() or not text.isdigit():
        raise argparse.ArgumentTypeError(f"expected a whole number from 0, got {text!r}")
    return int(text)


def _temperature(text: str) -> float:
    return 0.0 if text in ("0", "0.0") else positive_float(text)
