"""The commands of this stage: train or fit an extractor, and extract embeddings."""
