"""A conversation that a user brings: clip, segments and transcript in, predictions out."""
