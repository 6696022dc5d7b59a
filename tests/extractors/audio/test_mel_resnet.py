"""The mel network: blind to padding, learns, random only in training, and copes with every odd sound."""

import dataclasses
import math

import pytest
import torch
from tiny_media import tone, write_pictures, write_sound
from torchvision.models import resnet18

from extractors.audio.augment import Augment, RandomValue, SpecAugment
from extractors.audio.mel_resnet import MaskedResNet18, MelResNet
from extractors.extraction.embedding import Loading, embed, place_utterances
from m2fnet.manifest import Manifest
from m2fnet.records import LabelSet, Utterance
from m2fnet.store import Missing

NOISE = Augment(noise=RandomValue(1.0, 10.0, 20.0), masks=SpecAugment(0.5, 8, 8))


def small(**settings):
    """A network that is quick to run, with weights as if it had learned something."""
    torch.manual_seed(0)
    return MelResNet(**{"width": 6, "mels": 32, "hop": 320, "crop_seconds": 0.5} | settings)


def clips(*counts):
    generator = torch.Generator().manual_seed(0)
    return [{"samples": 0.1 * torch.randn(count, generator=generator)} for count in counts]


def trained_a_little(net):
    """Batch statistics and weights that are no longer those of the start."""
    net.train()
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
    for _ in range(3):
        net(net.collate(clips(5_000, 9_000, 4_000))).square().mean().backward()
        optimizer.step()
    return net.eval()


@pytest.mark.parametrize("channels", ["copy", "deltas"])
def test_a_clip_has_the_same_embedding_single_and_in_a_batch(channels):
    net = trained_a_little(small(channels=channels))
    samples = clips(1, 320, 5_001, 12_345, 16_000)
    with torch.no_grad():
        together = net(net.collate(samples))
        single = torch.cat([net(net.collate([sample])) for sample in samples])
    torch.testing.assert_close(together, single, atol=1e-5, rtol=0)
    assert (together[2] - together[3]).abs().max() > 1e-3


@torch.no_grad()
def test_without_padding_the_network_is_torchvisions():
    torch.manual_seed(0)
    net = MaskedResNet18().eval()
    reference = resnet18(weights=None).eval()
    reference.fc = torch.nn.Identity()
    reference.load_state_dict(net.net.state_dict())
    pictures = torch.randn(2, 3, 32, 50)
    torch.testing.assert_close(net(pictures, torch.tensor([50, 50])), reference(pictures))


def test_the_paper_s_size_is_the_default():
    net = MelResNet()
    assert net.width == net.projector.out_features == 300
    assert net.spectrogram.mel.n_mels == 128


@pytest.mark.slow
def test_it_can_learn_eight_clips_by_heart():
    net = small(augment=Augment(gain=RandomValue(0.5, -3.0, 3.0))).train()
    time = torch.arange(8_000) / 16_000
    batch = net.collate([{"samples": 0.3 * torch.sin(2 * math.pi * 150 * 1.4**n * time)} for n in range(8)])
    truth = torch.arange(8) % 4
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
    losses = []
    for _ in range(40):
        loss = torch.nn.functional.cross_entropy(net(batch), truth)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[0] > 1
    assert losses[-1] < 0.1
    with torch.no_grad():
        assert (net.eval()(batch).argmax(1) == truth).all()


def test_training_is_random_only_by_the_seed_and_step():
    samples = clips(9_000, 4_000)
    heard = []
    for seed in (1, 1, 2):
        net = small(augment=NOISE).train()
        torch.manual_seed(seed)
        batch = net.collate(samples)
        heard.append([net(batch) for _ in range(2)])
        torch.rand(3)  # other random numbers in between change nothing
    assert torch.equal(heard[0][1], heard[1][1])
    assert not torch.equal(heard[0][0], heard[0][1])
    assert not torch.equal(heard[0][0], heard[2][0])


def test_a_resumed_run_goes_on_with_the_next_random_numbers():
    torch.manual_seed(3)
    batch = small().collate(clips(9_000, 4_000))
    whole, resumed = small(augment=NOISE).train(), small(augment=NOISE).train()
    whole(batch)
    resumed.load_state_dict(whole.state_dict())
    assert torch.equal(whole(batch), resumed(batch))


@torch.no_grad()
def test_evaluation_is_not_random():
    net = small(augment=NOISE).eval()
    batch = net.collate(clips(9_000, 4_000))
    assert torch.equal(net(batch), net(batch))
    assert net.step == 0


def test_evaluation_hears_the_whole_utterance():
    net = trained_a_little(small())
    (long,) = clips(16_000)
    changed = {"samples": long["samples"].clone()}
    changed["samples"][-2_000:] = 0
    assert (net(net.collate([long])) - net(net.collate([changed]))).abs().max() > 1e-4


@torch.no_grad()
def test_half_precision_comes_close():
    net = small().eval()
    batch = net.collate(clips(1, 9_000, 16_000))
    exact = net(batch)
    with torch.autocast("cpu", torch.bfloat16):
        rough = net(batch)
    assert rough.dtype == torch.bfloat16
    torch.testing.assert_close(rough.float(), exact, atol=0.02, rtol=0)


def test_settings_of_augmentation_reach_the_network():
    batch = small().collate(clips(9_000, 4_000))
    outputs = [small(augment=augment).train()(batch) for augment in (None, NOISE, Augment(gain=RandomValue(1.0, 6, 6)))]
    assert not torch.equal(outputs[0], outputs[1])
    assert not torch.equal(outputs[0], outputs[2])


def damaged_and_odd(folder):
    """Files by name, each with whether it can be heard."""
    sound = tone(seconds=0.5)
    nan = sound.copy()
    nan[0, 100:200] = float("nan")
    write_sound(folder / "one_sample.wav", sound[:, 1:2])
    write_sound(folder / "silent.wav", 0 * sound)
    write_sound(folder / "nan.wav", nan)
    write_sound(folder / "8khz.wav", tone(seconds=0.5, rate=8_000), rate=8_000)
    write_sound(folder / "six.wav", tone(seconds=0.5, channels=6), layout="5.1")
    write_sound(folder / "normal.wav", sound)
    write_pictures(folder / "no_sound.mp4", [10, 20, 30])
    (folder / "damaged.wav").write_bytes(b"RIFF no wave")
    return {
        "one_sample.wav": True,
        "silent.wav": False,
        "nan.wav": False,
        "8khz.wav": True,
        "six.wav": True,
        "normal.wav": True,
        "no_sound.mp4": False,
        "damaged.wav": False,
        "absent.wav": False,
        None: False,
    }


def test_every_odd_sound_is_an_embedding_or_missing_with_a_reason(tmp_path):
    expected = damaged_and_odd(tmp_path)
    utterances = tuple(
        Utterance(str(name), "odd", "test", "d", place, text="x", label="a", audio=name)
        for place, name in enumerate(expected)
    )
    manifest = Manifest("odd", LabelSet("odd", ("a", "b")), utterances, tmp_path)
    found = {t.utterance.audio: v for t, v in embed(small(), place_utterances(manifest), Loading(workers=0))}
    assert {name: not isinstance(v, Missing) for name, v in found.items()} == expected
    assert all(torch.isfinite(v).all() for v in found.values() if not isinstance(v, Missing))
    reasons = {name: f"{v.stage}: {v.reason}" for name, v in found.items() if isinstance(v, Missing)}
    assert reasons["silent.wav"] == "decode: the sound is silent"
    assert reasons["nan.wav"] == "decode: the sound holds NaN or infinity"
    assert reasons["no_sound.mp4"] == "open: the file has no sound"
    assert reasons[None] == "audio: the manifest names no sound"


def test_training_on_odd_sounds_gives_no_nan():
    net = small(augment=dataclasses.replace(NOISE, stretch=RandomValue(1.0, 0.8, 1.25))).train()
    samples = [{"samples": torch.zeros(3_000)}, {"samples": torch.ones(1)}, *clips(20_000)]
    embeddings = net(net.collate(samples))
    embeddings.sum().backward()
    assert torch.isfinite(embeddings).all()
    assert all(torch.isfinite(p.grad).all() for p in net.parameters())


def test_a_length_is_in_whole_seconds():
    assert [small().length(sample) for sample in clips(15_999, 40_000)] == [0, 2]


def test_the_manifest_s_clock_tells_about_how_long_an_utterance_is():
    spans = [{"audio_span": (1.0, 3.5), "start_s": 0.0, "end_s": 9.0}, {"start_s": 7.0, "end_s": 400.0}, {}]
    utterances = tuple(Utterance(str(n), "odd", "test", "d", n, **span) for n, span in enumerate(spans))
    wanted = place_utterances(Manifest("odd", LabelSet("odd", ("a", "b")), utterances))
    assert [small().size(placed) for placed in wanted] == [2.5, small().max_seconds, 0]


@pytest.mark.parametrize(
    "settings",
    [{"width": 0}, {"crop_seconds": 0.01}, {"crop_seconds": 9, "max_seconds": 5}, {"max_seconds": math.inf}],
)
def test_senseless_settings_are_refused(settings):
    with pytest.raises(ValueError, match="crop_seconds <= max_seconds"):
        small(**settings)
