"""Where an utterance is looked at: the times told are those of the frames that are read."""

import pytest
from PIL import Image
from tiny_media import write_pictures

from extractors.extraction.embedding import place_utterances
from extractors.visual.pictures import Frames, utterance_frames, utterance_times
from m2fnet.errors import MediaError
from m2fnet.manifest import Manifest
from m2fnet.records import LabelSet, Utterance

SHADES = [10 + i for i in range(200)]  # 20 s at 10 frames a second


def utterance_of(root, **fields):
    utterance = Utterance("u", "own", "train", "d", 0, **fields)
    (placed,) = place_utterances(Manifest("own", LabelSet("two", ("joy", "anger")), (utterance,), root))
    return placed


def times_of(frames):
    """When the frames are shown, from their shades."""
    return [(round(float(frame[:, :12].float().mean())) - 10) / 10 for frame in frames]


@pytest.mark.parametrize("place", ["spread", "centre", "start", "random"])
@pytest.mark.parametrize("tells_its_length", [True, False])
def test_the_times_are_those_of_the_frames(tmp_path, place, tells_its_length):
    options = {} if tells_its_length else {"live": "1"}  # as browsers record
    write_pictures(tmp_path / "a.mkv", SHADES, codec="ffv1", container_options=options)
    placed, which = utterance_of(tmp_path, video="a.mkv"), Frames(4, place, 640)
    times, frames = utterance_times(placed, which), utterance_frames(placed, which)
    assert len(times) == len(frames) == 4
    assert times_of(frames) == pytest.approx(times.tolist(), abs=0.25)  # a frame lasts 0.1 s, and shades are rounded


def test_the_times_of_a_span_begin_with_the_span(tmp_path):
    write_pictures(tmp_path / "a.mkv", SHADES, codec="ffv1")
    placed, which = utterance_of(tmp_path, video="a.mkv", video_span=(10.0, 14.0)), Frames(2, "spread", 640)
    assert utterance_times(placed, which).tolist() == [1.0, 3.0]
    assert times_of(utterance_frames(placed, which)) == pytest.approx([11.0, 13.0], abs=0.15)


@pytest.mark.parametrize("place", ["centre", "start", "random"])
def test_a_short_utterance_is_not_looked_at_beyond_its_end(tmp_path, place):
    write_pictures(tmp_path / "a.mkv", SHADES, codec="ffv1")
    placed, which = utterance_of(tmp_path, video="a.mkv", video_span=(10.0, 10.45)), Frames(15, place, 640)
    assert utterance_times(placed, which).tolist() == pytest.approx([0.0, 0.1, 0.2, 0.3, 0.4], abs=1e-5)
    assert times_of(utterance_frames(placed, which)) == pytest.approx([10.0, 10.1, 10.2, 10.3, 10.4], abs=0.25)


def test_a_still_image_is_looked_at_once(tmp_path):
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    assert utterance_times(utterance_of(tmp_path, video="a.png"), Frames(3, "spread", 640)).tolist() == [0]


def test_without_a_picture_there_are_no_times():
    with pytest.raises(MediaError, match="video: the manifest names no picture"):
        utterance_times(utterance_of(None), Frames(1, "spread", 640))
