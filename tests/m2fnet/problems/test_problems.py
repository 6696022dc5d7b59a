import pytest
import torch
from torch.nn import functional as F

from m2fnet.metrics.scores import STATISTICS
from m2fnet.problems import UNLABELLED, MultiLabel, SingleLabel, Stream, make_problem, problem_from_dict
from m2fnet.records import LabelSet, Utterance

NAMES = ("neutral", "joy", "anger")
ONE, SETS = LabelSet("toy", NAMES), LabelSet("toy", NAMES, "multi")
STREAMS = {"text": 4, "clip": Stream("visual", 6), "frames": Stream("visual", 5, is_sequence=True)}


def utterance(**fields):
    return Utterance("u", "toy", "train", "d", 0, **fields)


@pytest.mark.parametrize(("labels", "kind"), [(ONE, SingleLabel), (SETS, MultiLabel)])
def test_a_problem_survives_being_plain_data(labels, kind):
    problem = make_problem(labels, STREAMS)
    assert type(problem) is kind
    assert problem_from_dict(problem.as_dict()) == problem
    assert problem.widths == {"text": 4, "clip": 6, "frames": 5}
    assert problem.modalities == {"text": "text", "clip": "visual", "frames": "visual"}


def test_thresholds_travel_with_the_problem():
    problem = MultiLabel(SETS).with_thresholds([0.25, 0.5, 1.0])
    assert problem_from_dict(problem.as_dict()) == problem
    assert problem.decide(torch.tensor([0.25, 0.49, 0.99])).tolist() == [True, False, False]


def test_the_problem_of_an_older_checkpoint_is_read():
    content = {"label_set": {"name": "toy", "classes": NAMES, "kind": "single"}, "widths": {"text": 4, "audio": 2}}
    assert problem_from_dict(content) == make_problem(ONE, {"text": 4, "audio": 2})


@pytest.mark.parametrize(
    "change",
    [
        {"label_set": 3},
        {"label_set": {"name": "toy", "classes": NAMES, "kind": "some"}},
        {"label_set": {"name": "toy", "classes": ["joy"], "kind": "single"}},
        {"streams": [1]},
        {"streams": {"text": {"modality": "smell", "width": 3}}},
        {"streams": {"text": {"modality": "text", "width": 0}}},
        {"streams": {"text": {"modality": "text", "width": 2, "colour": 1}}},
    ],
)
def test_what_is_no_problem_is_refused(change):
    with pytest.raises((KeyError, TypeError, ValueError)):
        problem_from_dict({**make_problem(ONE, STREAMS).as_dict(), **change})


def test_targets_tell_unlabelled_from_none_of_them():
    one, sets = make_problem(ONE, {}), make_problem(SETS, {})
    assert [int(one.target(utterance(label=name))) for name in (*NAMES, None)] == [0, 1, 2, UNLABELLED]
    assert sets.target(utterance(labels=("anger", "neutral"))).tolist() == [1, 0, 1]
    assert sets.target(utterance(labels=())).tolist() == [0, 0, 0]
    assert sets.target(utterance()).tolist() == [UNLABELLED] * 3
    assert sets.target(utterance(label="joy")).tolist() == [0, 1, 0]


def test_the_losses_are_those_of_torch_over_the_labelled():
    logits = torch.randn(3, 3)
    target = torch.tensor([2, UNLABELLED, 0])
    torch.testing.assert_close(make_problem(ONE, {}).loss(logits, target), F.cross_entropy(logits, target) * 2)
    sets = torch.tensor([[1, 0, 1], [UNLABELLED] * 3, [0, 0, 0]])
    expected = F.binary_cross_entropy_with_logits(logits[[0, 2]], sets[[0, 2]].float()) * 2
    torch.testing.assert_close(make_problem(SETS, {}).loss(logits, sets), expected)


def test_the_most_probable_emotion_or_all_that_reach_their_threshold():
    logits = torch.tensor([[2.0, 1.0, -1.0], [-1.0, -2.0, -3.0]])
    one, sets = make_problem(ONE, {}), make_problem(SETS, {})
    assert one.probabilities(logits).sum(-1).tolist() == pytest.approx([1, 1])
    assert one.decide(one.probabilities(logits)).tolist() == [[True, False, False], [True, False, False]]
    assert sets.decide(sets.probabilities(logits)).tolist() == [[True, True, False], [False, False, False]]


@pytest.mark.parametrize("labels", [ONE, SETS])
def test_the_metrics_have_the_score_that_selects(labels):
    problem = make_problem(labels, {})
    metrics = problem.metrics()
    utterances = [utterance(label=name) for name in (*NAMES, None)]
    targets = torch.stack([problem.target(one) for one in utterances])
    metrics.update(torch.eye(4)[:, :3] * 8 - 4, targets)
    assert float(problem.scores(metrics)[problem.monitor]) == 1.0


def test_thresholds_are_chosen_on_dev_for_label_sets_only():
    sets = make_problem(SETS, {})
    metrics = sets.metrics()
    metrics.update(torch.tensor([[-3.0, 1.0, -1.0], [-4.0, 2.0, -2.0]]), torch.tensor([[1, 0, 0], [0, 1, 0]]))
    assert sets.scores(metrics)["micro_f1"] == 0.5
    chosen = sets.chosen_on_dev(metrics)
    assert chosen.scores(metrics)["micro_f1"] == 1.0
    one = make_problem(ONE, {})
    assert one.chosen_on_dev(one.metrics()) is one


def test_thresholds_of_the_wrong_number_or_size_are_refused():
    for wrong in ((0.5,), (0.5, 0.5, 1.5)):
        with pytest.raises(ValueError, match="Expected 3 thresholds from 0 to 1, one per emotion, but got"):
            MultiLabel(SETS, thresholds=wrong)


def test_a_stream_without_a_modality_is_refused():
    with pytest.raises(ValueError, match="Expected a modality out of text, audio, visual and a width of at least 1"):
        make_problem(ONE, {"clip": 3})


@pytest.mark.parametrize("kind", ["single", "multi"])
def test_the_score_that_selects_epochs_heads_the_reports(kind):
    problem = make_problem(LabelSet("two", ("anger", "joy"), kind), {"text": 4})
    assert next(iter(STATISTICS[kind])) == problem.monitor
