"""``m2fnet serve``: a page on which a clip becomes a timeline of emotions."""

import argparse
import os
import signal
import sys
import threading
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from m2fnet.errors import UsageError

if TYPE_CHECKING:
    from m2fnet.pipeline import Pipeline

LOCAL = "127.0.0.1"


def main(argv: list[str]) -> None:
    """Open the page and stay until Ctrl-C or SIGTERM."""
    arguments = _parser().parse_args(argv)
    os.environ.update(GRADIO_ANALYTICS_ENABLED="False", HF_HUB_DISABLE_TELEMETRY="1")  # read when they are imported
    try:
        from m2fnet.web.page import open_page
    except ModuleNotFoundError as missing:
        raise UsageError(f"The page needs {missing.name}, which is not installed: pip install 'm2fnet[web]'.") from None
    from m2fnet.web.limits import Limits

    if arguments.host != LOCAL:
        warning = "Whoever reaches this machine can use the page: there is no password, and nothing is encrypted."
        print(f"m2fnet serve: {warning}", file=sys.stderr)
    limits = Limits(arguments.max_mb, arguments.max_minutes, arguments.timeout_s)
    load = partial(_load, arguments.model, device=arguments.device)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # the end that Ctrl-C is
    print(f"Loading {arguments.model} ...", flush=True)
    try:
        with open_page(load, Path(arguments.model).name, limits, host=arguments.host, port=arguments.port) as address:
            print(f"The page is at {address} until Ctrl-C.", flush=True)
            threading.Event().wait()
    except KeyboardInterrupt:
        print("\nThe page is closed.")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="m2fnet serve",
        description="Open a page on this machine: drop a clip into it, with subtitles or without, and see beside the "
        "player what the model makes of each turn. The page loads nothing from anywhere else and nothing leaves the "
        "machine; a clip is removed as soon as it is answered. Several people are answered one after another.",
    )
    parser.add_argument("--model", required=True, help="model folder, folder of a dialogue run, or name on the hub")
    parser.add_argument("--port", type=int, default=7860, help="of the page (default 7860)")
    parser.add_argument("--host", default=LOCAL, help="address to listen on (default 127.0.0.1: this machine alone)")
    parser.add_argument("--device", default="cpu", help="where the model runs (default cpu)")
    parser.add_argument("--max-mb", type=_positive, default=200, help="size of a clip (default 200)")
    parser.add_argument("--max-minutes", type=_positive, default=10, help="length of a clip (default 10)")
    parser.add_argument("--timeout-s", type=_positive, default=300, help="seconds of work on a clip (default 300)")
    return parser


def _positive(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError(f"expected a number above 0, got {text!r}")
    return number


def _load(model: str, *, device: str) -> "Pipeline":
    """The pipeline, in the process of the model, whose threads are settled too."""
    from m2fnet.pipeline import Pipeline
    from m2fnet.pipeline.stages import use_threads

    pipeline = Pipeline.from_pretrained(model, device=device)
    use_threads(None, pipeline.model)
    return pipeline
