from pathlib import Path

import pytest
from fake_other_corpora import write_goemotions

from m2fnet.cli import run
from m2fnet.corpora.goemotions import goemotions, goemotions_ekman, goemotions_ekman_neutral, read_goemotions
from m2fnet.errors import CorpusError
from m2fnet.manifest import Manifest


def test_numbers_become_the_28_labels(tmp_path: Path):
    manifest = read_goemotions(write_goemotions(tmp_path), goemotions(), partial=True)
    assert {u.id: u.labels for u in manifest.utterances} == {
        "eebbqej": ("neutral",),
        "ed00q6i": ("admiration", "gratitude"),
        "eezlygj": ("amusement",),
        "edcu99z": ("sadness",),
        "ed1": ("amusement",),
        "eecwqtt": ("fear", "surprise", "neutral"),
    }
    texts = {u.id: u.text for u in manifest.utterances}
    assert texts["ed00q6i"] == 'So "good", thanks!'
    assert texts["eecwqtt"] == "You \u2028 terrified me, wow"
    assert [(d.what, d.ids) for d in manifest.defects] == [
        ("text that also occurs in another split", ("eezlygj", "ed1"))
    ]


def test_ekman_maps_and_neutral_is_the_empty_set(tmp_path: Path):
    manifest = read_goemotions(write_goemotions(tmp_path), goemotions_ekman(), partial=True)
    sets = {u.id: u.labels for u in manifest.utterances}
    assert sets["eebbqej"] == ()
    assert sets["ed00q6i"] == ("joy",)
    assert sets["eecwqtt"] == ("fear", "surprise")


def test_neutral_may_be_a_seventh_label(tmp_path: Path):
    manifest = read_goemotions(write_goemotions(tmp_path), goemotions_ekman_neutral(), partial=True)
    sets = {u.id: u.labels for u in manifest.utterances}
    assert sets["eebbqej"] == ("neutral",)
    assert sets["ed00q6i"] == ("joy",)
    assert sets["eecwqtt"] == ("fear", "surprise", "neutral")


def test_the_same_corpus_as_csv(tmp_path: Path):
    tsv = read_goemotions(write_goemotions(tmp_path), goemotions(), partial=True)
    header = "id,text,labels,ekman\n"
    rows = {
        "train": "eebbqej,My favourite food is mine.,neutral,\n"
        'ed00q6i,"So ""good"", thanks!",admiration;gratitude,joy\neezlygj,LOL,amusement,joy\n',
        "dev": "edcu99z,I've never been this sad,sadness,sadness\ned1,LOL,amusement,joy\n",
        "test": '"eecwqtt","You \u2028 terrified me, wow",fear|surprise|neutral,\n',
    }
    root = tmp_path / "csv"
    root.mkdir()
    for split, text in rows.items():
        (root / f"{split}.csv").write_text(header + text)
    csv = read_goemotions(root, goemotions(), partial=True)
    facts = [[(u.id, u.split, u.text, u.labels) for u in manifest.utterances] for manifest in (csv, tsv)]
    assert facts[0] == facts[1]


def test_the_published_counts_agree_with_the_published_numbers_of_labels_per_row():
    # rows with 1, 2, 3, 4, 5 labels (0 to 3 for Ekman's six), counted on the official files
    per_row = {"train": (36_308, 6541, 532, 28, 1)}
    ekman = {"train": (28_104, 2415, 68), "dev": (3527, 296, 11), "test": (3539, 278, 4)}
    for protocol, expected in ((goemotions(), per_row), (goemotions_ekman(), ekman)):
        for split, rows in expected.items():
            labels = sum(number * count for number, count in enumerate(rows, start=1))
            assert sum(protocol.counts[split]["labels"].values()) == labels


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("only text\n", r"train.tsv:1 has 1 cells, expected three"),
        ("text\t28\tid\n", r"train.tsv:1: the comment 'id' has the emotions"),
        ("text\t\tid\n", r"train.tsv:1: the comment 'id'"),
        ("text\t²\tid\n", r"train.tsv:1: the comment 'id'"),
        ("text\t3\t\n", r"expected an id"),
    ],
)
def test_a_damaged_line_is_refused_with_its_place(tmp_path: Path, line: str, message: str):
    root = write_goemotions(tmp_path)
    (root / "data/train.tsv").write_text(line)
    with pytest.raises(CorpusError, match=message):
        read_goemotions(root, goemotions(), partial=True)


def test_a_part_of_the_corpus_needs_partial(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    root = write_goemotions(tmp_path)
    arguments = ["prepare", "goemotions", "--root", str(root), "--out", str(tmp_path / "out")]
    assert run([*arguments, "--protocol", "goemotions-ekman"]) == 1
    assert "has 3 utterances, expected 43410 utterances" in capsys.readouterr().err
    (root / "data/test.tsv").unlink()
    assert run(arguments) == 1
    assert "has no test.tsv. Expected this tree" in capsys.readouterr().err
    assert run([*arguments, "--partial"]) == 0
    assert Manifest.load(tmp_path / "out").label_set.classes[-1] == "neutral"
