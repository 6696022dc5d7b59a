"""What a run folder holds: settings, provenance, checkpoints, curves, tested predictions."""
