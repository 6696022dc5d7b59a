"""The frames that a visual extractor looked at, and the faces in them, as part of the prediction for an utterance."""

from dataclasses import replace
from itertools import pairwise

import av
import numpy as np
import pytest
import torch
from made_up_model import LABELS, made_up_model, talk, write_wav

from extractors.base import Extractor
from extractors.extraction.embedding import Loading, embed, place_utterances
from extractors.visual.face_scene import FaceScene
from extractors.visual.pictures import Frames, utterance_frames
from m2fnet.conversation.clip import manifest_of
from m2fnet.errors import MediaError
from m2fnet.media.faces import Face
from m2fnet.pipeline import Pipeline
from m2fnet.pipeline.face_frames import MOST_FACES
from m2fnet.pipeline.stages import Stages
from m2fnet.records import SeenFrame, Segment
from m2fnet.store import Missing

BOX = (0.125, 0.25, 0.375, 0.75)


class Crowd:
    """A detector that takes what is bright for so many faces."""

    def __init__(self, size):
        self.size = size

    def __call__(self, frames):
        return [self._faces(frame.float().mean(-1) > 128) for frame in frames]

    def _faces(self, bright):
        rows, columns = bright.nonzero(as_tuple=True)
        if not len(rows):
            return []
        box = (int(columns.min()), int(rows.min()), int(columns.max()) + 1, int(rows.max()) + 1)
        return [Face(box, 1.0)] * self.size


class Faces(Extractor):
    """The share of frames with a face; nothing where there is no face at all."""

    modality = "visual"
    width = 2

    def __init__(self, place="spread", count=3, crowd=1):
        super().__init__()
        self.which, self.detector = Frames(count, place, 64), Crowd(crowd)

    def preprocess(self, placed):
        found = self.detector(utterance_frames(placed, self.which))
        if not any(found):
            raise MediaError("faces", "no face was found")
        return {"share": torch.tensor([sum(map(bool, found)) / len(found), 1.0])}

    def collate(self, samples):
        return {"share": torch.stack([sample["share"] for sample in samples])}

    def forward(self, batch):
        return batch["share"]


def write_clip(path, seconds=4, rate=10):
    """A white square in the first two seconds, and nothing after them."""
    with av.open(str(path), "w") as out:
        video = out.add_stream("mpeg4", rate=rate)
        video.width, video.height, video.pix_fmt, video.bit_rate = 192, 96, "yuv420p", 2_000_000
        for number in range(seconds * rate):
            picture = np.zeros((96, 192, 3), np.uint8)
            picture[24:72, 24:72] = 255 if number < 2 * rate else 0
            out.mux(video.encode(av.VideoFrame.from_ndarray(picture)))
        out.mux(video.encode())
    return path


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return write_clip(tmp_path_factory.mktemp("faces") / "talk.mp4")


def seeing(extractor):
    """The made-up model with another visual extractor."""
    model = made_up_model("text", "visual")
    return replace(model, extractors={**model.extractors, "visual": extractor})


def test_each_utterance_names_the_frames_that_were_searched_and_where_the_faces_are(clip):
    first, second = Pipeline(seeing(Faces()))(clip, segments=talk(2, seconds=2.0))
    assert [frame.time_s for frame in first.frames] == pytest.approx([1 / 3, 1, 5 / 3], abs=1e-3)
    assert [frame.time_s for frame in second.frames] == pytest.approx([7 / 3, 3, 11 / 3], abs=1e-3)
    for frame in first.frames:
        (box,) = frame.faces
        assert box == pytest.approx(BOX, abs=0.04)  # looked for in a third of the pixels
    assert [frame.faces for frame in second.frames] == [(), (), ()]
    assert second.missing == {"visual": "no face was found"}


def test_watching_changes_no_embedding_and_is_over_afterwards(clip):
    extractor = Faces()
    detector, manifest = extractor.detector, manifest_of(clip, talk(4, seconds=1.0), LABELS)
    watched = Stages(seeing(extractor), "cpu").embed(manifest, manifest.utterances, range(4))
    assert extractor.detector is detector
    found = [utterance.vectors["visual"] for utterance in watched]
    expected = [vector for _, vector in embed(extractor, place_utterances(manifest), Loading(workers=0))]
    assert found[2:] == expected[2:] == [Missing("faces", "no face was found")] * 2
    assert torch.equal(torch.stack(found[:2]), torch.stack(expected[:2]))


def test_causal_looks_at_the_same_frames(clip):
    segments = talk(4, seconds=1.0)
    ways = [Pipeline(seeing(Faces()), causal=causal)(clip, segments=segments) for causal in (False, True)]
    assert [p.frames for p in ways[0]] == [p.frames for p in ways[1]]


def test_frames_come_in_order_and_each_once_where_an_utterance_has_few(clip):
    (prediction,) = Pipeline(seeing(Faces(count=15)))(clip, segments=[Segment(1.0, 1.5, "A", "Hi")])
    times = [frame.time_s for frame in prediction.frames]
    assert 1 < len(times) <= 6
    assert all(1.0 <= before < after <= 1.5 for before, after in pairwise(times))


def test_of_a_crowd_the_largest_faces_are_told(clip):
    (prediction,) = Pipeline(seeing(Faces(crowd=500)))(clip, segments=[Segment(0.0, 1.0, "A", "Hi")])
    assert [len(frame.faces) for frame in prediction.frames] == [MOST_FACES] * 3


def test_where_no_face_is_looked_for_there_is_no_frame(clip, tmp_path):
    segments = [Segment(0.0, 1.0, "A", "Hi")]
    sound = write_wav(tmp_path / "talk.wav", 2)
    scene = FaceScene(branches="scene", side=33, branch_width=2, frames=1)
    asked = [(made_up_model(), clip), (made_up_model("text"), clip), (seeing(Faces()), sound), (seeing(scene), clip)]
    assert [Pipeline(model)(file, segments=segments)[0].frames for model, file in asked] == [()] * 4
    assert Pipeline(seeing(Faces()))(segments=[Segment(None, None, "A", "Hi")])[0].frames == ()


def test_a_real_detector_is_watched_too(clip):
    faces = FaceScene(branches="both", side=33, branch_width=1, frames=2, place="spread")
    (prediction,) = Pipeline(seeing(faces))(clip, segments=[Segment(0.0, 1.0, "A", "Hi")])
    assert prediction.frames == (SeenFrame(0.25), SeenFrame(0.75))  # a square is no face
    assert prediction.modalities == ("text", "visual")
