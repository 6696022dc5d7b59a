"""What every training command shares: LightningCLI in a run folder, with errors in one sentence.

A run folder holds ``config.yaml``, ``provenance.json``, ``checkpoints/{best,last}.ckpt``, a file ``metrics.csv`` in
``logs/`` for every time it was started or resumed and, once training is done, ``fit.json``.
"""

import shlex
from argparse import ArgumentError
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import pytorch_lightning as pl
from pytorch_lightning.cli import LightningArgumentParser, LightningCLI

from m2fnet.config import refused_if_not_installed, resolve_config_arguments
from m2fnet.problems import Problem
from m2fnet.records import LabelSet
from m2fnet.runs.checkpoints import asked_weights, folder_of_results
from m2fnet.runs.folder import FIT
from m2fnet.runs.other_data import OtherData
from m2fnet.runs.provenance import Environment, Input, Provenance, store_input
from m2fnet.training.callbacks import RunCallbacks, print_rank_zero, shown_progress
from m2fnet.training.checkpoint_files import write_whole_checkpoints
from m2fnet.training.fitting import evaluate, facts_of_training, fit_in_folder
from m2fnet.training.help import ALL, SettingsHelp, asks_for_help
from m2fnet.training.lightning_output import keep_lightning_to_the_point
from m2fnet.training.loggers import run_loggers
from m2fnet.training.refusals import refuse_other_precision, refused_by_machine, refused_settings
from m2fnet.training.scored_data import Scoring, settle_data
from m2fnet.training.settings import (
    RunSettings,
    add_run_options,
    describe_commands,
    parser_settings,
    read_renamed_settings,
    refuse_wrong_seed,
)
from m2fnet.training.threads import limit_threads, own_threads

_COMMANDS = {
    "fit": "Train on the training split; dev chooses the weights that are kept. The same command resumes.",
    "validate": "Score the kept weights on dev.",
    "test": "Score the kept weights on dev and test, and write the report into the run folder.",
    "predict": "Label every utterance of a split with the kept weights, context utterances included.",
}
_SET_HERE = {"model", "datamodule", "train_dataloaders", "val_dataloaders", "dataloaders"}
_SET_HERE |= {"ckpt_path", "weights_only", "verbose", "return_predictions"}  # arguments of Lightning's trainer


class DryRun(Exception):  # noqa: N818 - not an error: the command has done what `--dry-run` asks
    """Raised once the settings are checked and the run folder is known.

    Attributes:
        settings: of the run.
    """

    def __init__(self, settings: RunSettings) -> None:
        super().__init__(f"{settings.folder}{', trained already' if (settings.folder / FIT).exists() else ''}")
        self.settings = settings


class RunCLI(LightningCLI):
    """LightningCLI that keeps everything of a training in one run folder.

    ``fit`` says so if the run is finished, resumes it if it was interrupted, and refuses other settings. The other
    commands take the weights that ``--select`` chose. Only dev chooses; only ``test`` reads the test split.
    """

    prog: ClassVar[str]
    task: ClassVar[type[pl.LightningModule]]
    data: ClassVar[type[pl.LightningDataModule]]
    trained_by: ClassVar[type[pl.Trainer]] = pl.Trainer
    example: ClassVar[str]  # a shipped configuration
    threads: ClassVar[int | None] = None  # by default; None for all cores

    def __init__(self, argv: Sequence[str], *, checks_data: bool = False) -> None:
        keep_lightning_to_the_point()
        read_renamed_settings()
        self.typed = shlex.join([*self.prog.split(), *argv])
        self.checks_data = checks_data
        self.other: OtherData | None = None
        self.lost_labels: dict[str, int] = {}
        super().__init__(
            self.task,
            self.data,
            args=_config_first(resolve_config_arguments(argv)),
            save_config_callback=None,
            trainer_class=self.trained_by,
            seed_everything_default=0,
            auto_configure_optimizers=False,
            trainer_defaults={"use_distributed_sampler": False},  # the data modules share out whole batches themselves
            parser_kwargs=parser_settings(
                self.prog, self.__doc__, {name: _COMMANDS.get(name) for name in self.subcommands()}
            ),
        )

    @classmethod
    def start(cls, argv: Sequence[str], *, prints_plan: bool = False) -> RunSettings:
        """Run one command and return the settings of the run; with ``--dry-run`` nothing is made.

        Args:
            argv: what was typed after ``prog``.
            prints_plan: with ``--dry-run`` check the data too, and print the run folder.
        """
        if asks_for_help(argv) and argv[0] in cls.subcommands():
            print_rank_zero(cls.help().page(argv, _COMMANDS.get(argv[0]) or str(getattr(cls, argv[0]).__doc__)))
            raise SystemExit(0)
        argv = ["--help" if one == ALL else one for one in argv]
        with own_threads():
            try:
                return cls(argv, checks_data=prints_plan).settings
            except DryRun as planned:
                if prints_plan:
                    print_rank_zero(str(planned))
                return planned.settings

    @classmethod
    def help(cls) -> SettingsHelp:
        """What the command says about its settings."""
        return SettingsHelp(cls.prog, cls.task, cls.data, cls.example, add_run_options)

    @staticmethod
    def subcommands() -> dict[str, set[str]]:
        """The commands, and the arguments of Lightning's trainer that they do not offer."""
        return dict.fromkeys(_COMMANDS, _SET_HERE)

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add the options that concern the run folder."""
        add_run_options(parser)

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:  # noqa: ANN401 - Lightning's own
        """Parse the command line; a `UsageError` names the key that is wrong."""
        describe_commands(parser, _COMMANDS)
        try:
            self.config = parser.parse_args(args)
        except ArgumentError as error:
            raise self.help().refused(error, args) from error
        refuse_wrong_seed(self.config[self.config.subcommand].seed_everything)

    def before_instantiate_classes(self) -> None:
        """Settle the run folder, which must hold no run of other settings or data, and where the trainer writes."""
        given, self.settings = self.config[self.subcommand], RunSettings(self.parser, self.config)
        self.run = self.settings.folder
        self.settings.refuse_misuse()
        if given.dry_run:
            if not self.checks_data:
                raise DryRun(self.settings)
            given.trainer.logger = False  # some register the run when they are made
        given.run = given.trainer.default_root_dir = str(self.run)
        limit_threads(given.threads, self.threads)

    def instantiate_classes(self) -> None:
        """Make data, task and trainer."""
        with refused_if_not_installed():
            super().instantiate_classes()
        if self.subcommand != "fit":
            self.settle_data()

    def settle_data(self) -> None:
        """Find out whether the run is scored on its own data; others get a folder for their results in the run."""
        given = self.config[self.subcommand]
        self.other, self.lost_labels = settle_data(
            self.run,
            self.datamodule,
            Scoring(given.data.manifest, self.stores, given.label_map, needs_labels=self.subcommand != "predict"),
            self.trained_labels,
            retrain=f"{self.prog} fit",
        )

    def trained_labels(self) -> LabelSet | None:
        """The emotions that the weights answer; None if they have no fixed ones."""
        return None

    def facts_of_other_data(self) -> dict[str, object]:
        """What a report on other data says about the run; empty for the run's own data."""
        return self.other.facts(self.config[self.subcommand].label_map, self.lost_labels) if self.other else {}

    def instantiate_trainer(self, **kwargs: Any) -> pl.Trainer:  # noqa: ANN401 - Lightning's own
        """The trainer with this run's checkpoints, logs and timer; a `UsageError` says what Lightning refuses.

        Raises:
            DryRun: instead, if nothing shall be made; the data are there, and what they do not fit was refused.
        """
        if self.config[self.subcommand].dry_run:
            if self.subcommand == "fit":
                self.check_fit()
            raise DryRun(self.settings)
        given, trainer = self.config_init[self.subcommand], self.config_init[self.subcommand].trainer
        shows_bar, prints_lines = shown_progress(trainer.enable_progress_bar, quiet=given.quiet)
        own = RunCallbacks(self.run, given.select, self.monitor, prints_lines=prints_lines)
        self.timer, self.checkpoint = own.timer, own.checkpoint
        trainer.callbacks = own.after(trainer.callbacks, self.logged_on_dev() if self.subcommand == "fit" else None)
        kwargs["logger"] = run_loggers(self.run, trainer.logger, is_fit=self.subcommand == "fit")
        kwargs |= {"enable_model_summary": bool(trainer.enable_model_summary), "enable_progress_bar": shows_bar}
        with refused_settings(trainer):
            made = super().instantiate_trainer(**kwargs)
        refuse_other_precision(str(trainer.precision), made)
        write_whole_checkpoints(made)
        return made

    def check_fit(self) -> None:
        """Refuse what a training would refuse before its first step; for ``--dry-run``, so nothing is written."""

    def logged_on_dev(self) -> Iterable[str]:
        """Names of the scores on dev that are logged after every epoch."""
        return ("loss", *self.problem.score_names)

    def fit(self, model: pl.LightningModule, datamodule: pl.LightningDataModule) -> None:
        """Train, resume, or print that there is nothing to do."""
        train = partial(self.train, model, datamodule)
        overwrite: bool = self.config[self.subcommand].overwrite
        fit_in_folder(self.run, self.trainer, train, self.settings.values, self.provenance, overwrite=overwrite)

    def train(
        self, model: pl.LightningModule, datamodule: pl.LightningDataModule, checkpoint: Path | None
    ) -> dict[str, object]:
        """Train from ``checkpoint`` if a run resumes; return what ``fit.json`` shall hold."""
        with refused_by_machine(self.trainer, self.run):
            self.trainer.fit(model, datamodule=datamodule, ckpt_path=checkpoint, weights_only=True)
        select: str = self.config[self.subcommand].select
        return facts_of_training(self.trainer, self.checkpoint, self.timer, self.monitor, select)

    def validate(self, **kwargs: Any) -> None:  # noqa: ANN401 - model and data, as Lightning hands them on
        """Score the selected weights on dev."""
        self.evaluate("validate", **kwargs)

    def test(self, **kwargs: Any) -> None:  # noqa: ANN401
        """Score the selected weights on dev and test."""
        self.evaluate("test", verbose=False, **kwargs)

    def predict(self, **kwargs: Any) -> None:  # noqa: ANN401
        """Label the chosen split with the selected weights."""
        self.evaluate("predict", return_predictions=False, **kwargs)

    def evaluate(self, command: str, **kwargs: Any) -> None:  # noqa: ANN401
        """Run a command of the trainer with the weights that ``--checkpoint`` or ``--select`` names."""
        given = self.config[self.subcommand]
        weights = asked_weights(self.run, given.checkpoint, given.select)
        evaluate(getattr(self.trainer, command), self.run, weights, **kwargs)

    @property
    def problem(self) -> Problem:
        """What the data ask for."""
        problem: Problem = self.datamodule.problem
        return problem

    @property
    def monitor(self) -> str:
        """Name of the logged score on dev that selects weights, such as ``dev/weighted_f1``."""
        return f"dev/{self.problem.monitor}"

    @property
    def results(self) -> Path:
        """Where results are written: the run folder, or a folder in it for other data or other weights."""
        given = self.config[self.subcommand]
        folder = self.run if self.other is None else self.run / self.other.folder
        return folder_of_results(folder, given.checkpoint, given.select)

    @property
    def stores(self) -> dict[str, Input]:
        """The stores that the data are made of, by stream."""
        return {name: store_input(store) for name, store in getattr(self.datamodule, "stores", {}).items()}

    def provenance(self, environment: Environment) -> Provenance:
        """What this run is made from, in ``environment``."""
        given, data = self.config[self.subcommand], self.datamodule
        return Provenance(
            command=self.typed,
            directory=str(Path.cwd()),
            repeat=shlex.join(["m2fnet", "reproduce", str(self.run)]),
            seed=given.seed_everything,
            overrides=self.settings.overrides,
            manifest=Input(given.data.manifest, data.manifest.sha256),
            stores=self.stores,
            environment=environment,
        )


def _config_first(arguments: list[str]) -> list[str]:
    """The same arguments with ``--config FILE`` directly after the subcommand.

    A file would otherwise undo the settings that are typed before it.

    Example:
        >>> _config_first(["fit", "--seed_everything", "1", "--config", "a.yaml"])
        ['fit', '--config', 'a.yaml', '--seed_everything', '1']
    """
    files: list[str] = []
    others = list(arguments)
    for name in ("--config", "-c"):
        while name in others[:-1]:
            place = others.index(name)
            files += others[place : place + 2]
            del others[place : place + 2]
    return [*others[:1], *files, *others[1:]]
