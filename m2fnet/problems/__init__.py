"""What a corpus asks of a network: one emotion per utterance or a set of them, and from which inputs."""

import re
from collections.abc import Mapping, Sequence
from typing import cast

from torch import nn

from m2fnet.problems.base import UNLABELLED, Problem, Stream, streams_from_dict
from m2fnet.problems.multi import MultiLabel, Thresholds
from m2fnet.problems.single import SingleLabel
from m2fnet.records import LabelSet, Modality

__all__ = [
    "UNLABELLED",
    "MultiLabel",
    "Problem",
    "SingleLabel",
    "Stream",
    "Thresholds",
    "make_problem",
    "problem_from_dict",
]

_NAME = re.compile(r"[A-Za-z]\w*", re.ASCII)  # names parts of networks, folders of models and settings


def make_problem(label_set: LabelSet, streams: Mapping[str, Stream | int], ratings: Sequence[str] = ()) -> Problem:
    """The problem of ``label_set`` for the given inputs.

    Args:
        label_set: the emotions; its kind decides between `SingleLabel` and `MultiLabel`.
        streams: name -> stream, in the order the network gets them; a number is short for one vector of that width per
            utterance, of the modality that the name says.
        ratings: names of scales on which utterances are rated in addition, such as ``valence``.

    Raises:
        ValueError: if a value is not a stream, or a name is not usable as a module name.

    Example:
        >>> problem = make_problem(LabelSet("two", ("anger", "joy")), {"text": 768, "clip": Stream("visual", 512)})
        >>> type(problem).__name__, problem.widths, problem.modalities
        ('SingleLabel', {'text': 768, 'clip': 512}, {'text': 'text', 'clip': 'visual'})
    """
    for name in streams:
        if not _NAME.fullmatch(name) or hasattr(nn.ModuleDict(), name):
            raise ValueError(
                f"Expected names of streams of ASCII letters, digits and underscores that are not attributes "
                f"of torch.nn.ModuleDict, such as text or clip_face, but got {name!r}."
            )
    kind = SingleLabel if label_set.kind == "single" else MultiLabel
    return kind(
        label_set,
        {name: Stream(cast(Modality, name), of) if isinstance(of, int) else of for name, of in streams.items()},
        tuple(ratings),
    )


def problem_from_dict(content: Mapping[str, object]) -> Problem:
    """The problem that `Problem.as_dict` wrote, also as checkpoints had it before streams had names.

    Raises:
        KeyError, TypeError, ValueError: if something is absent or not what it should be.

    Example:
        >>> problem = make_problem(LabelSet("two", ("anger", "joy")), {"text": 4})
        >>> problem_from_dict(problem.as_dict()) == problem
        True
    """
    names = content["label_set"]
    if not isinstance(names, Mapping) or names["kind"] not in ("single", "multi"):
        raise TypeError(f"label_set is {names!r}, expected name, classes and kind")
    label_set = LabelSet(names["name"], tuple(names["classes"]), names["kind"])
    ratings = content.get("ratings", ())
    if not isinstance(ratings, list | tuple) or not all(isinstance(name, str) for name in ratings):
        raise TypeError(f"ratings is {ratings!r}, expected names of scales")
    problem = make_problem(label_set, streams_from_dict(content), ratings)
    thresholds = content.get("thresholds")
    if isinstance(problem, MultiLabel) and isinstance(thresholds, list | tuple):
        return problem.with_thresholds(thresholds)
    return problem
