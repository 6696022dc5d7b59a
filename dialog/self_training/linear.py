"""What a linear classifier makes of the same gold and embeddings: what networks and their rounds should be above."""

from collections.abc import Sequence

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from torch import Tensor

from dialog.self_training.gold import GoldLabels, weighted_f1_of
from dialog.self_training.policies import Array
from dialog.self_training.splits import FrozenSplit
from dialog.self_training.training import Inputs
from m2fnet.errors import UsageError
from m2fnet.manifest import Manifest

STRENGTH = 0.03  # C of the logistic regression, as of the extractors' linear probe; chosen on no split of this corpus


def linear_scores(inputs: Inputs, split: FrozenSplit, manifest: Manifest) -> dict[str, list[float]]:
    """Weighted F1 on out-of-fold ``gold``, ``dev`` and ``test``, a list of one each; an empty one without utterances.

    The classifier of a fold learns from the gold of the others, that of dev and test from all gold. It reads all
    streams, scaled like the networks' inputs, a missing one as its mean, and has no seed.

    Raises:
        UsageError: if all gold utterances it would learn from have one emotion.
    """
    classes = manifest.label_set.classes
    gold = GoldLabels.of(manifest, split.gold)
    fold_answers = [
        _answers(inputs, GoldLabels.of(manifest, split.gold_of(split.others(fold))), ids, classes)
        for fold, ids in enumerate(split.folds)
    ]
    scores = {"gold": [weighted_f1_of(gold, np.concatenate(fold_answers))]}
    for name, ids in (("dev", split.dev), ("test", split.test)):
        scored = GoldLabels.of(manifest, ids)
        scores[name] = [weighted_f1_of(scored, _answers(inputs, gold, ids, classes))] if ids else []
    return scores


def _answers(inputs: Inputs, gold: GoldLabels, ids: Sequence[str], classes: Sequence[str]) -> Array:
    """Probabilities (N, C) for the utterances ``ids``, after learning from ``gold``."""
    if len(set(gold.labels)) < 2:
        raise UsageError(f"All {len(gold.labels)} gold utterances have one emotion, expected two; draw more gold.")
    model = LogisticRegression(C=STRENGTH, max_iter=1000).fit(_vectors(inputs, gold.ids), gold.numbers)
    found = np.zeros((len(ids), len(classes)))
    found[:, model.classes_] = model.predict_proba(_vectors(inputs, ids))
    return found


def _vectors(inputs: Inputs, ids: Sequence[str]) -> object:
    """All streams of the utterances next to each other, (N, D)."""
    rows = inputs.rows(ids)
    streams: list[Tensor] = [inputs.vectors[name][rows] for name in inputs.problem.streams]
    return torch.cat(streams, 1).numpy()
