"""Stage 1: one utterance in, one embedding out."""
