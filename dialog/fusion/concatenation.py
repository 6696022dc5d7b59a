"""All streams of an utterance in one vector, the input of the baselines."""

import torch
from torch import Tensor, nn

from dialog.batch import DialogueBatch
from dialog.fusion.frames import FramePooling, Pooling
from dialog.fusion.relations import SpeakerEmbedding
from dialog.fusion.streams import InputNorm, input_normalisation
from m2fnet.problems import Problem


class EarlyFusion(nn.Module):
    """Embeddings (B, U, sum of the widths), each normalised separately, zero where one is absent.

    Args:
        problem: names and widths of the streams.
        normalise: see `dialog.fusion.streams.input_normalisation`.
        speaker_width: width of an embedding of the speaker, which is appended; 0 for none.
        pooling: of the frames of streams of sequences, see `dialog.fusion.frames.FramePooling`.

    Raises:
        ValueError: if a stream has sequences and ``pooling`` is None.

    Example:
        >>> from m2fnet.problems import make_problem
        >>> from m2fnet.records import LabelSet
        >>> problem = make_problem(LabelSet("two", ("anger", "joy")), {"text": 4, "audio": 3})
        >>> EarlyFusion(problem, normalise=True).width
        7
    """

    def __init__(
        self,
        problem: Problem,
        *,
        normalise: InputNorm | bool,
        speaker_width: int = 0,
        pooling: Pooling | None = None,
    ) -> None:
        super().__init__()
        if speaker_width < 0:
            raise ValueError(f"Expected `speaker_width` to be at least 0, but got {speaker_width}.")
        self.pooling = FramePooling(problem, pooling)
        widths = self.pooling.widths
        self.norms = nn.ModuleDict(
            {name: input_normalisation(name, width, normalise) for name, width in widths.items()}
        )
        self.speakers = SpeakerEmbedding(speaker_width) if speaker_width else None
        self.width = sum(widths.values()) + speaker_width

    def forward(self, batch: DialogueBatch) -> Tensor:
        """The embeddings of ``batch``."""
        batch = self.pooling(batch)
        parts = [norm(batch["inputs"][name]) * batch["present"][name][..., None] for name, norm in self.norms.items()]
        if self.speakers is not None:
            parts.append(self.speakers(batch["speaker"]))
        return torch.cat(parts, dim=-1)
