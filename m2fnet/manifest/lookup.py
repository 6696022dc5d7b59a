"""Where each of many names is, in 16 bytes for each."""

from collections.abc import Iterable
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

ABSENT = -1


class Lookup:
    """Names -> their places, in the order they are given.

    A set or a dict of ten million names takes gigabytes; this keeps their hashes of 64 bits, sorted. That two of ten
    million names have the same hash has a probability of 3 in a million, and shows as a name that occurs twice.

    Args:
        hashes: of the names, see `hash_of`.

    Example:
        >>> lookup = Lookup.of(["b_0", "a_0", "a_1"])
        >>> "a_0" in lookup, "c_0" in lookup
        (True, False)
        >>> lookup.places(["a_1", "c_0", "b_0"]).tolist()
        [2, -1, 0]
    """

    def __init__(self, hashes: NDArray[np.int64]) -> None:
        self._order = np.argsort(hashes, kind="stable")
        self._hashes = hashes[self._order]

    @classmethod
    def of(cls, names: Iterable[str]) -> "Lookup":
        """The lookup of ``names``, which are read once."""
        return cls(_hashes(names))

    def __len__(self) -> int:
        return len(self._hashes)

    def __contains__(self, name: str) -> bool:
        return self.place(name) != ABSENT

    def place(self, name: str) -> int:
        """The first place of ``name``, or `ABSENT`."""
        wanted = hash_of(name)
        found = int(self._hashes.searchsorted(wanted))
        return int(self._order[found]) if found < len(self) and self._hashes[found] == wanted else ABSENT

    def places(self, names: Iterable[str]) -> NDArray[np.int64]:
        """The first place of each name, or `ABSENT`."""
        wanted = _hashes(names)
        if not len(self):
            return np.full(len(wanted), ABSENT)
        found = np.searchsorted(self._hashes, wanted).clip(max=len(self) - 1)
        return np.where(self._hashes[found] == wanted, self._order[found], ABSENT)

    def repeated(self) -> list[int]:
        """The places of all names that occur before too.

        Example:
            >>> Lookup.of(["a", "b", "a", "a"]).repeated()
            [2, 3]
        """
        return sorted(self._order[1:][self._hashes[1:] == self._hashes[:-1]].tolist())


def hash_of(name: str) -> int:
    """64 bits of ``name``, the same on every machine."""
    return int.from_bytes(blake2b(name.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little", signed=True)


def _hashes(names: Iterable[str]) -> NDArray[np.int64]:
    return np.fromiter(map(hash_of, names), np.int64)
