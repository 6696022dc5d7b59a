"""The streams that a network reads, checked when it is built."""

from m2fnet.problems import Problem


def vector_widths(problem: Problem) -> dict[str, int]:
    """Stream -> width D, for a network that reads one vector per utterance.

    Raises:
        ValueError: naming the streams of sequences, and what to do.

    Example:
        >>> from m2fnet.problems import Stream, make_problem
        >>> from m2fnet.records import LabelSet
        >>> labels = LabelSet("two", ("anger", "joy"))
        >>> vector_widths(make_problem(labels, {"text": 768, "clip": Stream("visual", 512)}))
        {'text': 768, 'clip': 512}
        >>> clip = Stream("visual", 512, is_sequence=True)
        >>> vector_widths(make_problem(labels, {"text": 768, "clip": clip}))  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        ...
        ValueError: This network reads one vector per utterance, but clip has a sequence of vectors. ...
    """
    sequences = [name for name, stream in problem.streams.items() if stream.is_sequence]
    if sequences:
        raise ValueError(
            f"This network reads one vector per utterance, but {' and '.join(sequences)} "
            f"{'has a sequence' if len(sequences) == 1 else 'have sequences'} of vectors. Set its `pooling` "
            "to mean or attention, choose other streams with data.streams, or use a network that reads sequences."
        )
    return problem.widths
