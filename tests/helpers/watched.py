"""An extractor that counts what it reads and can be stopped on the way."""

from collections import Counter

from toy_network import ToyNetwork

from extractors.extraction.embedding import Loading
from extractors.extraction.extract import extract
from m2fnet.errors import MediaError

MADE = {"class_path": "toy_network.ToyNetwork"}


class Watched(ToyNetwork):
    """Counts what it reads, cuts the first letter, cannot read ``broken``, and is stopped by ``stop`` at ``at``."""

    def __init__(self, broken=(), at=None, stop=None):
        super().__init__(width=4)
        for parameter in self.parameters():
            parameter.data.fill_(0.01)
        self.broken, self.at, self.stop = broken, at, stop
        self.seen = Counter()

    def preprocess(self, placed):
        name = placed.utterance.id
        self.seen[name] += 1
        if name == self.at:
            self.stop()
        if name in self.broken:
            raise MediaError("decode", "no picture")
        return {**super().preprocess(placed), "cut_letters": 1, "cut_none": 0}


def ctrl_c():
    raise KeyboardInterrupt


def files(store):
    return {path.name: path.read_bytes() for path in store.iterdir()}


def quickly(extractor, manifest, out, **options):
    loading = Loading(batch_size=4, workers=0)
    return extract(extractor, MADE, manifest, out, loading=loading, save_every=0, **options).store
