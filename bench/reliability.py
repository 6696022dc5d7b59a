"""What a kill, a damaged file or a crowd does to m2fnet, counted.

kills: everything that is written over a longer time is killed at random moments and started again until it is done, in
processes that are forked from this one, so that they need not import torch for seconds. Expected: nothing lost,
unreadable, done again although it was kept, left behind, or different from work that nobody disturbed.

inputs: everything that is read is damaged in eight ways. Expected: it is used, or a sentence names what is not used, or
why nothing is; no traceback, no crash, and no end later than after ten seconds.

page: fifty people send a clip to `m2fnet serve` at the same time. Expected: everybody gets their own answer, and memory
does not grow.

load: fifty people send a thousand clips to a page that is a process: usual ones, noise, uploads that break off, have
another length than they declare or come byte by byte. Slow clients hang on it all the time, and it is killed in the
middle. Expected: everybody gets what is right for their clip and nothing of another's, the page opens as fast as ever,
no connection of a slow client lasts, no file is left, and memory does not grow.
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
from page_load import CUT, crowd
from served_page import free_port
from work_to_kill import AnsweringServer, prepare_ground, works, works_of_ray

KILLS, QUICK_KILLS = 200, 2
MOMENTS = ("after the first tenth", "before the restart", "a tenth after the restart", "at the end")
EACH, QUICK_EACH = 3, 1  # of the same kind of damage


def main() -> None:
    arguments = parser(__doc__ or "")
    arguments.add_argument("--only", choices=PARTS, help="one part (default: all)")
    arguments.add_argument("--kills", type=int, help=f"of each kind (default {KILLS}, with --quick {QUICK_KILLS})")
    arguments.add_argument("--work", action="append", metavar="NAME", help="only the kills of this work")
    arguments.add_argument(
        "--signals", nargs="+", default=["KILL"], choices=("KILL", "TERM", "INT"), help="in rotation (default: KILL)"
    )
    arguments.add_argument("--people", type=int, help="of the load, at the same time (default 50, with --quick 10)")
    arguments.add_argument("--uploads", type=int, help="of all people of the load (default 1000, with --quick 40)")
    arguments.add_argument("--slow-clients", type=int, default=20, help="that hang on the page (default 20)")
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


def load(folder: Path, args: argparse.Namespace) -> list[Row]:
    """A crowd with uploads of every kind, slow clients, and a restart in the middle."""
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # as `m2fnet serve` does: it would leave a file
    people, uploads = args.people or (10 if args.quick else 50), args.uploads or (40 if args.quick else 1000)
    began = time.perf_counter()
    done = crowd(folder, people, uploads, args.slow_clients, args.seed)
    seconds = time.perf_counter() - began
    wrong = [one.words for one in done.sent if one.words]
    print(*wrong, *done.left, sep="\n", flush=True)
    counts = Counter((one.kind, one.outcome) for one in done.sent)
    return [
        Row("load: people at the same time", "people", people),
        Row("load: clients that never end", "clients", args.slow_clients),
        *(Row(f"load: {kind}, {what}", "uploads", n) for (kind, what), n in sorted(counts.items()) if what != CUT),
        Row(f"load: {CUT}", "uploads", sum(one.outcome == CUT for one in done.sent)),
        Row("load: another's, or another outcome than is right", "uploads", len(wrong)),
        Row("load: files left", "files", len(done.left)),
        Row("load: longest wait for an answer", "s", max(one.seconds for one in done.sent)),
        Row("load: longest time to open the page", "s", max(done.passing)),
        Row("load: connections of slow clients that were ended", "connections", len(done.held)),
        Row("load: longest of these", "s", max(done.held, default=0.0)),
        *(Row(f"load: memory {when}", "MiB", used) for when, used in zip(MOMENTS, done.memory, strict=True)),
        Row("load: everything", "s", seconds),
    ]


PARTS = {"kills": kills, "inputs": inputs, "page": page, "load": load}


if __name__ == "__main__":
    main()
