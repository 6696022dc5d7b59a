"""Learning rates while a dialogue network trains; tests/extractors/test_extractor_task.py has those of an extractor."""

import json
import math
import re
from functools import partial
from pathlib import Path

import pytest
import pytorch_lightning as pl
from dialogue_training import RATE, train
from torch.optim.lr_scheduler import ExponentialLR, ReduceLROnPlateau

from m2fnet.cli import DONE
from m2fnet.errors import UsageError
from m2fnet.training.schedules import rate_at


class Rates(pl.Callback):
    def __init__(self):
        self.seen = []

    def on_train_batch_start(self, trainer, *_):
        self.seen.append(trainer.optimizers[0].param_groups[0]["lr"])


@pytest.fixture
def rates(tiny_data):
    """``rates(warmup=0.5)`` trains for two epochs of three steps and returns the rate of each."""

    def call(trainer=None, **settings):
        seen = Rates()
        train(tiny_data, trainer={**(trainer or {}), "callbacks": [seen]}, **settings)
        return seen.seen

    return call


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, [1] * 6),
        ({"warmup": 0.5}, [1 / 3, 2 / 3, 1, 1, 1, 1]),
        ({"warmup": 0.3, "decay": "linear"}, [0.5, 1, 1, 0.75, 0.5, 0.25]),
        ({"decay": "cosine"}, [(1 + math.cos(math.pi * n / 6)) / 2 for n in range(6)]),
    ],
)
def test_rates_of_a_dialogue_network_rise_and_fall_by_steps(rates, settings, expected):
    assert rates(**settings) == pytest.approx([RATE * share for share in expected])


def test_a_schedule_ends_where_the_training_ends(rates):
    assert rates({"max_steps": 4}, decay="linear") == pytest.approx([RATE * share for share in (1, 0.75, 0.5, 0.25)])


def test_a_schedule_of_torch_is_stepped_by_epochs(rates):
    assert rates(scheduler=partial(ExponentialLR, gamma=0.5)) == pytest.approx([RATE] * 3 + [RATE / 2] * 3)


@pytest.mark.parametrize(
    ("settings", "lowers"),
    [
        # a score that has to be eleven times the best is never reached; any loss is below eleven times the best
        ({"mode": "max", "threshold": 10.0}, True),
        ({"mode": "min", "threshold": -10.0}, False),
    ],
)
def test_a_plateau_schedule_follows_dev(rates, settings, lowers):
    scheduler = partial(ReduceLROnPlateau, patience=0, factor=0.1, **settings)
    assert (rates({"max_epochs": 3}, scheduler=scheduler)[-1] < RATE) is lowers


@pytest.mark.parametrize(
    ("steps", "scored"), [(5, ["epoch 1, step 3/5", "epoch 2, step 5/5"]), (2, ["epoch 1, step 2/2"])]
)
def test_a_training_in_steps_ends_within_an_epoch_and_is_scored_there(content, dialog, capsys, steps, scored):
    del content["trainer"]["enable_progress_bar"]  # then there are lines
    content["trainer"] |= {"max_epochs": None, "max_steps": steps, "limit_train_batches": 3}
    content["data"]["batch_size"] = 4
    assert dialog("fit") == DONE
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("epoch ")]
    assert [line.split(":")[0] for line in lines] == scored
    assert json.loads(Path("run/fit.json").read_text(encoding="utf-8"))["epochs"] == len(scored)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"warmup": 1.0}, "Expected model.warmup in [0, 1), the share of all steps, but got 1.0"),
        (
            {"warmup": 0.1, "scheduler": ExponentialLR},
            "model.scheduler and model.warmup or model.decay are two schedules",
        ),
        ({"decay": "cosine", "trainer": {"max_epochs": -1}}, "set trainer.max_epochs or max_steps"),
    ],
)
def test_a_schedule_that_cannot_work_is_refused(tiny_data, settings, message):
    with pytest.raises(UsageError, match=re.escape(message)):
        train(tiny_data, **settings)


@pytest.mark.parametrize("decay", ["none", "linear", "cosine"])
@pytest.mark.parametrize("warmup", [0.0, 0.1, 0.99])
def test_a_rate_is_a_share_and_ends_near_0_if_it_decays(warmup, decay):
    shares = [rate_at(step, 100, warmup, decay) for step in range(101)]
    assert all(0 <= share <= 1 for share in shares)
    assert max(shares) == 1
    assert shares[-1] == pytest.approx(0 if decay != "none" else 1, abs=1e-12)
