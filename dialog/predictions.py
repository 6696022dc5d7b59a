"""What a network predicted, as records."""

from typing import cast

from dialog.data import DialogueData
from dialog.task import DialogueTask
from m2fnet.problems import MultiLabel
from m2fnet.records import ScoredLabelSet, ScoredPrediction, Split


def predictions(
    task: DialogueTask, data: DialogueData, name: str, split: Split | str
) -> list[ScoredPrediction] | list[ScoredLabelSet]:
    """What the network predicted for the utterances of ``split``, as it was kept under ``name``."""
    problem = task.problem
    assert problem is not None, "the network is built before it predicts"
    rows, probabilities = task.probabilities(name)
    utterances = [data.dialogues(cast(Split, split)).utterances[row] for row in rows.tolist()]
    named = [dict(zip(problem.classes, values, strict=True)) for values in probabilities.tolist()]
    decided = [
        tuple(name for name, is_in in zip(problem.classes, answer, strict=True) if is_in)
        for answer in problem.decide(probabilities).tolist()
    ]
    together = list(zip(utterances, decided, named, strict=True))
    if isinstance(problem, MultiLabel):
        return [ScoredLabelSet(u.id, u.dialogue, u.labels, answer, of) for u, answer, of in together]
    return [ScoredPrediction(u.id, u.dialogue, u.label, answer[0], of) for u, answer, of in together]
