import json
import pickle
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
from fake_other_corpora import m3ed_entry, write_m3ed

from m2fnet.cli import run
from m2fnet.corpora.m3ed import COUNTS, read_m3ed
from m2fnet.errors import CorpusError
from m2fnet.manifest import Manifest
from m2fnet.records import Annotation
from m2fnet.store.reader import Store


def test_an_utterance_has_the_agreed_emotions_and_the_votes(tmp_path: Path):
    manifest = read_m3ed(write_m3ed(tmp_path), partial=True)
    first, second = manifest.dialogues("train")[0].utterances
    assert (first.id, first.labels, first.speaker, first.text) == ("anjia_1_1", ("neutral",), "anjia_1_A", "你 A")
    assert second.labels == ("sad", "anger")  # in the order of the label set
    assert (second.start_s, second.end_s) == (1.2, 2.4)  # 5 and 10 frames of 25
    assert manifest.annotations["anjia_1_2"] == Annotation(
        votes={"raters": {"anger": 2, "disgust": 1, "sad": 1}}, raters={"raters": 3}
    )
    assert [d.id for d in manifest.dialogues("test")] == ["shaonianpai_1"]


def test_dialogues_as_samples_have_another_name_and_the_union(tmp_path: Path):
    manifest = read_m3ed(write_m3ed(tmp_path), "m3ed-dialogues", partial=True)
    assert manifest.corpus == manifest.label_set.name == "m3ed-dialogues"
    assert [(u.id, u.labels, u.text) for u in manifest.utterances if u.split == "dev"] == [
        ("humamaoba_1", ("neutral", "sad", "anger"), "你 A\n你 B")
    ]


def test_media_by_speaker_and_utterance(tmp_path: Path):
    root = write_m3ed(tmp_path)
    (root / "audio").mkdir()
    (root / "audio/A_anjia_1_1.wav").write_bytes(b"sound")
    manifest = read_m3ed(root, partial=True)
    assert {u.id: u.audio for u in manifest.utterances if u.audio} == {"anjia_1_1": "audio/A_anjia_1_1.wav"}
    assert len(next(d for d in manifest.defects if d.what == "audio file missing").ids) == 5


def test_the_published_counts_are_those_of_the_paper():
    totals = [sum(counts[name] for counts in COUNTS.values()) for name in ("dialogues", "utterances")]
    assert totals == [990, 24_449]


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (m3ed_entry("A", "Sad", "Sad", "Sad", "Bored"), r"emotions of anjia_1_1 are 'Bored', expected names of Happy"),
        (m3ed_entry("A", "Sad", "Sad", "Sad", ""), r"are ''"),
        ({"Text": "x"}, r"anjia_1_1 has no EmoAnnotation"),
        ("x", r"anjia_1_1 is a str, expected an object"),
    ],
)
def test_a_damaged_entry_is_refused(tmp_path: Path, entry: object, message: str):
    root = write_m3ed(tmp_path)
    content = json.loads((root / "M3ED_annotation.json").read_text())
    content["anjia"]["anjia_1"]["Dialog"]["anjia_1_1"] = entry
    (root / "M3ED_annotation.json").write_text(json.dumps(content))
    with pytest.raises(CorpusError, match=message):
        read_m3ed(root, partial=True)


def test_counts_lists_and_series_are_checked(tmp_path: Path):
    root = write_m3ed(tmp_path)
    with pytest.raises(CorpusError, match=r"m3ed train has 1 dialogues, expected 685"):
        read_m3ed(root)
    (root / "splitInfo/movie_list_test.txt").write_text("anjia\n")
    with pytest.raises(CorpusError, match="puts the series anjia into test, it is in train too"):
        read_m3ed(root, partial=True)
    (root / "splitInfo/movie_list_test.txt").write_text("elsewhere\n")
    manifest = read_m3ed(root, partial=True)
    skipped = [d for d in manifest.defects if d.what == "series in no list of a split"]
    assert skipped[0].ids == ("M3ED_annotation.json:shaonianpai",) * 2
    (root / "splitInfo/movie_list_val.txt").unlink()
    with pytest.raises(CorpusError, match=r"has no splitInfo/movie_list_val.txt. Expected this tree"):
        read_m3ed(root, partial=True)


@pytest.fixture
def feature_pickle(tmp_path: Path) -> Path:
    """The published 10-tuple: features of three dialogues, and the lists train, val, test at its end."""
    names = {"anjia_1": 2, "humamaoba_1": 3, "shaonianpai_1": 2}
    tables: list[OrderedDict[str, object]] = [OrderedDict() for _ in range(7)]
    for name, count in names.items():
        tables[0][name] = [f"A_{name}_{n}" for n in range(count)]
        tables[1][name] = ["A", "B", "A"][:count]
        tables[2][name] = [1, 4, 1][:count]  # neutral, anger
        for place, width in ((3, 4), (4, 5), (5, 3)):  # text, audio, visual
            tables[place][name] = np.full((count, width), place, np.float32)
        tables[6][name] = ["你好"] * count
    path = tmp_path / "m3ed.pkl"
    path.write_bytes(pickle.dumps((*tables, ["anjia_1"], ["humamaoba_1"], ["shaonianpai_1"])))
    return path


def test_the_feature_pickle_has_its_dev_list_and_one_emotion_per_utterance(feature_pickle: Path, tmp_path: Path):
    assert run(["import", str(feature_pickle), "--labels", "m3ed-main", "--out", str(tmp_path / "out")]) == 0
    manifest = Manifest.load(tmp_path / "out")
    assert manifest.provenance["layout"] == "10-tuple with dev"
    assert [d.id for d in manifest.dialogues("dev")] == ["humamaoba_1"]
    assert [u.label for u in manifest.dialogues("train")[0].utterances] == ["neutral", "anger"]
    widths = {name: Store(tmp_path / "out" / name).meta.width for name in ("text", "audio", "visual")}
    assert widths == {"text": 4, "audio": 5, "visual": 3}


def test_the_feature_pickle_by_dialogues_has_a_vector_per_utterance(feature_pickle: Path, tmp_path: Path):
    assert run(["import", str(feature_pickle), "--labels", "m3ed-dialogues", "--out", str(tmp_path / "out")]) == 0
    manifest = Manifest.load(tmp_path / "out")
    assert {u.id: u.labels for u in manifest.utterances} == dict.fromkeys(
        ("anjia_1", "humamaoba_1", "shaonianpai_1"), ("neutral", "anger")
    )
    store = Store(tmp_path / "out/audio")
    assert store.meta.resolution == "frame"
    assert store.sequences([u.id for u in manifest.utterances]).lengths.tolist() == [2, 3, 2]
