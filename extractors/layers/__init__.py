"""Layers that extractors of several modalities share."""
