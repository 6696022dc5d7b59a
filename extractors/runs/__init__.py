"""Run folders of extractors: written, read again, passed on."""
