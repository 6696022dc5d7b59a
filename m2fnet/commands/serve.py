"""``m2fnet serve``: a page on which a clip becomes a timeline of emotions."""

import argparse
import os
import signal
import sys
import threading
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from m2fnet.commands.annotator_options import add_annotator_options, check_annotator_options, load_annotator
from m2fnet.commands.arguments import make_parser, positive_float
from m2fnet.errors import UsageError

if TYPE_CHECKING:
    from m2fnet.pipeline import Pipeline

LOCAL = "127.0.0.1"


def main(argv: list[str]) -> None:
    """Open the page and stay until Ctrl-C or SIGTERM."""
    arguments = _parser().parse_args(argv)
    check_annotator_options(arguments)
    os.environ.update(GRADIO_ANALYTICS_ENABLED="False", HF_HUB_DISABLE_TELEMETRY="1")  # read when they are imported
    if missing := [name for name in ("gradio", "fastapi", "starlette") if find_spec(name) is None]:
        raise UsageError(f"The page needs {missing[0]}, which is not installed: pip install 'm2fnet[web]'.")
    from m2fnet.web.limits import Limits
    from m2fnet.web.page import open_page

    if arguments.host != LOCAL:
        warning = "Whoever reaches this machine can use the page: there is no password, and nothing is encrypted."
        print(f"m2fnet serve: {warning}", file=sys.stderr)
    limits = Limits(arguments.max_mb, arguments.max_minutes, arguments.timeout_s)
    load = partial(_load, arguments.model, device=arguments.device)
    load_words = partial(load_annotator, arguments)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that SIGTERM ends the page as Ctrl-C does
    print(f"Loading {arguments.model} ...", flush=True)
    try:
        place = {"host": arguments.host, "port": arguments.port}
        with open_page(load, Path(arguments.model).name, limits, load_annotator=load_words, **place) as address:
            print(f"The page is at {address} until Ctrl-C.", flush=True)
            threading.Event().wait()
    except KeyboardInterrupt:
        print("\nThe page is closed.")


def _parser() -> argparse.ArgumentParser:
    parser = make_parser(
        "serve",
        "Open a page on this machine: drop a clip into it, with subtitles or without, and see the emotion of each "
        "utterance next to the player.\n\n"
        "The page loads nothing from anywhere else and nothing leaves the machine; a clip is removed as soon as its "
        "emotions are predicted. Clips of several people are predicted one after another.",
        examples=[
            "m2fnet serve --model runs/demo/dialog/text-audio-visual",
            "m2fnet serve --model model --port 8000 --max-minutes 30",
            "m2fnet serve --model model --transcribe openai/whisper-base --speakers auto",
        ],
    )
    parser.add_argument(
        "--model", required=True, help="what `m2fnet export` wrote, a dialogue run, or a name on the hub"
    )
    add_annotator_options(parser)
    machine = parser.add_argument_group("machine")
    machine.add_argument("--port", type=int, default=7860, metavar="N", help="of the page (default: %(default)s)")
    machine.add_argument(
        "--host", default=LOCAL, help="address to listen on (default: %(default)s, for this machine only)"
    )
    machine.add_argument("--device", default="cpu", help="where the networks run: cpu (default), cuda:0, ...")
    limits = parser.add_argument_group("limits of a clip")
    limits.add_argument(
        "--max-mb", type=positive_float, default=200, metavar="N", help="megabytes (default: %(default)s)"
    )
    limits.add_argument(
        "--max-minutes", type=positive_float, default=10, metavar="N", help="length (default: %(default)s)"
    )
    limits.add_argument(
        "--timeout-s",
        type=positive_float,
        default=300,
        metavar="N",
        help="seconds that the model may work on it (default: %(default)s)",
    )
    return parser


def _load(model: str, *, device: str) -> "Pipeline":
    """The pipeline, loaded in the process of the model, with the number of threads that suits it."""
    from m2fnet.pipeline import Pipeline
    from m2fnet.pipeline.stages import use_threads

    pipeline = Pipeline.from_pretrained(model, device=device)
    use_threads(None, pipeline.model)
    return pipeline
