"""Embeddings on disk: utterance id -> vector, or sequence of vectors, with where they come from."""

from m2fnet.store.layout import Missing
from m2fnet.store.reader import Store
from m2fnet.store.writer import StoreWriter

__all__ = ["Missing", "Store", "StoreWriter"]
