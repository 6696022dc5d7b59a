"""Manifest and extractor in, a store of embeddings out."""
