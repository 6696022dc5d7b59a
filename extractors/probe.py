"""How much emotion a linear model finds in embeddings: the yardstick of every extractor."""

from collections import Counter
from collections.abc import Sequence

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score
from torch import Tensor

from m2fnet.errors import RunError


def linear_probe(
    train: Tensor, train_labels: Sequence[str], judged: Tensor, judged_labels: Sequence[str]
) -> dict[str, float | int]:
    """Weighted F1 on ``judged`` (N, D) of a logistic regression over ``train`` (M, D).

    The embeddings are scaled by one number, not dimension by dimension: that would give the last, noisy directions of
    an SVD the weight of the first. Beside it the weighted F1 of always saying the most frequent training label.

    Raises:
        RunError: if a side has no labelled embedding, or training has fewer than two labels.
    """
    if len(judged) == 0 or len(set(train_labels)) < 2:
        raise RunError(
            f"A linear probe needs labelled embeddings on both sides and two labels in training, but got {len(train)} "
            f"for training with {len(set(train_labels))} labels and {len(judged)} to judge."
        )
    centre = train.float().mean(0)
    scale = (train.float() - centre).square().mean().sqrt().clamp_min(1e-6)
    model = LogisticRegression(C=0.03, max_iter=1000)  # ours, chosen on dev splits
    model.fit(((train.float() - centre) / scale).numpy(), train_labels)
    majority = Counter(train_labels).most_common(1)[0][0]
    return {
        "weighted_f1": _weighted_f1(judged_labels, model.predict(((judged.float() - centre) / scale).numpy())),
        "majority_weighted_f1": _weighted_f1(judged_labels, np.full(len(judged), majority)),
        "n": len(judged),
    }


def _weighted_f1(truth: Sequence[str], predicted: np.ndarray) -> float:
    return float(f1_score(truth, predicted, average="weighted", zero_division=0.0))
