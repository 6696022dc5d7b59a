"""m2fnet: emotion recognition in conversation, from raw media to one emotion per utterance."""

__version__ = "0.1.0"
