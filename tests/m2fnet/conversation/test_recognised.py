"""Words that a recogniser wrote: which are believed, and how they are divided."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from m2fnet.conversation.recognised import (
    INVENTED,
    NO_SPEECH,
    NO_WORDS,
    REPEATS,
    TOO_FAST,
    UNSURE,
    Heard,
    Phrase,
    at_pauses,
    cleaned,
    divided,
    is_loop,
    joined,
    reason_against,
)
from m2fnet.records import Segment

LOUD = Heard((), no_speech=0.05, level_db=-20.0)
WORDS = st.lists(
    st.sampled_from(["I", "you", "he", "said", "came", "home", "why", "not", "and", "the", "door", "dog"]),
    min_size=1,
    max_size=8,
)
PHRASES = st.lists(
    st.tuples(st.floats(-1, 31), st.floats(-1, 31), WORDS, st.sampled_from(["", ".", "?"]), st.floats(-3, 0)).map(
        lambda made: Phrase(made[0], made[1], " ".join(made[2]) + made[3], made[4])
    ),
    max_size=12,
)


@pytest.mark.parametrize(
    "text",
    [
        "so I think so I think so I think so I think so I think",
        "Yeah, yeah, yeah, yeah, yeah, yeah, yeah, yeah, yeah, yeah",
        "Thank you for watching. Thank you for watching. Thank you for watching. Thank you for watching.",
        "the end of the end of the end of the end of the end of the end of the end of",
        "ごめんなさいごめんなさいごめんなさいごめんなさい",
        "I'm not I'm not I'm not I'm not",
    ],
)
def test_loops_are_seen(text):
    assert is_loop(text)
    assert reason_against(Phrase(0, 15, text), LOUD, -20) == REPEATS


@pytest.mark.parametrize(
    "text",
    [
        "No, no, no, no! I said no.",
        "Ha ha ha ha.",
        "Bye. Bye-bye. Bye!",
        "I know, I know, I know. You told me that you would come, and you did.",
        "very, very, very good, and the dog, the cat, the bird and the fish are very happy here",
        "Kids are talking by the door. Dogs are sitting by the door.",
        "好好好，我知道了。",
    ],
)
def test_people_who_repeat_themselves_are_no_loops(text):
    assert not is_loop(text)
    assert reason_against(Phrase(0, 1 + 0.4 * len(text.split()), text), LOUD, -20) is None


@given(WORDS, st.integers(7, 40))
def test_whatever_comes_often_enough_in_a_row_is_a_loop(words, times):
    assert is_loop(" ".join(words * times))


@given(st.text(max_size=300))
def test_no_text_makes_the_guards_fail(text):
    reason = reason_against(Phrase(0, 5, text), LOUD, -20)
    assert reason is None or reason.startswith("the recogniser ")


@pytest.mark.parametrize(
    "text", ["", " ", "[BLANK_AUDIO]", "(laughing)", "♪♪", "...", " [MUSIC] [Applause] ", "*sighs*"]
)
def test_sounds_are_no_words(text):
    assert cleaned(text) == ""
    assert reason_against(Phrase(0, 5, text), LOUD, -20) == NO_WORDS


@pytest.mark.parametrize("text", ["Thank you.", "Thanks for watching!", "you", "Bye.", "Please subscribe", "謝謝觀看"])
@pytest.mark.parametrize(
    ("seconds", "heard", "sureness"),
    [
        (9.0, LOUD, 0.0),  # too few words for the time
        (0.4, LOUD, 0.0),  # too short
        (1.5, Heard((), 0.05, -40.0), 0.0),  # far softer than the others
        (1.5, Heard((), 0.5, -20.0), 0.0),
        (1.5, LOUD, -1.2),
    ],
)
def test_what_is_written_about_silence_is_not_believed_there(text, seconds, heard, sureness):
    assert reason_against(Phrase(0, seconds, text, sureness), heard, -20) in (INVENTED, TOO_FAST)


@pytest.mark.parametrize("text", ["Thank you.", "Bye.", "Thank you so much."])
def test_somebody_who_clearly_says_thank_you_is_believed(text):
    assert reason_against(Phrase(0, 1.2, text, -0.2), LOUD, -20) is None


def test_probabilities_speak_against_words():
    said = "I came home and he was not there."
    assert reason_against(Phrase(0, 3, said, -0.5), Heard((), 0.9, -20), -20) is None  # it is sure of its words
    assert reason_against(Phrase(0, 3, said, -1.2), Heard((), 0.9, -20), -20) == NO_SPEECH
    assert reason_against(Phrase(0, 3, said, -1.2), LOUD, -20) is None
    assert reason_against(Phrase(0, 3, said, -1.6), LOUD, -20) == UNSURE
    assert reason_against(Phrase(0, 0.3, said, -0.1), LOUD, -20) == TOO_FAST


@given(PHRASES)
def test_divided_phrases_cover_their_stretch_in_order_with_all_words(phrases):
    parts = divided(phrases, 0.0, 30.0)
    said = " ".join(phrase.text for phrase in phrases)
    assert " ".join(part.text for part in parts) == said
    assert all(before.end_s <= after.start_s for before, after in pairwise(parts))
    assert all(part.start_s <= part.end_s for part in parts)
    if parts:
        assert (parts[0].start_s, parts[-1].end_s) == (0.0, 30.0)


def test_sentences_and_pauses_divide_and_a_long_sentence_is_divided_too():
    sentence = [Phrase(3.0 * n, 3.0 * n + 3, "and he said") for n in range(10)]
    assert [part.end_s for part in divided(sentence, 0.0, 30.0)] == [15.0, 30.0]
    paused = [Phrase(0, 2, "I came"), Phrase(3, 5, "home")]
    assert [part.text for part in divided(paused, 0, 5)] == ["I came", "home"]
    short = [Phrase(0, 2, "I came."), Phrase(2, 2.2, "Oh.")]
    assert [part.text for part in divided(short, 0, 2.2)] == ["I came. Oh."]


@given(st.lists(st.tuples(st.floats(0.4, 15), st.sampled_from([0.0, 0.5])), max_size=20))
def test_joined_stretches_are_all_of_them_and_never_too_long(lengths):
    stretches, clock = [], 0.0
    for length, pause in lengths:
        stretches.append(Segment(clock, clock + length))
        clock += length + pause
    groups = list(joined(stretches, 30.0))
    assert [one for group in groups for one in group] == stretches
    assert all(group[-1].end_s - group[0].start_s <= 30.0 for group in groups)
    assert all(before.end_s == after.start_s for group in groups for before, after in pairwise(group))


@given(PHRASES, st.integers(0, 30_000))
def test_borders_stay_in_order_when_they_move(phrases, size):
    samples = np.random.default_rng(0).normal(size=size).astype(np.float32)
    ordered = [Phrase(n, n + 1, phrase.text) for n, phrase in enumerate(phrases)]
    moved = at_pauses(ordered, samples, 1_000)
    assert [phrase.text for phrase in moved] == [phrase.text for phrase in ordered]
    assert all(phrase.start_s < phrase.end_s for phrase in moved)
    assert all(before.end_s <= after.start_s for before, after in pairwise(moved))
    assert all(abs(new.start_s - old.start_s) <= 0.51 for new, old in zip(moved, ordered, strict=True))
