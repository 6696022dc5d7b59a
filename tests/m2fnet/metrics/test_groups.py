import pytest
from hypothesis import given
from hypothesis import strategies as st

from m2fnet.metrics.groups import GROUPINGS, groups
from m2fnet.records import Dialogue, Utterance

POSITION, LENGTH, SPEAKERS = (GROUPINGS[name][0] for name in ("position", "length", "speakers"))
SHIFT, SPEAKER_SHIFT = GROUPINGS["shift"]


def dialogue(*utterances, name="d"):
    """A dialogue of (speaker, label) utterances with ids d0, d1, ..."""
    utterances = [
        Utterance(f"{name}{n}", "tiny", "test", name, n, speaker=speaker, label=label)
        for n, (speaker, label) in enumerate(utterances)
    ]
    return Dialogue(name, "test", tuple(utterances))


def test_positions_count_from_one_in_ranges():
    found = groups([dialogue(*[("Ann", "joy")] * 12)], POSITION)
    assert {name: len(ids) for name, ids in found.items()} == {"1": 1, "2": 1, "3-5": 3, "6-10": 5, "11-20": 2}
    assert found["3-5"] == ["d2", "d3", "d4"]


@pytest.mark.parametrize(("utterances", "name"), [(1, "1"), (4, "2-4"), (5, "5-9"), (39, "20-39"), (110, "40+")])
def test_all_utterances_of_a_dialogue_share_its_length(utterances, name):
    assert {key: len(ids) for key, ids in groups([dialogue(*[("Ann", "joy")] * utterances)], LENGTH).items()} == {
        name: utterances
    }


def test_speakers_are_counted_and_unknown_ones_are_said_so():
    pair = dialogue(("Ann", "joy"), ("Bob", "joy"), ("Ann", "joy"))
    crowd = dialogue(*[(name, "joy") for name in "abcdef"], name="e")
    nameless = dialogue(("Ann", "joy"), (None, "joy"), name="f")
    found = groups([pair, crowd, nameless], SPEAKERS)
    assert {name: len(ids) for name, ids in found.items()} == {"2": 3, "5+": 6, "unknown speaker": 2}


def test_shifts_are_against_the_previous_utterance_and_against_the_speakers_own():
    utterances = dialogue(
        ("Ann", "joy"), ("Bob", "anger"), ("Ann", "anger"), ("Bob", "anger"), ("Ann", None), ("Ann", "joy")
    )
    assert groups([utterances], SHIFT) == {
        "none before": ["d0"],
        "same emotion": ["d2", "d3"],
        "other emotion": ["d1"],
        "unlabelled before": ["d5"],
    }
    assert groups([utterances], SPEAKER_SHIFT) == {
        "none before": ["d0", "d1"],
        "same emotion": ["d3"],
        "other emotion": ["d2"],
        "unlabelled before": ["d5"],
    }


def test_a_utterance_of_an_unknown_speaker_has_no_previous_utterance_of_its_own():
    utterances = dialogue((None, "joy"), (None, "joy"))
    assert groups([utterances], SPEAKER_SHIFT) == {"unknown speaker": ["d0", "d1"]}
    assert groups([utterances], SHIFT) == {"none before": ["d0"], "same emotion": ["d1"]}


def test_context_utterances_count_as_utterances_but_are_not_scored():
    utterances = dialogue(("Ann", None), ("Bob", "joy"))
    assert groups([utterances], POSITION) == {"2": ["d1"]}
    assert groups([utterances], LENGTH) == {"2-4": ["d1"]}


UTTERANCE = st.tuples(st.sampled_from(["Ann", "Bob", None]), st.sampled_from(["joy", "anger", None]))


@given(st.lists(UTTERANCE, min_size=1, max_size=50), st.sampled_from([g for some in GROUPINGS.values() for g in some]))
def test_every_labelled_utterance_is_in_one_group(utterances, grouping):
    found = groups([dialogue(*utterances)], grouping)
    assert set(found) <= set(grouping.names)
    assert list(found) == [name for name in grouping.names if name in found]
    assert sorted(i for ids in found.values() for i in ids) == sorted(
        f"d{n}" for n, (_, label) in enumerate(utterances) if label is not None
    )
