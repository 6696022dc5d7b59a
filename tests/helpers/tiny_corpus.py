"""A tiny corpus of random embeddings that carry the emotion, for the dialogue level."""

from dataclasses import replace
from pathlib import Path

import torch

from m2fnet.manifest import Manifest
from m2fnet.records import LabelSet, Utterance
from m2fnet.store import Missing, StoreWriter

CLASSES = ("neutral", "joy", "anger")
WIDTHS = {"text": 12, "audio": 8, "visual": 10}


def tiny_manifest(dialogues=(12, 4, 5), seed=0):
    """Dialogues of 1 to 7 utterances; about a tenth of them is unlabelled context."""
    draw = torch.Generator().manual_seed(seed)
    utterances = []
    for split, count in zip(("train", "dev", "test"), dialogues, strict=True):
        for d in range(count):
            for index in range(1 + (d * 3 + 2) % 7):
                label = CLASSES[int(torch.randint(len(CLASSES), (), generator=draw))]
                keeps = index == 0 or float(torch.rand((), generator=draw)) > 0.1
                name = f"{split}-{d}"
                utterances.append(
                    Utterance(f"{name}-{index}", "tiny", split, name, index, text="x", label=label if keeps else None)
                )
    return Manifest("tiny", LabelSet("tiny", CLASSES), tuple(utterances))


def write_stores(folder: Path, manifest: Manifest, signal=2.0, seed=0):
    """One store per modality: class direction plus noise; every seventh utterance lacks its picture."""
    draw = torch.Generator().manual_seed(seed)
    for modality, width in WIDTHS.items():
        classes = manifest.label_set.classes
        directions = torch.randn(len(classes) + 1, width, generator=draw)
        with StoreWriter(folder / modality, manifest, modality=modality, width=width, extractor={"made": "up"}) as w:
            for n, u in enumerate(manifest.utterances):
                direction = directions[-1 if u.label is None else classes.index(u.label)]
                vector = signal * direction + torch.randn(width, generator=draw)
                if modality == "visual" and n % 7 == 3:
                    w.add_missing(u.id, Missing("detect", "no face"))
                else:
                    w.add(u.id, vector)


def with_other_test_labels(manifest: Manifest, seed: int) -> Manifest:
    """The same corpus with random test labels."""
    draw = torch.Generator().manual_seed(seed)
    return replace(
        manifest,
        utterances=tuple(
            replace(u, label=CLASSES[int(torch.randint(len(CLASSES), (), generator=draw))]) if u.split == "test" else u
            for u in manifest.utterances
        ),
    )
