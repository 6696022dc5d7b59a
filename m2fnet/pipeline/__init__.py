"""A trained model at work: conversations in, the emotion of every utterance out. Only a `Run` loads what trains."""

from m2fnet.conversation.predictions import Predictions
from m2fnet.pipeline.pipeline import LiveConversation, Pipeline, conversation_of
from m2fnet.pipeline.run import Run

__all__ = ["LiveConversation", "Pipeline", "Predictions", "Run", "conversation_of"]
