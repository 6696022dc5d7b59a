"""Errors a user can act on: each says what came, what was expected and what to do."""


class M2FNetError(ValueError):
    """Base of all errors that a command prints as one message with exit code 1."""


class UsageError(M2FNetError):
    """The command or its configuration is wrong; printed with exit code 2."""


class CorpusError(M2FNetError):
    """A raw corpus, or a table in it, is not what it should be."""


class ManifestError(M2FNetError):
    """A manifest is missing, damaged or contradicts itself."""


class StoreError(M2FNetError):
    """A store of embeddings is missing, damaged, or does not fit the manifest."""


class RunError(M2FNetError):
    """A folder of a trained or fitted model is missing, damaged, or cannot be made from this data."""


class ModelError(M2FNetError):
    """The folder of a model is missing, damaged, tampered with, or cannot be made from this run."""


class MediaError(M2FNetError):
    """A clip cannot be read. ``stage`` names where it failed; extraction records it and continues."""

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
