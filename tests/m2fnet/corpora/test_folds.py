"""Folds of the training dialogues: every dialogue once, sessions whole, test gone."""

from collections import Counter

import pytest
from tiny_corpus import tiny_manifest

from m2fnet.corpora.folds import Fold, fold_numbers, with_fold
from m2fnet.errors import UsageError
from m2fnet.records import Dialogue, Utterance


def dialogues_of(speakers):
    """A dialogue per name of two utterances, by the two speakers that are given."""
    return [
        Dialogue(name, "train", tuple(Utterance(f"{name}{n}", "x", "train", name, n, speaker=who) for n, who in said))
        for name, said in ((name, list(enumerate(pair))) for name, pair in speakers.items())
    ]


def test_dialogues_are_dealt_out_evenly_and_in_any_order_the_same():
    made = dialogues_of({f"d{n}": ("Ann", "Bob") for n in range(11)})
    found = fold_numbers(made, 3)
    assert sorted(Counter(found.values()).values()) == [3, 4, 4]
    assert fold_numbers(made[::-1], 3) == found


def test_sessions_stay_whole():
    iemocap = dialogues_of(
        {f"Ses{n:02}{who}_impro{k}": ("a", "b") for n in range(1, 5) for who in "FM" for k in (1, 2)}
    )
    found = fold_numbers(iemocap, 4, "session")
    assert {(name[:5], fold) for name, fold in found.items()} == {
        ("Ses01", 0),
        ("Ses02", 1),
        ("Ses03", 2),
        ("Ses04", 3),
    }
    # a, c and d are one session: Bob connects the first two, Cat the last two
    chain = {"a": ("Ann", "Bob"), "b": ("Dan", "Eve"), "d": ("Cat", None), "c": ("Bob", "Cat")}
    found = fold_numbers(dialogues_of(chain), 2, "session")
    assert found["a"] == found["c"] == found["d"] != found["b"]


def test_a_fold_takes_the_place_of_test():
    manifest = tiny_manifest()
    parts = [with_fold(manifest, Fold(number, 3)) for number in range(3)]
    held_out = [{u.id for u in part.utterances if u.split == "test"} for part in parts]
    training = {u.id for u in manifest.utterances if u.split == "train"}
    assert sum(map(len, held_out)) == len(set().union(*held_out)) == len(training)
    for part, fold in zip(parts, held_out, strict=True):
        assert {u.id for u in part.utterances if u.split == "train"} == training - fold
        assert [u for u in part.utterances if u.split == "dev"] == [u for u in manifest.utterances if u.split == "dev"]
        assert not {u.id for u in part.utterances} & {u.id for u in manifest.utterances if u.split == "test"}


@pytest.mark.parametrize("numbers", [(0, 1), (3, 3), (-1, 3)])
def test_a_fold_that_cannot_be_is_refused(numbers):
    with pytest.raises(UsageError, match="expected at least 2 folds, numbered from 0"):
        Fold(*numbers)


def test_more_folds_than_sessions_are_refused():
    with pytest.raises(UsageError, match="There are 1 training sessions, expected at least one for each of 2 folds"):
        fold_numbers(dialogues_of({"a": ("Ann", "Bob"), "b": ("Bob", "Cat")}), 2, "session")
