"""Where MELD's utterances really are: the realignment of MELD-FAIR, Carneiro et al., arXiv:2211.15377.

A quarter of MELD's clips begin or end in another utterance. knowledgetechnologyuhh/MELD-FAIR aligned text and sound
again; its folder ``csvs`` gives, for each utterance, the parts of clips that hold it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from m2fnet.corpora.base import DefectLog
from m2fnet.corpora.reading import read_csv
from m2fnet.errors import CorpusError
from m2fnet.files import sha256_of
from m2fnet.manifest import Manifest
from m2fnet.records import SPLITS, Utterance

STRETCHES = "MELD_video_realignment_timestamps.csv"

_CLIP = ("Split", "Original Dialogue ID", "Original Utterance ID", "Start Time", "End Time")
_PLACE = ("Dialogue ID", "Utterance ID")
_NUMBERS = ("Dialogue_ID", "Utterance_ID", "Original Utterance_ID")


@dataclass(frozen=True)
class Stretch:
    """The part of one clip that holds an utterance, or most of it.

    Attributes:
        clip: id of the utterance that the clip is named after, often a neighbour.
        start_s: start in the clip.
        end_s: end in the clip.
        is_whole: no other clip holds a part of the utterance.
    """

    clip: str
    start_s: float
    end_s: float
    is_whole: bool = True


def realign(manifest: Manifest, folder: Path) -> Manifest:
    """``manifest`` with each utterance's media replaced by the part of a clip that holds most of it.

    An utterance whose own clip is missing still has no media; one that could not be aligned keeps its whole clip.

    Raises:
        CorpusError: if a table in ``folder``, a copy of MELD-FAIR's ``csvs``, is missing or damaged.
    """
    stretches = read_realignment(folder)
    clips = {u.id: u.video for u in manifest.utterances if u.video is not None}
    log = DefectLog()
    utterances = [_moved(u, stretches.get(u.id), clips, log) if u.id in clips else u for u in manifest.utterances]
    return replace(
        manifest,
        utterances=log.marked(utterances),
        defects=(*manifest.defects, *log.defects()),
        provenance={**manifest.provenance, "realigned": sha256_of(folder / STRETCHES)},
    )


def _moved(utterance: Utterance, stretch: Stretch | None, clips: Mapping[str, str], log: DefectLog) -> Utterance:
    if stretch is None or stretch.clip not in clips:
        log.add("not realigned", "its clip as a whole", [utterance.id])
        return utterance
    if stretch.clip != utterance.id:
        log.add("realigned into the clip of a neighbour", "taken from there", [utterance.id])
    if not stretch.is_whole:
        log.add("realigned over several clips", "the longest part counts", [utterance.id])
    clip, span = clips[stretch.clip], (stretch.start_s, stretch.end_s)
    return replace(utterance, audio=clip, video=clip, audio_span=span, video_span=span)


def read_realignment(folder: Path) -> dict[str, Stretch]:
    """Utterance id -> the part of a clip that holds most of it, from a copy of MELD-FAIR's folder ``csvs``.

    An utterance without an entry could not be aligned.

    Raises:
        CorpusError: if a table is missing or damaged.
    """
    # MELD-FAIR counts the utterances of a dialogue through in the order of their times; its tables keep both numbers
    numbers = {
        (split, row["Dialogue_ID"], row["Utterance_ID"]): row.integer("Original Utterance_ID")
        for split in SPLITS
        for row in read_csv(folder / f"realigned_{split}_sent_emo.csv", _NUMBERS)
    }
    spans: list[tuple[str, str, float, float]] = []
    for row in read_csv(folder / STRETCHES, (*_CLIP, *_PLACE)):
        place = (row["Split"], row["Dialogue ID"], row["Utterance ID"])
        if place not in numbers:
            raise CorpusError(f"{row.where} aligns an utterance that realigned_{place[0]}_sent_emo.csv does not name.")
        name = f"{place[0]}_dia{row.integer('Dialogue ID')}_utt{numbers[place]}"
        clip = f"{place[0]}_dia{row.integer('Original Dialogue ID')}_utt{row.integer('Original Utterance ID')}"
        start_s, end_s = row.seconds("Start Time"), row.seconds("End Time")
        if start_s is None or end_s is None or end_s <= start_s:
            raise CorpusError(f"{row.where}: expected a Start Time in seconds and a later End Time.")
        spans.append((name, clip, start_s, end_s))
    frame = pd.DataFrame(spans, columns=["id", "clip", "start_s", "end_s"])
    parts = frame.groupby(["id", "clip"], sort=False, as_index=False).agg({"start_s": "min", "end_s": "max"})
    parts["is_whole"] = parts.groupby("id")["clip"].transform("size") == 1
    longest = (parts["end_s"] - parts["start_s"]).groupby(parts["id"], sort=False).idxmax()
    return {
        row.id: Stretch(row.clip, row.start_s, row.end_s, bool(row.is_whole)) for row in parts.loc[longest].itertuples()
    }
