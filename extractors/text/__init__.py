"""Text extractors."""
