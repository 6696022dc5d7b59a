"""Tiny raw trees of the corpora other than MELD, IEMOCAP and an own table, in their true formats."""

import argparse
import pickle
from pathlib import Path

import numpy as np
import torch

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


MOSEI_TOKENS = {  # split -> tokens of its samples; 4 to 9 are happy, sad, anger, surprise, disgust, fear
    "train": [[2, 4, 3], [2, 4, 7, 3], [2, 3]],
    "valid": [[2, 5, 9, 3]],
    "test": [[2, 8, 3], [2, 3]],
}


def mosei_frames(rows: int, length: int, width: int, real: int) -> list[np.ndarray]:
    """Frames of ``rows`` samples, padded with zeros to ``length``; row n has the number n + 1 in it."""
    frames = [np.zeros((length, width), np.float32) for _ in range(rows)]
    for number, matrix in enumerate(frames, start=1):
        matrix[:real] = number
    return frames


def write_mosei_aligned(folder: Path, *, is_zip: bool = True, names: dict[str, int] | None = None) -> Path:
    """``train_valid_test.pt`` as CARAT and TAILOR read it: 5 frames, of which 3 are real; audio holds an -inf."""
    tokens = names or {"happy": 4, "sad": 5, "anger": 6, "surprise": 7, "disgust": 8, "fear": 9}
    content: dict[str, object] = {
        "settings": argparse.Namespace(data="mosei", max_len=5, proportion=None),
        "dict": {"tgt": {"<blank>": 0, "<unk>": 1, "<s>": 2, "</s>": 3, **tokens}},
    }
    for split, sets in MOSEI_TOKENS.items():
        audio = mosei_frames(len(sets), 5, 3, 3)
        audio[0][1, 2] = -np.inf
        content[split] = {
            "src-text": mosei_frames(len(sets), 5, 4, 3),
            "src-visual": mosei_frames(len(sets), 5, 2, 2),
            "src-audio": audio,
            "tgt": sets,
        }
    torch.save(content, folder / "train_valid_test.pt", _use_new_zipfile_serialization=is_zip)
    return folder


def write_mosei_unaligned(folder: Path, *, ids: bool = True) -> Path:
    """``mosei_senti_data_noalign.pkl``: other lengths for each modality, and ids of video, start and end."""
    content = {}
    for split, sets in MOSEI_TOKENS.items():
        rows = len(sets)
        content[split] = {
            "vision": np.stack(mosei_frames(rows, 9, 2, 7)),
            "audio": np.stack(mosei_frames(rows, 8, 3, 6)).astype(np.float64),
            "text": np.stack(mosei_frames(rows, 5, 4, 3)),
            "labels": np.zeros((rows, 1, 1)),
        }
        if ids:  # the second segment of a video comes before its first in the file
            content[split]["id"] = np.array([[f"{split}_video", str(9 - n), str(10 - n)] for n in range(rows)])
    (folder / "mosei_senti_data_noalign.pkl").write_bytes(pickle.dumps(content))
    return folder


def write_mosei_mmsa(folder: Path, *, name: str = "unaligned_50.pkl") -> Path:
    """MMSA's pickle in ``Processed`` and a ``label.csv`` that has the intensities of the emotions too."""
    (folder / "Processed").mkdir(exist_ok=True)
    content = {}
    lines = ["video_id,clip_id,text,label,annotation,mode,happy,sad,anger,surprise,disgust,fear"]
    for split, sets in MOSEI_TOKENS.items():
        rows = len(sets)
        bert = np.zeros((rows, 3, 5), np.float32)
        bert[:, 1, :4] = 1
        content[split] = {
            "id": [f"{split}_v$_${rows - number}" for number in range(rows)],
            "raw_text": np.array([f"Words {number}" for number in range(rows)]),
            "text": np.stack(mosei_frames(rows, 5, 4, 5)),
            "text_bert": bert,
            "audio": np.stack(mosei_frames(rows, 8, 3, 8)),
            "vision": np.stack(mosei_frames(rows, 9, 2, 9)),
            "audio_lengths": [6] * rows,
            "vision_lengths": [7] * rows,
            "annotations": ["Positive"] * rows,
            "regression_labels": np.zeros(rows, np.float32),
        }
        for number, tokens in enumerate(sets):
            present = ["0.6666" if token in tokens else "0.0" for token in range(4, 10)]
            cells = [f"{split}_v", str(rows - number), f"words {number}", "-1.5", "Negative", split, *present]
            lines.append(",".join(cells))
    (folder / "Processed" / name).write_bytes(pickle.dumps(content))
    (folder / "label.csv").write_text("\n".join(lines) + "\n")
    return folder
