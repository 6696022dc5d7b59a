from pathlib import Path

import numpy as np
import pytest
from fake_other_corpora import write_mer2024

from m2fnet.cli import run
from m2fnet.corpora.mer import YEARS, read_mer
from m2fnet.corpora.mer_labels import read_label_npz
from m2fnet.errors import CorpusError, UnsafePickleError, UsageError
from m2fnet.manifest import Manifest

MER2024 = YEARS["mer2024"]


def test_labelled_clips_have_emotion_valence_text_and_media(tmp_path: Path):
    manifest = read_mer(write_mer2024(tmp_path), MER2024, partial=True)
    splits = {split: [u.id[-2:] for u in manifest.utterances if u.split == split] for split in ("train", "dev", "test")}
    assert splits["dev"] == ["09"]  # every tenth
    assert len(splits["train"]) == 11
    assert splits["test"] == ["12", "13"]  # the candidates, whose labels nobody has
    first = manifest.utterances[0]
    assert (first.label, first.text, first.video) == ("neutral", "你好", "video-labeled/sample_00000000.mp4")
    assert first.audio == "audio/sample_00000000.wav"
    assert manifest.annotations["sample_00000004"].values == {"valence": -1.0}
    assert {u.label for u in manifest.utterances if u.split == "test"} == {None}


def test_the_pool_is_unlabelled_and_has_no_clip_of_the_test_track(tmp_path: Path):
    manifest = read_mer(write_mer2024(tmp_path), MER2024, pool=True, language="english", partial=True)
    pool = [u for u in manifest.utterances if u.split == "train" and u.label is None]
    assert [u.id[-2:] for u in pool] == ["14", "15", "16"]
    assert pool[0].text == "Hello 14"
    assert manifest.counts()["train"] == {**manifest.counts()["train"], "utterances": 14, "labelled": 11}


def test_the_reference_labels_come_before_the_candidates(tmp_path: Path):
    root = write_mer2024(tmp_path)
    (root / "reference-semi.csv").write_text("name,discrete\nsample_00000012,worried\nsample_00000003,sad\n")
    manifest = read_mer(root, MER2024, partial=True)
    assert [(u.id[-2:], u.label) for u in manifest.utterances if u.split == "test"] == [
        ("12", "worried"),
        ("03", "sad"),
    ]
    assert [d.ids for d in manifest.defects] == [("sample_00000003",)]
    assert sum(u.split != "test" for u in manifest.utterances) == 11


def test_labels_of_all_parts_from_the_archive_of_the_organisers(tmp_path: Path):
    root = write_mer2024(tmp_path)
    (root / "label-disdim.csv").unlink()
    (root / "candidate_20000.csv").unlink()
    train = {f"sample_{n:08}": {"emo": np.str_("happy"), "val": np.float64(n)} for n in range(12)}
    test = {"sample_00000012": {"emo": "sad", "val": 0}}
    np.savez_compressed(root / "label-6way.npz", train_corpus=np.array(train), test1_corpus=np.array(test))
    manifest = read_mer(root, MER2024, partial=True)
    assert {u.label for u in manifest.utterances if u.split == "train"} == {"happy"}
    assert [(u.id[-2:], u.label) for u in manifest.utterances if u.split == "test"] == [("12", "sad")]
    assert manifest.annotations["sample_00000002"].values["valence"] == 2.0
    assert manifest.utterances[1].source == "label-6way.npz:train_corpus:1"


class Call:
    def __reduce__(self):
        return print, ("run",)


def test_an_archive_is_read_without_running_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    path = tmp_path / "label-6way.npz"
    np.savez(path, train_corpus=np.array({"a": Call()}), number=np.zeros(3), odd=np.array({"a": 3}))
    with pytest.raises(UnsafePickleError, match=r"builtins\.print"):
        read_label_npz(path, "train_corpus")
    assert capsys.readouterr().out == ""
    with pytest.raises(CorpusError, match="expected one dictionary"):
        read_label_npz(path, "number")
    with pytest.raises(CorpusError, match="expected a dictionary with emo and val"):
        read_label_npz(path, "odd")
    with pytest.raises(CorpusError, match="has no part test1_corpus"):
        read_label_npz(path, "test1_corpus")
    assert read_label_npz(path, "test1_corpus", is_optional=True) == {}


def test_counts_tracks_and_cells_are_checked(tmp_path: Path):
    root = write_mer2024(tmp_path)
    with pytest.raises(CorpusError, match="mer2024 has 12 labelled clips, expected 5030"):
        read_mer(root, MER2024)
    with pytest.raises(UsageError, match="mer2024 has no track 'multi'; expected one of semi, noise"):
        read_mer(root, MER2024, track="multi", partial=True)
    with pytest.raises(CorpusError, match=r"has no train-label.csv. Expected this tree:\nmer2023/"):
        read_mer(root, YEARS["mer2023"], partial=True)
    for old, new, message in (("neutral", "bored", "emotion is 'bored'"), (",-2.0", ",low", "valence is 'low'")):
        text = (root / "label-disdim.csv").read_text()
        (root / "label-disdim.csv").write_text(text.replace(old, new, 1))
        with pytest.raises(CorpusError, match=rf"label-disdim.csv:2: the {message}"):
            read_mer(root, MER2024, partial=True)
        (root / "label-disdim.csv").write_text(text)


def test_missing_clips_and_subtitles_are_counted(tmp_path: Path):
    root = write_mer2024(tmp_path)
    (root / "video-labeled/sample_00000001.mp4").unlink()
    (root / "audio/sample_00000002.wav").write_bytes(b"")
    lines = (root / "subtitle_chieng.csv").read_text().splitlines()
    (root / "subtitle_chieng.csv").write_text("\n".join(lines[:3] + lines[4:]) + "\n")
    manifest = read_mer(root, MER2024, partial=True)
    assert {d.what: d.ids for d in manifest.defects} == {
        "video file missing": ("sample_00000001",),
        "audio file missing": ("sample_00000002",),
        "no subtitle": ("sample_00000002",),
    }
    said = {u.id: u for u in manifest.utterances}
    assert said["sample_00000002"].audio == "video-labeled/sample_00000002.mp4"


@pytest.mark.parametrize(("year", "labels"), [("mer2023", "train-label.csv"), ("mer2025", "track1_train_disdim.csv")])
def test_the_other_years_by_the_command(tmp_path: Path, year: str, labels: str):
    root = write_mer2024(tmp_path)
    (root / "label-disdim.csv").rename(root / labels)
    (root / "video-labeled").rename(root / "video")
    assert run(["prepare", year, "--root", str(root), "--out", str(tmp_path / "data"), "--partial"]) == 0
    manifest = Manifest.load(tmp_path / "data")
    assert (manifest.corpus, len(manifest.utterances), manifest.label_set.name) == (year, 12, "mer")


def test_published_numbers_of_2025_sum_to_all_its_clips():
    assert YEARS["mer2025"].labelled + (YEARS["mer2025"].pool or 0) == 132_171  # of the organisers' page
