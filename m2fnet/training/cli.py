"""What every training command shares: LightningCLI with a run folder, one-sentence errors and resuming.

A run folder holds ``config.yaml``, ``provenance.json``, ``checkpoints/{best,last}.ckpt``, a file ``metrics.csv`` in
``logs/`` for every time it was started or resumed and, once training is done, ``fit.json``.
"""

import shlex
import sys
from argparse import ArgumentError
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any, ClassVar, Literal

import pytorch_lightning as pl
import torch
import yaml
from jsonargparse import get_loader, set_loader
from lightning_fabric.utilities.exceptions import MisconfigurationException
from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.cli import LightningArgumentParser, LightningCLI
from pytorch_lightning.loggers import Logger

from m2fnet.config import one_sentence, resolve_config_arguments
from m2fnet.errors import M2FNetError, RunError, UsageError
from m2fnet.files import locked, read_json, write_json, write_text
from m2fnet.runs.checkpoints import refuse_damaged, selected_weights
from m2fnet.runs.folder import (
    CONFIG,
    FIT,
    PROVENANCE,
    differences,
    is_run,
    refuse_other_settings,
    run_folder,
    settings_of_a_run,
    trained_settings,
)
from m2fnet.runs.provenance import Environment, Provenance, manifest_input, store_input
from m2fnet.runs.renamed import with_current_names
from m2fnet.store import Store
from m2fnet.training.callbacks import MONITOR, EpochLines, EpochTimer, RandomState, StopOnNonFinite, print_rank_zero
from m2fnet.training.lightning_output import keep_lightning_to_the_point
from m2fnet.training.loggers import fit_loggers

_COMMANDS = {
    "fit": "Train on the training split; dev chooses the weights that are kept. The same command resumes.",
    "validate": "Score the kept weights on dev.",
    "test": "Score the kept weights on dev and test, and write the report into the run folder.",
    "predict": "Label every utterance of a split with the kept weights, context turns included.",
}
_PARSER_MODE = "settings"  # YAML in which renamed settings have their name of today
# What Lightning warns of and is meant here: embeddings lie in memory, a resumed run has its folder, the task keeps what
# it predicts, whole batches are shared out by the data module, losses are logged by epoch; the last is its own affair.
_MEANT = (
    ".*does not have many workers",
    ".*exists and is not empty",
    "predict returned None",
    ".*custom batch sampler",
    ".*smaller than the logging interval",
    ".*LeafSpec",
)


class RunCLI(LightningCLI):
    """LightningCLI that keeps everything of a training in one run folder.

    ``fit`` on a finished run says so, on an interrupted one resumes, on one with other settings refuses; the other
    commands take the weights that ``--select`` chose. Dev alone chooses: the test split is read by ``test`` only.
    """

    prog: ClassVar[str]
    trained_by: ClassVar[type[pl.Trainer]] = pl.Trainer

    def __init__(self, task: type[pl.LightningModule], data: type[pl.LightningDataModule], argv: Sequence[str]) -> None:
        keep_lightning_to_the_point(_MEANT)
        set_loader(_PARSER_MODE, _load_settings, (yaml.YAMLError,))
        self.typed = shlex.join([*self.prog.split(), *argv])
        super().__init__(
            task,
            data,
            args=resolve_config_arguments(argv),
            save_config_callback=None,
            trainer_class=self.trained_by,
            seed_everything_default=0,
            auto_configure_optimizers=False,
            trainer_defaults={"use_distributed_sampler": False},  # the data modules share out whole batches themselves
            parser_kwargs={
                "exit_on_error": False,
                "parser_mode": _PARSER_MODE,
                "prog": self.prog,
                "description": self.__doc__,
                **{name: {"description": text} for name, text in _COMMANDS.items() if name in self.subcommands()},
            },
        )

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add the options that concern the run folder."""
        parser.add_argument(
            "--run",
            type=str | None,
            default=None,
            help="Folder of this run; by default runs/<name of the configuration>/seed-<seed>, where the name gets "
            "eight digits more if other settings are given than those of the configuration.",
        )
        parser.add_argument("--plan", type=bool, default=False, help="Check the settings, name the run folder, stop.")
        parser.add_argument(
            "--select",
            type=Literal["dev", "last"],
            default="dev",
            help="Weights that are kept: best weighted F1 on dev, or those of the last epoch.",
        )
        parser.add_argument("--overwrite", type=bool, default=False, help="Train a finished run again.")
        parser.add_argument("--quiet", type=bool, default=False, help="Print no report and no line per epoch.")

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:  # noqa: ANN401
        """Parse the command line.

        Raises:
            UsageError: one sentence that names the key.
        """
        try:
            self.config = parser.parse_args(args)
        except ArgumentError as error:
            raise UsageError(one_sentence(str(error))) from error
        seed = self.config[self.config.subcommand].seed_everything
        if not 0 <= seed < 2**32:
            raise UsageError(f"seed_everything is {seed}, expected a number from 0 to {2**32 - 1}.")

    def _parse_ckpt_path(self) -> None:
        """Leave the settings as configured: a checkpoint gives weights, never class paths."""

    def before_instantiate_classes(self) -> None:
        """Settle the run folder and where the trainer writes."""
        settings = self.config[self.subcommand]
        self.run = self._run_folder()
        if self.run.exists() and not self.run.is_dir():
            raise UsageError(f"{self.run} is a file, expected the folder of a run; name another with --run.")
        settings.run = str(self.run)
        settings.trainer.default_root_dir = str(self.run)
        trained = trained_settings(self.run)
        if trained is not None and self.subcommand != "fit":
            self._refuse_other_settings(trained, only="model")
        elif trained is not None and not settings.overwrite:
            self._refuse_other_settings(trained)
            _refuse_other_data(self.run)

    def instantiate_classes(self) -> None:
        """Make data, task and trainer, unless only the plan was asked for.

        Raises:
            UsageError: if a class, such as a logger, is of a package that is not installed.
        """
        if self.config[self.subcommand].plan:
            return
        try:
            super().instantiate_classes()
        except ValueError as error:
            cause: BaseException | None = error
            while cause is not None and not isinstance(cause, ModuleNotFoundError):
                cause = cause.__cause__
            if cause is None:
                raise
            raise UsageError(f"The configuration names a class that cannot be made here: {cause}") from error

    def _run_subcommand(self, subcommand: str) -> None:
        if not self.config[subcommand].plan:
            super()._run_subcommand(subcommand)
        elif not self.config[subcommand].quiet:
            print_rank_zero(f"{self.run}{', trained already' if (self.run / FIT).exists() else ''}")

    def instantiate_trainer(self, **kwargs: Any) -> pl.Trainer:  # noqa: ANN401
        """The trainer with this run's checkpoints, log and clock.

        Raises:
            UsageError: if Lightning does not accept a setting.
        """
        settings = self.config_init[self.subcommand]
        kwargs["logger"] = self._loggers(settings.trainer.logger)
        self.timer = EpochTimer()
        checkpoints = _checkpoints(self.run, settings.select)
        self.checkpoint = checkpoints[0]
        own: list[pl.Callback] = [StopOnNonFinite(), *checkpoints, self.timer, RandomState()]
        kwargs["enable_model_summary"] = bool(settings.trainer.enable_model_summary)
        if settings.trainer.enable_progress_bar is None:
            kwargs["enable_progress_bar"] = sys.stdout.isatty() and not settings.quiet
            own += [] if sys.stdout.isatty() or settings.quiet else [EpochLines()]
        settings.trainer.callbacks = [*(settings.trainer.callbacks or []), *own]
        try:
            return super().instantiate_trainer(**kwargs)
        except (MisconfigurationException, ValueError) as error:
            raise UsageError(f"trainer: {' '.join(str(error).split())}") from error

    def fit(self, **kwargs: Any) -> None:  # noqa: ANN401
        """Train, resume, or say that there is nothing to do."""
        overwrite = self.config[self.subcommand].overwrite
        if (self.run / FIT).exists() and not overwrite:
            print_rank_zero(f"{self.run} is trained already; `--overwrite true` trains it again.")
            return
        with locked(self.run, RunError) if self.trainer.is_global_zero else nullcontext():
            self._train(kwargs, overwrite=overwrite)

    def _train(self, kwargs: dict[str, Any], *, overwrite: bool) -> None:
        last = self.run / "checkpoints" / "last.ckpt"
        resumes = not overwrite and (self.run / CONFIG).exists() and last.exists()
        if overwrite:
            _forget(self.run)
        elif resumes:
            refuse_damaged(last)
            kwargs["ckpt_path"] = str(last)
            print_rank_zero(f"Resuming {self.run} from {last.name}.")
        if self.trainer.is_global_zero:
            write_text(self.run / CONFIG, yaml.safe_dump(self._settings(self.config), sort_keys=False))
            self._provenance(resumes=resumes).write(self.run)
        try:
            facts = self.train(**kwargs)
        except M2FNetError:
            if not last.exists():  # nothing was trained: the folder stays free for other settings
                for name in (CONFIG, PROVENANCE):
                    (self.run / name).unlink(missing_ok=True)
            raise
        if self.trainer.is_global_zero:
            write_json(self.run / FIT, facts)
        self.trainer.strategy.barrier()  # nobody reads the file before it is there

    def train(self, **kwargs: Any) -> dict[str, object]:  # noqa: ANN401
        """Train, from the checkpoint ``ckpt_path`` where a run resumes; return what ``fit.json`` says.

        Raises:
            UsageError: if the settings leave no epoch to score on dev.
        """
        self.trainer.fit(weights_only=True, **{k: v for k, v in kwargs.items() if k != "weights_only"})
        return self._facts_of_fit()

    def validate(self, **kwargs: Any) -> None:  # noqa: ANN401
        """Score the selected weights on dev."""
        self._evaluate("validate", kwargs)

    def test(self, **kwargs: Any) -> None:  # noqa: ANN401
        """Score the selected weights on dev and test."""
        self._evaluate("test", {**kwargs, "verbose": False})

    def predict(self, **kwargs: Any) -> None:  # noqa: ANN401
        """Label the chosen split with the selected weights."""
        self._evaluate("predict", {**kwargs, "return_predictions": False})

    def fitted(self) -> dict[str, Any]:
        """What ``fit`` wrote about the training; empty for weights from elsewhere."""
        path = self.run / FIT
        return read_json(path, M2FNetError, "Train the run again.") if path.exists() else {}

    def _evaluate(self, command: str, kwargs: dict[str, Any]) -> None:
        selected = self.config[self.subcommand].select
        path = selected_weights(self.run, kwargs.pop("ckpt_path", None), selected)
        kwargs.pop("weights_only", None)
        refuse_damaged(path)
        try:
            getattr(self.trainer, command)(ckpt_path=str(path), weights_only=True, **kwargs)
        except RuntimeError as error:
            if "state_dict" not in str(error):
                raise
            raise UsageError(
                f"The weights in {path} do not fit these settings or data ({' '.join(str(error).split())[:300]}). "
                f"Use the run's own configuration: --config {self.run / CONFIG}"
            ) from error

    def stores(self) -> Mapping[str, Store]:
        """The embeddings that the data are made of, by modality; none unless a subclass says so."""
        return {}

    def _settings(self, config: Any) -> dict[str, Any]:  # noqa: ANN401
        """A parsed configuration as plain data, without what does not belong to the run."""
        parser = self._parser(self.subcommand)
        return settings_of_a_run(yaml.safe_load(parser.dump(config[self.subcommand], skip_none=False)))

    def _refuse_other_settings(self, trained: dict[str, Any], only: str = "") -> None:
        now = self._settings(self.config)
        if differences(trained, now):  # a setting may be younger than the run: it was trained with what is the default
            trained = self._parsed(self.run / CONFIG) or trained
        refuse_other_settings(self.run, trained, now, only)

    def _parsed(self, file: Path) -> dict[str, Any] | None:
        """The settings of a configuration file, defaults included; None if it is not whole by itself."""
        try:
            return self._settings(self.parser.parse_args([str(self.subcommand), "--config", str(file)]))
        except ArgumentError:
            return None

    def _run_folder(self) -> Path:
        settings = self.config[self.subcommand]
        file = Path(str(settings.config[0])) if settings.config else None
        self.overrides = self._overrides(file)
        if settings.run:
            return Path(settings.run)
        if file is not None and file.name == CONFIG and is_run(file.parent):
            return file.parent  # the configuration of a run means that run
        return run_folder(file, settings.seed_everything, self.overrides)

    def _overrides(self, file: Path | None) -> dict[str, Any]:
        """The settings that the configuration ``file`` does not have; all of them if it is not whole by itself."""
        alone = self._parsed(file) if file is not None else None
        return {key: value for key, (_, value) in differences(alone or {}, self._settings(self.config)).items()}

    def _provenance(self, *, resumes: bool) -> Provenance:
        environment = Environment.of(self.trainer.strategy.root_device)
        if resumes and (self.run / PROVENANCE).exists():
            return Provenance.read(self.run).resumed_in(environment)
        settings = self.config[self.subcommand]
        data: Any = self.datamodule
        return Provenance(
            command=self.typed,
            directory=str(Path.cwd()),
            repeat=shlex.join(["m2fnet", "reproduce", str(self.run)]),
            seed=settings.seed_everything,
            overrides=self.overrides,
            manifest=manifest_input(settings.data.manifest, data.manifest),
            stores={name: store_input(store) for name, store in self.stores().items()},
            environment=environment,
        )

    def _loggers(self, configured: Logger | Sequence[Logger] | bool | None) -> list[Logger]:
        """What is configured, and for a training the log that every run has; ``trainer.logger: false`` means none."""
        if configured is False:
            return []
        if configured is None or configured is True:
            configured = []
        given = [configured] if isinstance(configured, Logger) else list(configured)
        return fit_loggers(self.run, given) if self.subcommand == "fit" else given

    def _facts_of_fit(self) -> dict[str, object]:
        score = self._dev_score()
        if score is None or not self.checkpoint.best_model_path:
            raise UsageError(
                "No epoch was finished and scored on dev, so no weights were kept; trainer.max_epochs, "
                "trainer.limit_val_batches and trainer.fast_dev_run have to leave at least one."
            )
        best = torch.load(self.checkpoint.best_model_path, weights_only=True, map_location="cpu", mmap=True)
        return {
            "select": self.config[self.subcommand].select,
            "epoch": best["epoch"] + 1,  # counted from 1, as in the log
            "epochs": self.trainer.current_epoch,
            "dev.weighted_f1": float(score),
            "parameters": sum(p.numel() for p in self.model.parameters()),
            "device": str(self.trainer.strategy.root_device),
            **self.timer.summary(),
        }

    def _dev_score(self) -> Any:  # noqa: ANN401
        """Weighted F1 on dev of the weights that are kept; None if dev was never scored."""
        if self.checkpoint.monitor is not None:
            return self.checkpoint.best_model_score
        if not self.timer.seconds:  # resumed after the last epoch: nothing was scored this time
            self.trainer.validate(self.model, datamodule=self.datamodule, verbose=False)
        return self.trainer.callback_metrics.get(MONITOR)


def _checkpoints(run: Path, select: str) -> list[ModelCheckpoint]:
    """What keeps ``best.ckpt``, the weights that are best on dev, if ``select`` wants it, and then ``last.ckpt``.

    The last state to resume from has a keeper of its own: with ``save_last`` it would only be as new as the best one.
    """
    folder = run / "checkpoints"
    last = ModelCheckpoint(folder, filename="last", enable_version_counter=False)
    if select == "last":
        return [last]
    best = ModelCheckpoint(
        folder, filename="best", monitor=MONITOR, mode="max", save_weights_only=True, enable_version_counter=False
    )
    return [best, last]


def _refuse_other_data(run: Path) -> None:
    """Refuse to go on with a run whose manifest or stores were made anew since it was started."""
    if (run / PROVENANCE).exists() and (changed := Provenance.read(run).changed_inputs()):
        raise UsageError(
            f"{run} was trained on other data: {' '.join(changed)} Name another folder with --run, or train it again "
            "with --overwrite true."
        )


def _forget(run: Path) -> None:
    for path in (run / FIT, run / "report.json", run / "report.md", *(run / "checkpoints").glob("*.ckpt")):
        path.unlink(missing_ok=True)


def _load_settings(text: str) -> object:
    content = get_loader("yaml")(text)
    return with_current_names(content) if isinstance(content, dict) else content
