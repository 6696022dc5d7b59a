"""Files that come in: bounded, unguessable, and gone when they are answered."""

import asyncio
import os
import time
from pathlib import Path

import pytest

from m2fnet.errors import UsageError
from m2fnet.web.limits import Limits
from m2fnet.web.uploads import Uploads

SMALL = Limits(megabytes=0.001, waiting=2)


async def pieces(*chunks):
    for chunk in chunks:
        yield chunk


def receive(uploads, *chunks, kind="clip", declared=0):
    return asyncio.run(uploads.receive(kind, pieces(*chunks), declared))


@pytest.fixture
def uploads(tmp_path):
    return Uploads(tmp_path, SMALL)


def test_a_file_is_there_once_and_only_while_it_is_used(uploads, tmp_path):
    name = receive(uploads, b"ab", b"c")
    with uploads.take(name) as path:
        assert path.read_bytes() == b"abc"
        assert path.parent == tmp_path
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(UsageError, match="not here any more"), uploads.take(name):
        pass


def test_a_file_goes_when_its_use_fails(uploads, tmp_path):
    with pytest.raises(ZeroDivisionError), uploads.take(receive(uploads, b"a")):
        raise ZeroDivisionError
    assert list(tmp_path.iterdir()) == []


def test_equal_files_of_two_senders_are_two(uploads):
    first, second = receive(uploads, b"same"), receive(uploads, b"same")
    with uploads.take(first):
        pass
    with uploads.take(second) as path:
        assert path.read_bytes() == b"same"


def test_a_file_that_goes_while_another_comes_is_no_hindrance(uploads, tmp_path, monkeypatch):
    first = receive(uploads, b"a")
    stat = Path.stat

    def gone(path, **options):
        if path.name == first:
            path.unlink(missing_ok=True)
        return stat(path, **options)

    monkeypatch.setattr(Path, "stat", gone)
    second = receive(uploads, b"b")
    assert [path.name for path in tmp_path.iterdir()] == [second]


def test_a_file_can_be_removed_before_and_while_it_is_used(uploads, tmp_path):
    first, second = receive(uploads, b"a"), receive(uploads, b"b")
    uploads.remove(first)
    with uploads.take(second):
        uploads.remove(second)
        assert list(tmp_path.iterdir()) == []
    for name in (first, "../secret", ""):  # no such files
        uploads.remove(name)


def test_no_file_is_none(uploads):
    with uploads.take("") as path:
        assert path is None


@pytest.mark.parametrize("name", ["../secret", "/etc/passwd", ".", "..", "a/../b", "clip\0"])
def test_only_names_that_were_given_out_open_a_file(uploads, tmp_path, name):
    receive(uploads, b"a")
    (tmp_path.parent / "secret").write_text("secret", encoding="utf-8")
    with pytest.raises(UsageError, match="not here any more"), uploads.take(name):
        pass


@pytest.mark.parametrize("kind", ["exe", "../clip", "", "html"])
def test_other_kinds_are_refused(uploads, tmp_path, kind):
    with pytest.raises(UsageError, match="expected one of clip, jpg, jpeg, png, webp, bmp, srt"):
        receive(uploads, b"a", kind=kind)
    assert list(tmp_path.iterdir()) == []


def test_a_clip_that_says_that_it_is_too_large_is_refused_unread(uploads):
    async def unread():
        raise AssertionError("it was read")
        yield b""

    with pytest.raises(UsageError, match=r"more than 0\.001 MB.*--max-mb"):
        asyncio.run(uploads.receive("clip", unread(), declared=2_000_000_000))


def test_a_clip_that_proves_too_large_stops_there_and_leaves_nothing(uploads, tmp_path):
    sent = []

    async def endless():
        while True:
            sent.append(1)
            yield bytes(400)

    with pytest.raises(UsageError, match="more than"):
        asyncio.run(uploads.receive("clip", endless()))
    assert len(sent) == 3
    assert list(tmp_path.iterdir()) == []


def test_subtitles_have_a_limit_of_their_own(uploads):
    assert receive(uploads, bytes(5_000), kind="srt").endswith(".srt")
    with pytest.raises(UsageError, match="subtitles have more than 10 MB"):
        receive(uploads, b"", kind="srt", declared=10_000_001)


def test_an_upload_that_breaks_off_leaves_nothing(uploads, tmp_path):
    async def broken():
        yield b"a"
        raise ConnectionError

    with pytest.raises(ConnectionError):
        asyncio.run(uploads.receive("clip", broken()))
    assert list(tmp_path.iterdir()) == []


def test_only_so_many_wait_and_forgotten_ones_make_room(uploads, tmp_path):
    names = [receive(uploads, b"a") for _ in range(2 * SMALL.waiting)]
    with pytest.raises(UsageError, match="Too many clips are waiting"):
        receive(uploads, b"a")
    os.utime(tmp_path / names[0], (0, 0))
    receive(uploads, b"a")
    assert not (tmp_path / names[0]).exists()


def test_the_last_in_line_keeps_the_clip_as_long_as_those_before_may_take(tmp_path):
    uploads = Uploads(tmp_path, Limits(waiting=2, timeout_s=3600))
    patient, forgotten = receive(uploads, b"a"), receive(uploads, b"a")
    for name, hours in ((patient, 1.9), (forgotten, 2.1)):
        os.utime(tmp_path / name, (0, time.time() - 3600 * hours))
    receive(uploads, b"a")
    assert (tmp_path / patient).exists()
    assert not (tmp_path / forgotten).exists()
