"""What a linear classifier of single utterances scores on the same inputs: a network should be above it."""

from typing import cast

import torch
from torch import Tensor
from torchmetrics import MetricCollection

from dialog.data import DialogueData, Dialogues
from m2fnet.problems import UNLABELLED
from m2fnet.records import Split

PENALTY = 1 / 0.03  # of the squared weights, against the loss summed over utterances; as of the extractors' probe
_BATCH = 64  # dialogues that are read together
_STEPS = 100


def linear_baseline(data: DialogueData) -> dict[str, dict[str, float]]:
    """Scores on dev and test of a linear classifier that is fitted on the training split, by split and name.

    It reads all streams of an utterance together, standardised by the training split, an absent one as its mean
    and a sequence as the mean of its frames. It minimises the loss of the problem with an L2 penalty by LBFGS; for sets
    of emotions its thresholds are chosen on dev.
    """
    problem = data.problem
    inputs, targets = {}, {}
    for split in cast(tuple[Split, ...], ("train", "dev", "test")):
        inputs[split], targets[split] = _utterances(data.dialogues(split))
    known = ~inputs["train"].isnan()
    counts = known.sum(0).clamp(min=1)
    mean = inputs["train"].nan_to_num().sum(0) / counts
    deviation = ((inputs["train"] - mean).nan_to_num().square().sum(0) / counts).sqrt().clamp(min=1e-6)
    inputs = {split: ((values - mean) / deviation).nan_to_num() for split, values in inputs.items()}

    is_labelled = targets["train"].reshape(len(targets["train"]), -1)[:, 0] != UNLABELLED
    x, y = inputs["train"][is_labelled], targets["train"][is_labelled]
    weight = torch.zeros(len(problem.classes), x.shape[1], requires_grad=True)
    bias = torch.zeros(len(problem.classes), requires_grad=True)
    optimizer = torch.optim.LBFGS([weight, bias], max_iter=_STEPS, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimizer.zero_grad()
        value = (problem.loss(x @ weight.T + bias, y) + PENALTY / 2 * weight.square().sum()) / len(x)
        torch.autograd.backward(value)
        return value

    with torch.enable_grad():
        optimizer.step(loss)  # type: ignore[no-untyped-call]
    scores: dict[str, dict[str, float]] = {}
    for split in ("dev", "test"):
        metrics = problem.metrics()
        for metric in metrics.values() if isinstance(metrics, MetricCollection) else [metrics]:
            metric.distributed_available_fn = lambda: False  # only the process that writes the report is here
        metrics.update((inputs[split] @ weight.T + bias).detach(), targets[split])
        problem = problem.chosen_on_dev(metrics) if split == "dev" else problem
        scores[split] = {name: float(value) for name, value in problem.scores(metrics).items()}
    return scores


def _utterances(dialogues: Dialogues) -> tuple[Tensor, Tensor]:
    """Inputs (N, D) of every utterance, all streams together and NaN where one is absent, and targets (N, ...)."""
    parts = []
    for first in range(0, len(dialogues), _BATCH):
        batch = dialogues.__getitems__(range(first, min(first + _BATCH, len(dialogues))))
        columns = []
        for name, values in batch["inputs"].items():
            if name in batch["frames"]:
                frames = batch["frames"][name]
                values = values.sum(-2) / frames.sum(-1, keepdim=True).clamp(min=1)
            columns.append(values.float().masked_fill(~batch["present"][name][..., None], torch.nan))
        parts.append(torch.cat(columns, -1)[batch["valid"]])
    return torch.cat(parts), dialogues.labels
