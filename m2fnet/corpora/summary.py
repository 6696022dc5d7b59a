"""A prepared manifest in words: counts per split and label, and what was found wrong in the corpus."""

from collections.abc import Sequence

from m2fnet.manifest import Manifest
from m2fnet.records import SPLITS, Defect

DEFECTS = "defects.md"
_FIRST = 3
_LISTED = 200


def counts_table(manifest: Manifest) -> str:
    """Dialogues, utterances and emotions per split, as aligned text."""
    counts = manifest.counts()
    rows = [("", *SPLITS)]
    rows += [(name, *(str(counts[s][name]) for s in SPLITS)) for name in ("dialogues", "utterances", "labelled")]
    rows += [(label, *(str(counts[s]["labels"][label]) for s in SPLITS)) for label in manifest.label_set.classes]
    width = max(len(row[0]) for row in rows)
    return "\n".join(f"  {row[0]:<{width}}" + "".join(f"{cell:>8}" for cell in row[1:]) for row in rows)


def defects_text(defects: Sequence[Defect]) -> str:
    """One line per kind of defect: how many, what, what was done, the first ids."""
    lines = [f"  {len(d.ids):>6}  {d.what}: {d.done} ({_few(d.ids, _FIRST)})" for d in defects]
    return "\n".join(lines) or "  none"


def defects_markdown(manifest: Manifest) -> str:
    """The defect report as a page; ``manifest.meta.json`` holds every id."""
    table = "".join(f"| {d.what} | {len(d.ids)} | {d.done} |\n" for d in manifest.defects)
    details = "".join(f"\n## {d.what}\n{d.done}; {len(d.ids)}: {_few(d.ids, _LISTED)}\n" for d in manifest.defects)
    return (
        f"# Defects found in {manifest.corpus}\n\n"
        f"{len(manifest.utterances)} utterances. All ids are in `manifest.meta.json`.\n\n"
        f"| what | how many | what was done |\n|---|---|---|\n{table}{details}"
    )


def _few(ids: Sequence[str], count: int) -> str:
    return ", ".join(ids[:count]) + (", …" if len(ids) > count else "")
