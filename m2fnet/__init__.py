"""m2fnet: emotion recognition in conversation, from raw media to one emotion per utterance."""

import os

__version__ = "0.1.0"

# onnxruntime, where it is installed, sends how it is used, and torchmetrics imports it
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
