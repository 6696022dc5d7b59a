"""A manifest that stays in its file behaves as one in memory, and takes little of it."""

import dataclasses
import errno
import json
import pickle
import re
import subprocess
import sys
import tempfile

import pytest
import torch

from extractors.extraction.embedding import place_utterances
from m2fnet.errors import ManifestError
from m2fnet.manifest import Manifest
from m2fnet.manifest.lookup import ABSENT, Lookup
from m2fnet.manifest.table import DialogueTable, UtteranceTable, collected, lengths_of
from m2fnet.records import LabelSet, Utterance
from m2fnet.store import Store, StoreWriter

LABELS = LabelSet("own", ("joy", "anger"))


def corpus(dialogues: int = 40, each: int = 5) -> Manifest:
    """Dialogues whose utterances are mixed with those of others, and not in speaking order."""
    said = [
        Utterance(
            f"d{d}_{n}", "own", ("train", "dev", "test")[d % 3], f"d{d}", n, "AB"[n % 2],
            text=f"Word {d} {n}\u2028ü", label=LABELS.classes[(d + n) % 2] if n else None,
        )
        for n in reversed(range(each)) for d in range(dialogues)
    ]  # fmt: skip
    return Manifest("own", LABELS, tuple(said))


@pytest.fixture
def large(monkeypatch):
    """Every manifest that is loaded stays in its file."""
    monkeypatch.setattr("m2fnet.manifest.manifest._LARGE", 0)


@pytest.fixture
def pair(tmp_path, large):
    """The same manifest in memory and in its file."""
    saved = corpus().save(tmp_path)
    found = Manifest.load(tmp_path)
    assert isinstance(found.utterances, UtteranceTable)
    return saved, found


def test_it_is_equal_to_the_one_in_memory(pair):
    here, there = pair
    assert there == here
    assert here == there
    assert there.utterances[3:6] == here.utterances[3:6]
    assert there.utterances[-1] == here.utterances[-1]
    assert there.counts() == here.counts()
    assert repr(there) == repr(here)
    assert dataclasses.replace(there, utterances=there.utterances[:5]) != here


@pytest.mark.parametrize("split", [None, "train", "dev", "test"])
def test_its_dialogues_are_those_of_the_one_in_memory(pair, split):
    here, there = pair
    assert isinstance(there.dialogues(split), DialogueTable)
    assert list(there.dialogues(split)) == here.dialogues(split)
    assert there.dialogues(split)[1:3] == here.dialogues(split)[1:3]
    assert there.dialogues(split)[-1] == here.dialogues(split)[-1]
    assert lengths_of(there.dialogues(split)) == lengths_of(here.dialogues(split))
    with pytest.raises(IndexError):
        there.dialogues(split)[len(here.dialogues(split))]


def test_its_utterances_are_placed_as_those_of_the_one_in_memory(pair):
    placed = [[(p.utterance, p.position, p.dialogue) for p in place_utterances(one, "train")] for one in pair]
    assert placed[0] == placed[1]
    backwards = [place_utterances(pair[1], "train")[-1 - n].utterance for n in range(len(placed[0]))]
    assert backwards == [utterance for utterance, *_ in reversed(placed[0])]


def test_it_is_saved_as_it_was_over_its_own_file(pair, tmp_path):
    here, there = pair
    assert there.save(tmp_path).sha256 == here.sha256
    assert list(there.utterances) == list(here.utterances)  # of the file that has been replaced


def test_another_process_reads_it(pair):
    here, there = pair
    # how workers of a loader get it; what is read was written in the same line
    assert pickle.loads(pickle.dumps(there)) == here
    assert there.utterances[7] == here.utterances[7]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda row: {**row, "index": "one"}, r"manifest.jsonl:3: field 'index' is 'one', expected an integer"),
        (lambda row: {**row, "id": "d0_4"}, r"The utterance id 'd0_4' occurs more than once \(1 such\)"),
        (
            lambda row: {**row, "dialogue": "d0"},
            r"The place in a dialogue 'd0\[4\]' occurs more than once|in one split",
        ),
        (lambda row: {**row, "label": "fear"}, r"has the label 'fear'"),
        (lambda row: [row], r"manifest.jsonl:3 holds a list, expected a JSON object"),
    ],
)
def test_its_rows_are_checked_as_those_in_memory(tmp_path, large, change, message):
    corpus().save(tmp_path)
    lines = (tmp_path / "manifest.jsonl").read_text(encoding="utf-8").split("\n")
    lines[2] = json.dumps(change(json.loads(lines[2])))
    (tmp_path / "manifest.jsonl").write_text("\n".join(lines), encoding="utf-8")
    meta = json.loads((tmp_path / "manifest.meta.json").read_text(encoding="utf-8"))
    found = subprocess.run(["sha256sum", tmp_path / "manifest.jsonl"], capture_output=True, text=True, check=True)
    (tmp_path / "manifest.meta.json").write_text(json.dumps({**meta, "sha256": found.stdout.split()[0]}))
    with pytest.raises(ManifestError, match=message):
        Manifest.load(tmp_path)


def test_a_store_is_the_same_for_both(pair, tmp_path):
    for name, manifest in zip("ab", pair, strict=True):
        with StoreWriter(tmp_path / name, manifest, modality="text", width=2, extractor={}) as writer:
            for number, utterance in enumerate(pair[0].utterances):
                writer.add(utterance.id, torch.tensor([number, 1.0]))
        Store(tmp_path / name).require(manifest)
    files = [sorted(path.name for path in (tmp_path / name).iterdir()) for name in "ab"]
    assert files[0] == files[1]
    assert all((tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes() for name in files[0])


def test_names_with_the_same_hash_count_as_repeated(monkeypatch):
    monkeypatch.setattr("m2fnet.manifest.lookup.hash_of", lambda name: len(name))
    lookup = Lookup.of(["a", "bb", "c"])
    assert lookup.repeated() == [2]
    assert lookup.places(["dd", "eee"]).tolist() == [1, ABSENT]


@pytest.mark.parametrize("name", ["", "ü", "\udc80", "x" * 10_000])
def test_any_text_is_looked_up(name):
    assert Lookup.of(["other", name]).place(name) == 1
    assert Lookup.of(["other"]).place(name) == ABSENT
    assert name not in Lookup.of([])


@pytest.mark.slow
def test_a_hundred_thousand_utterances_take_little_memory(tmp_path):
    said = (
        Utterance(f"d{n // 10}_{n}", "own", "train", f"d{n // 10}", n, text="Word " * 20, label="joy")
        for n in range(100_000)
    )
    Manifest("own", LABELS, tuple(said)).save(tmp_path)
    code = (
        "import resource, sys\n"
        "import m2fnet.manifest.manifest as module\n"
        "module._LARGE = 0\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "manifest = module.Manifest.load(sys.argv[1])\n"
        "assert sum(map(len, manifest.dialogues('train'))) == 100_000\n"
        "print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)\n"
    )
    found = subprocess.run([sys.executable, "-c", code, tmp_path], capture_output=True, text=True, check=True)
    assert float(found.stdout) < 20  # MiB; in memory they are 53


def test_a_pickled_table_is_of_the_file_that_it_was_made_from(pair, tmp_path):
    _, there = pair
    pickled = pickle.dumps(there)  # made here, and read below as a worker would
    corpus(dialogues=41).save(tmp_path)
    with pytest.raises(ManifestError, match=r"manifest.jsonl was changed while another process read it"):
        pickle.loads(pickled)
    with pytest.raises(TypeError, match="temporary file, which only this process has"):
        pickle.dumps(collected(there.utterances, most=2))


def test_a_full_temporary_folder_is_named(pair, monkeypatch):
    class Full:
        def writelines(self, lines):
            next(iter(lines))
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("tempfile.TemporaryFile", Full)
    with pytest.raises(OSError, match=re.escape(tempfile.gettempdir())):
        collected(pair[0].utterances, most=2)
