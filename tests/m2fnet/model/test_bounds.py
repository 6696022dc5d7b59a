"""Absurd sizes in a model of a stranger: refused by a sentence, in a moment, without the memory that they ask for."""

import json
import resource
import time

import pytest
import torch

from dialog.models.recurrent import Recurrent
from extractors.audio.log_mel import LogMel
from extractors.audio.mel_resnet import MelResNet
from extractors.runs.portable import load, save
from extractors.visual.face_scene import FaceScene
from m2fnet.errors import ModelError
from m2fnet.files import sha256_of
from m2fnet.model import load_model
from m2fnet.model.bounds import WithinWeights
from m2fnet.problems import make_problem
from m2fnet.records import LabelSet


@pytest.fixture
def refused(folder):
    """``refused(change)`` is the sentence with which the model is refused whose description was changed."""

    def call(change):
        path = folder / "model.json"
        content = json.loads(path.read_text(encoding="utf-8"))
        change(content)
        path.write_text(json.dumps(content), encoding="utf-8")
        begun, before = time.monotonic(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        with pytest.raises(ModelError) as message:
            load_model(folder)
        assert time.monotonic() - begun < 5
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000  # KiB
        return str(message.value)

    return call


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"width": 10**6}, "network asks for 16,000,000 values together or too often, but its weights hold"),
        ({"feedforward": 1e12}, "network asks for 64,000,000,000,000 values"),
        ({"feedforward": 1e400}, "cannot be loaded: "),
        ({"fusion_layers": 10**6}, "network asks for more layers than it has weights for: its weights hold"),
        ({"encoders": 10**6}, "network asks for more layers"),
        ({"hidden": 10**9}, "has a setting of 1000000000, expected none beyond 1,000,000."),
        ({"heads": -(10**30)}, "has a setting of -1000000000000000000, expected"),
        ({"position": {"deep": [10**9]}}, "has a setting of 1000000000"),
        ({"position": json.loads("[" * 900 + "]" * 900)}, "cannot be loaded: "),
    ],
)
def test_a_network_that_is_larger_than_its_weights_is_refused(settings, message, refused):
    assert message in refused(lambda content: content["network"]["init_args"].update(settings))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c["network"]["widths"].update(text=10**9), "has a setting of 1000000000"),
        (lambda c: c["network"]["widths"].update(text=10**6), "network asks for"),
        (lambda c: c["extractors"]["text"]["init_args"].update(budget=10**9), "has a setting of 1000000000"),
        (lambda c: c["label_set"].update(classes=[str(n) for n in range(200_000)]), "does not fit the network"),
        (lambda c: c["label_set"].update(classes=["joy", "red\x1b[31m"]), "damaged"),
        (lambda c: c.update(temperature=10**400), "damaged"),
        (lambda c: c.update(note="x" * 11_000_000), "is larger than 10 MiB, expected settings"),
    ],
)
def test_other_hostile_values_are_refused(change, message, refused):
    assert message in refused(change)


@pytest.mark.parametrize("setting", [{"num_hidden_layers": 10**6}, {"hidden_size": 10**8}])
def test_an_encoder_that_is_larger_than_its_weights_is_refused(setting, folder, refused):
    name = "text/encoder/config.json"
    config = json.loads((folder / name).read_text(encoding="utf-8")) | setting
    (folder / name).write_text(json.dumps(config), encoding="utf-8")
    noted = {"bytes": (folder / name).stat().st_size, "sha256": sha256_of(folder / name)}
    assert "text asks for " in refused(lambda content: content["files"].update({name: noted}))


@pytest.mark.parametrize(("cls", "settings"), [(FaceScene, {"branch_width": 4}), (MelResNet, {"width": 4})])
def test_extractors_as_they_are_stay_within_their_weights(cls, settings, tmp_path):
    save(cls(**settings), tmp_path)
    with WithinWeights([tmp_path / "model.safetensors"], "it"):
        loaded = load({"class_path": f"{cls.__module__}.{cls.__name__}", "init_args": settings}, tmp_path, "it")
    assert isinstance(loaded, cls)


@pytest.mark.parametrize(
    "make",
    [
        lambda: FaceScene(branch_width=10**6),
        lambda: LogMel(mels=10**6, fft=10**6, window=10**6),
        lambda: Recurrent(make_problem(LabelSet("two", ("a", "b")), {"text": 4}), width=4, layers=10**5),
        lambda: torch.nn.Sequential(*(torch.nn.Linear(1, 1) for _ in range(10**6))),
    ],
)
def test_any_part_that_is_larger_than_its_weights_is_refused(make, folder):
    with WithinWeights([folder / "network.safetensors"], "it"), pytest.raises(ModelError, match="it asks for"):
        make()
