"""A prepared manifest for people: counts per split and label, and what was found wrong in the corpus."""

from collections.abc import Sequence

import pandas as pd

from m2fnet.manifest import Manifest
from m2fnet.records import SPLITS

DEFECTS = "defects.md"
_SHOWN = 3  # ids on the screen
_LISTED = 200  # ids on the page


def counts_frame(manifest: Manifest) -> pd.DataFrame:
    """Dialogues, utterances, labelled utterances, and utterances per emotion (rows), for each split (columns).

    Example:
        >>> from m2fnet.records import LabelSet, Utterance
        >>> said = (Utterance("a_0", "own", "train", "a", 0, label="joy"), Utterance("a_1", "own", "train", "a", 1))
        >>> counts_frame(Manifest("own", LabelSet("own", ("joy", "anger")), said))
                    train  dev  test
        dialogues       1    0     0
        utterances      2    0     0
        labelled        1    0     0
        joy             1    0     0
        anger           0    0     0
    """
    counts = manifest.counts()
    rows = {split: {k: n for k, n in counts[split].items() if k != "labels"} for split in SPLITS}
    labels = {split: counts[split]["labels"] for split in SPLITS}
    return pd.concat([pd.DataFrame(rows), pd.DataFrame(labels)])


def defects_frame(manifest: Manifest) -> pd.DataFrame:
    """One row per defect of the corpus: what, its kind, the number of ids, what was done, and the ids as a list.

    Example:
        >>> from m2fnet.records import Defect, LabelSet, Utterance
        >>> labels, said = LabelSet("own", ("joy", "anger")), Utterance("a_0", "own", "train", "a", 0, label="joy")
        >>> manifest = Manifest("own", labels, (said,), defects=(Defect("no text", ("a_0",), "kept"),))
        >>> defects_frame(manifest)[["what", "count", "done"]]
              what  count  done
        0  no text      1  kept
    """
    columns = ["what", "kind", "count", "done", "ids"]
    return pd.DataFrame([defect.as_dict() for defect in manifest.defects], columns=columns)


def counts_text(manifest: Manifest) -> str:
    """`counts_frame` as aligned text, indented by two."""
    return "\n".join(f"  {line}" for line in counts_frame(manifest).to_string(col_space=7).splitlines())


def defects_text(manifest: Manifest) -> str:
    """One line per defect: how many, what, what was done, and the first ids."""
    rows = defects_frame(manifest).itertuples()
    lines = [f"  {row.count:>6}  {row.what}: {row.done} ({_first(row.ids, _SHOWN)})" for row in rows]
    return "\n".join(lines) or "  none"


def defects_markdown(manifest: Manifest) -> str:
    """The defect report as a page; ``manifest.meta.json`` holds every id."""
    rows = list(defects_frame(manifest).itertuples())
    table = "".join(f"| {row.what} | {row.count} | {row.done} |\n" for row in rows)
    details = "".join(f"\n## {row.what}\n{row.done}; {row.count}: {_first(row.ids, _LISTED)}\n" for row in rows)
    return (
        f"# Defects found in {manifest.corpus}\n\n"
        f"{len(manifest.utterances)} utterances. All ids are in `manifest.meta.json`.\n\n"
        f"| what | how many | what was done |\n|---|---|---|\n{table}{details}"
    )


def _first(ids: Sequence[str], count: int) -> str:
    return ", ".join(ids[:count]) + (", …" if len(ids) > count else "")
