"""The streams that a network reads, checked when it is built, and the scale that their embeddings are brought to."""

from typing import Literal, Protocol

import torch
from torch import Tensor, nn

from m2fnet.problems import Problem

Fitted = Literal["standard", "scale", "auto"]
InputNorm = Literal[Fitted, "layer", "none"]
# Components of LSA spread up to 3 times as far as others, of a small corpus 40 times, units of an encoder twice, and
# statistics of sound in their own units 4,000 times.
_ALIKE = 100.0


def vector_widths(problem: Problem) -> dict[str, int]:
    """Stream -> width D, for a network that reads one vector per utterance.

    Raises:
        ValueError: naming the streams of sequences, and what to do.

    Example:
        >>> from m2fnet.problems import Stream, make_problem
        >>> from m2fnet.records import LabelSet
        >>> labels = LabelSet("two", ("anger", "joy"))
        >>> vector_widths(make_problem(labels, {"text": 768, "clip": Stream("visual", 512)}))
        {'text': 768, 'clip': 512}
        >>> clip = Stream("visual", 512, is_sequence=True)
        >>> vector_widths(make_problem(labels, {"text": 768, "clip": clip}))  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        ...
        ValueError: This network reads one vector per utterance, but clip has a sequence of vectors. ...
    """
    sequences = [name for name, stream in problem.streams.items() if stream.is_sequence]
    if sequences:
        raise ValueError(
            f"This network reads one vector per utterance, but {' and '.join(sequences)} "
            f"{'has a sequence' if len(sequences) == 1 else 'have sequences'} of vectors. Set its `pooling` "
            "to mean or attention, choose other streams with data.streams, or use a network that reads sequences."
        )
    return problem.widths


class Standardise(nn.Module):
    """Embeddings (..., D) of a stream minus their mean, divided by their standard deviation.

    Both are of the training split: `fit_standardisation` sets them when training starts. They are buffers, so that
    checkpoints and exported models carry them. Until then nothing is changed.

    Args:
        stream: name of the stream.
        width: D.
        kind: ``standard`` divides every dimension by its deviation, which features in different units need;
            ``scale`` divides all by one number, so that those that vary most still do: the first components of LSA say
            more than the last. ``auto`` is ``scale`` where most dimensions spread about as far as each other, and
            ``standard`` otherwise.

    Example:
        >>> standardise = Standardise("text", 2)
        >>> standardise.fit(torch.tensor([[1.0, 10.0], [3.0, 10.0]]))
        >>> standardise(torch.tensor([[2.0, 11.0]]))  # a dimension that is constant in training is only centred
        tensor([[0., 1.]])
        >>> one_unit, many = torch.tensor([1.0, 2.0]), torch.tensor([1.0, 300.0, 90_000.0])
        >>> for embeddings in (torch.stack([-one_unit, one_unit]), torch.stack([-many, many])):
        ...     auto = Standardise("text", embeddings.shape[-1], "auto")
        ...     auto.fit(embeddings)
        ...     auto(embeddings)[1]
        tensor([0.6325, 1.2649])
        tensor([1., 1., 1.])
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, stream: str, width: int, kind: Fitted = "standard") -> None:
        super().__init__()
        self.stream, self.kind = stream, kind
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("deviation", torch.ones(width))

    def fit(self, embeddings: Tensor) -> None:
        """Take mean and standard deviation from ``embeddings`` (N, D); nothing changes if there are none."""
        if not len(embeddings):
            return
        deviation, mean = torch.std_mean(embeddings.double(), dim=0, correction=0)
        is_constant = deviation <= 1e-6 * deviation.amax().clamp(min=1e-6)
        self.mean.copy_(mean)
        self.deviation.copy_(deviation.masked_fill(is_constant, 1.0))
        varying = deviation[~is_constant]
        if len(varying) and (self.kind == "scale" or (self.kind == "auto" and _are_alike(varying))):
            self.deviation.fill_(varying.square().mean().sqrt())

    def forward(self, embeddings: Tensor) -> Tensor:
        """Embeddings (..., D), centred and divided."""
        return (embeddings - self.mean) / self.deviation


def _are_alike(deviation: Tensor) -> bool:
    """Whether nine of ten dimensions, by their deviation (D,), spread about as far as each other."""
    return bool(deviation.quantile(0.95) <= _ALIKE * deviation.quantile(0.05))


class TrainingEmbeddings(Protocol):
    """The training split, as far as `fit_standardisation` reads it; `dialog.data.Dialogues` is one."""

    def embeddings(self, stream: str) -> Tensor:
        """All vectors (N, D) of ``stream`` that are present, for sequences those of every frame."""


def fit_standardisation(network: nn.Module, training: TrainingEmbeddings) -> None:
    """Set every `Standardise` inside ``network`` to the mean and standard deviation of its stream in ``training``."""
    for module in network.modules():
        if isinstance(module, Standardise):
            module.fit(training.embeddings(module.stream))


def input_normalisation(stream: str, width: int, kind: InputNorm | bool) -> nn.Module:
    """What brings the embeddings (..., D) of a stream to a common scale before a network reads them.

    Args:
        stream: its name.
        width: D.
        kind: ``standard``, ``scale`` and ``auto`` are those of `Standardise`, fitted on the training split; ``layer``
            is layer norm over the dimensions of each vector; ``none`` takes the embeddings as they come. Older
            configurations have True for ``layer`` and False for ``none``.

    Example:
        >>> input_normalisation("text", 4, "layer")
        LayerNorm((4,), eps=1e-05, elementwise_affine=True)
    """
    if kind in ("standard", "scale", "auto"):
        return Standardise(stream, width, kind)
    return nn.LayerNorm(width) if kind in ("layer", True) else nn.Identity()
