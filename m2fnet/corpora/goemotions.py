"""GoEmotions in, a manifest out: Reddit comments with a set of emotions each. Demszky et al., arXiv:2005.00547."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from m2fnet.corpora.base import Counts, DefectLog, expect_counts, not_the_corpus
from m2fnet.corpora.label_sets import EKMAN, EKMAN_NEUTRAL, GOEMOTIONS
from m2fnet.corpora.reading import read_csv, read_lines, shown
from m2fnet.errors import CorpusError
from m2fnet.manifest import Manifest
from m2fnet.records import SPLITS, LabelSet, Split, Utterance

TREE = """data/
  train.tsv  dev.tsv  test.tsv     as published: text, numbers of emotions with commas, id of the comment
or the same as train.csv, dev.csv, test.csv with the columns id, text, labels (names with ; or | between them)"""

# ekman_mapping.json in google-research/google-research goemotions/data; neutral is none of the six
_EKMAN: Mapping[str, tuple[str, ...]] = {
    "anger": ("anger", "annoyance", "disapproval"),
    "disgust": ("disgust",),
    "fear": ("fear", "nervousness"),
    "joy": (
        "joy", "amusement", "approval", "excitement", "gratitude", "love", "optimism", "relief", "pride", "admiration",
        "desire", "caring",
    ),
    "sadness": ("sadness", "disappointment", "embarrassment", "grief", "remorse"),
    "surprise": ("surprise", "realization", "confusion", "curiosity"),
}  # fmt: skip


@dataclass(frozen=True)
class Protocol:
    """A label set for GoEmotions and the published counts of each split."""

    label_set: LabelSet
    counts: Mapping[Split, Counts]

    def labels(self, emotions: frozenset[str]) -> tuple[str, ...]:
        """The emotions of the label set for a comment's emotions, which are among the 28.

        Example:
            >>> goemotions_ekman().labels(frozenset({"gratitude", "love", "grief", "neutral"}))
            ('joy', 'sadness')
        """
        if self.label_set != GOEMOTIONS:
            return tuple(name for name in self.label_set.classes if emotions.intersection(_EKMAN.get(name, (name,))))
        return tuple(name for name in self.label_set.classes if name in emotions)


def goemotions() -> Protocol:
    """All 28 labels; neutral is one of them, and no set is empty."""
    train = (
        4130, 2328, 1567, 2470, 2939, 1087, 1368, 2191, 641, 1269, 2022, 793, 303, 853, 596, 2662, 77, 1452, 2086, 164,
        1581, 111, 1110, 153, 545, 1326, 1060, 14219,
    )  # fmt: skip
    return Protocol(
        GOEMOTIONS,
        {
            "train": {"utterances": 43_410, "labels": dict(zip(GOEMOTIONS.classes, train, strict=True))},
            "dev": {"utterances": 5426},
            "test": {"utterances": 5427},
        },
    )


def goemotions_ekman() -> Protocol:
    """Ekman's six emotions by the authors' mapping; a neutral comment has the empty set."""

    def counts(utterances: int, *labels: int) -> Counts:
        return {"utterances": utterances, "labels": dict(zip(EKMAN.classes, labels, strict=True))}

    return Protocol(
        EKMAN,
        {
            "train": counts(43_410, 5579, 793, 726, 17_410, 3263, 5367),
            "dev": counts(5426, 717, 97, 105, 2219, 390, 624),
            "test": counts(5427, 726, 123, 98, 2104, 379, 677),
        },
    )


def goemotions_ekman_neutral() -> Protocol:
    """Ekman's six emotions and neutral as a seventh label, as the authors score them; no set is empty."""
    neutral: dict[Split, int] = {"train": 14_219, "dev": 1766, "test": 1787}
    six = goemotions_ekman().counts
    return Protocol(
        EKMAN_NEUTRAL,
        {
            split: {"utterances": six[split]["utterances"], "labels": {**six[split]["labels"], "neutral": number}}
            for split, number in neutral.items()
        },
    )


PROTOCOLS = {"goemotions": goemotions, "goemotions-ekman": goemotions_ekman,
             "goemotions-ekman-neutral": goemotions_ekman_neutral}  # fmt: skip


def read_goemotions(root: Path, protocol: Protocol, *, partial: bool = False) -> Manifest:
    """Manifest of GoEmotions' official split; a comment is a dialogue of one utterance.

    Args:
        root: folder as in `TREE`, or the one above it.
        protocol: `goemotions`, `goemotions_ekman` or `goemotions_ekman_neutral`.
        partial: accept a copy with other counts than the published ones, or without one of the files.

    Raises:
        CorpusError: if the folder is not GoEmotions, a line is damaged, or the counts differ and ``partial`` is False.
    """
    root = root.resolve()
    root = root / "data" if (root / "data").is_dir() else root
    found = {s: path for s in SPLITS for end in ("csv", "tsv") if (path := root / f"{s}.{end}").is_file()}
    absent = [split for split in SPLITS if split not in found]
    if not found or (absent and not partial):
        raise not_the_corpus(root, f"{absent[0]}.tsv", TREE)
    log = DefectLog()
    corpus = protocol.label_set.name
    utterances = []
    splits_of: dict[str, dict[Split, list[str]]] = {}  # text -> its comments by split
    for split, path in found.items():
        for name, text, emotions, where in _comments(path):
            utterances.append(
                Utterance(
                    id=name,
                    corpus=corpus,
                    split=split,
                    dialogue=name,
                    index=0,
                    text=text or None,
                    labels=protocol.labels(emotions),
                    source=where.removeprefix(f"{root}/"),
                )
            )
            splits_of.setdefault(text, {}).setdefault(split, []).append(name)
    shared = [names for splits in splits_of.values() if len(splits) > 1 for names in splits.values()]
    log.add(
        "text that also occurs in another split",
        "kept; these are short phrases in different comments",
        (name for names in shared for name in names),
    )
    manifest = Manifest(
        corpus=corpus,
        label_set=protocol.label_set,
        utterances=log.marked(utterances),
        defects=log.defects(),
        provenance={"adapter": __name__, "protocol": corpus, "partial": partial},
    )
    if not partial:
        expect_counts(manifest, protocol.counts)
    return manifest


def _comments(path: Path) -> list[tuple[str, str, frozenset[str], str]]:
    """Id, text, emotions and place of each comment in a file."""
    comments = []
    if path.suffix == ".csv":
        for row in read_csv(path, ("id", "text", "labels")):
            names = [name.strip() for name in row["labels"].replace("|", ";").split(";")]
            comments.append((row["id"], row["text"], names, row.where))
    else:
        for line in read_lines(path):
            cells = line.text.split("\t")
            if line.text and len(cells) != 3:
                raise CorpusError(
                    f"{line.where} has {len(cells)} cells, expected three with tabs between them: text, numbers of "
                    "emotions, id."
                )
            if line.text:
                text, numbers, name = (cell.strip() for cell in cells)
                names = [
                    GOEMOTIONS.classes[int(number)]
                    if number.isascii() and number.isdigit() and int(number) < 28
                    else ""
                    for number in numbers.split(",")
                ]
                comments.append((name, text, names, line.where))
    for name, _, names, where in comments:
        if not name or not set(names) <= set(GOEMOTIONS.classes):
            raise CorpusError(
                f"{where}: the comment {shown(name)} has the emotions {shown(', '.join(names))}, expected an id and "
                "one or more of GoEmotions' 28, by number from 0 to 27 in TSV and by name in CSV."
            )
    return [(name, text, frozenset(names), where) for name, text, names, where in comments]
