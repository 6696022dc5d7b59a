"""Stage 2: the embeddings of a dialogue in, one emotion per utterance out."""
