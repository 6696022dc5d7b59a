"""An extraction by Ray as a process that can be killed: ``python ray_extraction.py MANIFEST OUT NOTES [ADDRESS]``.

It notes what is read, embedded and kept, each with the process and the node of Ray that did it.
"""

import os
import sys
import time
from collections import Counter
from pathlib import Path

from toy_network import ToyNetwork

from extractors.extraction.embedding import Loading
from extractors.extraction.extract import extract
from extractors.extraction.ray_task import RayEngine
from m2fnet.errors import MediaError, RunError
from m2fnet.manifest import Manifest
from m2fnet.store.parts import PartWriter

MADE = {"class_path": "ray_extraction.Noting"}
BROKEN = "dev0_1"
_SECONDS = 0.5  # that an utterance takes to be read


class Noting(ToyNetwork):
    """Reads slowly, notes what it does, and finds ``BROKEN`` missing; one text kills whoever reads it, if asked to."""

    def __init__(self, notes="", deadly=""):
        super().__init__(width=4)
        for number, parameter in enumerate(self.parameters()):
            parameter.data.copy_(parameter.new_ones(parameter.shape).cumsum(-1).sin() / (number + 1))
        self.notes, self.deadly = str(notes), deadly

    def preprocess(self, placed):
        name = placed.utterance.id
        if self.notes:
            note(self.notes, "read", name)
            time.sleep(_SECONDS)
        if name == self.deadly:
            os._exit(7)
        if name == BROKEN:
            raise MediaError("decode", "no picture")
        return super().preprocess(placed)

    def forward(self, batch):
        if self.notes:
            note(self.notes, "embedded", str(len(batch["counts"])))
        return super().forward(batch)


def note(notes, what, name):
    import ray

    node = ray.get_runtime_context().get_node_id() if ray.is_initialized() else "none"
    place = os.open(notes, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(place, f"{what} {name} {os.getpid()} {node}\n".encode())
    os.close(place)


def noted(notes):
    """Rows of what, name, process and node."""
    return [line.split() for line in Path(notes).read_text().splitlines()] if Path(notes).exists() else []


def kept(notes):
    """How often each utterance was kept."""
    return Counter(name for what, name, *_ in noted(notes) if what == "kept")


def run(manifest, out, notes="", address=None, deadly=""):
    """The extraction in this process."""
    extractor = Noting(notes, deadly)
    loading, ray = Loading(batch_size=4), RayEngine(address or None)
    return extract(extractor, MADE, manifest, out, loading=loading, save_every=0, ray=ray)


def main(manifest, out, notes, address="", deadly=""):
    add = PartWriter.add

    def noting(self, outcomes):
        add(self, outcomes)
        for outcome in outcomes:
            note(notes, "kept", outcome.id)

    PartWriter.add = noting
    try:
        run(Manifest.load(manifest), Path(out), notes, address, deadly)
    except RunError as problem:
        sys.exit(f"m2fnet: {problem}")
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    from ray_extraction import main as importable  # the class is then found by its name

    importable(*sys.argv[1:])
