import os
import re
from pathlib import Path

import pytest
from fake_corpora import MELD_HEADER, meld_row, to_csv, write_meld
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from m2fnet.corpora.label_sets import MELD
from m2fnet.corpora.meld import COUNTS, read_meld
from m2fnet.errors import CorpusError, ManifestError
from m2fnet.manifest import Manifest


def defects_of(manifest: Manifest) -> dict[str, tuple[str, ...]]:
    return {defect.what: defect.ids for defect in manifest.defects}


def by_id(manifest: Manifest) -> dict[str, object]:
    return {u.id: u for u in manifest.utterances}


def test_a_row_becomes_an_utterance_with_its_clip(tmp_path: Path):
    root = write_meld(tmp_path)
    manifest = read_meld(root, partial=True)
    utterance = by_id(manifest)["train_dia1_utt2"]
    assert (utterance.split, utterance.dialogue, utterance.index) == ("train", "train_dia1", 2)
    assert (utterance.speaker, utterance.text, utterance.label) == ("Ross", "Utterance 1-2, really", "anger")
    assert (utterance.start_s, utterance.end_s) == (20.0, 23.0)
    assert utterance.audio == utterance.video == "train_splits/dia1_utt2.mp4"
    assert utterance.audio_span is utterance.video_span is None
    assert utterance.source == "train_sent_emo.csv:7"
    assert manifest.root == root
    assert manifest.media_path(utterance.audio).read_bytes() == b"clip"
    assert manifest.label_set == MELD
    assert manifest.defects == ()


def test_published_counts_add_up():
    totals = {split: sum(counts["labels"].values()) for split, counts in COUNTS.items()}
    assert totals == {split: counts["utterances"] for split, counts in COUNTS.items()}


def test_other_counts_than_published_need_partial(tmp_path: Path):
    with pytest.raises(CorpusError, match=r"train has 6 utterances, expected 9989 utterances.*--partial"):
        read_meld(write_meld(tmp_path))


def test_csv_files_without_clips_give_a_text_manifest_and_one_line_of_report(tmp_path: Path):
    manifest = read_meld(write_meld(tmp_path, clips=False), partial=True)
    assert manifest.root is None
    assert all(u.audio is u.video is None and u.text for u in manifest.utterances)
    assert defects_of(manifest) == {"split without a folder of clips": ("train", "dev", "test")}


def test_clips_and_tables_are_found_where_the_archives_unpack_them(tmp_path: Path):
    root = write_meld(tmp_path)
    for split, folder in (("train", "train_splits"), ("dev", "dev_splits_complete")):
        (root / split).mkdir()
        (root / folder).rename(root / split / folder)
        (root / f"{split}_sent_emo.csv").rename(root / split / f"{split}_sent_emo.csv")
    manifest = read_meld(root, partial=True)
    assert by_id(manifest)["dev_dia10_utt0"].video == "dev/dev_splits_complete/dia10_utt0.mp4"
    assert manifest.defects == ()


def test_utterances_are_in_the_order_of_their_numbers_and_gaps_are_closed(tmp_path: Path):
    rows = [meld_row(3, n) for n in (4, 0, 2)]
    manifest = read_meld(write_meld(tmp_path, {"dev": rows}), partial=True)
    (dialogue,) = manifest.dialogues("dev")
    assert [(u.id, u.index) for u in dialogue.utterances] == [
        ("dev_dia3_utt0", 0),
        ("dev_dia3_utt2", 1),
        ("dev_dia3_utt4", 2),
    ]
    assert defects_of(manifest)["gap in the utterance numbers of a dialogue"] == ("dev_dia3",)


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (b"It\x92s \x93fine\x94\x85", "It’s “fine”…"),
        ("It’s ".encode() + b"\x96 \x91so\x92", "It’s – ‘so’"),
        (b"caf\xe9", "café"),
    ],
)
def test_cp1252_bytes_are_repaired_also_next_to_utf8(tmp_path: Path, raw: bytes, text: str):
    root = write_meld(tmp_path, {"test": [meld_row(21, 0, Utterance="HERE"), meld_row(21, 1, Utterance="it’s whole")]})
    table = root / "test_sent_emo.csv"
    table.write_bytes(table.read_bytes().replace(b"HERE", raw))
    manifest = read_meld(root, partial=True)
    assert [u.text for u in manifest.dialogues("test")[0].utterances] == [text, "it’s whole"]
    assert defects_of(manifest) == {"cp1252 bytes in the text": ("test_dia21_utt0",)}
    assert by_id(manifest)["test_dia21_utt0"].defects == ("cp1252 bytes in the text",)


def test_odd_times_are_read_and_counted(tmp_path: Path):
    rows = [
        meld_row(5, 0, StartTime="0:59:59,900", EndTime="01:00:02,28"),
        meld_row(5, 1, StartTime="00:10:00,500", EndTime="00:10:00,500"),
        meld_row(5, 2, StartTime="00:10:01,000", EndTime="00:10:01,499"),
        meld_row(5, 3, StartTime="00:11:00,000", EndTime="00:11:20,000"),
    ]
    manifest = read_meld(write_meld(tmp_path, {"train": rows}), partial=True)
    assert (by_id(manifest)["train_dia5_utt0"].start_s, by_id(manifest)["train_dia5_utt0"].end_s) == (3599.9, 3602.28)
    assert defects_of(manifest) == {
        "hour written with one digit": ("train_dia5_utt0",),
        "fewer than three digits after the seconds": ("train_dia5_utt0",),
        "span of zero length or negative": ("train_dia5_utt1",),
        "span below 0.5 s": ("train_dia5_utt1", "train_dia5_utt2"),
        "span of 20 s or more": ("train_dia5_utt3",),
        "dialogue in which an utterance starts before the one it follows": ("train_dia5",),
    }


def test_unusable_clips_lose_sound_and_picture_but_keep_their_text(tmp_path: Path):
    rows = [meld_row(125, n) for n in range(6)]
    root = write_meld(tmp_path, {"train": rows})
    folder = root / "train_splits"
    (folder / "dia125_utt0.mp4").unlink()
    (folder / "dia125_utt1.mp4").write_bytes(b"")
    (folder / "dia125_utt2.mp4").unlink()
    (folder / "dia125_utt2.mp4").mkdir()
    outside = tmp_path / "outside.mp4"
    outside.write_bytes(b"not of this corpus")
    (folder / "dia125_utt4.mp4").unlink()
    (folder / "dia125_utt4.mp4").symlink_to(outside)
    manifest = read_meld(root, partial=True)
    assert defects_of(manifest) == {
        "clip missing": ("train_dia125_utt0",),
        "clip empty": ("train_dia125_utt1",),
        "clip not a plain file": ("train_dia125_utt2",),
        "clip known to be unusable": ("train_dia125_utt3",),
        "clip a link that leaves the corpus folder": ("train_dia125_utt4",),
    }
    utterances = manifest.dialogues("train")[0].utterances
    assert [u.audio is not None for u in utterances] == [False] * 5 + [True]
    assert all(u.text and u.label for u in utterances)


def test_files_that_no_row_names_are_counted_and_ignored(tmp_path: Path):
    root = write_meld(tmp_path)
    for name in ("._dia20_utt0.mp4", "final_videos_testdia20_utt0.mp4", "dia99_utt0.mp4"):
        (root / "output_repeated_splits_test" / name).write_bytes(b"x")
    found = defects_of(read_meld(root, partial=True))
    assert found == {
        "macOS ._ file": ("output_repeated_splits_test/._dia20_utt0.mp4",),
        "file that no row names": (
            "output_repeated_splits_test/dia99_utt0.mp4",
            "output_repeated_splits_test/final_videos_testdia20_utt0.mp4",
        ),
    }


def test_repeats_and_leaks_are_reported_and_kept(tmp_path: Path):
    scene = {"Season": 8, "Episode": 4}
    rows = {
        "train": [meld_row(1, 0, **scene, Utterance="Hi"), meld_row(2, 0, **scene, Utterance="Hi", Emotion="anger")],
        "dev": [meld_row(3, 1, **scene)],
        "test": [meld_row(4, 0, **scene, Utterance="Other words", StartTime="0:00:00,000")],
    }
    manifest = read_meld(write_meld(tmp_path, rows), partial=True)
    found = defects_of(manifest)
    leaked = found["leak: same recording and times in another split"]
    assert sorted(leaked) == ["test_dia4_utt0", "train_dia1_utt0", "train_dia2_utt0"]
    assert found["row repeated word for word in its split"] == ("train_dia2_utt0",)
    assert found["repeated row with another emotion"] == ("train_dia2_utt0",)
    assert len(manifest.utterances) == 4


def test_damage_to_the_text_that_cannot_be_repaired_is_counted(tmp_path: Path):
    texts = ["I dont know", "I don’t know", "caf\ufffd", ""]
    rows = [meld_row(12, n, Utterance=text) for n, text in enumerate(texts)]
    manifest = read_meld(write_meld(tmp_path, {"dev": rows}), partial=True)
    assert defects_of(manifest) == {
        "characters lost (U+FFFD)": ("dev_dia12_utt2",),
        "apostrophe lost": ("dev_dia12_utt0",),
        "no text": ("dev_dia12_utt3",),
    }
    assert [u.text for u in manifest.dialogues("dev")[0].utterances] == [*texts[:3], None]


def test_a_pipe_in_place_of_a_table_is_refused(tmp_path: Path):
    root = write_meld(tmp_path)
    (root / "dev_sent_emo.csv").unlink()
    os.mkfifo(root / "dev_sent_emo.csv")
    with pytest.raises(CorpusError, match=r"dev_sent_emo.csv is not a plain file"):
        read_meld(root, partial=True)


def test_joint_speakers_are_reported(tmp_path: Path):
    names = ["All", "Joey and Chandler", "Andy", "Phoebe/Waitress"]
    manifest = read_meld(
        write_meld(tmp_path, {"dev": [meld_row(1, n, Speaker=s) for n, s in enumerate(names)]}), partial=True
    )
    assert defects_of(manifest)["joint speaker"] == ("dev_dia1_utt0", "dev_dia1_utt1", "dev_dia1_utt3")


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        ({"Emotion": "bliss"}, r"test_sent_emo.csv:2: Emotion is 'bliss', expected one of neutral, surprise"),
        ({"StartTime": "12:00"}, r"test_sent_emo.csv:2: StartTime is '12:00', expected HH:MM:SS,mmm"),
        ({"StartTime": "00:61:00,000"}, r"expected HH:MM:SS,mmm"),
        ({"Dialogue_ID": "-1"}, r"test_sent_emo.csv:2: Dialogue_ID is '-1', expected a whole number"),
        ({"Utterance_ID": "٣"}, r"Utterance_ID is '٣', expected a whole number"),
        ({"Utterance": "a\0b"}, r"test_sent_emo.csv:2 holds a NUL byte"),
        ({"Utterance": "x" * 200_000}, r"test_sent_emo.csv:2 is not valid CSV: field larger than field limit"),
    ],
)
def test_a_bad_cell_is_refused_with_file_and_line(tmp_path: Path, cells: dict[str, str], message: str):
    with pytest.raises(CorpusError, match=message):
        read_meld(write_meld(tmp_path, {"test": [meld_row(0, 0, **cells)]}), partial=True)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (b"", r"dev_sent_emo.csv is empty"),
        (to_csv([MELD_HEADER]), r"dev_sent_emo.csv holds no row"),
        (to_csv([MELD_HEADER[:-1], meld_row(0, 0)[:-1]]), r"dev_sent_emo.csv:1 lacks the column 'EndTime'"),
        (to_csv([[*MELD_HEADER, "Speaker"], [*meld_row(0, 0), "x"]]), r"dev_sent_emo.csv:1 names a column twice"),
        (to_csv([MELD_HEADER, meld_row(0, 0), meld_row(0, 1)[:4]]), r"dev_sent_emo.csv:3 has 4 cells, expected 11"),
        (to_csv([MELD_HEADER, meld_row(0, 0), meld_row(0, 0)]), r"dev_sent_emo.csv:3 is utterance 0 .*csv:2"),
        (to_csv([MELD_HEADER]) + b'1,"open', r"dev_sent_emo.csv:2 is not valid CSV"),
        (to_csv([MELD_HEADER, meld_row(0, 0, Utterance="Q")]).replace(b"Q", b"\x81"), r"csv:2 holds bytes .* cp1252"),
    ],
)
def test_a_bad_table_is_refused_with_file_and_line(tmp_path: Path, table: bytes, message: str):
    root = write_meld(tmp_path)
    (root / "dev_sent_emo.csv").write_bytes(table)
    with pytest.raises(CorpusError, match=message):
        read_meld(root, partial=True)


def test_a_folder_that_is_not_meld_gets_the_expected_tree(tmp_path: Path):
    with pytest.raises(CorpusError, match=r"has no train_sent_emo.csv. Expected this tree:\nMELD.Raw/"):
        read_meld(tmp_path)
    with pytest.raises(CorpusError, match=r"absent is not a folder"):
        read_meld(tmp_path / "absent")
    root = write_meld(tmp_path)
    (root / "dev_sent_emo.csv").unlink()
    with pytest.raises(CorpusError, match=re.escape("has no dev_sent_emo.csv")):
        read_meld(root)
    assert {u.split for u in read_meld(root, partial=True).utterances} == {"train", "test"}


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(body=st.binary(max_size=300), keeps_header=st.booleans())
def test_random_bytes_never_raise_anything_else(tmp_path: Path, body: bytes, keeps_header: bool):
    header = to_csv([MELD_HEADER, meld_row(0, 0)]) if keeps_header else b""
    (tmp_path / "test_sent_emo.csv").write_bytes(header + body)
    try:
        manifest = read_meld(tmp_path, partial=True)
    except (CorpusError, ManifestError):
        return
    assert manifest.utterances
