from dataclasses import replace

import av
import numpy as np
import pytest

from m2fnet.corpora.toy_clip import FPS, HEIGHT, WIDTH, shoot
from m2fnet.corpora.toy_face import EXPRESSIONS, Look, draw_head
from m2fnet.corpora.toy_script import EMOTIONS, write_script
from m2fnet.corpora.toy_voice import RATE, Voice, opening, speak


@pytest.fixture(scope="module")
def shots():
    script = write_script({"train": 6}, np.random.default_rng(0))
    return [replace(line.shot, listener=None, is_faceless=False) for scene in script["train"] for line in scene]


@pytest.fixture
def detector():
    import torch
    from facenet_pytorch import MTCNN

    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # on pictures this small, threads cost more than they bring
    yield MTCNN(keep_all=True)
    torch.set_num_threads(threads)


def pictures(path):
    with av.open(str(path)) as clip:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in clip.decode(video=0)])


def mean_loudness_and_pitch(emotion):
    voice = Voice(pitch_hz=150, tract=1.0, tempo=4.5)
    levels, pitches = [], []
    for seed in range(8):
        sound = speak(voice, emotion, 1.5, np.random.default_rng(seed))
        levels.append(np.sqrt(np.mean(sound**2)))
        spectrum = np.abs(np.fft.rfft(sound * np.hanning(len(sound)), 4 * RATE))
        echo = np.fft.irfft(spectrum**2)  # its highest peak is at the period of the voice
        pitches.append(RATE / (40 + np.argmax(echo[40:200])))
    return np.median(levels), np.median(pitches)


def test_prosody_carries_the_emotion():
    loudness, pitch = zip(*[mean_loudness_and_pitch(emotion) for emotion in EMOTIONS], strict=True)
    assert sorted(EMOTIONS, key=lambda e: loudness[EMOTIONS.index(e)])[0] == "sadness"
    assert sorted(EMOTIONS, key=lambda e: loudness[EMOTIONS.index(e)])[-1] == "anger"
    assert pitch[EMOTIONS.index("surprise")] > 1.2 * pitch[EMOTIONS.index("neutral")]


def test_a_voice_is_finite_bounded_and_of_the_asked_length():
    sound = speak(Voice.draw(np.random.default_rng(0)), "anger", 0.9, np.random.default_rng(0))
    assert sound.shape == (round(0.9 * RATE),)
    assert np.isfinite(sound).all()
    assert np.abs(sound).max() <= 1


def test_the_mouth_opens_with_the_sound():
    sound = np.r_[np.zeros(RATE), 0.5 * np.sin(np.arange(RATE))]
    np.testing.assert_allclose(opening(sound, 4), [0, 0, 1, 1], atol=0.01)


def test_expressions_change_the_face_and_nothing_else():
    look = Look.draw("short", np.random.default_rng(0))
    drawn = [np.asarray(face, dtype=int) for face in draw_head(look, 28, list(EXPRESSIONS.values()))]
    height = drawn[0].shape[0]
    for number, one in enumerate(drawn):
        for other in drawn[:number]:
            rows = np.flatnonzero(np.abs(one - other).sum((1, 2)))
            assert len(rows) > 0
            assert rows.max() < 0.6 * height  # the shirt stays


def test_a_clip_without_face_hides_the_expression(shots, tmp_path):
    hidden = replace(shots[0], is_faceless=True)
    for emotion in ("joy", "anger"):
        shoot(tmp_path / f"{emotion}.mp4", replace(hidden, face_emotion=emotion))
    np.testing.assert_array_equal(pictures(tmp_path / "joy.mp4"), pictures(tmp_path / "anger.mp4"))


def test_pictures_have_the_stated_size_and_rate(shots, tmp_path):
    shoot(tmp_path / "clip.mp4", shots[0])
    frames = pictures(tmp_path / "clip.mp4")
    assert frames.shape[1:] == (HEIGHT, WIDTH, 3)
    assert len(frames) == round(shots[0].seconds * FPS)
    assert np.abs(np.diff(frames.astype(int), axis=0)).max() > 20  # the head moves, the mouth talks


@pytest.mark.slow
def test_the_stock_detector_finds_one_face_or_both(shots, tmp_path, detector):
    found = []
    for number, shot in enumerate(shots[:20]):
        listener = next(other.speaker for other in shots if other.speaker is not shot.speaker)
        people = (None, listener)[number % 2]
        shoot(tmp_path / "clip.mp4", replace(shot, listener=people))
        boxes, _ = detector.detect(pictures(tmp_path / "clip.mp4")[3])
        found.append(0 if boxes is None else len(boxes))
    single, together = found[0::2], found[1::2]
    assert np.mean(np.array(single) >= 1) >= 0.95
    assert np.mean(np.array(together) >= 2) >= 0.8


@pytest.mark.slow
def test_the_stock_detector_finds_no_face_in_a_clip_without_one(shots, tmp_path, detector):
    for shot in shots[:5]:
        shoot(tmp_path / "clip.mp4", replace(shot, is_faceless=True))
        assert detector.detect(pictures(tmp_path / "clip.mp4")[3])[0] is None
