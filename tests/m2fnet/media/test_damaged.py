"""Hundreds of damaged and odd files: each is read or named, in little time and memory, and nothing crashes."""

import json
import re
import subprocess
import sys

import damaged_media
import pytest

CHILDREN = 2  # a crash must not end the tests, and a hang must be found
_OUR_BUG = re.compile(r"AssertionError|AttributeError|IndexError|KeyError|NameError|NoneType|TypeError|ZeroDivision")

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("damaged")
    assert damaged_media.write_damaged(folder) >= 300
    return folder


@pytest.fixture(scope="module")
def rows(folder):
    command = [sys.executable, damaged_media.__file__, str(folder)]
    children = [
        subprocess.Popen([*command, str(first), str(CHILDREN)], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        for first in range(CHILDREN)
    ]
    found = {}
    for child in children:
        out, err = child.communicate(timeout=200)
        lines = [json.loads(line) for line in out.splitlines()]
        assert child.returncode == 0, f"died after {lines[-1:]}: {err[-2000:].decode(errors='replace')}"
        found.update({line["name"]: line for line in lines})
    return found


def test_every_file_is_read_or_named_in_little_time(folder, rows):
    assert set(rows) == {path.name for path in folder.iterdir()}
    assert max(row["seconds"] for row in rows.values()) < damaged_media.HANG


def test_memory_stays_small(rows):
    used = [row["megabytes"] for row in rows.values()]
    assert max(used) - min(used) < 300


def test_reasons_are_of_the_file_and_can_be_counted(folder, rows):
    reasons = {o for row in rows.values() for o in row["outcomes"].values() if not o.startswith("read")}
    assert len(reasons) < 40  # hundreds if they held numbers or names
    for reason in reasons:
        assert reason.split(":")[0] in ("open", "decode", "span")
        assert not _OUR_BUG.search(reason), reason
        assert str(folder) not in reason


@pytest.mark.parametrize("name", ["late.mp4", "early.mp4", "old.avi", "open.mkv"])
def test_what_is_whole_is_read(rows, name):
    assert all(outcome.startswith("read") for outcome in rows[name]["outcomes"].values())
    for suffix in damaged_media.SUFFIXES:  # whatever it is called
        assert rows[f"{name.split('.')[0]}_named{suffix}"]["outcomes"] == rows[name]["outcomes"]


@pytest.mark.parametrize("kind", ["late", "early", "old", "open", "sound"])
def test_what_is_cut_in_half_is_not_taken_for_the_whole(rows, kind):
    half = damaged_media.COUNTS["truncated"] // 2
    cut = [row for name, row in rows.items() if (m := re.match(rf"{kind}_truncated(\d+)", name)) and int(m[1]) <= half]
    assert len(cut) >= half
    for row in cut:
        for what in ("sound", "pictures"):
            assert not row["outcomes"][what].startswith("read"), row


def test_odd_files_are_read(rows):
    for suffix in (".mp4", ".avi", ".mkv"):
        for name in ("pictures_only", "one_frame", "one_pixel", "variable"):
            assert rows[name + suffix]["outcomes"]["pictures"].startswith("read (")
        for name in ("sound_only", "six_channels"):
            assert rows[name + suffix]["outcomes"]["sound"].startswith("read (1")
        for what in ("sound", "pictures"):
            assert not rows["no_frame" + suffix]["outcomes"][what].startswith("read")
            assert not rows["empty" + suffix]["outcomes"][what].startswith("read")
            assert not rows["text" + suffix]["outcomes"][what].startswith("read")
