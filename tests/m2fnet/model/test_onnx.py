"""Networks in another runtime: the same scores for any number of utterances, whatever is missing."""

import sys

import pytest
import torch

from dialog.saved import build
from m2fnet.cli import DONE, run
from m2fnet.errors import ModelError, UsageError
from m2fnet.model import load_model, save_model
from m2fnet.model.onnx import export_onnx
from m2fnet.model.record import Model
from m2fnet.problems import make_problem
from m2fnet.records import LabelSet

LABELS = LabelSet("three", ("neutral", "joy", "anger"))
WIDTHS = {"text": 12, "audio": 8, "visual": 10}
RELATIONS = {"distance": "fixed", "speaker": "learned", "window": 10}
SMALL = {
    "m2fnet.M2FNet": {"width": 8, "heads": 2, "hidden": 8, "fusion_layers": 1},
    "late_fusion.LateFusion": {"width": 8, "heads": 2},
    "sdt.SDT": {"width": 8, "heads": 2},
    "mult.MulT": {"width": 8, "heads": 2, "layers": 1},
    "state_space.StateSpace": {"width": 8, "layers": 1, "heads": 2, "state": 4},
    "dialogue_rnn.DialogueRNN": {"global_width": 4, "party_width": 4, "emotion_width": 4, "hidden": 4},
    "dialogue_gcn.DialogueGCN": {"width": 4, "graph_width": 4, "hidden": 4},
    "mmgcn.MMGCN": {"width": 4, "graph_width": 4, "layers": 1},
    "dag_erc.DagERC": {"width": 4, "layers": 1},
    "recurrent.Recurrent": {"width": 4},
    "per_utterance.PerUtterance": {"hidden": 8},
    "attention_fusion.AttentionFusion": {"hidden": 8},
    "low_rank_fusion.LowRankFusion": {"hidden": 8},
}


@pytest.fixture(autouse=True)
def onnxruntime():
    """Without these packages there is nothing to test."""
    pytest.importorskip("onnx", reason="onnx is not installed: `make test` brings it, and the extra `onnx`")
    pytest.importorskip("onnxscript", reason="onnxscript is not installed: `make test` brings it, and the extra `onnx`")
    return pytest.importorskip("onnxruntime", reason="onnxruntime is not installed: `make test` brings it")


def model_of(name, widths=WIDTHS, extractors=None, ratings=(), **settings):
    """A model of the network ``name`` with random weights."""
    torch.manual_seed(0)
    settings = {"class_path": f"dialog.models.{name}", "init_args": SMALL[name] | settings}
    network = build(settings, make_problem(LABELS, widths, ratings), "a test").eval()
    content = {"network": {**settings, "widths": widths, "ratings": list(ratings)}, "temperature": 1.0}
    return Model(LABELS, extractors or {}, network, content)


def batch_of(lengths, missing, widths=WIDTHS, seed=0):
    """Dialogues with padding, and with a share of the embeddings missing."""
    draw = torch.Generator().manual_seed(seed)
    valid = torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]
    present = {name: valid & (torch.rand(valid.shape, generator=draw) >= missing) for name in widths}
    inputs = {n: torch.randn(*valid.shape, w, generator=draw) * present[n][..., None] for n, w in widths.items()}
    speaker = torch.randint(-1, 3, valid.shape, generator=draw).masked_fill(~valid, -1)
    return {"inputs": inputs, "present": present, "valid": valid, "speaker": speaker}


def answer(onnxruntime, path, batch, output="logits"):
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    given = {name: tensor.numpy() for name, tensor in batch["inputs"].items()}
    given |= {f"{name}_present": tensor.numpy() for name, tensor in batch["present"].items()}
    if "speaker" in {node.name for node in session.get_inputs()}:  # only of networks that read it
        given["speaker"] = batch["speaker"].numpy()
    return torch.from_numpy(session.run([output], given)[0])


def everywhere_without(modality):
    batch = batch_of([4, 9], 0.0)
    batch["present"][modality][:] = False
    batch["inputs"][modality][:] = 0
    return batch


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("m2fnet.M2FNet", {}),
        ("m2fnet.M2FNet", {"causal": True, "position": "sinusoidal", "values": "other", "norm": "pre"}),
        ("m2fnet.M2FNet", {"relations": RELATIONS, "position": "rotary", "speaker_embedding": True, "skip": "scaled"}),
        ("late_fusion.LateFusion", {}),
    ],
)
def test_the_dialogue_network_answers_the_same(name, settings, onnxruntime, tmp_path):
    model = model_of(name, **settings)
    (path,) = export_onnx(model, tmp_path)
    inputs = {node.name for node in onnxruntime.InferenceSession(str(path)).get_inputs()}
    assert ("speaker" in inputs) is ("relations" in settings)
    lengths = [([1], 0.0), ([3, 7], 0.3), ([30, 1, 12, 5], 0.6), ([2, 2, 2], 1.0), ([100], 0.1)]
    cases = [batch_of(*case, seed=seed) for seed, case in enumerate(lengths)]
    for batch in (*cases, *map(everywhere_without, WIDTHS)):
        with torch.inference_mode():
            expected = model.network(batch).scores
        torch.testing.assert_close(answer(onnxruntime, path, batch), expected, rtol=0, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["sdt.SDT", "mult.MulT", "state_space.StateSpace"])
def test_a_network_of_other_authors_answers_the_same(name, onnxruntime, tmp_path):
    widths = {"text": 12, "audio": 8}
    model = model_of(name, widths)
    (path,) = export_onnx(model, tmp_path)
    for seed, case in enumerate([([1], 0.0), ([30, 1, 12], 0.6), ([2, 2], 1.0)]):
        batch = batch_of(*case, widths, seed)
        with torch.inference_mode():
            expected = model.network(batch).scores
        torch.testing.assert_close(answer(onnxruntime, path, batch), expected, rtol=0, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["attention_fusion.AttentionFusion", "low_rank_fusion.LowRankFusion"])
def test_a_network_that_rates_gives_the_same_ratings_too(name, onnxruntime, tmp_path):
    model = model_of(name, ratings=("valence", "arousal"))
    (path,) = export_onnx(model, tmp_path)
    for seed, case in enumerate([([1], 0.0), ([12, 1], 0.4)]):
        batch = batch_of(*case, seed=seed)
        with torch.inference_mode():
            expected = model.network({**batch, "frames": {}})
        for output, of in (("logits", expected.scores), ("ratings", expected.ratings)):
            torch.testing.assert_close(answer(onnxruntime, path, batch, output), of, rtol=0, atol=1e-4)
        assert answer(onnxruntime, path, batch, "ratings").shape == (*batch["valid"].shape, 2)


@pytest.mark.slow
def test_the_audio_network_answers_the_same(onnxruntime, tmp_path):
    from extractors.audio.mel_resnet import MelResNet

    torch.manual_seed(0)
    audio = MelResNet(width=6, mels=32).eval()
    model = model_of("per_utterance.PerUtterance", {"audio": 6}, {"audio": audio})
    network, path = export_onnx(model, tmp_path)
    assert (network.name, path.name) == ("network.onnx", "audio.onnx")
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    for samples in (8_000, 16_000, 40_123):
        sound = torch.randn(1, samples, generator=torch.Generator().manual_seed(samples)) / 10
        with torch.inference_mode():
            expected = audio({"samples": sound, "lengths": torch.tensor([samples])})
        found = torch.from_numpy(session.run(["embeddings"], {"samples": sound.numpy()})[0])
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-4)


@pytest.mark.slow
def test_a_model_carries_its_onnx_files(run_folder, tmp_path, capsys):
    assert run(["export", str(run_folder), "--out", str(tmp_path / "model"), "--onnx"]) == DONE, capsys.readouterr().err
    assert (tmp_path / "model" / "network.onnx").is_file()
    assert not (tmp_path / "model" / "audio.onnx").exists()  # statistics in closed form are no network
    assert load_model(tmp_path / "model").label_set.name == "tiny"
    (tmp_path / "model" / "network.onnx").write_bytes(b"other")
    with pytest.raises(ModelError, match=r"network.onnx is not as it was written"):
        load_model(tmp_path / "model")


LOOPS = ["recurrent.Recurrent", "dialogue_rnn.DialogueRNN", "dialogue_gcn.DialogueGCN", "mmgcn.MMGCN", "dag_erc.DagERC"]


@pytest.mark.slow
@pytest.mark.parametrize("name", LOOPS)  # over the utterances of a dialogue, as many as it has
def test_a_network_that_cannot_be_written_is_named(name, tmp_path):
    with pytest.raises(ModelError, match=r"network cannot be written as ONNX: .* Drop --onnx."):
        export_onnx(model_of(name), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_an_answer_that_differs_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("m2fnet.model.onnx.TOLERANCE", -1.0)
    with pytest.raises(ModelError, match="network gives other results as ONNX, by up to"):
        export_onnx(model_of("per_utterance.PerUtterance"), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_without_the_packages_the_error_says_what_to_install(model, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    monkeypatch.setattr("m2fnet.model.onnx.find_spec", lambda name: None if name == "onnxscript" else True)
    with pytest.raises(UsageError, match=r"--onnx needs onnxscript; install them with `pip install 'm2fnet\[onnx\]'`"):
        save_model(model, tmp_path / "model", "card", onnx=True)
    assert list(tmp_path.iterdir()) == []
