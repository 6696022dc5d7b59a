"""A trained model at work: conversations in, the emotion of every utterance out. No training code is imported."""

from m2fnet.conversation.predictions import Predictions
from m2fnet.pipeline.pipeline import LiveConversation, Pipeline, conversation_of

__all__ = ["LiveConversation", "Pipeline", "Predictions", "conversation_of"]
