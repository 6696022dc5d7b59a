import errno
import os
import re
import stat
import subprocess
import sys

import pytest

from m2fnet.errors import ManifestError
from m2fnet.files import (
    read_json,
    read_jsonl,
    replaced,
    replaced_folder,
    sha256_of,
    write_json,
    write_jsonl,
    write_text,
)

ADVICE = "Make it again."


def test_a_file_is_replaced_only_when_the_block_succeeds(tmp_path):
    path = tmp_path / "deep" / "report.json"
    with replaced(path) as temporary:
        temporary.write_text("new")
        assert not path.exists()
        assert temporary.suffix == ".json"
        assert temporary.parent == path.parent
    assert path.read_text() == "new"
    assert [p.name for p in path.parent.iterdir()] == ["report.json"]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_failure_leaves_the_old_file_and_no_temporary(tmp_path, error):
    path = tmp_path / "report.json"
    path.write_text("old")

    def fail():
        with replaced(path) as temporary:
            temporary.write_text("half")
            raise error

    with pytest.raises(error):
        fail()
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["report.json"]


KILLED = """
import os, sys
from pathlib import Path
from m2fnet import files
path = Path(sys.argv[1])
with files.replaced(path / "report.json") as temporary, files.replaced_folder(path / "model") as new:
    temporary.write_text("half")
    (new / "weights").write_text("half")
    if sys.argv[2] == "between":
        rename = Path.rename
        def only_once(old, target):
            rename(old, target)
            os.kill(os.getpid(), 9)
        Path.rename = only_once
    else:
        os.kill(os.getpid(), 9)
"""


NEXT = "import sys\nfrom pathlib import Path\nfrom m2fnet import files\nfiles.write_text(Path(sys.argv[1]), 'new')"


@pytest.mark.parametrize("moment", ["writing", "between"])
def test_what_a_killed_process_left_is_removed_by_the_next_one_and_what_it_took_away_comes_back(tmp_path, moment):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "weights").write_text("old")
    foreign = tmp_path / ".tmp-1@another-machine@x"
    foreign.touch()
    with replaced(tmp_path / "slow.json") as alive:
        assert subprocess.run([sys.executable, "-c", KILLED, tmp_path, moment]).returncode == -9
        assert (tmp_path / "model").exists() is (moment == "writing")
        assert len(list(tmp_path.glob(".tmp-*"))) == 4
        subprocess.run([sys.executable, "-c", NEXT, tmp_path / "report.json"], check=True)
        assert {*tmp_path.glob(".tmp-*")} == {foreign, alive}
    assert (tmp_path / "model" / "weights").read_text() == "old"
    assert (tmp_path / "report.json").read_text() == "new"


def test_a_folder_is_replaced_only_when_the_block_succeeds(tmp_path):
    for content in ("first", "second"):
        with replaced_folder(tmp_path / "model") as new:
            (new / content).touch()
    assert [path.name for path in tmp_path.rglob("*")] == ["model", "second"]
    with pytest.raises(RuntimeError), replaced_folder(tmp_path / "model"):
        raise RuntimeError
    assert [path.name for path in tmp_path.rglob("*")] == ["model", "second"]


def test_results_are_as_readable_as_any_new_file(tmp_path):
    (tmp_path / "plain").touch()
    write_text(tmp_path / "written", "x")
    assert stat.S_IMODE((tmp_path / "written").stat().st_mode) == stat.S_IMODE((tmp_path / "plain").stat().st_mode)


def test_json_and_jsonl_round_trip_any_text(tmp_path):
    rows = [{"text": 'I’m\u2028here\u0085\n\t"x" 😀', "n": 1}, {"text": None, "n": -0.5}]
    write_json(tmp_path / "a.json", rows[0])
    write_jsonl(tmp_path / "a.jsonl", rows)
    assert read_json(tmp_path / "a.json", ManifestError, ADVICE) == rows[0]
    assert list(read_jsonl(tmp_path / "a.jsonl", ManifestError, ADVICE)) == rows
    assert "’" in (tmp_path / "a.jsonl").read_text(encoding="utf-8")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_nan_is_not_written_as_json(tmp_path, value):
    for write in (write_json, lambda path, content: write_jsonl(path, [content])):
        with pytest.raises(ValueError, match="JSON compliant"):
            write(tmp_path / "a", {"f1": value})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"{", "is not valid JSON"),
        (b"[1]", "holds a list, expected a JSON object"),
        (b"\xff\xfe", "is not valid JSON ('utf-8' codec can't decode"),
        (b"[" * 100_000, "is not valid JSON"),
    ],
)
def test_damaged_json_is_refused_with_place_and_advice(tmp_path, content, message):
    (tmp_path / "a").write_bytes(content)
    with pytest.raises(ManifestError) as refused:
        read_json(tmp_path / "a", ManifestError, ADVICE)
    assert message in str(refused.value)
    assert str(tmp_path / "a") in str(refused.value)
    assert str(refused.value).endswith(ADVICE)
    (tmp_path / "a").write_bytes(b'{"ok": 1}\n' + content)
    with pytest.raises(ManifestError, match=rf"a:2 {re.escape(message)}"):
        list(read_jsonl(tmp_path / "a", ManifestError, ADVICE))


def test_an_absent_file_is_named(tmp_path):
    with pytest.raises(ManifestError, match=r"Cannot read .*nothing"):
        read_json(tmp_path / "nothing", ManifestError, ADVICE)
    with pytest.raises(ManifestError, match=r"Cannot read .*nothing"):
        list(read_jsonl(tmp_path / "nothing", ManifestError, ADVICE))


def test_an_absent_folder_is_told_with_those_like_it(tmp_path):
    for name in ("m2fnet_meld+text", "m2fnet_toy", "other"):
        (tmp_path / "runs" / name).mkdir(parents=True)
    with pytest.raises(ManifestError) as caught:
        read_json(tmp_path / "runs" / "m2fnet_meld" / "seed-0" / "report.json", ManifestError, "Test it.")
    said = str(caught.value)
    assert said.endswith(
        f"Test it. Like it there is: {tmp_path / 'runs' / 'm2fnet_meld+text'}, {tmp_path / 'runs' / 'm2fnet_toy'}."
    )


def test_sha256_is_that_of_the_bytes(tmp_path):
    (tmp_path / "abc").write_bytes(b"abc")
    assert sha256_of(tmp_path / "abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


@pytest.mark.parametrize(
    "error",
    [OSError(errno.ENOSPC, "No space left on device"), ValueError("IoError: No space left on device (os error 28)")],
)
def test_a_full_disk_names_the_file(tmp_path, error):
    with pytest.raises(OSError, match="No space left on device") as caught, replaced(tmp_path / "a.bin"):
        raise error
    assert caught.value.filename == str(tmp_path / "a.bin")
    assert list(tmp_path.iterdir()) == []


def test_output_in_any_encoding_ends_no_command():
    for encoding in ("ascii", "cp1252", "utf-8"):
        command = [sys.executable, "-m", "m2fnet.cli", "--help"]  # its text has a sign that ASCII lacks
        environment = {**os.environ, "PYTHONIOENCODING": encoding}
        assert subprocess.run(command, env=environment, capture_output=True).returncode == 0


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_a_full_disk_and_a_file_that_may_not_be_larger_name_the_file(tmp_path, number):
    path = tmp_path / "weights.safetensors"
    wrapped = ValueError(f"Error while serializing: I/O error: {os.strerror(number)} (os error {number})")
    for error in (OSError(number, os.strerror(number)), wrapped):
        with pytest.raises(OSError, match=re.escape(os.strerror(number))) as refused, replaced(path):
            raise error
        assert refused.value.filename == str(path)
    assert list(tmp_path.iterdir()) == []
