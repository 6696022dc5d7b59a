"""What a network predicted, as records."""

from typing import cast

from dialog.data import DialogueData
from dialog.task import DialogueTask
from m2fnet.records import Scored, Split


def predictions(task: DialogueTask, data: DialogueData, name: str, split: Split | str) -> list[Scored]:
    """What the network predicted for the utterances of ``split``, as it was kept under ``name``."""
    assert task.problem is not None, "the network is built before it predicts"
    rows, probabilities = task.probabilities(name)
    utterances = data.dialogues(cast(Split, split)).utterances
    return task.problem.answers([utterances[row] for row in rows.tolist()], probabilities)
