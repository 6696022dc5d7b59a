"""How good embeddings are, without a dialogue network: head, 1-NN and linear probe."""
