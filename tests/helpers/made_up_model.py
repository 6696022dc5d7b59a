"""A model whose extractors are easy to see through, and conversations for it."""

import wave

import numpy as np
import torch

from dialog.models.m2fnet import M2FNet
from extractors.audio.sound import utterance_sound
from extractors.base import Extractor
from extractors.visual.pictures import Frames, utterance_frames
from m2fnet.errors import MediaError
from m2fnet.model import Model
from m2fnet.problems import make_problem
from m2fnet.records import LabelSet, Segment

LABELS = LabelSet("made-up", ("neutral", "joy", "anger"))
SENTENCES = ("Look who is here!", "Oh. You again.", "Yes, and I brought a cake.", "I hate cake.", "Zzz", "Go away!")


class Letters(Extractor):
    """Counts of letters in an utterance and, fainter, in the three before and after it."""

    modality = "text"
    width = 26

    def __init__(self):
        super().__init__()
        self.seen = []  # ids in the order of reading

    def preprocess(self, placed):
        text = placed.utterance.text
        self.seen.append(placed.utterance.id)
        if text is None:
            raise MediaError("text", "there is no transcript")
        before = "".join(
            u.text or "" for u in placed.dialogue.utterances[max(0, placed.position - 3) : placed.position]
        )
        behind = "".join(u.text or "" for u in placed.dialogue.utterances[placed.position + 1 : placed.position + 4])
        return {"counts": counts(text) + 0.1 * counts(before) + 0.3 * counts(behind)}

    def collate(self, samples):
        return {"counts": torch.stack([sample["counts"] for sample in samples])}

    def forward(self, batch):
        return batch["counts"]


class Loudness(Extractor):
    """Root mean square and length of the sound."""

    modality = "audio"
    width = 2

    def preprocess(self, placed):
        samples = utterance_sound(placed, 30.0).samples
        return {"loudness": torch.stack([samples.square().mean().sqrt(), torch.tensor(len(samples) / 16_000)])}

    def collate(self, samples):
        return {"loudness": torch.stack([sample["loudness"] for sample in samples])}

    def forward(self, batch):
        return batch["loudness"]


class Brightness(Extractor):
    """Mean and spread of two frames."""

    modality = "visual"
    width = 2

    def preprocess(self, placed):
        frames = utterance_frames(placed, Frames(2, "spread", 64)).float() / 255
        return {"brightness": torch.stack([frames.mean(), frames.std()])}

    def collate(self, samples):
        return {"brightness": torch.stack([sample["brightness"] for sample in samples])}

    def forward(self, batch):
        return batch["brightness"]


EXTRACTORS = {"text": Letters, "audio": Loudness, "visual": Brightness}


def made_up_model(*modalities, **settings):
    extractors = {name: EXTRACTORS[name]() for name in modalities or EXTRACTORS}
    problem = make_problem(LABELS, {name: extractor.width for name, extractor in extractors.items()})
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = M2FNet(problem, **{"width": 8, "heads": 2, "hidden": 8, "fusion_layers": 1, **settings})
    return Model(LABELS, extractors, network.eval(), {"temperature": 1.0})


def counts(text):
    letters = torch.tensor(
        [ord(letter) - ord("a") for letter in text.lower() if "a" <= letter <= "z"], dtype=torch.long
    )
    return torch.bincount(letters, minlength=26).float()


def talk(utterances, seconds=None):
    """Utterances of two speakers, one after the other, each so many seconds long."""
    times = [(None, None) if seconds is None else (n * seconds, (n + 1) * seconds) for n in range(utterances)]
    return tuple(
        Segment(start, end, "AB"[n % 2], f"{SENTENCES[n % len(SENTENCES)]} {chr(97 + n % 7) * (n % 5)}")
        for n, (start, end) in enumerate(times)
    )


def write_wav(path, seconds):
    """A tone that grows louder."""
    times = np.arange(int(16_000 * seconds)) / 16_000
    samples = (0.2 + 0.6 * times / seconds) * np.sin(2 * np.pi * 220 * times)
    with wave.open(str(path), "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(16_000)
        out.writeframes((32_000 * samples).astype("<i2").tobytes())
    return path


def subtitles(segments):
    """The segments as SRT, with the speaker before the text."""
    blocks = (
        f"{number}\n{_stamp(s.start_s)} --> {_stamp(s.end_s)}\n{'ANN' if s.speaker == 'A' else 'BOB'}: {s.text}\n"
        for number, s in enumerate(segments, start=1)
    )
    return "\n".join(blocks)


def _stamp(seconds):
    whole, thousandths = divmod(round(1000 * seconds), 1000)
    return f"{whole // 3600:02}:{whole // 60 % 60:02}:{whole % 60:02},{thousandths:03}"
