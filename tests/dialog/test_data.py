import json

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tiny_corpus import CLASSES, WIDTHS, tiny_manifest, write_stores

from dialog.data import DialogueData, Dialogues
from m2fnet.errors import StoreError, UsageError
from m2fnet.problems import UNLABELLED, make_problem
from m2fnet.records import Dialogue, LabelSet, Utterance
from m2fnet.store import Store
from m2fnet.training.samplers import LengthGroupedBatchSampler

PROBLEM = make_problem(LabelSet("two", ("anger", "joy")), {"text": 3})


def data_of(folder, **settings):
    stores = {name: str(folder / name) for name in WIDTHS}
    return DialogueData(**{"manifest": str(folder / "manifest"), "stores": stores, "batch_size": 4, **settings})


def test_a_batch_holds_each_utterance_in_its_place(tiny):
    dialogues = data_of(tiny).dialogues("train")
    batch = dialogues.__getitems__([2, 0])
    stores = {name: Store(tiny / name) for name in WIDTHS}
    for b, number in enumerate([2, 0]):
        start, length = int(dialogues.starts[number]), int(dialogues.lengths[number])
        for u in range(batch["valid"].shape[1]):
            assert bool(batch["valid"][b, u]) == (u < length)
            if u >= length:
                assert (batch["row"][b, u], batch["label"][b, u]) == (-1, UNLABELLED)
                continue
            utterance = dialogues.utterances[start + u]
            label = UNLABELLED if utterance.label is None else CLASSES.index(utterance.label)
            assert (batch["row"][b, u], batch["label"][b, u]) == (start + u, label)
            for name, store in stores.items():
                assert bool(batch["present"][name][b, u]) == (utterance.id in store)
                expected = store[utterance.id] if utterance.id in store else torch.zeros(WIDTHS[name])
                assert torch.equal(batch["inputs"][name][b, u], expected)
    assert batch["labelled"] == int((batch["label"] != UNLABELLED).sum())


@pytest.mark.parametrize("split", ["train", "dev", "test"])
def test_what_stays_on_disk_gives_the_same_batches(tiny, split, monkeypatch):
    here = data_of(tiny).dialogues(split)
    monkeypatch.setattr("m2fnet.manifest.manifest._LARGE", 0)
    monkeypatch.setattr("m2fnet.store.reader._LARGE", 0)
    there = data_of(tiny).dialogues(split)
    assert list(there.utterances) == list(here.utterances)
    assert there.utterances[-1] == here.utterances[-1]
    numbers = list(range(len(here)))[::-1]
    torch.testing.assert_close(dict(there.__getitems__(numbers)), dict(here.__getitems__(numbers)), equal_nan=True)
    for name in WIDTHS:
        assert torch.equal(there.embeddings(name), here.embeddings(name))


def test_of_a_large_split_some_vectors_tell_the_scale(tiny, monkeypatch):
    monkeypatch.setattr("dialog.data._MOST_SCALED", 5)
    dialogues = data_of(tiny).dialogues("train")
    for name in WIDTHS:
        some = dialogues.embeddings(name)
        assert 3 <= len(some) <= 5
        assert all((some[n] == dialogues._vectors[name][:]).all(-1).any() for n in range(len(some)))


def test_a_batch_tells_who_speaks_and_how_long_nobody_did():
    def said(dialogue, place, speaker, start_s, end_s):
        return Utterance(
            f"{dialogue}{place}", "x", "train", dialogue, place, speaker, "hm", start_s=start_s, end_s=end_s
        )

    long = (said("a", 0, "Bo", 0, 1), said("a", 1, None, 1.5, 2), said("a", 2, "Al", 1, 4), said("a", 3, "Bo", None, 9))
    short = (said("b", 0, "Al", 5, 6), said("b", 1, "Al", 6, 7))
    dialogues = Dialogues([Dialogue("a", "train", long), Dialogue("b", "train", short)], {}, PROBLEM)
    batch = dialogues.__getitems__([1, 0])
    assert batch["speaker"].tolist() == [[0, 0, -1, -1], [0, -1, 1, 0]]
    nan = float("nan")
    expected = torch.tensor([[nan, 0, nan, nan], [nan, 0.5, -1, nan]])
    torch.testing.assert_close(batch["gap_s"], expected, equal_nan=True)


def test_one_dialogue_is_a_batch_of_one(tiny):
    dialogues = data_of(tiny).dialogues("dev")
    assert dialogues[1]["label"].tolist() == dialogues.__getitems__([1])["label"].tolist()


@given(st.lists(st.integers(1, 40), min_size=1, max_size=80), st.integers(1, 9), st.integers(0, 5))
def test_every_dialogue_comes_once_an_epoch(lengths, batch_size, epoch):
    batches = LengthGroupedBatchSampler(torch.tensor(lengths), batch_size, seed=7)
    batches.set_epoch(epoch)
    drawn = list(batches)
    assert sorted(n for batch in drawn for n in batch) == list(range(len(lengths)))
    assert len(drawn) == len(batches)
    assert all(1 <= len(batch) <= batch_size for batch in drawn)
    assert drawn == list(batches)


def test_epochs_and_seeds_shuffle_differently_and_evaluation_does_not():
    lengths = torch.arange(1, 101)
    first, second, other = (
        LengthGroupedBatchSampler(lengths, 8, 0),
        LengthGroupedBatchSampler(lengths, 8, 0),
        LengthGroupedBatchSampler(lengths, 8, 1),
    )
    second.set_epoch(1)
    assert list(first) != list(second)
    assert list(first) != list(other)
    fixed = LengthGroupedBatchSampler(lengths, 8, None)
    before = list(fixed)
    fixed.set_epoch(3)
    assert list(fixed) == before


def test_little_is_padding_at_the_lengths_of_a_real_corpus():
    lengths = 1 + torch.randint(0, 24, (1000,), generator=torch.Generator().manual_seed(0))
    padded = sum(len(batch) * int(lengths[batch].max()) for batch in LengthGroupedBatchSampler(lengths, 32, seed=0))
    assert 1 - int(lengths.sum()) / padded < 0.10


def test_the_problem_comes_from_manifest_and_stores(tiny):
    problem = data_of(tiny, streams=["visual", "text"]).problem
    assert (problem.label_set.classes, problem.widths) == (CLASSES, {"text": 12, "visual": 10})


@pytest.mark.parametrize("modalities", [[], ["smell"], ["text", "text"]])
def test_wrong_modalities_are_refused(tiny, modalities):
    with pytest.raises(UsageError, match=r"data\.streams is .*, but data\.stores has the streams text, audio, visual;"):
        data_of(tiny, streams=modalities)


def test_a_store_under_the_wrong_modality_is_refused(tiny):
    with pytest.raises(StoreError, match=r"data\.stores\.text is .*audio, which holds audio embeddings"):
        data_of(tiny, stores={"text": str(tiny / "audio")})


def test_a_store_of_another_manifest_is_refused(tiny, tmp_path):
    other = tiny_manifest(seed=1).save(tmp_path / "other")
    write_stores(tmp_path / "elsewhere", other)
    with pytest.raises(StoreError, match="Extract again with `m2fnet extract --manifest`"):
        data_of(tiny, stores={"text": str(tmp_path / "elsewhere" / "text")})


def test_a_split_without_dialogues_is_named(tiny, tmp_path):
    manifest = tiny_manifest(dialogues=(3, 2, 0)).save(tmp_path / "no-test")
    write_stores(tmp_path / "stores", manifest)
    data = DialogueData(str(tmp_path / "no-test"), {"text": str(tmp_path / "stores" / "text")})
    with pytest.raises(UsageError, match="no dialogue in the split 'test'"):
        data.dialogues("test")


def test_a_damaged_manifest_is_a_readable_error(tiny):
    (tiny / "manifest" / "manifest.meta.json").write_text(json.dumps([]))
    with pytest.raises(ValueError, match="expected a JSON object"):
        data_of(tiny)
