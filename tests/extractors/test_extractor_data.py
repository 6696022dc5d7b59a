"""`ExtractorData`: what comes in a batch, in which order, and what is skipped."""

import pytest
import torch
from toy_network import ToyNetwork

from extractors.data import ExtractorData
from m2fnet.errors import RunError, UsageError
from m2fnet.store import Missing


class FakeTrainer:
    """The part of a trainer that the data module asks."""

    def __init__(self, net):
        self.lightning_module = type("Task", (), {"net": net})


@pytest.fixture
def data(corpus):
    """``data(batch_size=4)`` is the data module of the tiny corpus."""

    def make(manifest=corpus.root / "manifest", **settings):
        module = ExtractorData(str(manifest), **{"batch_size": 4, **settings})
        module.trainer = FakeTrainer(ToyNetwork())
        return module

    return make


def everything(loader, name):
    return torch.cat([batch[name] for batch in loader]).tolist()


@pytest.mark.parametrize("in_memory", [True, False])
def test_an_epoch_holds_every_labelled_utterance_once_with_its_own_label(data, corpus, changed, tmp_path, in_memory):
    assert changed(lambda u: u.id == "train2_1", label=None)
    module = data(tmp_path / "changed", in_memory=in_memory)
    loader = module.train_dataloader()
    utterances = module.utterances("train").placed
    assert sorted(everything(loader, "row")) == list(range(len(utterances))) == list(range(17))
    for batch in loader:
        texts = [utterances[row].utterance.text for row in batch["row"].tolist()]
        labels = [corpus.label_set.classes[number] for number in batch["label"].tolist()]
        assert labels == [utterances[row].utterance.label for row in batch["row"].tolist()]
        expected = module.utterances("train").extractor.collate(
            [{"counts": torch.tensor([float(t.count(x)) for x in "abcdefghijklmnopqrstuvwxyz"])} for t in texts]
        )
        assert torch.equal(batch["inputs"]["counts"], expected["counts"])


def test_an_unlabelled_utterance_is_still_there_as_context(data, changed, tmp_path):
    assert changed(lambda u: u.id == "train2_1", label=None)
    utterances = data(tmp_path / "changed").utterances("train").placed
    (after,) = [placed for placed in utterances if placed.utterance.id == "train2_2"]
    assert after.dialogue.utterances[after.position - 1].id == "train2_1"


def test_utterances_of_like_length_come_together(data):
    module = data(in_memory=True, batch_size=6)
    spread = []
    for batch in module.train_dataloader():
        lengths = module.utterances("train").lengths[batch["row"]]
        spread.append(float(lengths.max() - lengths.min()))
    assert max(spread) < 6  # the texts of the three emotions have lengths from 21 to 26


def test_the_order_is_the_seed_s(data):
    def order(**settings):
        return everything(data(**settings).train_dataloader(), "row")

    assert order(seed=1) == order(seed=1) != order(seed=2)
    torch.manual_seed(5)
    assert order() == order(seed=5)


def test_batches_by_class_and_what_does_not_fit(data):
    for batch in data(batch_size=6, per_class=2).train_dataloader():
        assert sorted(torch.bincount(batch["label"]).tolist()) == [2, 2, 2]
    with pytest.raises(UsageError, match=r"data.per_class: Expected batches of at least two classes"):
        data(batch_size=6, per_class=4).train_dataloader()


def test_dev_is_judged_by_the_same_training_utterances_and_test_by_all(data):
    module = data(references=7)
    dev, references = module.val_dataloader()
    assert sorted(everything(dev, "row")) == list(range(6))
    again = data(references=7).val_dataloader()[1]
    assert [t.utterance.id for t in references.dataset.placed] == [t.utterance.id for t in again.dataset.placed]
    assert len(everything(references, "row")) == 7
    assert [len(loader.dataset) for loader in module.test_dataloader()] == [6, 6, 18]
    assert len(data(references=0).val_dataloader()) == 1
    assert len(data(references=0).test_dataloader()) == 2


@pytest.mark.parametrize("in_memory", [True, False])
@pytest.mark.parametrize("workers", [0, 1])
def test_what_cannot_be_read_is_left_out_and_named(data, changed, tmp_path, in_memory, workers):
    assert changed(lambda u: u.id in ("train0_0", "train5_2"), text=None)
    module = data(tmp_path / "changed", in_memory=in_memory, workers=workers)
    batches = [module.on_before_batch_transfer(batch, 0) for batch in module.train_dataloader()]
    assert module.missing == dict.fromkeys(("train0_0", "train5_2"), Missing("text", "there is no transcript"))
    assert sum(len(batch["label"]) for batch in batches) == 16
    assert all(len(batch["inputs"]["counts"]) == len(batch["label"]) for batch in batches)
    assert all(batch["missing"] == {} for batch in batches)


def test_a_batch_of_which_nothing_can_be_read_has_no_inputs(data, changed, tmp_path):
    assert changed(lambda u: u.split == "dev", text=None)
    (loader, _) = data(tmp_path / "changed").val_dataloader()
    assert [batch["inputs"] for batch in loader] == [None, None]


def test_a_split_in_memory_of_which_nothing_can_be_read_says_so(data, changed, tmp_path):
    assert changed(lambda u: u.split == "dev", text=None)
    with pytest.raises(RunError, match=r"None of the 6 utterances of the dev split .* there is no transcript"):
        data(tmp_path / "changed", in_memory=True).utterances("dev")


def test_a_split_without_labels_is_refused(data, changed, tmp_path):
    assert changed(lambda u: u.split == "dev", label=None)
    with pytest.raises(UsageError, match="no labelled utterance in 'dev'"):
        data(tmp_path / "changed").utterances("dev")
