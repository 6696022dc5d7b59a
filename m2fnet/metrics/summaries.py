"""What a report says about the answers to one split: all scores, intervals over dialogues, and baselines."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from m2fnet.metrics.bootstrap import FEWEST_DIALOGUES, bootstrap_interval, bootstrap_intervals
from m2fnet.metrics.calibration import binned, calibration_error
from m2fnet.metrics.counts import Counts, count_dialogues
from m2fnet.metrics.scores import STATISTICS, TWO_SCORES, class_f1, majority, score
from m2fnet.records import Scored

Labels = tuple[str, ...]


def summarise(answers: Sequence[Scored], training: Sequence[Labels], classes: Sequence[str]) -> dict[str, Any]:
    """All scores of the labelled ``answers``, of one emotion each, and of the majority class.

    There is no interval for fewer than `FEWEST_DIALOGUES` dialogues.

    Args:
        answers: to one split.
        training: labels of the training split, of one emotion each, for the majority class.
        classes: the emotions in order.
    """
    labels, predicted, dialogues = _columns(answers)
    counts = count_dialogues(labels, predicted, dialogues, classes)
    interval = bootstrap_interval(counts) if len(counts) >= FEWEST_DIALOGUES else None
    true = [label for (label,) in labels]
    return {
        **score(true, [answer for (answer,) in predicted], classes),
        "weighted_f1_interval": [interval.low, interval.high] if interval is not None else None,
        **majority([label for (label,) in training], true, classes),
    }


def per_dialogue(answers: Sequence[Scored], classes: Sequence[str]) -> dict[str, dict[str, float]]:
    """Weighted F1, accuracy and n of every dialogue that has a labelled utterance, of one emotion each.

    Example:
        >>> from m2fnet.records import ScoredPrediction
        >>> per_dialogue([ScoredPrediction("u", "d", "joy", "joy", {})], ["anger", "joy"])
        {'d': {'weighted_f1': 1.0, 'accuracy': 1.0, 'n': 1}}
    """
    groups: dict[str, list[Scored]] = {}
    for answer in answers:
        if answer.label_sets[0] is not None:
            groups.setdefault(answer.dialogue, []).append(answer)
    found = {}
    for name, group in groups.items():
        labels, predicted, _ = _columns(group)
        scores = score([label for (label,) in labels], [answer for (answer,) in predicted], classes)
        found[name] = {key: scores[key] for key in (*TWO_SCORES["single"], "n")}
    return found


def summarise_label_sets(
    answers: Sequence[Scored], training: Sequence[Labels], classes: Sequence[str], thresholds: Sequence[float]
) -> dict[str, Any]:
    """All scores of the labelled ``answers`` with 95 % intervals over dialogues, and of two baselines.

    Args:
        answers: to one split.
        training: label sets of the training split, for the baselines.
        classes: the emotions in order.
        thresholds: of each emotion, as they were used.
    """
    labels, predicted, dialogues = _columns(answers)
    counts = count_dialogues(labels, predicted, dialogues, classes)
    whole, f1 = counts.sum(0), class_f1(counts.sum(0))
    intervals = bootstrap_intervals(counts, STATISTICS["multi"]) if len(counts) >= FEWEST_DIALOGUES else {}
    return {
        **_scores(whole),
        "micro_precision": float(whole.true_positives.sum() / max(whole.predicted.sum(), 1)),
        "micro_recall": float(whole.true_positives.sum() / max(whole.support.sum(), 1)),
        "intervals": {name: [found.low, found.high] for name, found in intervals.items()} or None,
        "per_class": {
            name: {
                "f1": float(f1[n]),
                "precision": float(whole.true_positives[n] / max(whole.predicted[n], 1)),
                "recall": float(whole.true_positives[n] / max(whole.support[n], 1)),
                "support": int(whole.support[n]),
                "predicted": int(whole.predicted[n]),
                "threshold": thresholds[n],
                "calibration_error": _calibration_error(answers, name),
            }
            for n, name in enumerate(classes)
        },
        "together": {
            kind: [[sum(a in one and b in one for one in sets) for b in classes] for a in classes]
            for kind, sets in (("true", labels), ("predicted", predicted))
        },
        "n": int(whole.n),
        "empty": sum(not one for one in labels),
        "baselines": {
            name: {
                "labels": list(one),
                **_scores(count_dialogues(labels, [one] * len(labels), dialogues, classes).sum(0)),
            }
            for name, one in baselines(training).items()
        },
    }


def baselines(training: Sequence[Labels]) -> dict[str, Labels]:
    """Label sets that need no network: the most frequent label, and the most frequent set, of the training split.

    Example:
        >>> baselines([("joy", "fear"), ("joy",), (), ()])
        {'most frequent label': ('joy',), 'most frequent label set': ()}
    """
    labels = Counter(label for one in training for label in one).most_common(1)
    return {
        "most frequent label": tuple(label for label, _ in labels),
        "most frequent label set": Counter(training).most_common(1)[0][0],
    }


def _columns(answers: Sequence[Scored]) -> tuple[list[Labels], list[Labels], list[str]]:
    """True sets, predicted sets and dialogues of the labelled utterances."""
    labelled = [(true, said, one.dialogue) for one in answers for true, said in [one.label_sets] if true is not None]
    return [row[0] for row in labelled], [row[1] for row in labelled], [row[2] for row in labelled]


def _calibration_error(answers: Sequence[Scored], label: str) -> float:
    """Expected calibration error of the probability of one label of a set, over 15 bins."""
    labelled = [
        (one.probabilities[label], label in true) for one in answers for true in [one.label_sets[0]] if true is not None
    ]
    chances, has = zip(*labelled, strict=True)
    return calibration_error(binned(np.array(chances), np.array(has)))


def _scores(whole: Counts) -> dict[str, float]:
    return {name: float(statistic(whole)) for name, statistic in STATISTICS["multi"].items()}
