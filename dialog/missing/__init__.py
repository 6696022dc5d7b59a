"""Inputs that are missing in part: dropped in training, removed on purpose in tests."""
