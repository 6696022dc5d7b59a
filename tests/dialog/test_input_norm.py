"""The scale that networks bring their inputs to, fitted on the training split and carried by their weights."""

import math
from functools import partial

import pytest
import torch
from dialogue_training import train
from made_up_batches import LABELS, WIDTHS, batch_of, without
from torch import nn
from torch.testing import assert_close

from dialog.data import DialogueData
from dialog.fusion.streams import Standardise, fit_standardisation, input_normalisation
from dialog.models.late_fusion import LateFusion
from dialog.models.m2fnet import M2FNet
from dialog.models.per_utterance import PerUtterance
from dialog.models.recurrent import Recurrent
from dialog.saved import load, save
from m2fnet.errors import RunError
from m2fnet.problems import make_problem

NETWORKS = {
    "m2fnet": partial(M2FNet, width=8, heads=2, hidden=6, fusion_layers=1),
    "late fusion": partial(LateFusion, width=8, heads=2),
    "recurrent": partial(Recurrent, width=5),
    "per utterance": partial(PerUtterance),
}


class Training:
    """Made-up training embeddings, in the units of ``scale``."""

    def __init__(self, scale=1.0, shift=0.0):
        draw = torch.Generator().manual_seed(3)
        self.vectors = {name: torch.randn(50, width, generator=draw) * scale + shift for name, width in WIDTHS.items()}

    def embeddings(self, stream):
        return self.vectors[stream]


def network(name, kind):
    torch.manual_seed(0)
    return NETWORKS[name](make_problem(LABELS, WIDTHS), input_norm=kind).eval()


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("kind", ["standard", "scale", "auto"])
def test_standardised_inputs_may_come_in_any_unit(name, kind):
    here, elsewhere = network(name, kind), network(name, kind)
    fit_standardisation(here, Training())
    fit_standardisation(elsewhere, Training(scale=1000.0, shift=7.0))
    batch, other = without(batch_of([3]), "audio", at=(0, 1)), batch_of([3])
    other["inputs"] = {stream: values * 1000.0 + 7.0 for stream, values in other["inputs"].items()}
    other = without(other, "audio", at=(0, 1))
    assert_close(elsewhere(other).scores, here(batch).scores, atol=1e-4, rtol=0)
    assert not torch.allclose(here(other).scores, here(batch).scores, atol=1e-2)


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize(("old", "new"), [(True, "layer"), (False, "none")])
def test_the_settings_of_older_configurations_are_those_of_today(name, old, new):
    assert_close(network(name, old)(batch_of([3])).scores, network(name, new)(batch_of([3])).scores)
    assert network(name, old).state_dict().keys() == network(name, new).state_dict().keys()


def test_mean_and_deviation_are_those_of_the_training_vectors_that_are_present():
    standardise = Standardise("text", 3)
    vectors = torch.tensor([[1.0, 5.0, 0.0], [3.0, 5.0, 4.0], [5.0, 5.0, 2.0]])
    standardise.fit(vectors)
    found = standardise(vectors)
    assert_close(found.mean(0), torch.zeros(3))
    assert_close(found.std(0, correction=0), torch.tensor([1.0, 0.0, 1.0]))  # the second is constant
    standardise.fit(vectors[:0])
    assert_close(standardise(vectors), found)


def deviations(kind, vectors):
    standardise = Standardise("text", vectors.shape[1], kind)
    standardise.fit(vectors)
    return standardise(vectors).std(0, correction=0)


def test_one_scale_for_all_keeps_how_far_each_dimension_spreads():
    vectors = torch.randn(200, 20, generator=torch.Generator().manual_seed(0)) * torch.linspace(1, 5, 20)
    found = deviations("scale", vectors)
    assert_close(found / found[0], vectors.std(0, correction=0) / vectors.std(0, correction=0)[0])
    assert_close(found.square().mean(), torch.tensor(1.0))


@pytest.mark.parametrize(
    ("widest", "kind"),
    [
        (1.0, "scale"),
        (5.0, "scale"),  # components of LSA
        (40.0, "scale"),  # the same of a small corpus
        (100_000.0, "standard"),  # features in different units
    ],
)
def test_auto_takes_one_scale_where_dimensions_are_alike(widest, kind):
    spread = torch.logspace(0, math.log10(widest), 20)
    vectors = torch.randn(200, 20, generator=torch.Generator().manual_seed(0)) * spread
    assert_close(deviations("auto", vectors), deviations(kind, vectors))
    vectors[:, :8] = 3.0  # constant dimensions have no part in it
    assert_close(deviations("auto", vectors), deviations(kind, vectors))


def test_a_stream_that_is_constant_is_only_centred():
    for kind in ("standard", "scale", "auto"):
        standardise = Standardise("text", 2, kind)
        standardise.fit(torch.full((5, 2), 3.0))
        assert_close(standardise(torch.tensor([[3.0, 4.0]])), torch.tensor([[0.0, 1.0]]))


def test_training_fits_the_scale_and_a_checkpoint_carries_it(tiny, tmp_path):
    net = partial(PerUtterance, input_norm="standard", dropout=0.0)
    task = train(tiny, net).lightning_module
    data = DialogueData(str(tiny / "manifest"), {"text": str(tiny / "text")})
    vectors = data.dialogues("train").embeddings("text")
    fitted = task.net.inputs.norms["text"]
    assert_close(fitted.mean, vectors.mean(0))
    assert_close(fitted.deviation, vectors.std(0, correction=0))
    path = tmp_path / "network.safetensors"
    save(task.net, path)
    settings = {"class_path": "dialog.models.per_utterance.PerUtterance", "init_args": {"input_norm": "standard"}}
    problem = make_problem(data.manifest.label_set, {"text": WIDTHS["text"]})
    batch = data.dialogues("dev")[0]
    assert_close(load(settings, problem, path, "a test")(batch).scores, task.net.eval()(batch).scores)
    with pytest.raises(RunError, match="does not fit the network"):
        load({**settings, "init_args": {"input_norm": "none"}}, problem, path, "a test")


def test_only_present_embeddings_count(tiny):
    data = DialogueData(str(tiny / "manifest"), {"visual": str(tiny / "visual")})
    dialogues = data.dialogues("train")
    assert 0 < len(dialogues.embeddings("visual")) < len(dialogues.utterances)
    assert dialogues.embeddings("visual").abs().sum(1).min() > 0


def test_each_kind_is_a_module():
    for kind in ("standard", "scale", "auto"):
        fitted = input_normalisation("text", 4, kind)
        assert (type(fitted), fitted.kind) == (Standardise, kind)
    assert isinstance(input_normalisation("text", 4, "layer"), nn.LayerNorm)
    assert isinstance(input_normalisation("text", 4, "none"), nn.Identity)
