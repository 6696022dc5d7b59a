"""A recurrent network over the dialogue: bc-LSTM, Poria et al., "Context-Dependent Sentiment Analysis", ACL 2017.

There each modality has a network first; here one network reads all streams of an utterance, concatenated, as in later
re-implementations (declare-lab/conv-emotion, bc-LSTM).
"""

from typing import Literal

from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from dialog.batch import DialogueBatch, Output
from dialog.fusion.concatenation import EarlyFusion
from dialog.fusion.frames import Pooling
from dialog.fusion.streams import InputNorm
from m2fnet.problems import Problem

_CELLS = {"lstm": nn.LSTM, "gru": nn.GRU}


class Recurrent(nn.Module):
    """Scores (B, U, C) from an LSTM or GRU that runs over the utterances of a dialogue in both directions.

    Args:
        problem: emotions and streams.
        cell: ``lstm`` or ``gru``.
        width: of the hidden state, per direction.
        layers: number of recurrent layers.
        dropout: on the embeddings, between layers and before the classifier.
        input_norm: scale of the embeddings, see `dialog.fusion.streams.input_normalisation`.
        speaker_width: width of an embedding of the speaker; 0 for none.
        pooling: of the frames of streams of sequences, ``mean`` or ``attention``; None to read vectors only.
        causal: forwards only, so that no utterance sees a later one.

    Raises:
        ValueError: if a size is below 1, or a stream has sequences and ``pooling`` is None.
    """

    def __init__(
        self,
        problem: Problem,
        *,
        cell: Literal["lstm", "gru"] = "lstm",
        width: int = 128,
        layers: int = 1,
        dropout: float = 0.4,
        input_norm: InputNorm | bool = True,
        speaker_width: int = 0,
        pooling: Pooling | None = None,
        causal: bool = False,
    ) -> None:
        super().__init__()
        if min(width, layers) < 1:
            raise ValueError(f"Expected `width` and `layers` to be at least 1, but got {width} and {layers}.")
        self.inputs = EarlyFusion(problem, normalise=input_norm, speaker_width=speaker_width, pooling=pooling)
        self.dropout = nn.Dropout(dropout)
        self.recurrent = _CELLS[cell](
            self.inputs.width,
            width,
            layers,
            batch_first=True,
            dropout=dropout if layers > 1 else 0.0,
            bidirectional=not causal,
        )
        self.classify = nn.Linear(width * (1 if causal else 2), len(problem.label_set.classes))

    def forward(self, batch: DialogueBatch) -> Output:
        """Scores (B, U, C)."""
        lengths = batch["valid"].sum(1).cpu()
        packed = pack_padded_sequence(self.dropout(self.inputs(batch)), lengths, batch_first=True, enforce_sorted=False)
        states, _ = pad_packed_sequence(
            self.recurrent(packed)[0], batch_first=True, total_length=batch["valid"].shape[1]
        )
        return Output(self.classify(self.dropout(states)))
