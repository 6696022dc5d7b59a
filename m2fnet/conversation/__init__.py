"""What lies around a clip of one's own: segments and transcripts in, predictions out."""
