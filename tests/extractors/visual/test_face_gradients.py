"""The face branch: what is seen where there are faces, and where there are none."""

import pytest
import torch

from extractors.extraction.embedding import place_utterances
from extractors.visual.face_gradients import FaceGradients, face_gradients, scene_colours
from m2fnet.media.faces import Face


def noise(*shape):
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def sample(share):
    return {"scene": torch.rand(576), "face": torch.rand(288) * (share > 0), "share": torch.tensor([share])}


def test_without_a_face_the_scene_is_still_there(corpus):
    extractor = FaceGradients(scene_width=3, face_width=2)
    found = extractor.preprocess(place_utterances(corpus, "train")[0])
    assert found["share"].item() == 0
    assert not found["face"].any()
    assert found["scene"].any()


def test_the_share_of_frames_with_a_face_marks_an_absent_face():
    torch.manual_seed(0)
    extractor = FaceGradients(scene_width=3, face_width=2)
    extractor.fit([sample(share) for share in (0.0, 1.0, 0.5, 1.0, 1.0)])
    without, with_face = extractor(extractor.collate([sample(0.0), sample(0.5)]))
    assert len(without) == extractor.width == 6
    torch.testing.assert_close(without[3:], torch.zeros(3))
    assert with_face[3:5].any()
    assert with_face[5] == 0.5


def test_a_training_split_without_any_face_can_be_fitted():
    torch.manual_seed(0)
    extractor = FaceGradients(scene_width=3, face_width=2)
    extractor.fit([sample(0.0) for _ in range(5)])
    assert torch.isfinite(extractor(extractor.collate([sample(0.0), sample(1.0)]))).all()


def test_faces_are_weighted_by_their_area():
    frame = noise(60, 80, 3)
    large, small = Face((0, 0, 40, 40), 1.0), Face((50, 10, 70, 30), 1.0)
    single = [face_gradients(frame, [face]) for face in (large, small)]
    torch.testing.assert_close(face_gradients(frame, [large, small]), 0.8 * single[0] + 0.2 * single[1])


def test_gradients_do_not_depend_on_brightness_and_contrast():
    frame = noise(48, 48, 3) // 4
    face = [Face((0, 0, 48, 48), 1.0)]
    torch.testing.assert_close(face_gradients(frame, face), face_gradients(2 * frame + 20, face), atol=1e-4, rtol=0)


@pytest.mark.parametrize("size", [(1, 1), (5, 3), (400, 200)])
def test_scenes_of_any_size_have_the_same_number_of_colours(size):
    colours = scene_colours(noise(2, *size, 3))
    assert colours.shape == (576,)
    assert 0 <= colours.min() <= colours.max() <= 1


def test_senseless_settings_are_refused():
    with pytest.raises(ValueError, match="Expected"):
        FaceGradients(min_face=4)
