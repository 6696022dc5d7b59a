"""The page with all its parts from its opening to its end: model, example, folder of uploads, server."""

import os
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from m2fnet.errors import UsageError
from m2fnet.web.limits import Limits
from m2fnet.web.temporary_folder import page_folder
from m2fnet.web.uploads import Uploads
from m2fnet.web.worker import Worker, no_annotator

if TYPE_CHECKING:
    from m2fnet.pipeline import Pipeline
    from m2fnet.pipeline.annotator import Annotator

LOCAL = "127.0.0.1"


@contextmanager
def open_page(
    load: Callable[[], "Pipeline"],
    name: str,
    limits: Limits,
    *,
    load_annotator: Callable[[], "Annotator | None"] = no_annotator,
    host: str = LOCAL,
    port: int = 7860,
) -> Iterator[str]:
    """The address of the page while the block lasts; afterwards nothing is left of it on the disk.

    Files of a page that was killed are removed when the next one opens.

    Args:
        load: makes the pipeline, see `Worker`.
        name: of the model, for the head of the page.
        limits: of what it takes.
        load_annotator: makes what writes words and guesses speakers, see `Worker`.
        host: address to listen on.
        port: to listen on.

    Raises:
        RunError: if the model cannot be loaded.
        UsageError: if the port cannot be used.
    """
    _check_port(host, port)
    with ExitStack() as ends:
        place = ends.enter_context(page_folder())
        uploads, example = place / "uploads", place / "example"
        for folder in (uploads, example):
            folder.mkdir()
        worker = Worker(load, limits, load_annotator)
        ends.callback(worker.stop)
        worker.launch()
        os.environ["GRADIO_TEMP_DIR"] = str(place / "gradio")  # an empty folder, which would be left behind
        from m2fnet.web.app import limit_queue, make_server  # for seconds, while the model is loaded
        from m2fnet.web.connections import limit_connections
        from m2fnet.web.example import write_example

        facts = {**worker.start(), "name": name}
        write_example(example)
        hosts = [LOCAL, "localhost"] if host == LOCAL else ["*"]
        server = make_server(facts, worker, Uploads(uploads, limits), limits, example, hosts)
        _, address, _ = server.launch(
            server_name=host,
            server_port=port,
            share=False,
            ssr_mode=False,
            mcp_server=False,
            run_history=False,
            enable_monitoring=False,
            state_session_capacity=limits.waiting,  # the page keeps nothing there, and each visit takes 0.2 MB
            prevent_thread_lock=True,
            quiet=True,
            _frontend=False,
        )
        gradio = server.get_blocks()
        ends.callback(gradio.close, verbose=False)
        limit_connections(gradio.server.config)
        limit_queue(gradio, limits)
        yield address


def _check_port(host: str, port: int) -> None:
    """Refuse a port that cannot be used before the model is loaded for nothing."""
    try:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
    except (OSError, OverflowError) as problem:
        reason = getattr(problem, "strerror", None) or str(problem)
        raise UsageError(f"Cannot listen on {host}, port {port}: {reason}. Name another --port or --host.") from problem
