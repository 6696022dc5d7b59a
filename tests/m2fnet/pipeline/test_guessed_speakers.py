"""Speakers by their voices: two made-up people are told apart, names win, and guesses are marked."""

import wave

import numpy as np
import pytest
from tiny_encoders import save_encoder

from m2fnet.conversation.segments import Found
from m2fnet.corpora.toy_voice import RATE, Voice, speak
from m2fnet.errors import RunError
from m2fnet.pipeline.guessed_speakers import CepstralVoice, EncodedVoice, guess_speakers, settings_sha256
from m2fnet.records import Segment

LOW, HIGH = Voice(105, 0.93, 4.4), Voice(200, 1.12, 4.8)
ORDER = (LOW, HIGH, LOW, LOW, HIGH, HIGH, LOW, HIGH)


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    path, rng = tmp_path_factory.mktemp("voices") / "talk.wav", np.random.default_rng(0)
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, RATE, 0, "NONE", ""))
        for voice in ORDER:
            file.writeframes((32_000 * speak(voice, "neutral", 2.0, rng)).astype("<i2").tobytes())
    return path


@pytest.fixture
def found():
    return Found(tuple(Segment(2.0 * n, 2.0 * n + 2, text="Hi") for n in range(len(ORDER))), "voice activity")


@pytest.mark.parametrize("count", [None, 2])
def test_two_people_are_told_apart_and_named_in_their_order(clip, found, count):
    guessed = guess_speakers(clip, found, CepstralVoice(), count)
    assert [s.speaker for s in guessed.segments] == ["speaker 1" if voice is LOW else "speaker 2" for voice in ORDER]
    assert {s.speaker_source for s in guessed.segments} == {"cepstra and pitch"}
    assert {s.text for s in guessed.segments} == {"Hi"}
    (note,) = guessed.notes
    assert note.startswith("The speakers are guessed by cepstra and pitch: 2 voices. Expect errors, or give a ")


@pytest.mark.parametrize("family", ["whisper", "wav2vec2"])
def test_an_encoder_of_speech_is_a_voice(clip, found, tmp_path, family):
    voice = EncodedVoice(save_encoder(tmp_path / family, family))
    guessed = guess_speakers(clip, found, voice, 2)
    assert {s.speaker for s in guessed.segments} == {"speaker 1", "speaker 2"}
    assert {s.speaker_source for s in guessed.segments} == {family}


def test_an_encoder_of_text_is_refused(tmp_path):
    with pytest.raises(RunError, match=r"preprocessor_config\.json"):
        EncodedVoice(save_encoder(tmp_path / "bert", "bert"))


def test_a_name_that_is_known_wins(clip):
    named = Found((Segment(0.0, 2.0, "Ann"), Segment(2.0, 4.0)), "talk.rttm")
    assert guess_speakers(clip, named, CepstralVoice(), 2) is named
    timeless = Found((Segment(None, None, text="Hi"),), "talk.txt")
    assert guess_speakers(clip, timeless, CepstralVoice(), 2) is timeless


def test_an_utterance_behind_the_end_of_the_sound_has_no_speaker(clip):
    late = Found((Segment(0.0, 2.0), Segment(2.0, 4.0), Segment(500.0, 502.0)), "voice activity")
    guessed = guess_speakers(clip, late, CepstralVoice(), 2)
    assert [s.speaker for s in guessed.segments] == ["speaker 1", "speaker 2", None]
    assert guessed.segments[2].speaker_source is None


def test_the_hash_depends_on_voice_and_number(tmp_path):
    encoder = EncodedVoice(save_encoder(tmp_path / "whisper", "whisper"))
    hashes = {settings_sha256(voice, count) for voice in (CepstralVoice(), encoder) for count in (None, 2)}
    assert len(hashes) == 4
