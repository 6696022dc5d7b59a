"""How much emotion a linear model finds in embeddings: the yardstick of every extractor."""

from collections.abc import Sequence

import torch
from sklearn.linear_model import LogisticRegression
from torch import Tensor

from m2fnet.errors import RunError
from m2fnet.metrics.scores import majority, score


class LinearProbe:
    """A logistic regression on embeddings.

    The embeddings are scaled by one number, not dimension by dimension: that would give the last, noisy directions of
    an SVD the weight of the first.

    Args:
        train: embeddings (M, D) to learn from.
        labels: their M labels.

    Example:
        >>> probe = LinearProbe(torch.tensor([[0.0], [1.0], [4.0], [5.0]]), ["sad", "sad", "joy", "joy"])
        >>> probe.probabilities(torch.tensor([[0.5], [4.5]]), ["joy", "sad", "anger"]).argmax(1)
        tensor([1, 0])

    Raises:
        RunError: if training has fewer than two labels.
    """

    def __init__(self, train: Tensor, labels: Sequence[str]) -> None:
        if len(set(labels)) < 2:
            raise RunError(
                f"A linear probe needs training embeddings of two labels, but got {len(train)} with {len(set(labels))}."
            )
        self._centre = train.float().mean(0)
        self._scale = (train.float() - self._centre).square().mean().sqrt().clamp_min(1e-6)
        self._model = LogisticRegression(C=0.03, max_iter=1000)  # ours, chosen on dev splits
        self._model.fit(self._scaled(train), labels)

    def predict(self, embeddings: Tensor) -> list[str]:
        """The label of each of the embeddings (N, D)."""
        predicted: list[str] = self._model.predict(self._scaled(embeddings)).tolist()
        return predicted

    def probabilities(self, embeddings: Tensor, classes: Sequence[str]) -> Tensor:
        """Probabilities (N, C) of the ``classes`` for embeddings (N, D); 0 for a class that training does not have."""
        known = torch.from_numpy(self._model.predict_proba(self._scaled(embeddings))).float()
        found = torch.zeros(len(embeddings), len(classes))
        found[:, [classes.index(name) for name in self._model.classes_]] = known
        return found

    def _scaled(self, embeddings: Tensor) -> object:
        return ((embeddings.float() - self._centre) / self._scale).numpy()


def linear_probe(
    train: Tensor, train_labels: Sequence[str], scored: Tensor, scored_labels: Sequence[str]
) -> dict[str, float | int]:
    """Weighted F1 on ``scored`` (N, D) of a `LinearProbe` on ``train`` (M, D).

    With it comes the weighted F1 of always predicting the most frequent training label.

    Raises:
        RunError: if a side has no labelled embedding, or training has fewer than two labels.
    """
    if len(scored) == 0 or len(set(train_labels)) < 2:
        raise RunError(
            f"A linear probe needs labelled embeddings on both sides and two labels in training, but got {len(train)} "
            f"for training with {len(set(train_labels))} labels and {len(scored)} to score."
        )
    predicted = LinearProbe(train, train_labels).predict(scored)
    classes = sorted({*train_labels, *scored_labels})
    return {
        "weighted_f1": score(scored_labels, predicted, classes)["weighted_f1"],
        "majority_weighted_f1": majority(train_labels, scored_labels, classes)["majority_weighted_f1"],
        "n": len(scored),
    }
