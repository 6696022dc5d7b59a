"""``m2fnet reproduce RUN``: train a run again from what its folder says, and compare."""

import argparse
import shlex
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from m2fnet import cli
from m2fnet.commands.arguments import Parser
from m2fnet.errors import RunError, UsageError
from m2fnet.files import like_it, read_json, write_json
from m2fnet.runs.folder import CONFIG, FIT, REPORT, REPRODUCTION

if TYPE_CHECKING:
    from m2fnet.runs.comparison import Comparison

DESCRIPTION = """\
Train a run again into another folder and compare: selected weights bit for
bit, dev score, and the report if it has one. First the manifest and the
stores are read and compared with the hashes that the run recorded. On the
machine and CPU of the run everything must be equal; elsewhere, and on a GPU,
numbers may differ a little. What differs in versions, device and code is
listed. Folders that the run names relatively are looked for from where the
command is typed.
"""


def main(argv: list[str]) -> None:
    """Train again and compare.

    Raises:
        RunError: if the data are not those of the run, or something came out differently.
        UsageError: if there is no finished run, or the second folder is the first.
    """
    parser = Parser(
        prog="m2fnet reproduce", description=DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "run", type=Path, metavar="RUN", help="folder that `fit` wrote, of a dialogue network or extractor"
    )
    parser.add_argument("--into", type=Path, metavar="DIR", help="folder of the second run (default: reproduced-RUN)")
    arguments = parser.parse_args(argv)
    run: Path = arguments.run
    into: Path = arguments.into or run.parent / f"reproduced-{run.resolve().name}"
    if into.resolve() == run.resolve():
        raise UsageError(f"{into} is the run itself; name another folder with --into.")
    if not (run / FIT).is_file():
        if (run / "report.json").is_file() and "extractor" in read_json(run / "report.json", RunError, "Fit it again."):
            raise UsageError(
                f"{run} was fitted by an older version of m2fnet and cannot be repeated as it is; fit its extractor "
                "again with `m2fnet extractor fit --config conf/extractors/...`, then reproduce that run."
            )
        raise UsageError(
            f"{run} holds no finished training; name the folder of a run that `fit` has finished.{like_it(run)}"
        )
    _tell(_train_again(run, into), run, into)


def _train_again(run: Path, into: Path) -> "list[Comparison]":
    """Repeat the training of a run, or a fit in one pass."""
    from m2fnet.runs.comparison import compare_runs
    from m2fnet.runs.provenance import Provenance  # torch takes seconds, which `m2fnet reproduce --help` does not need

    before = Provenance.read(run)
    before.verify_inputs()
    print("Manifest and stores are those that the run was made from.")
    threads = ("--threads", str(before.environment.threads))  # with another number, sums come out in another order
    _command(before.stage, "fit", "--config", str(run / CONFIG), "--run", str(into), *threads)
    if (run / REPORT).exists():
        _command(before.stage, "test", "--config", str(into / CONFIG), "--quiet", *threads)
    changed = before.environment.differences(Provenance.read(into).environment)
    print("\n" + "\n".join(["Other than when the run was made:", *changed] if changed else ["Environment: the same"]))
    return compare_runs(run, into)


def _tell(found: "Sequence[Comparison]", run: Path, into: Path) -> None:
    print(f"\n{run} and {into}:")
    for one in found:
        print(f"  {one.what:<9} {'equal    ' if one.is_equal else 'DIFFERENT'}  {one.detail}")
    write_json(into / REPRODUCTION, {"run": str(run), "compared": [asdict(one) for one in found]})
    different = [one.what for one in found if not one.is_equal]
    if different:
        raise RunError(f"{into} is not equal to {run}: {', '.join(different)}.")
    print("The run was reproduced.")


def _command(*arguments: str) -> None:
    """Show a command as one would type it, and run it.

    Raises:
        RunError: if it fails; it has said why.
    """
    print(f"\n$ m2fnet {shlex.join(arguments)}", flush=True)
    if cli.run(arguments) != cli.DONE:
        raise RunError(f"`m2fnet {' '.join(arguments[:2])}` failed, see above; there is nothing to compare.")
