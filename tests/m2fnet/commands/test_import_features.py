import hashlib
import json
import pickle
import shlex
from collections import Counter

import numpy as np
import pytest
import torch

from m2fnet.cli import run
from m2fnet.commands.import_features import main
from m2fnet.corpora.iemocap_protocols import iemocap6, iemocap6_erc
from m2fnet.corpora.label_sets import MELD
from m2fnet.corpora.meld import COUNTS
from m2fnet.errors import CorpusError, UnsafePickleError, UsageError
from m2fnet.manifest import Manifest
from m2fnet.store import Store
from m2fnet.store.published import LAYOUTS

LENGTHS = {"a": 3, "b": 1, "c": 4, "d": 2, "e": 2, "f": 3}
WIDTHS = {"audio": 3, "visual": 2, **dict.fromkeys(("text", "text_1", "text_2", "text_3", "text_4"), 4)}
NAMES = [layout.name for layout in LAYOUTS]


def make_parts(lengths=LENGTHS) -> dict[str, object]:
    """Every table and list that a layout may ask for, values told apart by dialogue, place and table."""
    rng = np.random.default_rng(0)
    parts = {
        "ids": {d: [f"{d}_{n}" for n in range(count)] for d, count in lengths.items()},
        "speakers": {d: ["M", "F", "M", "F"][:count] for d, count in lengths.items()},
        "labels": {d: [n % 2 for n in range(count)] for d, count in lengths.items()},
        "sentences": {d: [f"{d} says {n}" for n in range(count)] for d, count in lengths.items()},
        "train": ["c", "a", "b", "d"],
        "dev": ["e"],
        "test": ["f"],
    }
    tables = {
        store: {d: rng.normal(size=(count, width)).astype(np.float32) for d, count in lengths.items()}
        for store, width in WIDTHS.items()
    }
    return {**parts, **tables}


def pack(layout_name: str, parts: dict[str, object]) -> tuple[object, ...]:
    layout = next(layout for layout in LAYOUTS if layout.name == layout_name)
    return tuple(parts.get(slot, {"unused": 0}) for slot in layout.slots)


@pytest.fixture
def imported(tmp_path):
    """Import parts as the command does; the manifest and the folder come back."""

    def imported(content, *arguments, labels="no,yes"):
        path = tmp_path / "features.pkl"
        path.write_bytes(content if isinstance(content, bytes) else pickle.dumps(content))
        main([str(path), "--labels", labels, "--out", str(tmp_path / "out"), *arguments])
        return Manifest.load(tmp_path / "out"), tmp_path / "out"

    return imported


def test_classes_that_never_occur_are_told(imported, capsys):
    imported(pack("9-tuple", make_parts()), labels="no,yes,perhaps")
    assert "never in it: perhaps; are these the labels of the pickle?" in capsys.readouterr().out
    imported(pack("9-tuple", make_parts()), "--overwrite")
    assert "never in it" not in capsys.readouterr().out


def test_quiet_prints_only_what_was_written_and_the_next_command(imported, capsys):
    imported(pack("13-tuple with four text views and dev", make_parts()), "--quiet")
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith("Imported 15 utterances in 6 dialogues")
    assert "Next: m2fnet dialog fit" in line


@pytest.mark.parametrize("name", NAMES)
def test_each_layout_is_recognised_and_every_value_arrives(imported, name, capsys):
    parts = make_parts()
    manifest, folder = imported(pack(name, parts))
    assert f"layout: {name}" in capsys.readouterr().out
    assert manifest.provenance["layout"] == name
    slots = next(layout for layout in LAYOUTS if layout.name == name).slots
    for utterance in manifest.utterances:
        assert utterance.text == f"{utterance.dialogue} says {utterance.index}"
        assert utterance.speaker == "MFMF"[utterance.index]
        assert utterance.label == ["no", "yes"][utterance.index % 2]
    for store_name in set(slots) & set(WIDTHS):
        store = Store(folder / store_name)
        store.require(manifest)
        assert store.meta.modality == store_name.split("_")[0]
        for u in manifest.utterances:
            assert np.array_equal(store[u.id].numpy(), parts[store_name][u.dialogue][u.index])


def test_the_summary_ends_with_the_command_to_type_next(imported, capsys):
    _, folder = imported(pack("12-tuple with four text views", make_parts()))
    words = shlex.split(capsys.readouterr().out.splitlines()[-1].split("Next: ")[1])
    assert words[:4] == ["m2fnet", "dialog", "fit", "--config"]
    assert words[words.index("--data.manifest") + 1] == str(folder)
    stores = json.loads(words[words.index("--data.stores") + 1])
    assert stores == {"text": f"{folder}/text_1", "audio": f"{folder}/audio", "visual": f"{folder}/visual"}


def test_the_stores_say_that_they_were_imported_and_from_what(imported, tmp_path):
    manifest, folder = imported(pack("9-tuple", make_parts()))
    origin = Store(folder / "audio").meta.extractor
    assert origin["imported"] == "features.pkl"
    assert origin["sha256"] == hashlib.sha256((tmp_path / "features.pkl").read_bytes()).hexdigest()
    assert origin["layout"] == "9-tuple"
    assert {key: manifest.provenance[key] for key in ("imported", "sha256", "layout")}.items() <= origin.items()


def test_the_pickle_s_own_dev_list_is_kept(imported):
    manifest, _ = imported(pack("13-tuple with four text views and dev", make_parts()))
    assert [d.id for d in manifest.dialogues("dev")] == ["e"]
    assert [d.id for d in manifest.dialogues("train")] == ["c", "a", "b", "d"]
    assert manifest.provenance["dev"] == "the pickle's own list"


def test_without_dev_list_a_share_of_the_training_dialogues_is_drawn_by_seed(imported):
    parts = make_parts({f"d{n}": 2 for n in range(44)})
    parts["train"], parts["test"] = [f"d{n}" for n in range(40)], [f"d{n}" for n in range(40, 44)]

    def dev(*arguments, train=parts["train"]):
        manifest, _ = imported(pack("9-tuple", {**parts, "train": train}), "--overwrite", *arguments)
        assert len(manifest.dialogues("train")) + len(manifest.dialogues("dev")) == 40
        assert len(manifest.dialogues("test")) == 4
        return {d.id for d in manifest.dialogues("dev")}

    assert len(dev()) == 4
    assert dev("--seed", "1") == dev("--seed", "1")
    assert dev("--seed", "1") != dev("--seed", "2")
    assert dev("--seed", "1") == dev("--seed", "1", train=parts["train"][::-1])
    assert len(dev("--dev-dialogues", "0.5")) == 20
    assert len(dev("--dev-dialogues", "0.001")) == 1
    assert dev("--dev-dialogues", "0") == set()
    assert dev("--dev-dialogues", "d3,d20") == {"d3", "d20"}


def test_an_iemocap_pickle_has_the_dev_dialogues_of_the_prepared_corpus(imported):
    names = [f"Ses{n:02}{who}_impro{k:02}" for n in range(1, 6) for who in "FM" for k in range(1, 4)]
    parts = make_parts(dict.fromkeys(names, 2))
    parts["train"], parts["test"] = [n for n in names if n < "Ses05"][::-1], [n for n in names if n >= "Ses05"]
    parts["labels"] = {name: [0, 5] for name in names}
    manifest, _ = imported(pack("9-tuple", parts), "--seed", "3", labels="iemocap6")
    assert {u.dialogue: u.split for u in manifest.utterances} == iemocap6_erc().splits(names)
    assert {d.id for d in manifest.dialogues("dev")} == {"Ses02M_impro01", "Ses04F_impro02"}


def test_dev_dialogues_replace_the_dev_list_of_the_pickle(imported):
    parts = pack("13-tuple with four text views and dev", make_parts())
    manifest, _ = imported(parts, "--dev-dialogues", "c")
    assert [d.id for d in manifest.dialogues("dev")] == ["c"]
    assert "e" in [d.id for d in manifest.dialogues("train")]


@pytest.mark.parametrize(
    ("wanted", "message"),
    [("c,nowhere", "names 'nowhere', which is no training"), ("c,a,b,d", "none remains to train")],
)
def test_dev_dialogues_that_cannot_be_are_refused(imported, wanted, message):
    with pytest.raises(UsageError, match=message):
        imported(pack("9-tuple", make_parts()), "--dev-dialogues", wanted)


@pytest.mark.parametrize("position", ["first", "last", "nowhere"])
def test_meld_s_own_dev_dialogues_are_recognised_wherever_the_training_list_has_them(imported, position):
    numbers = [n for n, name in enumerate(MELD.classes) for _ in range(COUNTS["dev"]["labels"][name])]
    chunks = np.array_split(numbers, COUNTS["dev"]["dialogues"])
    if position == "nowhere":
        chunks[0][0] = 6 - chunks[0][0]
    dev = {f"dev_{n}": chunk.tolist() for n, chunk in enumerate(chunks)}
    train = {f"train_{n}": [n % 7] for n in range(120)}
    labels = {**dev, **train, "test_0": [0, 1]}
    parts = {
        "ids": {d: list(range(len(v))) for d, v in labels.items()},
        "speakers": {d: [[0, 1, 0]] * len(v) for d, v in labels.items()},
        "labels": labels,
        "text": {d: np.ones((len(v), 2), np.float32) for d, v in labels.items()},
        "audio": {d: np.zeros((len(v), 1), np.float32) for d, v in labels.items()},
        "visual": {},
        "sentences": {d: ["oh"] * len(v) for d, v in labels.items()},
        "train": [*train, *dev] if position == "last" else [*dev, *train],
        "test": ["test_0"],
    }
    manifest, _ = imported(pack("10-tuple", parts), labels="meld")
    counted = manifest.counts()["dev"]
    if position == "nowhere":
        assert counted["dialogues"] == 23
        assert manifest.provenance["dev"] == "10% of the training dialogues, drawn with seed 0"
    else:
        assert {d.id for d in manifest.dialogues("dev")} == set(dev)
        assert counted["labels"] == COUNTS["dev"]["labels"]
        assert "MELD's own dev split" in manifest.provenance["dev"]


def test_a_modality_that_the_authors_left_out_is_not_stored_and_said(imported, capsys):
    parts = make_parts()
    parts["audio"] = {d: np.zeros((count, 1)) for d, count in LENGTHS.items()}
    parts["visual"] = {}
    manifest, folder = imported(pack("9-tuple", parts))
    printed = capsys.readouterr().out
    assert "not stored: audio, its vectors have width 1" in printed
    assert "not stored: visual, its table is empty" in printed
    assert sorted(p.name for p in folder.iterdir() if p.is_dir()) == ["text"]
    assert set(manifest.provenance["empty"]) == {"audio", "visual"}


@pytest.mark.parametrize(
    ("speaker", "name"),
    [
        ("Joey", "Joey"),
        (2, "speaker_2"),
        ([0, 0, 1], "speaker_2"),
        ((1.0, 0.0), "speaker_0"),
        (np.array([0, 1]), "speaker_1"),
        (np.int64(4), "speaker_4"),
        ([0, 0], None),
    ],
)
def test_speakers_become_names(imported, speaker, name):
    parts = make_parts()
    parts["speakers"]["b"] = [speaker]
    manifest, _ = imported(pack("9-tuple", parts))
    assert {u.speaker for u in manifest.utterances if u.dialogue == "b"} == {name}


@pytest.mark.parametrize("form", [list, tuple, np.array, lambda rows: [r.tolist() for r in rows], np.float64])
def test_vectors_may_be_arrays_or_lists(imported, form):
    parts = make_parts()
    expected = parts["text"]
    manifest, folder = imported(pack("9-tuple", {**parts, "text": {d: form(rows) for d, rows in expected.items()}}))
    store = Store(folder / "text")
    for u in manifest.utterances:
        assert torch.equal(store[u.id], torch.from_numpy(expected[u.dialogue][u.index]))


def test_numbered_dialogues_and_utterances_get_unique_ids(imported):
    parts = make_parts(dict.fromkeys(range(4), 2))
    parts.update(ids={n: [0, 1] for n in range(4)}, train=[0, 1, 2], test={3})
    manifest, _ = imported(pack("9-tuple", parts))
    assert sorted(u.id for u in manifest.utterances) == [f"{d}_utt{n}" for d in range(4) for n in range(2)]


def test_ids_that_repeat_over_dialogues_are_not_used(imported):
    parts = make_parts()
    parts["ids"] = {d: [str(n) for n in range(count)] for d, count in LENGTHS.items()}
    manifest, _ = imported(pack("9-tuple", parts))
    assert "c_utt3" in {u.id for u in manifest.utterances}


@pytest.mark.parametrize(
    ("stored", "text"),
    [
        ("I’m".encode().decode("latin-1"), "I’m"),
        ("caf\xc3\xa9", "café"),
        ("I\x92m", "I’m"),
        ("café", "café"),
        ("I’m", "I’m"),
        ("\ud800!", "?!"),
    ],
)
def test_sentences_that_python_2_pickled_as_bytes_are_repaired(imported, stored, text):
    parts = make_parts()
    parts["sentences"]["b"] = [stored]
    manifest, _ = imported(pack("9-tuple", parts))
    assert [u.text for u in manifest.utterances if u.dialogue == "b"] == [text]


def test_dialogues_in_no_split_are_left_out_and_named(imported, capsys):
    parts = make_parts()
    parts["train"] = ["c", "a"]
    manifest, _ = imported(pack("9-tuple", parts), "--dev-dialogues", "0.5")
    assert {d.id for d in manifest.dialogues()} == {"c", "a", "f"}
    assert set(manifest.defects[0].ids) == {"b", "d", "e"}
    assert "3 × dialogue in no split of the pickle: not imported" in capsys.readouterr().out


def changed(**tables):
    parts = make_parts()
    for name, change in tables.items():
        parts[name] = {**parts[name], **change} if isinstance(change, dict) else change
    return parts


WRONG = {
    "dialogue 'a' has the label 2; expected 0 to 1": changed(labels={"a": [0, 1, 2]}),
    "dialogue 'a' has the label -1": changed(labels={"a": [0, 1, -1]}),
    "dialogue 'a' has the label 'joy'": changed(labels={"a": [0, 1, "joy"]}),
    "dialogue 'a' has the label True": changed(labels={"a": [0, 1, True]}),
    "dialogue 'a' has the label a list": changed(labels={"a": [0, 1, [[[]]]]}),
    "dialogue 'a' has 3 labels but 2 sentences": changed(sentences={"a": ["x", "y"]}),
    "dialogue 'a' has 3 labels but 2 audio": changed(audio={"a": np.zeros((2, 3))}),
    "dialogue 'a' has a int for its labels": changed(labels={"a": 3}),
    "dialogue 'a' has no utterances": changed(labels={"a": []}),
    "utterance 1 of dialogue 'a' has NaN or infinity in its text": changed(text={"a": np.diag([1, np.nan, 1, 1])[:3]}),
    "utterance 0 of dialogue 'a' has NaN or infinity in its visual": changed(visual={"a": [[1e300, 0]] * 3}),
    "utterance 2 of dialogue 'a' has NaN or infinity in its visual": changed(
        visual={"a": [[0, 0]] * 2 + [[0, 10**400]]}
    ),
    "utterance 0 of dialogue 'a' has text of width 5": changed(text={"a": np.zeros((3, 5))}),
    "dialogue 'a' has text that is a ndarray of shape (2, 2)": changed(text={"a": np.zeros((3, 2, 2))}),
    "dialogue 'a' has text that is a list": changed(text={"a": [["x"] * 4] * 3}),
    "dialogue 'a' has a speaker that is a list": changed(speakers={"a": ["M", "M", [1, 1]]}),
    "dialogue 'a' has a sentence that is 3": changed(sentences={"a": ["x", "y", 3]}),
    "dialogue 'a' has an utterance id None": changed(ids={"a": ["x", "y", None]}),
    "dialogue 'z' is not in the table of labels": changed(train=["a", "z"]),
    "dialogue 'a' is in train and again in test": changed(test=["f", "a"]),
    "dialogue 'a' is in train and again in train": changed(train=["a", "a"]),
    "its list of training or of test dialogues is empty": changed(test=[]),
    "a dialogue is named by None": changed(test=[None]),
    "two dialogues of the labels have the same name": changed(labels={1: [0], "1": [0]}),
    "no modality holds vectors": {**make_parts(), "text": {}, "audio": {}, "visual": {}},
}


@pytest.mark.parametrize("problem", WRONG)
def test_a_wrong_value_is_refused_by_dialogue_and_leaves_nothing(imported, problem, tmp_path):
    with pytest.raises(CorpusError) as refused:
        imported(pack("9-tuple", WRONG[problem]))
    assert problem in str(refused.value)
    assert "features.pkl" in str(refused.value)
    assert "; expected " in str(refused.value)
    assert not (tmp_path / "out").exists()


def test_a_table_without_a_dialogue_is_named(imported):
    parts = make_parts()
    del parts["audio"]["d"]
    with pytest.raises(CorpusError, match="dialogue 'd' is not in the table of audio"):
        imported(pack("9-tuple", parts))


@pytest.mark.parametrize(
    ("content", "came"),
    [
        ({"a": 1}, "holds a dict; expected"),
        (3, "holds a int; expected"),
        (({},) * 5, "holds a tuple of 5 parts (dict, dict, dict, dict, dict)"),
        (({},) * 9, "holds a tuple of 9 parts"),
        ((1,) * 10, "holds a tuple of 10 parts"),
    ],
)
def test_an_unknown_layout_is_refused_with_the_known_ones(imported, content, came):
    with pytest.raises(CorpusError) as refused:
        imported(content)
    assert came in str(refused.value)
    assert "9-tuple: ids speakers labels text audio visual sentences train test" in str(refused.value)


def test_one_large_object_in_many_places_does_not_fill_the_disk(imported, tmp_path):
    vectors = np.ones((3, 20_000), np.float32)
    names = [f"d{n}" for n in range(5_000)]
    parts = {slot: dict.fromkeys(names, value) for slot, value in (
        ("ids", [0, 1, 2]), ("speakers", ["M"] * 3), ("labels", [0, 1, 0]), ("text", vectors), ("audio", vectors),
        ("visual", vectors), ("sentences", ["x"] * 3),
    )}  # fmt: skip
    with pytest.raises(CorpusError, match="written out it is much larger than the file"):
        imported(pack("9-tuple", {**parts, "train": names[1:], "test": names[:1]}))
    assert not (tmp_path / "out").exists()


def test_a_hostile_pickle_is_refused_with_the_name_it_asked_for(imported, tmp_path):
    with pytest.raises(UnsafePickleError, match=r"asks for os\.system"):
        imported(b"cos\nsystem\n(S'touch pwned'\ntR.")
    assert not (tmp_path / "out").exists()


def test_another_import_is_not_overwritten_unless_asked(imported, tmp_path):
    parts = make_parts()
    imported(pack("12-tuple with four text views", parts))
    with pytest.raises(UsageError, match=r"already holds manifest.meta.json; choose another --out.*--overwrite"):
        imported(pack("9-tuple", parts))
    manifest, folder = imported(pack("9-tuple", parts), "--overwrite")
    assert sorted(p.name for p in folder.iterdir() if p.is_dir()) == ["audio", "text", "visual"]
    Store(folder / "text").require(manifest)


def test_a_refused_import_leaves_the_old_one_unchanged_even_with_overwrite(imported):
    manifest, folder = imported(pack("9-tuple", make_parts()))
    with pytest.raises(CorpusError):
        imported(pack("9-tuple", changed(labels={"a": [9, 9, 9]})), "--overwrite")
    assert Manifest.load(folder) == manifest
    Store(folder / "text").require(manifest)


@pytest.mark.parametrize("labels", ["joy", "joy,joy", "joy,,anger", "", "IEMOCAP"])
def test_wrong_label_names_are_wrong_use(imported, labels):
    with pytest.raises(
        UsageError, match="expected meld, iemocap6, m3ed-main or m3ed-dialogues, or at least two different names"
    ):
        imported(pack("9-tuple", make_parts()), labels=labels)


@pytest.mark.parametrize("share", ["1", "-0.1", "nan"])
def test_a_wrong_dev_share_is_wrong_use(imported, share):
    with pytest.raises(UsageError, match="expected a share of at least 0 and below 1"):
        imported(pack("9-tuple", make_parts()), "--dev-dialogues", share)


def test_iemocap_labels_are_in_the_order_of_the_published_pickles(imported):
    parts = make_parts()
    parts["labels"] = {d: [5 - n for n in range(count)] for d, count in LENGTHS.items()}
    manifest, _ = imported(pack("9-tuple", parts), labels="iemocap6")
    found = Counter(u.label for u in manifest.utterances)
    assert found == {"frustrated": 5, "excited": 4, "angry": 3, "neutral": 1}
    assert manifest.label_set == iemocap6().label_set  # what `prepare iemocap` uses
    assert manifest.corpus == "iemocap6"


def test_exit_codes(tmp_path, capsys):
    good, hostile = tmp_path / "good.pkl", tmp_path / "hostile.pkl"
    good.write_bytes(pickle.dumps(pack("9-tuple", make_parts())))
    hostile.write_bytes(b"cos\nsystem\n.")  # names a function, and calls nothing
    out = ["--labels", "no,yes", "--out", str(tmp_path / "out")]
    assert run(["import", str(hostile), *out]) == 1
    assert "os.system" in capsys.readouterr().err
    assert run(["import", str(tmp_path / "nothing.pkl"), *out]) == 1
    assert run(["import", str(good), *out]) == 0
    assert "Next:" in capsys.readouterr().out
    assert run(["import", str(good), *out]) == 2
    assert run(["import", str(good)]) == 2
    assert run(["import", "--help"]) == 0
    assert json.loads((tmp_path / "out" / "manifest.meta.json").read_text())["corpus"] == "good"
