"""Still images as clips of one frame: every format, and whatever somebody may call a picture."""

import numpy as np
import pytest
from PIL import Image

from m2fnet.errors import MediaError
from m2fnet.media import picture
from m2fnet.media.picture import read_picture
from m2fnet.media.video import read_frames


def coloured(width=40, height=20):
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[:, : width // 2] = (200, 40, 40)
    return Image.fromarray(pixels)


@pytest.mark.parametrize("suffix", [".jpg", ".JPEG", ".png", ".webp", ".bmp"])
def test_a_picture_is_a_clip_of_one_frame(tmp_path, suffix):
    coloured().save(tmp_path / f"a{suffix}")
    frames = read_frames(tmp_path / f"a{suffix}", count=15, place="centre")
    assert frames.shape == (1, 20, 40, 3)
    red, black = frames[0, 10, 5], frames[0, 10, 35]
    assert red[0] > 150 > 90 > red[1]
    assert black.max() < 40


def test_crop_and_scaling_hold_for_pictures_too(tmp_path):
    coloured().save(tmp_path / "a.png")
    left = read_frames(tmp_path / "a.png", count=1, crop="left", max_side=20)
    assert left.shape == (1, 10, 10, 3)
    assert left[..., 0].float().mean() > 150
    assert read_frames(tmp_path / "a.png", count=1, max_side=400).shape == (1, 20, 40, 3)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "I;16"])
def test_every_kind_of_pixel_becomes_three_channels(tmp_path, mode):
    if mode == "I;16":
        image = Image.fromarray(np.full((8, 8), 40_000, np.uint16))
    else:
        image = Image.new("RGB", (8, 8), (255, 255, 255)).convert(mode)
    image.save(tmp_path / "a.png")
    for max_side in (None, 4):
        found = read_picture(tmp_path / "a.png", max_side)
        assert found.shape == (max_side or 8, max_side or 8, 3)
        assert found.dtype == np.uint8
        assert found.min() > 100


def test_a_16_bit_picture_keeps_its_shades(tmp_path):
    Image.fromarray(np.linspace(0, 65_535, 64).astype(np.uint16).reshape(8, 8)).save(tmp_path / "a.png")
    assert len(np.unique(read_picture(tmp_path / "a.png"))) > 50


def test_a_phone_s_picture_is_upright(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned by a quarter
    coloured().save(tmp_path / "a.jpg", exif=exif)
    assert read_picture(tmp_path / "a.jpg").shape == (40, 20, 3)


def test_one_pixel(tmp_path):
    Image.new("RGB", (1, 1)).save(tmp_path / "a.png")
    assert read_frames(tmp_path / "a.png", count=15, crop="right", max_side=640).shape == (1, 1, 1, 3)


@pytest.mark.parametrize(("content", "stage"), [(b"", "open"), (b"no picture at all", "open"), (None, "decode")])
def test_what_is_no_picture_is_named_without_its_path(tmp_path, content, stage):
    path = tmp_path / "a.jpg"
    coloured(400, 400).save(path)
    path.write_bytes(path.read_bytes()[:800] if content is None else content)
    with pytest.raises(MediaError) as caught:
        read_picture(path)
    assert caught.value.stage == stage
    assert str(tmp_path) not in str(caught.value)


def test_absent_files_and_folders_are_named(tmp_path):
    with pytest.raises(MediaError, match="does not exist"):
        read_picture(tmp_path / "a.jpg")
    with pytest.raises(MediaError, match="no regular file"):
        read_picture(tmp_path)


def test_a_huge_picture_is_refused_before_it_is_decoded(tmp_path, monkeypatch):
    Image.new("1", (7000, 5000)).save(tmp_path / "a.png")
    with pytest.raises(MediaError, match="larger than 33,177,600 pixels"):
        read_picture(tmp_path / "a.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    monkeypatch.setattr(picture, "MAX_PIXELS", 10**9)
    with pytest.raises(MediaError, match="a huge one"):
        read_picture(tmp_path / "a.png")


def test_formats_that_may_reach_elsewhere_are_not_opened(tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\nshowpage\n")
    with pytest.raises(MediaError, match="no picture of the formats"):
        read_picture(tmp_path / "a.jpg")
