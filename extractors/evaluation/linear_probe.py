"""How much emotion a linear model finds in embeddings: the yardstick of every extractor."""

from collections.abc import Sequence

from sklearn.linear_model import LogisticRegression
from torch import Tensor

from m2fnet.errors import RunError
from m2fnet.metrics.scores import majority, score


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
    predicted = model.predict(((judged.float() - centre) / scale).numpy()).tolist()
    classes = sorted({*train_labels, *judged_labels})
    return {
        "weighted_f1": score(judged_labels, predicted, classes)["weighted_f1"],
        "majority_weighted_f1": majority(train_labels, judged_labels, classes)["majority_weighted_f1"],
        "n": len(judged),
    }
