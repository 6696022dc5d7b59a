"""For all tests: torch on one thread, and a real browser, headless, that reaches nothing but this machine."""

import os
import shutil
import sys
import time
from dataclasses import dataclass, field
from typing import Any

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome")
NOWHERE = "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost"

LAST_START = "M2FNET_LAST_START"  # seconds since 1970: no slow test is started later, for machines with a time limit


def pytest_collection_modifyitems(items):
    """The longest tests, of the wheel, start first, so that the other process is not idle at the end."""
    items.sort(key=lambda item: item.path.name != "test_wheel.py")


def pytest_runtest_setup(item):
    """Skip, by name and with the reason, a test without its GPU and a slow one for which there is no time left."""
    if item.get_closest_marker("gpu") is not None:
        import torch  # not for tests that do without it

        if not torch.cuda.is_available():
            pytest.skip("there is no CUDA device")
    last = os.environ.get(LAST_START)
    if last is not None and item.get_closest_marker("slow") is not None and time.time() > float(last):
        pytest.skip(f"{LAST_START} has passed")


@pytest.fixture(autouse=True)
def _one_thread():
    """On inputs as small as those of the tests, threads only wait for each other."""
    torch = sys.modules.get("torch")  # not imported for a test that does without it
    if torch is None:
        yield
        return
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@dataclass
class Visit:
    """A page in the browser, and what it did unasked.

    Attributes:
        page: playwright's page.
        requests: address of everything that it asked for, in order.
        complaints: what the console holds of errors, breaches of the content security policy among them, and what
            its scripts left uncaught.
    """

    page: Any
    requests: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    def outside(self, *allowed):
        """The requests whose address begins with none of ``allowed``."""
        return [url for url in self.requests if not url.startswith((*allowed, "data:", "blob:"))]


@pytest.fixture(scope="module")
def chromium():
    """The browser; a test that asks for it is skipped where there is none."""
    driver = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: `make test` brings it")
    program = next(filter(None, map(shutil.which, NAMES)), None)
    if program is None:
        pytest.skip("there is no chromium on this machine; on Debian: apt-get install chromium, as .ci/run does")
    with driver.sync_playwright() as playwright:
        # the sandbox needs rights that containers and root do not have; the pages are our own
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox", NOWHERE])
        yield browser
        browser.close()


@pytest.fixture
def visit(chromium):
    """``visit(url)`` opens a page 1280 pixels wide, each in a new session, and returns it as a `Visit`."""
    contexts = []

    def call(url, **settings):
        contexts.append(chromium.new_context(viewport={"width": 1280, "height": 800}, **settings))
        visited = Visit(contexts[-1].new_page())
        visited.page.on("request", lambda request: visited.requests.append(request.url))
        visited.page.on("console", lambda line: line.type == "error" and visited.complaints.append(line.text))
        visited.page.on("pageerror", lambda error: visited.complaints.append(str(error)))
        visited.page.goto(url)
        return visited

    yield call
    for context in contexts:
        context.close()
