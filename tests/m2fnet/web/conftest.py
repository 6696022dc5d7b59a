"""The page with a fake model behind it."""

import tempfile
from importlib.util import find_spec
from pathlib import Path

import pytest

collect_ignore_glob = [] if find_spec("gradio") else ["test_*.py"]  # it is an extra


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    """Address of a page with narrow limits whose model finds neutral, joy, anger, neutral, ... in turn."""
    from fake_pipeline import load
    from served_page import LIMITS, free_port

    patch = pytest.MonkeyPatch()
    patch.setenv("GRADIO_ANALYTICS_ENABLED", "False")
    patch.setattr(tempfile, "tempdir", str(tmp_path_factory.mktemp("temporary")))

    from m2fnet.web.page import open_page

    with open_page(load, "fake", LIMITS, port=free_port()) as opened:
        yield opened
    assert list(Path(tempfile.gettempdir()).iterdir()) == []
    patch.undo()


@pytest.fixture
def open_here(address, visit):
    """``open_here()`` opens the page in a separate session; a dialogue that it opens is a complaint."""

    def call(**settings):
        visited = visit(address, **settings)
        visited.page.on("dialog", lambda box: (visited.complaints.append(box.message), box.dismiss()))
        visited.page.locator("#example:enabled").wait_for()
        return visited

    return call
