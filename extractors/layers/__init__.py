"""What extractors of several modalities share: layers, and encoders read by any of theirs."""
