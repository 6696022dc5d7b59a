"""An extractor and a dialogue network, trained together."""
