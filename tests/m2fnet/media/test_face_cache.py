"""Faces that were found once: the same answer without a second look, and never a wrong one."""

import json

import pytest
import torch

from m2fnet.media.face_cache import CachedFaceDetector
from m2fnet.media.faces import Face

FOUND = [Face((1, 2, 20, 22), 0.1 + 0.2), Face((5, 5, 9, 9), 1.0)]


class Counting:
    """A detector that says how many frames it was shown."""

    def __init__(self, **settings):
        self.settings, self.seen = settings, 0

    def __call__(self, frames):
        self.seen += len(frames)
        return [FOUND if number % 2 == 0 else [] for number in range(len(frames))]


@pytest.fixture
def frames():
    return torch.randint(0, 256, (3, 24, 32, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def test_the_same_frames_are_searched_once(frames, tmp_path):
    first, second = Counting(), Counting()
    found = CachedFaceDetector(first, tmp_path / "new")(frames)
    again = CachedFaceDetector(second, tmp_path / "new")(frames.clone())
    assert found == again == [FOUND, [], FOUND]
    assert (first.seen, second.seen) == (3, 0)


@pytest.mark.parametrize(
    "change",
    [
        lambda frames: frames[:2],
        lambda frames: frames.flip(0),
        lambda frames: frames.transpose(1, 2),
        lambda frames: frames ^ (torch.arange(frames.numel()) == 7).view(frames.shape),
    ],
)
def test_other_frames_are_searched(frames, tmp_path, change):
    detector = Counting()
    cached = CachedFaceDetector(detector, tmp_path)
    cached(frames)
    before = detector.seen
    cached(change(frames))
    assert detector.seen > before


def test_another_detector_searches_again(frames, tmp_path):
    CachedFaceDetector(Counting(min_side=20), tmp_path)(frames)
    other = Counting(min_side=40)
    CachedFaceDetector(other, tmp_path)(frames)
    assert other.seen == len(frames)


@pytest.mark.parametrize(
    "content",
    [
        "", "[", "null", "{}", "[[], []]", "[[], [], 3]", '[[], [], ["x"]]', "[[[0, 0, 5, 5]], [], []]",
        "[[[0, 0, 33, 5, 0.9]], [], []]", "[[[5, 5, 5, 6, 0.9]], [], []]", "[[[-1, 0, 5, 5, 0.9]], [], []]",
        "[[[0, 0, 5, 5, NaN]], [], []]", "[[[0.0, 0, 5, 5, 0.9]], [], []]", "[[[0, 0, 5, true, 0.9]], [], []]",
        "[" * 100_000,
    ],
    ids=range(15),
)  # fmt: skip
def test_a_damaged_entry_is_made_again(frames, tmp_path, content):
    CachedFaceDetector(Counting(), tmp_path)(frames)
    (entry,) = tmp_path.rglob("*.json")
    good = entry.read_text()
    entry.write_text(content)
    assert CachedFaceDetector(Counting(), tmp_path)(frames) == [FOUND, [], FOUND]
    assert entry.read_text() == good
    assert json.loads(good)


def test_nothing_but_entries_is_left(frames, tmp_path):
    cached = CachedFaceDetector(Counting(), tmp_path)
    cached(frames)
    cached(frames[:1])
    assert len([path for path in tmp_path.rglob("*") if path.is_file()]) == 2
