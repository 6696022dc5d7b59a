"""A tiny corpus of text, tones and grey pictures that carry the label, and the extractors in their smallest form."""

import math
from fractions import Fraction
from types import SimpleNamespace

import av
import numpy as np

from extractors.extraction.embedding import Loading, embed, place_utterances
from extractors.runs import closed_form
from extractors.runs.settings import build
from m2fnet.records import Utterance

WORDS = {"joy": "great, wonderful day!", "anger": "I hate this, go away!", "neutral": "the table is in the room"}
PITCH = {"joy": 300.0, "anger": 200.0, "neutral": 120.0}
GREY = {"joy": 220, "anger": 120, "neutral": 40}
LSA = "extractors.text.lsa.LSA"
MEL = "extractors.audio.mel_statistics.MelStatistics"
FACE = "extractors.visual.face_gradients.FaceGradients"
SMALL = {
    LSA: {"width": 8},
    MEL: {"width": 6, "mels": 20},
    FACE: {"scene_width": 4, "face_width": 4, "frames": 2},
}


def write_clip(path, hertz, grey, seed):
    generator = np.random.default_rng(seed)
    rate, seconds = 16_000, 0.5
    with av.open(str(path), "w") as out:
        video = out.add_stream("mpeg4", rate=8)
        video.width, video.height, video.pix_fmt = 48, 36, "yuv420p"
        audio = out.add_stream("aac", rate=rate, layout="mono")
        for _ in range(4):
            noise = generator.integers(-8, 9, (36, 48, 3))
            picture = np.clip(grey + noise, 0, 255).astype(np.uint8)
            out.mux(video.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        out.mux(video.encode())
        wave = 0.4 * np.sin(2 * math.pi * hertz * generator.uniform(0.9, 1.1) * np.arange(int(rate * seconds)) / rate)
        frame = av.AudioFrame.from_ndarray(wave.astype(np.float32)[None], format="fltp", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = rate, 0, Fraction(1, rate)
        out.mux(audio.encode(frame))
        out.mux(audio.encode())


def tiny_utterances(root):
    utterances = []
    for split, dialogues in {"train": 6, "dev": 2, "test": 2}.items():
        for number in range(dialogues):
            for index, label in enumerate(WORDS):
                name = f"{split}{number}_{index}"
                write_clip(root / f"{name}.mp4", PITCH[label], GREY[label], seed=len(utterances))
                utterances.append(
                    Utterance(
                        name, "tiny", split, f"{split}{number}", index, "A", f"{WORDS[label]} {number}", label,
                        audio=f"{name}.mp4", video=f"{name}.mp4",
                    )
                )  # fmt: skip
    return tuple(utterances)


def data_of(manifest, **loading):
    """What `closed_form` asks of the data."""
    return SimpleNamespace(manifest=manifest, loading=Loading(**{"workers": 0} | loading), missing={}, cut={})


def fitted(class_path, manifest, run, **more):
    """The extractor in its smallest form, fitted into the run folder."""
    extractor = build(class_path, SMALL[class_path] | more)
    closed_form.fit(extractor, data_of(manifest), run)
    return extractor


def embeddings(extractor, manifest, **loading):
    return [vector for _, vector in embed(extractor, place_utterances(manifest), Loading(**{"workers": 0} | loading))]
