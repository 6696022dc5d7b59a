"""``m2fnet dialog missing``: a trained network tested with parts of its inputs missing."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

import numpy as np

from dialog.cli import DialogueCLI, predictions
from dialog.data import DialogueData
from dialog.missing import Condition, MissingModalities, random_shares, subsets
from dialog.task import SCORED, DialogueTask
from m2fnet.callbacks import say
from m2fnet.errors import UsageError
from m2fnet.files import write_json, write_text
from m2fnet.metrics.bootstrap import Resampling, bootstrap_intervals
from m2fnet.metrics.markdown import percent, table
from m2fnet.metrics.scores import Tables, accuracy, confusion_tables, weighted_f1
from m2fnet.metrics.summary import FEWEST_DIALOGUES

NAME = "missing"
_STATISTICS = {"weighted_f1": weighted_f1, "accuracy": accuracy}


class MissingCLI(DialogueCLI):
    """Tests the kept weights with each subset of their inputs present, and with random shares missing."""

    def test(self, **kwargs: Any) -> None:  # noqa: ANN401
        """Answer dev and test under every condition.

        Raises:
            UsageError: if the network has one input alone.
        """
        data = cast(DialogueData, self.datamodule)
        if len(data.modalities) < 2:
            raise UsageError(
                f"{self.run} reads {data.modalities[0]} alone, so nothing can be left out; expected a run with at "
                "least two modalities."
            )
        self.subsets, self.shares = subsets(data.modalities), random_shares(data.modalities)
        once = dict.fromkeys([*self.subsets, *(draw for draws in self.shares for draw in draws)])
        self.missing = MissingModalities(data, list(once))
        cast(list[Any], self.trainer.callbacks).append(self.missing)  # type: ignore[attr-defined]
        super().test(**kwargs)

    def after_test(self) -> None:
        """Write ``missing.json`` and ``missing.md`` into the run folder."""
        data = cast(DialogueData, self.datamodule)
        content = {
            **self._facts(data),
            "classes": list(data.problem.label_set.classes),
            "bootstrap": {"over": "dialogues", **asdict(Resampling())},
            "subsets": [{"present": list(one.present), **self._scores([one])} for one in self.subsets],
            "random": [{"share": of[0].share, "draws": len(of), **self._scores(of)} for of in self.shares],
        }
        if self.trainer.is_global_zero:
            write_json(self.run / f"{NAME}.json", content)
            write_text(self.run / f"{NAME}.md", as_markdown(content))
            if not self.config[self.subcommand].quiet:
                say(as_markdown(content))
            say(f"Wrote {self.run / f'{NAME}.md'}, {self.run / f'{NAME}.json'}")

    def _scores(self, draws: Sequence[Condition]) -> dict[str, Any]:
        """Scores averaged over ``draws``, and the share of all embeddings that is not there."""
        found: dict[str, Any] = {}
        for split in SCORED:
            masks = [mask for one in draws for mask in self.missing.masks[split][one].values()]
            found[f"{split}.missing_share"] = 1 - float(np.mean([mask.float().mean() for mask in masks]))
            tables = np.stack([self._tables(split, one) for one in draws])
            for name, interval in bootstrap_intervals(tables, _STATISTICS).items():
                score = asdict(interval)
                if tables.shape[1] < FEWEST_DIALOGUES:
                    score |= {"low": None, "high": None}
                found[f"{split}.{name}"] = score
        return found

    def _tables(self, split: str, condition: Condition) -> Tables:
        task, data = cast(DialogueTask, self.model), cast(DialogueData, self.datamodule)
        rows = predictions(task, data, MissingModalities.key(split, condition), split)
        rows = [row for row in rows if row.label is not None]
        labels, answers, dialogues = zip(*((str(row.label), row.predicted, row.dialogue) for row in rows), strict=True)
        return confusion_tables(labels, answers, dialogues, data.problem.label_set.classes)


def main(argv: list[str]) -> Path:
    """Run ``m2fnet dialog missing`` and return the run folder."""
    return MissingCLI(DialogueTask, DialogueData, ["test", *argv]).run


def as_markdown(content: dict[str, Any]) -> str:
    """The scores as a page of two tables, in per cent."""
    scores = ["missing", "dev weighted F1", "test weighted F1", "95 % interval", "test accuracy"]
    lines = [
        f"# {content['corpus']}: {' + '.join(content['modalities'])}, seed {content['seed']}, parts missing",
        "",
        "The same weights, answering every turn; “missing” is the share of all test embeddings that was not there.",
        "",
        *table(["given", *scores], [[" + ".join(row["present"]), *_cells(row)] for row in content["subsets"]]),
        "",
        "Every modality of every utterance is left out with the probability at the left, but never all of an "
        f"utterance; mean over {content['random'][-1]['draws']} draws.",
        "",
        *table(["left out", *scores], [[f"{row['share']:.0%}", *_cells(row)] for row in content["random"]]),
    ]
    return "\n".join(lines) + "\n"


def _cells(row: dict[str, Any]) -> list[str]:
    f1 = row["test.weighted_f1"]
    interval = "–" if f1["low"] is None else f"{percent(f1['low'])} to {percent(f1['high'])}"
    shown = [percent(row["dev.weighted_f1"]["value"]), percent(f1["value"]), interval]
    return [f"{row['test.missing_share']:.0%}", *shown, percent(row["test.accuracy"]["value"])]
