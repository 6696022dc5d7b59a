from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from fake_other_corpora import (
    MOSEI_TOKENS,
    mosei_frames,
    write_mosei_aligned,
    write_mosei_mmsa,
    write_mosei_unaligned,
)

from m2fnet.cli import run
from m2fnet.corpora.mosei import COUNTS, TEST_LABELS, read_mosei
from m2fnet.errors import CorpusError, UnsafePickleError
from m2fnet.manifest import Manifest
from m2fnet.store.reader import Store

SETS = {
    "train_0": ("happy",),
    "train_1": ("happy", "surprise"),
    "train_2": (),
    "dev_0": ("sad", "fear"),
    "test_0": ("disgust",),
    "test_1": (),
}


@pytest.mark.parametrize("is_zip", [True, False])
def test_aligned_samples_have_label_sets_and_frames_without_padding(tmp_path: Path, is_zip: bool):
    prepared = read_mosei(write_mosei_aligned(tmp_path, is_zip=is_zip), "aligned", partial=True)
    manifest = prepared.manifest
    assert {u.id: u.labels for u in manifest.utterances} == SETS
    assert [u.source for u in manifest.utterances][:2] == ["train_valid_test.pt:train:0", "train_valid_test.pt:train:1"]
    streams = prepared.streams
    assert {name: stream.width for name, stream in streams.items()} == {"text": 4, "audio": 3, "visual": 2}
    frames = streams["audio"].frames("train_0")
    assert frames is not None
    assert frames.tolist() == [[1, 1, 1], [1, 1, 0], [1, 1, 1]]  # -inf became 0, two frames of padding went
    visual = streams["visual"].frames("train_1")
    assert visual is not None
    assert visual.tolist() == [[2, 2], [2, 2], [0, 0]]  # as long as the text, because the frames are aligned
    assert {d.what: d.ids for d in manifest.defects} == {"audio with -inf": ("train_0", "dev_0", "test_0")}


def test_padding_is_kept_where_asked_for(tmp_path: Path):
    streams = read_mosei(write_mosei_aligned(tmp_path), "aligned", partial=True, padded=True).streams
    frames = [streams[name].frames("test_1") for name in ("text", "audio", "visual")]
    assert [len(matrix) for matrix in frames if matrix is not None] == [5, 5, 5]


def test_unaligned_frames_get_the_label_sets_of_the_same_rows(tmp_path: Path):
    root = write_mosei_unaligned(write_mosei_aligned(tmp_path))
    prepared = read_mosei(root, "unaligned", partial=True)
    utterances = {u.id: u for u in prepared.manifest.utterances}
    assert {name: u.labels for name, u in utterances.items()} == SETS
    assert [d.id for d in prepared.manifest.dialogues()] == ["train_video", "valid_video", "test_video"]
    # the file's order is 9, 8, 7 seconds; in the video it is the other way round
    assert [u.id for u in prepared.manifest.dialogues("train")[0].utterances] == ["train_2", "train_1", "train_0"]
    assert (utterances["train_0"].start_s, utterances["train_0"].end_s) == (9.0, 10.0)
    frames = {name: stream.frames("train_1") for name, stream in prepared.streams.items()}
    assert {name: matrix.shape for name, matrix in frames.items() if matrix is not None} == {
        "text": (3, 4),
        "audio": (6, 3),
        "visual": (7, 2),
    }
    (tmp_path / "mosei_senti_data_noalign.pkl").unlink()
    plain = read_mosei(write_mosei_unaligned(tmp_path, ids=False), "unaligned", partial=True).manifest
    assert {u.id: (u.labels, u.dialogue) for u in plain.utterances} == {name: (SETS[name], name) for name in SETS}


def test_files_with_different_numbers_of_rows_are_not_joined(tmp_path: Path):
    def without_audio(content):
        content["valid"]["audio"] = content["valid"]["audio"][:0]

    root = write_mosei_unaligned(write_mosei_aligned(tmp_path), change=without_audio)
    with pytest.raises(CorpusError, match=r"has 0 rows of audio for 'valid', but there are 1 label sets"):
        read_mosei(root, "unaligned", partial=True)


@pytest.mark.parametrize("name", ["unaligned", "aligned"])
def test_mmsa_is_joined_with_the_table_by_video_and_clip(tmp_path: Path, name: str):
    root = write_mosei_mmsa(tmp_path, name=f"{name}_50.pkl")
    prepared = read_mosei(root, f"mmsa-{name}", partial=True)  # type: ignore[arg-type]
    train = prepared.manifest.dialogues("train")[0]
    assert [(u.id, u.text, u.labels) for u in train.utterances] == [
        ("train_v_1", "Words 2", ()),
        ("train_v_2", "Words 1", ("happy", "surprise")),
        ("train_v_3", "Words 0", ("happy",)),
    ]
    note = prepared.manifest.annotations["train_v_2"]
    assert note.values["surprise"] == pytest.approx(0.6666)
    assert note.values["sentiment"] == -1.5
    frames = [prepared.streams[modality].frames("train_v_2") for modality in ("text", "audio", "visual")]
    expected = [4, 6, 7] if name == "unaligned" else [5, 7, 7]  # by BERT's mask and the lists of lengths
    assert [len(matrix) for matrix in frames if matrix is not None] == expected


def test_a_clip_without_a_row_in_the_table_is_refused(tmp_path: Path):
    root = write_mosei_mmsa(tmp_path)
    lines = (root / "label.csv").read_text().splitlines()
    (root / "label.csv").write_text("\n".join(lines[:-1]) + "\n")
    with pytest.raises(CorpusError, match=r"unaligned_50.pkl:test:1 is the clip 'test_v\$_\$1', of which .*label.csv"):
        read_mosei(root, "mmsa-unaligned", partial=True)


def test_a_table_of_sentiments_has_no_label_sets(tmp_path: Path):
    (tmp_path / "label.csv").write_text("video_id,clip_id,text,label,mode\nv,1,Hm,0.3,train\n")
    with pytest.raises(CorpusError, match="no column for happy, sad, anger, surprise, disgust, fear"):
        read_mosei(tmp_path, "labels", partial=True)


def test_raw_rows_of_several_raters_with_times(tmp_path: Path):
    header = "file,index,start,end,split,happiness,sadness,anger,surprise,disgust,fear\n"
    rows = [
        "v,1,-0.457,1.78,0,0,1,0,0,0,0",
        "v,1,-0.457,1.78,0,0,0,0,0,3,0",
        "v,0,2.5,4,0,0,0,0,0,0,0",
        "w,0,1,2,2,,,,,,",
        "x,0,1,2,3,1,0,0,0,0,0",
    ]
    (tmp_path / "label.csv").write_text(header + "\n".join(rows) + "\n")
    manifest = read_mosei(tmp_path, "labels", partial=True).manifest
    found = {u.id: (u.labels, u.start_s, u.end_s, u.index) for u in manifest.utterances}
    assert found == {
        "v_1": (("sad", "disgust"), 0.0, 1.78, 0),
        "v_0": ((), 2.5, 4.0, 1),
        "w_0": (None, 1.0, 2.0, 0),
    }
    assert manifest.annotations["v_1"].votes == {"raters": {"sad": 1, "disgust": 1}}
    assert manifest.annotations["v_1"].values["disgust"] == 1.5
    assert {d.what: d.ids for d in manifest.defects} == {
        "segment that starts before its video": ("v_1",),
        "segment in no official split": ("label.csv:6",),
    }


def test_exchanged_names_in_the_file_are_detected(tmp_path: Path):
    names = {"Happy": 4, "Sad": 5, "Anger": 6, "fear": 7, "disgust": 8, "surprise": 9}
    manifest = read_mosei(write_mosei_aligned(tmp_path, names=names), "aligned", partial=True).manifest
    assert {u.id: u.labels for u in manifest.utterances} == SETS
    assert manifest.defects[0].what == "train_valid_test.pt exchanges the names of surprise and fear"


def test_exchanged_columns_of_a_table_are_detected_by_the_published_counts(tmp_path: Path):
    lines = ["video_id,clip_id,mode,happy,sad,anger,surprise,disgust,fear"]
    supports = {"happy": 1, "sad": 1, "anger": 0, "surprise": 385, "disgust": 0, "fear": 441}
    for emotion, number in supports.items():
        cells = ",".join("1" if name == emotion else "0" for name in supports)
        lines += [f"{emotion},{clip},test,{cells}" for clip in range(number)]
    (tmp_path / "label.csv").write_text("\n".join(lines) + "\n")
    manifest = read_mosei(tmp_path, "labels", partial=True).manifest
    labels = manifest.counts()["test"]["labels"]
    assert (labels["surprise"], labels["fear"]) == (441, 385)
    assert manifest.annotations["surprise_0"].values["fear"] == 1
    assert "names of surprise and fear exchanged, by their published counts" in [d.what for d in manifest.defects]


def test_the_published_counts_agree_with_the_published_sizes_of_the_label_sets():
    # test rows with 0 to 6 emotions, counted on the file by its users
    sizes = {0: 702, 1: 2280, 2: 1133, 3: 410, 4: 114, 5: 19, 6: 1}
    assert sum(sizes.values()) == COUNTS["test"]["utterances"]
    assert sum(size * rows for size, rows in sizes.items()) == sum(TEST_LABELS.values())


def test_other_counts_need_partial(tmp_path: Path):
    with pytest.raises(CorpusError, match=r"train has 3 utterances, expected 16326 utterances.*--partial"):
        read_mosei(write_mosei_aligned(tmp_path), "aligned")


@pytest.mark.slow
def test_a_whole_corpus_of_the_published_counts_passes(tmp_path: Path):
    """Rows with the published numbers of every split and emotion, one frame each."""
    left = Counter({4: 2502, 5: 1129, 6: 1071, 7: 441, 8: 805, 9: 385})
    sets = [[2, token, 3] for token in left.elements()][: 4659 - 702]
    rest = list(left.elements())[len(sets) :]
    for place, token in enumerate(rest):
        sets[place] = [2, 4, token, 3] if token != 4 else sets[place]
    sets += [[2, 3]] * 702
    frame = np.ones((1, 2), np.float32)
    content = {
        split: {f"src-{m}": [frame] * len(rows) for m in ("text", "audio", "visual")} | {"tgt": rows}
        for split, rows in {"train": [[2, 3]] * 16_326, "valid": [[2, 3]] * 1871, "test": sets}.items()
    }
    torch.save(content, tmp_path / "train_valid_test.pt")
    manifest = read_mosei(tmp_path, "aligned").manifest
    assert Counter(len(u.labels or ()) for u in manifest.utterances if u.split == "test")[0] == 702
    content["test"]["tgt"][0] = [2, 3]
    torch.save(content, tmp_path / "train_valid_test.pt")
    with pytest.raises(CorpusError, match="test has 2501 happy"):
        read_mosei(tmp_path, "aligned")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"tgt": [[2, 10, 3], [2, 3], [2, 3]]}, r"pt:train:0 has the tokens \[2, 10, 3\]; expected 2, the emotions"),
        ({"tgt": [[4], [2, 3], [2, 3]]}, r"train:0 has the tokens"),
        ({"tgt": 3}, r"has a int for train/tgt"),
        ({"src-audio": mosei_frames(2, 5, 3, 3)}, r"has 2 rows of src-audio for 'train', but there are 3"),
        ({"src-audio": [np.zeros((5, 3)), np.zeros((5, 2)), np.zeros((5, 3))]}, r"audio of width 2 for train_1"),
        ({"src-audio": [np.zeros(5)] * 3}, r"audio of shape \(5,\)"),
    ],
)
def test_what_does_not_fit_is_named(tmp_path: Path, change: dict[str, object], message: str):
    write_mosei_aligned(tmp_path, change=lambda content: content["train"].update(change))
    with pytest.raises(CorpusError, match=message):
        read_mosei(tmp_path, "aligned", partial=True)


def test_a_modality_of_zeros_is_missing_and_one_array_cannot_fill_the_disk(tmp_path: Path):
    def without_a_picture(content):
        content["train"]["src-visual"][1][:] = 0

    write_mosei_aligned(tmp_path, change=without_a_picture)
    prepared = read_mosei(tmp_path, "aligned", partial=True)
    assert prepared.streams["visual"].frames("train_1") is None
    assert {d.what: d.ids for d in prepared.manifest.defects}["visual has no frame but padding"] == ("train_1",)

    def with_one_array_very_often(content):
        for part in ("train", "valid", "test"):
            large = np.ones((3000, 3), np.float32)
            content[part] = {f"src-{m}": [large] * 500 for m in ("text", "audio", "visual")} | {"tgt": [[2, 3]] * 500}

    write_mosei_aligned(tmp_path, change=with_one_array_very_often)
    with pytest.raises(CorpusError, match="one array occurs very often"):
        read_mosei(tmp_path, "aligned", partial=True)


def test_a_hostile_file_is_refused(tmp_path: Path):
    write_mosei_mmsa(tmp_path)
    (tmp_path / "Processed/unaligned_50.pkl").write_bytes(b"cos\nsystem\n(S'touch pwned'\ntR.")
    with pytest.raises(UnsafePickleError, match=r"os\.system"):
        read_mosei(tmp_path, "mmsa-unaligned", partial=True)


def test_the_command_writes_stores_of_sequences(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    root, out = write_mosei_aligned(tmp_path), tmp_path / "data"
    arguments = ["prepare", "mosei", "--root", str(root), "--out", str(out), "--partial"]
    assert run(arguments) == 0
    manifest = Manifest.load(out)
    ids = [u.id for u in manifest.utterances]
    store = Store(out / "audio")
    assert store.sequences(ids).lengths.tolist() == [3] * len(ids)
    assert len(ids) == sum(map(len, MOSEI_TOKENS.values()))
    assert run(arguments) == 2
    assert "already holds a store" in capsys.readouterr().err
    assert run([*arguments, "--overwrite", "--keep-padding"]) == 0
    assert Store(out / "audio").sequences(ids).lengths.tolist() == [5] * len(ids)
