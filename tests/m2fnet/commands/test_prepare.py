import json
from pathlib import Path

import pytest
from fake_corpora import meld_row, small_iemocap, write_meld, write_table

from m2fnet.cli import run
from m2fnet.manifest import Manifest


def test_prepare_writes_the_manifest_and_tells_what_it_found(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    root = write_meld(tmp_path, {"dev": [meld_row(12, 0, Speaker="All"), meld_row(12, 1, Speaker="All")]})
    out = tmp_path / "data"
    assert run(["prepare", "meld", "--root", str(root), "--out", str(out), "--partial"]) == 0
    printed = capsys.readouterr().out
    manifest = Manifest.load(out)
    assert f"meld: {len(manifest.utterances)} utterances in 5 dialogues" in printed
    assert "utterances       6       2       6" in printed
    assert "2  joint speaker: kept as a speaker of that name (dev_dia12_utt0, dev_dia12_utt1)" in printed
    assert manifest.sha256[:12] in printed
    stored = json.loads((out / "manifest.meta.json").read_text())["defects"]
    assert stored == [
        {
            "what": "joint speaker",
            "kind": "",
            "count": 2,
            "done": "kept as a speaker of that name",
            "ids": ["dev_dia12_utt0", "dev_dia12_utt1"],
        }
    ]
    assert "| joint speaker | 2 | kept as a speaker of that name |" in (out / "defects.md").read_text()


def test_an_equal_manifest_is_replaced_another_only_when_asked(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    arguments = ["prepare", "meld", "--root", str(write_meld(tmp_path)), "--out", str(tmp_path / "data"), "--partial"]
    assert run(arguments) == run(arguments) == 0
    (tmp_path / "MELD.Raw/train_splits/dia0_utt0.mp4").unlink()
    assert run(arguments) == 2
    assert "already holds another manifest" in capsys.readouterr().err
    assert Manifest.load(tmp_path / "data").defects == ()
    assert run([*arguments, "--overwrite"]) == 0
    assert [d.what for d in Manifest.load(tmp_path / "data").defects] == ["clip missing"]


def test_dev_dialogues_are_drawn_from_what_is_not_test(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    arguments = ["prepare", "meld", "--root", str(write_meld(tmp_path)), "--partial", "--dev-dialogues"]
    splits = []
    for number, wanted in enumerate(("0.5", "0.5", "dev_dia10,train_dia0")):
        assert run([*arguments, wanted, "--out", str(tmp_path / str(number))]) == 0
        manifest = Manifest.load(tmp_path / str(number))
        splits.append({split: {d.id for d in manifest.dialogues(split)} for split in ("train", "dev", "test")})
    assert splits[0] == splits[1]
    assert len(splits[0]["dev"]) == len(splits[0]["train"] | splits[0]["dev"]) // 2
    assert splits[2]["dev"] == {"dev_dia10", "train_dia0"}
    assert all(one["test"] == splits[0]["test"] for one in splits)
    assert Manifest.load(tmp_path / "2").provenance["dev"] == "2 dialogues by name"
    assert run([*arguments, "nowhere", "--out", str(tmp_path / "x")]) == 2
    assert "--dev-dialogues names 'nowhere', which is no training dialogue" in capsys.readouterr().err


def test_a_damaged_manifest_is_not_replaced_unasked(tmp_path: Path):
    arguments = ["prepare", "meld", "--root", str(write_meld(tmp_path)), "--out", str(tmp_path / "data"), "--partial"]
    assert run(arguments) == 0
    (tmp_path / "data/manifest.jsonl").write_text("{}\n")
    assert run(arguments) == 2
    assert run([*arguments, "--overwrite"]) == 0
    assert Manifest.load(tmp_path / "data").corpus == "meld"


@pytest.mark.parametrize(
    ("options", "corpus", "classes"),
    [
        ([], "iemocap6", 6),
        (["--protocol", "iemocap6-erc", "--drop-unlabelled"], "iemocap6-erc", 6),
        (["--protocol", "iemocap4", "--fold", "2"], "iemocap4", 4),
    ],
)
def test_iemocap_protocols_by_name(tmp_path: Path, options: list[str], corpus: str, classes: int):
    root, out = str(small_iemocap(tmp_path)), tmp_path / "data"
    assert run(["prepare", "iemocap", "--root", root, "--out", str(out), "--partial", *options]) == 0
    manifest = Manifest.load(out)
    assert (manifest.corpus, len(manifest.label_set.classes)) == (corpus, classes)
    assert {u.dialogue[4] for u in manifest.utterances if u.split == "test"} == {"2" if classes == 4 else "5"}
    assert all(u.label for u in manifest.utterances) == ("--drop-unlabelled" in options)


def test_a_table_with_its_labels(tmp_path: Path):
    root = write_table(tmp_path, "dialogue,split,text,label\na,train,x,joy\n")
    options = ["--labels", "joy, sadness", "--corpus", "mine"]
    assert run(["prepare", "table", "--root", str(root), "--out", str(tmp_path / "data"), *options]) == 0
    manifest = Manifest.load(tmp_path / "data")
    assert (manifest.corpus, manifest.label_set.classes) == ("mine", ("joy", "sadness"))


def test_quiet_prints_only_what_was_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    root, out = write_meld(tmp_path), tmp_path / "data"
    assert run(["prepare", "meld", "--root", str(root), "--out", str(out), "--partial", "--quiet"]) == 0
    assert capsys.readouterr().out == (f"Wrote {out / 'manifest.jsonl'} (sha256 {Manifest.load(out).sha256[:12]})\n")


@pytest.mark.slow
def test_toy_with_label_sets_uses_the_same_clips(tmp_path: Path):
    size = ["--dialogues", "3", "2", "3", "--quiet"]
    for out, more in (("one", []), ("sets", ["--label-sets"])):
        assert run(["prepare", "toy", "--root", str(tmp_path / "toy"), "--out", str(tmp_path / out), *size, *more]) == 0
    one, sets = Manifest.load(tmp_path / "one"), Manifest.load(tmp_path / "sets")
    assert (sets.corpus, sets.label_set.kind) == ("toy-sets", "multi")
    assert [(u.id, u.video) for u in one.utterances] == [(u.id, u.video) for u in sets.utterances]


@pytest.mark.slow
def test_toy_is_written_and_prepared(tmp_path: Path):
    root, out = tmp_path / "toy", tmp_path / "data"
    size = ["--dialogues", "3", "2", "3"]
    assert run(["prepare", "toy", "--root", str(root), "--out", str(out), *size]) == 0
    manifest = Manifest.load(out)
    assert manifest.corpus == "toy"
    assert manifest.label_set.classes == ("neutral", "joy", "anger", "sadness", "surprise")
    assert [len(manifest.dialogues(split)) for split in ("train", "dev", "test")] == [3, 2, 3]


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ([], 2, "required"),
        (["imagenet"], 2, "invalid choice"),
        (["meld", "--root", "x"], 2, "--out"),
        (["iemocap", "--root", "x", "--out", "y", "--fold", "3"], 2, "--fold chooses the test session of iemocap4"),
        (["iemocap", "--root", "x", "--out", "y", "--protocol", "iemocap5"], 2, "invalid choice"),
        (["meld", "--root", "absent", "--out", "y"], 1, "Expected this tree"),
    ],
)
def test_wrong_use_and_failure_have_their_exit_codes(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    code: int,
    message: str,
):
    monkeypatch.chdir(tmp_path)
    assert run(["prepare", *arguments]) == code
    assert message in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("corpus", [
    "toy", "meld", "iemocap", "goemotions", "mosei", "m3ed", "ravdess", "cremad", "emorynlp", "dailydialog", "mer2023",
    "mer2024", "mer2025", "table",
])  # fmt: skip
def test_every_corpus_explains_itself(corpus: str, capsys: pytest.CaptureFixture[str]):
    assert run(["prepare", corpus, "--help"]) == 0
    assert "--root" in capsys.readouterr().out
