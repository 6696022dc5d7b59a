"""A corpus as the rest of the system sees it: ``manifest.jsonl`` and ``manifest.meta.json`` in one folder.

One utterance per line, typed, greppable, readable with ``pandas.read_json(path, lines=True)``.
"""

import dataclasses
import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from posixpath import normpath
from typing import Any, get_args

from m2fnet import __version__
from m2fnet.errors import ManifestError, MediaError
from m2fnet.files import read_json, read_jsonl, sha256_of, write_json, write_jsonl
from m2fnet.records import LEAK, SPLITS, Crop, Defect, Dialogue, LabelSet, Split, Utterance, group_dialogues

TABLE = "manifest.jsonl"
META = "manifest.meta.json"
ADVICE = "Make it again with `m2fnet prepare` (or `m2fnet import` for a feature pickle)."

FORMAT = 2  # of the meta file; in format 1 an empty list of labels meant an unlabelled utterance

_REQUIRED = ("id", "corpus", "split", "dialogue", "index")


@dataclass(frozen=True)
class Manifest:
    """All utterances of a corpus with their label set.

    Attributes:
        corpus: name of the corpus or protocol, e.g. ``"meld"`` or ``"iemocap6"``.
        label_set: the emotions that count as targets.
        utterances: every utterance, unlabelled context included.
        root: folder that ``audio`` and ``video`` paths start from; None when there are no media.
        defects: what was found wrong in the raw corpus and what was done.
        provenance: how the manifest came to be (adapter and its settings).
        sha256: of the ``manifest.jsonl`` it was read from or written to; empty before it is saved.
    """

    corpus: str
    label_set: LabelSet
    utterances: tuple[Utterance, ...]
    root: Path | None = None
    defects: tuple[Defect, ...] = ()
    provenance: dict[str, Any] = field(default_factory=dict)
    sha256: str = ""

    def __post_init__(self) -> None:
        _check(self.utterances, self.label_set)

    def dialogues(self, split: Split | None = None) -> list[Dialogue]:
        """Dialogues of ``split`` (of all splits when None), utterances in speaking order."""
        return group_dialogues([u for u in self.utterances if split in (None, u.split)])

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

    def counts(self) -> dict[str, Any]:
        """Dialogues, utterances, and utterances per emotion for each split."""
        return {split: _count(self.dialogues(split), self.label_set) for split in SPLITS}

    def save(self, folder: Path) -> "Manifest":
        """Write both files into ``folder`` and return the manifest with its ``sha256``."""
        is_single = self.label_set.kind == "single"  # there the labels follow from the label
        rows = [{**vars(u), "labels": ()} if is_single else vars(u) for u in self.utterances]
        write_jsonl(folder / TABLE, rows)
        made_with = {**self.provenance, "m2fnet": __version__}
        saved = dataclasses.replace(self, sha256=sha256_of(folder / TABLE), provenance=made_with)
        write_json(folder / META, saved._meta())
        return saved

    @classmethod
    def load(cls, folder: Path) -> "Manifest":
        """Read the manifest in ``folder``.

        Raises:
            ManifestError: if a file is absent or damaged, or the table is not the one its meta file was made for.
        """
        meta = read_json(folder / META, ManifestError, ADVICE)
        found = _hash(folder / TABLE)
        if found != meta.get("sha256"):
            raise ManifestError(
                f"{folder / TABLE} has SHA-256 {found[:12]}…, but {META} was written for "
                f"{str(meta.get('sha256'))[:12]}…: the table was changed after it was prepared. {ADVICE}"
            )
        name = str(folder / TABLE)
        rows = read_jsonl(folder / TABLE, ManifestError, ADVICE)
        utterances = [_utterance(row, f"{name}:{number}") for number, row in enumerate(rows, start=1)]
        try:
            names = meta["label_set"]
            _expect_types(meta, names)
            if names["kind"] == "single" or meta.get("format", 1) < FORMAT:
                utterances = [u if u.labels else dataclasses.replace(u, labels=None) for u in utterances]
            return cls(
                corpus=meta["corpus"],
                label_set=LabelSet(names["name"], tuple(names["classes"]), names["kind"]),
                utterances=tuple(utterances),
                root=Path(meta["root"]) if meta["root"] is not None else None,
                defects=tuple(
                    Defect(d["what"], tuple(d["ids"]), d["done"], d.get("kind", _kind_before(d["what"])))
                    for d in meta["defects"]
                ),
                provenance=meta["provenance"],
                sha256=found,
            )
        except ManifestError:
            raise
        except (KeyError, TypeError, ValueError) as problem:
            raise ManifestError(f"{folder / META} is damaged ({problem!r}). {ADVICE}") from problem

    def _meta(self) -> dict[str, Any]:
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


def _expect_types(meta: dict[str, Any], names: dict[str, Any]) -> None:
    good = {
        "corpus": isinstance(meta["corpus"], str),
        "format": isinstance(meta.get("format", 1), int),
        "provenance": isinstance(meta["provenance"], dict),
        "label_set.name": isinstance(names["name"], str),
        "label_set.classes": _is_texts(names["classes"]),
        "label_set.kind": names["kind"] in ("single", "multi"),
    }
    for name, is_good in good.items():
        if not is_good:
            raise TypeError(f"{name} is not what it should be")


def _kind_before(what: str) -> str:
    """The kind of a defect in a manifest that was made before defects had one."""
    return LEAK if what.startswith(LEAK) else ""


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
            "Media must lie under the corpus root: move them there, or prepare the corpus with another --root."
        )
    return resolved


def _is_inside(relative: str) -> bool:
    """Whether a path stays below where it starts, as far as its text tells; with a colon it may name a protocol."""
    return not relative.startswith("/") and ":" not in relative and normpath(relative).split("/")[0] not in ("..", ".")


def _check(utterances: Sequence[Utterance], label_set: LabelSet) -> None:
    if not utterances:
        raise ManifestError("The manifest holds no utterance; expected at least one.")
    _refuse_duplicates("utterance id", (u.id for u in utterances))
    _refuse_duplicates("place in a dialogue", (f"{u.dialogue}[{u.index}]" for u in utterances))
    split_of: dict[str, Split] = {}
    for u in utterances:
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
        for label in u.labels or ():
            if label not in label_set.classes:
                raise ManifestError(
                    f"Utterance {u.id!r} has the label {label!r}; expected one of {', '.join(label_set.classes)}."
                )
        if label_set.kind == "single" and u.label is None and u.labels is not None:
            raise ManifestError(
                f"Utterance {u.id!r} has the label set {list(u.labels)}, but {label_set.name!r} has one emotion per "
                'utterance; expected a `label`, or a label set of the kind "multi".'
            )


def _refuse_duplicates(what: str, values: Iterable[str]) -> None:
    twice = [value for value, n in Counter(values).items() if n > 1]
    if twice:
        raise ManifestError(f"The {what} {twice[0]!r} occurs more than once ({len(twice)} such); expected it once.")


def _count(dialogues: Sequence[Dialogue], label_set: LabelSet) -> dict[str, Any]:
    utterances = [u for dialogue in dialogues for u in dialogue.utterances]
    labels = Counter(label for u in utterances for label in set(u.labels or ()))
    return {
        "dialogues": len(dialogues),
        "utterances": len(utterances),
        "labelled": sum(u.labels is not None for u in utterances),
        "labels": {name: labels[name] for name in label_set.classes},
    }


def _utterance(row: dict[str, Any], where: str) -> Utterance:
    absent = [name for name in _REQUIRED if row.get(name) is None]
    if absent:
        raise ManifestError(f"{where} lacks {', '.join(absent)}. {ADVICE}")
    for name, value in row.items():
        if name not in _FIELDS:
            raise ManifestError(f"{where} has the unknown field {name!r}. {ADVICE}")
        is_good, expected = _FIELDS[name]
        if not is_good(value):
            raise ManifestError(f"{where}: field {name!r} is {value!r}, expected {expected}. {ADVICE}")
    tuples = {name: tuple(row[name]) for name in _SEQUENCES if row.get(name) is not None}
    return Utterance(**{**row, **tuples})


def _is_text(value: object) -> bool:
    return value is None or isinstance(value, str)


def _is_texts(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def _is_seconds(value: object) -> bool:
    return value is None or (isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < math.inf)


def _is_span(value: object) -> bool:
    if value is None:
        return True
    return isinstance(value, list) and len(value) == 2 and None not in value and all(map(_is_seconds, value))


# field of a row -> what its value must be, as a test and in words; `_REQUIRED` alone may not be null
_FIELDS: dict[str, tuple[Callable[[object], bool], str]] = {
    **dict.fromkeys(
        ("id", "corpus", "dialogue", "speaker", "text", "label", "audio", "video", "source"), (_is_text, "a string")
    ),
    "split": (lambda value: value in SPLITS, f"one of {', '.join(SPLITS)}"),
    "index": (lambda value: isinstance(value, int) and not isinstance(value, bool), "an integer"),
    "labels": (lambda value: value is None or _is_texts(value), "a list of strings"),
    "defects": (_is_texts, "a list of strings"),
    **dict.fromkeys(("start_s", "end_s"), (_is_seconds, "seconds")),
    **dict.fromkeys(("audio_span", "video_span"), (_is_span, "two times in seconds")),
    "crop": (lambda value: value is None or value in get_args(Crop), "left or right"),
}
_SEQUENCES = ("labels", "defects", "audio_span", "video_span")
