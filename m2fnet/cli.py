"""The command line. Only the standard library is imported here, so that ``m2fnet --help`` is instant."""

import io
import signal
import sys
import threading
from collections.abc import Callable, Sequence

from m2fnet.errors import M2FNetError, UsageError

DONE, FAILED, WRONG_USE, INTERRUPTED = 0, 1, 2, 130

Main = Callable[[list[str]], None]
# every command with its line of help, in the order of the work; `_main_of` imports it
COMMANDS = {
    "demo": "the whole workflow on a generated corpus, in minutes",
    "check": "versions, devices, and what is missing",
    "completion": "a script that lets bash, zsh or fish complete commands and settings",
    "schema": "what a configuration file may hold, as a JSON schema for editors",
    "prepare": "raw corpus, or a table of your own -> manifest",
    "import": "published feature pickle -> manifest + stores",
    "hints": "manifest -> what a language model says about every transcript",
    "extractor": "train an extractor: fit, validate, test",
    "joint": "train an extractor with a dialogue network: fit, validate, test",
    "extract": "manifest -> store of embeddings",
    "store": "merge the shards of a store that several machines have embedded",
    "dialog": "train a dialogue network: fit, validate, test, missing, predict",
    "noise": "how the score of a tested run falls with noise in its inputs",
    "sweep": "many seeds and settings of one configuration, in parallel",
    "self-train": "unlabelled utterances -> students of pseudo-labels, without leaks",
    "ablate": "the paper's tables: modalities, fusion, encoders, fusion layers",
    "reproduce": "train a run again and compare bit for bit",
    "report": "tables of tested runs: mean ± s.d., intervals, differences, errors",
    "predict": "the emotion of every utterance of your own clips",
    "export": "tested run + its extractors -> one folder, to use and share",
    "serve": "a page that shows the emotions of a clip: timeline and transcript",
}

FLAGS = ("--dry-run", "--overwrite", "--quiet")
# options of older versions -> what they are now
RENAMED_OPTIONS = {
    "--plan": "the flag --dry-run, without a value",
    "--by": "--group-by",
    "--ckpt_path": "--checkpoint",
}

USAGE = """usage: m2fnet COMMAND ...

Emotion recognition in conversation: raw media to one emotion per utterance.

commands:
{commands}

options:
  --help     this text; `m2fnet COMMAND --help` explains a command
  --version  the version of m2fnet

Exit codes: 0 done, 1 failed, 2 wrong use, 130 interrupted.
"""


def usage() -> str:
    """The text of ``m2fnet --help``.

    Example:
        >>> print(usage().splitlines()[0])
        usage: m2fnet COMMAND ...
    """
    return USAGE.format(commands="\n".join(f"  {name:<10} {text}" for name, text in COMMANDS.items()))


def run(argv: Sequence[str]) -> int:
    """Run one command and return its exit code.

    Example:
        >>> run(["--version"]) == DONE
        m2fnet 0.1.0
        True
    """
    if not argv or argv[0] in ("-h", "--help"):
        print(usage())
        return DONE if argv else WRONG_USE
    if argv[0] == "--version":
        from m2fnet import __version__

        print(f"m2fnet {__version__}")
        return DONE
    if argv[0] not in COMMANDS:
        from difflib import get_close_matches

        similar = " or ".join(f"`m2fnet {name}`" for name in get_close_matches(argv[0], COMMANDS, n=2))
        hint = f" Did you mean {similar}?" if similar else ""
        expected = f"expected one of {', '.join(COMMANDS)}"
        print(f"m2fnet: unknown command {argv[0]!r}; {expected}.{hint}", file=sys.stderr)
        return WRONG_USE
    if hint := _older_spelling(argv[1:]):
        print(f"m2fnet {argv[0]}: {hint}", file=sys.stderr)
        return WRONG_USE
    return _run_command(argv[0], list(argv[1:]))


def _older_spelling(arguments: Sequence[str]) -> str:
    """What to write in place of an option that had another name or a value before; empty if there is none."""
    from m2fnet.runs.renamed import RENAMED

    now = {**RENAMED_OPTIONS, **{f"--{before}": f"--{after}" for before, after in RENAMED.items()}}
    for place, argument in enumerate(arguments):
        option, has_value, value = argument.partition("=")
        if option in now:
            return f"{option} is now {now[option]}."
        following = value if has_value else "".join(arguments[place + 1 : place + 2])
        if option in FLAGS and following.lower() in ("true", "false"):
            what = "write it without a value" if following.lower() == "true" else "omit it"
            return f"{option} is a flag: {what}, but got {following!r}."
    return ""


def _run_command(name: str, arguments: list[str]) -> int:
    from m2fnet.formatting import one_command

    try:
        with one_command():
            _imported(name)(arguments)
    except M2FNetError as error:
        _print_error(name, *str(error).split("\n"))  # some show the tree of files that they expect
        return WRONG_USE if isinstance(error, UsageError) else FAILED
    except OSError as error:  # a full disk, a folder that cannot be made or written
        _print_error(
            name, f"{error.strerror or error}: {error.filename}" if error.filename else str(error.strerror or error)
        )
        return FAILED
    except UnicodeEncodeError as error:  # names of files from old archives and disks
        if not any("\udc80" <= character <= "\udcff" for character in str(error.object)):
            raise
        _print_error(name, f"A name is not valid UTF-8: {str(error.object)[-120:]!r}. Rename the file or folder.")
        return FAILED
    except KeyboardInterrupt:
        print(f"\nm2fnet {name}: interrupted", file=sys.stderr)
        return INTERRUPTED
    except SystemExit as stop:  # argparse: 0 after --help, 2 after wrong arguments
        return stop.code if isinstance(stop.code, int) else FAILED
    return DONE


def _print_error(name: str, *lines: str) -> None:
    """Print what went wrong, without the control characters that names of files and their content may hold."""
    from m2fnet.formatting import plain

    print(f"m2fnet {name}: " + "\n".join(map(plain, lines)), file=sys.stderr)


def _imported(name: str) -> Main:
    """The command; Ctrl-C ends the process during the import, since half-imported libraries cannot stop cleanly."""
    if threading.current_thread() is not threading.main_thread():
        return _main_of(name)
    before = signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        return _main_of(name)
    finally:
        signal.signal(signal.SIGINT, before)


def _main_of(name: str) -> Main:
    """The ``main(argv)`` of a command. Only the named one is imported."""
    match name:
        case "demo":
            from m2fnet.commands.demo import main
        case "check":
            from m2fnet.commands.check import main
        case "completion":
            from m2fnet.commands.completion import main
        case "schema":
            from m2fnet.commands.schema import main
        case "prepare":
            from m2fnet.commands.prepare import main
        case "import":
            from m2fnet.commands.import_features import main
        case "hints":
            from m2fnet.commands.hints import main
        case "extractor":
            from extractors.commands.extractor import main
        case "joint":
            from m2fnet.joint.cli import main
        case "extract":
            from extractors.commands.extract import main
        case "store":
            from m2fnet.commands.store import main
        case "dialog":
            from dialog.cli import main
        case "noise":
            from m2fnet.commands.noise import main
        case "sweep":
            from m2fnet.commands.sweep import main
        case "self-train":
            from m2fnet.commands.self_train import main
        case "ablate":
            from m2fnet.commands.ablate import main
        case "reproduce":
            from m2fnet.commands.reproduce import main
        case "report":
            from m2fnet.commands.report import main
        case "predict":
            from m2fnet.commands.predict import main
        case "export":
            from m2fnet.commands.export import main
        case "serve":
            from m2fnet.commands.serve import main
        case _:
            raise KeyError(name)
    return main


def main() -> None:
    """Entry point of the ``m2fnet`` command."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # Docker, pipes on Windows: what it cannot show must not stop the work
            stream.reconfigure(errors="replace" if stream is sys.stdout else "backslashreplace")
    code = run(sys.argv[1:])
    if code == DONE:  # after a failure other processes may wait for this one, and closing would wait for them
        _leave_other_processes()
    sys.exit(code)


def _leave_other_processes() -> None:
    """End a distributed run: a thread of Gloo that outlives the interpreter aborts it (pytorch/pytorch 190489)."""
    distributed = sys.modules.get("torch.distributed")
    if distributed is not None and distributed.is_available() and distributed.is_initialized():
        distributed.destroy_process_group()


if __name__ == "__main__":
    main()
