"""Read a store: memory-mapped, checked against the manifest it is used with."""

import dataclasses
from collections import Counter
from collections.abc import Iterable, Mapping
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from torch import Tensor

from m2fnet.errors import StoreError
from m2fnet.files import read_json, sha256_of
from m2fnet.manifest import Manifest
from m2fnet.manifest.lookup import ABSENT
from m2fnet.records import MODALITIES
from m2fnet.store.index import Index
from m2fnet.store.layout import (
    ADVICE,
    DTYPES,
    FORMAT,
    META,
    VECTORS,
    Missing,
    Resolution,
    StoreMeta,
    generation_of,
    index_name,
    shard_name,
)
from m2fnet.store.sequences import Sequences, gather
from m2fnet.store.vectors import Vectors

if TYPE_CHECKING:
    import pandas as pd

_NAMES = 65_536  # utterances that are looked up together
_LARGE = 2**30  # bytes of vectors that stay mapped from disk
_BLOCK = 256  # rows that are gathered at a time, few enough to stay in the processor's cache


class Store:
    """The embeddings in ``folder``, by utterance id.

    Opening reads only the index; vectors are mapped from disk when they are asked for.

    Attributes:
        meta: the facts in its ``meta.json``.
        missing: utterance id -> why it has no embedding.
        cut: how much the extractor cut from the utterances, summed by kind; empty where it cuts nothing.
        media_sha256: hash of the media files that the embeddings were made from; None where it was not noted.

    Raises:
        StoreError: if the folder is not a store, is damaged, or was written by a newer format.

    Example:
        >>> import tempfile
        >>> import torch
        >>> from m2fnet.records import LabelSet, Utterance
        >>> from m2fnet.store import Missing, StoreWriter
        >>> folder = Path(tempfile.mkdtemp())
        >>> said = tuple(Utterance(f"a_{n}", "own", "train", "a", n, text="Oh.") for n in range(2))
        >>> manifest = Manifest("own", LabelSet("own", ("joy", "anger")), said).save(folder / "data")
        >>> with StoreWriter(folder / "text", manifest, modality="text", width=2, extractor={}) as writer:
        ...     writer.add("a_0", torch.tensor([1.0, 2.0]))
        ...     writer.add_missing("a_1", Missing("text", "there is no transcript"))
        >>> store = Store(folder / "text")
        >>> store.require(manifest)
        >>> store["a_0"], store.missing["a_1"].reason
        (tensor([1., 2.]), 'there is no transcript')
    """

    def __init__(self, folder: Path | str) -> None:
        self.folder = Path(folder)
        content = read_json(self.folder / META, StoreError, ADVICE)
        if content.get("format") != FORMAT:
            raise StoreError(f"{self.folder} has store format {content.get('format')!r}, expected {FORMAT}. {ADVICE}")
        try:
            self.meta = self._meta(content)
            self.missing = {m["id"]: Missing(m["stage"], m["reason"]) for m in content["missing"]}
            self._hashes = dict[str, str](content["sha256"])
            self.cut = {str(kind): int(total) for kind, total in content.get("cut", {}).items()}
            self.media_sha256: object = content.get("media_sha256")
            generation = generation_of(self._hashes)
            index = self.folder / index_name(generation)
            self._verify(index.name)
            self._index = Index(index)
            shards, count = int(content["shards"]), int(content["count"])
        except StoreError:
            raise
        except (KeyError, TypeError, ValueError, OverflowError, AttributeError) as problem:
            raise StoreError(f"{self.folder} is damaged ({problem!r}). {ADVICE}") from problem
        if len(self._index) != count:
            raise StoreError(f"{self.folder} lists {len(self._index)} embeddings, expected {count}. {ADVICE}")
        self._files = [shard_name(number, generation) for number in range(shards)]
        self._shards = [self._map(self.folder / name) for name in self._files]
        self._index.require([len(vectors) for vectors in self._shards])

    def __repr__(self) -> str:
        """Folder, size and what is missing, on one line."""
        what = f"{len(self):,} {self.meta.modality} embeddings of {self.meta.width} numbers"
        return f"Store({str(self.folder)!r}, {what}, {len(self.missing):,} missing)"

    def _repr_html_(self) -> str:
        """What it holds, and why the rest is missing, as a table for a notebook."""
        import pandas as pd

        reasons = Counter(f"missing: {one.stage}, {one.reason}" for one in self.missing.values())
        kind = {"modality": self.meta.modality, "width": self.meta.width, "one vector per": self.meta.resolution}
        return str(pd.Series({**kind, "embeddings": len(self), **reasons}, name=str(self.folder)).to_frame().to_html())

    def __len__(self) -> int:
        """Number of utterances that have an embedding."""
        return len(self._index)

    def __contains__(self, utterance_id: str) -> bool:
        return utterance_id in self._index.lookup

    def __getitem__(self, utterance_id: str) -> Tensor:
        """Embedding (D,), or (T, D) for frame resolution, in the stored dtype.

        Raises:
            StoreError: if the utterance has none, with the reason.
        """
        place = self._index.lookup.place(utterance_id)
        if place == ABSENT:
            why = self.missing.get(utterance_id)
            reason = f"missing at {why.stage}: {why.reason}" if why else "not known to this store"
            raise StoreError(f"{self.folder} has no embedding for {utterance_id!r}: {reason}.")
        shard, row, rows = self._index.places[place].tolist()
        vectors: Tensor = self._shards[shard][row : row + rows]
        return vectors if self.meta.resolution == "frame" else vectors[0]

    def matrix(self, utterance_ids: Iterable[str]) -> tuple[Tensor, Tensor]:
        """Embeddings (N, D) as float32 in the given order, zero where missing, and presence (N,) as bool.

        Raises:
            StoreError: if the store holds sequences, or knows nothing of an id.

        Example:
            >>> import tempfile
            >>> import torch
            >>> from m2fnet.records import LabelSet, Utterance
            >>> from m2fnet.store import Missing, StoreWriter
            >>> folder = Path(tempfile.mkdtemp())
            >>> said = tuple(Utterance(f"a_{n}", "own", "train", "a", n, text="Oh.") for n in range(2))
            >>> manifest = Manifest("own", LabelSet("own", ("joy", "anger")), said).save(folder / "data")
            >>> with StoreWriter(folder / "text", manifest, modality="text", width=2, extractor={}) as writer:
            ...     writer.add("a_0", torch.tensor([1.0, 2.0]))
            ...     writer.add_missing("a_1", Missing("text", "there is no transcript"))
            >>> vectors, present = Store(folder / "text").matrix(["a_1", "a_0"])
            >>> vectors.tolist(), present.tolist()
            ([[0.0, 0.0], [1.0, 2.0]], [False, True])
        """
        found = self._places_of_vectors(utterance_ids)
        return self._matrix(found), torch.from_numpy(found != ABSENT)

    def vectors(self, utterance_ids: Iterable[str]) -> tuple[Tensor | Vectors, Tensor]:
        """The same as `matrix`, but more than a gigabyte stays mapped from disk."""
        found = self._places_of_vectors(utterance_ids)
        present = torch.from_numpy(found != ABSENT)
        if 4 * len(found) * self.meta.width <= _LARGE:
            return self._matrix(found), present
        places = np.concatenate([self._index.places, [[0, -1, 0]]])  # the last one is that of `ABSENT`
        return Vectors(self._shards, places[found, :2], self.meta.width), present

    def sequences(self, utterance_ids: Iterable[str]) -> Sequences:
        """Sequences of vectors in the given order: flat frames (N, D) in the stored type, offsets and presence.

        Frames that follow each other on disk, as those of a split do, stay mapped: nothing is read before it is used.
        Otherwise the asked frames are copied once.

        Raises:
            StoreError: if the store holds one vector per utterance, or knows nothing of an id.
        """
        if self.meta.resolution != "frame":
            raise StoreError(f"{self.folder} holds one vector per utterance, expected sequences; use `matrix`.")
        places = np.concatenate([self._index.places, [[0, 0, 0]]])  # the last one is that of `ABSENT`
        places = places[self._places(utterance_ids)]
        return gather(self._shards, places, self.meta.width)

    def to_pandas(self) -> "pd.DataFrame":
        """A table with the columns ``present``, ``reason`` and one per dimension of the vectors, indexed by utterance.

        ``reason`` says why an utterance is missing; its vector is NaN. For sequences every frame is a row, indexed by
        utterance and frame, and a missing utterance has one row. All vectors are read into memory.

        Example:
            >>> from tempfile import TemporaryDirectory
            >>> from m2fnet.manifest import Manifest
            >>> from m2fnet.records import LabelSet, Utterance
            >>> from m2fnet.store import Missing, Store, StoreWriter
            >>> utterances = tuple(Utterance(f"d_{n}", "talk", "train", "d", n) for n in range(2))
            >>> with TemporaryDirectory() as folder:  # doctest: +NORMALIZE_WHITESPACE
            ...     manifest = Manifest("talk", LabelSet("two", ("joy", "anger")), utterances).save(Path(folder))
            ...     with StoreWriter(
            ...         Path(folder) / "text", manifest, modality="text", width=2, extractor={"class_path": "mine"}
            ...     ) as writer:
            ...         writer.add("d_0", torch.tensor([0.5, 1.0]))
            ...         writer.add_missing("d_1", Missing("text", "no transcript"))
            ...     print(Store(Path(folder) / "text").to_pandas())
                 present               reason    0    1
            id
            d_0     True                  NaN  0.5  1.0
            d_1    False  text: no transcript  NaN  NaN
        """
        import pandas as pd

        ids = [*self._index.ids(), *self.missing]
        if self.meta.resolution == "frame":
            sequences = self.sequences(ids)
            counts = sequences.lengths.clamp(min=1)
            rows = torch.repeat_interleave(torch.arange(len(ids)), counts)
            frames = torch.arange(len(rows)) - (counts.cumsum(0) - counts)[rows]
            present, vectors = sequences.present[rows], torch.full((len(rows), self.meta.width), float("nan"))
            vectors[present] = sequences.values.float()
            index = pd.MultiIndex.from_arrays([[ids[row] for row in rows.tolist()], frames.tolist()])
            index.names = ["id", "frame"]
        else:
            vectors, present = self.matrix(ids)
            vectors[~present] = float("nan")
            rows, index = torch.arange(len(ids)), pd.Index(ids, name="id")
        reasons = [None] * len(self) + [f"{why.stage}: {why.reason}" for why in self.missing.values()]
        known = pd.DataFrame({"present": present, "reason": [reasons[row] for row in rows.tolist()]}, index=index)
        return known.join(pd.DataFrame(vectors.numpy(), index=index))

    def require(self, manifest: Manifest) -> None:
        """Check that the store was made for ``manifest`` and accounts for each of its utterances.

        Raises:
            StoreError: if not, with what to do.
        """
        if self.meta.manifest_sha256 != manifest.sha256:
            raise StoreError(
                f"The store {self.folder} was made for the manifest {self.meta.manifest_sha256[:12]}… "
                f"({self.meta.corpus}), but it is used with {manifest.sha256[:12]}… ({manifest.corpus}). "
                "Extract again with `m2fnet extract --manifest` naming the manifest you use."
            )
        self._places(u.id for u in manifest.utterances)

    def verify(self) -> None:
        """Read every shard once and compare it with the hash taken when it was written.

        Opening does not do this: it would read all embeddings.

        Raises:
            StoreError: naming the file that changed.
        """
        for name in self._files:
            self._verify(name)

    def _verify(self, name: str) -> None:
        path = self.folder / name
        try:
            found = sha256_of(path)
        except OSError as problem:
            raise StoreError(f"Cannot read {path}: {problem}. {ADVICE}") from problem
        if found != self._hashes.get(name):
            raise StoreError(f"{path} is not as it was written: its SHA-256 differs from {META}. {ADVICE}")

    def _meta(self, content: Mapping[str, Any]) -> StoreMeta:
        meta = StoreMeta(**{f.name: content[f.name] for f in dataclasses.fields(StoreMeta)})
        known = (MODALITIES, get_args(Resolution), tuple(DTYPES))
        for value, expected in zip((meta.modality, meta.resolution, meta.dtype), known, strict=True):
            if value not in expected:
                raise StoreError(
                    f"{self.folder / META} says {value!r}, expected one of {', '.join(expected)}. {ADVICE}"
                )
        if not isinstance(meta.manifest_sha256, str) or not isinstance(meta.corpus, str):
            raise StoreError(f"{self.folder / META} does not name its manifest and corpus. {ADVICE}")
        return meta

    def _places_of_vectors(self, utterance_ids: Iterable[str]) -> NDArray[np.int64]:
        """The same as `_places` of a store that holds no sequences.

        Raises:
            StoreError: of another one.
        """
        if self.meta.resolution != "utterance":
            raise StoreError(f"{self.folder} holds sequences of vectors; expected one vector per utterance.")
        return self._places(utterance_ids)

    def _matrix(self, found: NDArray[np.int64]) -> Tensor:
        """Embeddings (N, D) as float32 at these places in the index, zero for `ABSENT`."""
        places = np.flatnonzero(found != ABSENT)
        shards, rows, _ = self._index.places[found[places]].T
        # numpy's large arrays sit on huge pages, torch's do not: filling them costs a fifth of the time
        out = np.zeros((len(found), self.meta.width), np.float32)
        for shard in np.unique(shards):
            here = np.flatnonzero(shards == shard)
            for block in np.split(here, range(_BLOCK, len(here), _BLOCK)):
                taken = self._shards[shard].index_select(0, torch.from_numpy(rows[block]))
                out[places[block]] = taken.float().numpy()
        return torch.from_numpy(out)

    def _places(self, utterance_ids: Iterable[str]) -> NDArray[np.int64]:
        """Place of each utterance in the index, `ABSENT` of one that is missing.

        Raises:
            StoreError: if the store does not account for one of them.
        """
        left, found, unknown = iter(utterance_ids), [np.empty(0, np.int64)], []
        while names := list(islice(left, _NAMES)):
            found.append(self._index.lookup.places(names))
            absent = (names[place] for place in np.flatnonzero(found[-1] == ABSENT))
            unknown += [name for name in absent if name not in self.missing]
        if unknown:
            raise StoreError(
                f"The store {self.folder} knows nothing of {len(unknown)} utterances, the first is {unknown[0]!r}. "
                f"{ADVICE}"
            )
        return np.concatenate(found)

    def _map(self, path: Path) -> Tensor:
        try:
            with safe_open(path, framework="pt") as file:
                vectors: Tensor = file.get_tensor(VECTORS)
        except (OSError, SafetensorError) as problem:
            raise StoreError(f"Cannot read {path}: {problem}. {ADVICE}") from problem
        if vectors.ndim != 2 or vectors.shape[1] != self.meta.width or vectors.dtype != DTYPES[self.meta.dtype]:
            raise StoreError(
                f"{path} holds {vectors.dtype} of shape {tuple(vectors.shape)}, expected {self.meta.dtype} "
                f"of width {self.meta.width}. {ADVICE}"
            )
        return vectors
