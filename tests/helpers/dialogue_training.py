"""A dialogue network trained on the tiny corpus without a command, in a tenth of a second."""

import pytorch_lightning as pl
import torch

from dialog.data import DialogueData
from dialog.models.per_utterance import PerUtterance
from dialog.task import DialogueTask

RATE = 0.01


def linear(problem):
    return PerUtterance(problem, dropout=0.0)


def sgd(parameters):
    return torch.optim.SGD(parameters, lr=RATE)


def train(folder, net=linear, *, optimizer=sgd, trainer=None, resumed_from=None, **settings):
    """The trainer after training on the corpus in ``folder``: two epochs of three steps; ``settings`` of the task."""
    torch.manual_seed(0)
    quiet = {"enable_progress_bar": False, "enable_model_summary": False, "logger": False, "num_sanity_val_steps": 0}
    defaults = {"max_epochs": 2, "accelerator": "cpu", "enable_checkpointing": False, "default_root_dir": folder}
    made = pl.Trainer(**{**quiet, **defaults, **(trainer or {})})
    data = DialogueData(str(folder / "manifest"), {"text": str(folder / "text")}, batch_size=4, seed=0)
    made.fit(DialogueTask(net, optimizer, **settings), data, ckpt_path=resumed_from, weights_only=True)
    return made
