import json
from pathlib import Path

import pytest
from fake_corpora import write_table
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from m2fnet.corpora.table import COLUMNS, __doc__, read_table
from m2fnet.errors import CorpusError, ManifestError
from m2fnet.manifest import Manifest
from m2fnet.records import LEAK

SMALL = """dialogue,split,speaker,text,label
a,train,Ann,"Well, hello",joy
b,test,Cid,Who?,neutral
a,train,Bob,Hm.,
a,train,Ann,Fine,neutral
"""


def test_rows_become_utterances_in_the_order_of_their_dialogue(tmp_path: Path):
    manifest = read_table(write_table(tmp_path, SMALL))
    assert manifest.corpus == "own"
    assert manifest.label_set.classes == ("joy", "neutral")
    assert manifest.label_set.kind == "single"
    assert manifest.root is None
    assert manifest.defects == ()
    (dialogue,) = manifest.dialogues("train")
    assert [(u.id, u.index, u.speaker, u.text, u.label) for u in dialogue.utterances] == [
        ("a_0", 0, "Ann", "Well, hello", "joy"),
        ("a_1", 1, "Bob", "Hm.", None),
        ("a_2", 2, "Ann", "Fine", "neutral"),
    ]
    assert dialogue.utterances[1].source == "own.csv:4"


def test_every_documented_column_is_read(tmp_path: Path):
    row = {
        "id": "u1", "dialogue": "d", "split": "train", "speaker": "Ann", "text": "it’s", "labels": ["joy", "surprise"],
        "start_s": 1, "end_s": 2.5, "audio": "sound/long.wav", "video": "film.mp4", "audio_start_s": 3,
        "audio_end_s": 4.5, "video_start_s": 0, "video_end_s": 1.5, "crop": "right", "label": None,
    }  # fmt: skip
    assert set(row) == set(COLUMNS)
    assert all(column in __doc__ for column in COLUMNS)
    del row["label"]
    root = write_table(tmp_path, json.dumps(row), name="own.jsonl", media=["sound/long.wav", "film.mp4"])
    manifest = read_table(root / "own.jsonl", labels=("surprise", "joy"), corpus="mine")
    (utterance,) = manifest.utterances
    assert (utterance.id, utterance.corpus, utterance.text) == ("u1", "mine", "it’s")
    assert (utterance.label, utterance.labels) == (None, ("joy", "surprise"))
    assert (utterance.start_s, utterance.end_s, utterance.crop) == (1, 2.5, "right")
    assert (utterance.audio, utterance.audio_span) == ("sound/long.wav", (3, 4.5))
    assert (utterance.video, utterance.video_span) == ("film.mp4", (0, 1.5))
    assert (manifest.label_set.classes, manifest.label_set.kind) == (("surprise", "joy"), "multi")
    assert manifest.root == root


def test_csv_and_jsonl_give_the_same_utterances(tmp_path: Path):
    lines = [
        {"dialogue": "a", "split": "train", "text": "x", "labels": ["joy", "fear"]},
        {"dialogue": "a", "split": "train", "text": "y", "labels": []},
    ]
    jsonl = read_table(write_table(tmp_path, "\n".join(map(json.dumps, lines)), name="own.jsonl") / "own.jsonl")
    csv = read_table(write_table(tmp_path, "dialogue,split,text,labels\na,train,x,joy|fear\na,train,y,\n") / "own.csv")
    assert [(u.id, u.text, u.labels) for u in jsonl.utterances] == [(u.id, u.text, u.labels) for u in csv.utterances]
    assert jsonl.label_set == csv.label_set


@pytest.mark.parametrize("suffix", ["csv", "jsonl"])
def test_an_empty_label_set_is_not_an_unlabelled_utterance(tmp_path: Path, suffix: str):
    sets: list[object] = [["sad", "joy"], [], None, "?", "joy", ["joy", "joy"]]
    if suffix == "csv":
        cells = ["sad|joy", "", "?", " ? ", "joy", "joy|joy|"]
        table = "dialogue,split,text,labels\n" + "".join(f"a,train,x,{cell}\n" for cell in cells)
    else:
        table = "".join(json.dumps({"dialogue": "a", "split": "train", "text": "x", "labels": s}) + "\n" for s in sets)
    manifest = read_table(write_table(tmp_path, table, name=f"own.{suffix}"))
    assert [u.labels for u in manifest.utterances] == [("sad", "joy"), (), None, None, ("joy",), ("joy",)]
    assert {u.label for u in manifest.utterances} == {None}
    assert (manifest.label_set.classes, manifest.label_set.kind) == (("joy", "sad"), "multi")
    assert manifest.counts()["train"]["labelled"] == 4
    manifest.save(tmp_path / "out")
    assert Manifest.load(tmp_path / "out").utterances == manifest.utterances


def test_a_json_row_without_the_key_labels_is_unlabelled(tmp_path: Path):
    rows = [{"labels": ["joy", "sad"]}, {}]
    table = "".join(json.dumps({"dialogue": "a", "split": "train", "text": "x", **row}) + "\n" for row in rows)
    manifest = read_table(write_table(tmp_path, table, name="own.jsonl"))
    assert [u.labels for u in manifest.utterances] == [("joy", "sad"), None]


def test_a_row_that_ends_before_its_labels_is_unlabelled(tmp_path: Path):
    table = "dialogue,split,text,labels\na,train,x,joy|sad\na,train,y\na,train,z,\n"
    manifest = read_table(write_table(tmp_path, table))
    assert [u.labels for u in manifest.utterances] == [("joy", "sad"), None, ()]
    assert {d.what: d.ids for d in manifest.defects}["row without a cell for labels"] == ("a_1",)


NOTHING = ("NA", "null", "None", "nan", "NaN", "#N/A", "<NA>")


def test_words_for_nothing_are_words_in_a_dialogue_but_no_speaker_and_no_emotion(tmp_path: Path):
    rows = "".join(f"a,train,{word},{word},{word}\n" for word in NOTHING)
    table = f"dialogue,split,text,speaker,label\n{rows}b,train,x,y,sad\nb,train,x,Nancy,joy\n"
    root = write_table(tmp_path, table)
    manifest = read_table(root)
    assert [u.text for u in manifest.utterances][: len(NOTHING)] == list(NOTHING)
    assert [(u.speaker, u.label) for u in manifest.utterances] == [
        *[(None, None)] * len(NOTHING), ("y", "sad"), ("Nancy", "joy"),
    ]  # fmt: skip
    assert manifest.label_set.classes == ("joy", "sad")
    found = {defect.what: defect.ids for defect in manifest.defects}
    assert found["label 'NaN' is a word for nothing"] == found["speaker 'NaN' is a word for nothing"] == ("a_4",)
    assert found["text 'NaN' is a word for nothing"] == ("a_4",)
    assert "text 'None' is a word for nothing" not in found
    named = read_table(root, labels=("None", "sad", "joy"))
    assert [u.label for u in named.utterances if u.text in ("None", "null")] == [None, "None"]


def test_words_for_nothing_in_sets_and_numbers(tmp_path: Path):
    rows = ['"labels": ["joy", "NaN"]', '"labels": ["joy", "sad"]', '"labels": ["sad"], "speaker": NaN']
    table = "".join(f'{{"dialogue": "a", "split": "train", "text": "x", {row}}}\n' for row in rows)
    manifest = read_table(write_table(tmp_path, table, name="own.jsonl"))
    assert [(u.labels, u.speaker) for u in manifest.utterances] == [
        (None, None), (("joy", "sad"), None), (("sad",), None),
    ]  # fmt: skip


@pytest.mark.parametrize("column", ["label", "labels"])
def test_spellings_of_one_emotion_are_one_class_and_are_reported(tmp_path: Path, column: str):
    spelled = ("joy", "Joy", "JOY ", "joy", "no\u00a0emotion", "No  Emotion", "no emotion")
    rows = "".join(f"a,train,x{n},{label}\n" for n, label in enumerate(spelled))
    root = write_table(tmp_path, f"dialogue,split,text,{column}\n{rows}")
    manifest = read_table(root)
    assert manifest.label_set.classes == ("joy", "no emotion")
    assert [u.labels for u in manifest.utterances] == [("joy",)] * 4 + [("no emotion",)] * 3
    found = {defect.what: defect.ids for defect in manifest.defects}
    assert found["label 'Joy' differs from 'joy' only in its spelling"] == ("a_1",)
    assert found["label 'No  Emotion' differs from 'no emotion' only in its spelling"] == ("a_5",)
    assert read_table(root, labels=("JOY", "No emotion")).label_set.classes == ("JOY", "No emotion")


WORLD = 'dialogue,split,speaker,text,label,start_s\na,train,Ann,Hi,joy,1.5\nb,test,Bob,"No, no",sad,62.25\n'
SEMICOLONS = WORLD.replace(",", ";").replace("No; no", "No, no").replace("1.5", "1,5").replace("62.25", "1:02,25")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("own.csv", SEMICOLONS.encode()),
        ("own.csv", WORLD.replace("No, no", "NONO").replace(",", "\t").replace("NONO", "No, no").encode()),
        ("own.tsv", WORLD.replace("No, no", "NONO").replace(",", "\t").replace("NONO", "No, no").encode("utf-16")),
        ("OWN.CSV", WORLD.encode("utf-8-sig")),
        ("own.csv", b"sep=;\r\n" + SEMICOLONS.replace("\n", "\r\n").encode()),
        ("own.csv", b'"sep=;"\n\n' + SEMICOLONS.encode("cp1252")),
        ("own.csv", WORLD.encode("utf-16-le")),
        ("own.csv", WORLD.encode("utf-16-be")),
        ("own.csv", (",,,,,\n" + WORLD + ",,,,,\n \n, ,,,,\n").encode()),
        ("own.csv", WORLD.replace("\n", ",,,\n").encode()),
        ("own.csv", WORLD.replace("\n", "\r").encode()),
        ("own.csv", WORLD.replace("label", "Emotion").replace("text,", "Utterance,").encode()),
        ("own.csv", WORLD.replace("dialogue", "Dialogue_ID").replace("start_s", "Start Time (s)").encode()),
        ("own.csv", WORLD.replace("train", "Train").replace("test", "TEST ").encode()),
    ],
)  # fmt: skip
def test_tables_as_spreadsheets_and_other_projects_write_them(tmp_path: Path, name: str, content: bytes):
    (tmp_path / name).write_bytes(content)
    manifest = read_table(tmp_path, labels=("joy", "sad"))
    assert [(u.split, u.dialogue, u.speaker, u.text, u.label, u.start_s) for u in manifest.utterances] == [
        ("train", "a", "Ann", "Hi", "joy", 1.5),
        ("test", "b", "Bob", "No, no", "sad", 62.25),
    ]
    assert manifest.defects == ()


@pytest.mark.parametrize("sign", [".", "-", "--", "–", "?", "???"])
def test_signs_for_nothing_are_no_emotion_and_no_speaker(tmp_path: Path, sign: str):
    rows = f"a,train,Ann,Hi,joy\na,train,{sign},No,sad\na,train,Bob,So,{sign}\n"
    manifest = read_table(write_table(tmp_path, f"dialogue,split,speaker,text,label\n{rows}"))
    assert [(u.speaker, u.label) for u in manifest.utterances] == [("Ann", "joy"), (None, "sad"), ("Bob", None)]
    assert [defect.ids for defect in manifest.defects if "word for nothing" in defect.what] == [("a_1",), ("a_2",)]


def test_an_offset_next_to_a_duration_is_the_start(tmp_path: Path):
    head, rows = "dialogue,split,text,label", "a,train,Hi,joy,1.5,2\na,train,No,sad,4,5\n"
    manifest = read_table(write_table(tmp_path, f"{head},offset,duration\n{rows}"))
    assert [(u.start_s, u.end_s) for u in manifest.utterances] == [(1.5, None), (4.0, None)]
    manifest = read_table(write_table(tmp_path, f"{head},onset,offset\n{rows}"))
    assert [(u.start_s, u.end_s) for u in manifest.utterances] == [(1.5, 2.0), (4.0, 5.0)]


def test_what_a_spreadsheet_adds_or_leaves_out_is_named(tmp_path: Path):
    table = ",dialogue,split,text,label,\n0,a,train,Hi,joy,\n1,a,train,Oh\n2,a,train,No,sad,note\n"
    manifest = read_table(write_table(tmp_path, table))
    assert {d.what: d.ids for d in manifest.defects} == {
        "column without a meaning here": ("column 1", "column 6"),
        "row shorter than the first line": ("a_1",),
    }
    assert [u.label for u in manifest.utterances] == ["joy", None, "sad"]
    assert manifest.utterances[2].source == "own.csv:4"


def test_two_columns_of_one_meaning_are_refused_unless_one_is_ours(tmp_path: Path):
    row = "a,train,x,joy,sad\n"
    assert read_table(
        write_table(tmp_path, f"dialogue,split,text,emotion,label\n{row}{row.replace('sad', 'joy')}")
    ).label_set.classes == ("joy", "sad")
    with pytest.raises(CorpusError, match=r"csv:1 names the column label twice \('emotion' and 'Emotion Label'\)"):
        read_table(write_table(tmp_path, f"dialogue,split,text,emotion,Emotion Label\n{row}"))


def test_utterances_that_share_a_recording_need_spans(tmp_path: Path):
    head, media = "dialogue,split,audio,label", ["c.wav"]
    rows = ("a,train,c.wav,joy", "a,train,c.wav,sad", "b,train,d.wav,sad")
    timed = "\n".join([f"{head},start_s,end_s", *(f"{row},{n},{n + 1}" for n, row in enumerate(rows))])
    with pytest.raises(
        CorpusError, match=r"csv:3: 2 utterances share the recording 'c.wav'.* audio_start_s and audio_end"
    ):
        read_table(write_table(tmp_path, timed + "\n", media=media))
    untimed = read_table(write_table(tmp_path, "\n".join([head, *rows]) + "\n"))
    found = {defect.what: defect.ids for defect in untimed.defects}
    assert found["several utterances share one audio file without a span"] == ("a_0", "a_1")
    spans = timed.replace("start_s,end_s", "audio_start_s,audio_end_s")
    assert [d.what for d in read_table(write_table(tmp_path, spans + "\n")).defects] == ["audio file missing"]


def test_text_in_two_splits_is_a_leak_without_media(tmp_path: Path):
    rows = (
        "a,train,How dare you!,sad\nb,test,how dare  you,joy\nc,dev,Yes.,joy\nd,test,yes,sad\ne,train,Go away now,joy\n"
    )
    manifest = read_table(write_table(tmp_path, f"dialogue,split,text,label\n{rows}"))
    assert [(d.kind, d.ids) for d in manifest.defects] == [(LEAK, ("a_0", "b_0")), ("", ("c_0", "d_0"))]


def test_paths_with_backslashes_are_read_and_named(tmp_path: Path):
    table = "dialogue,split,audio,label\na,train,s\\here.wav,joy\na,train,s\\gone.wav,sad\n"
    manifest = read_table(write_table(tmp_path, table, media=["s/here.wav"]))
    assert [u.audio for u in manifest.utterances] == ["s/here.wav", None]
    found = {defect.what: defect.ids for defect in manifest.defects}
    assert found["backslashes in the path of the audio file, as Windows writes them"] == ("a_0", "a_1")
    with pytest.raises(CorpusError, match="expected a file inside"):
        read_table(write_table(tmp_path, table.replace("s\\here", "C:\\here")))


def test_missing_media_and_odd_columns_are_reported(tmp_path: Path):
    table = "dialogue,split,audio,label,mood\na,train,here.wav,joy,1\na,train,gone.wav,sad,2\n"
    manifest = read_table(write_table(tmp_path, table, media=["here.wav"]))
    assert {d.what: d.ids for d in manifest.defects} == {
        "column without a meaning here": ("mood",),
        "audio file missing": ("a_1",),
    }
    assert [u.audio for u in manifest.utterances] == ["here.wav", None]


def test_one_clip_in_two_splits_is_a_leak_but_two_spans_of_it_are_not(tmp_path: Path):
    head = "dialogue,split,video,video_start_s,video_end_s,label\n"
    root = write_table(
        tmp_path, head + "a,train,f.mp4,0,1,joy\nb,test,f.mp4,1,2,sad\nc,train,f.mp4,2,3,sad\n", media=["f.mp4"]
    )
    assert read_table(root).defects == ()
    write_table(tmp_path, head + "a,train,f.mp4,0,1,joy\nb,test,f.mp4,0,1,sad\nc,train,f.mp4,2,3,sad\n")
    assert [(d.kind, d.ids) for d in read_table(root).defects] == [(LEAK, ("a_0", "b_0"))]


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("dialogue,text,label\na,x,joy\n", r"lacks the column 'split'. Add it with train, dev or test"),
        ("split,text,label\ntrain,x,joy\n", r"lacks the column 'dialogue'"),
        ("dialogue,split,label\na,train,joy\n", r"none of the columns text, audio, video"),
        ("dialogue,split,text,label,labels\na,train,x,joy,\n", r"both columns label and labels"),
        (
            "dialogue,split,text,label\na,train,x,joy\na,val,y,sad\n",
            r"own.csv:3 puts dialogue 'a' into 'val', .*csv:2 into",
        ),
        (
            "dialogue,split,text,label\na,val,x,joy\n",
            r"own.csv:2: dialogue is 'a' and split 'val', expected .*train, dev",
        ),
        ("dialogue,split,text,label\n,train,x,joy\n", r"own.csv:2: dialogue is ''"),
        ("dialogue,split,text,label\na,train,x,joy\n", r"The labels are 'joy', expected at least two"),
        (
            "dialogue,split,text,label\na,train,x,joy\na,train,x,sad\nb,dev,x,fear\n",
            r"csv:4: the label is 'fear', .*--labels",
        ),
        (
            "dialogue,split,id,text,label\na,train,1,x,joy\na,train,1,y,sad\n",
            r"csv:3: the id '1' is already that of own.csv:2",
        ),
        (
            "dialogue,split,text,label,start_s,end_s\na,train,x,joy,2,1\n",
            r"csv:2: end_s is 1, expected more than start_s",
        ),
        ("dialogue,split,text,label,start_s\na,train,x,joy,nan\n", r"csv:2: start_s is 'nan', expected seconds"),
        ("dialogue,split,text,label,start_s\na,train,x,joy,-1\n", r"csv:2: start_s is '-1', expected seconds"),
        ("dialogue,split,text,label,start_s\na,train,x,joy,1_0\n", r"csv:2: start_s is '1_0', expected seconds"),
        ("dialogue,split,text,label,start_s\na,train,x,joy,٣\n", r"csv:2: start_s is '٣', expected seconds"),
        ("dialogue,split,text,label,crop\na,train,x,joy,top\n", r"csv:2: crop is 'top', expected left or right"),
        ("dialogue,split,label,audio\na,train,joy,../x.wav\n", r"csv:2: audio is '../x.wav', expected a file inside"),
        (
            "dialogue,split,label,video\na,train,joy,/etc/passwd\n",
            r"csv:2: video is '/etc/passwd', expected a file inside",
        ),
        (
            "dialogue,split,label,video\na,train,joy,http://a/b\n",
            r"csv:2: video is 'http://a/b', expected a file inside",
        ),
        (
            "dialogue,split,text,video_start_s\na,train,x,1\n",
            r"csv:2: expected video, video_start_s and video_end_s tog",
        ),
        ("dialogue,split,text\n", r"own.csv holds no row"),
        ("", r"own.csv is empty"),
    ],
)
def test_a_bad_table_is_refused_with_what_to_do(tmp_path: Path, table: str, message: str):
    with pytest.raises(CorpusError, match=message):
        read_table(write_table(tmp_path, table))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("[1]", r"own.jsonl:1 holds a list, expected an object"),
        ("{", r"own.jsonl:1 is not valid JSON"),
        ('{"dialogue": {"a": 1}, "split": "train"}', r"own.jsonl:1: 'dialogue' is a dict, expected a text"),
        ('{"dialogue": "a", "split": "train", "text": true}', r"own.jsonl:1: 'text' is a bool"),
        ('{"dialogue": "a", "split": "train", "audio": "\\u0000"}', r"own.jsonl:1 holds .u0000 or half"),
        ('{"dialogue": "a", "split": "train", "text": "\\ud800"}', r"own.jsonl:1 holds .u0000 or half"),
        ("[" * 100_000, r"own.jsonl:1 is not valid JSON"),
    ],
)
def test_a_bad_json_line_is_refused(tmp_path: Path, line: str, message: str):
    with pytest.raises(CorpusError, match=message):
        read_table(write_table(tmp_path, line, name="own.jsonl"))


def test_given_labels_fix_the_order_and_refuse_others(tmp_path: Path):
    root = write_table(tmp_path, SMALL)
    assert read_table(root, labels=("neutral", "joy", "fear")).label_set.classes == ("neutral", "joy", "fear")
    with pytest.raises(
        CorpusError, match=r"csv:2: the label is 'joy', expected one of neutral, fear \(as --labels says\)"
    ):
        read_table(root, labels=("neutral", "fear"))


def test_a_folder_must_hold_one_table(tmp_path: Path):
    with pytest.raises(CorpusError, match=r"holds 0 CSV or JSONL files. Expected a table, .*\n(.*\n)*.*dialogue"):
        read_table(tmp_path)
    root = write_table(tmp_path, SMALL)
    write_table(tmp_path, SMALL, name="second.csv")
    with pytest.raises(CorpusError, match="holds 2 CSV or JSONL files"):
        read_table(root)
    with pytest.raises(CorpusError, match="is not a CSV or JSONL file"):
        read_table(tmp_path / "absent.csv")


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(body=st.binary(max_size=200), suffix=st.sampled_from([".csv", ".jsonl"]), keeps_header=st.booleans())
def test_random_bytes_never_raise_anything_else(tmp_path: Path, body: bytes, suffix: str, keeps_header: bool):
    header = b"dialogue,split,text,audio,label\na,train,x,,joy\na,train,x,,sad\n" if keeps_header else b""
    path = tmp_path / f"own{suffix}"
    path.write_bytes(header + body)
    try:
        manifest = read_table(path)
    except (CorpusError, ManifestError):
        return
    assert manifest.utterances


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@example(cell="0|", column="label")
@given(cell=st.text(max_size=20), column=st.sampled_from(COLUMNS))
def test_any_text_in_any_cell_is_read_or_refused(tmp_path: Path, cell: str, column: str):
    row = {"dialogue": "a", "split": "train", "text": "x", column: cell}
    path = tmp_path / "own.jsonl"
    path.write_bytes(json.dumps(row).encode() + b"\n")
    try:
        manifest = read_table(path, labels=("joy", "sad"))
    except (CorpusError, ManifestError):
        return
    saved = manifest.save(tmp_path / "out")
    assert Manifest.load(tmp_path / "out") == saved


def test_what_may_be_one_dialogue_or_out_of_order_is_named(tmp_path: Path):
    table = "dialogue,split,text,label,start_s,end_s\nA,train,x,joy,2,3\nA,train,y,sad,0,1\na,dev,z,joy,0,1\n"
    manifest = read_table(write_table(tmp_path, table))
    assert [(d.what, d.ids) for d in manifest.defects] == [
        ("starts before an utterance above it in its dialogue", ("A_1",)),
        ("dialogues 'A' and 'a' differ only in their spelling", ("A_0", "A_1", "a_0")),
    ]


def test_utterances_with_one_span_are_named(tmp_path: Path):
    rows = "a,train,x,joy,here.wav,0,1\na,train,y,sad,here.wav,0,1\na,train,z,sad,here.wav,1,2\n"
    table = f"dialogue,split,text,label,audio,audio_start_s,audio_end_s\n{rows}"
    (defect,) = read_table(write_table(tmp_path, table, media=["here.wav"])).defects
    assert (defect.what, defect.ids) == ("several utterances have the same span of one audio file", ("a_0", "a_1"))


def test_numbers_and_invisible_letters_make_no_other_emotion(tmp_path: Path):
    labels = ("1", "1.0", "0", "0", "joy", "jo\u200by")
    rows = "".join(f"a,train,x{n},{label}\n" for n, label in enumerate(labels))
    manifest = read_table(write_table(tmp_path, f"dialogue,split,text,label\n{rows}"))
    assert manifest.label_set.classes == ("0", "1", "joy")
    assert [defect.ids for defect in manifest.defects] == [("a_1",), ("a_5",)]


@pytest.mark.parametrize("labels", ['"joy, sad"', "joy;sad", "\"['joy', 'sad']\""])
def test_sets_of_emotions_written_in_another_way_are_refused(tmp_path: Path, labels: str):
    with pytest.raises(CorpusError, match=r"csv:3: the labels are .*; expected names with \| between them"):
        read_table(write_table(tmp_path, f"dialogue,split,text,labels\na,train,x,joy|sad\na,train,y,{labels}\n"))
