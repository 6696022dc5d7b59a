"""Utterances of like size are embedded together; what comes out is in the order in which they were asked for."""

import json

import pytest
import torch
from toy_network import ToyNetwork

from extractors.base import PlacedUtterance
from extractors.extraction.embedding import Loading, embed, place_utterances, plan
from extractors.extraction.extract import extract
from m2fnet.store import Missing, Store


class Sized(ToyNetwork):
    """Knows how long its texts are before it reads them, and stops at one when told to."""

    def __init__(self, stops_at=None):
        super().__init__(width=4)
        self.stops_at = stops_at
        for parameter in self.parameters():
            parameter.data.fill_(0.01)

    def size(self, placed: PlacedUtterance):
        return len(placed.utterance.text or "")

    def preprocess(self, placed: PlacedUtterance):
        if placed.utterance.id == self.stops_at:
            raise KeyboardInterrupt
        return super().preprocess(placed)


def test_batches_hold_utterances_of_like_size_the_largest_first(corpus):
    wanted = place_utterances(corpus)
    net = Sized()
    batches = plan(net, wanted, 4)
    assert sorted(place for batch in batches for place in batch) == list(range(len(wanted)))
    assert [len(batch) for batch in batches] == [4] * 7 + [2]
    sizes = [net.size(wanted[place]) for batch in batches for place in batch]
    assert len(set(sizes)) > 1
    assert sizes == sorted(sizes, reverse=True)


def test_utterances_of_one_size_stay_in_order(corpus):
    assert plan(ToyNetwork(), place_utterances(corpus), 7) == [
        list(range(start, min(30, start + 7))) for start in range(0, 30, 7)
    ]


def test_embeddings_come_in_the_given_order(corpus, changed):
    wanted = place_utterances(changed(lambda u: u.id == "dev0_0", text=None))
    net = Sized()
    found = embed(net, wanted, Loading(batch_size=4, workers=0))
    assert [placed for placed, _ in found] == list(wanted)
    for placed, vector in found:
        ((_, single),) = embed(net, [placed], Loading(workers=0))
        if placed.utterance.id == "dev0_0":
            assert vector == single == Missing("text", "there is no transcript")
        else:
            torch.testing.assert_close(vector, single, atol=1e-6, rtol=0)


def test_the_store_is_in_the_manifest_s_order_however_often_it_was_interrupted(corpus, tmp_path):
    net = Sized()
    loading = Loading(batch_size=4, workers=0)
    stopping = min(place_utterances(corpus), key=net.size).utterance.id  # in one of the last batches
    with pytest.raises(KeyboardInterrupt):
        extract(Sized(stopping), {}, corpus, tmp_path / "store", loading=loading, save_every=0)
    with pytest.raises(KeyboardInterrupt):
        extract(Sized(stopping), {}, corpus, tmp_path / "store", loading=loading, save_every=0)
    extract(net, {}, corpus, tmp_path / "store", loading=loading, save_every=0)
    extract(net, {}, corpus, tmp_path / "whole", loading=loading)
    store, whole = ({p.name: p.read_bytes() for p in (tmp_path / name).iterdir()} for name in ("store", "whole"))
    assert store == whole
    opened = Store(tmp_path / "store")
    rows = [json.loads(line)["id"] for line in (tmp_path / "store" / "index.jsonl").read_text().splitlines()]
    assert rows == [placed.utterance.id for placed in place_utterances(corpus)]
    for placed, vector in embed(net, place_utterances(corpus), loading):
        assert torch.equal(opened[placed.utterance.id], vector)
