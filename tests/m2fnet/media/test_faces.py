"""Faces: none is an empty list, however small or odd the picture."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from facenet_pytorch import MTCNN
from peak_memory import PEAK
from PIL import Image
from tiny_media import write_pictures
from torchvision.ops import box_iou

from m2fnet.corpora.toy_face import EXPRESSIONS, Look, draw_head
from m2fnet.media.faces import FaceDetector
from m2fnet.media.video import read_frames


def test_one_pixel_has_no_face(tmp_path):
    path = write_pictures(tmp_path / "a.mkv", [10, 20], size=(1, 1), codec="ffv1")
    frames = read_frames(path, count=2, crop="right")
    assert frames.shape == (2, 1, 1, 3)
    assert FaceDetector()(frames) == [[], []]


@pytest.mark.parametrize("size", [(1, 1), (10, 10), (20, 300), (24, 24), (41, 23)])
def test_no_face_is_an_empty_list(size):
    noise = torch.randint(0, 256, (2, *size, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    assert FaceDetector()(noise) == [[], []]


def test_all_faces_are_found_largest_first():
    look = Look.draw("short", np.random.default_rng(0))
    picture = Image.new("RGB", (320, 200), (120, 130, 120))
    for unit, place in ((22, (10, 20)), (34, (150, 10))):
        head = draw_head(look, unit, [EXPRESSIONS["neutral"]])[0]
        picture.paste(head, place, head)
    empty = Image.new("RGB", (320, 200), (120, 130, 120))
    frames = torch.from_numpy(np.stack([np.asarray(picture), np.asarray(empty)]))
    with_faces, without = FaceDetector()(frames)
    assert without == []
    assert len(with_faces) == 2
    large, small = with_faces
    assert large.area > small.area
    assert large.box[0] > 150 > small.box[2]
    assert all(
        0 <= left < right <= 320 and 0 <= top < bottom <= 200 for left, top, right, bottom in (large.box, small.box)
    )
    assert all(face.confidence >= 0.9 for face in with_faces)


def crowd(rows, columns, unit=20):
    picture = Image.new("RGB", (columns * 80, rows * 96), (120, 130, 120))
    rng = np.random.default_rng(0)
    for number in range(rows * columns):
        head = draw_head(Look.draw("short", rng), unit, [EXPRESSIONS["neutral"]])[0]
        picture.paste(head, (number % columns * 80 - 8, number // columns * 96), head)
    return torch.from_numpy(np.asarray(picture).copy())


def sorted_across(faces):
    return sorted(faces, key=lambda face: face.box[0])


def test_forty_faces_in_one_frame():
    (faces,) = FaceDetector(min_side=32)(crowd(5, 8)[None])
    assert len(faces) >= 38
    assert [face.area for face in faces] == sorted((face.area for face in faces), reverse=True)


def test_many_frames_are_searched_in_parts_and_stay_in_order():
    one = crowd(1, 2)
    frames = torch.stack([one if number % 3 == 0 else torch.full_like(one, 120) for number in range(20)])
    assert [bool(faces) for faces in FaceDetector()(frames)] == [number % 3 == 0 for number in range(20)]


def test_boxes_are_in_pixels_of_the_frame_however_far_it_is_scaled_down():
    small = crowd(1, 2)
    large = small.repeat_interleave(3, dim=0).repeat_interleave(4, dim=1)  # stretched more across than down
    plain, stretched = FaceDetector(min_side=32)(small[None])[0], FaceDetector(min_side=96)(large[None])[0]
    assert len(plain) == len(stretched) == 2
    for face, same in zip(sorted_across(plain), sorted_across(stretched), strict=True):
        expected = np.multiply(face.box, (4, 3, 4, 3))
        assert np.abs(expected - same.box).max() <= 24  # faces are 120 pixels and more


@pytest.mark.parametrize("size", [(397, 661), (700, 433)])
def test_boxes_stay_in_place_in_frames_whose_sides_do_not_divide(size):
    frame = torch.full((*size, 3), 120, dtype=torch.uint8)
    frame[-96:, -80:] = crowd(1, 1)
    (plain,), (scaled,) = (FaceDetector(min_side=40, working_side=side)(frame[None])[0] for side in (40, 23))
    assert plain.box != scaled.box
    assert np.abs(np.subtract(plain.box, scaled.box)).max() <= 4


@pytest.mark.parametrize("size", [(96, 160), (240, 320)])
def test_small_frames_are_searched_as_they_are(size):
    frame = torch.full((*size, 3), 120, dtype=torch.uint8)
    frame[:96, :160] = crowd(1, 2)
    assert FaceDetector(min_side=36)(frame[None]) == FaceDetector(min_side=36, working_side=36)(frame[None])


def doubtful():
    """A large frame with faces that fade into the wall, so that MTCNN is less and less sure of them."""
    faces = crowd(4, 16).float()
    sight = torch.linspace(0.05, 1, faces.shape[1])[None, :, None]
    return (120 + (faces - 120) * sight).byte()


def test_all_boxes_of_facenet_pytorch_are_found_and_hardly_any_others():
    frame = doubtful()
    boxes, _ = MTCNN(keep_all=True).detect(frame.numpy())
    (faces,) = FaceDetector(min_side=30)(frame[None])
    overlap = box_iou(torch.tensor(boxes.astype(np.float32)), torch.tensor([face.box for face in faces]).float())
    assert len(boxes) > 40
    assert overlap.max(1).values.min() >= 0.5
    assert len(faces) <= len(boxes) + 1


@pytest.mark.parametrize(("side", "same"), [(30, 29), (40, 55), (56.2, 70)])
def test_smallest_faces_are_rounded_to_sizes_of_facenet_pytorch(side, same):
    frame = crowd(2, 3, unit=26)[None]
    assert FaceDetector(min_side=side)(frame) == FaceDetector(min_side=same)(frame) != [[]]


def test_less_certain_faces_than_asked_for_are_left_out():
    every, sure = (
        sorted(face.confidence for face in FaceDetector(min_side=30, min_confidence=least)(doubtful()[None])[0])
        for least in (0.7, 0.95)
    )
    assert every[0] < 0.95
    assert sure == pytest.approx([confidence for confidence in every if confidence > 0.95])


def test_no_frames_have_no_faces():
    assert FaceDetector()(torch.empty(0, 40, 40, 3, dtype=torch.uint8)) == []


@pytest.mark.parametrize("batch_pixels", [1, 10_000, 10**9])
def test_however_many_are_searched_together_the_faces_are_the_same(batch_pixels):
    frames = torch.stack([crowd(1, 2), crowd(1, 2).flip(1), torch.full((96, 160, 3), 120, dtype=torch.uint8)])
    found = FaceDetector(batch_pixels=batch_pixels)(frames)
    assert [len(faces) for faces in found] == [2, 2, 0]
    for faces, same in zip(found, FaceDetector()(frames), strict=True):
        for face, other in zip(faces, same, strict=True):
            assert np.abs(np.subtract(face.box, other.box)).max() <= 1
            assert face.confidence == pytest.approx(other.confidence, abs=1e-4)


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="memory is read from Linux's /proc")
def test_memory_does_not_grow_with_the_number_of_frames():
    code = f"""{PEAK}
import torch
from m2fnet.media.faces import FaceDetector
frame = torch.randint(0, 256, (180, 320, 3), dtype=torch.uint8)
detector = FaceDetector(min_side=40, batch_pixels=100_000)
detector(frame.expand(30, -1, -1, -1))
before = peak()
detector(frame.expand(1000, -1, -1, -1))
print(peak() - before)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert float(done.stdout) < 60  # MiB; the frames together would take 660 as the networks see them


def test_settings_tell_detectors_apart():
    for other in ({"min_side": 30}, {"min_confidence": 0.5}, {"border": 0.1}, {"working_side": 15}):
        assert FaceDetector(**other).settings != FaceDetector().settings
    assert FaceDetector().settings == FaceDetector().settings


def test_a_border_finds_a_face_that_fills_the_picture_and_keeps_its_box_inside():
    tight = crowd(1, 1)[30:60, 20:50]
    assert FaceDetector(min_side=24)(tight[None]) == [[]]
    ((face,),) = FaceDetector(min_side=24, border=0.25)(tight[None])
    left, top, right, bottom = face.box
    assert 0 <= left < right <= 30
    assert 0 <= top < bottom <= 30
    assert face.area > 30 * 30 / 2


def test_a_border_leaves_boxes_where_they_are():
    ((plain,),), ((framed,),) = (FaceDetector(min_side=32, border=border)(crowd(1, 1)[None]) for border in (0.0, 0.25))
    assert np.abs(np.subtract(plain.box, framed.box)).max() <= 6
