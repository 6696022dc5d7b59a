from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.metrics import f1_score
from sklearn.naive_bayes import MultinomialNB

from m2fnet.corpora.toy_script import EMOTIONS, flow, write_script


@pytest.fixture(scope="module")
def script():
    return write_script({"train": 300, "dev": 1, "test": 100}, np.random.default_rng(3))


def lines_of(script, split):
    return [line for scene in script[split] for line in scene]


def test_dialogues_have_two_to_four_speakers_and_three_to_ten_utterances(script):
    lengths = {len(scene) for scene in script["train"]}
    assert (min(lengths), max(lengths)) == (3, 10)
    speakers = {len({line.speaker for line in scene}) for scene in script["train"]}
    assert max(speakers) == 4
    assert all(line.shot.speaker.name == line.speaker for line in lines_of(script, "train"))


def test_about_two_fifths_are_neutral_and_no_emotion_is_rare(script):
    share = Counter(line.emotion for line in lines_of(script, "train"))
    total = share.total()
    assert 0.32 < share["neutral"] / total < 0.48
    assert min(share[emotion] for emotion in EMOTIONS) / total > 0.06


def test_emotions_flow_from_one_utterance_to_the_next(script):
    emotions = [[line.emotion for line in scene] for scene in script["train"]]
    share = Counter(emotion for scene in emotions for emotion in scene)
    by_chance = sum((n / share.total()) ** 2 for n in share.values())
    pairs = [pair for scene in emotions for pair in pairwise(scene)]
    assert np.mean([before == after for before, after in pairs]) > by_chance + 0.2


def test_speakers_keep_their_own_mood_longer_than_they_take_over_another():
    rng = np.random.default_rng(0)
    kept, taken = [], []
    for _ in range(400):
        emotions = flow(["Ada", "Bruno", "Ada"], rng)
        if emotions[0] != emotions[1]:
            kept.append(emotions[2] == emotions[0])
            taken.append(emotions[2] == emotions[1])
    assert np.mean(kept) > np.mean(taken) + 0.2
    assert np.mean(taken) > 0.05


def test_text_tells_more_than_the_majority_and_less_than_all(script):
    train, test = lines_of(script, "train"), lines_of(script, "test")
    words = CountVectorizer().fit([line.text for line in train])
    model = MultinomialNB().fit(words.transform([line.text for line in train]), [line.emotion for line in train])
    truth = [line.emotion for line in test]
    score = f1_score(truth, model.predict(words.transform([line.text for line in test])), average="weighted")
    majority = f1_score(truth, ["neutral"] * len(truth), average="weighted")
    assert majority + 0.2 < score < 0.9


def test_some_sentences_are_said_in_every_emotion(script):
    said: dict[str, set[str]] = {emotion: set() for emotion in EMOTIONS}
    for line in lines_of(script, "train"):
        said[line.emotion].add(line.text)
    assert len(set.intersection(*said.values())) >= 3


def test_no_two_dialogues_share_an_episode(script):
    places = [(scene[0].season, scene[0].episode) for scenes in script.values() for scene in scenes]
    assert len(set(places)) == len(places)
