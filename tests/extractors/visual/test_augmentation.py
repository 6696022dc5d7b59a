"""Changes of pictures in training: each does what its name says, all of a clip alike, none is the identity."""

import pytest
import torch

from extractors.visual.augmentation import Augmentation, augmented

ONE_CLIP = torch.zeros(1, dtype=torch.long)


def picture(side=16):
    return torch.rand(1, 3, side, side, generator=torch.Generator().manual_seed(0)) * 200 + 20


def change(pictures, clip=None, clips=1, seed=0, **how):
    clip = ONE_CLIP if clip is None else clip
    return augmented(pictures, Augmentation(**how), clip, clips, torch.Generator().manual_seed(seed))


def test_nothing_asked_for_changes_nothing():
    torch.testing.assert_close(change(picture()), picture(), atol=1e-3, rtol=0)


def test_a_mirror_swaps_left_and_right():
    torch.testing.assert_close(change(picture(), mirror=1.0), picture().flip(3), atol=1e-3, rtol=0)
    is_mirrored = [not torch.allclose(change(picture(), mirror=0.5, seed=s), picture(), atol=1) for s in range(200)]
    assert 70 < sum(is_mirrored) < 130


def test_light_adds_and_contrast_spreads():
    lighter = change(picture(), light=0.05) - picture()
    assert lighter.std() < 1e-3
    assert 0.1 < lighter.abs().mean() <= 0.05 * 255
    spread = change(picture(), contrast=0.1)
    torch.testing.assert_close(spread.mean(), picture().mean())
    assert 0.01 < abs(spread.std() / picture().std() - 1) <= 0.11


@pytest.mark.parametrize("how", [{"shift": 0.2}, {"zoom": 0.3}, {"turn": 30.0}])
def test_places_change_and_shades_stay(how):
    moved = change(picture(), **how)
    assert (moved - picture()).abs().mean() > 1
    assert picture().min() - 1e-3 <= moved.min() <= moved.max() <= picture().max() + 1e-3


def test_a_shift_moves_by_whole_pixels_what_it_says():
    dot = torch.zeros(1, 3, 101, 101)
    dot[..., 50, 50] = 255
    for seed in range(20):
        row, column = divmod(int(change(dot, shift=0.1, seed=seed)[0, 0].argmax()), 101)
        assert max(abs(row - 50), abs(column - 50)) <= 11


def test_pictures_of_a_clip_change_alike_and_clips_differ():
    clip = torch.tensor([0, 0, 1, 1])
    a, b, c, d = change(picture().expand(4, -1, -1, -1), clip, 2, mirror=0.5, shift=0.1, turn=10.0, light=0.2)
    assert torch.equal(a, b)
    assert torch.equal(c, d)
    assert not torch.allclose(a, c, atol=1)


def test_only_the_generator_decides():
    everything = {"mirror": 0.5, "shift": 0.1, "zoom": 0.1, "turn": 10.0, "light": 0.1, "contrast": 0.2}
    assert torch.equal(change(picture(), seed=3, **everything), change(picture(), seed=3, **everything))
    assert not torch.equal(change(picture(), seed=3, **everything), change(picture(), seed=4, **everything))


def test_values_stay_in_range():
    changed = change(picture() * 2 - 100, light=1.0, contrast=1.0, seed=1)
    assert 0 <= changed.min() <= changed.max() <= 255


@pytest.mark.parametrize("wrong", [{"mirror": 1.5}, {"shift": -0.1}, {"zoom": 1.0}, {"turn": 200.0}])
def test_senseless_ranges_are_refused(wrong):
    with pytest.raises(ValueError, match="Expected shares in"):
        Augmentation(**wrong)
