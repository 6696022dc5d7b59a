"""What a kill, a damaged file or a crowd does to m2fnet, counted.

kills: everything that is written over a longer time is killed at random moments and started again until it is done, in
processes that are forked from this one, so that they need not import torch for seconds. Expected: nothing lost,
unreadable, done again although it was kept, left behind, or different from work that nobody disturbed.

inputs: everything that is read is damaged in eight ways. Expected: it is used, or a sentence names what is not used, or
why nothing is; no traceback, no crash, and no end later than after ten seconds.

page: fifty people send a clip to `m2fnet serve` at the same time. Expected: everybody gets their own answer, and memory
does not grow.
"""

import sys
from pathlib import Path

sys.path.append(sys.path.pop(0))  # the folder of this file has others with the names of packages
sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "helpers"))

import argparse
import os
import random
import signal
import tempfile
import time
from collections import Counter

import torch
from _table import Row, finish, parser
from fake_pipeline import load_made_up
from killed_commands import Tally, punish
from many_clients import megabytes, visits
from odd_inputs import CRASH, ENDLESS, GOOD, NAMED, REFUSED, TRACEBACK, USED, all_kinds, cases, outcomes
from served_page import free_port
from work_to_kill import AnsweringServer, prepare_ground, works, works_of_ray

KILLS, QUICK_KILLS = 200, 2
EACH, QUICK_EACH = 3, 1  # of the same kind of damage


def main() -> None:
    arguments = parser(__doc__ or "")
    arguments.add_argument("--only", choices=PARTS, help="one part (default: all)")
    arguments.add_argument("--kills", type=int, help=f"of each kind (default {KILLS}, with --quick {QUICK_KILLS})")
    arguments.add_argument("--work", action="append", metavar="NAME", help="only the kills of this work")
    arguments.add_argument(
        "--signals", nargs="+", default=["KILL"], choices=("KILL", "TERM", "INT"), help="in rotation (default: KILL)"
    )
    arguments.add_argument("--seed", type=int, default=0, help="of everything random (default 0)")
    args = arguments.parse_args()
    torch.set_num_threads(1)
    rows = []
    with tempfile.TemporaryDirectory() as name:
        for part in [args.only] if args.only else PARTS:
            folder = Path(name) / part
            folder.mkdir()
            rows += PARTS[part](folder, args)
    finish(rows, args)


def kills(folder: Path, args: argparse.Namespace) -> list[Row]:
    """Kill every work so many times."""
    prepare_ground(folder)
    moments = random.Random(args.seed)
    signals = [signal.Signals[f"SIG{name}"] for name in args.signals]
    rows = []
    with AnsweringServer() as address:
        for name, work in {**works(folder, address), **works_of_ray(folder)}.items():
            if not args.work or name in args.work:
                count = args.kills or (QUICK_KILLS if args.quick else KILLS)
                tally = punish(work, folder / "kills" / name.replace(" ", "_"), count, moments, signals)
                print(f"{name}: {tally.kills} kills, {dict(Counter(tally.seen)) or 'nothing wrong'}", flush=True)
                rows += rows_of_kills(name, work.unit, tally)
    return rows


def rows_of_kills(name: str, unit: str, tally: Tally) -> list[Row]:
    return [
        Row(f"{name}: kills", "times", tally.kills),
        Row(f"{name}: kept, then lost", unit, tally.lost),
        Row(f"{name}: unreadable", "files", tally.unreadable),
        Row(f"{name}: kept, but done again", unit, tally.again),
        Row(f"{name}: begun and not kept, most", unit, max(tally.in_flight)),
        Row(f"{name}: starts that were refused", "times", tally.refused),
        Row(f"{name}: finished", "times", tally.finished),
        Row(f"{name}: of these different", "times", tally.different),
        Row(f"{name}: files left behind", "files", tally.left_files),
        Row(f"{name}: processes left behind", "processes", tally.left_processes),
    ]


def inputs(folder: Path, args: argparse.Namespace) -> list[Row]:
    """Read every case."""
    prepare_ground(folder)
    wanted = cases(all_kinds(folder, folder / "good"), QUICK_EACH if args.quick else EACH, args.seed)
    (folder / "cases").mkdir()
    found = outcomes(wanted, folder / "cases")
    for one in found:
        if one.what not in one.case.expected:
            print(f"{one.case.name}: {one.what}, expected {' or '.join(one.case.expected)}: {one.words}", flush=True)
    rows = [Row("inputs", "files", len(found))]
    for name in dict.fromkeys(case.kind.name for case in wanted):
        counts = Counter(one.what for one in found if one.case.kind.name == name)
        rows += [Row(f"{name}: {what}", "files", counts[what]) for what in GOOD]
    counts = Counter(one.what for one in found)
    rows += [Row(f"all: {what}", "files", counts[what]) for what in (USED, NAMED, REFUSED, TRACEBACK, CRASH, ENDLESS)]
    rows.append(Row("all: another outcome than is right", "files", sum(o.what not in o.case.expected for o in found)))
    rows.append(Row("all: longest", "s", max(one.seconds for one in found)))
    return rows


def page(folder: Path, args: argparse.Namespace) -> list[Row]:
    """Rounds in which many people send a clip at the same time."""
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    from m2fnet.web.limits import Limits
    from m2fnet.web.page import open_page

    clients, rounds = (10, 2) if args.quick else (50, 10)
    limits, used, wrong = Limits(megabytes=2, minutes=1, waiting=2 * clients), [], 0
    began = time.perf_counter()
    with open_page(load_made_up, "made up", limits, port=free_port()) as address:
        for _ in range(rounds):
            wrong += sum(visit.received != visit.sent for visit in visits(address, folder, clients))
            used.append(megabytes())
    seconds = time.perf_counter() - began
    return [
        Row("page: people at the same time", "people", clients),
        Row("page: clips answered", "clips", clients * rounds - wrong),
        Row("page: answers that were not their own, or none", "clips", wrong),
        Row("page: memory after the first round", "MiB", used[0]),
        Row("page: memory after the last round", "MiB", used[-1]),
        Row("page: everything", "s", seconds),
    ]


PARTS = {"kills": kills, "inputs": inputs, "page": page}


if __name__ == "__main__":
    main()
