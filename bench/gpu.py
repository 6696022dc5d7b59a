"""What a GPU does for each step of this project, in at most 8 minutes, and whether it gives the CPU's results.

Everything is made up and nothing is fetched: random features and dialogue lengths of MELD, random weights of the usual
shapes, clips of the toy corpus. A part that fails, or whose time is over, is named with its reason, and the others are
measured all the same. `--out DIR` gets `gpu.json` and `gpu.md`. The exit code is 0 if all parts were measured and all
results are those of the CPU, 1 if not, 2 if there is no GPU. `--small` runs every part in a small form, on the CPU if
need be; its figures mean nothing.
"""

import argparse
import contextlib
import gc
import json
import logging
import os
import platform
import signal
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # else `dialog` would be a script here

import torch

from m2fnet.files import write_text

# Most seconds of each part, 450 in all: the rest of the 8 minutes is for starting, ending and writing.
LIMITS = {
    "dialogue": 60,
    "text": 75,
    "audio": 50,
    "faces": 50,
    "carat": 50,
    "extraction": 75,
    "predict": 50,
    "same results": 40,
}
MEASURED = 0.4  # share of a limit that measuring may take; building, loading and warming up take the rest


@dataclass
class Outcome:
    """A part that has ended.

    Attributes:
        part: its name.
        seconds: that it took, start of the process included.
        figures: name, unit and value of what was measured.
        checks: name, difference, tolerance of each comparison with the CPU, and whether it holds.
        reason: why it failed; None if it did not.
    """

    part: str
    seconds: float
    figures: list[dict[str, Any]] = field(default_factory=list)
    checks: list[dict[str, Any]] = field(default_factory=list)
    reason: str | None = None

    @property
    def is_good(self) -> bool:
        """Whether it was measured, and every comparison holds."""
        return self.reason is None and all(check["holds"] for check in self.checks)


def main(given: Sequence[str] | None = None) -> int:
    arguments = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    arguments.add_argument("--out", type=Path, metavar="DIR", help="write gpu.json and gpu.md here")
    arguments.add_argument("--small", action="store_true", help="a small form of every part, on the CPU if need be")
    arguments.add_argument(
        "--parts", nargs="+", choices=LIMITS, default=list(LIMITS), metavar="PART", help="only these"
    )
    arguments.add_argument("--into", type=Path, help=argparse.SUPPRESS)  # how the parts are run in a process
    args = arguments.parse_args(given)
    if not (args.small or torch.cuda.is_available()):
        print("There is no CUDA device. Run this on a machine with one, or add --small to try it on the CPU.")
        return 2
    if args.into is not None:
        measure_all(args.parts, args.small, args.into)
        return 0
    outcomes = []
    for outcome in run_all(args.parts, args.small):
        outcomes.append(outcome)
        print(line_of(outcome), flush=True)
    table = markdown(machine(), outcomes)
    print(f"\n{table}")
    if args.out is not None:
        content = {"machine": machine(), "small": args.small, "parts": [asdict(outcome) for outcome in outcomes]}
        args.out.mkdir(parents=True, exist_ok=True)
        write_text(args.out / "gpu.json", json.dumps(content, indent=2) + "\n")
        write_text(args.out / "gpu.md", table)
    return 0 if all(outcome.is_good for outcome in outcomes) else 1


def run_all(parts: Sequence[str], small: bool) -> Iterator[Outcome]:
    """Run parts in one process, for libraries take long to load; after one that fails, the next ones get a new one."""
    left = list(parts)
    while left:
        with tempfile.TemporaryDirectory() as folder:
            command = [sys.executable, __file__, "--parts", *left, "--into", folder, *(["--small"] * small)]
            with Worker(command, Path(folder)) as worker:
                is_good = True
                while left and is_good:
                    outcome = worker.wait_for(left[0], limit_of(left[0], small))
                    is_good = outcome.reason is None
                    left.pop(0)
                    yield outcome


def limit_of(part: str, small: bool) -> float:
    """Most seconds of a part; the small form is for tests, on machines that are slow and busy."""
    return LIMITS[part] * (3 if small else 1)


class Worker:
    """A process that runs parts one after the other and writes the result of each into a folder.

    Args:
        command: what it runs.
        folder: gets ``PART.json`` for each part that is done.
    """

    def __init__(self, command: Sequence[str], folder: Path) -> None:
        self.folder = folder
        self.errors = (folder / "errors.txt").open("w+", encoding="utf-8", errors="replace")
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=self.errors, start_new_session=True)

    def __enter__(self) -> "Worker":
        return self

    def __exit__(self, *_: object) -> None:
        """End the process and those it has started, if they have not ended."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)  # its session has its number
        self.process.wait()
        self.errors.close()

    def wait_for(self, part: str, limit: float) -> Outcome:
        """The outcome of the next part after at most ``limit`` seconds."""
        start, result = time.monotonic(), self.folder / f"{part}.json"
        while not result.exists() and self.process.poll() is None and time.monotonic() - start < limit:
            time.sleep(0.05)
        seconds = time.monotonic() - start
        if result.exists():
            content = json.loads(result.read_text(encoding="utf-8"))
            return Outcome(part, seconds, content["figures"], content["checks"])
        if self.process.poll() is None:
            return Outcome(part, seconds, reason=f"took longer than {limit:g} s and was ended")
        return Outcome(part, seconds, reason=self._reason(self.process.returncode))

    def _reason(self, code: int) -> str:
        """Why the process ended."""
        if code < 0:
            return f"ended by signal {-code} ({signal.Signals(-code).name})"
        self.errors.seek(0)
        lines = [line.strip() for line in self.errors if line.strip()]
        return lines[-1][:500] if lines else f"ended with exit code {code}"


def measure_all(parts: Sequence[str], small: bool, folder: Path) -> None:
    """Run parts in this process and write the result of each into ``folder``."""
    import _gpu
    import _gpu_training
    import _gpu_use

    warnings.filterwarnings("ignore")
    for name in ("pytorch_lightning", "lightning_fabric"):
        logging.getLogger(name).setLevel(logging.ERROR)
    functions = {
        "dialogue": _gpu_training.dialogue,
        "text": _gpu_training.text,
        "audio": _gpu_training.audio,
        "faces": _gpu_training.faces,
        "carat": _gpu_training.carat,
        "extraction": _gpu_use.extraction,
        "predict": _gpu_use.predict,
        "same results": _gpu_use.same_results,
    }
    device = "cuda" if torch.cuda.is_available() else "cpu"
    for part in parts:
        if device == "cuda":
            gc.collect()  # a network of the part before
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
        with tempfile.TemporaryDirectory() as name:
            found = functions[part](_gpu.Setup(device, small, MEASURED * LIMITS[part], Path(name)))
            write_text(folder / f"{part}.json", json.dumps(_gpu.as_json(found)))


def machine() -> dict[str, str | int]:
    """What the figures were measured on."""
    is_gpu = torch.cuda.is_available()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    found: dict[str, str | int] = {"device": torch.cuda.get_device_name() if is_gpu else "CPU", "CPU cores": cores}
    if is_gpu:
        found["GPU memory, GiB"] = round(torch.cuda.get_device_properties(0).total_memory / 2**30)
    return found | {
        "CUDA": torch.version.cuda or "none",
        "torch": torch.__version__,
        "Python": platform.python_version(),
    }


def line_of(outcome: Outcome) -> str:
    """How a part ended."""
    wrong = [check["name"] for check in outcome.checks if not check["holds"]]
    if outcome.reason is not None:
        ending = f"failed: {outcome.reason}"
    else:
        ending = f"differs from the CPU: {', '.join(wrong)}" if wrong else "done"
    return f"{outcome.part} ({outcome.seconds:.0f} s): {ending}"


def markdown(found: dict[str, str | int], outcomes: Sequence[Outcome]) -> str:
    """All of it as Markdown: the machine, a table of figures, a table of comparisons, and what failed."""
    figures = [(outcome.part, one) for outcome in outcomes for one in outcome.figures]
    checks = [(outcome.part, one) for outcome in outcomes for one in outcome.checks]
    blocks = [", ".join(f"{name} {value}" for name, value in found.items())]
    if figures:
        rows = [f"| {part} | {one['name']} | {one['value']:.4g} {one['unit']} |" for part, one in figures]
        blocks.append("\n".join(["| part | figure | value |", "|---|---|---|", *rows]))
    if checks:
        rows = [
            f"| {part} | {one['name']} | {one['difference']:.2g} | {one['tolerance']:.2g} | "
            f"{'yes' if one['holds'] else '**no**'} |"
            for part, one in checks
        ]
        blocks.append(
            "\n".join(["| part | as on the CPU | difference | accepted | holds |", "|---|---|---|---|---|", *rows])
        )
    failed = [f"- {outcome.part}: {outcome.reason}" for outcome in outcomes if outcome.reason is not None]
    if failed:
        blocks.append("\n".join(["Not measured:", "", *failed]))
    return "\n\n".join(blocks) + "\n"


if __name__ == "__main__":
    sys.exit(main())
