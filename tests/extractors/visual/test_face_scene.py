"""The dual network: what counts as a clip's scene and faces, how they are weighed, and clips of every odd kind."""

import dataclasses

import av
import numpy as np
import pytest
import torch
from PIL import Image

from extractors.base import PlacedUtterance
from extractors.extraction.embedding import Loading, embed, place_utterances, read
from extractors.visual.augmentation import Augmentation
from extractors.visual.face_scene import FaceScene, maximum, weighted_sum
from extractors.visual.faces import face_weights
from m2fnet.corpora.toy_face import EXPRESSIONS, Look, draw_head
from m2fnet.errors import MediaError
from m2fnet.manifest import Manifest
from m2fnet.media.faces import Face, FaceDetector
from m2fnet.records import LabelSet, Utterance
from m2fnet.store import Missing

SMALL = {"side": 33, "branch_width": 4, "frames": 2, "max_side": 640, "min_face": 32}
LARGE, MIDDLE = Face((0, 0, 40, 40), 1.0), Face((50, 10, 70, 30), 1.0)


def small(**more):
    torch.manual_seed(0)
    return FaceScene(**(SMALL | more)).eval()


def heads(count, columns=8, unit=20, emotion="neutral"):
    rows = -(-max(count, 1) // columns)
    picture = Image.new("RGB", (columns * 80, rows * 96), (120, 130, 120))
    rng = np.random.default_rng(0)
    for number in range(count):
        head = draw_head(Look.draw("short", rng), unit, [EXPRESSIONS[emotion]])[0]
        picture.paste(head, (number % columns * 80 - 8, number // columns * 96), head)
    return picture


def write_talk(path):
    """A clip of one second: two heads, and a tone that swells twice while the smaller one opens the mouth."""
    rng, rate, fps = np.random.default_rng(0), 16_000, 15
    swell = np.abs(np.sin(2 * np.pi * np.arange(rate) / rate))
    with av.open(str(path), "w") as out:
        video = out.add_stream("libx264", rate=fps, options={"crf": "16"})
        video.width, video.height, video.pix_fmt = 320, 180, "yuv420p"
        audio = out.add_stream("aac", rate=rate, layout="mono")
        looks = [Look.draw("short", rng) for _ in range(2)]
        for number in range(fps):
            opening = float(swell[round((number + 0.5) / fps * rate)])
            picture = Image.new("RGB", (320, 180), (120, 130, 120))
            for look, unit, left, mouth in ((looks[0], 34, 5, 0.0), (looks[1], 26, 170, opening)):
                head = draw_head(look, unit, [EXPRESSIONS["neutral"].talking(mouth)])[0]
                picture.paste(head, (left + number % 3, 10), head)
            out.mux(video.encode(av.VideoFrame.from_image(picture)))
        out.mux(video.encode())
        tone = (0.4 * swell * np.sin(2 * np.pi * 200 * np.arange(rate) / rate)).astype(np.float32)
        frame = av.AudioFrame.from_ndarray(tone[None], format="fltp", layout="mono")
        frame.sample_rate, frame.pts = rate, 0
        out.mux(audio.encode(frame))
        out.mux(audio.encode())


def a_manifest(root, names):
    utterances = [Utterance(n, "faces", "train", n, 0, label="joy", video=n) for n in names]
    return Manifest("faces", LabelSet("two", ("joy", "anger")), tuple(utterances), root)


@pytest.fixture(scope="module")
def photographs(tmp_path_factory):
    """Utterances of four pictures: no face, one face, two faces, forty faces."""
    root = tmp_path_factory.mktemp("photographs")
    for count in (0, 1, 2, 40):
        heads(count, columns=2 if count < 40 else 8).save(root / f"{count}.png")
    return place_utterances(a_manifest(root, ["0.png", "1.png", "2.png", "40.png"]))


@pytest.fixture(scope="module")
def samples(photographs):
    extractor = small()
    return [extractor.preprocess(placed) for placed in photographs]


def same(sample, other):
    return all(torch.equal(torch.as_tensor(sample[name]), torch.as_tensor(other[name])) for name in sample)


def seen_by(network, sample):
    with torch.no_grad():
        return network(network.collate([sample]))[0]


def vectors_of(network, pictures):
    with torch.no_grad():
        return network.encoder(pictures.float())


def test_areas_are_divided_as_asked():
    faces = [LARGE, MIDDLE]
    assert face_weights(faces, "sum", 4800).tolist() == pytest.approx([0.8, 0.2])
    assert face_weights(faces, "max", 4800).tolist() == pytest.approx([1.0, 0.25])
    assert face_weights(faces, "frame", 4800).tolist() == pytest.approx([1 / 3, 1 / 12])


def test_sums_and_maxima_by_group_match_a_plain_loop():
    generator = torch.Generator().manual_seed(0)
    vectors, weights = torch.randn(7, 3, generator=generator) - 2, torch.rand(7, generator=generator)
    group = torch.tensor([0, 0, 1, 3, 3, 3, 1])
    rows = [[i for i in range(7) if group[i] == g] for g in range(5)]
    sums = torch.stack([sum((weights[i] * vectors[i] for i in of), torch.zeros(3)) for of in rows])
    torch.testing.assert_close(weighted_sum(vectors, weights, group, 5), sums)
    largest = torch.stack([vectors[of].max(0).values if of else torch.zeros(3) for of in rows])
    assert torch.equal(maximum(vectors, group, 5), largest)  # below zero, and zero only where there is nothing


def test_gradients_of_both_reductions():
    vectors = torch.randn(5, 2, dtype=torch.float64, requires_grad=True)
    weights = torch.rand(5, dtype=torch.float64, requires_grad=True)
    group = torch.tensor([0, 0, 2, 2, 2])
    assert torch.autograd.gradcheck(lambda v, w: weighted_sum(v, w, group, 3), (vectors, weights))
    assert torch.autograd.gradcheck(lambda v: maximum(v, group, 3), vectors)


def test_a_photograph_is_its_scene_and_its_weighted_faces(samples):
    network, sample = small(), samples[2]
    assert len(sample["faces"]) == 2
    assert sample["weight"].sum() == pytest.approx(1)
    scene, faces = vectors_of(network, sample["scenes"]), vectors_of(network, sample["faces"])
    expected = torch.cat([scene[0], sample["weight"] @ faces])
    torch.testing.assert_close(seen_by(network, sample), expected)


def test_a_clip_is_the_maximum_over_its_frames(samples):
    network, none, one, two = small(), *samples[:3]
    clip = {
        "scenes": torch.cat([none["scenes"], one["scenes"], two["scenes"]]),
        "faces": torch.cat([one["faces"], two["faces"]]),
        "weight": torch.cat([one["weight"], two["weight"]]),
        "cut_faces": 0,
        "frame": torch.tensor([0, 1, 1]),  # the frame without a face does not count
    }
    single = torch.stack([seen_by(network, sample) for sample in (none, one, two)])
    expected = torch.cat([single[:, :4].max(0).values, single[1:, 4:].max(0).values])
    torch.testing.assert_close(seen_by(network, clip), expected)


def test_without_a_face_half_is_zero_and_marked(samples):
    network = small()
    batch = network.collate(samples)
    assert batch["has_face"].tolist() == [False, True, True, True]
    embeddings = network(batch)
    assert embeddings.shape == (4, network.width) == (4, 8)
    assert not embeddings[0, 4:].any()
    assert embeddings[0, :4].all()
    assert embeddings[1:].all()


def test_company_in_the_batch_changes_nothing(samples):
    network = small()
    with torch.no_grad():
        together = network(network.collate(samples))
    for embedding, sample in zip(together, samples, strict=True):
        torch.testing.assert_close(embedding, seen_by(network, sample), atol=1e-5, rtol=1e-5)


def test_of_a_crowd_the_largest_count(samples, photographs):
    assert len(samples[3]["faces"]) == 10  # of forty, as the default says
    assert samples[3]["weight"].sum() == pytest.approx(1)
    everybody = small(max_faces=50).preprocess(photographs[3])
    assert len(everybody["faces"]) >= 38
    assert (everybody["weight"].diff() <= 0).all()
    assert torch.isfinite(seen_by(small(), everybody)).all()


def test_faces_left_out_are_counted(samples, photographs):
    everybody = small(max_faces=50).preprocess(photographs[3])
    assert [sample["cut_faces"] for sample in samples] == [0, 0, 0, len(everybody["faces"]) - 10]
    assert [sample["without_face"] for sample in samples] == [int(not len(sample["faces"])) for sample in samples]
    assert small(branches="scene").preprocess(photographs[0])["without_face"] == 0  # nobody looked
    assert small().collate(samples)["cut_faces"].tolist() == [sample["cut_faces"] for sample in samples]


@pytest.fixture(scope="module")
def talk(tmp_path_factory):
    """An utterance in which the smaller of two people speaks: the mouth opens with the tone."""
    root = tmp_path_factory.mktemp("talk")
    write_talk(root / "talk.mp4")
    manifest = a_manifest(root, ["talk.mp4"])
    heard = dataclasses.replace(manifest.utterances[0], audio="talk.mp4")
    silent = dataclasses.replace(heard, id="silent", dialogue="silent", audio=None)
    return place_utterances(dataclasses.replace(manifest, utterances=(heard, silent)))


def widths(sample):
    """Mean width of the faces before they are scaled, from their weights, which are shares of the frame."""
    return (sample["weight"] * 320 * 180).sqrt().mean().item()


def test_one_face_of_a_frame_is_chosen_as_asked(talk):
    whole = {"frames": 15, "max_side": 320, "area": "frame"}
    everybody, tallest, speaker = (small(faces=f, **whole).preprocess(talk[0]) for f in ("all", "largest", "speaker"))
    assert len(everybody["faces"]) == 30
    assert len(tallest["faces"]) == len(speaker["faces"]) == 15
    assert tallest["frame"].tolist() == speaker["frame"].tolist() == list(range(15))
    assert tallest["cut_faces"] == speaker["cut_faces"] == 15
    assert widths(tallest) > widths(everybody) > widths(speaker)
    assert set(speaker["weight"].tolist()) | set(tallest["weight"].tolist()) == set(everybody["weight"].tolist())


def test_without_sound_the_largest_face_is_the_speaker(talk):
    largest, speaker = (small(faces=f, frames=5).preprocess(talk[1]) for f in ("largest", "speaker"))
    assert same(largest, speaker)


@pytest.mark.parametrize("faces", ["largest", "speaker"])
def test_a_choice_among_no_or_still_faces(photographs, samples, faces):
    network = small(faces=faces)
    chosen = [network.preprocess(placed) for placed in photographs]
    assert [len(sample["faces"]) for sample in chosen] == [0, 1, 1, 1]
    assert chosen[2]["cut_faces"] == 1
    assert same(chosen[0], samples[0])
    assert same(chosen[1], samples[1])


def test_a_single_branch(photographs, samples):
    scene, face = small(branches="scene"), small(branches="face")
    both = seen_by(small(), samples[2])
    assert scene.width == face.width == 4
    torch.testing.assert_close(seen_by(scene, scene.preprocess(photographs[2])), both[:4])
    torch.testing.assert_close(seen_by(face, face.preprocess(photographs[2])), both[4:])
    assert len(scene.preprocess(photographs[2])["faces"]) == 0
    with pytest.raises(MediaError, match="faces: no face was found"):
        face.preprocess(photographs[0])


def test_a_margin_shows_more_of_the_face_and_stays_in_the_frame(photographs):
    tight, wide, all_there_is = (small(margin=margin).preprocess(photographs[1]) for margin in (0.0, 0.5, 100.0))
    assert not torch.equal(tight["faces"], wide["faces"])
    assert torch.equal(all_there_is["faces"][0], all_there_is["scenes"][0])


@pytest.mark.parametrize("place", ["centre", "start", "spread", "random"])
def test_a_clip_gives_the_same_sample_each_time(corpus, place):
    placed = place_utterances(corpus, "train")[0]
    first, second = (small(place=place).preprocess(placed) for _ in range(2))
    assert first["scenes"].shape == (2, 3, 33, 33)
    assert same(first, second)


def test_a_random_place_depends_on_utterance_and_seed(corpus):
    def brightness(extractor, name):
        (old,) = [placed for placed in place_utterances(corpus, "train") if placed.utterance.id == "train0_0"]
        renamed = dataclasses.replace(old.utterance, id=name)
        dialogue = dataclasses.replace(old.dialogue, utterances=(renamed,))
        return extractor.preprocess(PlacedUtterance(corpus, dialogue, 0))["scenes"].sum().item()

    extractors = [small(place="random", frames=1, branches="scene", seed=seed) for seed in range(6)]
    assert len({brightness(extractors[0], str(number)) for number in range(6)}) > 1
    assert len({brightness(extractor, "same") for extractor in extractors}) > 1


@pytest.mark.parametrize("size", [(1, 1), (1, 200), (3, 2), (2000, 8)])
def test_tiny_and_thin_pictures_have_an_embedding(tmp_path, size):
    Image.new("RGB", size, (90, 80, 70)).save(tmp_path / "a.png")
    (placed,) = place_utterances(a_manifest(tmp_path, ["a.png"]))
    embedding = seen_by(small(), small().preprocess(placed))
    assert torch.isfinite(embedding).all()
    assert not embedding[4:].any()


def test_unreadable_clips_are_missing_by_name(tmp_path, photographs):
    (tmp_path / "broken.jpg").write_bytes(b"no picture")
    heads(1).save(tmp_path / "good.png")
    manifest = a_manifest(tmp_path, ["broken.jpg", "absent.mp4", "good.png"])
    without = dataclasses.replace(manifest.utterances[2], id="x", dialogue="x", video=None)
    manifest = dataclasses.replace(manifest, utterances=(*manifest.utterances, without))
    outcomes = [outcome for _, outcome in embed(small(), place_utterances(manifest), Loading(workers=0))]
    assert [outcome.stage for outcome in outcomes if isinstance(outcome, Missing)] == ["open", "open", "video"]
    assert torch.isfinite(outcomes[2]).all()


def test_detections_are_kept(photographs, tmp_path, monkeypatch):
    first = read(small(detections=str(tmp_path)), photographs, Loading(workers=0))
    assert len(list(tmp_path.rglob("*.json"))) == len(photographs)
    monkeypatch.setattr(FaceDetector, "__call__", None)
    blind = small(detections=str(tmp_path))
    again = read(blind, photographs, Loading(workers=0))
    assert all(same(*samples) for samples in zip(first, again, strict=True))


def test_augmentation_works_only_in_training_and_continues_after_a_restart(samples):
    network = small(augmentation=Augmentation(mirror=0.5, light=0.2))
    batch = network.collate(samples[1:3])
    plain = small()
    assert torch.equal(network(batch), plain(batch))
    for module in (network.train(), plain.train()):
        module.encoder.eval()
    torch.manual_seed(7)
    drawn = [network(batch) for _ in range(3)]
    assert not torch.allclose(drawn[0], drawn[1])
    assert torch.equal(plain(batch), plain(batch))
    restarted = small(augmentation=Augmentation(mirror=0.5, light=0.2))
    restarted.load_state_dict(network.state_dict() | {"step": torch.tensor(2)})
    restarted.train().encoder.eval()
    torch.manual_seed(7)
    assert torch.equal(restarted(batch), drawn[2])


def test_it_can_tell_two_expressions_apart(tmp_path):
    names = [f"{number}.png" for number in range(4)]
    for number, name in enumerate(names):
        heads(1, columns=1, emotion=("joy", "anger")[number % 2]).save(tmp_path / name)
    network, head = small(), torch.nn.Linear(8, 2)
    batch = network.collate([network.preprocess(placed) for placed in place_utterances(a_manifest(tmp_path, names))])
    label = torch.arange(4) % 2
    optimizer = torch.optim.Adam([*network.train().parameters(), *head.parameters()], lr=1e-3)
    for _ in range(12):
        loss = torch.nn.functional.cross_entropy(head(network(batch)), label)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.2


def test_a_batch_of_one_picture_can_be_trained(samples):
    network = small().train()
    network(network.collate(samples[:1])).sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in network.parameters() if p.grad is not None)


def test_half_precision_gives_single_precision_vectors(samples):
    network = small()
    with torch.autocast("cpu", torch.bfloat16):
        embeddings = network(network.collate(samples))
    assert embeddings.dtype == torch.float32
    assert torch.isfinite(embeddings).all()


def test_only_a_backbone_from_a_file_counts_as_pretrained(tmp_path):
    network = small()
    assert list(network.backbones()) == []
    torch.save({f"net.{name}": tensor for name, tensor in network.state_dict().items()}, tmp_path / "run.ckpt")
    warm = small(weights=str(tmp_path / "run.ckpt"))
    assert list(warm.backbones()) == [warm.encoder.backbone]
    assert FaceScene.asset_settings(tmp_path) == {"weights": None}


@pytest.mark.parametrize(
    "wrong", [{"frames": 0}, {"min_face": 4}, {"max_side": 20}, {"max_faces": 0}, {"margin": -1.0}, {"border": -0.1}]
)
def test_senseless_settings_are_refused(wrong):
    with pytest.raises(ValueError, match="Expected frames, max_faces and branch_width >= 1"):
        small(**wrong)
