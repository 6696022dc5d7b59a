"""Losses on embeddings: adaptive-margin triplet, variance, covariance, and the mining of triplets."""
