"""EmoryNLP in, a manifest out: scenes of Friends with seven emotions. Zahiri and Choi 2018, arXiv:1708.04299."""

import re
from pathlib import Path

from m2fnet.corpora.base import Counts, DefectLog, expect_counts, not_the_corpus
from m2fnet.corpora.label_sets import EMORYNLP
from m2fnet.corpora.leaks import report_repeats
from m2fnet.corpora.reading import Row, read_csv, shown
from m2fnet.errors import CorpusError
from m2fnet.manifest import Manifest
from m2fnet.records import SPLITS, Split, Utterance

TREE = """emorynlp/
  emorynlp_train_final.csv  emorynlp_dev_final.csv  emorynlp_test_final.csv"""

COUNTS: dict[Split, Counts] = {
    "train": {"dialogues": 659, "utterances": 7551},
    "dev": {"dialogues": 89, "utterances": 954},
    "test": {"dialogues": 79, "utterances": 984},
}
_COLUMNS = (
    "Utterance",
    "Speaker",
    "Emotion",
    "Scene_ID",
    "Utterance_ID",
    "Season",
    "Episode",
    "Start_Time",
    "End_Time",
)
_TIME = re.compile(r"([0-9]{1,2}):([0-5][0-9]):([0-5][0-9])[.,]([0-9]{1,3})")


def read_emorynlp(root: Path, *, partial: bool = False) -> Manifest:
    """Manifest of EmoryNLP's text in the official split; a dialogue is a scene.

    Args:
        root: folder as in `TREE`.
        partial: accept a copy with other counts than the published ones, or without one of the files.

    Raises:
        CorpusError: if the folder is not EmoryNLP, a row is damaged, or the counts differ and ``partial`` is False.
    """
    root = root.resolve()
    found = {split: path for split in SPLITS if (path := root / f"emorynlp_{split}_final.csv").is_file()}
    absent = [split for split in SPLITS if split not in found]
    if not found or (absent and not partial):
        raise not_the_corpus(root, f"emorynlp_{absent[0]}_final.csv", TREE)
    log = DefectLog()
    utterances: list[Utterance] = []
    scenes: dict[str, str] = {}
    for split, path in found.items():
        rows: dict[tuple[int, int, int], list[Row]] = {}
        for row in read_csv(path, _COLUMNS):
            rows.setdefault((row.integer("Season"), row.integer("Episode"), row.integer("Scene_ID")), []).append(row)
        for (season, episode, scene), members in rows.items():
            dialogue = f"{split}_s{season:02}_e{episode:02}_c{scene:02}"
            members.sort(key=lambda row: row.integer("Utterance_ID"))
            numbers = [row.integer("Utterance_ID") for row in members]
            has_gap = numbers != list(range(numbers[0], numbers[0] + len(numbers)))
            done = "places counted without the gap; ids keep the number"
            log.add("gap in the utterance numbers of a scene", done, [dialogue] if has_gap else [])
            for index, row in enumerate(members):
                utterance = _utterance(row, split, dialogue, index, log)
                utterances.append(utterance)
                scenes[utterance.id] = f"{season}/{episode}"
    report_repeats([u for u in utterances if u.start_s is not None], scenes, log)
    manifest = Manifest(
        corpus=EMORYNLP.name,
        label_set=EMORYNLP,
        utterances=log.marked(utterances),
        defects=log.defects(),
        provenance={"adapter": __name__, "partial": partial},
    )
    if not partial:
        expect_counts(manifest, COUNTS)
    return manifest


def _utterance(row: Row, split: Split, dialogue: str, index: int, log: DefectLog) -> Utterance:
    emotion = row["Emotion"].lower()
    if emotion not in EMORYNLP.classes:
        raise CorpusError(
            f"{row.where}: Emotion is {shown(row['Emotion'])}, expected one of {', '.join(EMORYNLP.classes)}."
        )
    name = f"{dialogue}_u{row.integer('Utterance_ID'):03}"
    speakers = re.findall(r"""'([^']*)'|"([^"]*)\"""", row["Speaker"])  # a list as Python prints it
    names = [one or other for one, other in speakers]
    log.add("joint speaker", "kept as a speaker of that name", [name] if len(names) != 1 or names == ["#ALL#"] else [])
    log.add("no text", "kept without text", [] if row["Utterance"] else [name])
    times = [_TIME.fullmatch(row[column]) for column in ("Start_Time", "End_Time")]
    seconds = [
        round(int(t[1]) * 3600 + int(t[2]) * 60 + float(f"{t[3]}.{t[4]}"), 3) if t is not None else None for t in times
    ]
    log.add("time that cannot be read", "kept without times", [name] if None in seconds else [])
    start_s, end_s = seconds
    if start_s is not None and end_s is not None and end_s <= start_s:
        log.add("span of zero length or negative", "times kept as they are", [name])
    return Utterance(
        id=name,
        corpus=EMORYNLP.name,
        split=split,
        dialogue=dialogue,
        index=index,
        speaker=" and ".join(names) or None,
        text=row["Utterance"] or None,
        label=emotion,
        start_s=start_s if None not in seconds else None,
        end_s=end_s if None not in seconds else None,
        source=row.where.rsplit("/", 1)[1],
    )
