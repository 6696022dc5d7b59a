"""EmoryNLP and DailyDialog."""

from pathlib import Path

import pytest
from fake_other_corpora import write_dailydialog, write_emorynlp

from m2fnet.corpora import dailydialog, emorynlp
from m2fnet.corpora.dailydialog import read_dailydialog
from m2fnet.corpora.emorynlp import read_emorynlp
from m2fnet.errors import CorpusError


def test_a_scene_of_emorynlp(tmp_path: Path):
    manifest = read_emorynlp(write_emorynlp(tmp_path), partial=True)
    scene = manifest.dialogues("train")[0]
    assert [(u.id, u.index, u.speaker, u.label) for u in scene.utterances] == [
        ("train_s01_e02_c01_u001", 0, "Monica Geller", "scared"),
        ("train_s01_e02_c01_u003", 1, "Bonnie and Rachel Green", "joyful"),
        ("train_s01_e02_c01_u004", 2, "#ALL#", "peaceful"),
    ]
    assert (scene.utterances[0].text, scene.utterances[0].start_s, scene.utterances[0].end_s) == (
        "Oh, no!",
        2.877,
        7.548,
    )
    found = {d.what: d.ids for d in manifest.defects}
    assert found["gap in the utterance numbers of a scene"][0] == "train_s01_e02_c01"
    assert len(found["joint speaker"]) == 6
    assert len(found["leak: same recording and times in another split"]) == 9  # the made-up splits are equal


def test_emorynlp_is_checked(tmp_path: Path):
    root = write_emorynlp(tmp_path)
    with pytest.raises(CorpusError, match=r"emorynlp train has 1 dialogues, expected 659"):
        read_emorynlp(root)
    path = root / "emorynlp_dev_final.csv"
    path.write_text(path.read_text().replace("Joyful", "Bored"))
    with pytest.raises(CorpusError, match=r"dev_final.csv:3: Emotion is 'Bored', expected one of joyful"):
        read_emorynlp(root, partial=True)
    path.unlink()
    assert len(read_emorynlp(root, partial=True).dialogues()) == 2
    with pytest.raises(CorpusError, match=r"has no emorynlp_dev_final.csv"):
        read_emorynlp(root)


def test_a_dialogue_of_dailydialog(tmp_path: Path):
    manifest = read_dailydialog(write_dailydialog(tmp_path), partial=True)
    first = manifest.dialogues("train")[0]
    assert [(u.speaker, u.text, u.label) for u in first.utterances] == [
        ("train_0_A", "Hi , Bob .", "happiness"),
        ("train_0_B", "Hello .", "none"),
    ]
    assert {u.label for u in manifest.utterances if u.split == "dev"} == {"surprise"}
    assert [(d.what, d.ids) for d in manifest.defects] == [
        ("dialogue that is word for word in another split too", ("train_0", "test_0"))
    ]


def test_dailydialog_is_checked(tmp_path: Path):
    root = write_dailydialog(tmp_path)
    with pytest.raises(CorpusError, match=r"dailydialog train has 2 dialogues, expected 11118"):
        read_dailydialog(root)
    (root / "train/dialogues_emotion_train.txt").write_text("4 0 1\n1\n")
    with pytest.raises(CorpusError, match=r"emotion_train.txt:1 has the emotions '4 0 1' for 2 utterances"):
        read_dailydialog(root, partial=True)
    (root / "train/dialogues_emotion_train.txt").write_text("4 7\n1\n")
    with pytest.raises(CorpusError, match=r"a number from 0 to 6"):
        read_dailydialog(root, partial=True)
    (root / "train/dialogues_emotion_train.txt").write_text("4 0\n")
    with pytest.raises(CorpusError, match=r"has 2 dialogues and 1 lines of emotions"):
        read_dailydialog(root, partial=True)


def test_the_published_counts_are_those_of_the_papers():
    # arXiv:1710.03957, table of emotions over the whole corpus
    totals = {"none": 85_572, "anger": 1022, "disgust": 353, "fear": 174, "happiness": 12_885, "sadness": 1150}
    for emotion, number in (totals | {"surprise": 1823}).items():
        assert sum(counts["labels"][emotion] for counts in dailydialog.COUNTS.values()) == number
    assert sum(counts["utterances"] for counts in dailydialog.COUNTS.values()) == 102_979
    assert sum(counts["utterances"] for counts in emorynlp.COUNTS.values()) == 9489
