"""The page's own folder: gone behind the page, gone at the next start where the page was killed, and nothing else."""

import shutil
import subprocess
import sys
import tempfile

import pytest

from m2fnet.web.temporary_folder import page_folder

OPEN = """
import sys
from m2fnet.web.temporary_folder import page_folder
with page_folder() as folder:
    print(folder, flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def temporary(tmp_path, monkeypatch):
    """An empty folder for temporary files, here and in other processes."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    return tmp_path


@pytest.fixture
def page(temporary):
    """Another process that holds such a folder until it is killed, as ``page.folder``."""
    process = subprocess.Popen([sys.executable, "-c", OPEN], stdin=-1, stdout=-1, text=True)
    process.folder = temporary / process.stdout.readline().strip()
    yield process
    process.kill()
    process.communicate()


@pytest.fixture
def left(page):
    """The folder of a page that was killed while a clip lay in it."""
    (page.folder / "uploads").mkdir()
    (page.folder / "uploads" / "private.clip").write_bytes(b"somebody's face")
    page.kill()
    page.wait()
    return page.folder


def opened_and_closed():
    with page_folder() as folder:
        assert folder.is_dir()
    assert not folder.exists()


def test_what_a_killed_page_has_left_is_removed_at_the_next_start(left, temporary):
    assert (left / "uploads" / "private.clip").exists()
    opened_and_closed()
    assert list(temporary.iterdir()) == []


def test_the_folder_of_a_page_that_is_open_stays(page, temporary):
    opened_and_closed()
    opened_and_closed()
    assert list(temporary.iterdir()) == [page.folder]
    page.kill()
    page.wait()
    opened_and_closed()
    assert list(temporary.iterdir()) == []


def test_no_link_is_followed(left, temporary, tmp_path_factory):
    outside = tmp_path_factory.mktemp("outside")
    (outside / "thesis.tex").write_text("mine", encoding="utf-8")
    (left / "uploads" / "link").symlink_to(outside)
    shutil.copytree(left, outside / "copy", symlinks=True)
    (outside / "copy").chmod(0o700)
    (temporary / "m2fnet-serve-link").symlink_to(outside / "copy")
    opened_and_closed()
    assert sorted(path.name for path in temporary.iterdir()) == ["m2fnet-serve-link"]
    assert (outside / "thesis.tex").read_text(encoding="utf-8") == "mine"
    assert (outside / "copy" / "uploads" / "private.clip").exists()


@pytest.mark.parametrize(
    "change",
    [
        lambda folder: (folder / "owner.txt").unlink(),
        lambda folder: (folder / "owner.txt").write_text("My notes.", encoding="utf-8"),
        lambda folder: (folder / "owner.txt").write_bytes(b"\xff"),
        lambda folder: (folder / "owner.txt").rename(folder / "real") and (folder / "owner.txt").symlink_to("real"),
        lambda folder: folder.chmod(0o750),
        lambda folder: folder.rename(folder.with_name("m2fnet-serve")),
    ],
)
def test_what_is_not_surely_of_a_page_stays(left, temporary, change):
    change(left)
    opened_and_closed()
    (folder,) = temporary.iterdir()
    assert (folder / "uploads" / "private.clip").exists()


def test_a_file_of_such_a_name_stays(temporary):
    (temporary / "m2fnet-serve-notes").write_text("mine", encoding="utf-8")
    opened_and_closed()
    assert (temporary / "m2fnet-serve-notes").read_text(encoding="utf-8") == "mine"
