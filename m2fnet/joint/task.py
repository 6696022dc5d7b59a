"""Training an extractor by the loss of a dialogue network over its embeddings."""

from collections.abc import Callable, Mapping
from typing import cast

from pytorch_lightning.cli import OptimizerCallable
from torch import Tensor, nn

from dialog.batch import DialogueBatch, output_of
from dialog.fusion.streams import Standardise
from extractors.base import Extractor
from extractors.data import ExtractorBatch
from extractors.task import ExtractorTask, LossWeights, adam
from m2fnet.errors import UsageError
from m2fnet.joint.data import NOWHERE, JointBatch, Places
from m2fnet.problems import UNLABELLED, Problem, Stream, make_problem
from m2fnet.training.averaging import Averaging
from m2fnet.training.schedules import Decay


class JointTask(ExtractorTask):
    """Trains an extractor and a dialogue network over its embeddings together, by the cross-entropy of that network.

    The dialogue network takes the place of the linear head: what it says of an utterance depends on the others of the
    dialogue, and its gradient reaches the extractor through all of them. ``dev/weighted_f1``, which selects the epoch,
    is that of the dialogue network. The run is that of an extractor, which `m2fnet extract` reads like any other.

    Args:
        net: makes the extractor, e.g. `extractors.text.roberta.TextEncoder`.
        dialogue: makes the dialogue network over its embeddings, e.g. `dialog.models.m2fnet.M2FNet`.
        optimizer: makes the optimizer from the parameters.
        backbone_lr: learning rate of the extractor's pretrained parts; by default that of the rest.
        layer_decay: layer k of L of a pretrained encoder learns with that rate times ``layer_decay ** (L - k)``; 1 for
            one rate.
        freeze_epochs: epochs at the beginning in which the pretrained parts do not learn.
        warmup: share of all optimizer steps over which the learning rate rises to its value.
        decay: how it falls to 0 over the rest, see `m2fnet.training.schedules`.
        class_weight: how much more rare emotions count than their number gives them, from 0 to 1, see
            `m2fnet.losses.class_weights`.
        label_smoothing: share of the target that is spread evenly over all emotions in training.
        patience: epochs without a better score on dev after which training stops; never by default.
        averaging: lets an average of the weights over the steps be scored and saved, see
            `m2fnet.training.averaging`; none by default.
    """

    def __init__(
        self,
        net: Callable[[], Extractor],
        dialogue: Callable[[Problem], nn.Module],
        optimizer: OptimizerCallable = adam,
        backbone_lr: float | None = None,
        layer_decay: float = 1.0,
        freeze_epochs: int = 0,
        warmup: float = 0.0,
        decay: Decay = "none",
        class_weight: float = 0.0,
        label_smoothing: float = 0.0,
        patience: int | None = None,
        averaging: Averaging | None = None,
    ) -> None:
        super().__init__(
            net,
            optimizer,
            LossWeights(cross_entropy=1.0, triplet=0.0, covariance=0.0, variance=0.0),
            backbone_lr=backbone_lr,
            layer_decay=layer_decay,
            freeze_epochs=freeze_epochs,
            warmup=warmup,
            decay=decay,
            class_weight=class_weight,
            label_smoothing=label_smoothing,
            patience=patience,
            averaging=averaging,
        )
        self.make_dialogue = dialogue

    def make_head(self, net: Extractor, problem: Problem) -> nn.Module:
        """The dialogue network.

        Raises:
            UsageError: if its settings do not fit, or it needs what is fitted on embeddings that stay as they are.
        """
        stream = Stream(net.modality, net.width)
        try:
            network = self.make_dialogue(make_problem(problem.label_set, {net.modality: stream}))
        except ValueError as error:
            raise UsageError(f"model.dialogue: {error}") from error
        if any(isinstance(module, Standardise) for module in network.modules()):
            raise UsageError(
                "model.dialogue has an input_norm that is fitted once, while these embeddings change in every step; "
                "expected layer or none."
            )
        return network

    def logits_of(self, z: Tensor, batch: ExtractorBatch) -> tuple[Tensor, Mapping[str, Tensor]]:
        """Logits (N, C) of the embeddings (N, D) in their dialogues, and the terms of the dialogue network."""
        assert self.net is not None, "the network is built by `build`"
        places = cast(JointBatch, batch)["places"]
        output = output_of(self.head, dialogues_of(z, batch["label"], places, self.net.modality))
        return output.scores[places["number"] != NOWHERE], output.terms


def dialogues_of(z: Tensor, label: Tensor, places: Places, stream: str) -> DialogueBatch:
    """The embeddings (N, D) of utterances with their class numbers (N,) as a batch of dialogues of one ``stream``.

    Example:
        >>> import torch
        >>> number = torch.tensor([[0, 1], [2, -1]])
        >>> places: Places = {"number": number, "speaker": number * 0, "gap_s": number * 0.0}
        >>> batch = dialogues_of(torch.tensor([[1.0], [2.0], [3.0]]), torch.tensor([4, 5, 6]), places, "text")
        >>> batch["inputs"]["text"].squeeze(-1), batch["label"].flatten()[:3]
        (tensor([[1., 2.],
                [3., 0.]]), tensor([4, 5, 6]))
    """
    number = places["number"]
    valid = number != NOWHERE
    row = number.clamp(min=0)
    return {
        "inputs": {stream: z[row] * valid[..., None]},
        "frames": {},
        "present": {stream: valid},
        "valid": valid,
        "speaker": places["speaker"],
        "gap_s": places["gap_s"],
        "label": label[row].masked_fill(~valid, UNLABELLED),
        "row": number,
        "labelled": len(label),
    }
