"""``m2fnet sweep``: many seeds and settings of one configuration."""

import argparse
import importlib
import json
import shlex
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import yaml

from m2fnet import cli
from m2fnet.config import resolve_config_arguments
from m2fnet.errors import RunError, UsageError
from m2fnet.files import write_json
from m2fnet.run_folder import CONFIG, FIT
from m2fnet.sweep import LOG, Outcome, Run, parse_grid, parse_seeds, refuse_forbidden, run_all

REPORT = "report.json"
DESCRIPTION = """\
Train and test every seed of every combination of settings, each in the run folder that `fit` would give it. What is
done is not done again, so the same command continues a sweep that was interrupted. A run that fails does not stop the
others.
"""
EPILOG = """\
Any other key is a setting of all runs: --data.modalities '[text]' --trainer.max_epochs 5 ...

  m2fnet sweep --config conf/dialog/m2fnet_meld.yaml --seeds 0-4
  m2fnet sweep --config conf/dialog/m2fnet_meld.yaml --seeds 0-4 --jobs 2 \\
    --grid model.net.fusion_layers=1,3,5 --grid 'data.modalities=[text],[text,audio]'
"""
# what trains, by the kind of configuration; named by path, because the core imports no stage
_TRAINERS = {"dialog": ("dialog.cli", "main"), "extractor": ("extractors.training_command", "train")}


@dataclass(frozen=True)
class Plan:
    """All runs of a sweep, where its summary goes, and the module that trains."""

    runs: tuple[Run, ...]
    out: Path
    module: str


def main(argv: list[str]) -> None:
    """Run the sweep and report on it.

    Raises:
        UsageError: if a setting is wrong; nothing is trained then.
        RunError: naming the runs that failed.
    """
    arguments, settings = _parser().parse_known_args(argv)
    if arguments.jobs < 1:
        raise UsageError(f"--jobs is {arguments.jobs}, expected at least 1.")
    refuse_forbidden([text.removeprefix("--").partition("=")[0] for text in settings if text.startswith("--")])
    plan = _plan(arguments, settings)
    print(_table(plan.runs))
    _write(plan)
    failed = _run(plan, arguments.jobs)
    if not arguments.no_test and not arguments.no_report:
        _report([run.folder for run in plan.runs if (run.folder / REPORT).exists()], plan.out)
    if failed:
        names = "\n".join(f"  {run.folder}: {_last_line(run.folder / LOG)}" for run in failed)
        raise RunError(f"{len(failed)} of {len(plan.runs)} runs failed; {LOG} in each folder tells all:\n{names}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="m2fnet sweep",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--config", required=True, metavar="FILE", help="of a dialogue network or of an extractor's")
    parser.add_argument("--seeds", required=True, help="such as 0-9 or 0-3,7")
    parser.add_argument(
        "--grid", action="append", default=[], metavar="KEY=A,B", help="try each value; several of these multiply"
    )
    parser.add_argument("--jobs", type=int, default=1, help="processes at a time; they share the cores (default 1)")
    parser.add_argument("--no-test", action="store_true", help="train only, and leave the test split alone")
    parser.add_argument("--no-report", action="store_true", help="print no table at the end")
    parser.add_argument("--stage", choices=list(_TRAINERS), help="what the file configures (default: seen from it)")
    parser.add_argument("--out", type=Path, metavar="DIR", help="folder of the summary (default: runs/FILE-sweep)")
    return parser


def _plan(arguments: argparse.Namespace, settings: Sequence[str]) -> Plan:
    """Check every setting, and find out what is done."""
    seeds, grid = parse_seeds(arguments.seeds), parse_grid(arguments.grid)
    stage = arguments.stage or _stage_of(Path(resolve_config_arguments(["--config", arguments.config])[1]))
    module, function = _TRAINERS[stage]
    train = getattr(importlib.import_module(module), function)
    runs = []
    for setting in grid:
        fit = ("fit", "--config", arguments.config, *settings, *setting.options)
        first: Path = train([*fit, f"--seed_everything={seeds[0]}", "--plan=true", "--quiet=true"])
        if first.name != f"seed-{seeds[0]}":
            raise UsageError(f"{arguments.config} is of one run; name the configuration that it was made from.")
        for seed in seeds:
            folder = first.with_name(f"seed-{seed}")
            if (folder / CONFIG).exists():  # what lies there must be of these settings and data
                train([*fit, f"--seed_everything={seed}", "--plan=true", "--quiet=true"])
            commands = _commands(stage, (*fit, f"--seed_everything={seed}"), folder, tests=not arguments.no_test)
            runs.append(Run(setting, seed, folder, commands))
    if len({run.folder for run in runs}) < len(runs):
        raise UsageError("Two combinations of the grid are the same settings; give each value once.")
    stem = Path(arguments.config).stem
    return Plan(tuple(runs), arguments.out or runs[0].folder.parent.with_name(f"{stem}-sweep"), module)


def _stage_of(config: Path) -> str:
    """Whether the file configures a dialogue network, which reads stores, or an extractor's."""
    content = yaml.safe_load(config.read_text(encoding="utf-8"))
    if "extractor" in content:
        raise UsageError(f"{config} is of an extractor that is fitted in one pass; run `m2fnet extractor fit` with it.")
    data = content.get("data")
    if isinstance(data, str):
        data = yaml.safe_load((config.parent / data).read_text(encoding="utf-8"))
    return "dialog" if isinstance(data, dict) and "stores" in data else "extractor"


def _commands(stage: str, fit: tuple[str, ...], folder: Path, *, tests: bool) -> tuple[tuple[str, ...], ...]:
    """What is left to do for a run."""
    test = (stage, "test", "--config", str(folder / CONFIG), "--quiet=true")
    fits = () if (folder / FIT).exists() else ((stage, *fit),)
    return (*fits, test) if tests and (fits or not (folder / REPORT).exists()) else fits


def _run(plan: Plan, jobs: int) -> list[Run]:
    """Run what is left; return the runs that failed."""
    left, failed = [run for run in plan.runs if run.commands], []
    with _ended_like_ctrl_c(), closing(run_all(left, jobs, _gpus(), [plan.module])) as outcomes:
        for number, outcome in enumerate(outcomes, start=1):
            print(f"[{number}/{len(left)}] {_line(outcome)}", flush=True)
            failed += [outcome.run] if outcome.code else []
    return failed


def _gpus() -> int:
    import torch

    return torch.cuda.device_count()


@contextmanager
def _ended_like_ctrl_c() -> Iterator[None]:
    """Let a request to end be treated as Ctrl-C is, so that no child is left behind."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _table(runs: Sequence[Run]) -> str:
    """One line per setting: what it is, its folder, and how many of its seeds are done."""
    settings: dict[Path, list[Run]] = {}
    for run in runs:
        settings.setdefault(run.folder.parent, []).append(run)
    rows = [("settings", "folder", "seeds", "done")]
    for folder, members in settings.items():
        done = sum(not run.commands for run in members)
        rows.append((str(members[0].setting), str(folder), str(len(members)), str(done)))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)


def _line(outcome: Outcome) -> str:
    run = outcome.run
    name = f"{run.setting}, seed {run.seed}"
    if outcome.code:
        return f"{name}: FAILED, {_last_line(run.folder / LOG)}"
    scores = [f"dev {100 * json.loads((run.folder / FIT).read_text(encoding='utf-8'))['dev.weighted_f1']:.2f}"]
    if (run.folder / REPORT).exists():
        scores.append(
            f"test {100 * json.loads((run.folder / REPORT).read_text(encoding='utf-8'))['test.weighted_f1']:.2f}"
        )
    return f"{name}: weighted F1 {', '.join(scores)}, {outcome.seconds:.0f} s"


def _last_line(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return lines[-1] if lines else "it said nothing"


def _write(plan: Plan) -> None:
    rows = [{"settings": run.setting.values, "seed": run.seed, "run": str(run.folder)} for run in plan.runs]
    write_json(plan.out / "sweep.json", {"runs": rows})


def _report(runs: Sequence[Path], out: Path) -> None:
    if runs:
        command = ["report", *map(str, runs), "--out", str(out)]
        print(f"\n$ m2fnet {shlex.join(command)}", flush=True)
        cli.run(command)
