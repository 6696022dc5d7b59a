"""The utterances of a manifest that is too large for memory: they stay in their file and are read when asked for."""

import json
import os
import tempfile
from array import array
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import accumulate, chain, islice
from pathlib import Path
from typing import Any, BinaryIO, cast, overload

import numpy as np

from m2fnet.errors import ManifestError
from m2fnet.files import json_line, raise_if_full
from m2fnet.manifest.rows import SEQUENCES, row_of
from m2fnet.records import Dialogue, Split, Utterance

_BLOCK = 1024  # lines that are read together


class UtteranceTable(Sequence[Utterance]):
    r"""The utterances in the lines of a file, of which only the beginning of each line is in memory, 8 bytes.

    The file stays open: if another replaces it meanwhile, this table is still of the one that it has opened.

    Args:
        file: open, with the lines.
        read: makes the utterance of a line and its number, from 1.

    Example:
        >>> import tempfile
        >>> file = tempfile.TemporaryFile()
        >>> _ = file.write(b"ann\nbob\n")
        >>> read = lambda line, number: Utterance(line.decode().strip(), "own", "train", "a", number - 1)
        >>> table = UtteranceTable(file, read)
        >>> len(table), table[-1].id, [one.id for one in table]
        (2, 'bob', ['ann', 'bob'])
    """

    def __init__(self, file: BinaryIO, read: Callable[[bytes, int], Utterance]) -> None:
        self.read = read
        self._file = file
        self._starts = array("q", [0])
        file.seek(0)
        for line in file:
            self._starts.append(self._starts[-1] + len(line))

    def __len__(self) -> int:
        return len(self._starts) - 1

    def __iter__(self) -> Iterator[Utterance]:
        for first in range(0, len(self), _BLOCK):
            last = min(first + _BLOCK, len(self))
            block, start = self._bytes(first, last), self._starts[first]
            for number in range(first, last):
                line = block[self._starts[number] - start : self._starts[number + 1] - start]
                yield self.read(line, number + 1)

    @overload
    def __getitem__(self, place: int) -> Utterance: ...
    @overload
    def __getitem__(self, place: slice) -> tuple[Utterance, ...]: ...
    def __getitem__(self, place: int | slice) -> Utterance | tuple[Utterance, ...]:
        if isinstance(place, slice):
            return tuple(self[number] for number in range(len(self))[place])
        number = range(len(self))[place]
        return self.read(self._bytes(number, number + 1), number + 1)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, UtteranceTable | tuple):
            return NotImplemented
        return len(self) == len(other) and all(mine == theirs for mine, theirs in zip(self, other, strict=True))

    __hash__ = None  # type: ignore[assignment]  # as of a list

    def __getstate__(self) -> dict[str, Any]:
        if not isinstance(self._file.name, str):
            raise TypeError("The utterances are in a temporary file, which only this process has; save the manifest.")
        path = Path(self._file.name).absolute()
        return {**vars(self), "_file": (path, _stamp(self._file))}

    def __setstate__(self, state: dict[str, Any]) -> None:
        path, stamp = state["_file"]
        file = path.open("rb")
        if _stamp(file) != stamp:
            raise ManifestError(f"{path} was changed while another process read it. Start the command again.")
        vars(self).update({**state, "_file": file})

    def _bytes(self, first: int, last: int) -> bytes:
        """The lines from ``first`` to before ``last``; processes that share the open file do not disturb each other."""
        start, end = self._starts[first], self._starts[last]
        return os.pread(self._file.fileno(), end - start, start)


class DialogueTable(Sequence[Dialogue]):
    """The dialogues of utterances that stay where they are, in the order of their first utterance.

    In memory are 8 bytes of an utterance, and the place and split of each dialogue.

    Args:
        utterances: in any order.

    Example:
        >>> said = [("a", 1), ("b", 0), ("a", 0)]
        >>> table = DialogueTable([Utterance(f"{d}_{n}", "own", "train", d, n) for d, n in said])
        >>> [[one.id for one in dialogue] for dialogue in table]
        [['a_0', 'a_1'], ['b_0']]
        >>> len(table.of("dev"))
        0
    """

    def __init__(self, utterances: Sequence[Utterance]) -> None:
        self.utterances = utterances
        names: dict[str, int] = {}
        splits: list[Split] = []
        numbers = array("i")
        for utterance in utterances:
            if utterance.dialogue not in names:
                splits.append(utterance.split)
            numbers.append(names.setdefault(utterance.dialogue, len(names)))
        of = np.frombuffer(numbers, np.intc)
        self._order = np.argsort(of, kind="stable")
        self._ends = np.bincount(of).cumsum()
        self._splits = np.array(splits)
        self._chosen = np.arange(len(self._ends))

    def of(self, split: Split | None) -> "DialogueTable":
        """The dialogues of ``split``, all when None."""
        found = object.__new__(DialogueTable)
        vars(found).update(vars(self))
        if split is not None:
            found._chosen = np.flatnonzero(self._splits == split)
        return found

    @property
    def lengths(self) -> np.ndarray:
        """Number of utterances of each dialogue."""
        starts = np.concatenate([[0], self._ends[:-1]])
        return np.asarray((self._ends - starts)[self._chosen])

    def __len__(self) -> int:
        return len(self._chosen)

    @overload
    def __getitem__(self, place: int) -> Dialogue: ...
    @overload
    def __getitem__(self, place: slice) -> list[Dialogue]: ...
    def __getitem__(self, place: int | slice) -> Dialogue | list[Dialogue]:
        if isinstance(place, slice):
            return [self[number] for number in range(len(self))[place]]
        number = self._chosen[range(len(self))[place]]
        start, end = self._ends[number - 1] if number else 0, self._ends[number]
        said = sorted((self.utterances[row] for row in self._order[start:end].tolist()), key=lambda one: one.index)
        return Dialogue(said[0].dialogue, said[0].split, tuple(said))


class UtterancesOf(Sequence[Utterance]):
    """The utterances of dialogues, one dialogue after another, read when they are asked for.

    Args:
        dialogues: whose; reading one of them may take a while, so the last one is kept.

    Example:
        >>> said = [Utterance(f"{d}_{n}", "own", "train", d, n) for d, n in [("a", 1), ("b", 0), ("a", 0)]]
        >>> [one.id for one in UtterancesOf(DialogueTable(said))]
        ['a_0', 'a_1', 'b_0']
    """

    def __init__(self, dialogues: Sequence[Dialogue]) -> None:
        self.dialogues = dialogues
        self._ends = array("q", accumulate(lengths_of(dialogues)))
        self._last: tuple[int, Dialogue] | None = None

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    def __iter__(self) -> Iterator[Utterance]:
        for dialogue in self.dialogues:
            yield from dialogue.utterances

    @overload
    def __getitem__(self, place: int) -> Utterance: ...
    @overload
    def __getitem__(self, place: slice) -> list[Utterance]: ...
    def __getitem__(self, place: int | slice) -> Utterance | list[Utterance]:
        if isinstance(place, slice):
            return [self[number] for number in range(len(self))[place]]
        dialogue, position = self.placed(place)
        return dialogue.utterances[position]

    def placed(self, place: int) -> tuple[Dialogue, int]:
        """The dialogue of an utterance, and its number in it."""
        place = range(len(self))[place]
        number = bisect_right(self._ends, place)
        last = self._last
        if last is None or last[0] != number:
            last = self._last = number, self.dialogues[number]
        return last[1], place - (self._ends[number - 1] if number else 0)


def collected(utterances: Iterable[Utterance], most: int = 200_000) -> Sequence[Utterance]:
    """All ``utterances``: in memory, or if there are more than ``most`` in a temporary file that nobody else sees.

    Example:
        >>> said = [Utterance(f"a_{n}", "own", "train", "a", n, labels=()) for n in range(3)]
        >>> collected(said, most=2)[2] == said[2], type(collected(said)).__name__
        (True, 'tuple')
    """
    left = iter(utterances)
    first = tuple(islice(left, most + 1))
    if len(first) <= most:
        return first
    file = cast(BinaryIO, tempfile.TemporaryFile())  # noqa: SIM115  # it is closed with the table
    try:
        file.writelines(json_line(row_of(utterance)).encode() for utterance in chain(first, left))
        file.flush()
    except OSError as error:
        raise_if_full(error, Path(tempfile.gettempdir()))
        raise
    return UtteranceTable(file, _read)


def _stamp(file: BinaryIO) -> tuple[int, int]:
    """Size and time of change of an open file."""
    found = os.fstat(file.fileno())
    return found.st_size, found.st_mtime_ns


def _read(line: bytes, _: int) -> Utterance:
    """An utterance that `collected` wrote; it needs no check."""
    row: dict[str, Any] = json.loads(line.decode())
    row |= {name: tuple(row[name]) for name in SEQUENCES if row[name] is not None}
    return Utterance(**row)


def lengths_of(dialogues: Sequence[Dialogue]) -> list[int]:
    """The number of utterances of each dialogue; those of a table are not read for it.

    Example:
        >>> lengths_of([Dialogue("a", "train", (Utterance("a_0", "own", "train", "a", 0),))])
        [1]
    """
    return dialogues.lengths.tolist() if isinstance(dialogues, DialogueTable) else [len(one) for one in dialogues]
