"""Damaged and odd files, sound against a reference tone, and which frames are picked."""

import contextlib
import math
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import torch

from m2fnet.errors import MediaError
from m2fnet.media.audio import RATE, read_audio
from m2fnet.media.faces import FaceDetector
from m2fnet.media.video import frame_times, read_frames


def tone(hertz=440.0, seconds=1.0, rate=RATE, channels=1, level=0.5):
    wave = level * np.sin(2 * math.pi * hertz * np.arange(int(seconds * rate)) / rate)
    return np.tile(wave.astype(np.float32), (channels, 1))


def write_sound(path, samples, rate=RATE, layout="mono", codec="pcm_f32le"):
    with av.open(str(path), "w") as out:
        stream = out.add_stream(codec, rate=rate, layout=layout)
        interleaved = np.ascontiguousarray(samples.T.reshape(1, -1))
        frame = av.AudioFrame.from_ndarray(interleaved, format="flt", layout=layout)
        frame.sample_rate, frame.pts, frame.time_base = rate, 0, Fraction(1, rate)
        for resampled in av.AudioResampler(stream.format, layout, rate).resample(frame):
            out.mux(stream.encode(resampled))
        out.mux(stream.encode())
    return path


def write_pictures(path, values, size=(32, 24), fps=10, codec="mpeg4"):
    """A clip whose frame ``i`` is grey of brightness ``values[i]`` left and black right."""
    width, height = size
    with av.open(str(path), "w") as out:
        stream = out.add_stream(codec, rate=fps)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.gop_size = 12
        for value in values:
            picture = np.zeros((height, width, 3), np.uint8)
            picture[:, : max(1, width // 2)] = value
            out.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        out.mux(stream.encode())
    return path


def brightness(frames):
    return [float(frame[:, : max(1, frame.shape[1] // 2 - 2)].float().mean()) for frame in frames]


@pytest.mark.parametrize(
    ("rate", "channels", "layout"),
    [(16_000, 1, "mono"), (8_000, 1, "mono"), (44_100, 2, "stereo"), (48_000, 6, "5.1")],
)
def test_sound_of_any_rate_and_layout_becomes_the_same_tone(tmp_path, rate, channels, layout):
    path = write_sound(tmp_path / "a.wav", tone(rate=rate, channels=channels), rate=rate, layout=layout)
    samples = read_audio(path)
    assert abs(len(samples) - RATE) <= 32
    spectrum = torch.fft.rfft(samples[:RATE], RATE).abs()
    assert int(spectrum.argmax()) == 440
    assert samples[2000:-2000].abs().max() == pytest.approx(0.5, abs=0.01)


def test_channels_are_averaged(tmp_path):
    left, right = tone(level=0.6), tone(level=0.2)
    samples = read_audio(write_sound(tmp_path / "a.wav", np.concatenate([left, right]), layout="stereo"))
    torch.testing.assert_close(samples, torch.from_numpy(tone(level=0.4)[0]), atol=2e-3, rtol=0)


def test_a_span_is_cut_to_the_sample(tmp_path):
    ramp = np.linspace(0.0, 0.9, 3 * RATE, dtype=np.float32)[None]
    path = write_sound(tmp_path / "a.wav", ramp)
    samples = read_audio(path, span=(1.25, 2.0))
    torch.testing.assert_close(samples, torch.from_numpy(ramp[0, int(1.25 * RATE) : 2 * RATE]), atol=1e-4, rtol=0)


def test_a_long_file_is_read_only_up_to_the_limit(tmp_path):
    path = write_sound(tmp_path / "a.wav", tone(seconds=5))
    assert len(read_audio(path, max_seconds=2)) == 2 * RATE


def test_one_sample_is_sound(tmp_path):
    assert len(read_audio(write_sound(tmp_path / "a.wav", np.full((1, 1), 0.5, np.float32)))) == 1


@pytest.mark.parametrize(
    ("samples", "reason"),
    [(np.zeros((1, RATE), np.float32), "silent"), (np.full((1, RATE), np.nan, np.float32), "NaN")],
)
def test_sound_without_content_is_named(tmp_path, samples, reason):
    with pytest.raises(MediaError, match=reason):
        read_audio(write_sound(tmp_path / "a.wav", samples))


@pytest.mark.parametrize("span", [(1.0, 1.0), (2.0, 1.0), (-1.0, 1.0)])
def test_an_empty_span_is_named(tmp_path, span):
    sound = write_sound(tmp_path / "a.wav", tone())
    clip = write_pictures(tmp_path / "a.mp4", [100] * 10)
    with pytest.raises(MediaError, match="span: the span is empty"):
        read_audio(sound, span=span)
    with pytest.raises(MediaError, match="span: the span is empty"):
        read_frames(clip, count=1, span=span)


def playlist(folder):
    write_sound(folder / "secret.wav", tone())
    return b"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nsecret.wav\n#EXT-X-ENDLIST\n"


def concat(folder):
    write_sound(folder / "secret.wav", tone())
    return b"ffconcat version 1.0\nfile secret.wav\n"


@pytest.mark.parametrize("name", ["a.mp4", "a.m3u8", "a.wav"])
@pytest.mark.parametrize(
    "content",
    [lambda _: b"", lambda _: b"just some words\n" * 50, lambda _: bytes(range(256)) * 40, playlist, concat],
    ids=["empty", "text", "bytes", "playlist", "concat"],
)
def test_what_is_no_media_file_is_an_error(tmp_path, name, content):
    path = tmp_path / name
    path.write_bytes(content(tmp_path))
    with pytest.raises(MediaError):
        read_audio(path)
    with pytest.raises(MediaError):
        read_frames(path, count=1)


def test_reasons_do_not_name_the_file(tmp_path):
    path = tmp_path / "dia3_utt4.mp4"
    path.write_bytes(b"words" * 100)
    with pytest.raises(MediaError) as caught:
        read_audio(path)
    assert "dia3" not in str(caught.value)


def test_only_regular_files_are_opened(tmp_path):
    with pytest.raises(MediaError, match="open: the file does not exist"):
        read_audio(tmp_path / "none.wav")
    with pytest.raises(MediaError, match="open: it is no regular file"):
        read_frames(tmp_path, count=1)


def test_a_file_without_the_wanted_stream_says_so(tmp_path):
    with pytest.raises(MediaError, match="open: the file has no sound"):
        read_audio(write_pictures(tmp_path / "a.mp4", [100] * 5))
    with pytest.raises(MediaError, match="open: the file has no picture"):
        read_frames(write_sound(tmp_path / "a.wav", tone()), count=1)


@pytest.mark.parametrize("share", [0.02, 0.2, 0.4, 0.6, 0.9, 0.99])
@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".avi"])
def test_a_cut_off_clip_gives_frames_or_an_error(tmp_path, share, suffix):
    whole = write_pictures(tmp_path / f"a{suffix}", [90] * 40).read_bytes()
    path = tmp_path / f"cut{suffix}"
    path.write_bytes(whole[: int(len(whole) * share)])
    with contextlib.suppress(MediaError):
        assert 1 <= len(read_frames(path, count=3)) <= 3


def test_sound_that_ends_early_is_an_error(tmp_path):
    whole = write_sound(tmp_path / "a.flac", tone(seconds=4), codec="flac").read_bytes()
    path = tmp_path / "cut.flac"
    path.write_bytes(whole[: len(whole) // 4])
    with pytest.raises(MediaError, match="decode"):
        read_audio(path)


def test_flipped_bytes_never_crash(tmp_path):
    whole = bytearray(write_pictures(tmp_path / "a.mp4", list(range(50, 200, 5))).read_bytes())
    generator = np.random.default_rng(0)
    path = tmp_path / "b.mp4"
    for _ in range(25):
        damaged = bytearray(whole)
        for place in generator.integers(0, len(damaged), 20):
            damaged[place] = generator.integers(256)
        path.write_bytes(damaged)
        with contextlib.suppress(MediaError):
            assert read_frames(path, count=3).dtype == torch.uint8


@pytest.mark.parametrize(("place", "expected"), [("spread", [1, 5, 8]), ("centre", [4, 5, 6]), ("start", [0, 1, 2])])
def test_frames_are_taken_where_asked(tmp_path, place, expected):
    path = write_pictures(tmp_path / "a.avi", [20 * (i + 1) for i in range(10)], codec="ffv1")
    shown = [round(value / 20) - 1 for value in brightness(read_frames(path, count=3, place=place))]
    assert shown == expected


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".avi"])
def test_a_span_far_inside_a_long_clip_is_found(tmp_path, suffix):
    path = write_pictures(tmp_path / f"a{suffix}", [i % 250 for i in range(0, 2000, 5)])  # 40 s at 10 frames/s
    (value,) = brightness(read_frames(path, count=1, span=(30.0, 31.0)))
    assert value == pytest.approx((305 * 5) % 250, abs=6)


def test_a_short_clip_gives_each_frame_once(tmp_path):
    assert len(read_frames(write_pictures(tmp_path / "a.mp4", [100]), count=5)) == 1
    assert len(read_frames(write_pictures(tmp_path / "b.mp4", [50, 200]), count=15, place="centre")) <= 2


def test_halves_and_scaling(tmp_path):
    path = write_pictures(tmp_path / "a.avi", [200] * 4, size=(64, 48), codec="ffv1")
    left = read_frames(path, count=2, crop="left", max_side=32)
    right = read_frames(path, count=2, crop="right", max_side=32)
    assert left.shape == right.shape == (2, 24, 16, 3)
    assert left.float().mean() > 150
    assert right.float().mean() < 50


def test_one_pixel_has_no_face(tmp_path):
    path = write_pictures(tmp_path / "a.mkv", [10, 20], size=(1, 1), codec="ffv1")
    frames = read_frames(path, count=2, crop="right")
    assert frames.shape == (2, 1, 1, 3)
    assert FaceDetector()(frames) == [[], []]


@pytest.mark.parametrize("size", [(1, 1), (10, 10), (20, 300), (24, 24), (41, 23)])
def test_no_face_is_an_empty_list(size):
    noise = torch.randint(0, 256, (2, *size, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    assert FaceDetector()(noise) == [[], []]


def test_spread_frames_lie_inside_the_span():
    for count in (1, 2, 15):
        times = frame_times(2.0, 5.0, rate=25, count=count, place="spread")
        assert len(times) == count
        assert all(2.0 < time < 5.0 for time in times)
        assert times == sorted(times)
    with pytest.raises(ValueError, match="at least one frame"):
        frame_times(0.0, 1.0, rate=25, count=0, place="spread")


def test_paths_with_protocol_names_are_plain_files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_sound(tmp_path / "a.wav", tone())
    with pytest.raises(MediaError, match="does not exist"):
        read_audio(Path("concat:a.wav|a.wav"))
