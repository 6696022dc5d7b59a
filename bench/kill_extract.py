"""Extractions that are killed at random moments, started again, killed again ... until their stores are finished.

SIGKILL, SIGTERM and SIGINT hit in rotation the real `m2fnet extract` of a made-up corpus: audio statistics read in the
main process, and a small network whose clips are read by two workers. Every extraction is a separate process; it is
forked from this one, so that it need not import torch for seconds (`--fresh` starts an interpreter each time). After
each kill the store's folder is looked at; every finished store is compared with one that was never interrupted.
Expected: nothing lost, unreadable, computed again although it was kept, left behind, or different.
"""

import sys

sys.path.append(sys.path.pop(0))  # the folder of this file has others with the names of packages

import json
import multiprocessing
import os
import random
import shutil
import signal
import subprocess
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from itertools import cycle
from pathlib import Path
from typing import Any

import torch
from _table import Row, finish, parser
from safetensors import SafetensorError, safe_open

import extractors.audio.mel_resnet
import extractors.audio.mel_statistics
import extractors.commands.extract
import extractors.commands.extractor  # everything that an extraction imports, so that it is imported once
import extractors.extraction.embedding
from m2fnet import cli
from m2fnet.errors import StoreError
from m2fnet.store import Store

SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
BATCH = 16
PATIENCE = 300  # seconds that any process may take


@dataclass
class Tally:
    """What was seen over all kills of one extractor."""

    kills: int = 0
    at_work: int = 0
    lost: int = 0
    unreadable: int = 0
    again: int = 0
    in_flight: list[int] = field(default_factory=list)
    finished: int = 0
    different: int = 0
    left_behind: int = 0


def main() -> None:
    arguments = parser(__doc__ or "")
    arguments.add_argument("--kills", type=int, help="how many (default 100, with --quick 6)")
    arguments.add_argument("--seed", type=int, default=0, help="of the moments (default 0)")
    arguments.add_argument("--fresh", action="store_true", help="a new interpreter for every extraction")
    args = arguments.parse_args()
    torch.set_num_threads(1)
    multiprocessing.set_start_method("spawn" if args.fresh else "fork")
    kills = args.kills or (6 if args.quick else 100)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        manifest = corpus(folder, quick=args.quick)
        jobs = {"statistics": statistics(folder, manifest), "network": network(folder, manifest)}
        moments = random.Random(args.seed)
        rows = []
        for number, (kind, options) in enumerate(jobs.items()):
            share = kills // 2 + (kills % 2 if number == 0 else 0)
            rows += rows_of(kind, punish(folder, manifest, options, share, moments))
    finish(rows, args)


def corpus(folder: Path, *, quick: bool) -> Path:
    """The manifest of a made-up corpus."""
    size = ("4", "2", "3") if quick else ("16", "4", "4")
    command("prepare", "toy", "--root", folder / "raw", "--out", folder / "data", "--dialogues", *size)
    return folder / "data"


def statistics(folder: Path, manifest: Path) -> list[str]:
    """Options of an extraction by audio statistics."""
    config, run = "conf/extractors/audio_mel_statistics.yaml", folder / "statistics"
    command("extractor", "fit", "--config", config, "--manifest", manifest, "--run", run)
    return ["--ckpt", str(run), "--workers", "0"]


def network(folder: Path, manifest: Path) -> list[str]:
    """Options of an extraction by a network that was trained for a moment."""
    config, run = "conf/extractors/audio_mel.yaml", folder / "network"
    small = {
        "data.manifest": manifest,
        "data.batch_size": 8,
        "data.per_class": 2,
        "data.references": 0,
        "model.scorer": "head",  # the only one that needs no references
        "trainer.accelerator": "cpu",
        "trainer.max_epochs": 1,
        "trainer.limit_train_batches": 1,
        "trainer.limit_val_batches": 1,
        "model.net.init_args.width": 8,
        "model.net.init_args.mels": 32,
    }
    keys = [str(part) for key, value in small.items() for part in (f"--{key}", value)]
    command("extractor", "fit", "--config", config, "--run", run, *keys)
    return ["--ckpt", str(run), "--workers", "2"]


def punish(folder: Path, manifest: Path, options: list[str], kills: int, moments: random.Random) -> Tally:
    """Kill extractions ``kills`` times; every one is continued until its store is finished."""
    reference, store, log = folder / "reference", folder / "store", folder / "log"
    for path in (reference, store):
        shutil.rmtree(path, ignore_errors=True)
    seconds = undisturbed(reference, manifest, options, log)
    tally, signals = Tally(), cycle(SIGNALS)
    kept: set[str] = set()
    while tally.kills < kills or store.exists():
        log.unlink(missing_ok=True)
        child = start(store, manifest, options, log)
        is_at_work = False
        if tally.kills < kills:
            is_at_work = wait_and_kill(child, store, next(signals), moments, seconds)
        code = exit_code(child)
        read = Counter(log.read_text().split()) if log.exists() else Counter[str]()
        now, broken = finished(store)
        tally.again += sum(name in kept for name in read)
        tally.unreadable += broken
        tally.lost += len(kept - now)
        if code != cli.DONE:
            tally.kills += 1
            tally.at_work += is_at_work
            tally.in_flight.append(len(set(read) - now))
            kept = now
            continue
        tally.finished += 1
        tally.different += contents(store) != contents(reference)
        tally.left_behind += len({p.name for p in store.iterdir()} - {p.name for p in reference.iterdir()})
        shutil.rmtree(store)
        kept = set()
    return tally


def undisturbed(store: Path, manifest: Path, options: list[str], log: Path) -> float:
    """Seconds of work of an extraction that is not interrupted."""
    child = start(store, manifest, options, log)
    wait_for_work(child, store)
    began = time.monotonic()
    if exit_code(child) != cli.DONE:
        raise SystemExit("The extraction failed although nobody disturbed it.")
    return time.monotonic() - began


def start(store: Path, manifest: Path, options: list[str], log: Path) -> multiprocessing.Process:
    extract = ["extract", *options, "--manifest", str(manifest), "--out", str(store)]
    settings = ["--accelerator", "cpu", "--batch-size", str(BATCH), "--save-every", "0"]
    child = multiprocessing.Process(target=run, args=([*extract, *settings], log))
    child.start()
    return child


def run(arguments: list[str], log: Path) -> None:
    """An extraction as a separate process that notes in ``log`` what it reads."""
    silence = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silence, 1)
    os.dup2(silence, 2)
    torch.set_num_threads(1)
    read, notes = (
        extractors.extraction.embedding.Outcomes.__getitem__,
        os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT),
    )

    def noted(self: extractors.extraction.embedding.Outcomes, place: int) -> Any:  # noqa: ANN401
        os.write(notes, f"{self.wanted[place].utterance.id}\n".encode())
        return read(self, place)

    extractors.extraction.embedding.Outcomes.__getitem__ = noted  # type: ignore[method-assign]
    sys.argv = ["m2fnet"]
    sys.exit(cli.run(arguments))


def exit_code(child: multiprocessing.Process) -> int | None:
    child.join(PATIENCE)
    if child.exitcode is None:
        child.kill()
        raise SystemExit(f"A process did not end within {PATIENCE} seconds.")
    return child.exitcode


def wait_and_kill(
    child: multiprocessing.Process, store: Path, kill: signal.Signals, moments: random.Random, seconds: float
) -> bool:
    """Kill at a moment of the work, now and then while the process is still starting; say whether it was at work."""
    is_at_work = moments.random() > 0.1
    if is_at_work:
        wait_for_work(child, store)
        time.sleep(moments.uniform(0, 1.05 * seconds))
    else:
        time.sleep(moments.uniform(0, 0.3 * seconds))
    if child.is_alive() and child.pid is not None:
        os.kill(child.pid, kill)
    return is_at_work


def wait_for_work(child: multiprocessing.Process, store: Path) -> None:
    """Until the process has taken the store over, or has ended."""
    lock = store / ".lock"
    while child.is_alive():
        try:
            if lock.read_text().startswith(f"{child.pid} "):
                return
        except OSError:
            pass
        time.sleep(0.005)


def finished(store: Path) -> tuple[set[str], int]:
    """Ids that are kept in the folder, in parts or in a store, and the number of files that cannot be read."""
    names, broken = set[str](), 0
    for path in (store / ".parts").glob("[!.]*.safetensors"):
        try:
            with safe_open(path, framework="pt") as file:
                names |= {outcome["id"] for outcome in json.loads(file.metadata()["outcomes"])}
                file.get_tensor("vectors")
        except (SafetensorError, OSError, KeyError, ValueError):
            broken += 1
    if (store / "meta.json").exists():
        try:
            opened = Store(store)
            opened.verify()
            names |= {entry["id"] for entry in map(json.loads, (store / "index.jsonl").read_text().splitlines())}
            names |= set(opened.missing)
        except StoreError:
            broken += 1
    return names, broken


def contents(store: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in store.iterdir() if path.is_file()}


def command(*arguments: object) -> None:
    words = [str(argument) for argument in arguments]
    done = subprocess.run([sys.executable, "-m", "m2fnet.cli", *words], capture_output=True, text=True)
    if done.returncode != cli.DONE:
        raise SystemExit(f"m2fnet {' '.join(words)} failed: {done.stderr}")


def rows_of(kind: str, tally: Tally) -> list[Row]:
    in_flight = tally.in_flight or [0]
    return [
        Row(f"{kind}: kills", "times", tally.kills),
        Row(f"{kind}: of these while it worked", "times", tally.at_work),
        Row(f"{kind}: kept utterances lost", "utterances", tally.lost),
        Row(f"{kind}: unreadable", "files", tally.unreadable),
        Row(f"{kind}: kept utterances computed again", "utterances", tally.again),
        Row(f"{kind}: unfinished work lost, mean per kill", "utterances", sum(in_flight) / len(in_flight)),
        Row(f"{kind}: unfinished work lost, most", "utterances", max(in_flight)),
        Row(f"{kind}: stores finished", "stores", tally.finished),
        Row(f"{kind}: of these not byte-equal", "stores", tally.different),
        Row(f"{kind}: files left behind", "files", tally.left_behind),
    ]


if __name__ == "__main__":
    main()
