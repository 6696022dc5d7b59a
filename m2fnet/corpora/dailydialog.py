"""DailyDialog in, a manifest out: written everyday conversations of two speakers. Li et al. 2017, arXiv:1710.03957."""

from collections.abc import Mapping
from pathlib import Path

from m2fnet.corpora.base import Counts, DefectLog, expect_counts, not_the_corpus
from m2fnet.corpora.label_sets import DAILYDIALOG
from m2fnet.corpora.reading import read_lines, shown
from m2fnet.errors import CorpusError
from m2fnet.manifest import Manifest
from m2fnet.records import Split, Utterance

TREE = """dailydialog/
  train/dialogues_train.txt            train/dialogues_emotion_train.txt
  validation/dialogues_validation.txt  validation/dialogues_emotion_validation.txt
  test/dialogues_test.txt              test/dialogues_emotion_test.txt"""

_LABELS: Mapping[Split, tuple[int, ...]] = {
    "train": (72_143, 827, 303, 146, 11_182, 969, 1600),
    "dev": (7108, 77, 3, 11, 684, 79, 107),
    "test": (6321, 118, 47, 17, 1019, 102, 116),
}
COUNTS: dict[Split, Counts] = {
    split: {
        "dialogues": 11_118 if split == "train" else 1000,
        "utterances": sum(labels),
        "labels": dict(zip(DAILYDIALOG.classes, labels, strict=True)),
    }
    for split, labels in _LABELS.items()
}
_FOLDERS: Mapping[Split, str] = {"train": "train", "dev": "validation", "test": "test"}
_END = "__eou__"


def read_dailydialog(root: Path, *, partial: bool = False) -> Manifest:
    """Manifest of DailyDialog in the official split; the files imply that two speakers alternate.

    Most utterances have the label ``none``, no emotion; published scores are micro F1 without it.

    Args:
        root: folder as in `TREE`.
        partial: accept a copy with other counts than the published ones, or without one of the splits.

    Raises:
        CorpusError: if the folder is not DailyDialog, a line is damaged, or the counts differ and ``partial`` is
            False.
    """
    root = root.resolve()
    present = {split: name for split, name in _FOLDERS.items() if (root / f"{name}/dialogues_{name}.txt").is_file()}
    absent = [name for split, name in _FOLDERS.items() if split not in present]
    if not present or (absent and not partial):
        raise not_the_corpus(root, f"{absent[0]}/dialogues_{absent[0]}.txt", TREE)
    log = DefectLog()
    utterances = []
    texts_of: dict[str, dict[Split, list[str]]] = {}  # a whole dialogue -> its names by split
    for split, name in present.items():
        texts = [line for line in read_lines(root / f"{name}/dialogues_{name}.txt") if line.text.strip()]
        emotions = [line for line in read_lines(root / f"{name}/dialogues_emotion_{name}.txt") if line.text.strip()]
        if len(texts) != len(emotions):
            raise CorpusError(
                f"{root / name} has {len(texts)} dialogues and {len(emotions)} lines of emotions; expected as many."
            )
        for number, (said, felt) in enumerate(zip(texts, emotions, strict=True)):
            dialogue = f"{split}_{number}"
            parts = [part.strip() for part in said.text.split(_END)]
            if parts[-1] == "":
                parts.pop()
            labels = felt.text.split()
            if len(parts) != len(labels) or not set(labels) <= set("0123456"):
                raise CorpusError(
                    f"{felt.where} has the emotions {shown(felt.text.strip())} for {len(parts)} utterances; expected a "
                    "number from 0 to 6 for each."
                )
            texts_of.setdefault("\n".join(parts), {}).setdefault(split, []).append(dialogue)
            log.add("cp1252 bytes in the text", "decoded as cp1252", [dialogue] if said.is_repaired else [])
            for index, (part, label) in enumerate(zip(parts, labels, strict=True)):
                utterances.append(
                    Utterance(
                        id=f"{dialogue}_{index}",
                        corpus=DAILYDIALOG.name,
                        split=split,
                        dialogue=dialogue,
                        index=index,
                        speaker=f"{dialogue}_{'AB'[index % 2]}",
                        text=part or None,
                        label=DAILYDIALOG.classes[int(label)],
                        source=said.where.removeprefix(f"{root}/"),
                    )
                )
    shared = [names for splits in texts_of.values() if len(splits) > 1 for names in splits.values()]
    log.add(
        "dialogue that is word for word in another split too",
        "kept; scores of that split are slightly flattered",
        (name for names in shared for name in names),
    )
    manifest = Manifest(
        corpus=DAILYDIALOG.name,
        label_set=DAILYDIALOG,
        utterances=log.marked(utterances),
        defects=log.defects(),
        provenance={"adapter": __name__, "partial": partial},
    )
    if not partial:
        expect_counts(manifest, COUNTS)
    return manifest
