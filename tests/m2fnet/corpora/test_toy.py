import csv
import json
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest

from m2fnet.conversation.segments import read_segments
from m2fnet.corpora.toy import ToyTruth, planned_script, write_talk, write_toy
from m2fnet.corpora.toy_defects import FEWEST_DIALOGUES, plant
from m2fnet.corpora.toy_script import write_script
from m2fnet.errors import CorpusError, UsageError

FOLDERS = {"train": "train_splits", "dev": "dev_splits_complete", "test": "output_repeated_splits_test"}
SMALLEST = (3, 2, 3)
COLUMNS = "Sr No.,Utterance,Speaker,Emotion,Sentiment,Dialogue_ID,Utterance_ID,Season,Episode,StartTime,EndTime"


def write(root: Path, **settings) -> ToyTruth:
    return write_toy(root, **{"dialogues": SMALLEST, "workers": 1, "progress": False, **settings})


@pytest.fixture(scope="module")
def tree(tmp_path_factory) -> tuple[Path, ToyTruth]:
    root = tmp_path_factory.mktemp("toy") / "raw"
    return root, write(root)


@pytest.fixture(scope="module")
def clean(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("toy") / "clean"
    write(root, dialogues=(1, 1, 1), defects=False)
    return root


def table(root: Path, split: str) -> list[dict[str, str]]:
    content = (root / f"{split}_sent_emo.csv").read_bytes().decode("cp1252")
    return list(csv.DictReader(content.splitlines()))


def clip_of(split: str, row: dict[str, str]) -> str:
    return f"{FOLDERS[split]}/dia{row['Dialogue_ID']}_utt{row['Utterance_ID']}.mp4"


def rows_by_clip(root: Path) -> dict[str, dict[str, str]]:
    return {clip_of(split, row): row for split in FOLDERS for row in table(root, split)}


def seconds(clock: str) -> float:
    hours, minutes, rest = clock.replace(",", ".").split(":")
    return 3600 * int(hours) + 60 * int(minutes) + float(rest)


def decoded(path: Path) -> tuple[np.ndarray, np.ndarray]:
    with av.open(str(path)) as clip:
        pictures = np.stack([frame.to_ndarray(format="rgb24") for frame in clip.decode(video=0)])
    with av.open(str(path)) as clip:
        sound = np.concatenate([frame.to_ndarray() for frame in clip.decode(audio=0)], axis=1)
    return pictures, sound


def test_tables_have_melds_columns_line_ends_and_counts(tree):
    root, truth = tree
    for split in FOLDERS:
        raw = (root / f"{split}_sent_emo.csv").read_bytes()
        assert raw.count(b"\r\n") == raw.count(b"\n") == truth.utterances[split] + 1
        rows = table(root, split)
        assert raw.startswith(COLUMNS.encode() + b"\r\n")
        assert [row["Sr No."] for row in rows] == [str(n) for n in range(1, len(rows) + 1)]
        assert {row["Emotion"] for row in rows} <= {"neutral", "joy", "anger", "sadness", "surprise"}
        assert {row["Sentiment"] for row in rows} <= {"neutral", "positive", "negative"}
        assert len({row["Dialogue_ID"] for row in rows}) == dict(zip(FOLDERS, SMALLEST, strict=True))[split]


def test_a_clean_tree_has_one_sound_clip_of_the_right_length_per_row(clean):
    rows = rows_by_clip(clean)
    assert {str(path.relative_to(clean)) for path in clean.rglob("*.mp4")} == set(rows)
    for clip, row in rows.items():
        pictures, sound = decoded(clean / clip)
        with av.open(str(clean / clip)) as media:
            assert media.streams.video[0].codec.name == "h264"
            assert (media.streams.audio[0].codec.name, media.streams.audio[0].channels) == ("aac", 2)
            rate, fps = media.streams.audio[0].rate, float(media.streams.video[0].average_rate)
        span = seconds(row["EndTime"]) - seconds(row["StartTime"])
        assert 0.8 <= span <= 2.0
        assert sound.shape[1] / rate == pytest.approx(span, abs=0.15)
        assert len(pictures) / fps == pytest.approx(span, abs=0.1)
        assert np.abs(sound).max() > 0.01
        assert pictures.std() > 5


def test_a_clean_tree_has_no_defect_in_its_tables(clean):
    for split in FOLDERS:
        (clean / f"{split}_sent_emo.csv").read_bytes().decode("ascii")
        rows = table(clean, split)
        assert [row["Utterance_ID"] for row in rows] == [str(n) for n in range(len(rows))]
        starts = [seconds(row["StartTime"]) for row in rows]
        assert all(earlier < later for earlier, later in pairwise(starts))
        assert all(len(row["StartTime"]) == len("00:00:00,000") for row in rows)
    assert json.loads((clean / "toy.json").read_text())["defects"] == {}


def test_the_same_seed_gives_the_same_tables_and_the_same_media(clean, tmp_path):
    again = tmp_path / "again"
    write(again, dialogues=(1, 1, 1), defects=False)
    files = sorted(str(path.relative_to(clean)) for path in clean.rglob("*.*"))
    assert sorted(str(path.relative_to(again)) for path in again.rglob("*.*")) == files
    for name in files:
        if name.endswith(".mp4"):
            for one, other in zip(decoded(clean / name), decoded(again / name), strict=True):
                np.testing.assert_array_equal(one, other)
        else:
            assert (clean / name).read_bytes() == (again / name).read_bytes()


def test_another_seed_gives_another_corpus(clean, tmp_path):
    write(tmp_path / "other", dialogues=(1, 1, 1), defects=False, seed=1)
    for split in FOLDERS:
        name = f"{split}_sent_emo.csv"
        assert (clean / name).read_bytes() != (tmp_path / "other" / name).read_bytes()


@pytest.mark.slow  # worker processes take seconds to start
def test_worker_processes_write_what_one_process_writes(clean, tmp_path):
    write(tmp_path / "raw", dialogues=(1, 1, 1), defects=False, workers=2)
    for clip in rows_by_clip(clean):
        np.testing.assert_array_equal(decoded(clean / clip)[0], decoded(tmp_path / "raw" / clip)[0])


def test_missing_clips_are_absent_and_all_other_rows_have_one(tree):
    root, truth = tree
    absent = {clip for clip in rows_by_clip(root) if not (root / clip).exists()}
    assert absent == set(truth.defects["missing clip"])
    assert {clip.split("/")[0] for clip in absent} == set(FOLDERS.values())


def test_undecodable_clips_cannot_be_opened(tree):
    root, truth = tree
    assert {clip.split("/")[0] for clip in truth.defects["undecodable clip"]} == set(FOLDERS.values())
    for clip in truth.defects["undecodable clip"]:
        with pytest.raises(av.error.InvalidDataError):
            av.open(str(root / clip))


def test_old_encoding_is_in_every_table_and_no_valid_utf8(tree):
    root, truth = tree
    found = b""
    for split in FOLDERS:
        raw = (root / f"{split}_sent_emo.csv").read_bytes()
        with pytest.raises(UnicodeDecodeError):
            raw.decode("utf-8")
        found += raw
    assert set(found) & {0x85, *range(0x91, 0x98), 0xA0} >= {0xA0}
    rows = rows_by_clip(root)
    assert all(not rows[clip]["Utterance"].isascii() for clip in truth.defects["cp1252 bytes"])
    assert all(rows[clip]["Utterance"].isascii() for clip in set(rows) - set(truth.defects["cp1252 bytes"]))


def test_ids_have_the_gaps_that_are_named(tree):
    root, truth = tree
    assert len(truth.defects["gap in Utterance_ID"]) == len(FOLDERS)
    for split, folder in FOLDERS.items():
        ids: dict[str, list[int]] = {}
        for row in table(root, split):
            ids.setdefault(row["Dialogue_ID"], []).append(int(row["Utterance_ID"]))
        gaps = {
            f"{folder}/dia{dialogue}_utt{absent}.mp4"
            for dialogue, found in ids.items()
            for absent in set(range(max(found))) - set(found)
        }
        assert gaps == {clip for clip in truth.defects["gap in Utterance_ID"] if clip.startswith(folder)}
    dialogues = {int(row["Dialogue_ID"]) for row in table(root, "train")}
    (absent,) = set(range(max(dialogues))) - dialogues
    assert truth.defects["gap in Dialogue_ID"] == (f"train_splits/dia{absent}",)


def test_times_have_the_defects_that_are_named(tree):
    root, truth = tree
    found: dict[str, set[str]] = {name: set() for name in ("zero", "long", "backwards", "digit")}
    for split in FOLDERS:
        before: dict[str, str] = {}
        for row in table(root, split):
            start, end = seconds(row["StartTime"]), seconds(row["EndTime"])
            if row["Utterance_ID"] != "0" and start <= seconds(before["StartTime"]):
                found["backwards"].add(clip_of(split, row))
            if start == end:
                found["zero"].add(clip_of(split, row))
            if end - start > 100:
                found["long"].add(clip_of(split, row))
            if row["StartTime"][1] == ":":
                found["digit"].add(clip_of(split, row))
            before = row
    assert found["zero"] == set(truth.defects["zero-length span"])
    assert found["long"] == set(truth.defects["over-long clip"])
    assert found["backwards"] == set(truth.defects["StartTime does not increase"])
    assert found["digit"] == set(truth.defects["hour with one digit"])
    assert all(found.values())


def test_over_long_clips_are_longer_than_any_other_and_yet_small(tree):
    root, truth = tree
    for clip in truth.defects["over-long clip"]:
        with av.open(str(root / clip)) as media:
            assert 3.5 < media.duration / av.time_base < 5
        assert (root / clip).stat().st_size < 200_000


def test_a_joint_speaker_speaks_in_every_split(tree):
    root, truth = tree
    together = {clip for clip, row in rows_by_clip(root).items() if row["Speaker"] == "All"}
    assert together == set(truth.defects["joint speaker"])
    assert {clip.split("/")[0] for clip in together} == set(FOLDERS.values())


def test_surplus_files_are_what_the_real_archives_hold(tree):
    root, truth = tree
    surplus = {str(path.relative_to(root)) for path in root.rglob("*.mp4")} - set(rows_by_clip(root))
    assert surplus == set(truth.defects["surplus file"])
    hidden = [name for name in surplus if "/._" in name]
    assert {name.split("/")[0] for name in hidden} == set(FOLDERS.values())
    assert all((root / name).read_bytes().startswith(b"\x00\x05\x16\x07") for name in hidden)
    (copied,) = surplus - set(hidden)
    assert Path(copied).name.startswith("final_videos_testdia")
    assert len(decoded(root / copied)[0]) > 0


def test_one_test_dialogue_is_a_training_dialogue_once_more(tree):
    root, truth = tree

    def moment(row: dict[str, str]) -> tuple[object, ...]:
        return row["Season"], row["Episode"], row["Emotion"], seconds(row["StartTime"]), seconds(row["EndTime"])

    known = {moment(row) for row in table(root, "train")}
    repeated = {clip_of("test", row) for row in table(root, "test") if moment(row) in known}
    assert repeated == set(truth.defects["dialogue repeated across splits"])


def test_the_smallest_corpus_has_room_for_every_defect_whatever_the_seed():
    for seed in range(60):
        rng = np.random.default_rng(seed)
        script, planted = plant(write_script(dict(FEWEST_DIALOGUES), rng), rng)
        assert len(planted) == 12
        assert all(planted.values())
        singular = ("missing clip", "undecodable clip", "over-long clip", "zero-length span", "joint speaker")
        struck = [clip for what in singular for clip in planted[what]]
        assert len(set(struck)) == len(struck)
        assert set(struck) <= {line.clip for scenes in script.values() for scene in scenes for line in scene}


def test_an_existing_toy_tree_is_reused(tree):
    root, truth = tree
    written = {path: path.stat().st_mtime_ns for path in root.rglob("*")}
    assert write(root) == truth
    assert {path: path.stat().st_mtime_ns for path in root.rglob("*")} == written


def test_a_toy_tree_of_other_settings_is_refused(tree):
    with pytest.raises(CorpusError, match=r"toy corpus of other settings.*'seed': 0.*expected.*'seed': 7.*remove this"):
        write(tree[0], seed=7)


def test_a_folder_with_something_else_is_refused_and_kept(tmp_path):
    (tmp_path / "letter.txt").write_text("dear")
    with pytest.raises(CorpusError, match=r"already holds something else than a toy corpus; nothing was written"):
        write(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["letter.txt"]


def test_an_empty_folder_is_filled(tmp_path):
    write(tmp_path, dialogues=(1, 1, 1), defects=False)
    assert (tmp_path / "train_sent_emo.csv").is_file()


def test_a_failure_leaves_nothing_behind(tmp_path, monkeypatch):
    def fail(path, shot):
        raise OSError("No space left on device")

    monkeypatch.setattr("m2fnet.corpora.toy.shoot", fail)
    with pytest.raises(OSError, match="No space"):
        write(tmp_path / "raw", dialogues=(1, 1, 1), defects=False)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("dialogues", "defects"), [((0, 1, 1), False), ((3, 1, 3), True)])
def test_too_few_dialogues_are_refused(tmp_path, dialogues, defects):
    with pytest.raises(UsageError, match=r"asked for with . train, 1 dev, . test dialogues; expected at least"):
        write(tmp_path / "raw", dialogues=dialogues, defects=defects)
    assert not (tmp_path / "raw").exists()


def test_the_talk_is_a_conversation_that_the_corpus_lacks_with_its_subtitles(clean, tmp_path):
    write_talk(tmp_path / "talk.mp4", clean)
    cues = read_segments(tmp_path / "talk.srt")
    speakers = {cue.speaker for cue in cues}
    said = {line.text for scenes in planned_script(clean).values() for scene in scenes for line in scene}
    assert len(cues) > 2
    assert len(speakers) > 1
    assert not {cue.text for cue in cues} <= said
    with av.open(str(tmp_path / "talk.mp4")) as clip:
        assert clip.duration / 1e6 == pytest.approx(cues[-1].end_s, abs=0.1)
    assert [cue.start_s for cue in cues[1:]] == [cue.end_s for cue in cues[:-1]]
