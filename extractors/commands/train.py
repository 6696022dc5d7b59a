"""``m2fnet extractor {fit,validate,test}`` for networks: LightningCLI with this stage's Task and Data."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

import pytorch_lightning as pl

from extractors.data import ExtractorData
from extractors.evaluation.embedding_scores import Embedded
from extractors.extraction.embedding import as_words, names_dead_workers
from extractors.runs.settings import extractor_class
from extractors.runs.trained import NET
from extractors.task import ExtractorTask, of_all_processes
from m2fnet.files import write_json
from m2fnet.records import ScoredPrediction, Split
from m2fnet.reports.run_report import as_markdown, write_report
from m2fnet.training.callbacks import print_rank_zero
from m2fnet.training.cli import RunCLI

MISSING = "missing.json"
_NAMES = {"head": "linear head", "nearest": "1-NN", "probe": "linear probe"}


class ExtractorCLI(RunCLI):
    """Trains and judges extractors."""

    prog = "m2fnet extractor"

    def before_fit(self) -> None:
        """Have the run keep what building its network takes, and use it if the run has weights to go on from."""
        self.trainer.callbacks.append(_KeepNetwork(self.run / NET))  # type: ignore[attr-defined]
        if not self.config[self.subcommand].overwrite and (self.run / "checkpoints" / "last.ckpt").exists():
            self._build_from_what_was_kept()

    def before_validate(self) -> None:
        """Build the network from what the run kept."""
        self._build_from_what_was_kept()

    def before_test(self) -> None:
        """Build the network from what the run kept."""
        self._build_from_what_was_kept()

    def after_fit(self) -> None:
        """Say where the run lies and what comes next."""
        task, fitted = cast(ExtractorTask, self.model), self.fitted()
        if task.net is None:
            return  # it was trained before
        self._say_what_is_missing()
        print_rank_zero(
            f"Trained {fitted['epochs']} epochs, kept epoch {fitted['epoch']} with dev weighted F1 "
            f"{100 * fitted['dev.weighted_f1']:.2f} ({_NAMES[task.monitor]}).\n"
            f"Next: m2fnet extractor test --config {self.run / 'config.yaml'}\n"
            f"      m2fnet extract --ckpt {self.run} --manifest DIR --out STORE"
        )

    def after_validate(self) -> None:
        """Print the scores on dev."""
        print_rank_zero(_table(cast(ExtractorTask, self.model).scores))

    def after_test(self) -> None:
        """Write and print the report."""
        task, data = cast(ExtractorTask, self.model), cast(ExtractorData, self.datamodule)
        self._say_what_is_missing()
        if not self.trainer.is_global_zero:
            return
        predictions = {name: _predictions(data, cast(Split, name), judged) for name, judged in task.judged.items()}
        training = [task.classes[n] for n in data.utterances("train").labels.tolist()]
        report = write_report(self.run, self._facts(task, data), predictions, training, task.classes)
        if not self.config[self.subcommand].quiet:
            print_rank_zero(f"{as_markdown(report)}\n{_table(task.scores)}")
        print_rank_zero(
            f"Report: {self.run / 'report.md'}, {self.run / 'report.json'}; predictions: predictions.jsonl beside."
        )

    def _facts(self, task: ExtractorTask, data: ExtractorData) -> dict[str, Any]:
        assert task.net is not None, "it has just been tested"
        return {
            "seed": self.config[self.subcommand].seed_everything,
            "corpus": data.manifest.corpus,
            "manifest_sha256": data.manifest.sha256,
            "modalities": [task.net.modality],
            "select": self.config[self.subcommand].select,
            "monitor": task.monitor,
            "fit": self.fitted(),
            "embeddings": task.scores,
            "missing": len(data.missing),
            "cut": _sums(data.cut),
        }

    def _build_from_what_was_kept(self) -> None:
        """Let no later command of a run depend on a hub, or on a folder that may be gone."""
        if (self.run / NET).is_dir():
            network = extractor_class(self.config[self.subcommand].model.net.class_path)
            cast(ExtractorTask, self.model).kept = network.asset_settings(self.run / NET)

    def _say_what_is_missing(self) -> None:
        """Count what could not be read by its reason, and name it in the run folder."""
        data = cast(ExtractorData, self.datamodule)
        missing = data.missing = {name: why for found in of_all_processes(data.missing) for name, why in found.items()}
        data.cut = {name: cut for found in of_all_processes(data.cut) for name, cut in found.items()}
        if data.cut:
            print_rank_zero(f"In {len(data.cut)} utterances: {as_words(_sums(data.cut))}.")
        if not self.trainer.is_global_zero:
            return
        if not missing:
            (self.run / MISSING).unlink(missing_ok=True)  # of a training before this one
            return
        write_json(self.run / MISSING, {name: asdict(why) for name, why in sorted(missing.items())})
        print_rank_zero(
            f"{len(missing)} utterances could not be read and are left out; {self.run / MISSING} names them."
        )
        for why, count in Counter(missing.values()).most_common():
            print_rank_zero(f"  {count:6d}  {why.stage}: {why.reason}")


class _KeepNetwork(pl.Callback):
    """Keeps what building the network again takes, before the first step, so that a killed run can go on."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        net = cast(ExtractorTask, pl_module).net
        if net is not None and trainer.is_global_zero:
            net.save_assets(self.folder)


@names_dead_workers
def train(argv: Sequence[str]) -> Path:
    """Run one command of a network and return its run folder."""
    return ExtractorCLI.start(ExtractorTask, ExtractorData, argv)


def _sums(cut: dict[str, dict[str, int]]) -> dict[str, int]:
    """How much of each kind was cut, or lacked, in all utterances together."""
    kinds = sorted({kind for of_one in cut.values() for kind in of_one})
    return {kind: sum(of_one.get(kind, 0) for of_one in cut.values()) for kind in kinds}


def _table(scores: dict[str, dict[str, float]]) -> str:
    kinds = list(next(iter(scores.values())))
    lines = [f"{'weighted F1':<14}" + "".join(f"{_NAMES[kind]:>14}" for kind in kinds)]
    for split, row in scores.items():
        lines.append(f"{split:<14}" + "".join(f"{100 * row[kind]:>14.2f}" for kind in kinds))
    return "\n".join(lines)


def _predictions(data: ExtractorData, split: Split, judged: Embedded) -> list[ScoredPrediction]:
    classes = data.manifest.label_set.classes
    utterances = data.utterances(split).placed
    return [
        ScoredPrediction(
            utterances[row].utterance.id,
            utterances[row].dialogue.id,
            utterances[row].utterance.label,
            classes[max(range(len(classes)), key=values.__getitem__)],
            dict(zip(classes, values, strict=True)),
        )
        for row, values in zip(judged.row.tolist(), judged.logits.softmax(1).tolist(), strict=True)
    ]
