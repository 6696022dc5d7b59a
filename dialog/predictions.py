"""What a network said, as records."""

from typing import cast

from dialog.data import DialogueData
from dialog.task import DialogueTask
from m2fnet.records import ScoredPrediction, Split


def predictions(task: DialogueTask, data: DialogueData, name: str, split: Split | str) -> list[ScoredPrediction]:
    """What the network said about the utterances of ``split``, as it was kept under ``name``."""
    rows, probabilities = task.probabilities(name)
    utterances = data.dialogues(cast(Split, split)).utterances
    classes = data.problem.label_set.classes
    winners = probabilities.argmax(-1).tolist()
    return [
        ScoredPrediction(
            utterances[row].id,
            utterances[row].dialogue,
            utterances[row].label,
            classes[winner],
            dict(zip(classes, values, strict=True)),
        )
        for row, winner, values in zip(rows.tolist(), winners, probabilities.tolist(), strict=True)
    ]
