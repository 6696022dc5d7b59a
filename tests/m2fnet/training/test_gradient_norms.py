"""The norms of the gradients by layer, against those that torch has."""

import math

import pytest
import pytorch_lightning as pl
from dialogue_training import train
from pytorch_lightning.loggers import CSVLogger

from m2fnet.runs.curves import Curves
from m2fnet.training.callbacks import GRADIENT_STEPS, GradientNorms


class Norms(pl.Callback):
    """The norm of all gradients in each step."""

    def __init__(self):
        self.seen = []

    def on_before_optimizer_step(self, trainer, module, optimizer):
        squares = [float(p.grad.square().sum()) for p in module.parameters() if p.grad is not None]
        self.seen.append(math.sqrt(sum(squares)))


def test_the_norms_of_the_layers_are_those_of_the_steps(tiny_data, tmp_path):
    norms = Norms()
    logger = CSVLogger(tmp_path, name="logs")
    train(tiny_data, trainer={"logger": logger, "callbacks": [norms, GradientNorms()], "limit_train_batches": 1})
    assert GRADIENT_STEPS >= 1
    gradients = Curves.read(tmp_path).gradients
    for epoch in (0, 1):
        whole = math.sqrt(sum(layer[epoch] ** 2 for layer in gradients.values()))
        assert whole == pytest.approx(norms.seen[epoch], rel=1e-5)
