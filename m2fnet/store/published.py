"""The feature pickles that papers publish: their layout is recognised, and every value in them is checked.

Such a pickle is a tuple of tables, each ``dialogue -> one entry per utterance``, and of lists of dialogues. The order
of its parts is known only from the loaders of the public repositories; `LAYOUTS` lists them.
"""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from m2fnet.errors import CorpusError
from m2fnet.records import Modality, Split
from m2fnet.store.safe_pickle import load_plain

Vector = np.ndarray[tuple[int], np.dtype[np.float32]]
Matrix = np.ndarray[tuple[int, int], np.dtype[np.float32]]

MODALITY_OF: dict[str, Modality] = {
    **dict.fromkeys(("text", "text_1", "text_2", "text_3", "text_4"), "text"),
    "audio": "audio",
    "visual": "visual",
}
_LISTS: tuple[Split, ...] = ("train", "dev", "test")
_UNUSED = "-"
_MOST_EXPANSION = 64  # bytes written per byte of pickle; a published one stays below 8
_ADVICE = "Import another copy of the pickle, or repair this one and pickle it again."


@dataclass(frozen=True)
class Layout:
    """The order of the parts in the tuple: tables by name, lists of dialogues by split, ``-`` for an unused part."""

    name: str
    slots: tuple[str, ...]

    def fits(self, parts: Sequence[object]) -> bool:
        """Whether ``parts`` has this length, tables where tables are expected and lists where lists are."""
        return len(parts) == len(self.slots) and all(
            slot == _UNUSED or isinstance(part, list | tuple | set | frozenset if slot in _LISTS else dict)
            for slot, part in zip(self.slots, parts, strict=True)
        )


def _layout(name: str, slots: str) -> Layout:
    views = "text_1 text_2 text_3 text_4"
    return Layout(name, tuple(slots.replace("text*", views).split()))


LAYOUTS = (
    # declare-lab/conv-emotion DialogueRNN/dataloader.py and hujingwen6666/MMGCN dataloader.py: IEMOCAP
    _layout("9-tuple", "ids speakers labels text audio visual sentences train test"),
    # AIM3-RUC M3ED as chengzju/CARAT utils/m3ed_reader.py reads it, though that exchanges audio and visual
    _layout("10-tuple with dev", "ids speakers labels text audio visual sentences train dev test"),
    # declare-lab/conv-emotion COSMIC/erc-training/dataloader.py: IEMOCAP, EmoryNLP
    _layout("10-tuple with four text views", "speakers labels text* sentences train test dev"),
    # hujingwen6666/MMGCN dataloader.py: MELD; the last part is a dict that no loader uses
    _layout("10-tuple", "ids speakers labels text audio visual sentences train test -"),
    # declare-lab/conv-emotion COSMIC/erc-training/dataloader.py: MELD; the third part holds sentiments
    _layout("11-tuple with four text views", "speakers labels - text* sentences train test dev"),
    # these views joined with sound and picture: IEMOCAP, and MELD with one part more or two
    _layout("12-tuple with four text views", "ids speakers labels text* audio visual sentences train test"),
    _layout("13-tuple with four text views and dev", "ids speakers labels text* audio visual sentences train test dev"),
    _layout("13-tuple with four text views", "ids speakers labels text* audio visual sentences train test -"),
    _layout("14-tuple with four text views", "ids speakers labels - text* audio visual sentences train test -"),
)


@dataclass(frozen=True)
class PublishedUtterance:
    """One utterance as the pickle has it; ``id`` is None where the pickle only numbers its utterances."""

    id: str | None
    speaker: str | None
    text: str | None
    label: int


@dataclass(frozen=True)
class Published:
    """A feature pickle, checked.

    Attributes:
        layout: name of the layout it was recognised as.
        splits: dialogues of each list in the pickle's order; ``"dev"`` is absent where the pickle has none.
        utterances: dialogue -> its utterances, for the dialogues of some split.
        features: store name, a key of `MODALITY_OF` -> dialogue -> (U, D).
        empty: store name -> why that modality holds nothing.
        unlisted: dialogues that have labels and are in no split.
    """

    layout: str
    splits: dict[Split, tuple[str, ...]]
    utterances: dict[str, tuple[PublishedUtterance, ...]]
    features: dict[str, dict[str, Matrix]]
    empty: dict[str, str]
    unlisted: tuple[str, ...]


def read_published(path: Path, classes: int) -> Published:
    """The checked content of the feature pickle ``path``, whose labels run from 0 to ``classes - 1``.

    Raises:
        UnsafePickleError: if it holds more than plain data.
        CorpusError: if its layout is unknown, or a value is wrong; the message names the dialogue.
    """
    return _Reader(path, classes).read()


class _Reader:
    """One pass over a pickle; the size of its values, written out, is limited by the size of the file."""

    def __init__(self, path: Path, classes: int) -> None:
        self._path = path
        self._classes = classes
        self._left = 0

    def read(self) -> Published:
        layout, parts = self._recognise(load_plain(self._path))
        self._left = _MOST_EXPANSION * self._path.stat().st_size
        splits = self._splits({split: parts[split] for split in _LISTS if split in parts})
        tables = {slot: self._table(slot, part) for slot, part in parts.items() if slot not in _LISTS}
        utterances = dict(self._utterances(tables, list(itertools.chain(*splits.values()))))
        features, empty = self._features(tables, utterances)
        unlisted = tuple(dialogue for dialogue in tables["labels"] if dialogue not in utterances)
        return Published(layout.name, splits, utterances, features, empty, unlisted)

    def _recognise(self, content: object) -> tuple[Layout, dict[str, object]]:
        parts = content if isinstance(content, list | tuple) else ()
        fitting = [layout for layout in LAYOUTS if layout.fits(parts)]
        if fitting:
            # two layouts have seven tables and three lists: the labels, which are numbers, tell which it is
            by_labels = (layout for layout in fitting if _are_numbers(parts[layout.slots.index("labels")]))
            layout = next(by_labels, fitting[-1])
            pairs = zip(layout.slots, parts, strict=True)
            return layout, {slot: part for slot, part in pairs if slot != _UNUSED}
        kinds = ", ".join(type(part).__name__ for part in parts[:20])
        came = f"a {type(content).__name__}" + (f" of {len(parts)} parts ({kinds})" if parts else "")
        known = "\n".join(f"  {layout.name}: {' '.join(layout.slots)}" for layout in LAYOUTS)
        raise CorpusError(
            f"{self._path} holds {came}; expected a tuple of lists of dialogues (train, test, dev), tables by dialogue "
            f"(the others) and anything (-) in one of these orders:\n{known}"
        )

    def _splits(self, lists: Mapping[Split, object]) -> dict[Split, tuple[str, ...]]:
        splits: dict[Split, tuple[str, ...]] = {}
        split_of: dict[str, Split] = {}
        for split, keys in lists.items():
            assert isinstance(keys, list | tuple | set | frozenset)  # `Layout.fits` says so, as below
            names = [self._dialogue(key) for key in keys]
            splits[split] = tuple(sorted(names) if isinstance(keys, set | frozenset) else names)
            for name in names:
                if name in split_of:
                    raise self._error(f"dialogue {name!r} is in {split_of[name]} and again in {split}", "once")
                split_of[name] = split
        if not splits["train"] or not splits["test"]:
            raise self._error("its list of training or of test dialogues is empty", "at least one in each")
        return splits

    def _table(self, slot: str, part: object) -> dict[str, object]:
        assert isinstance(part, dict)
        table = {self._dialogue(key): value for key, value in part.items()}
        if len(table) != len(part):
            raise self._error(f"two dialogues of the {slot} have the same name", "different names")
        return table

    def _dialogue(self, key: object) -> str:
        if not isinstance(key, str) and not _is_number(key):
            raise self._error(f"a dialogue is named by {_shown(key)}", "a string or a number")
        return self._text(str(key))

    def _utterances(
        self, tables: Mapping[str, Mapping[str, object]], dialogues: Sequence[str]
    ) -> Iterator[tuple[str, tuple[PublishedUtterance, ...]]]:
        for dialogue in dialogues:
            labels = [self._label(value, dialogue) for value in self._entries(tables, "labels", dialogue)]
            if not labels:
                raise self._error(f"dialogue {dialogue!r} has no utterances", "at least one")
            columns = [
                [read(value, dialogue) for value in self._entries(tables, slot, dialogue, len(labels))]
                if slot in tables
                else [None] * len(labels)
                for slot, read in (("ids", self._id), ("speakers", self._speaker), ("sentences", self._sentence))
            ]
            yield dialogue, tuple(map(PublishedUtterance, *columns, labels))

    def _entries(
        self, tables: Mapping[str, Mapping[str, object]], slot: str, dialogue: str, expected: int | None = None
    ) -> Sequence[object]:
        """What a table has for ``dialogue``: one entry per utterance."""
        if dialogue not in tables[slot]:
            raise self._error(f"dialogue {dialogue!r} is not in the table of {slot}", "every dialogue in every table")
        entries = tables[slot][dialogue]
        if isinstance(entries, np.ndarray) and entries.ndim > 0:
            entries = list(entries) if slot in MODALITY_OF else entries.tolist()
        if not isinstance(entries, list | tuple):
            raise self._error(f"dialogue {dialogue!r} has a {type(entries).__name__} for its {slot}", "a list")
        if expected is not None and len(entries) != expected:
            raise self._error(f"dialogue {dialogue!r} has {expected} labels but {len(entries)} {slot}", "as many")
        self._spend(len(entries))
        return entries

    def _label(self, value: object, dialogue: str) -> int:
        if isinstance(value, int) and _is_number(value) and 0 <= value < self._classes:
            return value
        expected = f"0 to {self._classes - 1}, a number for each name in --labels"
        raise self._error(f"dialogue {dialogue!r} has the label {_shown(value)}", expected)

    def _id(self, value: object, dialogue: str) -> str | None:
        if isinstance(value, str):
            return self._text(value)
        if isinstance(value, int):
            return None
        raise self._error(f"dialogue {dialogue!r} has an utterance id {_shown(value)}", "a string or a number")

    def _speaker(self, value: object, dialogue: str) -> str | None:
        """A name unchanged; ``speaker_3`` for the number 3 or a list with its one in that place."""
        if isinstance(value, str):
            return self._text(value)
        if _is_number(value):
            return f"speaker_{value}"
        if isinstance(value, np.ndarray):
            value = value.tolist()
        if isinstance(value, list | tuple) and all(isinstance(n, int | float) and n in (0, 1) for n in value):
            places = [place for place, number in enumerate(value) if number]
            if len(places) <= 1:
                return f"speaker_{places[0]}" if places else None
        raise self._error(
            f"dialogue {dialogue!r} has a speaker that is {_shown(value)}", "a name, a number or a list with a single 1"
        )

    def _sentence(self, value: object, dialogue: str) -> str | None:
        if value is None or isinstance(value, str):
            return value if value is None else self._text(_repaired(value))
        raise self._error(f"dialogue {dialogue!r} has a sentence that is {_shown(value)}", "a string")

    def _text(self, text: str) -> str:
        self._spend(len(text))
        return text.encode("utf-8", errors="replace").decode("utf-8")  # a lone surrogate cannot be written

    def _features(
        self, tables: Mapping[str, Mapping[str, object]], utterances: Mapping[str, Sequence[PublishedUtterance]]
    ) -> tuple[dict[str, dict[str, Matrix]], dict[str, str]]:
        features: dict[str, dict[str, Matrix]] = {}
        empty: dict[str, str] = {}
        for store in (slot for slot in tables if slot in MODALITY_OF):
            if not tables[store]:
                empty[store] = "its table is empty"
                continue
            matrices: dict[str, Matrix] = {}
            width: int | None = None
            for dialogue, said in utterances.items():
                rows = self._entries(tables, store, dialogue, len(said))
                matrices[dialogue] = self._matrix(rows, store, dialogue, width)
                width = matrices[dialogue].shape[1]
            if width is not None and width > 1:
                features[store] = matrices
            else:
                empty[store] = f"its vectors have width {width}"
        if not features:
            raise self._error("no modality holds vectors", "vectors of two numbers or more in one of them")
        return features, empty

    def _matrix(self, rows: Sequence[object], store: str, dialogue: str, width: int | None) -> Matrix:
        matrix = None
        for place, row in enumerate(rows):
            vector = self._vector(row, store, dialogue)
            width = len(vector) if width is None else width
            if len(vector) != width:
                raise self._error(
                    f"utterance {place} of dialogue {dialogue!r} has {store} of width {len(vector)}",
                    f"{width} as before it",
                )
            if not np.isfinite(vector).all():
                raise self._error(
                    f"utterance {place} of dialogue {dialogue!r} has NaN or infinity in its {store}", "finite numbers"
                )
            if matrix is None:
                matrix = np.empty((len(rows), width), np.float32)
            matrix[place] = vector
        assert matrix is not None
        return matrix

    def _vector(self, row: object, store: str, dialogue: str) -> Vector:
        if isinstance(row, int | float | np.number):  # a modality that the authors do not use
            row = [row]
        if isinstance(row, list | tuple) and all(isinstance(number, int | float | np.number) for number in row):
            try:
                row = np.array(row, dtype=np.float64)
            except OverflowError:  # an integer beyond every float
                row = np.full(len(row), np.inf)
        if not isinstance(row, np.ndarray) or row.ndim != 1:
            raise self._error(f"dialogue {dialogue!r} has {store} that is {_shown(row)}", "one vector per utterance")
        self._spend(4 * len(row))
        with np.errstate(over="ignore"):  # becomes infinite and is refused by name
            return row.astype(np.float32)

    def _spend(self, size: int) -> None:
        """Refuse a small pickle in which one object occurs so often that it would fill memory and disk."""
        self._left -= size
        if self._left < 0:
            raise self._error("written out it is much larger than the file", f"{_MOST_EXPANSION} times at most")

    def _error(self, came: str, expected: str) -> CorpusError:
        return CorpusError(f"{self._path}: {came}; expected {expected}. {_ADVICE}")


def _repaired(text: str) -> str:
    """A sentence that Python 2 pickled as UTF-8 or cp1252 bytes and that came back as latin-1; other text unchanged."""
    try:
        raw = text.encode("latin-1")
    except UnicodeEncodeError:
        return text
    if text.isascii():
        return text
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return raw.decode("cp1252", errors="replace") if any(0x80 <= byte < 0xA0 for byte in raw) else text


def _are_numbers(table: object) -> bool:
    """Whether the first entry of a table by dialogue is a whole number."""
    entries = next(iter(table.values()), ()) if isinstance(table, dict) else ()
    if isinstance(entries, np.ndarray):
        return entries.ndim == 1 and entries.dtype.kind in "iu"
    return isinstance(entries, list | tuple) and len(entries) > 0 and _is_number(entries[0])


def _is_number(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) < 10**9


def _shown(value: object) -> str:
    """A value in words, short whatever it is: a hostile one may be endless when written out."""
    if value is None or isinstance(value, str | float | bool) or _is_number(value):
        return repr(value)[:60]
    shape = f" of shape {value.shape}" if isinstance(value, np.ndarray) else ""
    return f"a {type(value).__name__}{shape}"
