"""Clips without words: which stretches are heard, what becomes of what was said, and what is left as it is."""

import numpy as np
import pytest
from made_up_model import write_wav
from tiny_recogniser import SayingRecogniser

from m2fnet.conversation.recognised import INVENTED, NO_WORDS, REPEATS, Heard, Phrase
from m2fnet.conversation.segments import Found
from m2fnet.corpora.toy_voice import RATE
from m2fnet.pipeline.transcribing import transcribe
from m2fnet.records import Segment


@pytest.fixture
def clip(tmp_path):
    return write_wav(tmp_path / "talk.wav", 40)


def said(*phrases, **facts):
    return lambda samples: Heard(tuple(Phrase(*phrase) for phrase in phrases), **facts)


def heard_in(clip, segments, answer, source="voice activity"):
    recogniser = SayingRecogniser(answer)
    return transcribe(clip, Found(segments, source), recogniser), recogniser


def test_words_are_marked_with_the_name_of_the_recogniser_and_a_note(clip):
    found, _ = heard_in(clip, (Segment(1.0, 3.0), Segment(4.0, 6.0)), said((0.0, 2.0, " I came home. ", -0.1)))
    assert [(s.start_s, s.end_s, s.text, s.text_source, s.no_text) for s in found.segments] == [
        (1.0, 3.0, "I came home.", "saying", None),
        (4.0, 6.0, "I came home.", "saying", None),
    ]
    assert found.notes == (
        "The words are by the recogniser saying, in English, the only language it knows, not by people: expect errors.",
    )


def test_stretches_that_were_cut_are_heard_together_and_divided_where_sentences_end(clip):
    cut = (Segment(2.0, 12.0), Segment(12.0, 20.0), Segment(21.0, 23.0))
    found, recogniser = heard_in(clip, cut, said((0.0, 7.0, "I came home.", 0), (7.5, 9.0, "He left.", 0)))
    assert recogniser.lengths == [18.0, 2.0]
    assert [(s.start_s, s.end_s) for s in found.segments] == [(2.0, 9.0), (9.5, 20.0), (21.0, 23.0)]


def test_given_segments_keep_their_times_and_speakers(clip):
    given = (Segment(0.0, 35.0, "Ann"), Segment(30.0, 36.0, "Bob"))
    found, recogniser = heard_in(clip, given, said((0.0, 2.0, "I came.", 0), (2.0, 5.0, "He left.", 0)), "talk.rttm")
    assert [(s.start_s, s.end_s, s.speaker) for s in found.segments] == [(0.0, 35.0, "Ann"), (30.0, 36.0, "Bob")]
    assert [s.text for s in found.segments] == ["I came. He left. I came. He left.", "I came. He left."]
    assert recogniser.lengths == [30.0, 5.0, 6.0]  # never more than it hears


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (said(), NO_WORDS),
        (said((0.0, 8.0, "[BLANK_AUDIO]", 0)), NO_WORDS),
        (said((0.0, 8.0, "Thank you.", 0)), INVENTED),
        (said((0.0, 8.0, "I see. " * 9, 0)), REPEATS),
    ],
)
def test_a_stretch_whose_words_are_not_believed_stays_as_it_was_with_the_reason(clip, answer, reason):
    cut = (Segment(2.0, 12.0), Segment(12.0, 20.0))
    found, _ = heard_in(clip, cut, answer)
    assert [(s.start_s, s.end_s, s.text, s.text_source, s.no_text) for s in found.segments] == [
        (2.0, 12.0, None, None, reason),
        (12.0, 20.0, None, None, reason),
    ]


def test_a_stretch_that_is_far_softer_than_the_others_says_no_thank_you(clip):
    levels = iter([-20.0, -20.0, -45.0])
    segments = (Segment(0.0, 2.0), Segment(3.0, 5.0), Segment(6.0, 8.0))
    found, _ = heard_in(clip, segments, lambda _: Heard((Phrase(0, 2, "Thank you."),), 0.0, next(levels)))
    assert [s.text for s in found.segments] == ["Thank you.", "Thank you.", None]


@pytest.mark.parametrize(
    "segment", [Segment(0.0, 2.0, "Ann", "Hi!"), Segment(0.0, 2.0, text="Hi!"), Segment(None, None, "Ann", "Hi!")]
)
def test_words_that_somebody_wrote_win(clip, segment):
    recogniser = SayingRecogniser(said((0.0, 2.0, "no", 0)))
    found = Found((segment,), "talk.srt")
    assert transcribe(clip, found, recogniser) is found
    assert recogniser.lengths == []


def test_silence_is_not_heard_and_says_so(tmp_path):
    import wave

    with wave.open(str(tmp_path / "silent.wav"), "wb") as file:
        file.setparams((1, 2, RATE, 0, "NONE", ""))
        file.writeframes(np.zeros(2 * RATE, "<i2").tobytes())
    found, recogniser = heard_in(tmp_path / "silent.wav", (Segment(0.0, 2.0),), said((0, 2, "you", 0)), "whole clip")
    assert recogniser.lengths == []
    assert found.segments == (Segment(0.0, 2.0, no_text="the sound is silent"),)


def test_progress_counts_what_is_heard_together(clip):
    seen = []
    found = Found((Segment(0.0, 9.0), Segment(9.0, 12.0), Segment(13.0, 15.0)), "voice activity")
    transcribe(clip, found, SayingRecogniser(said()), lambda done, total: seen.append((done, total)))
    assert seen == [(1, 2), (2, 2)]
