"""Visual extractors."""
