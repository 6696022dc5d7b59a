"""The page that the tests of this folder ask: its limits, and what it keeps among the temporary files."""

import socket
import tempfile
from pathlib import Path

import pytest

from m2fnet.web.limits import Limits

IGNORE = pytest.mark.filterwarnings("ignore:.*(no_silent_downcasting|Copy-on-Write).*")  # how gradio uses pandas
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
