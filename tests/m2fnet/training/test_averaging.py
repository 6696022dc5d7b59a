"""Averaged weights: equal to a computation by hand, scored on dev, saved, and no influence on the training."""

from pathlib import Path

import pytest
import pytorch_lightning as pl
import torch
from dialogue_training import train
from torch.testing import assert_close

from m2fnet.cli import DONE
from m2fnet.errors import UsageError
from m2fnet.runs.checkpoints import read_checkpoint
from m2fnet.training.averaging import Averaging
from m2fnet.training.callbacks import RunCallbacks

MONITOR = "dev/weighted_f1"


class Weights(pl.Callback):
    """The weights after every step."""

    def __init__(self):
        self.seen = []

    def on_train_batch_end(self, trainer, module, *_):
        self.seen.append({name: value.detach().clone() for name, value in module.named_parameters()})


def averaged(weights, decay):
    """By hand: the mean of the weights, or with a decay ``a <- decay a + (1 - decay) w``."""
    if decay is None:
        return {name: torch.stack([one[name] for one in weights]).mean(0) for name in weights[0]}
    average = weights[0]
    for one in weights[1:]:
        average = {name: decay * average[name] + (1 - decay) * one[name] for name in one}
    return average


def trained(folder, into, averaging, *, epochs=2, resumed_from=None):
    seen = Weights()
    callbacks = {"callbacks": RunCallbacks(into, "dev", MONITOR).after(seen, None), "enable_checkpointing": True}
    trainer = train(folder, averaging=averaging, trainer={**callbacks, "max_epochs": epochs}, resumed_from=resumed_from)
    return trainer, seen.seen


def saved(into, name):
    return read_checkpoint(into / "checkpoints" / f"{name}.ckpt")


@pytest.mark.parametrize(
    ("averaging", "decay", "first"),
    [(Averaging("ema", decay=0.7), 0.7, 0), (Averaging("swa"), None, 0), (Averaging("swa", start=0.5), None, 3)],
)
def test_checkpoints_hold_the_average_by_which_dev_was_scored(tiny_data, tmp_path, averaging, decay, first):
    trainer, weights = trained(tiny_data, tmp_path, averaging)
    assert len(weights) == 6
    expected = averaged(weights[first:], decay)
    last, best = saved(tmp_path, "last"), saved(tmp_path, "best")
    assert_close({name: last["state_dict"][name] for name in expected}, expected)
    until = weights[first : best["global_step"]]
    if until:
        assert_close({name: best["state_dict"][name] for name in expected}, averaged(until, decay))
    scored = float(trainer.callback_metrics["dev/loss"])
    assert_close(dict(trainer.lightning_module.named_parameters()), expected)
    trainer.validate(trainer.lightning_module, datamodule=trainer.datamodule, verbose=False)
    assert float(trainer.callback_metrics["dev/loss"]) == scored


def test_a_training_takes_the_same_steps_with_an_average(tiny_data, tmp_path):
    _, plain = trained(tiny_data, tmp_path / "a", None)
    _, weights = trained(tiny_data, tmp_path / "b", Averaging("ema", decay=0.5))
    assert_close(weights, plain, rtol=0, atol=0)


def test_a_resumed_training_has_the_average_of_an_uninterrupted_one(tiny_data, tmp_path):
    averaging = Averaging("ema", decay=0.8)
    trained(tiny_data, tmp_path / "whole", averaging, epochs=3)
    trained(tiny_data, tmp_path / "parts", averaging, epochs=1)
    last = tmp_path / "parts" / "checkpoints" / "last.ckpt"
    trained(tiny_data, tmp_path / "parts", averaging, epochs=3, resumed_from=str(last))
    whole, parts = (saved(tmp_path / name, "last")["state_dict"] for name in ("whole", "parts"))
    assert_close(parts, whole, rtol=0, atol=0)


@pytest.mark.parametrize("settings", [{"decay": 1.0}, {"start": -0.1}])
def test_other_shares_are_refused(settings):
    with pytest.raises(UsageError, match=r"model\.averaging with decay and start in \[0, 1\)"):
        Averaging("ema", **settings)


def test_a_training_stops_when_dev_gets_no_better(tiny_data):
    still = {"optimizer": lambda parameters: torch.optim.SGD(parameters, lr=0.0), "trainer": {"max_epochs": 9}}
    assert train(tiny_data, **still).current_epoch == 9
    assert train(tiny_data, patience=2, **still).current_epoch == 3


def test_a_patience_of_no_epoch_is_refused(tiny_data):
    with pytest.raises(UsageError, match=r"model\.patience is 0, expected at least 1 epoch"):
        train(tiny_data, patience=0)


def test_the_command_line_sets_all_of_it(dialog):
    options = ("--model.averaging.kind", "ema", "--model.patience", "3", "--model.label_smoothing", "0.1")
    assert dialog("fit", *options) == DONE
    assert dialog("test", *options) == DONE
    assert Path("run/report.json").is_file()
