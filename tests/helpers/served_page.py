"""The page that the tests of this folder ask: its limits, and what it keeps among the temporary files."""

import socket
import tempfile
from pathlib import Path

import pytest

from m2fnet.web.limits import Limits

IGNORE = pytest.mark.filterwarnings("ignore:.*(no_silent_downcasting|Copy-on-Write).*")  # how gradio uses pandas
WAIT = 90_000  # milliseconds: after a crash or a cancel the model is loaded again, on a busy machine
LIMITS = Limits(megabytes=2, minutes=1, timeout_s=15, waiting=3)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def folders():
    """The folders that pages have made and not removed."""
    return sorted(Path(tempfile.gettempdir()).glob("m2fnet-serve-*"))


def uploaded():
    """The files that wait for their answer."""
    (folder,) = folders()
    return list((folder / "uploads").iterdir())


def send(page, *paths):
    """Choose the files and press the button."""
    clips = [path for path in paths if path.suffix not in {".srt", ".csv"}]
    for chooser, files in (("#clip", clips), ("#subtitles", [path for path in paths if path not in clips])):
        if files:
            page.set_input_files(chooser, files)
    page.click("#go")


def answered(page):
    """Wait for the answer."""
    page.locator("#answer").wait_for(timeout=WAIT)


def refused(page):
    """The sentence that came instead of an answer."""
    page.locator("#problem").wait_for(timeout=WAIT)
    return page.locator("#problem").inner_text()
