"""Frozen splits: what is in them, and every leak that is planted is refused."""

import json
from dataclasses import replace

import pytest

from dialog.self_training.splits import FrozenSplit, freeze
from m2fnet.errors import RunError, UsageError
from m2fnet.manifest import Manifest
from m2fnet.records import LabelSet, Utterance

LABELS = LabelSet("two", ("joy", "anger"))


def utterance(name, split="train", dialogue=None, label="joy", **more):
    return Utterance(
        name, "own", split, dialogue or name.partition("_")[0], int(name.partition("_")[2]), label=label, **more
    )


@pytest.fixture
def manifest():
    """Ten labelled dialogues of two utterances, three unlabelled ones, and two each of dev and test."""
    said = [utterance(f"d{n}_{i}", label=LABELS.classes[n % 2], speaker=f"s{n % 5}") for n in range(10) for i in (0, 1)]
    said += [utterance(f"p{n}_0", label=None, text="Fine.") for n in range(3)]
    said += [utterance(f"{split}{n}_0", split, text="Oh!") for split in ("dev", "test") for n in range(2)]
    return Manifest("own", LABELS, tuple(said), sha256="abc")


@pytest.fixture
def split(manifest):
    return freeze(manifest, folds=2)


def test_gold_is_what_is_labelled_and_the_pool_what_is_not(manifest, split):
    assert sorted(split.gold) == sorted(u.id for u in manifest.utterances if u.split == "train" and u.label)
    assert split.pool == ("p0_0", "p1_0", "p2_0")
    assert (split.dev, split.test) == (("dev0_0", "dev1_0"), ("test0_0", "test1_0"))
    assert {len(fold) for fold in split.folds} == {10}
    assert split.gold_of(split.others(0)) == split.folds[1]


@pytest.mark.parametrize("seed", range(5))
def test_drawn_gold_is_of_whole_dialogues_and_the_rest_is_the_pool(manifest, seed):
    split = freeze(manifest, gold=9, folds=2, seed=seed)
    dialogues = [name[:2] for name in split.gold]
    assert len(dialogues) == 8
    assert all(dialogues.count(name) == 2 for name in dialogues)
    assert len(split.pool) == 23 - 8
    assert split == freeze(manifest, gold=9, folds=2, seed=seed)


def test_other_gold_and_folds_have_another_hash(manifest):
    hashes = {freeze(manifest, gold=8, folds=folds, seed=seed).sha256 for folds in (2, 3) for seed in (0, 1)}
    assert len(hashes) == 4


def test_a_session_stays_in_one_fold(manifest):
    split = freeze(manifest, folds=5, by="session")
    speakers = {u.id: u.speaker for u in manifest.utterances}
    assert all(len({speakers[name] for name in fold}) == 1 for fold in split.folds)


def test_the_pool_keeps_apart_from_gold_and_from_what_is_scored(manifest):
    more = (
        utterance("d0_7", label=None),
        utterance("q_0", label=None, text=" oh! "),
        utterance("r_0", label=None, speaker="s1"),
    )
    manifest = replace(manifest, utterances=manifest.utterances + more)
    assert freeze(manifest, folds=2, apart=[]).pool[3:] == ("d0_7", "q_0", "r_0")
    assert freeze(manifest, folds=2).pool[3:] == ("q_0", "r_0")
    assert freeze(manifest, folds=2, apart=["dialogue", "text"]).pool[3:] == ("r_0",)
    assert freeze(manifest, folds=2, apart=["dialogue", "text", "speaker"]).pool[3:] == ()


def test_test_is_in_the_pool_only_where_that_is_asked_for(manifest):
    split = freeze(manifest, folds=2, transductive=True)
    assert split.pool[3:] == ("test0_0", "test1_0")
    assert split.transductive


@pytest.mark.parametrize(
    ("planted", "words"),
    [
        ("d0_0", "The pool has 1 gold utterances, the first is 'd0_0'; expected none"),
        ("dev0_0", "The pool has 1 dev utterances"),
        ("test1_0", "The pool has 1 test utterances.*With transductive: true"),
        ("nobody", "has no utterance 'nobody'"),
    ],
)
def test_a_pool_with_what_is_learned_or_scored_is_refused(manifest, planted, words):
    with pytest.raises(UsageError, match=words):
        freeze(manifest, folds=2, pool=["p0_0", planted])


def test_dev_is_refused_in_a_transductive_pool_too(manifest):
    with pytest.raises(UsageError, match="The pool has 1 dev utterances"):
        freeze(manifest, folds=2, pool=["test0_0", "dev0_0"], transductive=True)


@pytest.mark.parametrize(
    ("planted", "apart", "words"),
    [
        (utterance("d0_7", label=None), ["dialogue"], "'d0_7' of the pool has the same dialogue as a gold"),
        (utterance("q_0", label=None, text="Oh! "), ["text"], "'q_0' of the pool has the same text as a gold, dev or"),
        (utterance("q_0", label=None, speaker="s3"), ["speaker"], "the same speaker"),
    ],
)
def test_a_named_pool_that_is_not_apart_is_refused(manifest, planted, apart, words):
    manifest = replace(manifest, utterances=(*manifest.utterances, planted))
    with pytest.raises(UsageError, match=words):
        freeze(manifest, folds=2, pool=[planted.id], apart=apart)
    assert freeze(manifest, folds=2, pool=[planted.id], apart=[]).pool == (planted.id,)


@pytest.mark.parametrize(
    ("gold", "words"),
    [
        (["dev0_0", "d0_0"], "'dev0_0' cannot be gold"),
        (["p0_0"], "'p0_0' cannot be gold"),
        (1, "has no labelled utterance"),
        (2, "There are 1 training dialogues, expected at least one for each of 2 folds"),
    ],
)
def test_gold_that_cannot_be_is_refused(manifest, gold, words):
    with pytest.raises(UsageError, match=words):
        freeze(manifest, gold=gold, folds=2)


def test_a_corpus_without_anything_unlabelled_is_refused(manifest):
    labelled = tuple(u for u in manifest.utterances if u.label)
    with pytest.raises(UsageError, match="No utterance of 'own' is left for the pool"):
        freeze(replace(manifest, utterances=labelled), folds=2)


def test_a_dialogue_in_two_folds_is_refused(manifest, split):
    first, second = split.folds
    mixed = replace(split, folds=((*first[1:], second[0]), (first[0], *second[1:])))
    with pytest.raises(UsageError, match="are in two folds"):
        mixed.check(manifest)


def test_gold_in_two_folds_is_refused(manifest, split):
    with pytest.raises(UsageError, match="is twice among the gold utterances"):
        replace(split, folds=(split.folds[0], split.folds[0])).check(manifest)


def test_a_split_of_another_manifest_is_refused(manifest, split):
    with pytest.raises(UsageError, match="was frozen for the manifest abc…, but this one is def…"):
        split.check(replace(manifest, sha256="def"))


def test_a_split_is_read_as_it_was_written(split, tmp_path):
    split.save(tmp_path / "split.json")
    assert FrozenSplit.load(tmp_path / "split.json") == split


@pytest.mark.parametrize("change", ["folds", "pool", "test", "transductive"])
def test_a_split_that_was_changed_after_it_was_frozen_is_refused(split, tmp_path, change):
    path = tmp_path / "split.json"
    split.save(path)
    content = json.loads(path.read_text())
    if change == "folds":
        content["folds"][0][0], content["folds"][1][0] = content["folds"][1][0], content["folds"][0][0]
    else:
        content[change] = True if change == "transductive" else content[change][1:]
    path.write_text(json.dumps(content))
    with pytest.raises(RunError, match="was changed after the split was frozen: its hash is"):
        FrozenSplit.load(path)


@pytest.mark.parametrize("text", ["{}", "[]", "{", '{"sha256": "a", "folds": 3}'])
def test_a_damaged_file_is_refused(tmp_path, text):
    (tmp_path / "split.json").write_text(text)
    with pytest.raises(RunError, match=r"split.json"):
        FrozenSplit.load(tmp_path / "split.json")
