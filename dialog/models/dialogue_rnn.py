"""DialogueRNN: a GRU for the dialogue, one for the state of each speaker, and one for the emotion.

Majumder et al., "DialogueRNN: An Attentive RNN for Emotion Detection in Conversations", AAAI 2019, arXiv:1811.00405,
section 3.3 and Fig 2; the variant in both directions with attention over the emotions (BiDialogueRNN + Att, section
3.4) is the default. Authors' code: declare-lab/conv-emotion, DialogueRNN/model.py, `DialogueRNNCell` and `BiModel`.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dialog.batch import UNKNOWN_SPEAKER, DialogueBatch, Output
from dialog.fusion.attention import allowed_pairs
from dialog.fusion.concatenation import EarlyFusion
from dialog.fusion.pairs import masked_softmax
from dialog.fusion.recurrence import gru_update, reversed_dialogues
from dialog.fusion.streams import InputNorm
from m2fnet.problems import Problem


class PartyStates(nn.Module):
    """Emotion representations (B, U, D_e) of dialogues read in one direction.

    For utterance ``u_t`` of a speaker whose state is ``q``:

        g_t = GRU_G(g_{t-1}, [u_t; q])                  the dialogue so far
        c_t = softmax(u_t W [g_1 ... g_{t-1}]) g        what of it matters to the utterance
        q'  = GRU_P(q, [u_t; c_t])                      the speaker's next state; listeners keep theirs
        e_t = GRU_E(e_{t-1}, q')

    What depends only on the utterances is computed for all of them before the loop, and ``e`` after it. A speaker who
    is unknown starts from zeros in every utterance.

    Args:
        inputs: width of ``u``.
        global_width: of ``g``.
        party_width: of ``q``.
        emotion_width: D_e.
        dropout: on the new states.
    """

    def __init__(self, inputs: int, global_width: int, party_width: int, emotion_width: int, dropout: float) -> None:
        super().__init__()
        self.global_cell = nn.GRUCell(inputs + party_width, global_width)
        self.party_cell = nn.GRUCell(inputs + global_width, party_width)
        self.attention = nn.Linear(inputs, global_width, bias=False)
        self.emotion = nn.GRU(party_width, emotion_width, batch_first=True)
        self.dropout = nn.Dropout(dropout)

    def forward(self, u: Tensor, speaker: Tensor) -> Tensor:
        """The representations for utterances (B, U, D) of the speakers (B, U)."""
        cell, party_cell, inputs = self.global_cell, self.party_cell, u.shape[-1]
        speaks = F.one_hot(speaker - UNKNOWN_SPEAKER)[..., 1:].to(u.dtype)  # (B, U, number of speakers)
        global_input = F.linear(u, cell.weight_ih[:, :inputs], cell.bias_ih)
        party_input = F.linear(u, party_cell.weight_ih[:, :inputs], party_cell.bias_ih)
        weight_of_context = party_cell.weight_ih[:, inputs:]
        weight_of_party = torch.cat([cell.weight_ih[:, inputs:], party_cell.weight_hh])  # both read q
        bias_of_party = torch.cat([torch.zeros_like(cell.bias_ih), party_cell.bias_hh])
        widths = [len(cell.bias_ih), len(party_cell.bias_hh)]

        parties = u.new_zeros(len(u), speaks.shape[-1], party_cell.hidden_size)
        state = u.new_zeros(len(u), cell.hidden_size)
        states: list[Tensor] = []
        spoken: list[Tensor] = []
        together = (speaks, global_input, party_input, self.attention(u))
        for who, to_global, to_party, query in zip(*(one.unbind(1) for one in together), strict=True):
            party = torch.einsum("bs,bsd->bd", who, parties)
            from_party = F.linear(party, weight_of_party, bias_of_party)
            party_to_global, party_to_party = torch.split(from_party, widths, dim=-1)
            if states:
                history = torch.stack(states, dim=1)  # (B, t - 1, D_g)
                weights = torch.einsum("bd,btd->bt", query, history).softmax(-1)
                to_party = to_party + F.linear(torch.einsum("bt,btd->bd", weights, history), weight_of_context)
            state = gru_update(to_global + party_to_global, F.linear(state, cell.weight_hh, cell.bias_hh), state)
            state = self.dropout(state)
            party = self.dropout(gru_update(to_party, party_to_party, party))
            parties = torch.lerp(parties, party[:, None], who[..., None])
            states.append(state)
            spoken.append(party)
        emotions: Tensor = self.dropout(self.emotion(torch.stack(spoken, dim=1))[0])
        return emotions


class DialogueRNN(nn.Module):
    """Scores (B, U, C) from the states of the dialogue, of its speakers and of their emotions.

    Args:
        problem: emotions and streams.
        global_width: width of the state of the dialogue.
        party_width: width of the state of a speaker.
        emotion_width: width of the emotion representation, per direction.
        hidden: width before the classifier, per direction.
        attention: each utterance also attends to the emotion representations of all others.
        dropout: on the states (there with 0.15 more before the attention, as in the authors' code) and before the
            classifier.
        input_norm: scale of the embeddings, see `dialog.fusion.streams.input_normalisation`.
        causal: forwards only, so that no utterance sees a later one.

    Raises:
        ValueError: if a size is below 1, or a stream has sequences.
    """

    def __init__(
        self,
        problem: Problem,
        *,
        global_width: int = 150,
        party_width: int = 150,
        emotion_width: int = 100,
        hidden: int = 100,
        attention: bool = True,
        dropout: float = 0.1,
        input_norm: InputNorm | bool = True,
        causal: bool = False,
    ) -> None:
        super().__init__()
        sizes = (global_width, party_width, emotion_width, hidden)
        if min(sizes) < 1:
            raise ValueError(
                "Expected `global_width`, `party_width`, `emotion_width` and `hidden` to be at least 1, but got "
                f"{', '.join(map(str, sizes))}."
            )
        self.causal = causal
        self.inputs = EarlyFusion(problem, normalise=input_norm)
        directions = ("forwards",) if causal else ("forwards", "backwards")
        self.directions = nn.ModuleDict(
            {
                name: PartyStates(self.inputs.width, global_width, party_width, emotion_width, dropout)
                for name in directions
            }
        )
        width = emotion_width * len(directions)
        self.emotion_dropout = nn.Dropout(min(dropout + 0.15, 1.0))
        self.attention = nn.Linear(width, width, bias=False) if attention else None
        self.classify = nn.Sequential(
            nn.Linear(width, hidden * len(directions)),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(hidden * len(directions), len(problem.label_set.classes)),
        )

    def forward(self, batch: DialogueBatch) -> Output:
        """Scores (B, U, C)."""
        u, speaker, valid = self.inputs(batch), batch["speaker"], batch["valid"]
        emotions: Tensor = self.directions["forwards"](u, speaker)
        if not self.causal:
            backwards = self.directions["backwards"](reversed_dialogues(u, valid), reversed_dialogues(speaker, valid))
            emotions = torch.cat([emotions, reversed_dialogues(backwards, valid)], dim=-1)
        emotions = self.emotion_dropout(emotions)
        if self.attention is not None:
            scores = self.attention(emotions) @ emotions.transpose(1, 2)
            emotions = masked_softmax(scores, allowed_pairs(valid, causal=self.causal)) @ emotions
        return Output(self.classify(emotions))
