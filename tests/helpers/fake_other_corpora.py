"""Tiny raw trees of the corpora other than MELD, IEMOCAP and an own table, in their true formats."""

import argparse
import itertools
import json
import pickle
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

Change = Callable[[dict[str, Any]], object]  # of what a file is to hold, before it is written

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


def write_mosei_aligned(
    folder: Path, *, is_zip: bool = True, names: dict[str, int] | None = None, change: Change = lambda content: None
) -> Path:
    """``train_valid_test.pt`` as CARAT and TAILOR read it: 5 frames, of which 3 are real; audio holds an -inf.

    ``change`` is given the content before it is written.
    """
    tokens = names or {"happy": 4, "sad": 5, "anger": 6, "surprise": 7, "disgust": 8, "fear": 9}
    content: dict[str, Any] = {
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
    change(content)
    torch.save(content, folder / "train_valid_test.pt", _use_new_zipfile_serialization=is_zip)
    return folder


def write_mosei_unaligned(folder: Path, *, ids: bool = True, change: Change = lambda content: None) -> Path:
    """``mosei_senti_data_noalign.pkl``: other lengths for each modality, and ids of video, start and end.

    ``change`` is given the content before it is written.
    """
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
    change(content)
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


def m3ed_entry(speaker: str, *answers: str, start: str = "00:00:01:05", end: str = "00:00:02:10") -> dict[str, object]:
    """An utterance of M3ED: what three annotators said, then what they agreed on, and the main emotion of it."""
    keys = ("EmoAnnotator1", "EmoAnnotator2", "EmoAnnotator3", "final_mul_emo")
    emotions: dict[str, str] = dict(zip(keys, answers, strict=True)) | {"final_main_emo": answers[-1].split(",")[0]}
    return {"StartTime": start, "EndTime": end, "Text": f"你 {speaker}", "Speaker": speaker, "EmoAnnotation": emotions}


def write_m3ed(folder: Path) -> Path:
    """Three series, one in each split; the annotation is an object of series, dialogues, utterances."""
    root = folder / "M3ED"
    (root / "splitInfo").mkdir(parents=True)
    content: dict[str, dict[str, dict[str, object]]] = {}
    for split, series in (("train", "anjia"), ("val", "humamaoba"), ("test", "shaonianpai")):
        (root / f"splitInfo/movie_list_{split}.txt").write_text(f"{series}\n")
        dialog = {
            f"{series}_1_1": m3ed_entry("A", "Neutral", "Neutral", "Sad", "Neutral"),
            f"{series}_1_2": m3ed_entry("B", "Anger,Disgust", "Anger", "Sad", "Anger,Sad"),
        }
        speakers = {"A": {"Name": "房似锦", "Age": "mid", "Gender": "female", "OtherName": []}}
        content[series] = {f"{series}_1": {"SpeakerInfo": speakers, "Dialog": dialog}}
    (root / "M3ED_annotation.json").write_text(json.dumps(content, ensure_ascii=False))
    return root


def write_ravdess(folder: Path, actors: Sequence[int] = (1, 18, 24), *, films: bool = False) -> Path:
    """All 60 utterances of each actor by the official names, in the official folders."""
    root = folder / "RAVDESS"
    for actor in actors:
        place = root / f"Actor_{actor:02}"
        place.mkdir(parents=True)
        for emotion, intensity, sentence, repetition in itertools.product(range(1, 9), (1, 2), (1, 2), (1, 2)):
            if emotion > 1 or intensity == 1:
                name = f"01-{emotion:02}-{intensity:02}-{sentence:02}-{repetition:02}-{actor:02}"
                (place / f"03-{name}.wav").write_bytes(b"sound")
                for kind in ("01", "02") if films else ():
                    (place / f"{kind}-{name}.mp4").write_bytes(b"film")
    return root


CREMAD_VOTES_HEADER = '"","A","D","F","H","N","S","fileName","numResponses","agreement","emoVote"\n'


def write_cremad(folder: Path) -> Path:
    """Three clips of three actors, and the votes on two of them."""
    root = folder / "CREMA-D"
    for name in ("AudioWAV", "VideoFlash", "processedResults"):
        (root / name).mkdir(parents=True)
    for clip in ("1001_DFA_ANG_XX", "1070_IEO_NEU_XX", "1091_WSI_HAP_HI"):
        (root / f"AudioWAV/{clip}.wav").write_bytes(b"sound")
        (root / f"VideoFlash/{clip}.flv").write_bytes(b"film")
    votes = [
        '"100001",6,2,0,0,1,0,"1001_DFA_ANG_XX",9,0.67,"A"',
        '"200001",2,2,0,0,4,0,"1001_DFA_ANG_XX",8,0.5,"N"',
        '"300001",5,4,0,0,1,0,"1001_DFA_ANG_XX",10,0.5,"A"',
        '"300002",0,0,0,2,8,0,"1070_IEO_NEU_XX",10,0.8,"N"',
    ]
    (root / "processedResults/tabulatedVotes.csv").write_text(CREMAD_VOTES_HEADER + "\n".join(votes) + "\n")
    return root


def write_emorynlp(folder: Path) -> Path:
    """One scene in each split, with a gap in its numbers and a line that two people say."""
    root = folder / "emorynlp"
    root.mkdir()
    header = "Utterance,Speaker,Emotion,Scene_ID,Utterance_ID,Season,Episode,Start_Time,End_Time\n"
    for number, split in enumerate(("train", "dev", "test"), start=1):
        rows = [
            f"\"Oh, no!\",['Monica Geller'],Scared,{number},1,1,2,00:00:02.877,00:00:07.548",
            f"Hi.,\"['Bonnie', 'Rachel Green']\",Joyful,{number},3,1,2,00:00:07.924,00:00:09.508",
            f"Bye.,['#ALL#'],Peaceful,{number},4,1,2,00:00:11.970,00:00:17.683",
        ]
        (root / f"emorynlp_{split}_final.csv").write_text(header + "\n".join(rows) + "\n")
    return root


def write_dailydialog(folder: Path) -> Path:
    """Two dialogues in train, one of them again in test."""
    root = folder / "dailydialog"
    said = {"train": ["Hi , Bob . __eou__ Hello . __eou__", "No . __eou__"], "validation": ["So ? __eou__"]}
    felt = {"train": ["4 0", "1"], "validation": ["6"]}
    for name in ("train", "validation", "test"):
        (root / name).mkdir(parents=True)
        (root / f"{name}/dialogues_{name}.txt").write_text("\n".join(said.get(name, said["train"][:1])) + "\n")
        emotions = "\n".join(f"{line} " for line in felt.get(name, felt["train"][:1]))
        (root / f"{name}/dialogues_emotion_{name}.txt").write_text(emotions + "\n")
    return root


def write_mer2024(folder: Path, *, clips: int = 12) -> Path:
    """Labelled clips, five without a label of which two are candidates, and subtitles in two languages."""
    root = folder / "mer2024-dataset"
    for name in ("video-labeled", "video-unlabeled", "audio"):
        (root / name).mkdir(parents=True)
    emotions = ("neutral", "angry", "happy", "sad", "worried", "surprise")
    lines, subtitles = ["name,discrete,valence"], ["name,chinese,english"]
    for number in range(clips):
        lines.append(f"sample_{number:08},{emotions[number % 6]},{number / 4 - 2}")
        (root / f"video-labeled/sample_{number:08}.mp4").write_bytes(b"film")
    for number in range(clips, clips + 5):
        (root / f"video-unlabeled/sample_{number:08}.mp4").write_bytes(b"film")
    for number in range(clips + 5):
        subtitles.append(f"sample_{number:08},你好,Hello {number}")
        (root / f"audio/sample_{number:08}.wav").write_bytes(b"sound")
    (root / "label-disdim.csv").write_text("\n".join(lines) + "\n")
    (root / "subtitle_chieng.csv").write_text("\n".join(subtitles) + "\n")
    names = "\n".join(f"sample_{number:08}" for number in range(clips, clips + 2))
    (root / "candidate_20000.csv").write_text(f"name\n{names}\n")
    return root
