"""``m2fnet dialog {fit,validate,test,missing,predict}``: LightningCLI with this project's Task and Data."""

import math
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

from pytorch_lightning.cli import LightningArgumentParser

from dialog.attention_maps import attention_in
from dialog.data import DialogueData
from dialog.missing import report as missing_report
from dialog.missing.conditions import DialogueTrainer
from dialog.models.linear_baseline import linear_baseline
from dialog.predictions import predictions
from dialog.task import SCORED, DialogueTask
from m2fnet.errors import UsageError
from m2fnet.files import write_json, write_jsonl, write_text
from m2fnet.formatting import is_news, plain
from m2fnet.metrics.ratings import summarise_ratings
from m2fnet.problems import Problem, problem_from_dict
from m2fnet.records import LEAK, LabelSet, Split
from m2fnet.reports.run_report import WARNING, write_report
from m2fnet.reports.terminal import for_terminal
from m2fnet.runs.attention import ATTENTION
from m2fnet.runs.checkpoints import asked_weights, read_checkpoint
from m2fnet.runs.folder import facts_of_fit, fit_of
from m2fnet.runs.missing_scores import MISSING
from m2fnet.training.callbacks import print_rank_zero
from m2fnet.training.cli import RunCLI

_NAMED = 3  # of the utterances that are in two splits; `defects.md` in the manifest's folder has all


class DialogueCLI(RunCLI):
    """Trains and judges dialogue networks."""

    prog = "m2fnet dialog"
    task, data = DialogueTask, DialogueData
    trained_by = DialogueTrainer
    example = "dialog/m2fnet_meld.yaml"
    threads = 1

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:  # noqa: ANN401 - Lightning's own
        """Parse the command line; the configuration of an extractor is refused as such, not for one of its settings."""
        try:
            super().parse_arguments(parser, args)
        except UsageError as error:
            for name in self._named_networks(args):
                if name.startswith("extractors."):
                    raise UsageError(f"{name} is an extractor; train it by `m2fnet extractor fit`.") from error
            raise

    @staticmethod
    def subcommands() -> dict[str, set[str]]:
        """Lightning's, and `missing`: the arguments of each that the command line does not offer."""
        return {**RunCLI.subcommands(), "missing": set(RunCLI.subcommands()["test"])}

    def trained_labels(self) -> LabelSet:
        """The emotions that the weights answer."""
        given = self.config[self.subcommand]
        checkpoint = read_checkpoint(asked_weights(self.run, given.checkpoint, given.select), mmap=True)
        return problem_from_dict(checkpoint["problem"]).label_set

    def check_fit(self) -> None:
        """Read the data, and build the network and its optimizer for them."""
        task, data = cast(DialogueTask, self.model), cast(DialogueData, self.datamodule)
        data.setup("fit")
        task.build(data.problem)
        task.optimizer_and_scheduler()

    def before_fit(self) -> None:
        """Name the utterances that training and scores have in common."""
        self._print_leaks()

    def before_test(self) -> None:
        """Name the utterances that training and scores have in common."""
        self._print_leaks()

    def after_fit(self) -> None:
        """Print where the run is and what comes next."""
        fitted = fit_of(self.run)
        print_rank_zero(
            f"Trained {fitted['epochs']} epoch{'s' * (fitted['epochs'] != 1)}, kept epoch {fitted['epoch']} with dev "
            f"{self.problem.monitor_title} {100 * fitted[f'dev.{self.problem.monitor}']:.2f}.\n"
            f"Next: m2fnet dialog test --config {self.run / 'config.yaml'}"
        )

    def after_test(self) -> None:
        """Write and print the report."""
        task, data = cast(DialogueTask, self.model), cast(DialogueData, self.datamodule)
        answers = {split: predictions(task, data, split, split) for split in SCORED}
        if not self.trainer.is_global_zero:
            return
        labels = {split: [u.labels for u in data.manifest.utterances if u.split == split] for split in ("train", "dev")}
        # another corpus may have no training split
        training = [one for one in labels["train"] if one is not None] or [o for o in labels["dev"] if o is not None]
        baseline = linear_baseline(data) if any(one is not None for one in labels["train"]) else {}
        facts = {**self._facts(data), **({"linear": baseline} if baseline else {}), **self._ratings(task, data)}
        page = write_report(self.results, facts, answers, training, cast(Problem, task.problem))
        # the trainer has put the network back on the CPU, but leaves it in the precision that it was tested in
        if looked := attention_in(task.float(), data.dialogues("test")):
            write_json(self.results / ATTENTION, {**self._facts(data), "dialogues": looked})
        if not self.config[self.subcommand].quiet:
            print_rank_zero(for_terminal(page) + "\n")
        elif warnings := [line for line in page.splitlines() if line.startswith(WARNING)]:
            print_rank_zero("\n".join(warnings))
        print_rank_zero(
            f"Report: {self.results / 'report.md'}, {self.results / 'report.json'}; "
            f"predictions: {self.results / 'predictions.jsonl'}.\n"
            f"Next: m2fnet report {self.run}"
            + (f"\n      m2fnet predict CLIP --model {self.run}" if self._can_embed(data) else "")
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
        write_json(self.results / MISSING, content)
        write_text((self.results / MISSING).with_suffix(".md"), page)
        if not self.config[self.subcommand].quiet:
            print_rank_zero(for_terminal(page) + "\n")
        print_rank_zero(f"Wrote {self.results / 'missing.md'} and {MISSING}; `m2fnet report --plots` draws them.")

    def after_predict(self) -> None:
        """Write the labels of every utterance of the chosen split, context utterances included."""
        task, data = cast(DialogueTask, self.model), cast(DialogueData, self.datamodule)
        rows = predictions(task, data, "predict", data.predict_split)
        path = self.results / f"labels_{data.predict_split}.jsonl"
        if self.trainer.is_global_zero:
            write_jsonl(path, [asdict(row) for row in rows])
            print_rank_zero(f"Labelled {len(rows)} utterances: {path}")

    def _ratings(self, task: DialogueTask, data: DialogueData) -> dict[str, object]:
        """Scores of the ratings for the report; writes each rating into ``ratings.jsonl`` of the run."""
        found: dict[str, dict[str, object]] = {name: {} for name in data.problem.ratings}
        lines: list[dict[str, object]] = []
        for split in SCORED if found else ():
            rows, predicted, true = task.ratings(split)
            said = [data.dialogues(cast(Split, split)).utterances[row] for row in rows.tolist()]
            for name, mine, theirs in zip(found, predicted.T.tolist(), true.T.tolist(), strict=True):
                known = [n for n, value in enumerate(theirs) if not math.isnan(value)]
                dialogues = [said[n].dialogue for n in known]
                found[name][split] = summarise_ratings([mine[n] for n in known], [theirs[n] for n in known], dialogues)
                lines += [
                    {"id": said[n].id, "split": split, "rating": name, "predicted": mine[n], "true": theirs[n]}
                    for n in known
                ]
        if lines:
            write_jsonl(self.results / "ratings.jsonl", lines)
        return {"ratings": found} if found else {}

    @staticmethod
    def _can_embed(data: DialogueData) -> bool:
        """Whether there is an extractor for every stream, as there is none of imported features."""
        return all(store.meta.is_of_extractor for store in data.stores.values())

    def _named_networks(self, args: Any) -> list[str]:  # noqa: ANN401 - Lightning's own
        """The classes that the first configuration names as networks; none if it names none."""
        try:
            return list(self.help().networks(args).values())
        except UsageError:
            return []

    def _print_leaks(self) -> None:
        manifest = cast(DialogueData, self.datamodule).manifest
        for defect in manifest.defects:
            if defect.kind == LEAK and is_news(manifest.sha256, defect.what):
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
            "fit": facts_of_fit(self.run),
            **self.facts_of_other_data(),
            **({} if data.fold is None else {"fold": asdict(data.fold)}),
        }


def settings_of(argv: Sequence[str]) -> dict[str, Any]:
    """The settings with which ``m2fnet dialog fit`` with ``argv`` would train; nothing is trained."""
    settings: dict[str, Any] = DialogueCLI.start(["fit", *argv, "--dry-run", "--overwrite"]).values
    return settings


def train(argv: Sequence[str]) -> Path:
    """Run one command of a dialogue network and return its run folder."""
    return DialogueCLI.start(argv).folder


def main(argv: list[str]) -> None:
    """Run ``m2fnet dialog``."""
    DialogueCLI.start(argv, prints_plan=True)
