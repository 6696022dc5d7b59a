"""The site: built without a warning, every link leads somewhere, and nothing is fetched from elsewhere."""

import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urldefrag, urlsplit

import pytest

REPOSITORY = Path(__file__).parents[2]
PACKAGES = ("m2fnet", "extractors", "dialog")
FETCHED = {("script", "src"), ("img", "src"), ("iframe", "src"), ("source", "src"), ("video", "src"), ("link", "href")}

pytestmark = pytest.mark.slow


class Page(HTMLParser):
    """Anchors of a page, addresses it links to and addresses it loads automatically."""

    def __init__(self, path):
        super().__init__()
        self.anchors, self.links, self.fetched = set(), [], []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        self.anchors |= {given[name] for name in ("id", "name") if given.get(name)}
        if tag == "a" and given.get("href"):
            self.links.append(given["href"])
        self.fetched += [given[name] for element, name in FETCHED if element == tag and given.get(name)]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)]
    # no proxy and no name server leads anywhere: what would ask the network fails
    nowhere = {"http_proxy": "http://127.0.0.1:9", "https_proxy": "http://127.0.0.1:9", "NO_MKDOCS_2_WARNING": "1"}
    result = subprocess.run(
        command, cwd=REPOSITORY, env={**os.environ, **nowhere}, capture_output=True, text=True, check=False, timeout=600
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return folder


@pytest.fixture(scope="module")
def pages(site):
    return {path: Page(path) for path in site.rglob("*.html")}


def place(site, page, address):
    """The file that ``address`` on ``page`` leads to, and the anchor in it."""
    target, anchor = urldefrag(address)
    target = unquote(target)
    path = (site / target.lstrip("/") if target.startswith("/") else page.parent / target) if target else page
    return (path / "index.html" if path.is_dir() else path).resolve(), unquote(anchor)


def test_every_link_within_the_site_leads_somewhere(site, pages):
    anchors = {path.resolve(): page.anchors for path, page in pages.items()}
    dead = []
    for path, page in pages.items():
        for address in (link for link in page.links if not urlsplit(link).scheme):
            target, anchor = place(site, path, address)
            if not target.exists() or (anchor and anchor not in anchors.get(target, {anchor})):
                dead.append(f"{path.relative_to(site)}: {address}")
    assert dead == []
    assert sum(len(page.links) for page in pages.values()) > 1000


def test_no_page_fetches_anything_from_elsewhere(site, pages):
    outside = re.compile(r"(https?:)?//", flags=re.IGNORECASE)
    assert [address for page in pages.values() for address in page.fetched if outside.match(address)] == []
    sheets = "\n".join(path.read_text(encoding="utf-8") for path in site.rglob("*.css"))
    assert re.findall(r"""(?:url\(|@import)\s*["']?(?:https?:)?//[^)"']*""", sheets) == []
    missing = [
        address
        for path, page in pages.items()
        for address in page.fetched
        if not address.startswith("data:") and not place(site, path, address)[0].exists()
    ]
    assert missing == []


def test_every_public_module_has_a_page(site):
    for package in PACKAGES:
        for source in (REPOSITORY / package).rglob("*.py"):
            parts = source.relative_to(REPOSITORY).with_suffix("").parts
            parts = parts[:-1] if parts[-1] == "__init__" else parts
            found = [site / "api" / Path(*parts, "index.html"), site / "api" / Path(*parts).with_suffix(".html")]
            assert any(path.is_file() for path in found), f"{'.'.join(parts)} has no page"


def test_doctests_are_shown_as_code(site):
    text = (site / "api" / "m2fnet" / "metrics" / "bootstrap.html").read_text(encoding="utf-8")
    assert re.search(r"<pre[^>]*>(?:(?!</pre>).)*&gt;&gt;&gt; ", text, flags=re.DOTALL)
    assert "<blockquote>" not in text


def test_the_site_opens_from_the_disk_and_asks_for_nothing(site, visit):
    for name in ("index.html", "guide.html", "api/m2fnet/metrics/bootstrap.html"):
        visited = visit((site / name).as_uri())
        assert visited.outside(site.as_uri()) == []
        assert visited.complaints == []
        assert visited.page.locator("h1").count() == 1
        widths = visited.page.evaluate("Array.from(document.images, picture => picture.naturalWidth)")
        assert all(widths)
