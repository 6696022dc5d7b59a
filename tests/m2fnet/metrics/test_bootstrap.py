import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import f1_score

from m2fnet.metrics.bootstrap import Resampling, bootstrap_interval, bootstrap_intervals, paired_difference
from m2fnet.metrics.scores import accuracy, confusion_tables, macro_f1, weighted_f1

CLASSES = ("anger", "fear", "joy", "neutral")


def made_up(dialogues, turns=5, right=0.6, seed=0):
    """Labels, answers of which about ``right`` are right, and dialogue names."""
    draw = np.random.default_rng(seed)
    labels = draw.choice(CLASSES, size=dialogues * turns)
    predicted = np.where(draw.random(len(labels)) < right, labels, draw.choice(CLASSES, size=len(labels)))
    return labels.tolist(), predicted.tolist(), [f"d{n // turns:03d}" for n in range(len(labels))]


def tables_of(*columns):
    return confusion_tables(*columns, CLASSES)


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
    runs = several_runs(count, dialogues=6, turns=3)
    expected = np.quantile(resampled(runs, draws=40, seed=7), [(1 - level) / 2, (1 + level) / 2])
    tables = np.stack([tables_of(*run) for run in runs])
    found = bootstrap_interval(tables, resampling=Resampling(draws=40, level=level, seed=7))
    assert (found.low, found.high) == pytest.approx(tuple(expected))
    whole = [f1_score(labels, predicted, average="weighted") for labels, predicted, _ in runs]
    assert found.value == pytest.approx(np.mean(whole))


def test_the_difference_is_that_of_a_plain_loop_over_the_same_dialogues():
    runs = several_runs(2, dialogues=6, turns=3)
    gaps = resampled(runs[:1], 40, 7) - resampled(runs[1:], 40, 7)
    first, second = (tables_of(*run) for run in runs)
    found = paired_difference(first, second, resampling=Resampling(draws=40, seed=7))
    assert (found.low, found.high) == pytest.approx(tuple(np.quantile(gaps, [0.025, 0.975])))
    assert found.value == pytest.approx(bootstrap_interval(first).value - bootstrap_interval(second).value)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 1000))
def test_the_interval_is_deterministic_and_holds_the_estimate(seed):
    tables = tables_of(*made_up(20, seed=seed))
    found = bootstrap_interval(tables)
    assert found == bootstrap_interval(tables)
    assert 0 <= found.low <= found.value <= found.high <= 1


def test_another_seed_draws_other_dialogues():
    tables = tables_of(*made_up(20))
    assert bootstrap_interval(tables) != bootstrap_interval(tables, resampling=Resampling(seed=1))


def test_several_scores_come_from_the_same_draws():
    tables = tables_of(*made_up(20))
    statistics = {"f1": weighted_f1, "macro": macro_f1}
    assert bootstrap_intervals(tables, statistics) == {k: bootstrap_interval(tables, s) for k, s in statistics.items()}


def test_the_interval_is_wider_for_fewer_dialogues():
    few, many = (bootstrap_interval(tables_of(*made_up(n))) for n in (10, 250))
    assert few.high - few.low > 2 * (many.high - many.low)


def test_dialogues_are_drawn_whole():
    """The same turns in one dialogue cannot vary, in dialogues that are right or wrong throughout they vary most."""
    labels, predicted = ["joy"] * 20, ["joy"] * 10 + ["anger"] * 10
    one = bootstrap_interval(tables_of(labels, predicted, ["d"] * 20))
    assert one.low == one.high == pytest.approx(f1_score(labels, predicted, average="weighted"))
    halves = bootstrap_interval(tables_of(labels, predicted, ["a"] * 10 + ["b"] * 10))
    assert (halves.low, halves.high) == (0, 1)


def test_a_setting_does_not_differ_from_itself():
    tables = np.stack([tables_of(*run) for run in several_runs(3, dialogues=15)])
    found = paired_difference(tables, tables)
    assert (found.value, found.low, found.high) == (0, 0, 0)


def test_swapping_the_sides_turns_the_difference_round():
    first, second = (np.stack([tables_of(*run) for run in several_runs(3, dialogues=15)[n:]]) for n in (0, 1))
    there, back = paired_difference(first[:2], second), paired_difference(second, first[:2])
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


def simulated(draw, *, dialogues, spread, runs, seeds=0.0, right=(0.6, 0.6)):
    """Tables of two settings whose dialogues share how hard they are and whose runs differ by ``seeds``."""
    turns = draw.integers(2, 12, dialogues)
    hardness = draw.uniform(-spread, spread, dialogues)
    sides = []
    for count, level in zip(runs, right, strict=True):
        lucky = draw.uniform(-seeds, seeds, count)
        hits = draw.binomial(turns, np.clip(level + hardness + lucky[:, None], 0, 1))
        tables = np.zeros((count, dialogues, 2, 2))
        tables[..., 0, 0], tables[..., 0, 1] = hits, turns - hits
        sides.append(tables)
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
    """The accuracy of one run is 0.6; with each turn as its own dialogue the interval would be too narrow."""
    held = np.zeros(2)
    for n in range(ROUNDS):
        tables, _ = simulated(np.random.default_rng(n), dialogues=60, spread=0.35, runs=(1, 1))
        hits, misses = (int(tables[0, :, 0, column].sum()) for column in (0, 1))
        turns = np.zeros((hits + misses, 2, 2))
        turns[:hits, 0, 0], turns[hits:, 0, 1] = 1, 1
        for place, one in enumerate((tables, turns)):
            found = bootstrap_interval(one, accuracy, FEW_DRAWS)
            held[place] += found.low <= 0.6 <= found.high
    assert 0.88 * ROUNDS <= held[0] < ROUNDS
    assert held[1] < held[0] - 0.08 * ROUNDS


@pytest.mark.parametrize("shape", [(2, 2), (3, 2, 4), (0, 2, 2), (1, 0, 2, 2)])
def test_what_is_no_stack_of_confusion_matrices_is_refused(shape):
    with pytest.raises(ValueError, match=r"Expected confusion matrices of shape \(runs, dialogues, classes, classes\)"):
        bootstrap_interval(np.ones(shape))


def test_sides_with_other_labels_are_not_compared():
    first = tables_of(*made_up(4))
    with pytest.raises(ValueError, match="same labels in every dialogue"):
        paired_difference(first, first[:3])
    with pytest.raises(ValueError, match="same labels in every dialogue"):
        paired_difference(first, first[::-1])


@pytest.mark.parametrize("settings_of_it", [{"draws": 0}, {"level": 1.0}, {"level": 0.0}])
def test_impossible_resampling_is_refused(settings_of_it):
    with pytest.raises(ValueError, match="Expected draws >= 1 and 0 < level < 1"):
        Resampling(**settings_of_it)
