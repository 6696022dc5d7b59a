"""A trained model as one folder: all stages of a run, ready to be used, checked and shared."""

from m2fnet.model.assembling import assemble
from m2fnet.model.folder import save_model
from m2fnet.model.loading import load_model
from m2fnet.model.record import Model

__all__ = ["Model", "assemble", "load_model", "save_model"]
