"""What holds for the manifest of every corpus, whichever adapter made it."""

from collections.abc import Callable
from pathlib import Path

import pytest
from fake_corpora import CLIPS, meld_row, small_iemocap, write_meld, write_table
from fake_other_corpora import (
    write_cremad,
    write_dailydialog,
    write_emorynlp,
    write_goemotions,
    write_m3ed,
    write_mer2024,
    write_mosei_aligned,
    write_mosei_mmsa,
    write_ravdess,
)

from m2fnet.corpora.base import MISSING_MEDIA
from m2fnet.corpora.cremad import read_cremad
from m2fnet.corpora.dailydialog import read_dailydialog
from m2fnet.corpora.emorynlp import read_emorynlp
from m2fnet.corpora.goemotions import goemotions, read_goemotions
from m2fnet.corpora.iemocap import read_iemocap
from m2fnet.corpora.iemocap_protocols import iemocap4, iemocap6, iemocap6_erc, iemocap_multilabel
from m2fnet.corpora.m3ed import read_m3ed
from m2fnet.corpora.meld import read_meld, read_toy
from m2fnet.corpora.mer import YEARS, read_mer
from m2fnet.corpora.mosei import read_mosei
from m2fnet.corpora.ravdess import read_ravdess
from m2fnet.corpora.table import read_table
from m2fnet.manifest import Manifest
from m2fnet.records import LEAK, SPLITS


def meld(folder: Path) -> Manifest:
    root = write_meld(folder, {"train": [meld_row(1, n, Utterance="line\u2028break\x85") for n in (0, 2)]})
    (root / "train_splits/dia1_utt2.mp4").unlink()
    (root / "train_splits/._dia1_utt2.mp4").write_bytes(b"x")
    return read_meld(root, partial=True)


def meld_text(folder: Path) -> Manifest:
    return read_meld(write_meld(folder, clips=False), partial=True)


def table(folder: Path) -> Manifest:
    rows = "dialogue,split,text,audio,labels\na,train,x,here.wav,joy|fear\na,train,y,gone.wav,\nb,test,z,,joy\n"
    return read_table(write_table(folder, rows, media=["here.wav"]))


def toy(folder: Path) -> Manifest:
    from m2fnet.corpora.toy import write_toy

    write_toy(folder / "toy", dialogues=(3, 2, 3), workers=1, progress=False)
    return read_toy(folder / "toy")


def toy_label_sets(folder: Path) -> Manifest:
    from m2fnet.corpora.toy import write_toy
    from m2fnet.corpora.toy_label_sets import read_toy_label_sets

    write_toy(folder / "toy", dialogues=(3, 2, 3), workers=1, progress=False)
    return read_toy_label_sets(folder / "toy")


MADE_BY: dict[str, Callable[[Path], Manifest]] = {
    "meld": meld,
    "meld-text": meld_text,
    "iemocap6": lambda folder: read_iemocap(small_iemocap(folder), iemocap6(), partial=True),
    "iemocap6-erc": lambda folder: read_iemocap(small_iemocap(folder), iemocap6_erc(), partial=True),
    "iemocap4": lambda folder: read_iemocap(
        small_iemocap(folder), iemocap4(fold=2), partial=True, drop_unlabelled=True
    ),
    "iemocap-multilabel": lambda folder: read_iemocap(small_iemocap(folder), iemocap_multilabel(), partial=True),
    "goemotions": lambda folder: read_goemotions(write_goemotions(folder), goemotions(), partial=True),
    "mosei-aligned": lambda folder: read_mosei(write_mosei_aligned(folder), "aligned", partial=True).manifest,
    "mosei-mmsa": lambda folder: read_mosei(write_mosei_mmsa(folder), "mmsa-unaligned", partial=True).manifest,
    "mosei-labels": lambda folder: read_mosei(write_mosei_mmsa(folder), "labels", partial=True).manifest,
    "m3ed": lambda folder: read_m3ed(write_m3ed(folder), partial=True),
    "m3ed-dialogues": lambda folder: read_m3ed(write_m3ed(folder), "m3ed-dialogues", partial=True),
    "ravdess": lambda folder: read_ravdess(write_ravdess(folder, films=True), partial=True),
    "cremad": lambda folder: read_cremad(write_cremad(folder), partial=True),
    "cremad-votes": lambda folder: read_cremad(write_cremad(folder), "cremad-votes", partial=True),
    "emorynlp": lambda folder: read_emorynlp(write_emorynlp(folder), partial=True),
    "dailydialog": lambda folder: read_dailydialog(write_dailydialog(folder), partial=True),
    "mer2024": lambda folder: read_mer(write_mer2024(folder), YEARS["mer2024"], pool=True, partial=True),
    "table": table,
    "toy": toy,
    "toy-label-sets": toy_label_sets,
}


@pytest.fixture(
    scope="module",
    params=[pytest.param(name, marks=pytest.mark.slow if name.startswith("toy") else ()) for name in MADE_BY],
)
def manifest(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    return MADE_BY[request.param](tmp_path_factory.mktemp(request.param))


def test_ids_are_unique_and_name_the_corpus(manifest: Manifest):
    assert len({u.id for u in manifest.utterances}) == len(manifest.utterances)
    assert {u.corpus for u in manifest.utterances} == {manifest.corpus}


def test_dialogues_are_whole_counted_from_0_and_in_one_split(manifest: Manifest):
    assert {d.split for d in manifest.dialogues()} <= set(SPLITS)
    assert len(manifest.dialogues()) == len({u.dialogue for u in manifest.utterances})
    for dialogue in manifest.dialogues():
        assert [u.index for u in dialogue.utterances] == list(range(len(dialogue)))
        assert {u.split for u in dialogue.utterances} == {dialogue.split}


def test_labels_are_those_of_the_label_set(manifest: Manifest):
    labels = {label for u in manifest.utterances for label in u.labels or ()}
    assert labels <= set(manifest.label_set.classes)
    assert labels
    is_multi = manifest.label_set.kind == "multi"
    expected = {u.id: None if u.label is None else (u.label,) for u in manifest.utterances}
    assert all(u.label is None if is_multi else u.labels == expected[u.id] for u in manifest.utterances)


def test_a_saved_manifest_is_read_back_equal(manifest: Manifest, tmp_path: Path):
    saved = manifest.save(tmp_path)
    assert Manifest.load(tmp_path) == saved
    assert saved.utterances == manifest.utterances


def test_media_are_files_inside_the_root(manifest: Manifest):
    media = [(u, path) for u in manifest.utterances for path in (u.audio, u.video) if path is not None]
    assert bool(media) == (manifest.root is not None)
    assert all(manifest.media_path(path).is_file() for _, path in media)
    for utterance in manifest.utterances:
        assert utterance.audio_span is None or utterance.audio is not None
        assert utterance.video_span is None or utterance.video is not None
        assert utterance.crop is None or utterance.video is not None


def test_defects_name_what_exists(manifest: Manifest):
    utterances = {u.id: u for u in manifest.utterances}
    dialogues = {d.id for d in manifest.dialogues()}
    for defect in manifest.defects:
        assert defect.ids
        assert defect.done
        for name in defect.ids:
            if name in utterances:
                assert defect.what in utterances[name].defects
            else:
                is_file = manifest.root is not None and (manifest.root / name.split(":")[0]).is_file()
                assert name in dialogues or name in SPLITS or is_file
    known = {defect.what for defect in manifest.defects}
    assert {what for u in manifest.utterances for what in u.defects} <= known


def test_missing_media_are_a_kind_of_defect(manifest: Manifest):
    kinds = {defect.what: defect.kind for defect in manifest.defects}
    for what in ("clip missing", "audio file missing", "sentence wav missing", "split without a folder of clips"):
        assert kinds.get(what, MISSING_MEDIA) == MISSING_MEDIA
    assert set(kinds.values()) <= {"", LEAK, MISSING_MEDIA}


def test_each_utterance_tells_its_line(manifest: Manifest):
    assert all(
        u.source and u.source.rsplit(":", 1)[1].isdigit() and not u.source.startswith("/") for u in manifest.utterances
    )


def utterance(clip: str) -> str:
    """Id of the utterance whose clip this is: ``train_splits/dia0_utt1.mp4`` -> ``train_dia0_utt1``."""
    folder, name = clip.split("/")
    split = next(split for split, clips in CLIPS.items() if clips == folder)
    return f"{split}_{name.removesuffix('.mp4')}"


@pytest.mark.slow
def test_every_defect_planted_in_the_toy_corpus_is_found(tmp_path: Path):
    from m2fnet.corpora.toy import write_toy

    planted = write_toy(tmp_path / "toy", seed=3, dialogues=(4, 2, 3), workers=1, progress=False).defects
    manifest = read_toy(tmp_path / "toy")
    found = {defect.what: set(defect.ids) for defect in manifest.defects}
    same = {
        "cp1252 bytes": "cp1252 bytes in the text",
        "hour with one digit": "hour written with one digit",
        "joint speaker": "joint speaker",
        "missing clip": "clip missing",
        "over-long clip": "span of 20 s or more",
        "zero-length span": "span of zero length or negative",
    }
    for name, what in same.items():
        assert found[what] == {utterance(clip) for clip in planted[name]}, name
    assert found["macOS ._ file"] | found["file that no row names"] == set(planted["surplus file"])
    for name, what in {
        "gap in Utterance_ID": "gap in the utterance numbers of a dialogue",
        "StartTime does not increase": "dialogue in which an utterance starts before the one it follows",
    }.items():
        assert found[what] == {utterance(clip).rsplit("_", 1)[0] for clip in planted[name]}, name
    leaked = {name for name in found["leak: same recording and times in another split"] if name.startswith("test")}
    assert leaked == {utterance(clip) for clip in planted["dialogue repeated across splits"]}
    assert len(found["dialogue before whose number one or more are skipped"]) == len(planted["gap in Dialogue_ID"])
