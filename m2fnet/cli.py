"""The command line. Only the standard library is imported here, so that ``m2fnet --help`` answers at once."""

import signal
import sys
import threading
from collections.abc import Callable, Sequence

from m2fnet.errors import M2FNetError, UsageError

DONE, FAILED, WRONG_USE, INTERRUPTED = 0, 1, 2, 130

Main = Callable[[list[str]], None]
# command -> one line of help; `_main_of` imports it
COMMANDS = {
    "demo": "the whole way on a made-up corpus, in minutes",
    "check": "versions, devices, what is missing and why",
    "prepare": "raw corpus -> manifest: toy, meld, iemocap, table",
    "import": "published feature pickle -> manifest + stores",
    "extractor": "train an extractor: fit, validate, test",
    "extract": "manifest -> store of embeddings",
    "dialog": "train and judge a dialogue network: fit, validate, test, missing, predict",
    "sweep": "many seeds and settings of one configuration, in parallel",
    "ablate": "the paper's tables: modalities, fusion, encoders, fusion layers",
    "reproduce": "train a run again and compare bit for bit",
    "report": "tested runs in a table: mean ± s.d., intervals, differences, errors",
    "predict": "the emotions of your own clips, turn by turn",
    "export": "tested run + its extractors -> a model as one folder, to use and pass on",
    "serve": "a page to drop a clip into: player, timeline of emotions, transcript",
}

USAGE = """usage: m2fnet COMMAND ...

Emotion recognition in conversation: raw media to one emotion per utterance.

commands:
{commands}

`m2fnet COMMAND --help` explains a command. Exit codes: 0 done, 1 failed, 2 wrong use.
"""


def usage() -> str:
    """The text of ``m2fnet --help``."""
    return USAGE.format(commands="\n".join(f"  {name:<10} {text}" for name, text in COMMANDS.items()))


def run(argv: Sequence[str]) -> int:
    """Run one command and return its exit code."""
    if not argv or argv[0] in ("-h", "--help"):
        print(usage())
        return DONE if argv else WRONG_USE
    if argv[0] == "--version":
        from m2fnet import __version__

        print(f"m2fnet {__version__}")
        return DONE
    if argv[0] not in COMMANDS:
        print(f"m2fnet: unknown command {argv[0]!r}; expected one of {', '.join(COMMANDS)}.", file=sys.stderr)
        return WRONG_USE
    return _run_command(argv[0], list(argv[1:]))


def _run_command(name: str, arguments: list[str]) -> int:
    try:
        _imported(name)(arguments)
    except M2FNetError as error:
        _tell(name, *str(error).split("\n"))  # some show the tree of files that they expect
        return WRONG_USE if isinstance(error, UsageError) else FAILED
    except OSError as error:  # a full disk, a folder that cannot be made or written
        _tell(name, f"{error.strerror or error}: {error.filename}" if error.filename else str(error.strerror or error))
        return FAILED
    except KeyboardInterrupt:
        print(f"\nm2fnet {name}: interrupted", file=sys.stderr)
        return INTERRUPTED
    except SystemExit as stop:  # argparse: 0 after --help, 2 after wrong arguments
        return stop.code if isinstance(stop.code, int) else FAILED
    return DONE


def _tell(name: str, *lines: str) -> None:
    """Print what went wrong; names of files and what was read from them may hold what a terminal obeys."""
    from m2fnet.formatting import plain

    print(f"m2fnet {name}: " + "\n".join(map(plain, lines)), file=sys.stderr)


def _imported(name: str) -> Main:
    """The command; Ctrl-C meanwhile ends the process at once: half-imported libraries cannot be left cleanly."""
    if threading.current_thread() is not threading.main_thread():
        return _main_of(name)
    before = signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        return _main_of(name)
    finally:
        signal.signal(signal.SIGINT, before)


def _main_of(name: str) -> Main:
    """The ``main(argv)`` of a command. Only the one that is asked for is imported."""
    match name:
        case "demo":
            from m2fnet.commands.demo import main
        case "check":
            from m2fnet.commands.check import main
        case "prepare":
            from m2fnet.commands.prepare import main
        case "import":
            from m2fnet.commands.import_features import main
        case "extractor":
            from extractors.commands.extractor import main
        case "extract":
            from extractors.commands.extract import main
        case "dialog":
            from dialog.cli import main
        case "sweep":
            from m2fnet.commands.sweep import main
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
    code = run(sys.argv[1:])
    if code == DONE:  # after a failure the others may still wait for this process, and closing would wait for them
        _leave_other_processes()
    sys.exit(code)


def _leave_other_processes() -> None:
    """End a distributed run: a thread of Gloo that outlives the interpreter aborts it (pytorch/pytorch 190489)."""
    distributed = sys.modules.get("torch.distributed")
    if distributed is not None and distributed.is_available() and distributed.is_initialized():
        distributed.destroy_process_group()


if __name__ == "__main__":
    main()
