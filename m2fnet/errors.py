"""Errors a user can act on: each says what came, what was expected and what to do."""


class M2FNetError(ValueError):
    """Base of all errors that a command prints as one message with exit code 1."""


class UsageError(M2FNetError):
    """The command or its configuration is wrong; printed with exit code 2."""


class LabelSetsError(UsageError):
    """Something needs one emotion per utterance, but utterances have sets of them.

    Example:
        >>> raise LabelSetsError("runs/sets", "a confusion matrix")
        Traceback (most recent call last):
        ...
        m2fnet.errors.LabelSetsError: The utterances of runs/sets have sets of emotions; a confusion matrix needs one \
emotion per utterance.

    Args:
        source: what the utterances are of: a corpus, or a run folder.
        what: needs one emotion per utterance.
        advice: sentences to add.
    """

    def __init__(self, source: object, what: str = "this", advice: str = "") -> None:
        why = f"The utterances of {source} have sets of emotions; {what} needs one emotion per utterance. {advice}"
        super().__init__(why.strip())


class CorpusError(M2FNetError):
    """A raw corpus, or a table in it, is not what it should be."""


class ManifestError(M2FNetError):
    """A manifest is missing, damaged or contradicts itself."""


class StoreError(M2FNetError):
    """A store of embeddings is missing, damaged, or does not fit the manifest."""


class RunError(M2FNetError):
    """A folder of a trained or fitted model is missing, damaged, or cannot be made from this data."""


class HintError(M2FNetError):
    """Hints of a language model are missing or damaged, or the model does not answer."""


class ModelError(M2FNetError):
    """The folder of a model is missing, damaged, tampered with, or cannot be made from this run."""


class MediaError(M2FNetError):
    """A clip cannot be read. ``stage`` names where it failed; extraction records it and continues.

    Example:
        >>> problem = MediaError("decode", "the file ends in the middle")
        >>> problem.stage, str(problem)
        ('decode', 'decode: the file ends in the middle')
    """

    def __init__(self, stage: str, reason: str) -> None:
        super().__init__(f"{stage}: {reason}")
        self.stage = stage
        self.reason = reason


class ConversationError(M2FNetError):
    """A clip, its segments or transcript, or the predictions written for it are not what they should be."""


class PredictionError(M2FNetError):
    """A conversation has no predictions: it has nothing that the model takes, or the work was not finished."""


class UnsafePickleError(M2FNetError):
    """A pickle asked for a class or function that is not on the short list of plain data types."""
