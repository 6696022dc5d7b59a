from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from fake_corpora import meld_row, write_meld

from extractors.audio.sound import utterance_sound
from extractors.extraction.embedding import place_utterances
from extractors.visual.face_scene import FaceScene
from m2fnet.commands.prepare import main
from m2fnet.corpora.meld import read_meld
from m2fnet.errors import CorpusError
from m2fnet.manifest import Manifest

STRETCHES = """Split,Dialogue ID,Utterance ID,Original Dialogue ID,Original Utterance ID,Start Time,End Time
train,7,0,7,0,0.25,1.5
train,7,0,7,0,1.75,2.5
train,7,1,7,1,0.1,0.4
train,7,1,7,4,0.0,1.1
train,7,2,7,2,0.5,0.75
train,7,3,7,0,2.5,3.0
"""


def write_tables(folder: Path, stretches: str = STRETCHES) -> Path:
    folder.mkdir()
    head = ",Sr No.,Utterance,Speaker,Emotion,Sentiment,Dialogue_ID,Original Utterance_ID,Utterance_ID\n"
    # utterance 2 of MELD's numbers is absent: the third place is number 4
    numbers = {"train": [0, 1, 4, 5, 6], "dev": [0], "test": [0]}
    for split, originals in numbers.items():
        rows = [f"0,1,text,Ross,joy,positive,7,{number},{place}\n" for place, number in enumerate(originals)]
        (folder / f"realigned_{split}_sent_emo.csv").write_text(head + "".join(rows))
    (folder / "MELD_video_realignment_timestamps.csv").write_text(stretches)
    return folder


def test_an_utterance_becomes_the_longest_stretch_that_holds_it(tmp_path: Path):
    root = write_meld(tmp_path, {"train": [meld_row(7, n) for n in (0, 1, 2, 4, 5, 6)]})
    (root / "train_splits/dia7_utt5.mp4").unlink()
    manifest = read_meld(root, partial=True, realigned=write_tables(tmp_path / "csvs"))
    (dialogue,) = manifest.dialogues("train")
    assert [(u.video, u.video_span) for u in dialogue.utterances] == [
        ("train_splits/dia7_utt0.mp4", (0.25, 2.5)),
        ("train_splits/dia7_utt4.mp4", (0.0, 1.1)),
        ("train_splits/dia7_utt2.mp4", None),
        ("train_splits/dia7_utt2.mp4", (0.5, 0.75)),
        (None, None),
        ("train_splits/dia7_utt6.mp4", None),
    ]
    assert all((u.audio, u.audio_span) == (u.video, u.video_span) for u in dialogue.utterances)
    found = {d.what: d.ids for d in manifest.defects}
    assert found["realigned into the clip of a neighbour"] == ("train_dia7_utt1", "train_dia7_utt4")
    assert found["realigned over several clips"] == ("train_dia7_utt1",)
    assert found["not realigned"][:2] == ("train_dia7_utt2", "train_dia7_utt6")
    assert len(manifest.provenance["realigned"]) == 64


def write_brightening(path: Path, seconds: float = 3.0, fps: int = 20, rate: int = 16_000) -> None:
    """A clip whose pictures have 60 shades of grey more, and whose sound is a tenth louder, after each second."""
    with av.open(str(path), "w") as out:
        pictures, sound = out.add_stream("libx264", rate=fps), out.add_stream("aac", rate=rate, layout="mono")
        pictures.width, pictures.height, pictures.pix_fmt = 64, 48, "yuv420p"
        for i in range(round(seconds * fps)):
            grey = np.full((48, 64, 3), 20 + 60 * i / fps, np.uint8)
            out.mux(pictures.encode(av.VideoFrame.from_ndarray(grey, format="rgb24")))
        out.mux(pictures.encode())
        time = np.arange(round(seconds * rate)) / rate
        wave = 0.1 * (1 + np.floor(time)) * np.sin(2 * np.pi * 440 * time)
        frame = av.AudioFrame.from_ndarray(wave.astype(np.float32)[None], format="fltp", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = rate, 0, Fraction(1, rate)
        out.mux(sound.encode(frame))
        out.mux(sound.encode())


def test_extraction_hears_and_sees_the_stretch_and_nothing_else(tmp_path: Path):
    root = write_meld(tmp_path, {"train": [meld_row(7, n) for n in (0, 1, 4)]})
    write_brightening(root / "train_splits/dia7_utt0.mp4")
    tables = write_tables(
        tmp_path / "csvs", STRETCHES.splitlines()[0] + "\ntrain,7,0,7,0,0.0,1.0\ntrain,7,1,7,0,2.0,2.95\n"
    )
    command = ["meld", "--root", str(root), "--partial", "--realigned", str(tables), "--out", str(tmp_path / "out")]
    main(command)
    first, neighbour, _ = place_utterances(Manifest.load(tmp_path / "out"), "train")
    for utterance, seconds, loudest, darkest in ((first, 1.0, 0.1, 20), (neighbour, 0.95, 0.3, 140)):
        samples = utterance_sound(utterance, 30.0).samples
        assert len(samples) == round(seconds * 16_000)
        assert samples[1_000:-1_000].abs().max() == pytest.approx(loudest, rel=0.1)
        scenes = FaceScene(frames=5, place="spread", side=40, branches="scene").preprocess(utterance)["scenes"].float()
        assert darkest - 3 < scenes.min()
        assert scenes.max() < darkest + 63


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("train,7,9,7,0,0,1", r"timestamps.csv:2 aligns an utterance that realigned_train_sent_emo.csv does not name"),
        ("train,7,0,7,0,1,1", r"timestamps.csv:2: expected a Start Time in seconds and a later End Time"),
        ("train,7,0,7,0,x,1", r"timestamps.csv:2: Start Time is 'x', expected seconds"),
    ],
)
def test_a_damaged_realignment_is_refused(tmp_path: Path, line: str, message: str):
    tables = write_tables(tmp_path / "csvs", STRETCHES.splitlines()[0] + f"\n{line}\n")
    with pytest.raises(CorpusError, match=message):
        read_meld(write_meld(tmp_path), partial=True, realigned=tables)


def test_a_folder_without_the_tables_is_refused(tmp_path: Path):
    with pytest.raises(CorpusError, match=r"Cannot read .*realigned_train_sent_emo.csv"):
        read_meld(write_meld(tmp_path), partial=True, realigned=tmp_path)
