"""The scores of a network whose inputs are missing in part, as plain data and as a page."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, cast

import numpy as np
import pandas as pd

from dialog.data import DialogueData
from dialog.missing.conditions import Condition, MissingModalities, random_shares, subsets
from dialog.predictions import predictions
from dialog.task import SCORED, DialogueTask
from m2fnet.formatting import bounds, escaped, markdown_table, percent
from m2fnet.metrics.bootstrap import FEWEST_DIALOGUES, Resampling, bootstrap_intervals
from m2fnet.metrics.counts import Counts, count_dialogues
from m2fnet.metrics.scores import STATISTICS, TWO_SCORES, score_title
from m2fnet.records import Split


def scores(task: DialogueTask, data: DialogueData) -> dict[str, Any]:
    """Scores of the network under every condition that `DialogueTrainer.missing` tested it in."""
    return {
        "classes": list(data.problem.classes),
        "kind": data.problem.label_set.kind,
        "bootstrap": {"over": "dialogues", **asdict(Resampling())},
        "subsets": [{"present": list(one.present), **_scores(task, data, [one])} for one in subsets(data.streams)],
        "random": [
            {"share": of[0].share, "draws": len(of), **_scores(task, data, of)} for of in random_shares(data.streams)
        ],
    }


def _scores(task: DialogueTask, data: DialogueData, draws: Sequence[Condition]) -> dict[str, Any]:
    """Scores averaged over ``draws``, and the share of all embeddings that is not there."""
    found: dict[str, Any] = {}
    kind = data.problem.label_set.kind
    statistics = {name: STATISTICS[kind][name] for name in TWO_SCORES[kind]}
    for split in SCORED:
        masks = [mask for one in draws for mask in one.masks(data.dialogues(cast(Split, split))).values()]
        found[f"{split}.missing_share"] = 1 - float(np.mean([mask.float().mean() for mask in masks]))
        counts = Counts.stack([_counts(task, data, split, one) for one in draws])
        for name, interval in bootstrap_intervals(counts, statistics).items():
            score = asdict(interval)
            if counts.shape[1] < FEWEST_DIALOGUES:
                score |= {"low": None, "high": None}
            found[f"{split}.{name}"] = score
    return found


def _counts(task: DialogueTask, data: DialogueData, split: str, condition: Condition) -> Counts:
    rows = predictions(task, data, MissingModalities.key(split, condition), split)
    sets = [(*row.label_sets, row.dialogue) for row in rows]
    labelled = [(true, answer, dialogue) for true, answer, dialogue in sets if true is not None]
    labels, answers, dialogues = (list(column) for column in zip(*labelled, strict=True))
    return count_dialogues(labels, answers, dialogues, data.problem.classes)


def as_markdown(content: dict[str, Any]) -> str:
    """The scores as a page of two tables, in per cent."""
    shown = TWO_SCORES[content["kind"]]
    main, second = map(score_title, shown)
    columns = ["missing", f"dev {main}", f"test {main}", "95 % interval", f"test {second}"]
    draw = content["bootstrap"]
    lines = [
        f"# {escaped(content['corpus'])}: {' + '.join(content['streams'])}, seed {content['seed']}, parts missing",
        "",
        "The same weights, predicting every utterance; “missing” is the missing share of all test embeddings. The "
        f"interval holds the middle {100 * draw['level']:g} % of {draw['draws']} bootstrap draws of the test "
        f"dialogues; below {FEWEST_DIALOGUES} dialogues there is none.",
        "",
        *markdown_table(
            pd.DataFrame(
                [[" + ".join(row["present"]), *_cells(row, *shown)] for row in content["subsets"]],
                columns=["given", *columns],
            )
        ),
        "",
        "Every stream of every utterance is removed with the probability at the left, but never all of an "
        f"utterance; mean over {content['random'][-1]['draws']} draws.",
        "",
        *markdown_table(
            pd.DataFrame(
                [[f"{row['share']:.0%}", *_cells(row, *shown)] for row in content["random"]],
                columns=["removed", *columns],
            )
        ),
    ]
    return "\n".join(lines) + "\n"


def _cells(row: dict[str, Any], main: str, second: str) -> list[str]:
    test = row[f"test.{main}"]
    scores = [percent(row[f"dev.{main}"]["value"]), percent(test["value"]), bounds(test)]
    return [f"{row['test.missing_share']:.0%}", *scores, percent(row[f"test.{second}"]["value"])]
