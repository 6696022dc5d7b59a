"""Tiny raw trees of the corpora other than MELD, IEMOCAP and an own table, in their true formats."""

from pathlib import Path

GOEMOTIONS_TSV = {
    "train": 'My favourite food is mine.\t27\teebbqej\nSo "good", thanks!\t0,15\ted00q6i\nLOL\t1\teezlygj\n',
    "dev": "I've never been this sad\t25\tedcu99z\nLOL\t1\ted1\n",
    "test": "You \u2028 terrified me, wow\t14,26,27\teecwqtt\n",
}


def write_goemotions(folder: Path) -> Path:
    """The official layout: three TSV files without a header."""
    root = folder / "goemotions"
    (root / "data").mkdir(parents=True)
    for split, text in GOEMOTIONS_TSV.items():
        (root / f"data/{split}.tsv").write_text(text)
    return root
