"""Speech encoders of three families, tiny and random, saved to a folder as the hub would give them."""

import json

import pytest
import torch
from transformers import (
    BertConfig,
    BertModel,
    HubertConfig,
    HubertModel,
    Wav2Vec2Config,
    Wav2Vec2FeatureExtractor,
    Wav2Vec2Model,
    WavLMConfig,
    WavLMModel,
)

from extractors.audio.augment import Augment, SpecAugment
from extractors.audio.speech_encoder import SpeechEncoder
from m2fnet.errors import RunError

FAMILIES = {
    "wav2vec2": (Wav2Vec2Config, Wav2Vec2Model, {}),
    "layer norm": (Wav2Vec2Config, Wav2Vec2Model, {"feat_extract_norm": "layer", "do_stable_layer_norm": True}),
    "hubert": (HubertConfig, HubertModel, {}),
    "wavlm": (WavLMConfig, WavLMModel, {}),
}
TINY = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "conv_dim": (8,) * 7,
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 2,
}


def saved(folder, family="wav2vec2", **listening):
    config, model, settings = FAMILIES[family]
    torch.manual_seed(0)
    model(config(**TINY | settings)).save_pretrained(folder)
    Wav2Vec2FeatureExtractor(**listening).save_pretrained(folder)
    return str(folder)


def clips(*counts):
    generator = torch.Generator().manual_seed(0)
    return [{"samples": 0.1 * torch.randn(count, generator=generator)} for count in counts]


@pytest.mark.parametrize("family", FAMILIES)
def test_a_clip_has_the_same_embedding_single_and_in_a_batch(family, tmp_path):
    net = SpeechEncoder(saved(tmp_path, family), width=5).eval()
    samples = clips(9_000, 1, 1_000, 6_000, 1_000)
    with torch.no_grad():
        together = net(net.collate(samples))
        single = torch.cat([net(net.collate([sample])) for sample in samples])
    assert together.shape == (5, net.width) == (5, 5)
    assert torch.isfinite(together).all()
    torch.testing.assert_close(together, single, atol=1e-5, rtol=0)


@pytest.mark.parametrize("family", FAMILIES)
def test_every_weight_but_the_convolutions_learns(family, tmp_path):
    net = SpeechEncoder(saved(tmp_path, family), width=5, crop_seconds=0.5).train()
    net(net.collate(clips(9_000, 500))).square().sum().backward()
    fixed = {name for name, weight in net.named_parameters() if weight.grad is None}
    assert fixed == {name for name, _ in net.named_parameters() if name.startswith("encoder.feature_extractor.")}
    pretrained = {weight for part in net.backbones() for weight in part.parameters()}
    others = {name for name, weight in net.named_parameters() if weight not in pretrained} - fixed
    assert others == {"projector.weight", "projector.bias"}


def test_the_pretrained_weights_are_taken(tmp_path):
    name = saved(tmp_path)
    weights = Wav2Vec2Model.from_pretrained(name).state_dict()
    state = SpeechEncoder(name).encoder.state_dict()
    assert all(torch.equal(weight, weights[key]) for key, weight in state.items())
    torch.manual_seed(1)
    fresh = SpeechEncoder(name, pretrained=False).encoder.state_dict()
    assert any(not torch.equal(weight, weights[key]) for key, weight in fresh.items())


def test_the_last_layer_is_that_of_transformers(tmp_path):
    name = saved(tmp_path)
    net = SpeechEncoder(name, width=4).eval()
    reference = Wav2Vec2Model.from_pretrained(name).eval()
    (clip,) = clips(5_000)
    inputs = Wav2Vec2FeatureExtractor()(clip["samples"].numpy(), sampling_rate=16_000, return_tensors="pt")
    with torch.no_grad():
        expected = net.projector(reference(inputs.input_values).last_hidden_state.mean(1))
        torch.testing.assert_close(net(net.collate([clip])), expected)


@pytest.mark.parametrize("levels", [True, False])
def test_loudness_is_levelled_where_the_encoder_was_trained_so(levels, tmp_path):
    net = SpeechEncoder(saved(tmp_path, do_normalize=levels), width=5).eval()
    (clip,) = clips(5_000)
    with torch.no_grad():
        soft, loud = (net(net.collate([{"samples": gain * clip["samples"]}])) for gain in (0.1, 1.0))
    assert torch.allclose(soft, loud, atol=1e-4) == levels


def test_a_silent_crop_gives_no_nan(tmp_path):
    net = SpeechEncoder(saved(tmp_path), width=5, crop_seconds=0.2).train()
    assert torch.isfinite(net(net.collate([{"samples": torch.zeros(4_000)}]))).all()


def test_it_is_built_again_from_what_it_kept(tmp_path):
    net = SpeechEncoder(saved(tmp_path / "hub"), width=5).eval()
    net.save_assets(tmp_path / "run")
    again = SpeechEncoder(**SpeechEncoder.asset_settings(tmp_path / "run"), width=5).eval()
    again.load_state_dict(net.state_dict())
    assert not list((tmp_path / "run").rglob("*.safetensors"))
    batch = net.collate(clips(3_000, 2_000))
    with torch.no_grad():
        assert torch.equal(net(batch), again(batch))


def test_an_encoder_of_text_is_refused(tmp_path):
    small = BertConfig(hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8, vocab_size=20)
    BertModel(small).save_pretrained(tmp_path)
    Wav2Vec2FeatureExtractor().save_pretrained(tmp_path)
    with pytest.raises(RunError, match=r"holds a bert .* expected an encoder of samples at 16000 Hz"):
        SpeechEncoder(str(tmp_path))


def test_an_encoder_of_another_rate_is_refused(tmp_path):
    with pytest.raises(RunError, match="for 8000 Hz; expected"):
        SpeechEncoder(saved(tmp_path, sampling_rate=8_000))


def test_missing_files_are_named(tmp_path):
    name = saved(tmp_path)
    (tmp_path / "preprocessor_config.json").unlink()
    with pytest.raises(RunError, match=r"preprocessor_config\.json"):
        SpeechEncoder(name)


def test_weights_as_a_pickle_are_not_opened(tmp_path):
    name = saved(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    torch.save({}, tmp_path / "pytorch_model.bin")
    with pytest.raises(RunError, match=r"holds no model\.safetensors"):
        SpeechEncoder(name)


def test_weights_of_another_architecture_are_refused(tmp_path):
    name = saved(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"num_hidden_layers": 3}))
    with pytest.raises(RunError, match=r"encoder\.layers\.2"):
        SpeechEncoder(name)


def test_masks_of_a_spectrogram_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"augment\.masks to be null"):
        SpeechEncoder(saved(tmp_path), augment=Augment(masks=SpecAugment(0.5, 1, 1)))
