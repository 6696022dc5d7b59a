"""``m2fnet sweep``: many seeds and settings of one configuration."""

import argparse
import shlex
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import get_args

from m2fnet import cli
from m2fnet.commands.arguments import Parser
from m2fnet.corpora.folds import FoldBy
from m2fnet.errors import RunError, UsageError
from m2fnet.files import read_json, write_json, write_text
from m2fnet.formatting import percent, terminal_table
from m2fnet.runs.folder import FIT, REPORT
from m2fnet.sweeps.plan import STAGES, Sweep, folder_of_all, stage_of
from m2fnet.sweeps.processes import LOG, Outcome, PlannedRun, parse_grid, parse_seeds, refuse_forbidden, run_all
from m2fnet.sweeps.ray_tasks import RaySweep, run_all_by_ray
from m2fnet.training.ray_cluster import add_engine_options, refuse_without_ray

DESCRIPTION = """\
Train and test every seed of every combination of settings, each in the run
folder that `fit` would give it. Runs that are finished are skipped, so the
same command continues a sweep that was interrupted. A run that fails does not
stop the others. The summary is in a folder next to the run folders, one
folder per grid; more seeds update it.
"""
EPILOG = """\
Any other key is a setting of all runs:
--data.streams '[text]' --trainer.max_epochs 5 ...

  m2fnet sweep --config conf/dialog/m2fnet_meld.yaml --seeds 0-4
  m2fnet sweep --config conf/dialog/m2fnet_meld.yaml --seeds 0-4 --jobs 2 \\
    --grid model.net.fusion_layers=1,3,5 \\
    --grid 'data.streams=[text],[text,audio]'
  m2fnet sweep --config conf/dialog/m2fnet_meld.yaml --seeds 0-2 --folds 5 \\
    --grid model.net.fusion_layers=1,3,5
  m2fnet sweep --config conf/dialog/m2fnet_meld.yaml --seeds 0-9 \\
    --engine ray --address 10.0.0.1:6379 --jobs 8 --gpus-per-run 0.5
"""


def main(argv: list[str]) -> None:
    """Run the sweep and report on it.

    Raises:
        UsageError: if a setting is wrong; nothing is trained then.
        RunError: naming the runs that failed.
    """
    parser = parser_of_many_runs("sweep", DESCRIPTION, EPILOG)
    parser.add_argument(
        "--grid", action="append", default=[], metavar="KEY=A,B", help="try each value; several of these multiply"
    )
    parser.add_argument(
        "--folds",
        type=int,
        metavar="K",
        help="compare the settings on K parts of the training dialogues, each held out from training in turn; the test "
        "split is not read",
    )
    parser.add_argument(
        "--fold-by",
        choices=get_args(FoldBy),
        default="dialogue",
        help="what stays in one fold: a dialogue (default), or a session: of IEMOCAP, elsewhere all dialogues that are "
        "connected by common speakers",
    )
    parser.add_argument("--no-test", action="store_true", help="train only, and score nothing on the test split")
    parser.add_argument("--no-report", action="store_true", help="print no table at the end")
    parser.add_argument(
        "--shard",
        metavar="K/N",
        help="train only every N-th run, for the jobs of an array; the command without it reports on all of them",
    )
    parser.add_argument("--stage", choices=STAGES, help="what the file configures (default: read from its content)")
    add_engine_options(parser)
    parser.add_argument(
        "--gpus-per-run",
        type=float,
        metavar="N",
        help="with Ray: GPUs of each run, such as 0.5 (default: those of the cluster shared by --jobs)",
    )
    arguments, options = parse_many_runs(parser, argv)
    refuse_without_ray(arguments, "gpus_per_run")
    gpus = arguments.gpus_per_run or 0.0
    if not (0 <= gpus <= 1 or (gpus.is_integer() and gpus > 1)):
        raise UsageError(f"--gpus-per-run is {gpus}; expected a share of one such as 0.5, or a whole number.")
    if arguments.folds is not None and (arguments.folds < 2 or arguments.no_test):
        raise UsageError("--folds expects at least 2 folds, and scores each on what was held out: no --no-test.")
    ray = RaySweep(arguments.address, arguments.gpus_per_run) if arguments.engine == "ray" else None
    runs, sweep = _plan(arguments, options)
    out = arguments.out or folder_of_all(arguments.config, runs, "sweep")
    rows = [{"settings": run.setting.values, "seed": run.seed, "run": str(run.folder)} for run in runs]
    write_json(out / "sweep.json", {"runs": rows})
    if arguments.shard is not None:
        from m2fnet.store.shards import Shard  # imports torch

        mine = Shard.parse(arguments.shard).share(runs)
        tell_failed(run_left(mine, arguments.jobs, sweep.module, ray), len(mine))
        return
    failed = run_left(runs, arguments.jobs, sweep.module, ray)
    if arguments.folds is not None and not failed:
        _choose(runs, arguments, out)
    elif not arguments.no_test and not arguments.no_report:
        _report([run.folder for run in runs if (run.folder / REPORT).exists()], out)
    tell_failed(failed, len(runs))


def parser_of_many_runs(
    name: str, description: str, epilog: str, *, seeds: str | None = None
) -> argparse.ArgumentParser:
    """The parser of the command ``name``, with what `parse_many_runs` reads; without ``seeds`` one has to name them."""
    parser = Parser(
        prog=f"m2fnet {name}",
        description=description,
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--config", required=True, metavar="FILE", help="of what is trained; it stays as it is")
    default = f" (default {seeds})" if seeds else ""
    parser.add_argument("--seeds", required=not seeds, default=seeds, help=f"such as 0-9 or 0-3,7{default}")
    parser.add_argument("--jobs", type=int, default=1, help="processes at a time; they share the cores (default 1)")
    parser.add_argument("--out", type=Path, metavar="DIR", help=f"folder of the tables (default: runs/FILE-...-{name})")
    return parser


def parse_many_runs(parser: argparse.ArgumentParser, argv: Sequence[str]) -> tuple[argparse.Namespace, list[str]]:
    """The arguments of the command, and the options that are settings of all its runs.

    Raises:
        UsageError: if there is no process to run, or an option is one that is set for each run.
    """
    arguments, options = parser.parse_known_args(argv)
    if arguments.jobs < 1:
        raise UsageError(f"--jobs is {arguments.jobs}, expected at least 1.")
    arguments.seeds = parse_seeds(arguments.seeds)
    refuse_forbidden([text.removeprefix("--").partition("=")[0] for text in options if text.startswith("--")])
    return arguments, options


def run_left(runs: Sequence[PlannedRun], jobs: int, module: str, ray: RaySweep | None = None) -> list[PlannedRun]:
    """Run what is left, print each outcome and return the runs that failed.

    Args:
        runs: what is to be done, done runs among it.
        jobs: number of processes.
        module: is imported once for all of them.
        ray: where Ray runs them; without it they are processes of this machine.
    """
    print(_table(runs), flush=True)
    left, failed = [run for run in runs if run.commands], []
    running = run_all_by_ray(left, jobs, [module], ray) if ray else run_all(left, jobs, _gpus(), [module])
    with _ended_like_ctrl_c(), closing(running) as outcomes:
        for number, outcome in enumerate(outcomes, start=1):
            print(f"[{number}/{len(left)}] {_line(outcome)}", flush=True)
            failed += [outcome.run] if outcome.code else []
    return failed


def tell_failed(failed: Sequence[PlannedRun], of: int) -> None:
    """Do nothing if nothing failed.

    Raises:
        RunError: naming the runs with the last that each has said.
    """
    if failed:
        names = "\n".join(f"  {run.folder}: {_last_line(run.folder / LOG)}" for run in failed)
        raise RunError(f"{len(failed)} of {of} runs failed; {LOG} in each folder tells all:\n{names}")


def _plan(arguments: argparse.Namespace, options: Sequence[str]) -> tuple[list[PlannedRun], Sweep]:
    grid = parse_grid(arguments.grid)
    stage = arguments.stage or stage_of(arguments.config)
    if arguments.folds is not None:
        if stage != "dialog":
            raise UsageError("--folds is for dialogue networks, which read stores; an extractor has none.")
        from m2fnet.sweeps.folds import with_folds  # imports pandas

        grid = [fold for setting in grid for fold in with_folds(setting, arguments.folds, arguments.fold_by)]
    sweep = Sweep(arguments.config, stage, arguments.seeds, is_tested=not arguments.no_test)
    runs = [run for setting in grid for run in sweep.runs(setting, options)]
    if len({run.folder for run in runs}) < len(runs):
        if any(option.partition("=")[0] == "--name" for option in options):
            raise UsageError("--name gives every combination of the grid one folder; without it folders name them.")
        raise UsageError("Two combinations of the grid are the same settings; give each value once.")
    return runs, sweep


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


def _table(runs: Sequence[PlannedRun]) -> str:
    """One line per setting: what it is, its folder, and how many of its seeds are done."""
    import pandas as pd  # takes longer to import than `m2fnet sweep --help` may take

    rows = [(str(run.folder.parent), str(run.setting), not run.commands) for run in runs]
    by_folder = pd.DataFrame(rows, columns=["folder", "settings", "done"]).groupby("folder", sort=False)
    table = by_folder.agg(settings=("settings", "first"), seeds=("done", "size"), done=("done", "sum")).reset_index()
    return terminal_table(table[["settings", "folder", "seeds", "done"]])


def _line(outcome: Outcome) -> str:
    run = outcome.run
    name = f"{run.setting}, seed {run.seed}"
    if outcome.code:
        return f"{name}: FAILED, {_last_line(run.folder / LOG)}"
    files = {"dev": run.folder / FIT, "test": run.folder / REPORT}
    found = {split: read_json(path, RunError, "Train it again.") for split, path in files.items() if path.exists()}
    from m2fnet.metrics.scores import main_score, score_title
    from m2fnet.runs.tested import kind_of

    scores = [f"dev {percent(score)}" for key, score in found.get("dev", {}).items() if key.startswith("dev.")]
    title = "dev score"
    if "test" in found:
        main = main_score(kind_of(found["test"]))
        scores.append(f"test {percent(found['test']['test'][main])}")
        title = score_title(main)
    return f"{name}: {title} {', '.join(scores)}, {outcome.seconds:.0f} s"


def _last_line(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return lines[-1] if lines else "it said nothing"


def _choose(runs: Sequence[PlannedRun], arguments: argparse.Namespace, out: Path) -> None:
    """Write and print the settings by their out-of-fold scores, and the command that trains the best one."""
    from m2fnet.reports.terminal import for_terminal
    from m2fnet.sweeps.folds import as_page, compare_out_of_fold

    table = compare_out_of_fold(runs, arguments.folds, arguments.fold_by)
    page = as_page(table)
    write_json(out / "folds.json", table)
    write_text(out / "folds.md", page)
    best = [f"--{key}={value}" for key, value in table["settings"][0]["options"].items()]
    command = shlex.join(["m2fnet", "dialog", "fit", "--config", arguments.config, *best])
    print(f"\n{for_terminal(page)}\n\nWrote {out / 'folds.md'}, {out / 'folds.json'}. The best setting: {command}")


def _report(runs: Sequence[Path], out: Path) -> None:
    if runs:
        command = ["report", *map(str, runs), "--out", str(out)]
        print(f"\n$ m2fnet {shlex.join(command)}", flush=True)
        cli.run(command)
