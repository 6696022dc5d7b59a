"""``m2fnet self-train``: labelled utterances and a pool of unlabelled ones -> rounds of pseudo-labels."""

from argparse import ArgumentError, RawDescriptionHelpFormatter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from dialog.self_training.policies import Policy
from dialog.self_training.splits import FrozenSplit, Shared, freeze
from dialog.self_training.training import Training, read_inputs
from m2fnet.config import one_sentence, resolve_config_arguments
from m2fnet.corpora.folds import FoldBy
from m2fnet.errors import RunError, UsageError
from m2fnet.files import locked, write_json, write_text
from m2fnet.formatting import did_you_mean, terminal_table, unknown_option
from m2fnet.manifest import Manifest
from m2fnet.sweeps.processes import parse_seeds
from m2fnet.training.threads import limit_threads, own_threads

if TYPE_CHECKING:
    from jsonargparse import ArgumentParser

    from dialog.self_training.run import SelfTraining

_LARGEST = 64 * 2**20  # bytes of a list of ids
DESCRIPTION = """\
Train networks on the gold utterances, let them label a pool, and train
students on both, in up to three rounds. Gold is split into folds that are
frozen; each round is scored on gold that no teacher of it has seen, and kept
only if it gains. Dev and test are scored once, in the end. The same command
resumes, and finished folds are not trained again.

  m2fnet self-train --config conf/self_training/meld_text.yaml
  m2fnet self-train --config conf/self_training/meld_text.yaml \\
    --policy '[soft]' --rounds 1 --out runs/self_train/soft
  m2fnet self-train --config conf/self_training/meld_text.yaml --select-only
"""


@dataclass(frozen=True)
class Settings:
    """What is trained, and on what.

    Attributes:
        manifest: folder that `m2fnet prepare` wrote.
        stores: stream -> folder that `m2fnet extract` wrote, of one vector per utterance.
        policies: name -> policy that selects pseudo-labels, out of `dialog.self_training.policies`.
        out: folder of split, rounds and report.
        policy: names of the policies to use; all by default.
        gold: how many labelled utterances of train are gold, drawn as whole dialogues; by default all of them, so that
            the pool is what has no label.
        gold_ids: file with the id of a gold utterance in each line, in place of ``gold``.
        pool_ids: file with the ids of the pool; by default all other utterances of train that keep ``apart``.
        gold_seed: of the draw of gold dialogues.
        folds: parts of gold, each scored by networks that have not seen it.
        fold_by: what stays in one fold.
        apart: what no utterance of the pool may share with one of gold, dev or test.
        transductive: let utterances of test be in the pool, without their labels; every report says so.
        seeds: such as 0-4; two or more.
        rounds: at most 3; the first that does not gain is the last.
        training: of all networks.
    """

    manifest: str
    stores: dict[str, str]
    policies: dict[str, Policy]
    out: str
    policy: list[str] | None = None
    gold: int | None = None
    gold_ids: str | None = None
    pool_ids: str | None = None
    gold_seed: int = 0
    folds: int = 5
    fold_by: FoldBy = "dialogue"
    apart: list[Shared] = field(default_factory=lambda: ["dialogue"])
    transductive: bool = False
    seeds: str = "0-4"
    rounds: int = 3
    training: Training = field(default_factory=Training)

    def chosen(self) -> dict[str, Policy]:
        """The policies to use.

        Raises:
            UsageError: if one is named that does not exist, or none.
        """
        names = list(self.policies) if self.policy is None else self.policy
        if not names or not set(names) <= self.policies.keys():
            raise UsageError(
                f"policy is {names}, but policies has {', '.join(self.policies) or 'none'}; expected one or more of "
                "these."
            )
        return {name: self.policies[name] for name in names}

    def split(self, manifest: Manifest) -> FrozenSplit:
        """The split of ``manifest``.

        Raises:
            UsageError: if a setting is wrong, or something leaks.
        """
        if self.gold is not None and (self.gold < 1 or self.gold_ids is not None):
            raise UsageError(f"gold is {self.gold}; expected a number from 1, and no gold_ids with it.")
        return freeze(
            manifest,
            gold=self.gold if self.gold_ids is None else read_ids(Path(self.gold_ids)),
            pool=None if self.pool_ids is None else read_ids(Path(self.pool_ids)),
            folds=self.folds,
            by=self.fold_by,
            apart=self.apart,
            transductive=self.transductive,
            seed=self.gold_seed,
        )


def main(argv: list[str]) -> None:
    """Run the self-training and print its table.

    Raises:
        UsageError: if a setting is wrong, or something would leak; nothing is trained then.
        RunError: if what is in the folder cannot be used.
    """
    settings, flags = parse(argv)
    with own_threads():
        limit_threads(None, usual=1)
        run(settings, flags)


@dataclass(frozen=True)
class Flags:
    """What the command does other than training: ``dry_run`` stops after the split, ``select_only`` after selection."""

    dry_run: bool = False
    select_only: bool = False
    quiet: bool = False


def make_parser() -> "ArgumentParser":
    """The parser of command lines and configuration files."""
    from jsonargparse import ArgumentParser, DefaultHelpFormatter

    class Help(RawDescriptionHelpFormatter, DefaultHelpFormatter):
        """Examples in their own lines, types and defaults as jsonargparse prints them."""

    parser = ArgumentParser(
        prog="m2fnet self-train",
        description=DESCRIPTION,
        formatter_class=Help,
        exit_on_error=False,
        allow_abbrev=False,
    )
    parser.add_argument("--config", action="config", help="file with these settings, such as conf/self_training/*.yaml")
    parser.add_class_arguments(Settings, None)
    parser.add_argument("--dry-run", action="store_true", help="Draw and check the split, print its numbers, stop.")
    parser.add_argument(
        "--select-only",
        action="store_true",
        help="Print what each policy selects out of the stored answers of round 0; nothing else is trained.",
    )
    parser.add_argument("--quiet", action="store_true", help="Print no line per step.")
    return parser


def parse(argv: Sequence[str]) -> tuple[Settings, Flags]:
    """The settings and flags of a command line.

    Raises:
        UsageError: naming the key that is wrong.
    """
    parser = make_parser()
    try:
        parsed = parser.parse_args(resolve_config_arguments(argv))
        flags = Flags(**{name: parsed.pop(name) for name in ("dry_run", "select_only", "quiet")})
        made = parser.instantiate(parsed)
    except (ArgumentError, ValueError) as refusal:
        if isinstance(refusal, UsageError):
            raise
        wrong = unknown_option(str(refusal))
        near = did_you_mean(wrong, parser._option_string_actions) if wrong else ""
        raise UsageError(f"{one_sentence(str(refusal)).rstrip('.')}.{near}") from refusal
    made.pop("config", None)
    return Settings(**vars(made)), flags


def run(settings: Settings, flags: Flags = Flags()) -> None:
    """Do what is asked for, and print it."""
    policies, seeds = settings.chosen(), parse_seeds(settings.seeds)
    manifest = Manifest.load(Path(settings.manifest))
    split = settings.split(manifest)
    folder = Path(settings.out)
    print(
        f"{len(split.gold)} gold utterances in folds of {', '.join(str(len(fold)) for fold in split.folds)}; "
        f"{len(split.pool)} in the pool; split {split.sha256[:12]}",
        flush=True,
    )
    if flags.dry_run:
        return
    from dialog.self_training.run import SelfTraining

    inputs = read_inputs(manifest, settings.stores, settings.training.input_norm)
    with locked(folder, RunError):
        training = SelfTraining(
            manifest, inputs, split, settings.training, seeds, folder, _silent if flags.quiet else _printed
        )
        if flags.select_only:
            _preview(training, policies)
        else:
            _train(training, policies, settings.rounds)


def _train(training: "SelfTraining", policies: dict[str, Policy], rounds: int) -> None:
    from dialog.self_training.report import as_json, as_page, table, transduction, warning

    results = training.run(policies, rounds)
    write_json(training.folder / "report.json", as_json(results, training.manifest))
    write_text(training.folder / "report.md", as_page(results, training.manifest))
    print(f"\n{terminal_table(table(results, training.manifest))}\n\n{transduction(results.split.transductive)}")
    if found := warning(results, training.manifest):
        print(f"\n{found}")
    print(f"Wrote {training.folder / 'report.md'} and report.json.")


def _preview(training: "SelfTraining", policies: dict[str, Policy]) -> None:
    import pandas as pd

    from dialog.self_training.run import preview

    training.freeze()
    name, policy = next(iter(policies.items()))
    labels = training.labels(training.teachers(), policy, name, fold=None, round_=1)
    rows = []
    for name, counts in preview(labels, policies).items():
        found = counts["labels"]
        assert isinstance(found, dict)
        rows.append({"policy": name, "selected": counts["selected"], "mean weight": counts["mean_weight"], **found})
    print(terminal_table(pd.DataFrame(rows)))


def read_ids(path: Path) -> list[str]:
    """The ids in a text file, one per line; empty lines do not count.

    Raises:
        UsageError: if the file cannot be read, holds an id twice, or none.
    """
    try:
        if path.stat().st_size > _LARGEST:
            raise UsageError(f"{path} is larger than {_LARGEST >> 20} MiB; expected one id per line.")
        names = [line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as problem:
        raise UsageError(f"Cannot read the ids in {path}: {problem}.") from problem
    if not names or len(set(names)) < len(names):
        raise UsageError(f"{path} holds {len(names)} ids, {len(set(names))} of them different; expected each once.")
    return names


def _printed(line: str) -> None:
    print(line, flush=True)


def _silent(line: str) -> None:
    pass
