"""Read a file of `torch.save` without running any of it: containers, numbers, texts, numpy arrays and tensors.

Since PyTorch 1.6 such a file is a ZIP archive with a pickle and one file per storage; before, it is five pickles
followed by the storages. PyTorch's own `weights_only` loader refuses the `argparse.Namespace` in the published files
of CMU-MOSEI; here it becomes a dict of its attributes, and no class is looked up at all.
"""

import mmap
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from m2fnet.errors import CorpusError
from m2fnet.store.safe_pickle import Machine, Name, Settings, instructions, refused_if_damaged

_STORAGES = {
    Name("torch", f"{kind}Storage"): np.dtype(f"<{code}")
    for kind, code in {
        "Double": "f8", "Float": "f4", "Half": "f2", "Long": "i8", "Int": "i4", "Short": "i2", "Char": "i1",
        "Byte": "u1", "Bool": "?",
    }.items()
}  # fmt: skip
_NAMESPACE = Name("argparse", "Namespace")
_MAGIC, _PROTOCOL = 0x1950A86A20F9469CFC6C, 1001  # how a file of the older layout begins
Load = Callable[[str, np.dtype[np.generic], int], NDArray[np.generic]]  # key, type and number of elements of a storage


def load_torch(path: Path) -> object:
    """The object that `torch.save` wrote to ``path``; tensors come out as numpy arrays, a Namespace as a dict.

    Numpy arrays of texts and of objects are accepted. Nothing is allocated that the file does not hold.

    Raises:
        UnsafePickleError: if the file asks for anything else than plain data, which the message names.
        CorpusError: if it cannot be read, or is no whole file of `torch.save`.
    """
    with refused_if_damaged(path), path.open("rb") as file:
        if zipfile.is_zipfile(file):
            with zipfile.ZipFile(file) as archive:
                return _from_archive(path, archive)
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            return _from_pickles(path, content)


def _from_archive(path: Path, archive: zipfile.ZipFile) -> object:
    pickles = [info for info in archive.infolist() if info.filename.split("/")[1:] == ["data.pkl"]]
    if len(pickles) != 1 or any(info.compress_type != zipfile.ZIP_STORED for info in archive.infolist()):
        raise CorpusError(
            f"{path} is a ZIP archive, but not one of torch.save. Give the file itself, not a packed one."
        )
    folder = pickles[0].filename.split("/")[0]

    def load(key: str, dtype: np.dtype[np.generic], count: int) -> NDArray[np.generic]:
        content = archive.read(f"{folder}/data/{key}")
        if len(content) != count * dtype.itemsize:
            raise ValueError(f"storage {key} has {len(content)} bytes, expected {count * dtype.itemsize}")
        return np.frombuffer(content, dtype)

    with archive.open(pickles[0]) as content:
        return _machine(path, load).run(instructions(content))


def _from_pickles(path: Path, content: mmap.mmap) -> object:
    storages: dict[str, NDArray[np.generic]] = {}
    size = 0

    def load(key: str, dtype: np.dtype[np.generic], count: int) -> NDArray[np.generic]:
        """An empty storage, which is filled when the pickle has been read: its bytes follow behind."""
        nonlocal size
        if key not in storages:
            size += count * dtype.itemsize
            if count < 0 or size > len(content):
                raise ValueError(f"storages of {size} bytes in a file of {len(content)}")
            storages[key] = np.zeros(count, dtype)
        return storages[key]

    magic, protocol, _ = (_machine(path, load).run(instructions(content)) for _ in range(3))
    if (magic, protocol) != (_MAGIC, _PROTOCOL):
        raise ValueError("it does not begin as a file of torch.save")
    result = _machine(path, load).run(instructions(content))
    keys = _machine(path, load).run(instructions(content))
    if not isinstance(keys, list) or set(keys) != set(storages):
        raise ValueError("its list of storages is not that of its tensors")
    for key in keys:
        storage = storages[key]
        (count,) = struct.unpack("<q", content.read(8))
        if count != len(storage):
            raise ValueError(f"storage {key} has {count} elements, expected {len(storage)}")
        storage[:] = np.frombuffer(content.read(storage.nbytes), storage.dtype)
    return result


def _machine(path: Path, load: Load) -> Machine:
    loaded: dict[str, NDArray[np.generic]] = {}

    def storage(machine: Machine, _: object) -> None:
        """Push the storage that the persistent id on the stack names."""
        match machine.pop_value():
            case ("storage", Name() as kind, str(key), str(), int(count), *_) if kind in _STORAGES and count >= 0:
                if key not in loaded:
                    loaded[key] = load(key, _STORAGES[kind], count)
                machine.push(loaded[key])
            case other:
                machine.refuse(f"a storage described by {str(other)[:60]}")

    def namespace(machine: Machine, _: object) -> None:
        """Push the attributes of a Namespace where the file asks for a new one."""
        arguments, kind = machine.pop_value(), machine.pop_value()
        if kind != _NAMESPACE or arguments != ():
            machine.refuse(f"a new {kind if isinstance(kind, Name) else type(kind).__name__}")
        machine.push(Settings())

    def tensor(machine: Machine, values: object, offset: object, size: object, stride: object, *_: object) -> object:
        """The array of a tensor, which may not be larger than its storage."""
        if not isinstance(values, np.ndarray) or values.ndim != 1:
            machine.refuse("a tensor without a storage")
        numbers = [
            offset,
            *(size if isinstance(size, tuple) else (-1,)),
            *(stride if isinstance(stride, tuple) else ()),
        ]
        if not all(type(number) is int and number >= 0 for number in numbers):
            raise ValueError("a tensor of impossible shape")
        assert isinstance(offset, int)
        assert isinstance(size, tuple)
        assert isinstance(stride, tuple)
        count = int(np.prod(size, dtype=object)) if size else 1
        last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
        if count and (last >= len(values) or count > len(values)):
            raise ValueError(f"a tensor of shape {size} in a storage of {len(values)}")
        steps = tuple(step * values.itemsize for step in stride)
        return np.lib.stride_tricks.as_strided(values[offset:], size if count else (0,), steps if count else (1,))

    return Machine(
        path,
        texts=True,
        operations={"BINPERSID": storage, "NEWOBJ": namespace},
        makers={Name("torch._utils", "_rebuild_tensor_v2"): tensor},
        names=frozenset({*_STORAGES, _NAMESPACE}),
    )
