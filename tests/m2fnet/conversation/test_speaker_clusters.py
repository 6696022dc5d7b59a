"""Clusters of voices: who is told apart, and the order of the numbers."""

import numpy as np
import pytest

from m2fnet.conversation.speaker_clusters import MOST_SPEAKERS, speakers_of


def made_voices(speakers, seed=0, spread=0.3):
    """Embeddings (U, 16) around one centre for each speaker, and the length of each utterance."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(max(speakers) + 1, 16))
    return centres[speakers] + spread * rng.normal(size=(len(speakers), 16)), rng.uniform(1.5, 4, len(speakers))


@pytest.mark.parametrize("count", [None, 2])
def test_two_voices_are_told_apart_and_numbered_in_their_order(count):
    speakers = [1, 0, 1, 1, 0, 0, 1, 0]
    assert speakers_of(*made_voices(speakers), count) == [1 - speaker for speaker in speakers]


@pytest.mark.parametrize("people", [3, 4, 5])
def test_the_number_of_clear_voices_is_found(people):
    speakers = list(range(people)) * 5
    assert speakers_of(*made_voices(speakers, seed=people)) == speakers


def test_one_voice_is_one_speaker():
    voices = np.random.default_rng(0).normal(size=(40, 16))
    assert set(speakers_of(voices, [2.0] * 40)) == {0}
    assert speakers_of(voices[:3], [2.0] * 3, 1) == [0, 0, 0]


@pytest.mark.parametrize("utterances", [0, 1, 2, 3])
@pytest.mark.parametrize("count", [None, 1, 2, 5])
def test_few_utterances_are_numbered_too(utterances, count):
    voices, seconds = np.random.default_rng(1).normal(size=(utterances, 4)), [2.0] * utterances
    found = speakers_of(voices, seconds, count)
    assert len(found) == utterances
    assert sorted(set(found)) == list(range(len(set(found))))
    assert len(set(found)) <= min(utterances, count or MOST_SPEAKERS)


def test_a_short_utterance_joins_the_nearest_voice_and_makes_none_of_its_own():
    voices, seconds = made_voices([0, 1, 0, 1, 0, 1, 1, 0])
    voices[-1] += 0.4
    seconds[-2:] = 0.5
    assert speakers_of(voices, seconds, 2) == [0, 1, 0, 1, 0, 1, 1, 0]


def test_voices_that_are_all_the_same_are_one():
    assert speakers_of(np.ones((6, 4)), [2.0] * 6) == [0] * 6


def test_more_utterances_than_are_compared_are_numbered(monkeypatch):
    monkeypatch.setattr("m2fnet.conversation.speaker_clusters._MOST", 10)
    speakers = [0, 1] * 30
    assert speakers_of(*made_voices(speakers), 2) == speakers
