"""The batched cascade: what facenet-pytorch finds box by box, for any number of frames and boxes."""

import numpy as np
import pytest
import torch
from facenet_pytorch import MTCNN as STOCK
from PIL import Image
from torchvision.ops import box_iou

from m2fnet.corpora.toy_face import EXPRESSIONS, LEFT, TOP, Look, draw_head
from m2fnet.media.mtcnn import MTCNN

THRESHOLDS = [0.8, 0.8, 0.8]


def heads(seed, units, size=(480, 270)):
    """A frame (3, H, W) with drawn heads in a row, half as wide as ``units`` say, on a wall that has stains."""
    rng = np.random.default_rng(seed)
    stains = rng.integers(100, 150, (9, 16, 3)).astype(np.uint8)
    picture = Image.fromarray(stains).resize(size, Image.Resampling.BICUBIC)
    for number, unit in enumerate(units):
        head = draw_head(Look.draw("short", rng), unit, [EXPRESSIONS["neutral"]])[0]
        centre = (number + 0.5) * size[0] / len(units) + rng.uniform(-5, 5)
        picture.paste(head, (round(centre + LEFT * unit), round(size[1] * rng.uniform(0.4, 0.5) + TOP * unit)), head)
    return torch.from_numpy(np.asarray(picture).copy()).permute(2, 0, 1)


@pytest.fixture(scope="module")
def frames():
    return torch.stack(
        [heads(n, units) for n, units in enumerate([(30,), (24, 40), (), (22, 34, 26), (50,), (28, 20)])]
    )


@pytest.fixture(scope="module")
def mtcnn():
    return MTCNN(THRESHOLDS)


def test_the_boxes_are_those_of_facenet_pytorch(mtcnn, frames):
    stock = STOCK(keep_all=True, min_face_size=30, thresholds=THRESHOLDS)
    pictures = frames.permute(0, 2, 3, 1).numpy()
    for ours, picture in zip(mtcnn(frames, 30), pictures, strict=True):
        boxes, confidences = stock.detect(picture)
        if boxes is None:
            assert len(ours) == 0
            continue
        overlap = box_iou(torch.from_numpy(boxes.astype(np.float32)), ours[:, :4])
        assert overlap.shape[0] == overlap.shape[1]
        assert overlap.max(1).values.min() > 0.8
        matched = ours[overlap.argmax(1), 4]
        torch.testing.assert_close(matched, torch.from_numpy(confidences.astype(np.float32)), atol=0.1, rtol=0)


def test_company_in_the_batch_changes_nothing(mtcnn, frames):
    together = mtcnn(frames, 30)
    single = [mtcnn(frame[None], 30)[0] for frame in frames]
    assert [len(boxes) for boxes in together] == [1, 2, 0, 3, 1, 2]
    for boxes, same in zip(together, single, strict=True):
        torch.testing.assert_close(boxes, same, atol=1e-3, rtol=0)


def test_the_same_frames_give_the_same_boxes(mtcnn, frames):
    first, second = (torch.cat(mtcnn(frames, 30)) for _ in range(2))
    assert torch.equal(first, second)


def test_faces_smaller_than_asked_for_are_not_looked_for(mtcnn, frames):
    assert [len(boxes) for boxes in mtcnn(frames, 120)] == [0, 1, 0, 1, 1, 0]  # the largest ones


@pytest.mark.parametrize("size", [(1, 1), (12, 12), (19, 400), (20, 20), (33, 21)])
def test_frames_without_room_for_a_face_have_none(mtcnn, size):
    noise = torch.randint(0, 256, (2, 3, *size), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    assert [len(boxes) for boxes in mtcnn(noise, 20)] == [0, 0]


def test_a_face_cut_off_by_the_frame_is_cut_out_where_it_is(mtcnn):
    whole = heads(0, (50,))
    (box,) = mtcnn(whole[None], 30)[0]
    left = int(box[0])
    (cut,) = mtcnn(whole[None, :, :, left + 10 :], 30)[0]
    assert abs(cut[2] - (box[2] - left - 10)) < 6
    assert abs(cut[1] - box[1]) < 8


def test_many_candidates_are_looked_at_in_parts(mtcnn, frames, monkeypatch):
    whole = mtcnn(frames, 30)
    monkeypatch.setattr("m2fnet.media.mtcnn._CUTS", 3)
    for boxes, same in zip(mtcnn(frames, 30), whole, strict=True):
        torch.testing.assert_close(boxes, same, atol=1e-3, rtol=0)
