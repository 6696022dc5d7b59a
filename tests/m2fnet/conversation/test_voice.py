"""Voice activity: speech found among silence and noise, in segments of a sensible length, in little memory."""

import numpy as np
import pytest
from tiny_media import _frame, _picture_stream, half_grey, tone, write_sound

from m2fnet.conversation import voice
from m2fnet.conversation.voice import LONGEST_S, SHORTEST_S, levels_of, seconds_in, speech_in, voice_activity
from m2fnet.errors import MediaError

RATE = 16_000


def babble(seconds, pitch=140.0, level=0.2):
    """Something with the harmonics and the four syllables a second of speech."""
    time = np.arange(int(seconds * RATE)) / RATE
    voiced = sum(np.sin(2 * np.pi * pitch * k * time + k) / k for k in range(1, 20))
    syllables = (0.5 - 0.5 * np.cos(2 * np.pi * 4 * time)) ** 2
    return (level * syllables * voiced / 2).astype(np.float32)


def conversation(parts):
    """Sound with ``(begin, seconds)`` of speech in it, and a second of silence behind the last."""
    sound = np.zeros(int((parts[-1][0] + parts[-1][1] + 1) * RATE), np.float32)
    for begin, seconds in parts:
        spoken = babble(seconds)
        sound[int(begin * RATE) :][: len(spoken)] = spoken
    return sound


@pytest.fixture
def heard(tmp_path):
    """``heard(sound)`` gives (start, end) of the segments found in it."""

    def call(sound, name="a.wav", **settings):
        path = write_sound(tmp_path / name, sound[None], **settings)
        return [(segment.start_s, segment.end_s) for segment in voice_activity(path)]

    return call


PARTS = [(0.7, 2.0), (4.0, 1.0), (6.5, 3.0)]


@pytest.mark.parametrize("noise_db", [None, -60, -45, -35])
def test_speech_is_found_within_a_quarter_of_a_second(heard, noise_db):
    sound = conversation(PARTS)
    if noise_db is not None:
        sound += 10 ** (noise_db / 20) * np.random.default_rng(0).standard_normal(len(sound)).astype(np.float32)
    found = heard(sound)
    np.testing.assert_allclose(found, [(begin, begin + seconds) for begin, seconds in PARTS], atol=0.25)


def test_the_level_of_a_recording_does_not_matter(heard):
    loud, soft = heard(conversation(PARTS)), heard(0.02 * conversation(PARTS), "b.wav")
    np.testing.assert_allclose(loud, soft, atol=0.15)


@pytest.mark.parametrize(
    "sound",
    [
        np.zeros(3 * RATE, np.float32),
        0.05 * np.random.default_rng(0).standard_normal(5 * RATE).astype(np.float32),
        np.zeros(100, np.float32),
        np.zeros(300, np.float32),
    ],
    ids=["silence", "noise", "less than a window", "a window"],
)
def test_where_nobody_speaks_there_is_no_segment(heard, sound):
    assert heard(sound) == []


def test_a_click_is_not_speech(heard):
    sound = conversation([(1.0, 2.0)])
    sound[int(3.9 * RATE) :][:200] = 0.9
    assert len(heard(np.concatenate([sound, np.zeros(RATE, np.float32)]))) == 1


def test_noise_that_grows_is_followed(heard):
    steps = np.repeat([0.001, 0.004], 20 * RATE).astype(np.float32)
    sound = steps * np.random.default_rng(0).standard_normal(len(steps)).astype(np.float32)
    for begin in (5, 30):
        sound[begin * RATE : (begin + 2) * RATE] += babble(2.0)
    found = heard(sound)
    assert [round(begin) for begin, _ in found if begin < 19 or begin > 22] == [5, 30]


def test_long_utterances_are_cut_at_their_deepest_pause(heard):
    sound = conversation([(1.0, 21.0)])
    sound[int(11.0 * RATE) : int(11.2 * RATE)] = 0  # too short to end an utterance
    found = heard(sound)
    assert len(found) == 2
    assert found[0][1] == found[1][0] == pytest.approx(11.1, abs=0.1)
    assert all(SHORTEST_S <= end - begin <= LONGEST_S + 0.01 for begin, end in found)


@pytest.mark.parametrize("seconds", [15.05, 15.3, 15.5, 30.2, 46])
def test_no_segment_is_longer_or_shorter_than_documented(heard, seconds):
    lengths = [end - begin for begin, end in heard(conversation([(1.0, seconds)]))]
    assert sum(lengths) == pytest.approx(seconds, abs=0.5)
    assert min(lengths) >= SHORTEST_S
    assert max(lengths) <= LONGEST_S + 0.01


def test_times_count_from_the_beginning_of_the_clip_even_where_its_sound_begins_later(tmp_path):
    import av

    sound = conversation([(0.5, 2.0)])
    with av.open(str(tmp_path / "a.mkv"), "w") as out:
        pictures = _picture_stream(out, "mpeg4", (32, 24), 10)
        track = out.add_stream("pcm_f32le", rate=RATE, layout="mono")
        for number in range(60):
            out.mux(pictures.encode(_frame(half_grey(9, (32, 24)), number, 10)))
        frame = av.AudioFrame.from_ndarray(sound[None], format="flt", layout="mono")
        frame.sample_rate, frame.pts = RATE, 2 * RATE
        out.mux(track.encode(frame))
        out.mux(pictures.encode())
        out.mux(track.encode())
    (segment,) = voice_activity(tmp_path / "a.mkv")
    assert (segment.start_s, segment.end_s) == (pytest.approx(2.5, abs=0.25), pytest.approx(4.5, abs=0.25))


def test_levels_do_not_depend_on_the_blocks_in_which_they_are_read(tmp_path, monkeypatch):
    path = write_sound(tmp_path / "a.wav", conversation(PARTS)[None])
    whole = levels_of(path)
    monkeypatch.setattr(voice, "_BLOCK", 100)
    np.testing.assert_allclose(levels_of(path), whole, atol=1e-4)
    assert seconds_in(whole) == pytest.approx(10.5, abs=0.05)


def test_sound_that_goes_on_and_on_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(voice, "MAX_HOURS", 0.001)
    path = write_sound(tmp_path / "a.wav", tone(seconds=10))
    with pytest.raises(MediaError, match="the sound lasts more than"):
        levels_of(path)


def test_sound_that_is_not_finite_is_refused(tmp_path):
    path = write_sound(tmp_path / "a.wav", np.full((1, RATE), np.nan, np.float32))
    with pytest.raises(MediaError, match="NaN or infinity"):
        levels_of(path)


def test_an_hour_without_a_pause_is_cut_in_linear_time():
    levels = np.tile(np.float32([-20, -60]).repeat([30, 20]), 3600 * 2)[:, None].repeat(6, axis=1)
    segments = speech_in(levels)
    assert 3600 / LONGEST_S <= len(segments) < 3 * 3600 / LONGEST_S
