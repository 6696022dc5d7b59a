"""Which frames are picked, and what becomes of them."""

import struct
from fractions import Fraction

import av
import numpy as np
import pytest
import torch
from av.stream import Disposition
from PIL import Image
from tiny_media import _frame, _picture_stream, half_grey, tone, write_clip, write_pictures

from m2fnet.errors import MediaError
from m2fnet.media import container
from m2fnet.media.audio import read_audio
from m2fnet.media.video import frame_times, read_frames


def brightness(frames):
    return [float(frame[:, : max(1, frame.shape[1] // 2 - 2)].float().mean()) for frame in frames]


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


def test_spread_frames_are_inside_the_span():
    for count in (1, 2, 15):
        times = frame_times(2.0, 5.0, rate=25, count=count, place="spread")
        assert len(times) == count
        assert all(2.0 < time < 5.0 for time in times)
        assert times == sorted(times)
    with pytest.raises(ValueError, match="at least one frame"):
        frame_times(0.0, 1.0, rate=25, count=0, place="spread")


def test_a_span_behind_the_end_is_named(tmp_path):
    path = write_pictures(tmp_path / "a.mp4", [100] * 10)
    with pytest.raises(MediaError, match="begins after the end"):
        read_frames(path, count=1, span=(5.0, 6.0))


def test_a_span_that_the_pictures_do_not_cover_is_named(tmp_path):
    path = write_pictures(tmp_path / "a.mp4", [100] * 30)
    assert len(read_frames(path, count=3, span=(1.0, 3.1))) == 3  # a small deviation
    with pytest.raises(MediaError, match="span: the span continues after the end of the pictures"):
        read_frames(path, count=3, span=(1.0, 4.0))


@pytest.mark.parametrize("suffix", [".mkv", ".mp4"])
def test_pictures_that_end_early_are_named(tmp_path, suffix):
    options = {"movflags": "faststart"} if suffix == ".mp4" else None
    path = write_clip(tmp_path / f"a{suffix}", seconds=4, container_options=options)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * 0.5)])
    with pytest.raises(MediaError, match="decode: the pictures end before their declared length"):
        read_frames(path, count=5)


@pytest.mark.parametrize("codec", ["libx264", "mjpeg"])
@pytest.mark.parametrize(("rotation", "bright"), [(0, "left"), (90, "bottom"), (180, "right"), (-90, "top")])
def test_a_phone_s_clip_is_upright(tmp_path, codec, rotation, bright):
    path = write_pictures(tmp_path / "a.mp4", [200] * 5, size=(64, 32), codec=codec, rotation=rotation)
    frames = read_frames(path, count=2, max_side=32)
    assert frames.shape == ((2, 16, 32, 3) if rotation % 180 == 0 else (2, 32, 16, 3))
    height, width = frames.shape[1] // 2, frames.shape[2] // 2
    halves = {
        "left": frames[:, :, :width],
        "right": frames[:, :, width:],
        "top": frames[:, :height],
        "bottom": frames[:, height:],
    }
    assert max(halves, key=lambda name: halves[name].float().mean()) == bright


@pytest.mark.parametrize(
    ("matrix", "bright"),
    [((-1, 0, 0, 1), "right"), ((1, 0, 0, -1), "left"), ((0, 1, 1, 0), "top"), ((0, -1, -1, 0), "bottom")],
)
def test_a_mirrored_clip_is_mirrored_and_not_turned(tmp_path, matrix, bright):
    picture = np.zeros((32, 64, 3), np.uint8)
    picture[:, :32] = 200  # left, as in `write_pictures`
    picture[:8, :32] = 255  # brightest at the top
    path = write_pictures(tmp_path / "a.mp4", [picture] * 5, size=(64, 32), codec="libx264")
    content = bytearray(path.read_bytes())
    place = content.index(b"tkhd") + 4 + 40  # ISO/IEC 14496-12, 8.3.2: its matrix in a box of version 0
    a, b, c, d = (65536 * number for number in matrix)
    content[place : place + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path.write_bytes(content)
    shown = read_frames(path, count=1)[0].float().mean(-1)
    expected = torch.from_numpy(picture).float().mean(-1)
    if matrix[0] == 0:
        expected = expected.T if matrix[1] == 1 else expected.T.flip(0, 1)
    else:
        expected = expected.flip(1) if matrix[0] == -1 else expected.flip(0)
    assert (shown - expected).abs().mean() < 10
    halves = {"left": shown[:, :16], "right": shown[:, -16:], "top": shown[:16], "bottom": shown[-16:]}
    assert max(halves, key=lambda name: halves[name].mean()) == bright


def test_a_clip_whose_clock_starts_late_ends_where_it_ends(tmp_path):
    path = write_pictures(tmp_path / "a.mkv", range(0, 250, 10), codec="mpeg4")
    with av.open(str(path)) as source, av.open(str(tmp_path / "late.mkv"), "w") as out:
        stream = out.add_stream_from_template(source.streams.video[0])
        for packet in source.demux():
            if packet.dts is not None:
                shift = round(3 / packet.time_base)
                packet.pts, packet.dts, packet.stream = packet.pts + shift, packet.dts + shift, stream
                out.mux(packet)
    assert torch.equal(read_frames(tmp_path / "late.mkv", count=5), read_frames(path, count=5))
    with pytest.raises(MediaError, match="the span continues after the end of the pictures"):
        read_frames(tmp_path / "late.mkv", count=5, span=(1.0, 4.0))


def test_a_crop_is_of_the_upright_picture(tmp_path):
    path = write_pictures(tmp_path / "a.mp4", [200] * 5, size=(64, 32), codec="libx264", rotation=180)
    assert read_frames(path, count=1, crop="right").float().mean() > 150
    assert read_frames(path, count=1, crop="left").float().mean() < 50


def test_a_recording_that_tells_no_length_is_looked_at_as_a_whole(tmp_path):
    values = [i % 250 for i in range(0, 1000, 5)]
    path = write_pictures(tmp_path / "a.mkv", values, codec="libx264", container_options={"live": "1"})
    found = brightness(read_frames(path, count=4))
    assert found == pytest.approx([values[i] for i in (25, 75, 125, 175)], abs=6)


def test_pictures_of_too_many_pixels_are_refused_before_they_are_decoded(tmp_path, monkeypatch):
    path = write_pictures(tmp_path / "a.mp4", [100] * 3, size=(64, 48))
    assert len(read_frames(path, count=1)) == 1
    monkeypatch.setattr(container, "MAX_PIXELS", 64 * 48 - 1)
    with pytest.raises(MediaError, match=r"larger than 3,071 pixels|damaged .ArgumentError"):
        read_frames(path, count=1)  # the first where the header tells the size, the second where only the coder does


def test_a_random_place_is_that_of_the_generator_and_is_in_the_clip():
    def first(seed, stop):
        generator = torch.Generator().manual_seed(seed)
        return frame_times(2.0, stop, rate=10, count=3, place="random", generator=generator)

    drawn = [first(seed, 6.0) for seed in range(20)]
    assert drawn == [first(seed, 6.0) for seed in range(20)]
    assert 2.0 <= min(map(min, drawn)) < max(map(max, drawn)) <= 6.0
    assert max(times[0] for times in drawn) - min(times[0] for times in drawn) > 2
    assert first(0, 2.1)[0] == 2.0


@pytest.mark.parametrize(
    ("ratio", "shape"), [((64, 45), (48, 91)), ((8, 9), (54, 64)), ((1, 1), (48, 64)), ((1, 500), (48, 64))]
)
def test_pixels_that_are_not_square_are_made_square(tmp_path, ratio, shape):
    with av.open(str(tmp_path / "a.mkv"), "w") as out:
        stream = _picture_stream(out, "mpeg4", (64, 48), 10)
        stream.codec_context.sample_aspect_ratio = Fraction(*ratio)
        for number in range(3):
            out.mux(stream.encode(_frame(half_grey(200, (64, 48)), number, 10)))
        out.mux(stream.encode())
    frames = read_frames(tmp_path / "a.mkv", count=1)
    assert frames.shape[1:3] == shape
    assert brightness(frames)[0] == pytest.approx(200, abs=8)
    assert max(read_frames(tmp_path / "a.mkv", count=1, max_side=32).shape[1:3]) == 32


def test_of_several_streams_the_default_one_is_read(tmp_path):
    with av.open(str(tmp_path / "a.mkv"), "w") as out:
        pictures = [_picture_stream(out, "ffv1", (64, 48), 10) for _ in range(2)]
        sounds = [out.add_stream("pcm_s16le", rate=16_000, layout="mono") for _ in range(2)]
        for first, second in (pictures, sounds):
            first.disposition, second.disposition = Disposition(0), Disposition.default
        for value, stream in zip((50, 200), pictures, strict=True):
            for number in range(10):
                out.mux(stream.encode(_frame(half_grey(value, (64, 48)), number, 10)))
            out.mux(stream.encode())
        for level, stream in zip((1_000, 10_000), sounds, strict=True):
            frame = av.AudioFrame.from_ndarray(np.full((1, 16_000), level, np.int16), format="s16", layout="mono")
            frame.sample_rate, frame.time_base, frame.pts = 16_000, Fraction(1, 16_000), 0
            out.mux(stream.encode(frame))
            out.mux(stream.encode())
    assert brightness(read_frames(tmp_path / "a.mkv", count=1))[0] == pytest.approx(200, abs=4)
    assert float(read_audio(tmp_path / "a.mkv").samples.max()) == pytest.approx(10_000 / 2**15, abs=1e-3)


def test_a_cover_is_no_film(tmp_path):
    Image.new("RGB", (64, 64), (255, 0, 0)).save(tmp_path / "cover.png")
    path = tmp_path / "song.mp3"
    with av.open(str(path), "w") as out, av.open(str(tmp_path / "cover.png")) as cover:
        sound = out.add_stream("libmp3lame", rate=48_000, layout="mono")
        picture = out.add_stream_from_template(cover.streams.video[0])
        picture.disposition = Disposition.attached_pic
        packet = next(packet for packet in cover.demux() if packet.size)
        packet.stream = picture
        out.mux(packet)
        frame = av.AudioFrame.from_ndarray(tone(rate=48_000), format="fltp", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = 48_000, 0, Fraction(1, 48_000)
        out.mux(sound.encode(frame))
        out.mux(sound.encode())
    with av.open(str(path)) as written:
        assert len(written.streams.video) == 1
    with pytest.raises(MediaError, match="the file has no picture"):
        read_frames(path, count=1)
    assert len(read_audio(path).samples) > 15_000
