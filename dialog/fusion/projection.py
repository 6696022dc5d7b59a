"""Every stream as vectors of one width, the input of networks that read the streams separately."""

import torch
from torch import Tensor, nn

from dialog.batch import DialogueBatch
from dialog.fusion.streams import InputNorm, input_normalisation, vector_widths
from m2fnet.problems import Problem


class ProjectedStreams(nn.Module):
    """Stream -> its embeddings (B, U, D) after a linear layer, zero where absent.

    Args:
        problem: names and widths of the streams.
        width: D.
        normalise: see `dialog.fusion.streams.input_normalisation`.
        bias: of the linear layers.

    Raises:
        ValueError: if a stream has sequences.
    """

    def __init__(self, problem: Problem, width: int, *, normalise: InputNorm | bool, bias: bool = True) -> None:
        super().__init__()
        self.layers = nn.ModuleDict(
            {
                name: nn.Sequential(input_normalisation(name, own, normalise), nn.Linear(own, width, bias=bias))
                for name, own in vector_widths(problem).items()
            }
        )

    def forward(self, batch: DialogueBatch) -> dict[str, Tensor]:
        """The projected embeddings of ``batch``."""
        return {
            name: layer(batch["inputs"][name]) * batch["present"][name][..., None]
            for name, layer in self.layers.items()
        }


def anything_present(batch: DialogueBatch) -> Tensor:
    """Whether an utterance has an embedding of at least one stream, (B, U) as bool; False for padding."""
    return torch.stack(list(batch["present"].values())).any(0)
