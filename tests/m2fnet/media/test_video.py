"""Which frames are picked, and what becomes of them."""

import pytest
import torch
from tiny_media import write_pictures

from m2fnet.errors import MediaError
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


def test_spread_frames_lie_inside_the_span():
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


def test_a_random_place_is_that_of_the_generator_and_lies_in_the_clip():
    def first(seed, stop):
        generator = torch.Generator().manual_seed(seed)
        return frame_times(2.0, stop, rate=10, count=3, place="random", generator=generator)

    drawn = [first(seed, 6.0) for seed in range(20)]
    assert drawn == [first(seed, 6.0) for seed in range(20)]
    assert 2.0 <= min(map(min, drawn)) < max(map(max, drawn)) <= 6.0
    assert max(times[0] for times in drawn) - min(times[0] for times in drawn) > 2
    assert first(0, 2.1)[0] == 2.0
