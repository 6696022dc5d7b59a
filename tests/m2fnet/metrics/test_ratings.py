"""Scores of ratings against SciPy and the covariance matrix, and intervals over dialogues."""

import numpy as np
import pytest
from scipy.stats import pearsonr

from m2fnet.metrics.bootstrap import Resampling
from m2fnet.metrics.ratings import rating_scores, summarise_ratings, sums_of

X = np.random.default_rng(0).normal(0.3, 1, 60)
Y = 0.6 * X + np.random.default_rng(1).normal(-0.2, 1, 60)
DIALOGUES = [f"d{n // 3}" for n in range(60)]


def test_scores_are_those_of_other_libraries():
    found = summarise_ratings(X, Y, DIALOGUES)
    table = np.cov(X, Y, bias=True)
    assert found["n"] == 60
    assert found["mse"] == pytest.approx(((X - Y) ** 2).mean())
    assert found["pearson"] == pytest.approx(pearsonr(X, Y).statistic)
    assert found["ccc"] == pytest.approx(2 * table[0, 1] / (table[0, 0] + table[1, 1] + (X.mean() - Y.mean()) ** 2))


def test_a_constant_answer_has_no_correlation():
    found = summarise_ratings([0.1] * 60, Y, DIALOGUES)
    assert found["ccc"] == found["pearson"] == 0
    assert found["mse"] == pytest.approx(((Y - 0.1) ** 2).mean())
    same = summarise_ratings([0.1] * 60, [0.1] * 60, DIALOGUES)
    assert (same["mse"], same["ccc"], same["pearson"]) == (pytest.approx(0, abs=1e-15), 0, 0)


def test_intervals_are_those_of_dialogues_drawn_anew():
    resampling = Resampling(draws=50)
    found = summarise_ratings(X, Y, DIALOGUES, resampling)["intervals"]
    by_dialogue = np.arange(60).reshape(20, 3)
    scores = []
    for times in resampling.times(20):
        rows = by_dialogue[np.repeat(np.arange(20), times)].ravel()
        scores.append(rating_scores(sums_of(X[rows], Y[rows])))
    for name, bounds in found.items():
        assert bounds == pytest.approx(np.quantile([of[name] for of in scores], [0.025, 0.975]))
        assert bounds[0] < summarise_ratings(X, Y, DIALOGUES)[name] < bounds[1]


def test_too_few_dialogues_have_no_interval():
    assert summarise_ratings(X, Y, ["a", "b"] * 30)["intervals"] is None
