import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import f1_score

from m2fnet.metrics.bootstrap import Resampling, bootstrap_interval, bootstrap_intervals, paired_difference
from m2fnet.metrics.counts import Counts, count_dialogues
from m2fnet.metrics.scores import STATISTICS, accuracy, macro_f1, weighted_f1

CLASSES = ("anger", "fear", "joy", "neutral")


def made_up(dialogues, utterances=5, right=0.6, seed=0):
    """Labels, answers of which about ``right`` are right, and dialogue names."""
    draw = np.random.default_rng(seed)
    labels = draw.choice(CLASSES, size=dialogues * utterances)
    predicted = np.where(draw.random(len(labels)) < right, labels, draw.choice(CLASSES, size=len(labels)))
    return labels.tolist(), predicted.tolist(), [f"d{n // utterances:03d}" for n in range(len(labels))]


def counts_of(labels, predicted, dialogues):
    return count_dialogues([[label] for label in labels], [[one] for one in predicted], dialogues, CLASSES)


def resampled(runs, draws, seed):
    """Mean weighted F1 of ``runs`` in every bootstrap sample, one dialogue after the other, by scikit-learn."""
    names = sorted(set(runs[0][2]))
    drawn = np.random.default_rng(seed).multinomial(len(names), np.full(len(names), 1 / len(names)), size=draws)
    values = []
    for counts in drawn:
        copies = dict(zip(names, counts, strict=True))
        rows = [n for n, name in enumerate(runs[0][2]) for _ in range(copies[name])]
        scores = [
            f1_score([labels[n] for n in rows], [predicted[n] for n in rows], average="weighted")
            for labels, predicted, _ in runs
        ]
        values.append(np.mean(scores))
    return np.array(values)


def several_runs(count, seed=0, **settings):
    """Columns of ``count`` runs that share their labels."""
    labels, _, dialogues = made_up(**settings, seed=seed)
    draw = np.random.default_rng(seed + 1)
    return [
        (
            labels,
            np.where(draw.random(len(labels)) < 0.5, labels, draw.choice(CLASSES, len(labels))).tolist(),
            dialogues,
        )
        for _ in range(count)
    ]


@pytest.mark.parametrize("level", [0.5, 0.95])
@pytest.mark.parametrize("count", [1, 3])
def test_the_interval_is_that_of_a_plain_loop_over_drawn_dialogues(level, count):
    runs = several_runs(count, dialogues=6, utterances=3)
    expected = np.quantile(resampled(runs, draws=40, seed=7), [(1 - level) / 2, (1 + level) / 2])
    counts = Counts.stack([counts_of(*run) for run in runs])
    found = bootstrap_interval(counts, resampling=Resampling(draws=40, level=level, seed=7))
    assert (found.low, found.high) == pytest.approx(tuple(expected))
    whole = [f1_score(labels, predicted, average="weighted") for labels, predicted, _ in runs]
    assert found.value == pytest.approx(np.mean(whole))


def test_the_difference_is_that_of_a_plain_loop_over_the_same_dialogues():
    runs = several_runs(2, dialogues=6, utterances=3)
    gaps = resampled(runs[:1], 40, 7) - resampled(runs[1:], 40, 7)
    first, second = (counts_of(*run) for run in runs)
    found = paired_difference(first, second, resampling=Resampling(draws=40, seed=7))
    assert (found.low, found.high) == pytest.approx(tuple(np.quantile(gaps, [0.025, 0.975])))
    assert found.value == pytest.approx(bootstrap_interval(first).value - bootstrap_interval(second).value)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 1000))
def test_the_interval_is_deterministic_and_holds_the_estimate(seed):
    counts = counts_of(*made_up(20, seed=seed))
    found = bootstrap_interval(counts)
    assert found == bootstrap_interval(counts)
    assert 0 <= found.low <= found.value <= found.high <= 1


def test_another_seed_draws_other_dialogues():
    counts = counts_of(*made_up(20))
    assert bootstrap_interval(counts) != bootstrap_interval(counts, resampling=Resampling(seed=1))


def test_several_scores_come_from_the_same_draws():
    counts = counts_of(*made_up(20))
    statistics = {"f1": weighted_f1, "macro": macro_f1}
    assert bootstrap_intervals(counts, statistics) == {k: bootstrap_interval(counts, s) for k, s in statistics.items()}


def test_the_interval_is_wider_for_fewer_dialogues():
    few, many = (bootstrap_interval(counts_of(*made_up(n))) for n in (10, 250))
    assert few.high - few.low > 2 * (many.high - many.low)


def test_dialogues_are_drawn_whole():
    """Utterances of one dialogue cannot vary; dialogues that are right or wrong throughout vary most."""
    labels, predicted = ["joy"] * 20, ["joy"] * 10 + ["anger"] * 10
    one = bootstrap_interval(counts_of(labels, predicted, ["d"] * 20))
    assert one.low == one.high == pytest.approx(f1_score(labels, predicted, average="weighted"))
    halves = bootstrap_interval(counts_of(labels, predicted, ["a"] * 10 + ["b"] * 10))
    assert (halves.low, halves.high) == (0, 1)


def test_a_setting_does_not_differ_from_itself():
    counts = Counts.stack([counts_of(*run) for run in several_runs(3, dialogues=15)])
    found = paired_difference(counts, counts)
    assert (found.value, found.low, found.high) == (0, 0, 0)


def test_swapping_the_sides_negates_the_difference():
    runs = several_runs(3, dialogues=15)
    first, second = (Counts.stack([counts_of(*run) for run in some]) for some in (runs[:2], runs[1:]))
    there, back = paired_difference(first, second), paired_difference(second, first)
    assert (back.value, back.low, back.high) == pytest.approx((-there.value, -there.high, -there.low))


def test_pairing_narrows_the_difference_of_runs_that_fail_on_the_same_dialogues():
    first, second = simulated(np.random.default_rng(3), dialogues=80, spread=0.3, runs=(1, 1))
    paired = paired_difference(first, second, accuracy)
    sides = [bootstrap_interval(side, accuracy) for side in (first, second)]
    unpaired = np.hypot(*(side.high - side.low for side in sides))
    assert paired.high - paired.low < 0.8 * unpaired


def test_more_variation_between_seeds_widens_the_difference():
    widths = []
    for seeds in (0.0, 0.1):
        first, second = simulated(np.random.default_rng(3), dialogues=80, spread=0.1, runs=(4, 4), seeds=seeds)
        found = paired_difference(first, second, accuracy)
        widths.append(found.high - found.low)
    assert widths[1] > 1.3 * widths[0]


def two_classes(hits, misses):
    """Counts of utterances of one class out of two, ``hits`` of which are right."""
    nothing, total = np.zeros_like(hits), hits + misses
    return Counts(np.stack([hits, nothing, hits, misses, total, nothing, total, hits, hits, nothing], axis=-1))


def simulated(draw, *, dialogues, spread, runs, seeds=0.0, right=(0.6, 0.6)):
    """Counts of two settings whose dialogues share how hard they are and whose runs differ by ``seeds``."""
    utterances = draw.integers(2, 12, dialogues)
    hardness = draw.uniform(-spread, spread, dialogues)
    sides = []
    for count, level in zip(runs, right, strict=True):
        lucky = draw.uniform(-seeds, seeds, count)
        hits = draw.binomial(utterances, np.clip(level + hardness + lucky[:, None], 0, 1))
        sides.append(two_classes(hits.astype(float), (utterances - hits).astype(float)))
    return sides


ROUNDS, FEW_DRAWS = 120, Resampling(draws=200)


@pytest.mark.parametrize("seeds", [0.05, 0.1])
def test_differences_of_95_percent_hold_the_truth_in_about_95_of_100_cases(seeds):
    """Accuracy of simulated settings of which one is better by 0.1."""
    held = 0
    for n in range(ROUNDS):
        sides = simulated(
            np.random.default_rng(n), dialogues=60, spread=0.2, runs=(4, 4), seeds=seeds, right=(0.6, 0.5)
        )
        found = paired_difference(*sides, accuracy, FEW_DRAWS)
        held += found.low <= 0.1 <= found.high
    assert held >= 0.9 * ROUNDS


def test_intervals_hold_the_truth_because_dialogues_are_drawn_whole():
    """The accuracy of one run is 0.6; with each utterance as its own dialogue the interval would be too narrow."""
    held = np.zeros(2)
    for n in range(ROUNDS):
        counts, _ = simulated(np.random.default_rng(n), dialogues=60, spread=0.35, runs=(1, 1))
        hits, total = int(counts.exact.sum()), int(counts.n.sum())
        right = np.repeat([1.0, 0.0], [hits, total - hits])
        for place, one in enumerate((counts, two_classes(right, 1 - right))):
            found = bootstrap_interval(one, accuracy, FEW_DRAWS)
            held[place] += found.low <= 0.6 <= found.high
    assert 0.88 * ROUNDS <= held[0] < ROUNDS
    assert held[1] < held[0] - 0.08 * ROUNDS


@pytest.mark.parametrize("shape", [(0, 7), (1, 0, 7), (2, 3, 4, 7), (7,)])
def test_what_are_no_counts_of_runs_and_dialogues_is_refused(shape):
    with pytest.raises(ValueError, match=r"Expected counts of runs and dialogues, \(S, D\), at least one of each, got"):
        bootstrap_interval(Counts(np.ones(shape)))


def test_the_interval_of_label_sets_is_that_of_a_plain_loop_over_drawn_dialogues():
    draw = np.random.default_rng(0)
    true, answers = (draw.random((24, len(CLASSES))) < 0.4 for _ in range(2))
    dialogues = [f"d{n // 3}" for n in range(24)]
    sets = [[[c for c, is_in in zip(CLASSES, row, strict=True) if is_in] for row in side] for side in (true, answers)]
    found = bootstrap_intervals(count_dialogues(*sets, dialogues, CLASSES), STATISTICS["multi"], Resampling(40, seed=7))
    times = np.random.default_rng(7).multinomial(8, np.full(8, 1 / 8), size=40)
    drawn = [np.repeat(np.arange(24), np.repeat(of, 3)) for of in times]
    expected = {
        "micro_f1": [f1_score(true[rows], answers[rows], average="micro") for rows in drawn],
        "macro_f1": [f1_score(true[rows], answers[rows], average="macro", zero_division=0) for rows in drawn],
        "exact_match": [(true[rows] == answers[rows]).all(1).mean() for rows in drawn],
        "hamming_loss": [(true[rows] != answers[rows]).mean() for rows in drawn],
    }
    for name, values in expected.items():
        assert (found[name].low, found[name].high) == pytest.approx(tuple(np.quantile(values, [0.025, 0.975])))


def test_sides_with_other_labels_are_not_compared():
    first = counts_of(*made_up(4))
    with pytest.raises(ValueError, match="same labels in every dialogue"):
        paired_difference(first, Counts(first.values[:3]))
    with pytest.raises(ValueError, match="same labels in every dialogue"):
        paired_difference(first, Counts(first.values[::-1]))


@pytest.mark.parametrize("settings_of_it", [{"draws": 0}, {"level": 1.0}, {"level": 0.0}])
def test_impossible_resampling_is_refused(settings_of_it):
    with pytest.raises(ValueError, match="Expected draws >= 1 and 0 < level < 1"):
        Resampling(**settings_of_it)
