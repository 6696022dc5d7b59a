"""Files of torch.save are read as torch reads them, and nothing in them is run."""

import argparse
import os
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from m2fnet.errors import CorpusError, M2FNetError, UnsafePickleError
from m2fnet.store.safe_pickle import load_plain
from m2fnet.store.torch_file import load_torch

BASE = torch.arange(24.0).reshape(2, 3, 4)
CONTENT = {
    "train": {"src-text": [np.ones((2, 3), np.float32), np.zeros((4, 3))], "tgt": [[2, 4, 9, 3], [2, 3]]},
    "tensors": [BASE, BASE[:, 1:, ::2], BASE.mT, torch.tensor(7), torch.tensor([True, False]), torch.zeros(0, 3)],
    "half": torch.tensor([1.5], dtype=torch.float16),
    "names": np.array(["ünder", "b"]),
    "objects": np.array(["a", None, 3], dtype=object),
    "settings": argparse.Namespace(data="mosei", lr=1e-3, parts=None),
}


def equal(found: object, expected: object) -> bool:
    if isinstance(expected, dict):
        return isinstance(found, dict) and all(equal(found[key], value) for key, value in expected.items())
    if isinstance(expected, list):
        return isinstance(found, list) and all(map(equal, found, expected))
    if isinstance(expected, argparse.Namespace):
        return found == vars(expected)
    if isinstance(expected, torch.Tensor):
        expected = expected.numpy()
    if isinstance(expected, np.ndarray):
        return isinstance(found, np.ndarray) and found.dtype == expected.dtype and np.array_equal(found, expected)
    return found == expected


@pytest.mark.parametrize("is_zip", [True, False])
def test_it_reads_what_torch_wrote(tmp_path: Path, is_zip: bool):
    torch.save(CONTENT, tmp_path / "x.pt", _use_new_zipfile_serialization=is_zip)
    found = load_torch(tmp_path / "x.pt")
    assert isinstance(found, dict)
    for key, expected in CONTENT.items():
        if key == "tensors":
            shapes = [tensor.numel() and tensor.numpy().shape for tensor in expected]
            assert [array.size and array.shape for array in found[key]] == shapes
            assert all(np.array_equal(a, t.numpy()) for a, t in zip(found[key][:-1], expected[:-1], strict=True))
        else:
            assert equal(found[key], expected), key
    assert type(found["settings"]).__mro__[1] is dict


class Call:
    """What a hostile file asks for; a reader that ran it would leave an empty file in the test's folder."""

    def __reduce__(self):
        return os.system, ("touch pwned",)


class Reduced(argparse.Namespace):
    pass


@pytest.mark.parametrize("is_zip", [True, False])
@pytest.mark.parametrize(
    ("content", "asked"),
    [
        ([Call()], "posix.system"),
        ([Reduced(a=1)], "Reduced"),
        ([Path("/x")], "pathlib"),
        ([torch.nn.Linear(1, 1)], "torch.nn"),
    ],
)
def test_anything_else_is_refused_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_zip: bool, content: list[object], asked: str
):
    monkeypatch.chdir(tmp_path)
    torch.save(content, "x.pt", _use_new_zipfile_serialization=is_zip)
    with pytest.raises(UnsafePickleError, match=asked):
        load_torch(tmp_path / "x.pt")
    assert not (tmp_path / "pwned").exists()


def test_a_namespace_is_accepted_in_no_plain_pickle(tmp_path: Path):
    (tmp_path / "x.pkl").write_bytes(pickle.dumps(argparse.Namespace(a=1), 2))
    with pytest.raises(UnsafePickleError, match=r"argparse\.Namespace"):
        load_plain(tmp_path / "x.pkl")


@pytest.mark.parametrize("protocol", range(2, 6))
def test_texts_and_objects_in_arrays_only_where_asked_for(tmp_path: Path, protocol: int):
    arrays = [np.array(["one", "zwö"]), np.array([b"x", b"yy"]), np.array([["a", 1], [None, "b"]], dtype=object)]
    for array in arrays:
        (tmp_path / "x.pkl").write_bytes(pickle.dumps([array], protocol))
        found = load_plain(tmp_path / "x.pkl", texts=True)
        assert isinstance(found, list)
        assert np.array_equal(found[0], array)
        with pytest.raises(UnsafePickleError, match="the number type"):
            load_plain(tmp_path / "x.pkl")
    (tmp_path / "x.pkl").write_bytes(pickle.dumps(np.array([Call()], dtype=object), protocol))
    with pytest.raises(UnsafePickleError, match=r"posix\.system"):
        load_plain(tmp_path / "x.pkl", texts=True)


def test_a_packed_archive_is_no_file_of_torch(tmp_path: Path):
    with zipfile.ZipFile(tmp_path / "x.pt", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x/data.pkl", bytes(10**6))
    with pytest.raises(CorpusError, match=r"not one of torch\.save"):
        load_torch(tmp_path / "x.pt")


def rebuilt(size: str, stride: str, count: int = 4) -> bytes:
    """A pickle with one tensor of any shape in storage 0."""
    storage = f"(X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpuI{count}\ntQ"
    return f"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n({storage}I0\n{size}{stride}I00\n}}tR.".encode("latin-1")


@pytest.mark.parametrize(
    ("size", "stride", "count"),
    [
        ("(I5\nt", "(I1\nt", 4),  # longer than its storage
        ("(I2\nt", "(I9\nt", 4),  # steps beyond it
        ("(I1000000\nt", "(I0\nt", 4),  # one element very often
        ("(I-2\nt", "(I1\nt", 4),
        ("(I2\nt", "(I-1\nt", 4),
        ("(I2\nI2\nt", "(I1\nt", 4),
        ("(I4\nt", "(I1\nt", 400),  # a storage of another size than its file
    ],
)
def test_no_tensor_is_larger_than_its_storage(tmp_path: Path, size: str, stride: str, count: int):
    with zipfile.ZipFile(tmp_path / "x.pt", "w") as archive:
        archive.writestr("x/data.pkl", rebuilt(size, stride, count))
        archive.writestr("x/data/0", bytes(16))
    with pytest.raises(CorpusError, match="not a whole pickle"):
        load_torch(tmp_path / "x.pt")


@settings(max_examples=150, deadline=None)
@given(st.data(), st.booleans())
def test_damage_is_refused_or_gives_plain_data(tmp_path_factory, data, is_zip):
    path = tmp_path_factory.getbasetemp() / "damaged.pt"
    torch.save({"a": BASE, "s": argparse.Namespace(x=1)}, path, _use_new_zipfile_serialization=is_zip)
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content)
    try:
        load_torch(path)
    except M2FNetError:
        return


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes with names")
@pytest.mark.parametrize("read", [load_plain, load_torch])
def test_a_pipe_is_refused_and_not_waited_on(tmp_path: Path, read):
    os.mkfifo(tmp_path / "features.pt")
    with pytest.raises(CorpusError, match="is not a plain file"):
        read(tmp_path / "features.pt")
