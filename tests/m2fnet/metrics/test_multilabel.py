import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.metrics import accuracy_score, f1_score, jaccard_score
from sklearn.metrics import hamming_loss as sklearn_hamming
from torchmetrics.functional.classification import (
    multilabel_exact_match,
    multilabel_f1_score,
    multilabel_hamming_distance,
)

from m2fnet.metrics.collected import LabelledProbabilities
from m2fnet.metrics.counts import count_dialogues
from m2fnet.metrics.multilabel import (
    choose_thresholds,
    exact_match,
    hamming_loss,
    jaccard,
    jaccard_carat,
    label_f1,
    macro_f1,
    micro_f1,
)
from m2fnet.metrics.scores import STATISTICS, class_f1

SETS = st.integers(1, 30).flatmap(lambda n: st.tuples(*(arrays(bool, (n, 4)) for _ in range(2))))


@settings(deadline=None)
@given(SETS)
def test_the_scores_are_those_of_scikit_learn(sides):
    answers, targets = map(torch.from_numpy, sides)
    assert float(micro_f1(answers, targets)) == pytest.approx(
        f1_score(targets, answers, average="micro", zero_division=0)
    )
    assert float(macro_f1(answers, targets)) == pytest.approx(
        f1_score(targets, answers, average="macro", zero_division=0)
    )
    expected = f1_score(targets, answers, average=None, zero_division=0)
    assert label_f1(answers, targets).tolist() == pytest.approx(expected.tolist())
    assert float(exact_match(answers, targets)) == pytest.approx(accuracy_score(targets, answers))
    assert float(hamming_loss(answers, targets)) == pytest.approx(sklearn_hamming(targets, answers))
    for found, empty in ((jaccard, 1), (jaccard_carat, 0)):
        expected = jaccard_score(targets, answers, average="samples", zero_division=empty)
        assert float(found(answers, targets)) == pytest.approx(expected)


@settings(deadline=None)
@given(SETS)
def test_the_scores_are_those_of_torchmetrics(sides):
    answers, targets = (torch.from_numpy(side).long() for side in sides)
    assert micro_f1(answers, targets) == pytest.approx(float(multilabel_f1_score(answers, targets, 4, average="micro")))
    assert macro_f1(answers, targets) == pytest.approx(float(multilabel_f1_score(answers, targets, 4, average="macro")))
    assert exact_match(answers, targets) == pytest.approx(float(multilabel_exact_match(answers, targets, 4)))
    assert hamming_loss(answers, targets) == pytest.approx(float(multilabel_hamming_distance(answers, targets, 4)))


@settings(deadline=None)
@given(SETS)
def test_the_scores_of_counts_are_those_of_the_utterances(sides):
    answers, targets = map(torch.from_numpy, sides)
    names = ("a", "b", "c", "d")
    true, said = (
        [[n for n, is_in in zip(names, row, strict=True) if is_in] for row in side.tolist()]
        for side in (targets, answers)
    )
    whole = count_dialogues(true, said, [str(n % 3) for n in range(len(true))], names).sum(0)
    pure = (micro_f1, macro_f1, exact_match, jaccard, jaccard_carat, hamming_loss)
    for function, (name, statistic) in zip(pure, STATISTICS["multi"].items(), strict=True):
        assert function.__name__ == name
        assert float(statistic(whole)) == pytest.approx(float(function(answers, targets)), abs=1e-6)
    assert class_f1(whole).tolist() == pytest.approx(label_f1(answers, targets).tolist())


def test_a_perfect_answer_is_not_1_in_carats_convention_where_sets_are_empty():
    targets = torch.tensor([[1, 0], [0, 0], [0, 0], [1, 1]])
    assert jaccard(targets, targets) == 1
    assert jaccard_carat(targets, targets) == 0.5


@settings(deadline=None)
@given(
    st.integers(1, 10).flatmap(
        lambda n: st.tuples(
            arrays(np.float32, (n, 2), elements=st.sampled_from(np.linspace(0, 1, 6, dtype=np.float32))),
            arrays(bool, (n, 2)),
        )
    )
)
def test_no_thresholds_have_a_higher_micro_f1_than_the_chosen_ones(columns):
    probabilities, targets = map(torch.from_numpy, columns)
    chosen = torch.tensor(choose_thresholds(probabilities, targets), dtype=torch.double)
    assert ((chosen >= 0) & (chosen <= 1)).all()
    if not targets.any():
        assert chosen.tolist() == [0.5, 0.5]
        return
    grid = np.linspace(0, 1, 11) - 1e-6  # between the probabilities that occur, and below 1
    every = [float(micro_f1(probabilities >= torch.tensor(pair), targets)) for pair in itertools.product(grid, grid)]
    assert float(micro_f1(probabilities.double() >= chosen, targets)) == pytest.approx(max(every))


@pytest.mark.parametrize("function", [micro_f1, jaccard, hamming_loss])
def test_other_shapes_are_refused(function):
    with pytest.raises(
        ValueError, match=r"Expected answers and targets of one shape \(N, C\), but got \(2, 3\) and \(2, 2\)"
    ):
        function(torch.zeros(2, 3), torch.zeros(2, 2))


def test_the_collected_probabilities_are_those_of_labelled_utterances_in_all_batches():
    collected = LabelledProbabilities()
    logits, targets = torch.randn(6, 2), torch.tensor([[1, 0], [-100, -100], [0, 0], [1, 1], [-100, -100], [0, 1]])
    for rows in (slice(0, 2), slice(2, 6)):
        collected.update(logits[rows], targets[rows])
    probabilities, found = collected.compute()
    torch.testing.assert_close(probabilities, logits[[0, 2, 3, 5]].sigmoid())
    assert found.tolist() == [[1, 0], [0, 0], [1, 1], [0, 1]]
