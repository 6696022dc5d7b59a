"""What a linear classifier of single utterances scores on the same inputs: a network should be above it."""

from typing import cast

import torch
from torch import Tensor
from torchmetrics import MetricCollection

from dialog.data import DialogueData, Dialogues
from dialog.fusion.streams import Standardise
from m2fnet.problems import UNLABELLED
from m2fnet.records import Split

PENALTY = 1 / 0.03  # of the squared weights, against the loss summed over utterances; as of the extractors' probe
_BATCH = 64  # dialogues that are read together
_STEPS = 100


def linear_baseline(data: DialogueData) -> dict[str, dict[str, float]]:
    """Scores on dev and test of a linear classifier that is fitted on the training split, by split and name.

    It reads all streams of an utterance together, each on the scale ``auto`` of `dialog.fusion.streams.Standardise`,
    an absent one as its mean and a sequence as the mean of its frames. It minimises the loss of the problem with an L2
    penalty by LBFGS; for sets of emotions its thresholds are chosen on dev.
    """
    problem = data.problem
    inputs, targets = {}, {}
    scales: dict[str, Standardise] = {}
    for split in cast(tuple[Split, ...], ("train", "dev", "test")):
        streams, targets[split] = _utterances(data.dialogues(split))
        if not scales:  # of the training split, which comes first
            scales = {name: _scale(name, values) for name, values in streams.items()}
        inputs[split] = torch.cat([scales[name](values).nan_to_num() for name, values in streams.items()], dim=-1)

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


def _scale(stream: str, values: Tensor) -> Standardise:
    """The scale of a stream (N, D) in which absent embeddings are NaN."""
    scale = Standardise(stream, values.shape[-1], "auto")
    scale.fit(values[~values.isnan().any(-1)])
    return scale


def _utterances(dialogues: Dialogues) -> tuple[dict[str, Tensor], Tensor]:
    """Stream -> inputs (N, D) of every utterance, NaN where one is absent; targets (N, ...)."""
    parts: dict[str, list[Tensor]] = {}
    for first in range(0, len(dialogues), _BATCH):
        batch = dialogues.__getitems__(range(first, min(first + _BATCH, len(dialogues))))
        for name, values in batch["inputs"].items():
            if name in batch["frames"]:
                frames = batch["frames"][name]
                values = values.sum(-2) / frames.sum(-1, keepdim=True).clamp(min=1)
            values = values.float().masked_fill(~batch["present"][name][..., None], torch.nan)
            parts.setdefault(name, []).append(values[batch["valid"]])
    return {name: torch.cat(part) for name, part in parts.items()}, dialogues.labels
