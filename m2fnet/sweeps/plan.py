"""What a sweep has to do: for every seed of every setting its run folder, and the commands that are left."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from m2fnet.config import resolve_config_arguments
from m2fnet.errors import UsageError
from m2fnet.runs.folder import CONFIG, FIT
from m2fnet.sweeps.processes import PlannedRun, PlannedSetting

STAGES = ("dialog", "extractor", "joint")


@dataclass(frozen=True)
class Sweep:
    """Many trainings of one configuration.

    Attributes:
        config: its file.
        stage: what it configures, one of `STAGES`.
        seeds: that every setting is trained with.
        is_tested: whether runs are tested once they are trained.
    """

    config: str
    stage: str
    seeds: Sequence[int]
    is_tested: bool = True

    @property
    def module(self) -> str:
        """The module that trains."""
        return _trainer(self.stage).__module__

    def runs(self, setting: PlannedSetting, options: Sequence[str]) -> list[PlannedRun]:
        """A run for every seed of ``setting``, which overrules ``options``; nothing is trained.

        Raises:
            UsageError: if a setting is wrong, or what is in a run's folder is of other settings or data.
        """
        train = _trainer(self.stage)
        fit = ("fit", "--config", self.config, *options, *setting.options)
        first = train([*fit, f"--seed_everything={self.seeds[0]}", "--dry-run"])
        if first.name != f"seed-{self.seeds[0]}":
            raise UsageError(f"{self.config} is of one run; name the configuration that it was made from.")
        runs = []
        for seed in self.seeds:
            folder = first.with_name(f"seed-{seed}")
            if (folder / CONFIG).exists():  # what is there must be of these settings and data
                train([*fit, f"--seed_everything={seed}", "--dry-run"])
            runs.append(PlannedRun(setting, seed, folder, self._commands((*fit, f"--seed_everything={seed}"), folder)))
        return runs

    def _commands(self, fit: tuple[str, ...], folder: Path) -> tuple[tuple[str, ...], ...]:
        """What is left to do for a run."""
        test = (self.stage, "test", "--config", str(folder / CONFIG), "--quiet")
        fits = () if (folder / FIT).exists() else ((self.stage, *fit),)
        from m2fnet.runs.provenance import has_own_report  # torch takes seconds, which `--help` does not need

        return (*fits, test) if self.is_tested and (fits or not has_own_report(folder)) else fits


def _trainer(stage: str) -> Callable[[Sequence[str]], Path]:
    """What runs a command of the ``stage`` and returns the run folder; imported late, for it takes seconds."""
    match stage:
        case "dialog":
            from dialog.cli import train
        case "extractor":
            from extractors.commands.extractor import train
        case "joint":
            from m2fnet.joint.cli import train
        case _:
            raise KeyError(stage)
    return train


def stage_of(config: str) -> str:
    """What the file configures: a dialogue network, which reads stores, an extractor, or both together.

    Raises:
        UsageError: if it cannot be read.
    """
    path = Path(resolve_config_arguments(["--config", config])[1])
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    data, model = content.get("data"), content.get("model")
    if isinstance(data, str):
        data = yaml.safe_load((path.parent / data).read_text(encoding="utf-8"))
    if isinstance(data, dict) and "stores" in data:
        return "dialog"
    return "joint" if isinstance(model, dict) and "dialogue" in model else "extractor"


def folder_of_all(config: str, runs: Sequence[PlannedRun], what: str) -> Path:
    """The folder for ``what`` is told of ``runs`` together: that of their setting, or a hash of all their settings.

    Other settings have another folder, so no summary takes the place of another; more seeds of the same have the same.
    """
    folders = sorted({run.folder.parent for run in runs})
    digits = hashlib.sha256("\n".join(folder.name for folder in folders).encode()).hexdigest()[:8]
    name = folders[0].name if len(folders) == 1 else f"{Path(config).stem}-{digits}"
    return folders[0].with_name(f"{name}-{what}")
