"""`ExtractorTask` and `ExtractorData` without a command: terms, rates, freezing, scoring, precision."""

import math

import pytest
import pytorch_lightning as pl
import torch
from sklearn.metrics import f1_score
from toy_network import ToyNetwork

from extractors.data import ExtractorData
from extractors.evaluation.embedding_scores import Embedded, evaluate_embeddings, join, nearest_neighbour
from extractors.extraction.embedding import place_utterances
from extractors.task import ExtractorTask, LossWeights
from m2fnet.errors import RunError, UsageError
from m2fnet.losses.class_weights import class_weights
from m2fnet.losses.covariance import covariance_penalty
from m2fnet.losses.mixup import draw_mixture
from m2fnet.losses.supervised_contrastive import supervised_contrastive
from m2fnet.losses.triplet import TripletLoss
from m2fnet.losses.variance import variance_penalty
from m2fnet.problems import SingleLabel, make_problem
from m2fnet.records import LabelSet

CLASSES = ("joy", "anger", "neutral")
PROBLEM = make_problem(LabelSet("tiny", CLASSES), {})
ONLY = {"cross_entropy": 0.0, "triplet": 0.0, "covariance": 0.0, "variance": 0.0}
M2FNET = LossWeights()


def sgd(parameters):
    return torch.optim.SGD(parameters, lr=0.1)


def gently(parameters):
    return torch.optim.SGD(parameters, lr=1e-4)


def trainer_of(folder, **settings):
    quiet = {"enable_progress_bar": False, "enable_model_summary": False, "logger": False, "num_sanity_val_steps": 0}
    defaults = {"max_epochs": 1, "accelerator": "cpu", "enable_checkpointing": False, "default_root_dir": folder}
    return pl.Trainer(**{**quiet, **defaults, **settings})


@pytest.fixture
def fit(corpus, tmp_path):
    """``fit(task, data={...}, max_epochs=2)`` trains on the tiny corpus and returns the trainer."""

    def run(task, data=None, **settings):
        module = ExtractorData(str(corpus.root / "manifest"), **{"batch_size": 6, "in_memory": True, **(data or {})})
        torch.manual_seed(0)
        trainer = trainer_of(tmp_path, **settings)
        trainer.fit(task, module)
        return trainer

    return run


def batch_of(n=12, seed=0):
    generator = torch.Generator().manual_seed(seed)
    counts = torch.randint(9, (n, 26), generator=generator).float()
    return {
        "inputs": {"counts": counts},
        "label": torch.arange(n) % 3,
        "row": torch.arange(n),
        "missing": {},
        "cut": {},
    }


def built(**settings):
    task = ExtractorTask(ToyNetwork, **settings)
    torch.manual_seed(0)
    task.build(PROBLEM)
    return task


@pytest.mark.filterwarnings("ignore:.*trainer. reference is not registered")
class TestLoss:
    @pytest.mark.parametrize(
        ("as_printed", "printed"),
        [(False, ()), (True, ("triplet", "covariance", "variance")), (["triplet"], ("triplet",)), (["variance"],) * 2],
    )
    def test_it_is_the_weighted_sum_of_its_terms(self, as_printed, printed):
        task, batch = built(losses=LossWeights(0.5, 20, 5, 1), as_printed=as_printed), batch_of()
        z = task(batch["inputs"])
        expected = (
            0.5 * torch.nn.functional.cross_entropy(task.head(z), batch["label"])
            + 20 * TripletLoss("semi-hard", as_printed="triplet" in printed)(z, batch["label"])[0]
            + 5 * 3 * covariance_penalty(z, as_printed="covariance" in printed)  # over anchors, positives and negatives
            + 1 * 3 * variance_penalty(z, as_printed="variance" in printed)
        )
        torch.testing.assert_close(task.training_step(batch, 0), expected)

    def test_balanced_terms_have_the_asked_share_of_the_gradient_of_cross_entropy(self):
        losses, batch = LossWeights(0.5, 20, 5, 1), batch_of()
        z = built()(batch["inputs"]).detach().requires_grad_()

        def gradient(task):
            return torch.autograd.grad(task._loss(z, batch), z)[0]

        own = gradient(built(losses=LossWeights(**{**ONLY, "cross_entropy": 0.5})))
        rest = gradient(built(losses=losses)) - own
        balanced = gradient(built(losses=losses, balance=0.3)) - own
        assert float(balanced.norm()) == pytest.approx(0.3 * float(own.norm()), rel=1e-4)
        torch.testing.assert_close(balanced / balanced.norm(), rest / rest.norm())

    def test_a_projector_is_between_the_embeddings_and_all_terms_but_cross_entropy(self):
        task = built(losses=LossWeights(1.0, 0, 0, 0, supervised_contrastive=2.0), projector=4, temperature=0.5)
        batch = batch_of()
        z = task(batch["inputs"])
        rows = torch.nn.functional.normalize(task.projector(z))
        assert rows.shape == (12, 4)
        expected = torch.nn.functional.cross_entropy(task.head(z), batch["label"]) + 2.0 * supervised_contrastive(
            rows, batch["label"], temperature=0.5
        )
        torch.testing.assert_close(task.training_step(batch, 0), expected)
        assert set(built().state_dict()) == {name for name in task.state_dict() if not name.startswith("projector")}

    def test_a_weight_of_0_keeps_a_term_from_the_network(self):
        gradients = {}
        for name in ("cross_entropy", "triplet", "covariance", "variance", "supervised_contrastive"):
            task = built(losses=LossWeights(**{**ONLY, name: 1.0}))
            task.training_step(batch_of(), 0).backward()
            gradients[name] = task.net.projector[1].weight.grad
            assert task.head.weight.grad is not None
        assert len({tuple(g.flatten().tolist()) for g in gradients.values()}) == 5

    def test_without_cross_entropy_the_head_learns_and_the_network_does_not_hear_of_it(self):
        variance_only, all_terms = built(losses=LossWeights(**{**ONLY, "variance": 1.0})), built(losses=LossWeights())
        with torch.no_grad():
            variance_only.head.weight.mul_(7)
        twin = built(losses=LossWeights(**{**ONLY, "variance": 1.0}))
        for task in (variance_only, twin, all_terms):
            task.training_step(batch_of(), 0).backward()
        assert torch.equal(variance_only.net.projector[1].weight.grad, twin.net.projector[1].weight.grad)
        assert torch.equal(twin.head.weight.grad, all_terms.head.weight.grad)  # whatever the network learns by

    @pytest.mark.parametrize(
        ("losses", "settings"),
        [
            (M2FNET, {}),
            (LossWeights(cross_entropy=1.0), {}),
            (LossWeights(1.0, 20, 5, 1, 1), {"balance": 0.3, "projector": 4}),
            (LossWeights(1.0, 20, 5, 1, 1), {"balance": 0.3, "mixup": 0.4}),
        ],
    )
    def test_a_batch_of_one_or_of_one_class_has_a_finite_gradient(self, losses, settings):
        task = built(losses=losses, **settings)
        for batch in (batch_of(2), {**batch_of(4), "label": torch.zeros(4, dtype=torch.long)}):
            task.training_step(batch, 0).backward()
        task.net.eval()
        one = {name: value[:1] if name in ("label", "row") else value for name, value in batch_of().items()}
        task.training_step({**one, "inputs": {"counts": torch.ones(1, 26)}}, 0).backward()
        assert all(torch.isfinite(p.grad).all() for p in task.parameters() if p.grad is not None)

    def test_rare_emotions_weigh_more_in_the_cross_entropy_only(self):
        task, batch = built(losses=LossWeights(cross_entropy=1.0)), batch_of()
        task.class_weights = torch.tensor([1.0, 2.0, 3.0])
        z = task(batch["inputs"])
        head = torch.nn.functional.cross_entropy(task.head(z), batch["label"], reduction="none")
        exact = 20 * TripletLoss()(z, batch["label"])[0] + 15 * covariance_penalty(z) + 3 * variance_penalty(z)
        expected = exact + (task.class_weights[batch["label"]] * head).mean()
        torch.testing.assert_close(task.training_step(batch, 0), expected)

    def test_the_head_learns_the_labels_of_both_parts_of_a_mixture_and_other_terms_whole_embeddings(self):
        task, batch = built(losses=LossWeights(1.0, 20, 0, 0), mixup=0.4, label_smoothing=0.1), batch_of()
        task.class_weights = torch.tensor([1.0, 2.0, 3.0])
        torch.manual_seed(2)
        share, partners = draw_mixture(12, 0.4)
        assert 0.1 < share < 0.9
        z = task(batch["inputs"]).detach().requires_grad_()
        logits = task.head(share * z + (1 - share) * z[partners])
        emotions = torch.nn.functional.one_hot(batch["label"], 3).float()
        weighed = task.class_weights * (0.9 * emotions + 0.1 / 3)
        soft = share * weighed + (1 - share) * weighed[partners]
        mixture = -(soft * logits.log_softmax(1)).sum(1).mean()
        expected = mixture + 20 * TripletLoss()(z, batch["label"])[0]
        torch.manual_seed(2)
        found = task._loss(z, batch)
        torch.testing.assert_close(found, expected)
        (gradient,), (wanted,) = (torch.autograd.grad(loss, z) for loss in (found, expected))
        torch.testing.assert_close(gradient, wanted)

    @pytest.mark.parametrize("share", [0.0, 1.0])
    def test_a_mixture_of_one_part_is_that_utterance(self, share, monkeypatch):
        partners = torch.arange(12).roll(1)
        monkeypatch.setattr("extractors.task.draw_mixture", lambda count, alpha: (share, partners[:count]))
        only_head = LossWeights(**{**ONLY, "cross_entropy": 1.0})
        plain, mixing, batch = built(losses=only_head), built(losses=only_head, mixup=0.4), batch_of()
        losses = [task.training_step(batch, 0) for task in (plain, mixing)]
        for loss in losses:
            loss.backward()
        torch.testing.assert_close(*losses)  # with share 0 the same rows in another order
        torch.testing.assert_close(plain.net.letters[0].weight.grad, mixing.net.letters[0].weight.grad)

    def test_without_mixup_nothing_is_drawn(self):
        for task, draws in ((built(losses=M2FNET), False), (built(losses=LossWeights(1.0), mixup=0.4), True)):
            state = torch.get_rng_state()
            task.training_step(batch_of(), 0)
            assert torch.equal(state, torch.get_rng_state()) != draws

    @pytest.mark.parametrize("mixup", [-0.1, math.inf, math.nan])
    def test_a_mixup_that_is_no_parameter_of_a_beta_distribution_is_refused(self, mixup):
        with pytest.raises(UsageError, match=rf"Expected a model\.mixup of at least 0, but got {mixup}"):
            ExtractorTask(ToyNetwork, losses=LossWeights(1.0), mixup=mixup)

    def test_a_batch_in_which_nothing_can_be_read_is_passed_over(self):
        assert built().training_step({**batch_of(), "inputs": None}, 0) is None

    def test_the_terms_are_computed_in_full_precision(self):
        task, batch = built(losses=M2FNET), batch_of()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss = task.training_step(batch, 0)
            z = task(batch["inputs"])
        assert z.dtype == torch.bfloat16
        z = z.float()
        exact = 20 * TripletLoss()(z, batch["label"])[0] + 15 * covariance_penalty(z) + 3 * variance_penalty(z)
        head = torch.nn.functional.cross_entropy(task.head(z), batch["label"])
        torch.testing.assert_close(loss, exact + head)


def test_every_term_is_logged_by_its_name_and_batches_without_a_triplet_are_counted(fit):
    trainer = fit(ExtractorTask(ToyNetwork, losses=LossWeights(cross_entropy=1.0)))
    logged = {name.removeprefix("train/") for name in trainer.callback_metrics if name.startswith("train/")}
    terms = {"cross_entropy", "triplet", "covariance", "variance"}
    assert logged == {*terms, "loss", "triplets", "batches_without_triplet"}
    trainer = fit(ExtractorTask(ToyNetwork), data={"batch_size": 2, "in_memory": False})
    assert trainer.callback_metrics["train/batches_without_triplet"] == 9  # pairs give no triplet, 18 utterances
    assert trainer.callback_metrics["train/triplet"] == 0


def test_class_weights_are_those_of_the_training_split(fit):
    task = ExtractorTask(ToyNetwork, class_weight=0.5)
    trainer = fit(task)
    labels = [task.problem.classes[n] for n in trainer.datamodule.utterances("train").labels]
    assert torch.equal(task.class_weights, class_weights(labels, task.problem.classes, 0.5))


def test_class_weights_are_refused_where_they_would_count_twice_or_make_no_sense(fit):
    with pytest.raises(UsageError, match=r"data\.per_class both even out"):
        fit(ExtractorTask(ToyNetwork, class_weight=0.5), data={"per_class": 2})
    with pytest.raises(UsageError, match=r"model\.class_weight is -1, expected 0 to 1"):
        ExtractorTask(ToyNetwork, class_weight=-1)


def test_the_three_scores_of_dev_are_logged_and_the_one_that_selects_is_named(fit):
    for scorer in ("head", "nearest", "probe"):
        metrics = fit(ExtractorTask(ToyNetwork, scorer=scorer)).callback_metrics
        assert metrics[f"dev/{SingleLabel.monitor}"] == metrics[f"dev/{scorer}_f1"]
        assert all(0 <= metrics[f"dev/{name}_f1"] <= 1 for name in ("head", "nearest", "probe"))


def test_references_of_one_emotion_cannot_feed_the_probe_that_selects(fit):
    with pytest.raises(RunError, match=r"scorer is 'probe', which needs two emotions .* raise data\.references"):
        fit(ExtractorTask(ToyNetwork, scorer="probe"), data={"references": 1})


def test_frozen_parts_learn_from_the_given_epoch_on(fit):
    tasks = {}
    for epochs in (1, 2):
        tasks[epochs] = ExtractorTask(ToyNetwork, optimizer=sgd, freeze_epochs=1)
        torch.manual_seed(7)
        tasks[epochs].build(PROBLEM)
        start = {name: value.clone() for name, value in tasks[epochs].net.letters.state_dict().items()}
        head = tasks[epochs].net.projector[1].weight.clone()
        fit(tasks[epochs], max_epochs=epochs)
        now = tasks[epochs].net.letters.state_dict()  # statistics of the batches as well as weights
        assert all(torch.equal(now[name], start[name]) for name in start) == (epochs == 1)
        assert not torch.equal(tasks[epochs].net.projector[1].weight, head)


class PartlyFixed(ToyNetwork):
    """A network that keeps a part of its backbone fixed permanently."""

    def __init__(self):
        super().__init__()
        self.letters[0].requires_grad_(False)


def test_thawing_does_not_touch_what_the_network_keeps_fixed(fit):
    task = ExtractorTask(PartlyFixed, freeze_epochs=1)
    fit(task, max_epochs=2)
    assert [p.requires_grad for p in task.net.letters.parameters()] == [False, False, True, True]


class Rates(pl.Callback):
    def __init__(self):
        self.seen = []

    def on_train_batch_start(self, trainer, *_):
        self.seen.append([group["lr"] for group in trainer.optimizers[0].param_groups])


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, [0.1] * 6),
        ({"warmup": 0.5}, [0.1 / 3, 0.2 / 3, 0.1, 0.1, 0.1, 0.1]),
        ({"decay": "linear"}, [0.1 * (6 - n) / 6 for n in range(6)]),
        ({"warmup": 0.3, "decay": "linear"}, [0.05, 0.1, 0.1, 0.075, 0.05, 0.025]),
        ({"decay": "cosine"}, [0.1 * (1 + math.cos(math.pi * n / 6)) / 2 for n in range(6)]),
    ],
)
def test_rates_rise_and_fall_by_steps(fit, settings, expected):
    rates = Rates()
    fit(ExtractorTask(ToyNetwork, optimizer=sgd, **settings), max_epochs=2, callbacks=[rates])
    assert [rate for (rate, _) in rates.seen] == pytest.approx(expected)
    assert all(rate == backbone for rate, backbone in rates.seen)


def test_the_pretrained_part_has_its_own_rate_on_the_same_schedule(fit):
    rates = Rates()
    task = ExtractorTask(ToyNetwork, optimizer=sgd, backbone_lr=0.01, decay="linear")
    trainer = fit(task, callbacks=[rates])
    assert [backbone / rate for rate, backbone in rates.seen] == pytest.approx([0.1] * 3)
    groups = trainer.optimizers[0].param_groups
    assert {id(p) for p in groups[1]["params"]} == {id(p) for p in task.net.letters.parameters()}
    assert sum(len(group["params"]) for group in groups) == len(list(task.parameters()))


def test_accumulated_batches_make_one_step(fit):
    assert fit(ExtractorTask(ToyNetwork), accumulate_grad_batches=3).global_step == 1


def test_half_precision_trains_and_judges(fit):
    task = ExtractorTask(ToyNetwork)
    trainer = fit(task, precision="bf16-mixed")
    assert task.judged["dev"].embedding.dtype == torch.float32
    assert math.isfinite(trainer.callback_metrics["train/loss"])


class NotesCompiling(ToyNetwork):
    """Notes whether the compiler reads the method that it shall leave as it is, and the one that it shall not."""

    uncompiled = ("left",)

    def __init__(self):
        super().__init__()
        self.found = {}

    def left(self):
        self.found["left"] = torch.compiler.is_compiling()

    def forward(self, batch):
        self.found["forward"] = torch.compiler.is_compiling()
        self.left()
        return super().forward(batch)


@pytest.mark.slow
def test_the_compiler_leaves_the_methods_that_a_network_names(corpus):
    net = NotesCompiling()
    samples = [net.preprocess(placed) for placed in place_utterances(corpus)[:2]]
    net.compile(backend="eager")
    net(net.collate(samples))
    assert net.found == {"forward": True, "left": False}


@pytest.mark.slow  # the compiler takes its time
def test_a_compiled_network_learns_the_same_and_keeps_its_names(fit):
    plain, compiled = (ExtractorTask(ToyNetwork, optimizer=gently, compiled=compiles) for compiles in (False, True))
    fit(plain)
    fit(compiled)
    expected = plain.state_dict()
    assert compiled.state_dict().keys() == expected.keys()
    for name, value in compiled.state_dict().items():
        torch.testing.assert_close(value, expected[name], rtol=1e-3, atol=1e-4)


def test_a_checkpoint_holds_no_pickled_object_and_loads_into_a_task(fit, tmp_path):
    task = ExtractorTask(ToyNetwork)
    fit(task).save_checkpoint(tmp_path / "task.ckpt")
    again = ExtractorTask.load_from_checkpoint(tmp_path / "task.ckpt", net=ToyNetwork, weights_only=True)
    assert again.problem == task.problem == make_problem(LabelSet("tiny", CLASSES), {})
    assert all(torch.equal(value, task.state_dict()[name]) for name, value in again.state_dict().items())


def test_an_older_checkpoint_which_names_only_the_classes_loads(tmp_path):
    task = built()
    content = {"state_dict": task.state_dict(), "classes": list(CLASSES), "pytorch-lightning_version": pl.__version__}
    torch.save(content, tmp_path / "old.ckpt")
    again = ExtractorTask.load_from_checkpoint(tmp_path / "old.ckpt", net=ToyNetwork, weights_only=True)
    assert again.problem.classes == CLASSES
    assert torch.equal(again.head.weight, task.head.weight)


class Frames(ToyNetwork):
    resolution = "frame"


class Fixed(ToyNetwork):
    def __init__(self):
        super().__init__()
        self.requires_grad_(False)


class Plain(ToyNetwork):
    def backbones(self):
        return ()


@pytest.mark.parametrize(
    ("net", "settings", "message"),
    [
        (Frames, {}, "embeddings per frame"),
        (Fixed, {}, "no weights to train"),
        (Plain, {"freeze_epochs": 1}, "model.net has none"),
        (Plain, {"backbone_lr": 1e-5}, "model.net has none"),
        (lambda: ToyNetwork(width=0), {}, "model.net: Expected a width"),
    ],
)
def test_a_network_that_cannot_be_trained_so_is_refused(net, settings, message):
    with pytest.raises(UsageError, match=message):
        ExtractorTask(net, **settings).build(PROBLEM)


@pytest.mark.parametrize("weights", [ONLY, {"triplet": -1.0}, {"variance": math.nan}, {"triplet": math.inf}])
def test_weights_that_make_no_loss_are_refused(weights):
    with pytest.raises(UsageError, match=r"model.losses"):
        ExtractorTask(ToyNetwork, losses=LossWeights(**weights))


def embedded(embedding, label, logits=None):
    n = len(label)
    return Embedded(torch.arange(n), torch.tensor(label), torch.tensor(embedding), logits or torch.eye(3)[[0] * n])


def test_judging_agrees_with_scikit_learn_and_looks_at_directions_only():
    references = embedded([[1.0, 0.0], [0.0, 0.1], [-9.0, 0.0], [0.0, 0.2]], [0, 1, 2, 1])
    judged = embedded([[0.1, 0.0], [0.0, 99.0], [-1.0, 0.2], [5.0, 0.0]], [0, 1, 2, 1])
    assert nearest_neighbour(references.embedding, judged.embedding).tolist()[::2] == [0, 2]
    scores = evaluate_embeddings(judged, references, CLASSES)
    assert scores["nearest"] == pytest.approx(f1_score([0, 1, 2, 1], [0, 1, 2, 0], average="weighted"))
    assert scores["head"] == pytest.approx(f1_score([0, 1, 2, 1], [0] * 4, average="weighted", zero_division=0))
    assert set(evaluate_embeddings(judged, None, CLASSES)) == {"head"}


def test_joined_parts_are_in_the_order_of_their_rows():
    whole = embedded([[0.0], [1.0], [2.0]], [0, 1, 2])
    parts = [
        Embedded(whole.row[order], whole.label[order], whole.embedding[order], whole.logits[order])
        for order in (torch.tensor([2]), torch.tensor([1, 0]))
    ]
    assert join(parts).row.tolist() == [0, 1, 2]
    assert torch.equal(join(parts).embedding, whole.embedding)
