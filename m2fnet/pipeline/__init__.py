"""A trained model at work: conversations in, the emotion of every turn out. No training code is imported."""

from m2fnet.pipeline.pipeline import Pipeline, Stream, conversation_of

__all__ = ["Pipeline", "Stream", "conversation_of"]
