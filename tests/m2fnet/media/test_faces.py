"""Faces: none is an empty list, however small or odd the picture."""

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_media import write_pictures

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


def test_forty_faces_in_one_frame():
    (faces,) = FaceDetector(min_side=32)(crowd(5, 8)[None])
    assert len(faces) >= 38
    assert [face.area for face in faces] == sorted((face.area for face in faces), reverse=True)


def test_many_frames_are_searched_in_parts_and_stay_in_order():
    one = crowd(1, 2)
    frames = torch.stack([one if number % 3 == 0 else torch.full_like(one, 120) for number in range(20)])
    assert [bool(faces) for faces in FaceDetector()(frames)] == [number % 3 == 0 for number in range(20)]


def test_settings_tell_detectors_apart():
    for other in ({"min_side": 30}, {"min_confidence": 0.5}, {"border": 0.1}):
        assert FaceDetector(**other).settings != FaceDetector().settings
    assert FaceDetector().settings == FaceDetector().settings


def test_a_border_finds_a_face_that_fills_the_picture_and_keeps_its_box_inside():
    tight = crowd(1, 1)[28:62, 18:52]
    assert FaceDetector(min_side=32)(tight[None]) == [[]]
    ((face,),) = FaceDetector(min_side=32, border=0.25)(tight[None])
    left, top, right, bottom = face.box
    assert 0 <= left < right <= 34
    assert 0 <= top < bottom <= 34
    assert face.area > 34 * 34 / 2


def test_a_border_leaves_boxes_where_they_are():
    ((plain,),), ((framed,),) = (FaceDetector(min_side=32, border=border)(crowd(1, 1)[None]) for border in (0.0, 0.25))
    assert np.abs(np.subtract(plain.box, framed.box)).max() <= 6
