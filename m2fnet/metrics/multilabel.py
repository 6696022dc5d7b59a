"""Scores of label sets: each utterance has any number of C labels, possibly none.

Answers and targets are ``(N, C)``, true or 1 where a label is in the set. Every score is a tensor between 0 and 1. Two
public conventions differ where a set is empty, see `jaccard` and `jaccard_carat`.
"""

import torch
from torch import Tensor


def label_f1(answers: Tensor, targets: Tensor) -> Tensor:
    """F1 of each label, ``(C,)``: 2 TP / (predicted + support), 0 for a label that is neither predicted nor true.

    Example:
        >>> label_f1(torch.tensor([[1, 0], [1, 1]]), torch.tensor([[1, 0], [0, 1]]))
        tensor([0.6667, 1.0000])
    """
    hits, predicted, support = _counts(answers, targets)
    return 2 * hits / (predicted + support).clamp(min=1)


def macro_f1(answers: Tensor, targets: Tensor) -> Tensor:
    """Mean of the F1 of all C labels; one that is neither predicted nor true counts as 0.

    Example:
        >>> macro_f1(torch.tensor([[1, 0], [1, 1]]), torch.tensor([[1, 0], [0, 1]]))
        tensor(0.8333)
    """
    return label_f1(answers, targets).mean()


def micro_f1(answers: Tensor, targets: Tensor) -> Tensor:
    """F1 of all pairs of utterance and label together: 2 TP / (predicted + support), summed over the labels first.

    Example:
        >>> micro_f1(torch.tensor([[1, 0], [1, 1]]), torch.tensor([[1, 0], [0, 1]]))
        tensor(0.8000)
    """
    hits, predicted, support = _counts(answers, targets)
    return 2 * hits.sum() / (predicted + support).sum().clamp(min=1)


def micro_precision(answers: Tensor, targets: Tensor) -> Tensor:
    """Share of the predicted pairs of utterance and label that are true; 0 if none is predicted.

    The released code of CARAT and of its relatives prints it as recall, and recall as precision.

    Example:
        >>> micro_precision(torch.tensor([[1, 1], [1, 1]]), torch.tensor([[1, 0], [0, 1]]))
        tensor(0.5000)
    """
    hits, predicted, _ = _counts(answers, targets)
    return hits.sum() / predicted.sum().clamp(min=1)


def micro_recall(answers: Tensor, targets: Tensor) -> Tensor:
    """Share of the true pairs of utterance and label that are predicted; 0 if none is true.

    Example:
        >>> micro_recall(torch.tensor([[1, 1], [1, 1]]), torch.tensor([[1, 0], [0, 1]]))
        tensor(1.)
    """
    hits, _, support = _counts(answers, targets)
    return hits.sum() / support.sum().clamp(min=1)


def exact_match(answers: Tensor, targets: Tensor) -> Tensor:
    """Share of utterances whose whole label set is right, also called subset accuracy.

    Example:
        >>> exact_match(torch.tensor([[1, 0], [1, 1]]), torch.tensor([[1, 0], [0, 1]]))
        tensor(0.5000)
    """
    answers, targets = _checked(answers, targets)
    return (answers == targets).all(-1).float().mean()


def hamming_loss(answers: Tensor, targets: Tensor) -> Tensor:
    """Share of pairs of utterance and label that are wrong; lower is better.

    Example:
        >>> hamming_loss(torch.tensor([[1, 0], [1, 1]]), torch.tensor([[1, 0], [0, 1]]))
        tensor(0.2500)
    """
    answers, targets = _checked(answers, targets)
    return (answers != targets).float().mean()


def jaccard(answers: Tensor, targets: Tensor, *, empty: float = 1.0) -> Tensor:
    """Mean over utterances of |answer and target| / |answer or target|; where both sets are empty it is ``empty``.

    The answer "none of them" to an utterance that has none is right, so the standard value is 1, see `jaccard_carat`.

    Example:
        >>> jaccard(torch.tensor([[1, 0], [1, 1], [0, 0]]), torch.tensor([[1, 0], [0, 1], [0, 0]]))
        tensor(0.8333)
    """
    answers, targets = _checked(answers, targets)
    both, either = (answers & targets).sum(-1), (answers | targets).sum(-1)
    return torch.where(either > 0, both / either.clamp(min=1), empty).mean()


def jaccard_carat(answers: Tensor, targets: Tensor) -> Tensor:
    """`jaccard` where two empty sets count as 0, as "Acc" of CARAT (chengzju/CARAT@3210086) and its relatives.

    With it a perfect answer scores less than 1 wherever utterances have no label: 0.849 on the test split of CMU-MOSEI.

    Example:
        >>> jaccard_carat(torch.tensor([[1, 0], [1, 1], [0, 0]]), torch.tensor([[1, 0], [0, 1], [0, 0]]))
        tensor(0.5000)
    """
    return jaccard(answers, targets, empty=0.0)


def choose_thresholds(probabilities: Tensor, targets: Tensor) -> list[float]:
    """For each label the probability from which it is answered, so that micro F1 over all labels is highest.

    Choose them on dev, use them on test. A threshold is halfway between two probabilities that occur, or between the
    highest and 1 for a label that is better never answered; among equally good ones it is the highest. If no utterance
    has any label, all are 0.5.

    Micro F1 is a ratio of two sums over the labels, so for a given value F of it every label can choose separately the
    number of answers k with the highest 2 TP(k) - F k; the result gives the next F, until it rises no more (Dinkelbach,
    "On nonlinear fractional programming", Management Science 13, 1967). The maximum is exact.

    Args:
        probabilities: (N, C).
        targets: 0 or 1, (N, C).

    Raises:
        ValueError: if the shapes differ.

    Example:
        >>> choose_thresholds(torch.tensor([[0.75], [0.5], [0.25]]), torch.tensor([[1], [1], [0]]))
        [0.375]
    """
    if probabilities.ndim != 2 or probabilities.shape != targets.shape:
        raise ValueError(
            f"Expected probabilities and targets of one shape (N, C), but got {tuple(probabilities.shape)} and "
            f"{tuple(targets.shape)}."
        )
    if not targets.any():
        return [0.5] * probabilities.shape[1]
    values, order = probabilities.double().sort(dim=0, descending=True, stable=True)
    none = values.new_zeros(1, values.shape[1])
    hits = torch.cat([none, targets.double().gather(0, order).cumsum(0)])  # (N + 1, C), of the first k = 0..N
    upper, lower = torch.cat([none + 1, values]), torch.cat([values, none])
    answered = torch.arange(len(hits), device=values.device, dtype=values.dtype)[:, None]
    can_be_told_apart = upper > lower
    can_be_told_apart[-1] = True
    score, support = -1.0, float(targets.sum())
    while True:
        gain = (2 * hits - max(score, 0.0) * answered).masked_fill(~can_be_told_apart, -torch.inf)
        best = gain.argmax(0, keepdim=True)
        reached = float(2 * hits.gather(0, best).sum() / (best.sum() + support))
        if reached <= score:
            break
        score, chosen = reached, best
    return ((upper.gather(0, chosen) + lower.gather(0, chosen)) / 2)[0].tolist()


def choose_threshold(probabilities: Tensor, targets: Tensor) -> float:
    """The one probability for all labels from which they are answered, so that micro F1 is highest.

    See `choose_thresholds`, which chooses one for each label.

    Example:
        >>> choose_threshold(torch.tensor([[0.75, 0.5], [0.5, 0.25]]), torch.tensor([[1, 1], [0, 0]]))
        0.375
    """
    return choose_thresholds(probabilities.reshape(-1, 1), targets.reshape(-1, 1))[0]


def _counts(answers: Tensor, targets: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """True positives, predicted and support of each label, (C,)."""
    answers, targets = _checked(answers, targets)
    return (answers & targets).sum(0), answers.sum(0), targets.sum(0)


def _checked(answers: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    if answers.ndim != 2 or answers.shape != targets.shape:
        raise ValueError(
            f"Expected answers and targets of one shape (N, C), but got {tuple(answers.shape)} and "
            f"{tuple(targets.shape)}."
        )
    return answers.bool(), targets.bool()
