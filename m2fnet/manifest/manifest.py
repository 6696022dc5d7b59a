"""A manifest, as it is in memory and in its folder."""

import copy
import dataclasses
from array import array
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from posixpath import normpath
from typing import TYPE_CHECKING, Any, TypedDict

import numpy as np

from m2fnet import __version__
from m2fnet.errors import ManifestError, MediaError
from m2fnet.files import object_of, read_json, read_jsonl, sha256_of, write_json, write_jsonl
from m2fnet.manifest.lookup import Lookup, hash_of
from m2fnet.manifest.rows import SEQUENCES, is_texts, row_of, utterance_of
from m2fnet.manifest.table import DialogueTable, UtteranceTable
from m2fnet.records import (
    LEAK,
    SPLITS,
    Annotation,
    Defect,
    Dialogue,
    LabelSet,
    Split,
    Utterance,
    group_dialogues,
)

if TYPE_CHECKING:
    import pandas as pd

TABLE = "manifest.jsonl"
META = "manifest.meta.json"
ANNOTATIONS = "annotations.jsonl"
ADVICE = "Make it again with `m2fnet prepare` (or `m2fnet import` for a feature pickle)."

FORMAT = 2  # of the meta file; in format 1 an empty list of labels meant an unlabelled utterance

_LARGE = 64 * 2**20  # bytes of a table that stays on disk; in memory it would take twice as many


class SplitCounts(TypedDict):
    """What a split holds; ``labels`` counts the utterances of each emotion, in class order."""

    dialogues: int
    utterances: int
    labelled: int
    labels: dict[str, int]


@dataclass(frozen=True, repr=False)
class Manifest:
    """All utterances of a corpus with their label set.

    Attributes:
        corpus: name of the corpus or protocol, e.g. ``"meld"`` or ``"iemocap6"``.
        label_set: the emotions that count as targets.
        utterances: every utterance, unlabelled context included; of a large manifest they stay in its file, see
            `m2fnet.manifest.table.UtteranceTable`.
        root: folder that ``audio`` and ``video`` paths start from; None when there are no media.
        defects: what was found wrong in the raw corpus and what was done.
        provenance: how the manifest came to be (adapter and its settings).
        sha256: of the ``manifest.jsonl`` it was read from or written to; empty before it is saved.
        annotations: utterance id -> votes of raters and ratings on scales; empty where the corpus has none.

    Example:
        >>> said = (
        ...     Utterance("a_0", "own", "train", "a", 0, speaker="Ann", text="None!", label="joy", audio="a_0.wav"),
        ...     Utterance("a_1", "own", "train", "a", 1, speaker="Bob", text="Oh."),
        ... )
        >>> manifest = Manifest("own", LabelSet("own", ("joy", "anger")), said, root=Path("raw"))
        >>> [len(dialogue) for dialogue in manifest.dialogues("train")]
        [2]
        >>> manifest.counts()["train"]
        {'dialogues': 1, 'utterances': 2, 'labelled': 1, 'labels': {'joy': 1, 'anger': 0}}
        >>> manifest.media_path("a_0.wav").relative_to(Path.cwd()).as_posix()
        'raw/a_0.wav'
    """

    corpus: str
    label_set: LabelSet
    utterances: Sequence[Utterance]
    root: Path | None = None
    defects: tuple[Defect, ...] = ()
    provenance: dict[str, object] = field(default_factory=dict)
    sha256: str = ""
    annotations: Mapping[str, Annotation] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _check(self.utterances, self.label_set)
        if self.annotations and (unknown := self.annotations.keys() - {u.id for u in self.utterances}):
            raise ManifestError(f"There is an annotation of {min(unknown)!r}; expected utterances of the manifest.")

    def __repr__(self) -> str:
        """Corpus and size, on one line."""
        sizes = ", ".join(f"{split} {of['utterances']:,}" for split, of in self.counts().items())
        return f"Manifest({self.corpus!r}, {len(self.utterances):,} utterances: {sizes})"

    def _repr_html_(self) -> str:
        """Dialogues, utterances and emotions of every split as a table for a notebook."""
        import pandas as pd

        counts = self.counts()
        rows = {split: {**of, **of["labels"]} for split, of in counts.items()}
        return str(pd.DataFrame(rows).T.drop(columns="labels").to_html(escape=True))

    def dialogues(self, split: Split | None = None) -> Sequence[Dialogue]:
        """Dialogues of ``split`` (of all splits when None), utterances in speaking order."""
        if isinstance(self.utterances, UtteranceTable):
            return self._dialogues.of(split)
        return group_dialogues([u for u in self.utterances if split in (None, u.split)])

    @cached_property
    def _dialogues(self) -> DialogueTable:
        return DialogueTable(self.utterances)

    def media_path(self, relative: str) -> Path:
        """Absolute path of a media file named in the manifest.

        Raises:
            ManifestError: if there is no corpus folder.
            MediaError: if the path leaves it; one of the manifest itself can only do so by a link.
        """
        if self.root is None:
            raise ManifestError(f"The manifest names the media file {relative!r} but no root folder. {ADVICE}")
        try:
            return media_path(self.root, relative)
        except ManifestError as problem:
            raise MediaError("open", "the path leaves the corpus folder") from problem

    def counts(self) -> dict[Split, SplitCounts]:
        """Dialogues, utterances, and utterances per emotion for each split."""
        return copy.deepcopy(self._counts)

    @cached_property
    def _counts(self) -> dict[Split, SplitCounts]:
        labels = {split: dict.fromkeys(self.label_set.classes, 0) for split in SPLITS}
        counts: dict[Split, SplitCounts] = {
            split: {"dialogues": 0, "utterances": 0, "labelled": 0, "labels": labels[split]} for split in SPLITS
        }
        dialogues: set[str] = set()
        for u in self.utterances:
            of = counts[u.split]
            of["dialogues"] += u.dialogue not in dialogues
            of["utterances"] += 1
            of["labelled"] += u.labels is not None
            for label in u.labels or ():
                of["labels"][label] += 1
            dialogues.add(u.dialogue)
        return counts

    def to_pandas(self) -> "pd.DataFrame":
        """The utterances as a table: one row each, one column per field of `m2fnet.records.Utterance`.

        A missing text or time is NaN. Spans, label sets and defects are tuples. A corpus with one emotion per utterance
        has the column ``label``, one with label sets the column ``labels`` (NaN for an unlabelled utterance).
        `from_pandas` is the way back.

        Example:
            >>> said = (
            ...     Utterance("a_0", "own", "train", "a", 0, speaker="Ann", text="None!", label="joy"),
            ...     Utterance("a_1", "own", "train", "a", 1, speaker="Bob", text="Oh."),
            ... )
            >>> manifest = Manifest("own", LabelSet("own", ("joy", "anger")), said)
            >>> manifest.to_pandas()[["id", "speaker", "text", "label"]]
                id speaker   text label
            0  a_0     Ann  None!   joy
            1  a_1     Bob    Oh.   NaN
        """
        import pandas as pd  # here, because most of what loads a manifest needs no table

        unused = "labels" if self.label_set.kind == "single" else "label"
        columns = {}
        for name in (f.name for f in dataclasses.fields(Utterance) if f.name != unused):
            values = [getattr(utterance, name) for utterance in self.utterances]
            if name in SEQUENCES:
                columns[name] = pd.Series(values, dtype=object)
            elif name in ("start_s", "end_s"):
                columns[name] = pd.Series(values, dtype="float64")
            else:
                columns[name] = pd.Series(values, dtype=None if name == "index" else "str")
        return pd.DataFrame(columns)

    @classmethod
    def from_pandas(
        cls,
        frame: "pd.DataFrame",
        label_set: LabelSet,
        *,
        corpus: str | None = None,
        root: Path | None = None,
        defects: Sequence[Defect] = (),
        provenance: Mapping[str, object] | None = None,
    ) -> "Manifest":
        """The manifest of a table such as `to_pandas` gives, every cell checked.

        Args:
            frame: one row per utterance. The columns ``id``, ``corpus``, ``split``, ``dialogue`` and ``index`` are
                required; a missing column or a cell that is None or NaN is unknown.
            label_set: the emotions, and whether an utterance has one or several.
            corpus: its name; by default the one in the first row.
            root: folder that the media paths start from.
            defects: what was found wrong in the corpus.
            provenance: how the table was made.

        Raises:
            ManifestError: naming row and column of a cell that is wrong, or the utterance that contradicts another.

        Example:
            >>> said = (
            ...     Utterance("a_0", "own", "train", "a", 0, label="joy"),
            ...     Utterance("b_0", "own", "test", "b", 0, label="anger"),
            ... )
            >>> manifest = Manifest("own", LabelSet("own", ("joy", "anger")), said)
            >>> frame = manifest.to_pandas()
            >>> Manifest.from_pandas(frame, manifest.label_set) == manifest
            True
            >>> [u.id for u in Manifest.from_pandas(frame[frame["split"] == "test"], manifest.label_set).utterances]
            ['b_0']
        """
        import numpy as np
        import pandas as pd

        def plain(cell: object) -> object:
            """A cell as JSON would have it; None where it is missing."""
            if isinstance(cell, list | tuple | np.ndarray):
                return [plain(item) for item in cell]
            value = cell.item() if isinstance(cell, np.generic) else cell
            is_missing = value is None or value is pd.NA or value is pd.NaT or value != value  # the last is NaN
            return None if is_missing else value

        advice = "Correct the table, or drop the column if it is not part of a manifest."
        columns = [str(name) for name in frame.columns]
        utterances = []
        for label, cells in zip(frame.index, frame.itertuples(index=False, name=None), strict=True):
            row = {name: cell for name, cell in zip(columns, map(plain, cells), strict=True) if cell is not None}
            index = row.get("index")
            if (
                isinstance(index, float) and index.is_integer()
            ):  # what pandas makes of whole numbers when it joins tables
                row["index"] = int(index)
            utterances.append(utterance_of(row, f"Row {label!r} of the table", advice))
        return cls(
            corpus=corpus if corpus is not None else utterances[0].corpus if utterances else "",
            label_set=label_set,
            utterances=tuple(utterances),
            root=root,
            defects=tuple(defects),
            provenance=dict(provenance or {}),
        )

    def save(self, folder: str | Path) -> "Manifest":
        """Write its files into ``folder`` and return the manifest with its ``sha256``.

        Example:
            >>> import tempfile
            >>> said = (Utterance("a_0", "own", "train", "a", 0, label="joy"),)
            >>> with tempfile.TemporaryDirectory() as folder:
            ...     saved = Manifest("own", LabelSet("own", ("joy", "anger")), said).save(Path(folder))
            ...     sorted(path.name for path in Path(folder).iterdir()), len(saved.sha256)
            (['manifest.jsonl', 'manifest.meta.json'], 64)
        """
        folder = Path(folder)
        is_single = self.label_set.kind == "single"  # there the labels follow from the label
        table, notes = folder / TABLE, folder / ANNOTATIONS
        write_jsonl(_new(table), ({**row_of(u), **({"labels": ()} if is_single else {})} for u in self.utterances))
        made_with = {**self.provenance, "m2fnet": __version__}
        saved = copy.copy(self)  # `replace` would check every utterance again
        vars(saved).update(sha256=sha256_of(_new(table)), provenance=made_with)
        meta = saved._meta()
        if self.annotations:
            write_jsonl(_new(notes), ({"id": name, **vars(note)} for name, note in self.annotations.items()))
            meta["annotations_sha256"] = sha256_of(_new(notes))
        write_json(folder / META, meta)  # from here on this is the manifest, see `_newest`
        _new(table).replace(table)
        if self.annotations:
            _new(notes).replace(notes)
        else:
            notes.unlink(missing_ok=True)  # of a manifest that was here before
        return saved

    @classmethod
    def load(cls, folder: str | Path) -> "Manifest":
        """Read the manifest in ``folder``.

        Raises:
            ManifestError: if a file is absent or damaged, or the table is not the one its meta file was made for.

        Example:
            >>> import tempfile
            >>> said = (Utterance("a_0", "own", "train", "a", 0, label="joy"),)
            >>> with tempfile.TemporaryDirectory() as folder:
            ...     saved = Manifest("own", LabelSet("own", ("joy", "anger")), said).save(Path(folder))
            ...     Manifest.load(folder) == saved
            True
        """
        folder = Path(folder)
        meta = read_json(folder / META, ManifestError, ADVICE)
        table = _newest(folder / TABLE, meta.get("sha256"))
        found = _hash(table)
        if found != meta.get("sha256"):
            raise ManifestError(
                f"{folder / TABLE} has SHA-256 {found[:12]}…, but {META} was written for "
                f"{str(meta.get('sha256'))[:12]}…: the table was changed after it was prepared. {ADVICE}"
            )
        try:
            names = meta["label_set"]
            _expect_types(meta, names)
            empty_is_none = names["kind"] == "single" or meta.get("format", 1) < FORMAT
            read = partial(_read, str(folder / TABLE), empty_is_none)
            return cls(
                corpus=meta["corpus"],
                label_set=LabelSet(names["name"], tuple(names["classes"]), names["kind"]),
                utterances=_utterances(table, read),
                root=Path(meta["root"]) if meta["root"] is not None else None,
                defects=tuple(
                    Defect(d["what"], tuple(d["ids"]), d["done"], d.get("kind", _kind_before(d["what"])))
                    for d in meta["defects"]
                ),
                provenance=meta["provenance"],
                sha256=found,
                annotations=_annotations(folder / ANNOTATIONS, meta.get("annotations_sha256")),
            )
        except ManifestError:
            raise
        except (KeyError, TypeError, ValueError) as problem:
            raise ManifestError(f"{folder / META} is damaged ({problem!r}). {ADVICE}") from problem

    def _meta(self) -> dict[str, object]:
        return {
            "format": FORMAT,
            "corpus": self.corpus,
            "label_set": dataclasses.asdict(self.label_set),
            "root": str(self.root.resolve()) if self.root is not None else None,
            "sha256": self.sha256,
            "counts": self.counts(),
            "defects": [defect.as_dict() for defect in self.defects],
            "provenance": self.provenance,
        }


def _utterances(table: Path, read: Callable[[bytes, int], Utterance]) -> Sequence[Utterance]:
    """The utterances in the lines of ``table``, in memory if that is not large."""
    if table.stat().st_size > _LARGE:
        return UtteranceTable(table.open("rb"), read)
    with table.open("rb") as lines:
        return tuple(read(line, number) for number, line in enumerate(lines, start=1))


def _read(name: str, empty_is_none: bool, line: bytes, number: int) -> Utterance:
    """The utterance in a line of the table ``name``; in some tables it has no labels where it was not labelled."""
    where = f"{name}:{number}"
    utterance = utterance_of(object_of(line, where, ManifestError, ADVICE), where, ADVICE)
    return dataclasses.replace(utterance, labels=None) if empty_is_none and not utterance.labels else utterance


def _annotations(path: Path, sha256: object) -> dict[str, Annotation]:
    """The annotations in ``path``; none where the meta file names no hash of them."""
    if sha256 is None:
        return {}
    newest = _newest(path, sha256)
    if _hash(newest) != sha256:
        raise ManifestError(f"{path} was changed after the corpus was prepared: its SHA-256 is another. {ADVICE}")
    rows = read_jsonl(newest, ManifestError, ADVICE)
    return {row["id"]: Annotation(row["votes"], row["raters"], row["values"]) for row in rows}


def _new(path: Path) -> Path:
    """What takes the place of ``path`` once the meta file names it."""
    return path.with_name(f".new-{path.name}")


def _newest(path: Path, sha256: object) -> Path:
    """``path``, or what a kill has kept from taking its place, whichever has the hash that the meta file names."""
    return _new(path) if _new(path).is_file() and _hash(_new(path)) == sha256 else path


def _expect_types(meta: dict[str, Any], names: dict[str, Any]) -> None:
    good = {
        "corpus": isinstance(meta["corpus"], str),
        "format": isinstance(meta.get("format", 1), int),
        "provenance": isinstance(meta["provenance"], dict),
        "label_set.name": isinstance(names["name"], str),
        "label_set.classes": is_texts(names["classes"]),
        "label_set.kind": names["kind"] in ("single", "multi"),
    }
    for name, is_good in good.items():
        if not is_good:
            raise TypeError(f"{name} is not what it should be")


def _kind_before(what: str) -> str:
    """The kind of a defect in a manifest that was made before defects had one."""
    return LEAK if what.startswith("leak") else ""


def _hash(path: Path) -> str:
    try:
        return sha256_of(path)
    except OSError as problem:
        raise ManifestError(f"Cannot read {path}: {problem}. {ADVICE}") from problem


def media_path(root: Path, relative: str) -> Path:
    """``root / relative`` if that stays inside ``root``.

    Raises:
        ManifestError: for anything else, because a manifest from elsewhere must not read this machine's files.
    """
    try:
        resolved = (root / relative).resolve()
        is_inside = _is_inside(relative) and resolved.is_relative_to(root.resolve())
    except (OSError, RuntimeError, ValueError):  # a loop of links, a NUL byte, half of a surrogate pair
        is_inside = False
    if not is_inside:
        raise ManifestError(
            f"The manifest names the media file {relative!r}; expected a path inside {root}. "
            "Media must be under the corpus root: move them there, or prepare the corpus with another --root."
        )
    return resolved


def _is_inside(relative: str) -> bool:
    """Whether a path stays below where it starts, as far as its text tells; with a colon it may name a protocol."""
    return not relative.startswith("/") and ":" not in relative and normpath(relative).split("/")[0] not in ("..", ".")


def _check(utterances: Sequence[Utterance], label_set: LabelSet) -> None:
    if not len(utterances):
        raise ManifestError("The manifest holds no utterance; expected at least one.")
    ids, places = array("q"), array("q")  # hashes of their names
    split_of: dict[str, Split] = {}
    for u in utterances:
        ids.append(hash_of(u.id))
        places.append(hash_of(_place(u)))
        if split_of.setdefault(u.dialogue, u.split) != u.split:
            raise ManifestError(
                f"Dialogue {u.dialogue!r} has utterances in {split_of[u.dialogue]!r} and in {u.split!r}; "
                "expected every dialogue in one split. Give it different dialogue ids or one split."
            )
        for path in (u.audio, u.video):
            if path is not None and not _is_inside(path):
                raise ManifestError(
                    f"Utterance {u.id!r} names the media file {path!r}; expected a path inside the corpus folder, "
                    "relative to it."
                )
        labels = u.labels or ()
        if len(set(labels)) < len(labels):
            raise ManifestError(f"Utterance {u.id!r} has the labels {list(labels)}; expected each emotion once.")
        for label in labels:
            if label not in label_set.classes:
                raise ManifestError(
                    f"Utterance {u.id!r} has the label {label!r}; expected one of {', '.join(label_set.classes)}."
                )
        if label_set.kind == "single" and u.label is None and u.labels is not None:
            raise ManifestError(
                f"Utterance {u.id!r} has the label set {list(u.labels)}, but {label_set.name!r} has one emotion per "
                'utterance; expected a `label`, or a label set of the kind "multi".'
            )
    _refuse_duplicates("utterance id", ids, lambda place: utterances[place].id)
    _refuse_duplicates("place in a dialogue", places, lambda place: _place(utterances[place]))


def _place(utterance: Utterance) -> str:
    return f"{utterance.dialogue}[{utterance.index}]"


def _refuse_duplicates(what: str, hashes: "array[int]", name_of: Callable[[int], str]) -> None:
    repeated = Lookup(np.frombuffer(hashes, np.int64)).repeated()
    if repeated:
        raise ManifestError(
            f"The {what} {name_of(repeated[0])!r} occurs more than once ({len(repeated)} such); expected it once."
        )
