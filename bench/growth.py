"""How time and memory grow with a corpus: prepare, extract, train, test and report at 1, 10 and 100 times its size.

The corpus is a made-up table of dialogues of ten short utterances; text by `extractors.text.lsa` (in closed form), a
linear network for one epoch. Each command runs in a separate process that has imported everything, so that what is
measured is its work: processor seconds, and what the process needed above the memory it began with. The exponent of a
figure is its slope between the two largest sizes on a double logarithmic scale: 1 is linear growth.

    python bench/growth.py                   # 100, 1,000 and 10,000 dialogues
    python bench/growth.py --dialogues 1000 10000 100000
"""

import sys
from pathlib import Path

sys.path.append(sys.path.pop(0))  # the folder of this file has others with the names of packages

import csv
import itertools
import math
import multiprocessing
import random
import resource
import tempfile
import time
from collections.abc import Iterator, Sequence
from multiprocessing.connection import Connection

import torch
from _table import Row, finish, parser

from m2fnet import cli

CONF = Path(__file__).parents[1] / "conf"
EMOTIONS = ("joy", "anger", "sadness", "neutral")
UTTERANCES, WORDS, VOCABULARY = 10, 12, 2000
SIZES, QUICK_SIZES = (100, 1_000, 10_000), (20, 100)


def main() -> None:
    """Measure all sizes, then print the figures of each and the exponents."""
    arguments = parser(__doc__.splitlines()[0])
    arguments.add_argument("--dialogues", type=int, nargs="+", help=f"sizes, rising (default {SIZES})")
    args = arguments.parse_args()
    sizes = args.dialogues or (QUICK_SIZES if args.quick else SIZES)
    torch.set_num_threads(1)
    figures: dict[str, list[tuple[float, float]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for size in sizes:
            place = Path(folder) / str(size)
            place.mkdir()
            write_table(place / "talk.csv", size)
            for name, words in commands(place):
                figures.setdefault(name, []).append(cost_of(words, place))
                seconds, memory = figures[name][-1]
                print(f"{size:,} dialogues, {name}: {seconds:.1f} s, {memory:.0f} MiB", flush=True)
    finish([row for name, costs in figures.items() for row in rows_of(name, sizes, costs)], args)


def write_table(path: Path, dialogues: int) -> None:
    """A table of which every tenth dialogue is dev and every tenth test; the emotion chooses a quarter of the words."""
    draw = random.Random(0)
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(("dialogue", "split", "speaker", "text", "label"))
        for number in range(dialogues):
            split = {0: "dev", 1: "test"}.get(number % 10, "train")
            for place in range(UTTERANCES):
                label = draw.randrange(len(EMOTIONS))
                words = [
                    len(EMOTIONS) * draw.randrange(VOCABULARY // 4) + label * (draw.random() < 0.2)
                    for _ in range(WORDS)
                ]
                text = " ".join(f"w{word}" for word in words)
                table.writerow((f"d{number}", split, "AB"[place % 2], text, EMOTIONS[label]))


def commands(place: Path) -> Iterator[tuple[str, list[object]]]:
    """What a user types, in order."""
    data, store, run = place / "data", place / "text", place / "runs" / "linear"
    lsa, linear = CONF / "extractors" / "text_lsa.yaml", CONF / "dialog" / "linear.yaml"
    fitted = ("--run", place / "lsa", "--model.net.width", 32, "--workers", 0)
    fit = ("--data.manifest", data, "--data.streams", "[text]", "--data.stores", f"{{text: {store}}}")
    yield "prepare", ["prepare", "table", "--root", place / "talk.csv", "--out", data, "--quiet"]
    yield "extract", ["extract", "--config", lsa, *fitted, "--manifest", data, "--out", store]
    yield "train", ["dialog", "fit", "--config", linear, "--run", run, *fit, "--trainer.max_epochs", 1]
    yield "test", ["dialog", "test", "--config", run / "config.yaml"]
    yield "report", ["report", run, "--out", place / "report"]


def cost_of(words: Sequence[object], place: Path) -> tuple[float, float]:
    """Processor seconds of a command, and the MiB it needed above what its process began with."""
    ours, theirs = multiprocessing.Pipe(duplex=False)
    process = multiprocessing.get_context("fork").Process(
        target=_run, args=([str(word) for word in words], place, theirs)
    )
    process.start()
    theirs.close()
    try:
        seconds, memory = ours.recv()
    except EOFError:
        raise SystemExit(f"m2fnet {words[0]} failed: {(place / 'log').read_text()[-2000:]}") from None
    process.join()
    return seconds, memory


def _run(words: list[str], place: Path, result: Connection) -> None:
    sys.argv = ["m2fnet"]
    with (place / "log").open("w", encoding="utf-8") as log:
        sys.stdout = sys.stderr = log
        began, before = time.process_time(), _peak()
        if cli.run(words) == cli.DONE:
            result.send((time.process_time() - began, max(0.0, _peak() - before)))


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def rows_of(name: str, sizes: Sequence[int], costs: Sequence[tuple[float, float]]) -> list[Row]:
    """The figures of each size, and how they grow."""
    rows = []
    for place, (what, unit) in enumerate((("processor time", "s"), ("memory", "MiB"))):
        found = [cost[place] for cost in costs]
        rows += [
            Row(f"{name}: {what}, {size:,} dialogues", unit, value) for size, value in zip(sizes, found, strict=True)
        ]
        (small, before), (large, after) = list(itertools.pairwise(zip(sizes, found, strict=True)))[-1]
        slope = math.log(max(after, 1e-3) / max(before, 1e-3)) / math.log(large / small)
        rows.append(Row(f"{name}: exponent of the {what}", "", slope))
    return rows


if __name__ == "__main__":
    for module in (
        "dialog.cli",
        "extractors.commands.extract",
        "extractors.commands.extractor",
        "m2fnet.commands.report",
    ):
        __import__(module)
    main()
