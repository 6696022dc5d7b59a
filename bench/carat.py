"""CARAT at CMU-MOSEI size: a training step of `dialog.models.carat` against the released formula, written plainly.

64 utterances of 60 aligned frames (300 text, 74 audio, 35 visual), 6, 4 and 4 layers, a queue of 8,192 rows, dropout
0.3, AdamW, random numbers. One thread, process time (``time.process_time``), which other programs change little. Each
side trains in a separate process, whose peak memory is noted after the first tenth of the steps and at the end: the
difference shows a leak. bfloat16 gets as few steps as the formula, because a step can take a minute on a processor
without it. ``_plain_carat.py`` keeps the whole matrix of similarities, as the released code does several times, but not
the graphs of past steps. ``--quick``: fewer steps, 16 utterances, one layer.
"""

import multiprocessing
import re
import resource
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import torch
from _plain_carat import Sizes, terms
from _table import Row, finish, parser
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parents[1]))  # else `dialog` would be a script here

from dialog.batch import DialogueBatch
from dialog.models.carat import CARAT
from m2fnet.problems import Problem, Stream, make_problem
from m2fnet.records import LabelSet

WIDTHS = {"text": 300, "audio": 74, "visual": 35}
EMOTIONS = ("happy", "sad", "anger", "surprise", "disgust", "fear")


@dataclass(frozen=True)
class Size:
    """How much is measured."""

    utterances: int
    frames: int
    layers: tuple[int, int, int]
    queue: int
    steps: int
    plain_steps: int


FULL = Size(64, 60, (6, 4, 4), 8192, 50, 3)
QUICK = Size(16, 20, (1, 1, 1), 1024, 5, 2)


@dataclass(frozen=True)
class Figures:
    """Of one process: CPU seconds per step, and peak MiB after a tenth of the steps and after all."""

    seconds: float
    early: float
    peak: float


def main() -> None:
    args = parser((__doc__ or "").partition("\n")[0]).parse_args()
    size = QUICK if args.quick else FULL
    ours, half, evaluated, plain = (
        apart(work, size) for work in (train_ours, train_ours_in_bfloat16, evaluate_ours, train_plain)
    )
    rows = [
        Row("training step", "CPU s", ours.seconds, plain.seconds, larger_is_better=False),
        Row("training step in bfloat16", "CPU s", half.seconds, plain.seconds, larger_is_better=False),
        Row("evaluation of a batch", "CPU s", evaluated.seconds),
        Row("peak memory", "MiB", ours.peak, plain.peak, larger_is_better=False),
        Row("peak memory in bfloat16", "MiB", half.peak, plain.peak, larger_is_better=False),
        Row(f"growth from step {max(size.steps // 10, 1)} to {size.steps}", "MiB", ours.peak - ours.early),
    ]
    finish(rows, args)


def apart(work: Callable[[Size], Figures], size: Size) -> Figures:
    """What ``work`` measures in a separate process."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(work, size).result()


def problem() -> Problem:
    streams = {name: Stream(name, width, is_sequence=True) for name, width in WIDTHS.items()}  # type: ignore[arg-type]
    return make_problem(LabelSet("bench", EMOTIONS, "multi"), streams)


def network(size: Size) -> CARAT:
    layers = dict(zip(WIDTHS, size.layers, strict=True))
    return CARAT(problem(), layers=layers, queue=size.queue, positions=size.frames)


def batch_of(size: Size) -> DialogueBatch:
    here = torch.ones(size.utterances, 1, dtype=torch.bool)
    return {
        "inputs": {name: torch.randn(size.utterances, 1, size.frames, width) for name, width in WIDTHS.items()},
        "frames": {name: here[..., None].expand(-1, -1, size.frames) for name in WIDTHS},
        "present": dict.fromkeys(WIDTHS, here),
        "valid": here,
        "label": (torch.rand(size.utterances, 1, len(EMOTIONS)) < 0.3).long(),
        "row": here.long(),
        "labelled": size.utterances,
    }


def train_ours(size: Size, half: bool = False) -> Figures:
    prepare()
    net = network(size).train()
    optimizer = torch.optim.AdamW(net.parameters(), 5e-5)

    def step() -> None:
        batch = batch_of(size)
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            output = net(batch)
        scores = net.problem.loss(output.scores.float().flatten(0, 1), batch["label"].flatten(0, 1)) / size.utterances
        loss = scores + torch.stack([term.float() for term in output.terms.values()]).sum()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()

    return measured(step, size.plain_steps if half else size.steps)


def train_ours_in_bfloat16(size: Size) -> Figures:
    return train_ours(size, half=True)


def evaluate_ours(size: Size) -> Figures:
    prepare()
    net = network(size).eval()

    def step() -> None:
        with torch.inference_mode():
            net(batch_of(size))

    return measured(step, max(size.steps // 5, 1))


def train_plain(size: Size) -> Figures:
    prepare()
    net = network(size)
    net.queue.rows.normal_()
    weights: dict[str, Tensor] = dict(net.named_buffers()) | dict(net.named_parameters())
    optimizer = torch.optim.AdamW(net.parameters(), 5e-5)
    sizes = Sizes(heads=8, dropout=0.3)

    def step() -> None:
        batch = batch_of(size)
        optimizer.zero_grad()
        frames = {name: x[:, 0] for name, x in batch["inputs"].items()}
        masks = {name: x[:, 0] for name, x in batch["frames"].items()}
        shuffle = net.permutations(torch.zeros(size.utterances, len(WIDTHS), len(EMOTIONS)))
        found, after = terms(weights, frames, masks, batch["label"][:, 0], shuffle, sizes)
        torch.stack([net.weights.get(name, 1.0) * term for name, term in found.items()]).sum().backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
        weights.update(after)

    return measured(step, size.plain_steps)


def prepare() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)


def measured(step: Callable[[], None], steps: int) -> Figures:
    """Figures of ``steps`` steps after one that is not counted; the fastest half gives the seconds."""
    step()
    seconds, early = [], 0.0
    for number in range(1, steps + 1):
        start = time.process_time()
        step()
        seconds.append(time.process_time() - start)
        if number == max(steps // 10, 1):
            early = peak()
    fastest = sorted(seconds)[: max(len(seconds) // 2, 1)]
    return Figures(sum(fastest) / len(fastest), early, peak())


def peak() -> float:
    """Peak resident memory of this process in MiB."""
    status = Path("/proc/self/status")
    line = re.search(r"VmHWM:\s*(\d+) kB", status.read_text()) if status.exists() else None
    if line is not None:
        return int(line[1]) / 1024
    found = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return found / 2**20 if sys.platform == "darwin" else found / 1024


if __name__ == "__main__":
    main()
