"""What has to hold for the networks of other authors: padding, batches, missing streams, speakers, time."""

import math

import pytest
import torch
from made_up_batches import LABELS, WIDTHS, batch_of, without
from torch import nn
from torch.testing import assert_close

from dialog.fusion.pairs import same_speaker
from dialog.fusion.recurrence import gru_update, reversed_dialogues
from dialog.models.attention_fusion import AttentionFusion
from dialog.models.dag_erc import DagERC, predecessors
from dialog.models.dialogue_gcn import DialogueGCN, RelationalGraph
from dialog.models.dialogue_rnn import DialogueRNN
from dialog.models.late_fusion import LateFusion
from dialog.models.low_rank_fusion import LowRankFusion
from dialog.models.m2fnet import M2FNet
from dialog.models.mmgcn import MMGCN
from dialog.models.mult import MulT
from dialog.models.per_utterance import PerUtterance
from dialog.models.recurrent import Recurrent
from dialog.models.sdt import SDT, log_probabilities
from dialog.models.state_space import StateSpace, selective_scan
from m2fnet.problems import UNLABELLED, make_problem
from m2fnet.records import LabelSet

SMALL = {
    "dialogue_rnn": (DialogueRNN, {"global_width": 6, "party_width": 5, "emotion_width": 4, "hidden": 4}),
    "dialogue_gcn": (DialogueGCN, {"width": 5, "graph_width": 4, "hidden": 6, "past": 2, "future": 2}),
    "mmgcn": (MMGCN, {"width": 6, "graph_width": 4, "layers": 2}),
    "dag_erc": (DagERC, {"width": 6}),
    "sdt": (SDT, {"width": 8, "heads": 2, "layers": 2}),
    "mult": (MulT, {"width": 8, "heads": 2, "layers": 2}),
    "state_space": (StateSpace, {"width": 6, "heads": 3, "state": 4}),
    "attention_fusion": (AttentionFusion, {"hidden": 6}),
    "masked_attention_fusion": (AttentionFusion, {"hidden": 6, "weights": "masked_softmax"}),
    "low_rank_fusion": (LowRankFusion, {"hidden": 6, "rank": 2}),
}
PER_UTTERANCE = {"attention_fusion", "masked_attention_fusion", "low_rank_fusion"}  # these see no other utterance
CAUSAL_ONLY = {"dag_erc", *PER_UTTERANCE}
TWICE = torch.linspace(-1, 2, WIDTHS["text"])  # another embedding, also after layer norm


def network(name, streams=tuple(WIDTHS), labels=LABELS, **settings):
    torch.manual_seed(0)
    kind, small = SMALL[name]
    net = kind(make_problem(labels, {stream: WIDTHS[stream] for stream in streams}), **small | settings)
    for parameter in net.parameters():  # biases that start at zero hide what they should not
        nn.init.normal_(parameter, std=0.3)
    return net.eval()


def causal(name, **settings):
    return network(name, **settings, **({} if name in CAUSAL_ONLY else {"causal": True}))


def part_of(batch, dialogues, utterances):
    """Some dialogues, cut after some utterances."""
    return {
        key: {name: values[dialogues, :utterances] for name, values in value.items()}
        if isinstance(value, dict)
        else value[dialogues, :utterances]
        for key, value in batch.items()
        if key != "labelled"
    } | {"labelled": 1}


def spoken_by(batch, *speakers):
    return {**batch, "speaker": torch.tensor(speakers)}


@pytest.mark.parametrize("name", SMALL)
def test_padding_and_the_other_dialogues_change_no_logit(name):
    net, lengths = network(name), [3, 6, 1]
    together = batch_of(lengths, padded_to=9)
    scores = net(together).scores
    for b, length in enumerate(lengths):
        assert_close(net(part_of(together, slice(b, b + 1), length)).scores[0], scores[b, :length], atol=1e-5, rtol=0)
    order = [2, 0, 1]
    valid = together["valid"][order]
    assert_close(net(part_of(together, order, 9)).scores[valid], scores[order][valid])


@pytest.mark.parametrize("name", SMALL)
def test_the_values_of_what_is_missing_do_not_matter(name):
    net = network(name)
    for gone in (
        without(batch_of([4]), "audio", at=(0, 2)),
        without(batch_of([4]), "audio"),
        without(batch_of([4]), "text"),
    ):
        missing = next(stream for stream in WIDTHS if not gone["present"][stream][0, 2])
        scores = net(gone).scores
        gone["inputs"][missing][~gone["present"][missing]] = 7.0
        assert_close(net(gone).scores, scores)
        assert scores.isfinite().all()
        assert not torch.allclose(net(batch_of([4])).scores[0, 2], scores[0, 2], atol=1e-4)


@pytest.mark.parametrize("name", SMALL)
def test_an_utterance_without_anything_gives_finite_scores_and_gradients(name):
    net = network(name, input_norm=False).train()
    output = net(without(batch_of([4, 2]), *WIDTHS, at=(0, slice(0, 2))))
    (output.scores.square().sum() + sum(output.terms.values())).backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in net.parameters())
    assert net.eval()(without(batch_of([3]), *WIDTHS)).scores.isfinite().all()


@pytest.mark.parametrize("name", sorted(PER_UTTERANCE))
def test_only_the_utterance_itself_is_seen(name):
    net, changed = network(name), batch_of([6])
    changed["inputs"]["text"][0, 3] *= TWICE
    apart = (net(batch_of([6])).scores - net(changed).scores).abs().amax(-1)[0]
    assert (apart > 1e-5).tolist() == [False, False, False, True, False, False]


@pytest.mark.parametrize("name", sorted(SMALL.keys() - PER_UTTERANCE))
def test_other_utterances_are_seen_and_later_ones_only_if_not_causal(name):
    changed = batch_of([6])
    changed["inputs"]["text"][0, 3] *= TWICE
    for net, sees_later in ((network(name), name not in CAUSAL_ONLY), (causal(name), False)):
        apart = (net(batch_of([6])).scores - net(changed).scores).abs().amax(-1)[0]
        assert bool((apart[:3] > 1e-5).any()) is sees_later
        assert bool((apart[4:] > 1e-5).any())


@pytest.mark.parametrize("name", SMALL)
def test_a_causal_network_is_the_same_before_the_later_utterances_are_said(name):
    net, whole = causal(name), batch_of([6])
    assert_close(net(part_of(whole, slice(0, 1), 4)).scores, net(whole).scores[:, :4], atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", SMALL)
def test_relabelling_the_speakers_changes_no_logit(name):
    net, batch = network(name), batch_of([6, 6])
    original = net(spoken_by(batch, [0, 1, 0, 2, -1, 1], [0, 0, 1, -1, -1, 0])).scores
    assert torch.equal(net(spoken_by(batch, [2, 0, 2, 1, -1, 0], [5, 5, 3, -1, -1, 5])).scores, original)


@pytest.mark.parametrize("name", sorted(SMALL.keys() - {"mult", *PER_UTTERANCE}))  # these do not read speakers
def test_who_speaks_matters(name):
    net, batch = network(name), batch_of([5])
    alternating, one, unknown = [0, 1, 0, 1, 0], [0] * 5, [-1] * 5
    scores = [net(spoken_by(batch, speakers)).scores for speakers in (alternating, one, unknown)]
    assert not torch.allclose(scores[0], scores[1], atol=1e-4)
    assert not torch.allclose(scores[0], scores[2], atol=1e-4)
    assert scores[2].isfinite().all()


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("streams", [("text",), ("audio", "visual"), ("text", "audio", "visual")], ids="+".join)
def test_every_weight_gets_a_gradient(name, streams):
    if name == "masked_attention_fusion" and len(streams) == 1:
        pytest.skip("the softmax of one stream is 1")
    net, batch = network(name, streams).train(), batch_of([5, 3], streams)
    output = net(batch)
    (output.scores[batch["valid"]].square().sum() + sum(output.terms.values())).backward()
    for weight, parameter in net.named_parameters():
        assert parameter.grad is not None, weight
        assert parameter.grad.isfinite().all(), weight
        assert bool(parameter.grad.any()), weight


@pytest.mark.parametrize("name", SMALL)
def test_a_step_against_the_gradient_of_sets_of_emotions_lowers_their_loss(name):
    labels = LabelSet(LABELS.name, LABELS.classes, "multi")
    net, batch = network(name, labels=labels), batch_of([4, 3])
    target = torch.randint(0, 2, (2, 4, 3)).masked_fill(~batch["valid"][..., None], UNLABELLED).flatten(0, 1)
    losses = []
    for _ in range(2):
        losses.append(make_problem(labels, WIDTHS).loss(net(batch).scores.flatten(0, 1), target))
        net.zero_grad()
        losses[-1].backward()
        torch.optim.SGD(net.parameters(), lr=1e-3).step()
    assert losses[1] < losses[0]


@pytest.mark.parametrize("name", SMALL)
def test_settings_that_make_no_sense_are_named(name):
    with pytest.raises(ValueError, match=r"to be at least 1.* but got"):
        network(name, **{next(iter(SMALL[name][1])): 0})


def test_weights_of_sdt_that_make_no_sense_are_named():
    with pytest.raises(ValueError, match=r"`temperature` to be above 0, but got 1\.0, 1\.0 and 0"):
        network("sdt", temperature=0)


def test_the_loop_of_a_gru_is_that_of_torch():
    cell, x, h = nn.GRUCell(5, 4), torch.randn(3, 5), torch.randn(3, 4)
    from_input = x @ cell.weight_ih.T + cell.bias_ih
    assert_close(gru_update(from_input, h @ cell.weight_hh.T + cell.bias_hh, h), cell(x, h))


def test_reversing_twice_changes_nothing():
    valid = batch_of([3, 5])["valid"]
    values = torch.arange(10).view(2, 5)
    assert reversed_dialogues(values, valid).tolist() == [[2, 1, 0, 3, 4], [9, 8, 7, 6, 5]]
    assert torch.equal(reversed_dialogues(reversed_dialogues(values, valid), valid), values)


def test_dialogue_rnn_follows_the_equations_of_the_paper():
    net = network("dialogue_rnn", ("text",), causal=True, attention=False)
    batch = spoken_by(batch_of([4], ("text",)), [0, 1, 0, 1])
    one, u = net.directions["forwards"], net.inputs(batch)[0]
    q, g, e = torch.zeros(2, 5), [], torch.zeros(1, 4)
    for t, speaker in enumerate([0, 1, 0, 1]):
        own = q[speaker][None]
        g.append(one.global_cell(torch.cat([u[t][None], own], -1), g[-1] if g else None))
        past = torch.cat(g[:-1]) if t else torch.zeros(1, 6)
        c = ((u[t] @ one.attention.weight.T) @ past.T).softmax(-1) @ past
        q[speaker] = one.party_cell(torch.cat([u[t], c])[None], own)[0]
        _, e = one.emotion(q[speaker][None], e)
        assert_close(net.classify(e)[0], net(batch).scores[0, t])


def test_dag_erc_follows_the_equations_of_the_paper():
    net = network("dag_erc", ("text",))
    batch = spoken_by(batch_of([5], ("text",)), [0, 1, 1, 0, 1])
    below = torch.randn(5, 6)
    layer, hears = net.layers[0], [[], [0], [1], [0, 1, 2], [2, 3]]
    assert [row.nonzero().flatten().tolist() for row in predecessors(batch["speaker"], 1)[0]] == hears
    states = []
    for i, heard in enumerate(hears):
        message = torch.zeros(6)
        if heard:
            above = torch.stack([states[j] for j in heard])
            same, other = (above @ layer.relations.weight.T).chunk(2, -1)
            is_same = torch.tensor([batch["speaker"][0, j] == batch["speaker"][0, i] for j in heard])[:, None]
            message = (above @ layer.attention.weight[0]).softmax(-1) @ torch.where(is_same, same, other)
        states.append(layer.node_cell(below[i], message) + layer.context_cell(message, below[i]))
    same = same_speaker(batch["speaker"])
    assert_close(layer(below[None], predecessors(batch["speaker"], 1), same)[0], torch.stack(states))


def test_dialogue_gcn_follows_the_equations_of_the_paper():
    torch.manual_seed(0)
    graph, g, speaker = RelationalGraph(4, 3, past=2, future=1), torch.randn(5, 4), [0, 1, 0, 0, 1]
    weights = graph.relations.weight.view(4, 3, 4)
    near = [[j for j in range(5) if i - 2 <= j <= i + 1] for i in range(5)]
    alpha = [dict(zip(near[i], (graph.edges(g[i]) @ g[near[i]].T).softmax(-1), strict=True)) for i in range(5)]
    first = []
    for i in range(5):
        h = alpha[i][i] * graph.itself(g[i])
        kind = {j: 2 * (speaker[i] != speaker[j]) + (j > i) for j in near[i]}
        for j in near[i]:
            h = h + alpha[i][j] / list(kind.values()).count(kind[j]) * weights[kind[j]] @ g[j]
        first.append(h.relu())
    first = torch.stack(first)
    second = [graph.second(first[near[i]]).sum(0) + alpha[i][i] * graph.second_itself(first[i]) for i in range(5)]
    found = graph(g[None], torch.tensor([speaker]), torch.ones(1, 5, dtype=torch.bool))
    assert_close(found[0], torch.stack(second).relu())


def test_the_graph_of_mmgcn_is_the_normalised_adjacency_of_all_nodes():
    net, batch = network("mmgcn", speaker=False), without(batch_of([3]), "audio", at=(0, 1))
    graph, present = net.graph, torch.stack(list(batch["present"].values()), 1)
    nodes = torch.randn(1, 3, 3, 6)
    flat, there = nodes[0].flatten(0, 1), present[0].flatten()
    cosine = torch.nn.functional.cosine_similarity(flat[:, None], flat[None], dim=-1)
    stream, utterance = torch.arange(9) // 3, torch.arange(9) % 3
    joined = (stream[:, None] == stream) | (utterance[:, None] == utterance)
    adjacency = (1 - torch.arccos(0.99999 * cosine) / math.pi) * (joined & there & there[:, None])
    degree = adjacency.sum(1).clamp(min=1e-6).rsqrt()
    first = h = graph.project(flat).relu()
    for number, layer in enumerate(graph.layers, start=1):
        beta = math.log(0.5 / number + 1)
        mixed = 0.9 * (degree[:, None] * adjacency * degree) @ h + 0.1 * first
        h = (beta * mixed @ layer.weight.T + (1 - beta) * mixed).relu()
    found = graph(nodes, present, causal=False)[0].flatten(0, 1)
    assert_close(found[there], h[there], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("chunk", [1, 3, 64])
def test_the_state_space_is_its_recurrence(chunk):
    draw = torch.Generator().manual_seed(0)
    x, write, read = (torch.randn(2, 7, *rest, generator=draw) for rest in ((3, 2), (4,), (4,)))
    decay = -torch.rand(2, 7, 3, generator=draw)
    state, expected = torch.zeros(2, 3, 2, 4), []
    for t in range(7):
        state = decay[:, t].exp()[..., None, None] * state + x[:, t, :, :, None] * write[:, t, None, None]
        expected.append((state * read[:, t, None, None]).sum(-1))
    assert_close(selective_scan(x, decay, write, read, chunk), torch.stack(expected, 1))


@pytest.mark.parametrize("kind", ["single", "multi"])
def test_the_students_of_sdt_add_their_losses_in_training_only(kind):
    labels = LabelSet(LABELS.name, LABELS.classes, kind)
    net, batch = network("sdt", labels=labels, students=2.0, distillation=0.5), batch_of([3, 2])
    if kind == "multi":
        batch["label"] = torch.randint(0, 2, (2, 3, 3)).masked_fill(~batch["valid"][..., None], UNLABELLED)
    assert net(batch).terms == {}
    net.train()
    for module in net.modules():
        module.p = 0.0 if isinstance(module, nn.Dropout) else getattr(module, "p", None)
    whole, gone = net(batch).terms, net(without(batch, "audio")).terms
    assert set(whole) == {"students", "distillation"}
    assert all(term.ndim == 0 and term > 0 for term in whole.values())
    assert gone["students"] < whole["students"]  # a stream that is absent has nothing to learn
    assert network("sdt", students=0.0, distillation=0.0).train()(batch_of([2])).terms == {}


def test_outcomes_of_both_kinds_of_problem_have_probabilities_that_sum_to_one():
    scores = torch.randn(2, 3, 4)
    for kind in ("single", "multi"):
        problem = make_problem(LabelSet("four", tuple("abcd"), kind), {"text": 2})
        assert_close(
            log_probabilities(problem, scores).exp().sum(-1), torch.ones(()).expand(2, 3, 1 if kind == "single" else 4)
        )


# Every label is that of the last utterance by somebody else, so an utterance itself says nothing about it.


def overheard(dialogues, seed, utterances=8):
    """A batch in which the label of an utterance shows in the embedding of the last one by another speaker."""
    draw = torch.Generator().manual_seed(seed)
    batch = batch_of([utterances] * dialogues, ("text",), seed=seed)
    shown = torch.randint(3, (dialogues, utterances), generator=draw)
    batch["inputs"]["text"] = 0.3 * batch["inputs"]["text"] + 2 * torch.eye(WIDTHS["text"])[shown]
    speaker = (torch.rand(dialogues, utterances, generator=draw) < 0.6).long().cumsum(1) % 2
    place = torch.arange(utterances)
    other = (speaker[:, :, None] != speaker[:, None]) & (place < place[:, None])
    last = torch.where(other, place, -1).amax(-1)
    batch["label"] = torch.where(last >= 0, shown.gather(1, last.clamp(min=0)), -100)
    return {**batch, "speaker": speaker}


def accuracy_after_training(net, steps=50):
    problem = make_problem(LABELS, {"text": WIDTHS["text"]})
    torch.manual_seed(1)
    optimizer = torch.optim.Adam(net.train().parameters(), lr=0.01)
    for step in range(steps):
        batch = overheard(32, seed=step)
        output = net(batch)
        loss = problem.loss(output.scores.flatten(0, 1), batch["label"].flatten()) / (batch["label"] >= 0).sum()
        optimizer.zero_grad()
        (loss + sum(output.terms.values())).backward()
        optimizer.step()
    batch = overheard(64, seed=10_000)
    labelled = batch["label"] >= 0
    with torch.no_grad():
        return (net.eval()(batch).scores.argmax(-1) == batch["label"])[labelled].float().mean().item()


LEARNERS = {
    "dialogue_rnn": (DialogueRNN, {"global_width": 24, "party_width": 24, "emotion_width": 24, "hidden": 24}),
    "dialogue_gcn": (DialogueGCN, {"width": 24, "layers": 1, "graph_width": 24, "hidden": 24, "dropout": 0.0}),
    "mmgcn": (MMGCN, {"width": 32, "recurrent_layers": 1, "graph_width": 16, "layers": 2, "dropout": 0.0}),
    "dag_erc": (DagERC, {"width": 32, "layers": 1}),
    "sdt": (SDT, {"width": 32, "heads": 4, "dropout": 0.0}),
    "mult": (MulT, {"width": 32, "heads": 4, "layers": 1}),
    "state_space": (StateSpace, {"width": 32, "layers": 1, "heads": 4, "state": 8, "dropout": 0.0}),
    "recurrent": (Recurrent, {"width": 32, "dropout": 0.0}),
    "late_fusion": (LateFusion, {"width": 32, "dropout": 0.0}),
    "m2fnet": (M2FNet, {"width": 32, "hidden": 32, "dropout": 0.0, "position": "sinusoidal"}),
}


@pytest.fixture(scope="module")
def linear_accuracy():
    """Of the classifier that sees no other utterance: one third by chance."""
    torch.manual_seed(0)
    accuracy = accuracy_after_training(PerUtterance(make_problem(LABELS, {"text": WIDTHS["text"]}), dropout=0.0))
    assert accuracy < 0.45
    return accuracy


@pytest.mark.parametrize("name", LEARNERS)
def test_a_network_of_the_dialogue_learns_what_another_speaker_said(name, linear_accuracy):
    torch.manual_seed(0)
    kind, settings = LEARNERS[name]
    net = kind(make_problem(LABELS, {"text": WIDTHS["text"]}), **settings)
    assert accuracy_after_training(net) > linear_accuracy + 0.2
