import dataclasses
import hashlib
import json
import math
import re
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from m2fnet import __version__
from m2fnet.errors import ManifestError, MediaError
from m2fnet.manifest import META, TABLE, Manifest, media_path
from m2fnet.records import LEAK, Annotation, Defect, LabelSet, Utterance

LABELS = LabelSet("toy", ("joy", "anger"))
MANY = LabelSet("toy", ("joy", "anger"), "multi")


def said(index: int = 0, **changes) -> Utterance:
    return dataclasses.replace(
        Utterance(id=f"d_{index}", corpus="toy", split="train", dialogue="d", index=index), **changes
    )


def make(*utterances: Utterance, **changes) -> Manifest:
    return Manifest("toy", LABELS, utterances or (said(),), **changes)


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
PATH = st.none() | st.lists(TEXT.map(lambda text: f"_{text.replace(':', '')}"), min_size=1).map("/".join)
SECONDS = st.none() | st.floats(0, 1e6)
SPAN = st.none() | st.tuples(st.floats(0, 1e6), st.floats(0, 1e6))
UTTERANCE = st.builds(
    Utterance,
    id=TEXT,
    corpus=TEXT,
    split=st.sampled_from(["train", "dev", "test"]),
    dialogue=TEXT,
    index=st.integers(),
    speaker=st.none() | TEXT,
    text=st.none() | TEXT,
    label=st.none() | st.sampled_from(LABELS.classes),
    start_s=SECONDS,
    end_s=SECONDS,
    audio=PATH,
    video=PATH,
    audio_span=SPAN,
    video_span=SPAN,
    crop=st.sampled_from([None, "left", "right"]),
    defects=st.lists(TEXT).map(tuple),
    source=st.none() | TEXT,
)


@settings(deadline=None)
@given(st.lists(UTTERANCE, min_size=1, max_size=5, unique_by=(lambda u: u.id, lambda u: u.dialogue)))
def test_a_saved_manifest_is_loaded_as_it_was(tmp_path_factory, utterances):
    folder = tmp_path_factory.getbasetemp() / "round"
    saved = Manifest("toy", LABELS, tuple(utterances), provenance={"adapter": "toy"}).save(folder)
    loaded = Manifest.load(folder)
    assert loaded == saved
    assert loaded.utterances == tuple(utterances)
    assert loaded.sha256 == hashlib.sha256((folder / TABLE).read_bytes()).hexdigest()


def test_everything_around_the_utterances_is_kept_too(tmp_path):
    defects = (Defect("clip missing", ("d_0",), "kept without picture"),)
    labels = LabelSet("many", ("a", "b", "c"), "multi")
    manifest = Manifest("m", labels, (said(labels=("a", "c")),), root=tmp_path, defects=defects)
    loaded = manifest.save(tmp_path / "out")
    assert Manifest.load(tmp_path / "out") == loaded
    assert (loaded.label_set, loaded.root, loaded.defects) == (labels, tmp_path, defects)
    assert loaded.provenance == {"m2fnet": __version__}


def test_an_empty_label_set_is_not_an_unlabelled_utterance(tmp_path):
    utterances = (
        said(0, labels=()),
        said(1),
        said(2, labels=("anger", "joy")),
        said(3, labels=("joy",)),
    )
    Manifest("m", MANY, utterances).save(tmp_path)
    assert Manifest.load(tmp_path).utterances == utterances
    rows = [json.loads(line) for line in (tmp_path / TABLE).read_text(encoding="utf-8").splitlines()]
    assert [row["labels"] for row in rows] == [[], None, ["anger", "joy"], ["joy"]]
    meta = json.loads((tmp_path / META).read_text(encoding="utf-8"))
    del meta["format"]  # as written before label sets could be empty
    (tmp_path / META).write_text(json.dumps(meta), encoding="utf-8")
    assert [u.labels for u in Manifest.load(tmp_path).utterances] == [None, None, ("anger", "joy"), ("joy",)]


def test_rows_with_one_emotion_are_written_as_they_always_were(tmp_path):
    make(said(0, label="joy"), said(1)).save(tmp_path)
    assert [(row["label"], row["labels"]) for row in map(json.loads, (tmp_path / TABLE).open(encoding="utf-8"))] == [
        ("joy", []),
        (None, []),
    ]
    assert [(u.label, u.labels) for u in Manifest.load(tmp_path).utterances] == [("joy", ("joy",)), (None, None)]


def test_the_kind_of_a_defect_is_kept_and_old_leaks_have_theirs(tmp_path):
    defects = (Defect("leak: same clip", ("d_0",), "kept", LEAK), Defect("gap", ("d_0",), "kept"))
    saved = make(said(0))
    dataclasses.replace(saved, defects=defects).save(tmp_path)
    assert Manifest.load(tmp_path).defects == defects
    meta = json.loads((tmp_path / META).read_text(encoding="utf-8"))
    for defect in meta["defects"]:
        del defect["kind"]
    (tmp_path / META).write_text(json.dumps(meta), encoding="utf-8")
    assert Manifest.load(tmp_path).defects == defects


def test_text_that_looks_like_something_else_stays_text(tmp_path):
    make(said(id="007", speaker="None", text="1e5", dialogue="3.0", source="true")).save(tmp_path)
    loaded = Manifest.load(tmp_path).utterances[0]
    assert (loaded.id, loaded.speaker, loaded.text, loaded.dialogue) == ("007", "None", "1e5", "3.0")
    assert loaded.label is None


def test_a_text_that_comes_again_is_held_once(tmp_path):
    make(said(0, speaker="Ann"), said(1, speaker="Ann")).save(tmp_path)
    first, second = Manifest.load(tmp_path).utterances
    assert all(getattr(first, name) is getattr(second, name) for name in ("corpus", "split", "dialogue", "speaker"))
    assert not hasattr(first, "__dict__")


def test_one_line_per_utterance(tmp_path):
    make(said(0, text="a\nb\u2028c"), said(1)).save(tmp_path)
    lines = (tmp_path / TABLE).read_text(encoding="utf-8").split("\n")
    assert [json.loads(line)["id"] for line in lines[:-1]] == ["d_0", "d_1"]


def test_dialogues_come_in_order_of_appearance_and_their_utterances_by_index():
    manifest = make(said(2), said(0, id="e", dialogue="e", split="test"), said(1), said(0))
    assert [(d.id, [u.index for u in d.utterances]) for d in manifest.dialogues()] == [("d", [0, 1, 2]), ("e", [0])]
    assert [d.id for d in manifest.dialogues("test")] == ["e"]
    assert manifest.dialogues("dev") == []


def test_counts_tell_labelled_from_all():
    manifest = make(said(0, label="joy"), said(1), said(2, label="joy"))
    assert manifest.counts()["train"] == {
        "dialogues": 1,
        "utterances": 3,
        "labelled": 2,
        "labels": {"joy": 2, "anger": 0},
    }
    sets = Manifest(
        "m",
        MANY,
        (said(0, labels=("joy",)), said(1), said(2, labels=()), said(3, labels=("anger", "joy"))),
    )
    assert sets.counts()["train"]["labelled"] == 3
    assert sets.counts()["train"]["labels"] == {"joy": 2, "anger": 1}


@pytest.mark.parametrize(
    ("utterances", "message"),
    [
        ((said(0), said(1, id="d_0")), "utterance id 'd_0' occurs more than once"),
        ((said(0), said(0, id="x")), r"place in a dialogue 'd\[0\]' occurs more than once"),
        ((said(0), said(1, split="test")), "Dialogue 'd' has utterances in 'train' and in 'test'"),
        ((said(0, label="fear"),), "'d_0' has the label 'fear'; expected one of joy, anger"),
        ((said(0, labels=("joy", "fear")),), "'d_0' has the label 'fear'"),
        ((said(0, labels=("joy", "joy")),), r"has the labels \['joy', 'joy'\]; expected each emotion once"),
        (
            (said(0, labels=("joy", "anger")),),
            r"has the label set \['joy', 'anger'\], but 'toy' has one emotion per",
        ),
        ((said(0, labels=()),), r"has the label set \[\], but 'toy' has one emotion per"),
    ],
)
def test_contradictions_are_refused(utterances, message):
    with pytest.raises(ManifestError, match=message):
        make(*utterances)


def test_an_empty_manifest_is_refused():
    with pytest.raises(ManifestError, match="holds no utterance"):
        Manifest("toy", LABELS, ())


def rewrite(folder: Path, **fields) -> None:
    """Change fields of the only row and make the hash fit, as a careful forger would."""
    row = {**json.loads((folder / TABLE).read_text()), **fields}
    (folder / TABLE).write_text(json.dumps({name: value for name, value in row.items() if value is not ...}) + "\n")
    meta = json.loads((folder / META).read_text())
    meta["sha256"] = hashlib.sha256((folder / TABLE).read_bytes()).hexdigest()
    (folder / META).write_text(json.dumps(meta))


WRONG_FIELDS = {
    "lacks id": {"id": ...},
    "lacks index": {"index": None},
    "unknown field 'emotion'": {"emotion": "joy"},
    "field 'id' is 7, expected a string": {"id": 7},
    "field 'speaker' is False, expected a string": {"speaker": False},
    "field 'index' is '0', expected an integer": {"index": "0"},
    "field 'index' is True, expected an integer": {"index": True},
    "field 'index' is 0.0, expected an integer": {"index": 0.0},
    "field 'split' is 'val', expected one of train, dev, test": {"split": "val"},
    "field 'split' is ['train'], expected": {"split": ["train"]},
    "field 'start_s' is '1', expected seconds": {"start_s": "1"},
    "field 'end_s' is nan, expected seconds": {"end_s": math.nan},
    "field 'end_s' is inf, expected seconds": {"end_s": math.inf},
    "field 'audio_span' is [1.0], expected two times": {"audio_span": [1.0]},
    "field 'video_span' is [1, None], expected two times": {"video_span": [1, None]},
    "field 'video_span' is '01', expected two times": {"video_span": "01"},
    "field 'crop' is 'top', expected left or right": {"crop": "top"},
    "field 'labels' is 'joy', expected a list of strings": {"labels": "joy"},
    "field 'labels' is [None], expected a list of strings": {"labels": [None]},
    "field 'defects' is [1], expected a list of strings": {"defects": [1]},
}


@pytest.mark.parametrize("problem", WRONG_FIELDS)
def test_a_wrong_field_is_refused_with_its_line(tmp_path, problem):
    make().save(tmp_path)
    rewrite(tmp_path, **WRONG_FIELDS[problem])
    with pytest.raises(ManifestError) as refused:
        Manifest.load(tmp_path)
    assert problem in str(refused.value)
    assert f"{tmp_path / TABLE}:1" in str(refused.value)
    assert "m2fnet prepare" in str(refused.value)


def test_optional_fields_may_be_absent(tmp_path):
    make(said(label="joy")).save(tmp_path)
    absent = [f.name for f in dataclasses.fields(Utterance) if f.default is not dataclasses.MISSING]
    rewrite(tmp_path, **dict.fromkeys(absent, ...))
    assert Manifest.load(tmp_path).utterances == (said(),)


def test_a_changed_table_is_refused(tmp_path):
    make(said(label="joy")).save(tmp_path)
    table = tmp_path / TABLE
    table.write_text(table.read_text().replace("joy", "anger"))
    with pytest.raises(ManifestError, match="the table was changed after it was prepared"):
        Manifest.load(tmp_path)


@pytest.mark.parametrize("name", [TABLE, META])
def test_an_absent_file_is_named(tmp_path, name):
    make().save(tmp_path)
    (tmp_path / name).unlink()
    with pytest.raises(ManifestError, match=rf"Cannot read .*{name}.*m2fnet prepare"):
        Manifest.load(tmp_path)


@pytest.mark.parametrize(
    "change",
    [
        {"label_set": None},
        {"label_set": {"name": "toy", "classes": ["joy"], "kind": "single"}},
        {"label_set": {"name": "toy", "classes": [["joy"], 2], "kind": "single"}},
        {"label_set": {"name": "toy", "classes": ["joy", "anger"], "kind": "some"}},
        {"corpus": None},
        {"root": 3},
        {"defects": [1]},
        {"defects": None},
        {"provenance": None},
    ],
)
def test_a_damaged_meta_file_is_refused(tmp_path, change):
    make().save(tmp_path)
    meta = json.loads((tmp_path / META).read_text())
    (tmp_path / META).write_text(json.dumps({**meta, **change}))
    with pytest.raises(ManifestError, match=META):
        Manifest.load(tmp_path)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_damage_is_a_manifest_error_or_changes_no_utterance(tmp_path_factory, data):
    folder = tmp_path_factory.getbasetemp() / "damage"
    utterances = (said(0, label="joy", text="Hi", start_s=1.5), said(1, label="anger", audio_span=(0.0, 2.0)))
    Manifest("toy", LABELS, utterances, defects=(Defect("gap", ("d_1",), "kept"),)).save(folder)
    victim = folder / data.draw(st.sampled_from([TABLE, META]))
    content = bytearray(victim.read_bytes())
    if data.draw(st.booleans()):
        content = content[: data.draw(st.integers(0, len(content) - 1))]
    else:
        for _ in range(data.draw(st.integers(1, 3))):
            content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    victim.write_bytes(content)
    try:
        loaded = Manifest.load(folder)
    except ManifestError:
        return
    assert loaded.utterances == utterances


@pytest.mark.parametrize(
    "hostile",
    [
        "../secret.mp4",
        "/etc/passwd",
        "a/../../secret",
        "file:///etc/passwd",
        "http://host/x.mp4",
        "concat:a|b",
        "link/x",
    ],
)
def test_media_outside_the_corpus_are_refused(tmp_path, hostile):
    root = tmp_path / "corpus"
    root.mkdir()
    (root / "link").symlink_to(tmp_path)
    with pytest.raises(ManifestError, match="expected a path inside"):
        media_path(root, hostile)


@pytest.mark.parametrize("field", ["audio", "video"])
@pytest.mark.parametrize("hostile", ["../a.wav", "/dev/zero", "a/../../b", "http://host/x.mp4", "concat:a|b", "", "."])
def test_a_manifest_that_names_files_elsewhere_is_refused(tmp_path, field, hostile):
    make().save(tmp_path)
    rewrite(tmp_path, **{field: hostile})
    message = f"Utterance 'd_0' names the media file {hostile!r}; expected a path inside the corpus folder"
    with pytest.raises(ManifestError, match=re.escape(message)):
        Manifest.load(tmp_path)


def test_a_link_out_of_the_corpus_counts_as_a_file_that_cannot_be_opened(tmp_path):
    root = tmp_path / "corpus"
    root.mkdir()
    (root / "a.wav").symlink_to("/dev/zero")
    (root / "loop").symlink_to("loop")
    for name in ("a.wav", "loop", "../a.wav", "\0"):
        with pytest.raises(MediaError, match="open: the path leaves the corpus folder"):
            make(root=root).media_path(name)


def test_media_inside_the_corpus_are_found(tmp_path):
    manifest = make(root=tmp_path)
    assert manifest.media_path("clips/dia0_utt0.mp4") == tmp_path.resolve() / "clips" / "dia0_utt0.mp4"
    assert manifest.media_path("a/../b.wav") == tmp_path.resolve() / "b.wav"


def test_media_without_root_are_refused():
    with pytest.raises(ManifestError, match="no root folder"):
        make().media_path("a.mp4")


UTTERANCE_OF_A_CLASS = st.builds(
    lambda u, label: dataclasses.replace(u, labels=None, label=label),
    UTTERANCE,
    st.none() | st.sampled_from(LABELS.classes),
)


@settings(deadline=None)
@given(st.lists(UTTERANCE_OF_A_CLASS, min_size=1, max_size=5, unique_by=(lambda u: u.id, lambda u: u.dialogue)))
def test_a_table_gives_the_manifest_back(utterances):
    manifest = Manifest("toy", LABELS, tuple(utterances))
    assert Manifest.from_pandas(manifest.to_pandas(), LABELS, corpus="toy") == manifest


def test_a_table_of_label_sets_tells_unlabelled_from_none_of_them(tmp_path):
    utterances = (
        said(0, labels=("joy", "anger")),
        said(1, labels=()),
        said(2),
        said(3, labels=("joy",), defects=("no text",)),
    )
    rest = {"root": tmp_path, "defects": (Defect("no text", ("d_3",), "kept"),), "provenance": {"adapter": "own"}}
    manifest = Manifest("m", MANY, utterances, **rest)
    frame = manifest.to_pandas()
    assert "label" not in frame
    assert frame["labels"].isna().tolist() == [False, False, True, False]
    assert Manifest.from_pandas(frame, MANY, corpus="m", **rest) == manifest


def test_words_that_pandas_takes_for_nothing_stay_words(tmp_path):
    texts = ["NA", "null", "None", "nan", "", None]
    manifest = make(*(said(n, text=text, speaker=text, start_s=None if n else 1.5) for n, text in enumerate(texts)))
    frame = manifest.to_pandas()
    assert frame["text"].isna().tolist() == [text is None for text in texts]
    back = Manifest.from_pandas(frame, LABELS)
    assert back == manifest
    manifest.save(tmp_path / "a")
    back.save(tmp_path / "b")
    assert (tmp_path / "a" / TABLE).read_bytes() == (tmp_path / "b" / TABLE).read_bytes()


def test_a_table_can_be_filtered_and_changed():
    frame = make(said(0, label="joy"), said(1), said(0, id="e", dialogue="e", split="test")).to_pandas()
    frame.loc[1, "label"] = "anger"
    frame["index"] = frame["index"].astype(float)
    changed = Manifest.from_pandas(frame[frame["split"] == "train"].drop(columns=["crop", "defects"]), LABELS)
    assert [u.label for u in changed.utterances] == ["joy", "anger"]


@pytest.mark.parametrize(
    ("column", "cell", "message"),
    [
        ("id", None, "Row 1 of the table lacks id"),
        ("speaker", 3, "Row 1 of the table: field 'speaker' is 3, expected a string"),
        ("index", 1.5, "Row 1 of the table: field 'index' is 1.5, expected an integer"),
        ("start_s", "soon", "Row 1 of the table: field 'start_s' is 'soon', expected seconds"),
        ("start_s", math.inf, "Row 1 of the table: field 'start_s' is inf, expected seconds"),
        ("video_span", (1.0, None), r"Row 1 of the table: field 'video_span' is \[1.0, None\], expected two times"),
        ("mood", "good", "Row 1 of the table has the unknown field 'mood'. Correct the table, or drop the column"),
        ("label", "fear", "Utterance 'd_1' has the label 'fear'; expected one of joy, anger"),
        ("id", "d_0", "utterance id 'd_0' occurs more than once"),
    ],
)
def test_a_wrong_cell_is_refused_with_row_and_column(column, cell, message):
    frame = make(said(0), said(1)).to_pandas().astype(object)
    frame[column] = pd.Series([frame[column][0] if column in frame else None, cell], dtype=object)
    with pytest.raises(ManifestError, match=message):
        Manifest.from_pandas(frame, LABELS)


def test_a_table_without_rows_is_refused():
    with pytest.raises(ManifestError, match="holds no utterance"):
        Manifest.from_pandas(make().to_pandas()[:0], LABELS)


def test_a_manifest_shows_its_size_and_not_its_utterances(manifest_of_two_splits):
    shown, table = repr(manifest_of_two_splits), manifest_of_two_splits._repr_html_()
    assert len(shown) < 120
    assert "3 utterances: train 2, dev 0, test 1" in shown
    assert "<td>2</td>" in table
    assert "joy" in table


@pytest.fixture
def manifest_of_two_splits():
    said = [Utterance(f"a_{n}", "own", "train", "a", n, label="joy") for n in range(2)]
    return Manifest("own", LabelSet("own", ("joy", "anger")), (*said, Utterance("b_0", "own", "test", "b", 0)))


def test_a_dialogue_is_its_utterances(manifest_of_two_splits):
    (dialogue,) = manifest_of_two_splits.dialogues("train")
    assert [utterance.id for utterance in dialogue] == ["a_0", "a_1"]


class Killed(BaseException):
    """What a process does not survive."""


@pytest.mark.parametrize("has_annotations", [False, True])
def test_a_manifest_that_replaces_another_is_the_old_or_the_new_one_wherever_it_is_killed(
    tmp_path, monkeypatch, has_annotations
):
    notes = {"d_0": Annotation({"raters": {"joy": 2}}, {"raters": 3})} if has_annotations else {}
    old = make(said(), annotations=notes).save(tmp_path)
    new = make(said(text="new"), annotations=notes)
    replace, left = Path.replace, 0

    def replace_or_die(path, target):
        nonlocal left
        left -= 1
        if left < 0:
            raise Killed
        return replace(path, target)

    monkeypatch.setattr(Path, "replace", replace_or_die)
    found = []
    for survived in range(10):
        left = survived
        try:
            expected = new.save(tmp_path)
        except Killed:
            found.append(Manifest.load(tmp_path).utterances)
        else:
            break
    assert found[0] == old.utterances
    assert found[-1] == new.utterances
    assert {*found} == {old.utterances, new.utterances}
    assert Manifest.load(tmp_path) == expected
    assert not list(tmp_path.glob(".new-*"))
