"""What every training command shares: LightningCLI with a run folder, one-sentence errors and resuming.

A run folder holds ``config.yaml``, ``checkpoints/{best,last}.ckpt``, ``logs/version_*/metrics.csv`` (one for every time
it was started or resumed) and, once training is done, ``fit.json``.
"""

import logging
import sys
import warnings
from argparse import ArgumentError
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

import pytorch_lightning as pl
import torch
import yaml
from lightning_fabric.utilities.exceptions import MisconfigurationException
from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.cli import LightningArgumentParser, LightningCLI
from pytorch_lightning.loggers import CSVLogger

from m2fnet.callbacks import MONITOR, Clock, Divergence, EpochLines, RandomState, say
from m2fnet.config import one_sentence, resolve_config_arguments
from m2fnet.errors import M2FNetError, RunError, UsageError
from m2fnet.files import read_json, write_json, write_text

CONFIG = "config.yaml"
FIT = "fit.json"
_COMMANDS = {
    "fit": "Train on the training split; dev chooses the weights that are kept. The same command resumes.",
    "validate": "Score the kept weights on dev.",
    "test": "Score the kept weights on dev and test, and write the report into the run folder.",
    "predict": "Label every utterance of a split with the kept weights, context turns included.",
}
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
_OTHER_FOLDER = "Delete this folder, or name another one with --run."
_NOT_PART_OF_A_RUN = (
    "config",
    "run",
    "overwrite",
    "quiet",
    "ckpt_path",
    "weights_only",
    "verbose",
    "return_predictions",
)


class RunCLI(LightningCLI):
    """LightningCLI that keeps everything of a training in one run folder.

    ``fit`` on a finished run says so, on an interrupted one resumes, on one with other settings refuses; the other
    commands take the weights that ``--select`` chose. Dev alone chooses: the test split is read by ``test`` only.
    """

    prog: ClassVar[str]

    def __init__(self, task: type[pl.LightningModule], data: type[pl.LightningDataModule], argv: Sequence[str]) -> None:
        _keep_lightning_to_the_point()
        super().__init__(
            task,
            data,
            args=resolve_config_arguments(argv),
            save_config_callback=None,
            seed_everything_default=0,
            auto_configure_optimizers=False,
            trainer_defaults={"use_distributed_sampler": False},  # the data modules share out whole batches themselves
            parser_kwargs={
                "exit_on_error": False,
                "prog": self.prog,
                "description": self.__doc__,
                **{name: {"description": text} for name, text in _COMMANDS.items()},
            },
        )

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add the options that concern the run folder."""
        parser.add_argument(
            "--run",
            type=str | None,
            default=None,
            help="Folder of this run; by default runs/<name of the configuration>/seed-<seed>.",
        )
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
        self.run = _run_folder(settings.run, settings.config, settings.seed_everything)
        if self.run.exists() and not self.run.is_dir():
            raise UsageError(f"{self.run} is a file, expected the folder of a run; name another with --run.")
        settings.run = str(self.run)
        trained = _trained_settings(self.run)
        if trained is not None and self.subcommand != "fit":
            _refuse_other_settings(self.run, trained, self._settings(), only="model")
        settings.trainer.default_root_dir = str(self.run)

    def instantiate_trainer(self, **kwargs: Any) -> pl.Trainer:  # noqa: ANN401
        """The trainer with this run's checkpoints, log and clock.

        Raises:
            UsageError: if Lightning does not accept a setting.
        """
        settings = self.config_init[self.subcommand]
        if settings.trainer.logger in (None, True):
            fits = self.subcommand == "fit"
            kwargs["logger"] = CSVLogger(self.run, name="logs") if fits else False
        self.clock = Clock()
        checkpoints = _checkpoints(self.run, settings.select)
        self.checkpoint = checkpoints[0]
        own: list[pl.Callback] = [Divergence(), *checkpoints, self.clock, RandomState()]
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
        trained = None if overwrite else _trained_settings(self.run)
        if trained is not None:
            _refuse_other_settings(self.run, trained, self._settings())
        if (self.run / FIT).exists() and not overwrite:
            say(f"{self.run} is trained already; `--overwrite true` trains it again.")
            return
        last = self.run / "checkpoints" / "last.ckpt"
        if overwrite:
            _forget(self.run)
        elif trained is not None and last.exists():
            _refuse_damaged(last)
            kwargs["ckpt_path"] = str(last)
            say(f"Resuming {self.run} from {last.name}.")
        if self.trainer.is_global_zero:
            write_text(self.run / CONFIG, yaml.safe_dump(self._settings(), sort_keys=False))
        try:
            self.trainer.fit(weights_only=True, **{k: v for k, v in kwargs.items() if k != "weights_only"})
        except M2FNetError:
            if not last.exists():  # nothing was trained: the folder stays free for other settings
                (self.run / CONFIG).unlink(missing_ok=True)
            raise
        self._write_fit()

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
        path = _weights(self.run, kwargs.pop("ckpt_path", None), selected)
        kwargs.pop("weights_only", None)
        _refuse_damaged(path)
        try:
            getattr(self.trainer, command)(ckpt_path=str(path), weights_only=True, **kwargs)
        except RuntimeError as error:
            if "state_dict" not in str(error):
                raise
            raise UsageError(
                f"The weights in {path} do not fit these settings or data ({' '.join(str(error).split())[:300]}). "
                f"Use the run's own configuration: --config {self.run / CONFIG}"
            ) from error

    def _settings(self) -> dict[str, Any]:
        """The configuration as plain data, without what does not belong to the run."""
        parser = self._parser(self.subcommand)
        settings: dict[str, Any] = yaml.safe_load(parser.dump(self.config[self.subcommand], skip_none=False))
        return {key: value for key, value in settings.items() if key not in _NOT_PART_OF_A_RUN}

    def _write_fit(self) -> None:
        score = self._dev_score()
        if score is None or not self.checkpoint.best_model_path:
            raise UsageError(
                "No epoch was finished and scored on dev, so no weights were kept; trainer.max_epochs, "
                "trainer.limit_val_batches and trainer.fast_dev_run have to leave at least one."
            )
        best = torch.load(self.checkpoint.best_model_path, weights_only=True, map_location="cpu", mmap=True)
        if self.trainer.is_global_zero:
            write_json(
                self.run / FIT,
                {
                    "select": self.config[self.subcommand].select,
                    "epoch": best["epoch"] + 1,  # counted from 1, as in the log
                    "epochs": self.trainer.current_epoch,
                    "dev.weighted_f1": float(score),
                    "parameters": sum(p.numel() for p in self.model.parameters()),
                    "device": str(self.trainer.strategy.root_device),
                    **self.clock.summary(),
                },
            )
        self.trainer.strategy.barrier()  # nobody reads the file before it is there

    def _dev_score(self) -> Any:  # noqa: ANN401
        """Weighted F1 on dev of the weights that are kept; None if dev was never scored."""
        if self.checkpoint.monitor is not None:
            return self.checkpoint.best_model_score
        if not self.clock.seconds:  # resumed after the last epoch: nothing was scored this time
            self.trainer.validate(self.model, datamodule=self.datamodule, verbose=False)
        return self.trainer.callback_metrics.get(MONITOR)


def _keep_lightning_to_the_point() -> None:
    """Leave out Lightning's banners (devices, tips, model summary) and warnings of what is meant here."""
    for name in ("pytorch_lightning.utilities.rank_zero", "lightning_fabric.utilities.seed", "pytorch_lightning"):
        logging.getLogger(name).setLevel(logging.WARNING)
    for message in _MEANT:
        warnings.filterwarnings("ignore", message)


def _run_folder(named: str | None, configs: Sequence[Any] | None, seed: int) -> Path:
    first = Path(str(configs[0])) if configs else None
    if first is not None and first.name == CONFIG and (first.parent / "checkpoints").is_dir():
        return Path(named) if named else first.parent  # the configuration of a run means that run
    if named:
        return Path(named)
    return Path("runs") / (first.stem if first is not None else "unnamed") / f"seed-{seed}"


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


def _weights(run: Path, asked: object, select: str) -> Path:
    """The checkpoint to evaluate: a file, or ``best`` or ``last`` of the run; by default what ``select`` kept."""
    name = str(asked) if asked is not None else {"dev": "best", "last": "last"}[select]
    path = run / "checkpoints" / f"{name}.ckpt" if name in ("best", "last") else Path(name)
    if not path.is_file():
        raise UsageError(f"There are no weights at {path}; train first with `fit`, or name a file with --ckpt_path.")
    return path


def _refuse_damaged(path: Path) -> None:
    """Refuse a file that is no whole checkpoint; looking runs no code in it."""
    try:
        content = torch.load(path, weights_only=True, map_location="cpu", mmap=True)
    except Exception:  # a damaged file raises whatever it likes, and what torch says then asks to trust the file
        content = None
    if not isinstance(content, dict) or not {"state_dict", "pytorch-lightning_version"} <= content.keys():
        raise RunError(
            f"{path} is damaged or no checkpoint, which holds tensors and plain values alone. Train again with "
            "`fit --overwrite true`, or name another file with --ckpt_path."
        )


def _trained_settings(run: Path) -> dict[str, Any] | None:
    path = run / CONFIG
    if not path.is_file():
        return None
    try:
        settings = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as problem:
        raise RunError(f"Cannot read {path}: {' '.join(str(problem).split())}. {_OTHER_FOLDER}") from problem
    if not isinstance(settings, dict):
        raise RunError(f"{path} holds {type(settings).__name__}, expected the settings of a run. {_OTHER_FOLDER}")
    return settings


def _refuse_other_settings(run: Path, trained: Any, now: Any, only: str = "") -> None:  # noqa: ANN401
    for key, (before, after) in _differences(trained, now, "").items():
        if key.startswith(only):
            raise UsageError(
                f"{run} was trained with {key} = {before!r}, but now it is {after!r}. Name another folder with --run, "
                f"or use the run's own settings with --config {run / CONFIG}"
            )


def _differences(before: Any, after: Any, key: str) -> dict[str, tuple[Any, Any]]:  # noqa: ANN401
    if not isinstance(before, dict) or not isinstance(after, dict):
        return {} if before == after else {key: (before, after)}
    found: dict[str, tuple[Any, Any]] = {}
    for name in dict.fromkeys((*before, *after)):
        found |= _differences(before.get(name), after.get(name), f"{key}.{name}" if key else name)
    return found


def _forget(run: Path) -> None:
    for path in (run / FIT, *(run / "checkpoints").glob("*.ckpt")):
        path.unlink(missing_ok=True)
