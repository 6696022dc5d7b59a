"""The deepest network of the paper learns: five encoders per stream and five fusion layers, on a made-up corpus."""

import pytest
import torch
import yaml
from torch import nn
from torch.nn import functional as F

from dialog.fusion.relations import Relations
from dialog.fusion.streams import fit_standardisation
from dialog.models.m2fnet import M2FNet
from dialog.models.per_utterance import PerUtterance
from m2fnet.config import conf_folder
from m2fnet.problems import make_problem
from m2fnet.records import LabelSet

LABELS = LabelSet("four", ("neutral", "joy", "anger", "sadness"))
WIDTHS = {"text": 24, "audio": 16}
UTTERANCES, TRAIN, TEST = 12, 32, 24
# the settings of `conf/dialog/m2fnet_iemocap6.yaml`, in a width that trains in seconds
SHIPPED = yaml.safe_load((conf_folder() / "dialog" / "m2fnet_iemocap6.yaml").read_text(encoding="utf-8"))
SETTINGS = SHIPPED["model"]["net"]["init_args"]
SMALL = {"width": 32, "heads": 4, "hidden": 32, "dropout": 0.1}
DEEP = {name: SETTINGS[name] for name in ("encoders", "fusion_layers", "norm")} | SMALL
OURS = {name: value for name, value in SETTINGS.items() if name not in DEEP}
OURS["relations"] = Relations(**SETTINGS["relations"])


class MadeUp:
    """Dialogues in which an emotion lasts for some utterances, and single utterances show it only now and then."""

    def __init__(self):
        draw = torch.Generator().manual_seed(0)
        count = TRAIN + TEST
        lasts = torch.rand(count, UTTERANCES, generator=draw) < 0.85
        label = torch.randint(len(LABELS.classes), (count, UTTERANCES), generator=draw)
        for place in range(1, UTTERANCES):
            label[:, place] = torch.where(lasts[:, place], label[:, place - 1], label[:, place])
        self.label, self.inputs = label, {}
        for name, width in WIDTHS.items():
            directions = torch.randn(len(LABELS.classes), width, generator=draw)
            noise = torch.randn(count, UTTERANCES, width, generator=draw)
            scale = 10 ** torch.linspace(-3, 3, width)  # no two dimensions have the same unit
            self.inputs[name] = (0.25 * directions[label] + noise) * scale

    def embeddings(self, stream):
        return self.inputs[stream][:TRAIN].flatten(0, 1)

    def batch(self, numbers):
        valid = torch.ones(len(numbers), UTTERANCES, dtype=torch.bool)
        return {
            "inputs": {name: values[numbers] for name, values in self.inputs.items()},
            "present": dict.fromkeys(WIDTHS, valid),
            "valid": valid,
            "speaker": torch.zeros(len(numbers), UTTERANCES, dtype=torch.long),
        }


def accuracy(make, rate=1e-3, epochs=20, batch_size=8):
    """Share of the test utterances that a network has right after some epochs."""
    torch.manual_seed(0)
    corpus = MadeUp()
    network = make(make_problem(LABELS, WIDTHS))
    fit_standardisation(network, corpus)
    optimizer = torch.optim.AdamW(network.parameters(), lr=rate)
    steps = epochs * TRAIN // batch_size
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=steps, pct_start=0.1)
    for _ in range(epochs):
        for numbers in torch.randperm(TRAIN).split(batch_size):
            scores = network(corpus.batch(numbers)).scores
            loss = F.cross_entropy(scores.flatten(0, 1), corpus.label[numbers].flatten())
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimizer.step()
            schedule.step()
    test = torch.arange(TRAIN, TRAIN + TEST)
    with torch.inference_mode():
        found = network.eval()(corpus.batch(test)).scores.argmax(-1)
    return float((found == corpus.label[test]).float().mean())


def linear(problem):
    return PerUtterance(problem, input_norm="standard", dropout=0.0)


@pytest.fixture(scope="module")
def of_a_linear_classifier():
    return accuracy(linear, rate=2e-2)


def test_five_encoders_and_five_fusion_layers_are_ahead_of_a_linear_classifier(of_a_linear_classifier):
    assert accuracy(lambda problem: M2FNet(problem, **DEEP, **OURS)) > of_a_linear_classifier + 0.02


def test_as_printed_they_are_behind_it(of_a_linear_classifier):
    """The test above fails for the network without our settings."""
    assert accuracy(lambda problem: M2FNet(problem, **DEEP)) < of_a_linear_classifier - 0.1


def test_ours_keeps_the_scale_of_the_stream_that_the_printed_skip_doubles():
    torch.manual_seed(0)
    corpus, scale = MadeUp(), {}
    for name, settings in (("printed", {"input_norm": "standard"}), ("ours", OURS)):
        network = M2FNet(make_problem(LABELS, WIDTHS), **DEEP | settings).eval()
        fit_standardisation(network, corpus)
        before, after = [], []
        network.encoders["text"].register_forward_pre_hook(
            lambda _, inputs, to=before: to.append(inputs[0].detach().std())
        )
        network.encoders["text"].register_forward_hook(lambda _, __, output, to=after: to.append(output.detach().std()))
        network(corpus.batch(torch.arange(4)))
        scale[name] = float(after[0] / before[0])
    assert scale["printed"] > 25
    assert scale["ours"] < 3
