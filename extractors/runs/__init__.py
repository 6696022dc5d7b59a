"""Run folders of extractors: written, read again, exported."""
