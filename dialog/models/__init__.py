"""Dialogue networks: one family per file."""
