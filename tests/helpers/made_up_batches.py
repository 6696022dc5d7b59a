"""Batches of made-up dialogues."""

import itertools

import torch

from m2fnet.problems import UNLABELLED
from m2fnet.records import LabelSet

WIDTHS = {"text": 12, "audio": 8, "visual": 10}
LABELS = LabelSet("three", ("neutral", "joy", "anger"))


def batch_of(lengths, modalities=("text", "audio", "visual"), padded_to=None, seed=1):
    """Random dialogues; padding holds rubbish so that a leak shows."""
    draw = torch.Generator().manual_seed(seed)
    width = padded_to or max(lengths)
    valid = torch.arange(width) < torch.tensor(lengths)[:, None]
    inputs = {name: torch.full((len(lengths), width, WIDTHS[name]), 1e3) for name in modalities}
    for (b, length), name in itertools.product(enumerate(lengths), modalities):
        inputs[name][b, :length] = torch.randn(length, WIDTHS[name], generator=draw)
    return {
        "inputs": inputs,
        "frames": {},
        "present": {name: valid.clone() for name in modalities},
        "valid": valid,
        "speaker": (torch.arange(width) % 2).expand(len(lengths), -1).masked_fill(~valid, -1),
        "gap_s": torch.full(valid.shape, float("nan")),
        "label": torch.zeros(len(lengths), width, dtype=torch.long).masked_fill(~valid, UNLABELLED),
        "row": valid.long(),
        "labelled": int(valid.sum()),
    }


def without(batch, *modalities, at=...):
    """The batch with a modality missing everywhere, or at the utterances ``at``; its values are rubbish there."""
    for name in modalities:
        batch["present"][name][at] = False
        batch["inputs"][name][at] = -1e3
    return batch
