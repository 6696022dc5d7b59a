"""``m2fnet dialog {fit,validate,test,missing,predict}``: LightningCLI with this project's Task and Data."""

import importlib
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import cast

from dialog.data import DialogueData
from dialog.task import SCORED, DialogueTask
from m2fnet.callbacks import say
from m2fnet.files import write_jsonl
from m2fnet.metrics.report import Prediction, as_markdown, write_report
from m2fnet.records import Split
from m2fnet.store import Store
from m2fnet.training import RunCLI


class DialogueCLI(RunCLI):
    """Trains and judges dialogue networks.

    Beside the subcommands below, `missing`, with the options of `test`, tests a run with parts of its inputs missing.
    """

    prog = "m2fnet dialog"

    def stores(self) -> Mapping[str, Store]:
        """The embeddings of each modality."""
        return cast(DialogueData, self.datamodule).stores

    def after_fit(self) -> None:
        """Say where the run lies and what comes next."""
        fitted = self.fitted()
        say(
            f"Trained {fitted['epochs']} epochs, kept epoch {fitted['epoch']} with dev weighted F1 "
            f"{100 * fitted['dev.weighted_f1']:.2f}.\nNext: m2fnet dialog test --config {self.run / 'config.yaml'}"
        )

    def after_test(self) -> None:
        """Write and print the report."""
        task, data = cast(DialogueTask, self.model), cast(DialogueData, self.datamodule)
        answers = {split: predictions(task, data, split, split) for split in SCORED}
        if not self.trainer.is_global_zero:
            return
        classes = data.problem.label_set.classes
        training = [u.label for u in data.manifest.utterances if u.split == "train" and u.label is not None]
        report = write_report(self.run, self._facts(data), answers, training, classes)
        if not self.config[self.subcommand].quiet:
            say(as_markdown(report))
        say(f"Report: {self.run / 'report.md'}, {self.run / 'report.json'}; predictions: predictions.jsonl beside.")

    def after_predict(self) -> None:
        """Write the labels of every utterance of the chosen split, context turns included."""
        task, data = cast(DialogueTask, self.model), cast(DialogueData, self.datamodule)
        rows = predictions(task, data, "predict", data.predict_split)
        path = self.run / f"labels_{data.predict_split}.jsonl"
        if self.trainer.is_global_zero:
            write_jsonl(path, [asdict(row) for row in rows])
            say(f"Labelled {len(rows)} utterances: {path}")

    def _facts(self, data: DialogueData) -> dict[str, object]:
        return {
            "seed": self.config[self.subcommand].seed_everything,
            "corpus": data.manifest.corpus,
            "manifest_sha256": data.manifest.sha256,
            "modalities": list(data.modalities),
            "stores": {name: str(folder) for name, folder in data.store_folders.items()},
            "select": self.config[self.subcommand].select,
            "fit": self.fitted(),
        }


def main(argv: list[str]) -> Path:
    """Run ``m2fnet dialog`` and return the run folder."""
    if argv[:1] == ["missing"]:  # no subcommand of its own for the parser: it is a test that answers more
        missing: Path = importlib.import_module("dialog.missing_command").main(argv[1:])
        return missing
    return DialogueCLI(DialogueTask, DialogueData, argv).run


def predictions(task: DialogueTask, data: DialogueData, name: str, split: Split | str) -> list[Prediction]:
    """What the network said about the utterances of ``split``, as it was kept under ``name``."""
    rows, probabilities = task.probabilities(name)
    utterances = data.dialogues(cast(Split, split)).utterances
    classes = data.problem.label_set.classes
    winners = probabilities.argmax(-1).tolist()
    return [
        Prediction(
            utterances[row].id,
            utterances[row].dialogue,
            utterances[row].label,
            classes[winner],
            dict(zip(classes, values, strict=True)),
        )
        for row, winner, values in zip(rows.tolist(), winners, probabilities.tolist(), strict=True)
    ]
