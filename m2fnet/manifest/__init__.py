"""A corpus as the rest of the system sees it: ``manifest.jsonl`` and ``manifest.meta.json`` in one folder.

One utterance per line, typed and greppable. `Manifest.to_pandas` shows it as a table. Where the corpus has votes of
single raters or ratings on scales, ``annotations.jsonl`` in the same folder holds them, one utterance per line.
"""

from m2fnet.manifest.manifest import ADVICE, ANNOTATIONS, META, TABLE, Manifest, SplitCounts, media_path

__all__ = ["ADVICE", "ANNOTATIONS", "META", "TABLE", "Manifest", "SplitCounts", "media_path"]
