"""The index of a store: which rows of which shard belong to an utterance, in 40 bytes of memory for each."""

from array import array
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from m2fnet.errors import StoreError
from m2fnet.files import read_jsonl
from m2fnet.manifest.lookup import Lookup, hash_of
from m2fnet.store.layout import ADVICE


class Index:
    """The places of the embeddings in a store.

    Args:
        path: of ``index.jsonl``.

    Attributes:
        lookup: utterance id -> row of ``places``.
        places: (N, 3), of each embedding the shard, its first row there, and the number of its rows.

    Raises:
        StoreError, KeyError, TypeError, ValueError, OverflowError, AttributeError: if it is damaged.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "index.jsonl"
        >>> _ = path.write_text('{"id": "a_0", "shard": 0, "row": 3, "rows": 2}', encoding="utf-8")
        >>> index = Index(path)
        >>> index.places[index.lookup.place("a_0")].tolist()
        [0, 3, 2]
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        hashes, places = array("q"), array("q")
        for entry in read_jsonl(path, StoreError, ADVICE):
            hashes.append(hash_of(entry["id"]))
            places.extend((int(entry["shard"]), int(entry["row"]), int(entry["rows"])))
        self.lookup = Lookup(np.frombuffer(hashes, np.int64))
        self.places: NDArray[np.int64] = np.frombuffer(places, np.int64).reshape(-1, 3)

    def __len__(self) -> int:
        """Number of different utterances."""
        return len(self.lookup) - len(self.lookup.repeated())

    def ids(self) -> Iterator[str]:
        """The utterances, in the order of the index; they are read again."""
        return (entry["id"] for entry in read_jsonl(self._path, StoreError, ADVICE))

    def require(self, sizes: Sequence[int]) -> None:
        """Check that each place is inside a shard.

        Args:
            sizes: rows of each shard.

        Raises:
            StoreError: naming an utterance of which that is not true.
        """
        shard, row, rows = self.places.T
        is_known = (shard >= 0) & (shard < len(sizes))
        last = np.array([0, *sizes])[np.where(is_known, shard, -1) + 1]
        outside = np.flatnonzero(~is_known | (row < 0) | (rows <= 0) | (rows > last) | (row > last - rows))
        if len(outside):
            name = next(name for place, name in enumerate(self.ids()) if place == outside[0])
            raise StoreError(f"{self._path} sends {name!r} outside shard {shard[outside[0]]}. {ADVICE}")
