"""Pictures of tested runs: each function takes plain data and returns a matplotlib figure."""

from m2fnet.plots.attention import attention_maps
from m2fnet.plots.calibration import reliability_diagram
from m2fnet.plots.classes import class_scores
from m2fnet.plots.confusion import confusion
from m2fnet.plots.curves import training_curves
from m2fnet.plots.embeddings import embedding_map
from m2fnet.plots.missing import missing_curves
from m2fnet.plots.spectrogram import spectrogram
from m2fnet.plots.timeline import timeline

__all__ = [
    "attention_maps",
    "class_scores",
    "confusion",
    "embedding_map",
    "missing_curves",
    "reliability_diagram",
    "spectrogram",
    "timeline",
    "training_curves",
]
