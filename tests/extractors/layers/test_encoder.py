"""Encoders of every family by the one contract: layers, pooling, parts, what learns, and the way to a store."""

import json
import re
import shlex
from dataclasses import replace

import numpy as np
import pytest
import torch
import yaml
from tiny_clips import WORDS as EMOTIONS
from tiny_clips import tiny_utterances
from tiny_encoders import DEPTH, PICTURES, SOUND, TEXT, WIDTH
from transformers import AutoModel, WhisperFeatureExtractor

from extractors.audio.listeners import MelListener
from extractors.audio.speech_encoder import SpeechEncoder
from extractors.base import PlacedUtterance
from extractors.layers.low_rank import LowRank
from extractors.text.roberta import TextEncoder
from extractors.visual.picture_encoder import PictureEncoder
from m2fnet.cli import DONE, WRONG_USE, run
from m2fnet.errors import MediaError
from m2fnet.manifest import Manifest
from m2fnet.records import Dialogue, LabelSet, Utterance
from m2fnet.store import Store

FAMILIES = [*TEXT, *SOUND, *PICTURES]
FROZEN = {"trained": "none"}


def network(folder, family, **settings):
    torch.manual_seed(0)
    if family in TEXT:
        usual = {"budget": 64, "past": 0, "future": 0, "speakers": False, "pooling": "mean"}
        return TextEncoder(folder, **(usual | settings)).eval()
    if family in SOUND:
        return SpeechEncoder(
            folder, **({"width": None, "chunk_seconds": 2.0, "overlap_seconds": 0.2} | settings)
        ).eval()
    usual = {"frames": 2, "patches": "mean" if family == "siglip" else "class"}
    return PictureEncoder(folder, **(usual | settings)).eval()


def said(text):
    utterance = Utterance("u", "tiny", "train", "d", 0, "Ann", text)
    manifest = Manifest("tiny", LabelSet("tiny", ("joy", "anger")), (utterance,))
    return PlacedUtterance(manifest, Dialogue("d", "train", (utterance,)), 0)


def samples_of(net, family):
    """Short and long utterances; the lengths are no multiples of anything."""
    generator = torch.Generator().manual_seed(0)
    if family in TEXT:
        return [
            net.preprocess(said(text))
            for text in ("great !", "how are you ? i hate this table .", "here", "so very " * 9)
        ]
    if family in SOUND:
        return [{"samples": 0.1 * torch.randn(n, generator=generator)} for n in (9_001, 161, 17_777, 5_000, 5_000)]
    clips = [torch.randint(0, 256, (n, 3, 40, 50), dtype=torch.uint8, generator=generator) for n in (2, 1, 3)]
    return [
        {"pictures": net._processed(list(clip)), "weight": torch.ones(len(clip)), "frame": torch.arange(len(clip))}
        for clip in clips
    ]


def embedded(net, *samples):
    with torch.inference_mode():
        return net(net.collate(samples))


@pytest.mark.parametrize("family", FAMILIES)
def test_single_equals_batched(family, folders):
    """Of all layers, with the statistics that padding would change first."""
    net = network(folders(family), family, layers="all", combine="concatenate", pooling="mean_std", **FROZEN)
    samples = samples_of(net, family)
    together = embedded(net, *samples)
    single = torch.cat([embedded(net, sample) for sample in samples])
    assert together.shape == (len(samples), net.width) == (len(samples), 2 * WIDTH * (DEPTH + 1))
    assert torch.isfinite(together).all()
    torch.testing.assert_close(together, single, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("family", FAMILIES)
def test_layers_are_those_of_transformers(family, folders):
    """Whisper is another test's: transformers pads it to 30 seconds."""
    if family == "whisper":
        pytest.skip("transformers reads it padded only")
    nets = [network(folders(family), family, layers=n, pooling="last", **FROZEN) for n in range(DEPTH + 1)]
    sample = samples_of(nets[0], family)[0]
    reference = AutoModel.from_pretrained(folders(family)).eval()
    reference = getattr(reference, "vision_model", reference)
    batch = nets[0].collate([sample])
    with torch.inference_mode():
        if family in TEXT:
            output = reference(batch["tokens"], output_hidden_states=True)
            layers = (*output.hidden_states[:-1], output.last_hidden_state)
            rows = [states[0, sample["end"] - 1] for states in layers]
        elif family in SOUND:
            sound = batch["samples"] - batch["samples"].mean()
            output = reference(sound / (sound.square().mean() + 1e-7).sqrt(), output_hidden_states=True)
            rows = [states[0, -1] for states in (*output.hidden_states[:-1], output.last_hidden_state)]
        else:
            output = reference(pixel_values=batch["pictures"][-1:], output_hidden_states=True)
            of = (lambda states: states[0].mean(0)) if family == "siglip" else (lambda states: states[0, 0])
            rows = [of(states) for states in (*output.hidden_states[:-1], output.last_hidden_state)]
    assert len(rows) == DEPTH + 1
    for net, expected in zip(nets, rows, strict=True):
        torch.testing.assert_close(embedded(net, sample)[0], expected, atol=1e-5, rtol=1e-4)


def test_whisper_hears_what_transformers_hears_where_that_needs_no_padding(folders):
    """A clip as long as all positions: the only one that both read."""
    net = network(folders("whisper"), "whisper", layers=DEPTH, pooling="frames", **FROZEN)
    clip = 0.1 * torch.randn(32_000, generator=torch.Generator().manual_seed(0))
    listener = WhisperFeatureExtractor.from_pretrained(folders("whisper"))
    mels = torch.tensor(np.array(listener(clip.numpy(), sampling_rate=16_000, return_tensors="np").input_features))
    torch.testing.assert_close(net.listener.log_mel(clip), mels[0], atol=1e-4, rtol=0)
    reference = AutoModel.from_pretrained(folders("whisper")).get_encoder().eval()
    with torch.inference_mode():
        expected = reference(mels).last_hidden_state[0]
    (frames,) = embedded(net, {"samples": clip})
    torch.testing.assert_close(frames, expected, atol=1e-3, rtol=1e-3)


def test_whisper_does_not_hear_padding(folders):
    net = network(folders("whisper"), "whisper", pooling="frames", **FROZEN)
    lengths = [len(frames) for frames in embedded(net, *({"samples": torch.randn(n)} for n in (3_200, 6_400, 100)))]
    assert lengths == [10, 20, 1]
    assert MelListener({"n_fft": 400, "hop_length": 160, "feature_size": 8}).log_mel(torch.zeros(50)).shape == (8, 2)


@pytest.mark.parametrize("family", ["wav2vec2", "whisper"])
def test_long_sound_in_parts_has_every_frame_once(family, folders):
    whole = {"chunk_seconds": 2.0}
    clip = {"samples": 0.1 * torch.randn(24_000, generator=torch.Generator().manual_seed(0))}
    frames = []
    for settings in (whole, {"chunk_seconds": 0.8, "overlap_seconds": 0.2}):
        net = network(folders(family), family, layers=1, pooling="frames", **settings, **FROZEN)
        frames.append(embedded(net, clip)[0])
    assert len(frames[0]) == len(frames[1])
    assert not torch.allclose(*frames)


def test_long_text_in_parts_loses_no_token(folders):
    text = "how are you i hate this the table is here " * 20
    net = network(folders("bert"), "bert", budget=20, overlap=6, layers=0, pooling="frames", **FROZEN)
    sample = net.preprocess(said(text))
    (tokens,) = embedded(net, sample)
    assert len(tokens) == len(text.split())
    assert sample["cut_tokens"] == 0
    assert max(len(one["tokens"]) for one in (sample, *sample["rest"])) == 20
    cut = network(folders("bert"), "bert", budget=20, layers=0, pooling="frames", **FROZEN)
    assert len(embedded(cut, cut.preprocess(said(text)))[0]) == 18


def test_memory_is_that_of_a_batch_however_long_a_text_is(folders):
    net = network(folders("bert"), "bert", budget=20, overlap=6, **FROZEN)
    seen = []
    net.blocks[0].register_forward_hook(lambda _, given, __: seen.append(len(given[0])))
    embedded(net, net.preprocess(said("great " * 400)), net.preprocess(said("great")))
    assert max(seen) == 2
    assert sum(seen) > 20


def test_a_model_that_writes_text_reads_after_its_first_token(folders):
    net = network(folders("llama"), "llama", pooling="last", **FROZEN)
    assert net.preprocess(said("great day"))["tokens"].tolist() == [2, 15, 21]  # [CLS] stands for the beginning here
    later, now = net.preprocess(said("great day")), net.preprocess(said("great"))
    frames = network(folders("llama"), "llama", pooling="frames", **FROZEN)
    torch.testing.assert_close(embedded(frames, later)[0][:1], embedded(net, now))  # it never sees what follows


@pytest.mark.parametrize("family", ["bert", "whisper", "hubert", "siglip", "dinov2"])
@pytest.mark.parametrize(("trained", "layers"), [("all", 1), ("all", -1), (1, 2), ("low_rank", 2), ("none", "0-2")])
def test_what_learns_is_what_was_asked_for_and_all_of_it_is_reached(trained, layers, family, folders):
    combine = "learned" if trained == "none" else "average"
    net = network(folders(family), family, layers=layers, trained=trained, combine=combine, pooling="attention").train()
    assert len(net.blocks) == max(net.readout.numbers)  # what is not read is not kept
    net(net.collate(samples_of(net, family)[:2])).square().sum().backward()
    learning = {name for name, parameter in net.named_parameters() if parameter.requires_grad}
    assert {name for name, parameter in net.named_parameters() if parameter.grad is not None} == learning
    of_encoder = {name for name in learning if not name.startswith("readout.")}
    assert "readout.query.weight" in learning
    if trained == "none":
        assert not of_encoder
        assert not any(module.training for module in net.encoder.modules())
    elif trained == "low_rank":
        assert of_encoder
        assert all(name.endswith((".up", ".down")) for name in of_encoder)
    else:
        backbones = {parameter for part in net.backbones() for parameter in part.parameters()}
        assert {net.get_parameter(name) for name in of_encoder} <= backbones
    if trained == 1:
        assert {net.get_parameter(name) for name in of_encoder} == set(net.blocks[-1].parameters())


@pytest.mark.parametrize("family", FAMILIES)
def test_a_weight_in_front_of_the_blocks_is_one_that_changes_what_enters_them(family, folders):
    net = network(folders(family), family, pooling="frames")
    seen = []
    net.blocks[0].register_forward_pre_hook(
        lambda _, given, named: seen.append(given[0] if given else named["hidden_states"]), with_kwargs=True
    )
    batch = net.collate(samples_of(net, family)[:1])
    of_blocks = {name for name, _ in net.named_parameters() if net.get_parameter(name) in {*net.blocks.parameters()}}
    numbers = net.layer_of_weights()
    assert {*numbers} == {*net.encoder.parameters()}
    for name, weight in net.encoder.named_parameters(prefix="encoder"):
        if not weight.requires_grad:
            continue
        before = weight.detach().clone()
        with torch.no_grad():
            net(batch)
            weight += torch.randn(weight.shape)
            net(batch)
            weight.copy_(before)
        if name not in of_blocks:
            assert numbers[weight] == (DEPTH if torch.equal(seen[-1], seen[-2]) else 0), name
    for number, block in enumerate(net.blocks, 1):
        assert {numbers[weight] for weight in block.parameters()} == {number}


@pytest.mark.parametrize("family", ["gpt2", "whisper", "clip"])
@pytest.mark.parametrize("settings", [{"layers": 1, **FROZEN}, {"trained": "low_rank"}, {"layers": "auto", **FROZEN}])
def test_it_is_built_again_without_the_first_folder(settings, family, folders, tmp_path):
    net = network(folders(family), family, **settings)
    if net.readout.is_open:
        net.choose(2)
    parts = {"encoder": net.encoder, "readout": net.readout}  # and nothing twice
    assert {*net.state_dict()} - {"step"} == {
        f"{at}.{name}" for at, part in parts.items() for name in part.state_dict()
    }
    net.save(tmp_path)
    saved = type(net).asset_settings(tmp_path)
    again = network(saved.pop("model"), family, **(settings | saved))
    again.load(tmp_path)
    samples = samples_of(net, family)
    assert torch.equal(embedded(net, *samples), embedded(again, *samples))
    assert again.readout.numbers == net.readout.numbers


@pytest.mark.parametrize(
    ("family", "settings", "message"),
    [
        ("bert", {"layers": "auto"}, r"expected trained: none, got all"),
        ("bert", {"trained": 3, "layers": 2}, r"from 1 to 2, those that are read, but got 3"),
        ("bert", {"low_rank": LowRank()}, r"no effect with trained: all"),
        ("bert", {"overlap": 40}, r"overlap from 0 to 31 tokens"),
        ("bert", {"overlap": 2, "past": None}, r"past: 0 and future: 0, but got overlap=2, past=None"),
        ("whisper", {"chunk_seconds": 3.0}, r"chunk_seconds of at most 2 "),
        ("wav2vec2", {"overlap_seconds": 0.01}, r"overlap_seconds from 0\.08 to half"),
        ("wav2vec2", {"pooling": "frames", "width": 4}, r"expected width: null, but got 4"),
        ("siglip", {"patches": "class"}, r"has no class token; expected patches: mean"),
        ("clip", {"frames": 0}, r"frames, max_faces and together >= 1"),
    ],
)
def test_senseless_settings_are_refused(family, settings, message, folders):
    with pytest.raises(ValueError, match=message):
        network(folders(family), family, **settings)


def test_a_clip_without_a_face_has_no_embedding_of_faces(folders, tmp_path):
    utterance = tiny_utterances(tmp_path)[0]
    manifest = Manifest("tiny", LabelSet("tiny", tuple(EMOTIONS)), (utterance,), tmp_path)
    placed = PlacedUtterance(manifest, Dialogue(utterance.dialogue, "train", (utterance,)), 0)
    scene = network(folders("vit"), "vit", **FROZEN)
    assert embedded(scene, scene.preprocess(placed)).shape == (1, WIDTH)
    with pytest.raises(MediaError, match="no face was found"):
        network(folders("vit"), "vit", sees="faces", **FROZEN).preprocess(placed)


def test_faces_of_a_frame_are_weighed_by_their_area(folders):
    net = network(folders("clip"), "clip", **FROZEN)
    pictures = net._processed([torch.full((3, 40, 40), value, dtype=torch.uint8) for value in (0, 255)])
    single = [
        embedded(net, {"pictures": one[None], "weight": torch.ones(1), "frame": torch.zeros(1)}) for one in pictures
    ]
    both = embedded(net, {"pictures": pictures, "weight": torch.tensor([0.75, 0.25]), "frame": torch.zeros(2)})
    torch.testing.assert_close(both, 0.75 * single[0] + 0.25 * single[1])


@pytest.fixture
def clips(tmp_path, monkeypatch):
    """Folder of the manifest of a few tiny clips, in a folder for runs and stores."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["m2fnet"])
    label_set = LabelSet("tiny", tuple(EMOTIONS))
    Manifest("tiny", label_set, tiny_utterances(tmp_path), tmp_path).save(tmp_path / "manifest")
    return tmp_path


def test_a_probe_chooses_the_layer_and_the_store_says_why(clips, folders, capsys):
    model = ["--model.net.init_args.model", folders("whisper"), "--model.net.init_args.chunk_seconds", "2"]
    model += ["--model.net.init_args.overlap_seconds", "0.2"]
    extract = ["extract", "--config", "conf/extractors/audio_frozen.yaml", *model, "--manifest", "manifest"]
    more = ["--run", "run", "--out", "store", "--workers", "0"]
    assert run([*extract, *more]) == DONE, capsys.readouterr().err
    printed = capsys.readouterr().out
    made = Store(clips / "store").meta.extractor
    scores = made["layer_scores"]["dev_weighted_f1"]
    assert list(scores) == [str(number) for number in range(DEPTH + 1)]
    chosen = str(made["layer_scores"]["chosen"])
    assert scores[chosen] == max(scores.values())
    assert f"{chosen:>5}{100 * scores[chosen]:>24.2f}   chosen" in printed
    # the run needs its first folder no more, and gives what that layer gives
    assert run(["extract", "--ckpt", "run", "--manifest", "manifest", "--out", "again", "--workers", "0"]) == DONE
    fixed = ["--model.net.init_args.layers", chosen, "--run", "fixed", "--out", "fixed_store", "--workers", "0"]
    assert run([*extract, *fixed]) == DONE, capsys.readouterr().err
    stores = [Store(clips / name) for name in ("store", "again", "fixed_store")]
    names = [utterance.id for utterance in Manifest.load(clips / "manifest").utterances]
    for name in names:
        assert all(torch.equal(stores[0][name], store[name]) for store in stores)
    assert "layer_scores" not in stores[2].meta.extractor
    assert run(["extractor", "test", "--config", "run/config.yaml"]) == DONE, capsys.readouterr().err
    assert json.loads((clips / "run" / "report.json").read_text())


@pytest.mark.parametrize(
    ("config", "family", "kind"), [("text_frozen", "mpnet", "multi"), ("visual_frozen", "clip", "single")]
)
def test_frames_become_a_store_of_sequences_on_which_the_next_command_trains(
    config, family, kind, clips, folders, capsys
):
    manifest = Manifest.load(clips / "manifest")
    replace(manifest, label_set=replace(manifest.label_set, kind=kind)).save(clips / "manifest")
    settings = ["--model.net.init_args.model", folders(family), "--model.net.init_args.layers", "[1,2]"]
    settings += ["--model.net.init_args.pooling", "frames", "--run", "run", "--manifest", "manifest"]
    settings += (
        ["--model.net.init_args.budget", "64", "--model.net.init_args.overlap", "8"] if family == "mpnet" else []
    )
    assert run(["extract", "--config", f"conf/extractors/{config}.yaml", *settings, "--out", "store"]) == DONE, (
        capsys.readouterr().err
    )
    store = Store(clips / "store")
    sequences = store.sequences([utterance.id for utterance in Manifest.load(clips / "manifest").utterances])
    assert sequences.values.shape[1] == WIDTH
    assert min(sequences.lengths.tolist()) > 1
    following = re.search("^Next: m2fnet (.*)$", capsys.readouterr().out, re.MULTILINE)
    assert run([*shlex.split(following[1]), "--trainer.max_epochs", "1"]) == DONE, capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize(
    "changed", [{"trained": "low_rank"}, {"trained": 1, "layers": 2}, {"combine": "learned", "layers": "all"}]
)
def test_a_frozen_configuration_is_trained_where_something_learns(changed, clips, folders, capsys):
    content = {
        "data": {"manifest": "manifest", "batch_size": 8, "workers": 0},
        "trainer": {"max_epochs": 1, "accelerator": "cpu", "enable_progress_bar": False},
        "model": {
            "losses": {"cross_entropy": 1.0, "triplet": 1.0, "covariance": 1.0, "variance": 1.0},
            "net": {
                "class_path": "extractors.audio.speech_encoder.SpeechEncoder",
                "init_args": {"model": folders("whisper"), "width": None, "trained": "none",
                              "chunk_seconds": 2.0, "overlap_seconds": 0.2,
                              "max_seconds": 2.0, "crop_seconds": 0.4} | changed,
            },
        },
    }  # fmt: skip
    (clips / "net.yaml").write_text(yaml.safe_dump(content))
    command = ["--config", "net.yaml", "--manifest", "manifest", "--run", "run"]
    assert run(["extract", *command, "--out", "store"]) == WRONG_USE
    assert "has to be trained first" in capsys.readouterr().err
    assert run(["extractor", "fit", *command]) == DONE, capsys.readouterr().err
    assert run(["extract", "--ckpt", "run", "--manifest", "manifest", "--out", "store", "--workers", "0"]) == DONE
