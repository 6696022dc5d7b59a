"""``m2fnet dialog {fit,validate,test,missing,predict}``: LightningCLI with this project's Task and Data."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

import yaml
from pytorch_lightning.cli import LightningArgumentParser

from dialog.attention_maps import FILE as ATTENTION
from dialog.attention_maps import attention_in
from dialog.data import DialogueData
from dialog.missing import report as missing_report
from dialog.missing.conditions import DialogueTrainer
from dialog.predictions import predictions
from dialog.task import SCORED, DialogueTask
from m2fnet.errors import UsageError
from m2fnet.files import write_json, write_jsonl, write_text
from m2fnet.formatting import plain
from m2fnet.problems import Problem
from m2fnet.records import LEAK
from m2fnet.reports.run_report import write_report
from m2fnet.store import Store
from m2fnet.training.callbacks import print_rank_zero
from m2fnet.training.cli import DryRun, RunCLI

_NAMED = 3  # of the utterances that are in two splits; `defects.md` in the manifest's folder has all


class DialogueCLI(RunCLI):
    """Trains and judges dialogue networks."""

    prog = "m2fnet dialog"
    trained_by = DialogueTrainer

    @staticmethod
    def subcommands() -> dict[str, set[str]]:
        """Lightning's, and `missing`: the arguments of each that the command line does not offer."""
        return {**RunCLI.subcommands(), "missing": set(RunCLI.subcommands()["test"])}

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:  # noqa: ANN401 - Lightning's own
        """Parse the command line.

        Raises:
            UsageError: one sentence that names the key.
        """
        for name in _names_of_stores(args):
            if "." in name:  # the parser would take it for a path of keys, and lose the part before the dot
                raise UsageError(f"data.stores has a stream named {name!r}; expected a name without a dot.")
        super().parse_arguments(parser, args)

    def stores(self) -> Mapping[str, Store]:
        """The embeddings of each modality."""
        return cast(DialogueData, self.datamodule).stores

    def before_fit(self) -> None:
        """Name the utterances that training and scores have in common."""
        self._print_leaks()

    def before_test(self) -> None:
        """Name the utterances that training and scores have in common."""
        self._print_leaks()

    def after_fit(self) -> None:
        """Print where the run is and what comes next."""
        fitted = self.fitted()
        print_rank_zero(
            f"Trained {fitted['epochs']} epochs, kept epoch {fitted['epoch']} with dev {self.problem.monitor_title} "
            f"{100 * fitted[f'dev.{self.problem.monitor}']:.2f}.\n"
            f"Next: m2fnet dialog test --config {self.run / 'config.yaml'}"
        )

    def after_test(self) -> None:
        """Write and print the report."""
        task, data = cast(DialogueTask, self.model), cast(DialogueData, self.datamodule)
        answers = {split: predictions(task, data, split, split) for split in SCORED}
        if not self.trainer.is_global_zero:
            return
        training = [u.labels for u in data.manifest.utterances if u.split == "train" and u.labels is not None]
        page = write_report(self.results, self._facts(data), answers, training, cast(Problem, task.problem))
        # the trainer has put the network back on the CPU, but leaves it in the precision that it was tested in
        if looked := attention_in(task.float(), data.dialogues("test")):
            write_json(self.results / ATTENTION, {**self._facts(data), "dialogues": looked})
        if not self.config[self.subcommand].quiet:
            print_rank_zero(page)
        print_rank_zero(
            f"Report: {self.results / 'report.md'}, {self.results / 'report.json'}; "
            f"predictions: {self.results / 'predictions.jsonl'}."
        )

    def missing(self, **kwargs: Any) -> None:  # noqa: ANN401
        """Test the selected weights with parts of their inputs missing."""
        self.evaluate("missing", **kwargs)

    def after_missing(self) -> None:
        """Write ``missing.json`` and ``missing.md`` into the run folder, and print them."""
        task, data = cast(DialogueTask, self.model), cast(DialogueData, self.datamodule)
        content = {**self._facts(data), **missing_report.scores(task, data)}
        if not self.trainer.is_global_zero:
            return
        page = missing_report.as_markdown(content)
        write_json(self.results / missing_report.FILE, content)
        write_text((self.results / missing_report.FILE).with_suffix(".md"), page)
        if not self.config[self.subcommand].quiet:
            print_rank_zero(page)
        print_rank_zero(
            f"Wrote {self.results / 'missing.md'} and {missing_report.FILE}; `m2fnet report --plots` draws them."
        )

    def after_predict(self) -> None:
        """Write the labels of every utterance of the chosen split, context utterances included."""
        task, data = cast(DialogueTask, self.model), cast(DialogueData, self.datamodule)
        rows = predictions(task, data, "predict", data.predict_split)
        path = self.run / f"labels_{data.predict_split}.jsonl"
        if self.trainer.is_global_zero:
            write_jsonl(path, [asdict(row) for row in rows])
            print_rank_zero(f"Labelled {len(rows)} utterances: {path}")

    def _print_leaks(self) -> None:
        for defect in cast(DialogueData, self.datamodule).manifest.defects:
            if defect.kind == LEAK:
                named = ", ".join([*defect.ids[:_NAMED], *(["…"] if len(defect.ids) > _NAMED else [])])
                print_rank_zero(plain(f"{defect.what}: {len(defect.ids)} utterances ({named}); {defect.done}"))

    def _facts(self, data: DialogueData) -> dict[str, object]:
        return {
            "seed": self.config[self.subcommand].seed_everything,
            "corpus": data.manifest.corpus,
            "manifest_sha256": data.manifest.sha256,
            "streams": data.streams,
            "modalities": list(dict.fromkeys(data.problem.modalities[name] for name in data.streams)),
            "stores": {name: str(folder) for name, folder in data.store_folders.items()},
            "select": self.config[self.subcommand].select,
            "fit": self.fitted(),
            **({} if data.fold is None else {"fold": asdict(data.fold)}),
        }


def _names_of_stores(arguments: Sequence[str]) -> Iterator[str]:
    """The streams that the command line and its files name, as they are written there."""
    for place, text in enumerate(arguments):
        option, _, value = text.partition("=")
        if option == "--data.stores":
            stores = yaml.safe_load(value or "".join(arguments[place + 1 : place + 2]))
        elif text.endswith((".yaml", ".yml")):
            content = yaml.safe_load(Path(value or text).read_text(encoding="utf-8"))
            data = content.get("data") if isinstance(content, dict) else None
            if isinstance(data, str):  # a file that this one includes
                data = yaml.safe_load((Path(value or text).parent / data).read_text(encoding="utf-8"))
            stores = data.get("stores") if isinstance(data, dict) else None
        else:
            continue
        if isinstance(stores, dict):
            yield from map(str, stores)


def data_of(argv: Sequence[str]) -> dict[str, Any]:
    """The settings of the data that ``m2fnet dialog fit`` with ``argv`` would train on; nothing is trained."""
    try:
        DialogueCLI(DialogueTask, DialogueData, ["fit", *argv, "--dry-run", "--overwrite", "--quiet"])
    except DryRun as planned:
        settings: dict[str, Any] = planned.settings.values["data"]
        return settings
    raise AssertionError("a dry run ends early")


def train(argv: Sequence[str]) -> Path:
    """Run one command of a dialogue network and return its run folder."""
    return DialogueCLI.start(DialogueTask, DialogueData, argv)


def main(argv: list[str]) -> None:
    """Run ``m2fnet dialog``."""
    train(argv)
