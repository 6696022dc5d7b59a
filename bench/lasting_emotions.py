"""A corpus in which emotions last, from real text and real voices, as a feature pickle for ``m2fnet import``.

IEMOCAP may not be handed on, and neither MELD nor EmoryNLP has its long dialogues of two people whose emotions last. So
the emotions are drawn here and the embeddings are real: 151 dialogues of about 48 utterances, the last 31 for test; an
emotion lasts with a probability of 0.7 until the same speaker's next utterance, else the other's is taken over or a
new one drawn from those of the dialogue; shares as in IEMOCAP. An utterance's text is that of an utterance of MELD
(LSA), its sound that of a RAVDESS actor (statistics, with as much noise as signal, every dimension in another unit).
MELD's test utterances and RAVDESS' dev and test actors make the test dialogues; with `--held-out dev` MELD's dev
utterances and RAVDESS' dev actors do, in a corpus to choose settings on.

    python bench/lasting_emotions.py --text data/meld embeddings/meld/text \
        --audio data/ravdess embeddings/ravdess/audio --out lasting.pkl
    m2fnet import lasting.pkl --labels iemocap6 --out data/lasting
"""

import argparse
import pickle
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from m2fnet.manifest import Manifest
from m2fnet.store import Store

EMOTIONS = ("happy", "sad", "neutral", "angry", "excited", "frustrated")
SHARES = np.array([0.087, 0.146, 0.230, 0.147, 0.130, 0.260])  # of IEMOCAP's six classes
# which emotions of the sources stand for each: MELD's by their number, so that few utterances come twice
TEXT = {
    "happy": ("disgust", "fear"), "sad": ("sadness",), "neutral": ("joy",), "angry": ("anger",),
    "excited": ("surprise",), "frustrated": ("neutral",),
}  # fmt: skip
AUDIO = {
    "happy": ("surprised",), "sad": ("sad",), "neutral": ("neutral", "calm"), "angry": ("angry",),
    "excited": ("happy",), "frustrated": ("fearful",),
}  # fmt: skip
# --held-out -> of text and of sound the splits of the sources that training is made of, and those of test
POOLS = {
    "test": ((("train", "dev"), ("test",)), (("train",), ("dev", "test"))),
    "dev": ((("train",), ("dev",)), (("train",), ("dev",))),
}
TRAINING, TEST = 120, 31
LASTS, TAKEN_OVER, OTHER_SPEAKS = 0.7, 0.4, 0.8


class Deck:
    """Embeddings of one emotion, dealt in random order, all of them before one comes again."""

    def __init__(self, vectors: np.ndarray, rng: np.random.Generator) -> None:
        self.vectors, self.rng = vectors, rng
        self.order: list[int] = []

    def draw(self) -> np.ndarray:
        self.order = self.order or list(self.rng.permutation(len(self.vectors)))
        return np.asarray(self.vectors[self.order.pop()])


def decks(
    manifest: Path, store: Path, splits: tuple[str, ...], emotions: Mapping[str, tuple[str, ...]],
    rng: np.random.Generator,
) -> dict[str, Deck]:  # fmt: skip
    """For each of our emotions the embeddings of utterances in ``splits`` that stand for it."""
    chosen = [u for u in Manifest.load(manifest).utterances if u.split in splits and u.label is not None]
    vectors = Store(store).matrix([u.id for u in chosen])[0].numpy()
    found = np.array([u.label for u in chosen])
    return {name: Deck(vectors[np.isin(found, names)], rng) for name, names in emotions.items()}


def dialogue(rng: np.random.Generator) -> Iterator[tuple[str, str]]:
    """Speaker and emotion of each utterance."""
    mixture = rng.dirichlet(SHARES * 3)
    felt: dict[str, str] = {}
    speaker, other = "F", "M"
    for _ in range(int(np.clip(rng.normal(48, 17), 8, 110))):
        if rng.random() < OTHER_SPEAKS:
            speaker, other = other, speaker
        if speaker not in felt or rng.random() > LASTS:
            is_taken = other in felt and rng.random() < TAKEN_OVER
            felt[speaker] = felt[other] if is_taken else str(rng.choice(EMOTIONS, p=mixture))
        yield speaker, felt[speaker]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--text", nargs=2, type=Path, required=True, metavar=("MANIFEST", "STORE"), help="of MELD")
    parser.add_argument("--audio", nargs=2, type=Path, required=True, metavar=("MANIFEST", "STORE"), help="of RAVDESS")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--held-out", choices=list(POOLS), default="test", help="what the test dialogues are made of")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    rng = np.random.default_rng(args.seed)
    text_splits, audio_splits = POOLS[args.held_out]
    text = [decks(*args.text, splits, TEXT, rng) for splits in text_splits]
    audio = [decks(*args.audio, splits, AUDIO, rng) for splits in audio_splits]
    spread = np.concatenate([deck.vectors for deck in audio[0].values()]).std(0)
    unit = 10 ** rng.uniform(-1, 3, spread.shape)
    offset = unit * rng.normal(size=spread.shape)

    parts: list[dict[str, list[object]]] = [{} for _ in range(7)]  # ids, speakers, labels, text, audio, visual, words
    names: list[str] = []
    for number in range(TRAINING + TEST):
        is_test = number >= TRAINING
        name = f"Ses{5 if is_test else number % 4 + 1:02d}{'FM'[number % 2]}_impro{number:03d}"
        names.append(name)
        for place, (speaker, emotion) in enumerate(dialogue(rng)):
            heard = audio[is_test][emotion].draw() + spread * rng.normal(size=spread.shape)
            row = (
                f"{name}_{speaker}{place:03d}", speaker, EMOTIONS.index(emotion), text[is_test][emotion].draw(),
                (unit * heard + offset).astype(np.float32), np.zeros(1, np.float32), "",
            )  # fmt: skip
            for part, value in zip(parts, row, strict=True):
                part.setdefault(name, []).append(value)
    args.out.write_bytes(pickle.dumps((*parts, names[:TRAINING], names[TRAINING:]), 2))


if __name__ == "__main__":
    main()
