"""Raw corpora in, manifests out: one adapter per corpus."""
