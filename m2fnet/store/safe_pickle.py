"""Read a pickle of plain data without running any of it.

A pickle is a program for a stack machine, and Python's loader runs whatever it names. Here the standard library only
cuts the file into instructions. Those that build containers, numbers, strings and numpy arrays are carried out below,
and all others are refused by name. Nothing that the file names is imported or called. `m2fnet.store.torch_file` adds
the few instructions that files of `torch.save` need.
"""

import math
import mmap
import pickletools
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from m2fnet.errors import CorpusError, UnsafePickleError

_NUMBERS = {"INT", "LONG", "BININT", "BININT1", "BININT2", "LONG1", "LONG4", "FLOAT", "BINFLOAT"}
_STRINGS = {"UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "STRING", "BINSTRING", "SHORT_BINSTRING"}
_BYTES = {"BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8"}
_CONSTANTS = _NUMBERS | _STRINGS | _BYTES
_FRAMING = {"PROTO", "FRAME"}
_PYTHON = ("builtins", "__builtin__")  # the second is Python 2's name
_NUMPY = ("numpy._core", "numpy.core")  # numpy 2 and before
_NUMBER = re.compile(r"[iuf][1248]|b1")
_TEXT = re.compile(r"[US][0-9]{1,6}|O8?")  # fixed-width text, bytes, or any Python objects
_KEYS = (str, int, float, bytes, type(None))  # flat: hashing a tuple nested a million deep would crash the interpreter
_MOST_DIMENSIONS = 8


@dataclass(frozen=True)
class Name:
    """A class or function that the pickle names; only ever compared, never looked up."""

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


class Settings(dict[object, object]):
    """The attributes of an `argparse.Namespace`, which is never made."""


@dataclass
class _Dtype:
    """A numpy number type under construction."""

    name: str
    order: str = "="

    def numpy(self) -> np.dtype[np.generic]:
        return np.dtype(self.order + self.name)


def _names(modules: tuple[str, ...], *names: str) -> frozenset[Name]:
    return frozenset(Name(module, name) for module in modules for name in names)


_MULTIARRAY = tuple(f"{package}.multiarray" for package in _NUMPY)
_NDARRAY = _names(("numpy",), "ndarray")
_TYPES = _names(_PYTHON, "list", "dict", "tuple", "int", "float", "str", "bool")  # factories of a defaultdict


def load_plain(path: Path, *, texts: bool = False) -> object:
    """The object pickled in ``path``, made of containers, numbers, strings and numpy arrays of numbers only.

    Strings written by Python 2 are read as latin-1. The memory used stays in proportion to the size of the file,
    but one object may occur in many places: code that expands the result has to limit it.

    Args:
        path: the file.
        texts: also accept numpy arrays of texts, and those of objects, which then are plain data like the rest.

    Raises:
        UnsafePickleError: if the pickle asks for anything else, which the message names.
        CorpusError: if the file cannot be read or is not a whole pickle.
    """
    with (
        refused_if_damaged(path),
        path.open("rb") as file,
        mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content,
    ):
        return Machine(path, texts=texts).run(instructions(content))


@contextmanager
def refused_if_damaged(path: Path) -> Iterator[None]:
    """Whatever goes wrong in the block that reads ``path`` becomes an error that names it.

    Raises:
        UnsafePickleError: as the block raised it.
        CorpusError: for everything else, and if it is no plain file: a pipe would be waited on for ever.
    """
    if path.exists() and not path.is_file():
        raise CorpusError(f"{path} is not a plain file, expected a pickle or a file of torch.save.")
    try:
        yield
    except (UnsafePickleError, CorpusError):
        raise
    except OSError as problem:
        raise CorpusError(f"Cannot read {path}: {problem}.") from problem
    except Exception as problem:  # a damaged instruction may raise anything, and must not look like success
        reason = str(problem) or type(problem).__name__
        raise CorpusError(f"{path} is not a whole pickle ({reason}). Download it again.") from problem


def instructions(content: IO[bytes] | mmap.mmap) -> Iterator[tuple[str, object]]:
    """Name and argument of each instruction; `pickletools.genops` cannot read Python 2's non-ASCII strings."""
    readers = {
        op.code.encode("latin-1"): (op.name, op.arg.reader if op.arg is not None else None)
        for op in pickletools.opcodes
    }
    readers[b"S"] = ("STRING", _read_python2_string)
    while code := content.read(1):
        if code not in readers:
            raise ValueError(f"unknown instruction {code!r} at byte {content.tell() - 1}")
        name, reader = readers[code]
        yield name, reader(content) if reader is not None else None  # type: ignore[arg-type]
    raise ValueError("it ends before its last instruction")


def _read_python2_string(content: IO[bytes]) -> str:
    line = content.readline()
    if len(line) < 3 or line[:1] not in (b"'", b'"') or line[-2:-1] != line[:1] or line[-1:] != b"\n":
        raise ValueError("a string without quotes")
    return line[1:-2].decode("unicode_escape")  # unescapes bytes one by one, leaving latin-1


class Machine:
    """The harmless part of pickle's stack machine.

    Args:
        path: the file, for messages.
        texts: whether arrays of texts and of objects are accepted.
        operations: further instructions, by name.
        makers: further functions that the file may call, and what is done instead.
        names: further names that may occur in the file.
    """

    def __init__(
        self,
        path: Path,
        *,
        texts: bool = False,
        operations: "Mapping[str, Callable[[Machine, Any], None]] | None" = None,
        makers: "Mapping[Name, Callable[..., object]] | None" = None,
        names: frozenset[Name] = frozenset(),
    ) -> None:
        self._path = path
        self._texts = texts
        self._operations = {**_OPERATIONS, **(operations or {})}
        self._makers = {**_MAKERS, **(makers or {})}
        self._known = _KNOWN | self._makers.keys() | names
        self._stack: list[object] = []
        self._marks: list[int] = []
        self._memo: dict[int, object] = {}

    def run(self, instructions: Iterator[tuple[str, object]]) -> object:
        """Carry out ``instructions`` up to STOP and return the object on top of the stack."""
        for name, argument in instructions:
            if name in _CONSTANTS:
                self._stack.append(argument)
            elif name == "STOP":
                return self._stack.pop()
            elif name in self._operations:
                self._operations[name](self, argument)
            elif name not in _FRAMING:
                self.refuse(f"the instruction {name}")
        raise ValueError("it ends before STOP")

    def refuse(self, what: object) -> NoReturn:
        """Stop, because the file asks for ``what``."""
        raise UnsafePickleError(
            f"{self._path} asks for {what}; expected containers, numbers, strings and numpy arrays of numbers only, "
            "because anything else may run code. Nothing was run. If you trust its author, convert the values to "
            "lists and numpy arrays yourself and pickle them again."
        )

    def push(self, value: object) -> None:
        """Put ``value`` on the stack."""
        self._stack.append(value)

    def pop_value(self) -> object:
        """Take what is on top of the stack."""
        return self._stack.pop()

    def _since_mark(self) -> list[object]:
        mark = self._marks.pop()
        items = self._stack[mark:]
        del self._stack[mark:]
        return items

    def _mark(self) -> None:
        self._marks.append(len(self._stack))

    def _pop(self) -> None:
        if self._marks and self._marks[-1] == len(self._stack):
            self._marks.pop()
        else:
            self._stack.pop()

    def _forget(self) -> None:
        self._since_mark()

    def _duplicate(self) -> None:
        self.push(self._stack[-1])

    def _remember(self, key: int | None) -> None:
        self._memo[len(self._memo) if key is None else key] = self._stack[-1]

    def _recall(self, key: int) -> None:
        self.push(self._memo[key])

    def _gather_tuple(self, length: int | None) -> None:
        items = self._since_mark() if length is None else [self.pop_value() for _ in range(length)][::-1]
        self.push(tuple(items))

    def _extend_list(self, items: list[object]) -> None:
        self._target(list).extend(items)

    def _update_dict(self, items: list[object]) -> None:
        self._target(dict).update(self._pairs(items))

    def _update_set(self, items: list[object]) -> None:
        self._target(set).update(self._flat(items))

    def _make_dict(self) -> None:
        self.push(self._pairs(self._since_mark()))

    def _make_frozenset(self) -> None:
        self.push(frozenset(self._flat(self._since_mark())))

    def _name(self, argument: str | None) -> None:
        """Push the name that GLOBAL ("module name") or STACK_GLOBAL (both on the stack) gives, if it is harmless."""
        if argument is None:
            last = self.pop_value()
            module, name = self.pop_value(), last
        else:
            module, _, name = argument.partition(" ")
        if not isinstance(module, str) or not isinstance(name, str):
            self.refuse("a class whose name is not a string")
        named = Name(module, name)
        if named not in self._known:
            self.refuse(named)
        self.push(named)

    def _reduce(self) -> None:
        """Push the result that a call of the named function with its arguments would have."""
        arguments, function = self.pop_value(), self.pop_value()
        make = self._makers.get(function) if isinstance(function, Name) else None
        if make is None or not isinstance(arguments, tuple):
            self.refuse(f"a call of {function if isinstance(function, Name) else type(function).__name__}")
        self.push(make(self, *arguments))

    def _build(self) -> None:
        """Give an array its content, or a number type its byte order."""
        state, target = self.pop_value(), self._stack[-1]
        parts = state if isinstance(state, tuple) else ()
        if isinstance(target, np.ndarray):
            _, shape, dtype, is_fortran, content = parts
            if isinstance(dtype, _Dtype) and dtype.name.startswith("O"):
                self._fill_objects(target, shape, is_fortran, content)
                return
            shape, number, content = self._checked(shape, dtype, content)
            known: Any = (1, shape, number, is_fortran is True or is_fortran == 1, content)
            target.__setstate__(known)
        elif isinstance(target, Settings) and isinstance(state, dict):
            target.update(state)
        elif isinstance(target, _Dtype):
            _, order, subdtype, names, fields = parts[:5]
            if order not in ("<", ">", "|", "=") or (subdtype, names, fields) != (None, None, None):
                self.refuse("a structured number type")
            target.order = order
        else:
            self.refuse(f"changing the attributes of a {type(target).__name__}")

    def _fill_objects(self, target: Any, shape: object, is_fortran: object, content: object) -> None:  # noqa: ANN401
        """Give an array its objects, which are plain data as everything on the stack."""
        if not isinstance(content, list) or not isinstance(shape, tuple) or not all(type(n) is int for n in shape):
            self.refuse("an array of objects that are not listed")
        if min(shape, default=0) < 0 or len(shape) > _MOST_DIMENSIONS or math.prod(shape) != len(content):
            raise ValueError(f"an array of shape {shape} with {len(content)} objects")
        target.__setstate__((1, shape, np.dtype("O"), is_fortran is True or is_fortran == 1, content))

    def _target(self, kind: type[Any]) -> Any:  # noqa: ANN401
        target = self._stack[-1]
        if type(target) is not kind:
            self.refuse(f"filling a {type(target).__name__} as if it were a {kind.__name__}")
        return target

    def _pairs(self, items: list[object]) -> dict[object, object]:
        return dict(zip(self._flat(items[::2]), items[1::2], strict=True))

    def _flat(self, items: list[object]) -> list[object]:
        for item in items:
            if not isinstance(item, _KEYS):
                self.refuse(f"a {type(item).__name__} as a key")
        return items

    def _checked(
        self, shape: object, dtype: object, content: object
    ) -> tuple[tuple[int, ...], np.dtype[np.generic], bytes]:
        """Shape, type and bytes of an array if they fit each other: a small file must not ask for a huge array."""
        if isinstance(content, str):  # Python 2's bytes
            content = content.encode("latin-1")
        if not isinstance(dtype, _Dtype) or not isinstance(content, bytes | bytearray) or not isinstance(shape, tuple):
            self.refuse("an array that does not hold numbers")
        if dtype.name.startswith("O"):
            self.refuse("an array of objects that are not listed")
        if not all(type(n) is int and n >= 0 for n in shape) or len(shape) > _MOST_DIMENSIONS:
            raise ValueError("an array of impossible shape")
        if math.prod(shape) * dtype.numpy().itemsize != len(content):
            raise ValueError(f"an array of shape {shape} with {len(content)} bytes of {dtype.name}")
        return shape, dtype.numpy(), bytes(content)

    def _make_empty_array(self, kind: object, *_: object) -> NDArray[np.generic]:
        if not isinstance(kind, Name) or kind not in _NDARRAY:
            self.refuse("an array of another class than numpy's own")
        return np.zeros(0)

    def _make_array(self, content: object, dtype: object, shape: object, order: object) -> NDArray[np.generic]:
        shape, number, content = self._checked(shape, dtype, content)
        return np.frombuffer(content, number).reshape(shape, order="F" if order == "F" else "C")

    def _make_scalar(self, dtype: object, content: object) -> object:
        _, number, content = self._checked((), dtype, content)
        return np.frombuffer(content, number)[0].item()

    def _make_dtype(self, name: object, *_: object) -> _Dtype:
        if not isinstance(name, str) or not (_NUMBER.fullmatch(name) or (self._texts and _TEXT.fullmatch(name))):
            self.refuse(f"the number type {name[:40]!r}" if isinstance(name, str) else "a number type without name")
        return _Dtype(name)

    def _make_bytes(self, text: str = "", encoding: str = "latin1") -> bytes:
        if encoding not in ("latin1", "latin-1"):
            self.refuse(f"the encoding {encoding[:40]!r}")
        return text.encode("latin-1")

    def _make_mapping(self, *arguments: object) -> dict[object, object]:
        """A plain dict in place of OrderedDict (perhaps with pairs) or defaultdict (with its factory)."""
        pairs = arguments[-1] if arguments and isinstance(arguments[-1], list) else []
        return self._pairs([item for key, value in pairs for item in (key, value)])

    def _make_set(self, items: object = ()) -> set[object]:
        if not isinstance(items, list | tuple):
            self.refuse(f"a set of a {type(items).__name__}")
        return set(self._flat(list(items)))


_MAKERS: dict[Name, Callable[..., object]] = {
    name: make
    for names, make in (
        (_names(_MULTIARRAY, "_reconstruct"), Machine._make_empty_array),
        (_names(_MULTIARRAY, "scalar"), Machine._make_scalar),
        (_names(tuple(f"{package}.numeric" for package in _NUMPY), "_frombuffer"), Machine._make_array),
        (_names(("numpy",), "dtype"), Machine._make_dtype),
        (_names(("_codecs",), "encode"), Machine._make_bytes),
        (_names(_PYTHON, "bytes"), Machine._make_bytes),
        (_names(("collections",), "OrderedDict", "defaultdict"), Machine._make_mapping),
        (_names(_PYTHON, "set", "frozenset"), Machine._make_set),
    )
    for name in names
}
_KNOWN = _NDARRAY | _TYPES | _MAKERS.keys()

_OPERATIONS: dict[str, Callable[[Machine, Any], None]] = {
    "NONE": lambda machine, _: machine.push(None),
    "NEWTRUE": lambda machine, _: machine.push(True),
    "NEWFALSE": lambda machine, _: machine.push(False),
    "EMPTY_LIST": lambda machine, _: machine.push([]),
    "EMPTY_DICT": lambda machine, _: machine.push({}),
    "EMPTY_SET": lambda machine, _: machine.push(set()),
    "EMPTY_TUPLE": lambda machine, _: machine.push(()),
    "LIST": lambda machine, _: machine.push(machine._since_mark()),
    "DICT": lambda machine, _: machine._make_dict(),
    "FROZENSET": lambda machine, _: machine._make_frozenset(),
    "TUPLE": lambda machine, _: machine._gather_tuple(None),
    "TUPLE1": lambda machine, _: machine._gather_tuple(1),
    "TUPLE2": lambda machine, _: machine._gather_tuple(2),
    "TUPLE3": lambda machine, _: machine._gather_tuple(3),
    "APPEND": lambda machine, _: machine._extend_list([machine.pop_value()]),
    "APPENDS": lambda machine, _: machine._extend_list(machine._since_mark()),
    "SETITEM": lambda machine, _: machine._update_dict([machine.pop_value(), machine.pop_value()][::-1]),
    "SETITEMS": lambda machine, _: machine._update_dict(machine._since_mark()),
    "ADDITEMS": lambda machine, _: machine._update_set(machine._since_mark()),
    "MARK": lambda machine, _: machine._mark(),
    "POP": lambda machine, _: machine._pop(),
    "POP_MARK": lambda machine, _: machine._forget(),
    "DUP": lambda machine, _: machine._duplicate(),
    "MEMOIZE": lambda machine, _: machine._remember(None),
    **dict.fromkeys(("PUT", "BINPUT", "LONG_BINPUT"), Machine._remember),
    **dict.fromkeys(("GET", "BINGET", "LONG_BINGET"), Machine._recall),
    **dict.fromkeys(("GLOBAL", "STACK_GLOBAL"), Machine._name),
    "REDUCE": lambda machine, _: machine._reduce(),
    "BUILD": lambda machine, _: machine._build(),
}
