"""Frames after a jump are those of decoding from the beginning, for every coder and container."""

import av
import numpy as np
import pytest
from tiny_media import number_of, numbered, write_pictures

from m2fnet.media.container import open_video
from m2fnet.media.frames import frames_at

FPS, COUNT = 25, 130
CODERS = {
    "h264": {"codec": "libx264", "max_b_frames": 0},
    "h264 with B-frames": {"codec": "libx264", "max_b_frames": 3},
    "h264 with open groups": {"codec": "libx264", "options": {"x264-params": "open-gop=1:bframes=3:scenecut=0"}},
    "h264 without key frames": {"codec": "libx264", "options": {"x264-params": "intra-refresh=1:bframes=0"}},
    "mpeg4": {"codec": "mpeg4", "bit_rate": 2_000_000},
    "mpeg4 with B-frames": {"codec": "mpeg4", "bit_rate": 2_000_000, "max_b_frames": 2},
    "mjpeg": {"codec": "mjpeg"},
}
CONTAINERS = {
    "mp4": (".mp4", (1,)),
    "mp4, variable rate": (".mp4", (1, 3, 1, 40, 2)),
    "avi": (".avi", (1,)),
    "mkv": (".mkv", (1,)),
    "mkv, variable rate": (".mkv", (1, 3, 1, 40, 2)),
}


def write(path, gaps=(1,), **coder):
    return write_pictures(path, map(numbered, range(COUNT)), size=(96, 64), fps=FPS, gaps=gaps, gop_size=30, **coder)


def shown_by(path, times):
    with open_video(path) as media:
        return [number_of(frame.to_ndarray(format="rgb24")) for frame in frames_at(media, times, 0.0)]


def begins(path, gaps):
    """When each frame is shown, on the clock of the file; frame rates of AVI files are constant by definition."""
    if path.suffix == ".avi":
        with av.open(str(path)) as container:
            frames = [frame.time for frame in container.decode(video=0)]
            first = frames[0] if container.streams.video[0].codec_context.name != "h264" else 0.0
        return first + np.arange(COUNT) / FPS
    return np.cumsum([0, *(gaps[i % len(gaps)] for i in range(COUNT - 1))]) / FPS


def expected_at(times, starts):
    numbers = np.maximum(np.searchsorted(starts, np.asarray(times) + 1e-3, side="right") - 1, 0)
    return list(dict.fromkeys(numbers.tolist()))


def several_times(starts):
    """Successive frames, spread ones, single ones and random ones, somewhere in the clip."""
    generator = np.random.default_rng(0)
    end = starts[-1]
    for _ in range(8):
        first = generator.uniform(0, end)
        yield [first + i / FPS for i in range(15)]
        yield sorted(generator.uniform(0, end, 6))
        yield [first]
    yield [(i + 0.5) / 9 * end for i in range(9)]
    yield list(starts[27:34])  # across a key frame, to the point


@pytest.mark.parametrize("container", CONTAINERS)
@pytest.mark.parametrize("coder", CODERS)
def test_frames_after_a_jump_are_those_of_decoding_from_the_start(tmp_path, coder, container):
    suffix, gaps = CONTAINERS[container]
    path = write(tmp_path / f"a{suffix}", gaps, **CODERS[coder])
    starts = begins(path, gaps)
    for times in several_times(starts):
        assert shown_by(path, times) == expected_at(times, starts)


@pytest.mark.parametrize(
    ("suffix", "codec"), [(".ts", "libx264"), (".flv", "libx264"), (".h264", "libx264"), (".mpg", "mpeg2video")]
)
def test_files_without_an_index_are_read_exactly_too(tmp_path, suffix, codec):
    path = write(tmp_path / f"a{suffix}", codec=codec, bit_rate=2_000_000)
    for times in ([0.5], [1.5 + i / FPS for i in range(15)], [0.2, 2.2, 4.2]):
        assert shown_by(path, [time + 0.01 for time in times]) == expected_at(times, np.arange(COUNT) / FPS)


def test_frames_before_the_nearest_key_frame_are_not_decoded(tmp_path):
    path = write(tmp_path / "a.mp4", codec="libx264", max_b_frames=3)
    expected = shown_by(path, [4.0, 4.1])
    with av.open(str(path)) as container:
        packets = list(container.demux(video=0))
        key = max(
            packet.pos for packet in packets if packet.pts and packet.is_keyframe and packet.pts * packet.time_base < 4
        )
        first = min(packet.pos for packet in packets if packet.size)
    content = bytearray(path.read_bytes())
    content[first:key] = bytes(key - first)
    path.write_bytes(content)
    assert shown_by(path, [4.0, 4.1]) == expected
