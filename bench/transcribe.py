"""Words and speakers of clips without subtitles: errors, time and memory of `m2fnet predict --transcribe --speakers`.

Word error rate: substitutions, insertions and deletions by the number of words, without case and punctuation, of clips
whose words are known (`--sentences`: RAVDESS, where ``statement`` is one of two sentences, or any table with ``path``
and ``text``). Words that are not believed count as deleted.

Diarisation error rate: missed speech, false alarms and confused speakers by the time of all speakers, in frames of 10
ms without a collar, with the best assignment of guessed to true speakers; of conversations with RTTM
(`--conversations`), and of conversations made of the sentences of 2 to 4 actors with a second between them. Voice
activity finds one speaker at a time, so that overlaps count as missed. The rate of one speaker for everything is the
baseline.

Without `--whisper` a Whisper of tiny's size with random weights is made: its times are real, its words are not, and
neither are its voices. Without the other options two voices of the toy corpus speak. One thread.

Needs `uv pip install --group bench`.
"""

import sys

sys.path.append(sys.path.pop(0))  # files in this folder have the names of packages

import re
import tempfile
import time
import wave
from argparse import Namespace
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from _table import Row, finish, parser
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from transformers.models.whisper.tokenization_whisper import LANGUAGES

from m2fnet.conversation.segments import Found, segments_in
from m2fnet.corpora.toy_voice import Voice, speak
from m2fnet.media.audio import RATE, read_audio
from m2fnet.pipeline import conversation_of
from m2fnet.pipeline.guessed_speakers import CepstralVoice, EncodedVoice, VoiceEmbedding, guess_speakers
from m2fnet.pipeline.recogniser import Recogniser
from m2fnet.pipeline.transcribing import transcribe
from m2fnet.records import Segment

STATEMENTS = {"1": "Kids are talking by the door", "2": "Dogs are sitting by the door"}  # of RAVDESS
FRAMES_PER_S = 100
PAUSE_S = 1.0  # between the sentences of a made conversation; voice activity joins what is closer than 0.5 s
MADE = (2, 2, 3, 3, 4, 4)  # actors of the made conversations
SENTENCES = 16  # of each


def main() -> None:
    arguments = parser(__doc__ or "")
    arguments.add_argument("--whisper", metavar="MODEL", help="a name on the hub or a folder")
    arguments.add_argument("--sentences", type=Path, metavar="CSV", help="paths relative to it, with text or statement")
    arguments.add_argument("--clips", type=int, default=100, help="how many of them are heard (default: %(default)s)")
    arguments.add_argument("--conversations", type=Path, metavar="FOLDER", help="NAME.wav with NAME.rttm")
    args = arguments.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        finish(rows(args, Path(name)), args)


def rows(args: Namespace, folder: Path) -> list[Row]:
    before = peak()
    whisper = args.whisper or random_whisper(folder / "whisper")
    start = time.perf_counter()
    recogniser = Recogniser(whisper)
    found = [Row("load the recogniser", "s", time.perf_counter() - start)]
    voices = {"cepstra": CepstralVoice(), "encoder": EncodedVoice(whisper)}
    if args.sentences is not None:
        table = pd.read_csv(args.sentences, dtype=str)
        found += words(args.sentences.parent, table, 4 if args.quick else args.clips, recogniser)
        for number, actors in enumerate(MADE):
            clip, spoken = made_conversation(folder, args.sentences.parent, table, actors, number)
            title = f"{actors} actors, conversation {number + 1}"
            found += diarisation(title, clip, conversation_of(clip)[1], spoken, voices)
    talks = sorted(args.conversations.glob("*.rttm")) if args.conversations is not None else [toy_talk(folder)]
    for rttm in talks:
        clip = rttm.with_suffix(".wav")
        length = len(read_audio(clip, max_seconds=3600).samples) / RATE
        start = time.perf_counter()
        said = transcribe(clip, conversation_of(clip, None)[1], recogniser)
        seconds = time.perf_counter() - start
        with_words = sum(segment.text is not None for segment in said.segments)
        found += [
            Row(f"{rttm.stem}: real-time factor, words", "", seconds / length, larger_is_better=False),
            Row(f"{rttm.stem}: utterances", "", len(said.segments)),
            Row(f"{rttm.stem}: utterances with words", "%", 100 * with_words / len(said.segments)),
            *diarisation(rttm.stem, clip, said, segments_in(rttm).segments, voices),
        ]
    return [*found, Row("peak memory", "MiB", peak()), Row("peak memory before the recogniser", "MiB", before)]


def words(root: Path, table: pd.DataFrame, clips: int, recogniser: Recogniser) -> list[Row]:
    """Word error rate and real-time factor of clips spread evenly over the table."""
    chosen = table.iloc[np.linspace(0, len(table) - 1, min(clips, len(table))).astype(int)]
    wrong = total = silent = 0
    seconds = length = 0.0
    for row in chosen.to_dict("records"):
        clip = root / row["path"]
        truth = plain_words(row["text"] if "text" in row else STATEMENTS[row["statement"]])
        start = time.perf_counter()
        said = transcribe(clip, conversation_of(clip, None)[1], recogniser)
        seconds += time.perf_counter() - start
        length += len(read_audio(clip).samples) / RATE
        texts = [segment.text for segment in said.segments if segment.text is not None]
        silent += not texts
        wrong += distance(truth, plain_words(" ".join(texts)))
        total += len(truth)
    return [
        Row("sentences", "", len(chosen)),
        Row("sentences: word error rate", "%", 100 * wrong / total, larger_is_better=False),
        Row("sentences: without believed words", "", silent),
        Row("sentences: real-time factor", "", seconds / length, larger_is_better=False),
    ]


def diarisation(
    name: str, clip: Path, found: Found, truth: Sequence[Segment], voices: dict[str, VoiceEmbedding]
) -> list[Row]:
    """Error rates of guessed speakers, with and without their number."""
    one = [Segment(segment.start_s, segment.end_s, "one") for segment in found.segments]
    baseline = 100 * error_rate(truth, one)
    speakers = len({segment.speaker for segment in truth})
    cases = [(which, voice, count) for which, voice in voices.items() for count in (None, speakers)]
    rows = []
    for which, voice, count in cases:
        guessed = guess_speakers(clip, found, voice, count).segments
        title = f"{name}: diarisation error, {which}, {count or 'auto'}"
        rows.append(Row(title, "%", 100 * error_rate(truth, guessed), baseline, larger_is_better=False))
    return rows


def error_rate(truth: Sequence[Segment], guessed: Sequence[Segment]) -> float:
    """Diarisation error rate of ``guessed`` with the best assignment of its speakers.

    >>> truth = [Segment(0.0, 1.0, "Ann"), Segment(1.0, 2.0, "Bob")]
    >>> error_rate(truth, [Segment(0.0, 1.0, "2"), Segment(1.0, 2.0, "1")])
    0.0
    >>> error_rate(truth, [Segment(0.0, 2.0, "1")])
    0.5
    """
    frames = round(FRAMES_PER_S * max(segment.end_s or 0.0 for segment in (*truth, *guessed)))
    real, ours = presence(truth, frames), presence(guessed, frames)
    together = real.astype(int) @ ours.astype(int).T  # (speakers, guessed speakers), in frames
    correct = together[linear_sum_assignment(-together)].sum()
    return float((np.maximum(real.sum(0), ours.sum(0)).sum() - correct) / real.sum())


def presence(segments: Sequence[Segment], frames: int) -> NDArray[np.bool_]:
    """(speakers, frames) who speaks when."""
    names = list(dict.fromkeys(segment.speaker for segment in segments))
    speaks = np.zeros((len(names), frames), bool)
    for segment in segments:
        begin, end = (round(FRAMES_PER_S * (second or 0.0)) for second in (segment.start_s, segment.end_s))
        speaks[names.index(segment.speaker), begin:end] = True
    return speaks


def plain_words(text: str) -> list[str]:
    return re.findall(r"[\w']+", text.lower())


def distance(truth: Sequence[str], said: Sequence[str]) -> int:
    """Fewest words to change, add or remove.

    >>> distance(["dogs", "are", "sitting"], ["dogs", "sitting", "down"])
    2
    """
    row = list(range(len(said) + 1))
    for place, word in enumerate(truth, start=1):
        above, row = row, [place]
        for column, other in enumerate(said, start=1):
            row.append(min(above[column] + 1, row[-1] + 1, above[column - 1] + (word != other)))
    return row[-1]


def made_conversation(
    folder: Path, root: Path, table: pd.DataFrame, actors: int, seed: int
) -> tuple[Path, list[Segment]]:
    """Sentences of some actors, one after the other."""
    rng = np.random.default_rng(seed)
    chosen = rng.choice(sorted(table.actor.unique()), actors, replace=False)
    sentences = table[table.actor.isin(chosen)].sample(SENTENCES, random_state=seed)
    sounds = [trimmed(read_audio(root / path).samples.numpy()) for path in sentences.path]
    return written(folder / f"made{seed}.wav", sounds, list(sentences.actor))


def trimmed(sound: NDArray[np.float32]) -> NDArray[np.float32]:
    """The sound from the first to the last tenth of a second that is at most 30 dB softer than the loudest."""
    parts = np.array_split(sound, max(1, 10 * len(sound) // RATE))
    levels = np.array([np.sqrt(np.mean(part**2)) for part in parts])
    loud = np.flatnonzero(levels > levels.max() / 10**1.5)
    return np.concatenate(parts[loud[0] : loud[-1] + 1])


def toy_talk(folder: Path) -> Path:
    """Two voices of the toy corpus in `folder`, with RTTM."""
    rng = np.random.default_rng(0)
    voices = {"low": Voice(110, 0.95, 4.5), "high": Voice(210, 1.12, 4.5)}
    who = ["low", "high"] * 3
    sounds = [speak(voices[name], "neutral", 2.0, rng).astype(np.float32) for name in who]
    clip, spoken = written(folder / "toy.wav", sounds, who)
    lines = [
        f"SPEAKER toy 1 {s.start_s:.3f} {(s.end_s or 0) - (s.start_s or 0):.3f} . . {s.speaker} . ." for s in spoken
    ]
    clip.with_suffix(".rttm").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return clip.with_suffix(".rttm")


def written(path: Path, sounds: Sequence[NDArray[np.float32]], speakers: Sequence[str]) -> tuple[Path, list[Segment]]:
    """The sounds as one WAV with pauses, and who speaks when."""
    pause = np.zeros(round(PAUSE_S * RATE), np.float32)
    pieces = [part for sound in sounds for part in (sound, pause)]
    borders = np.cumsum([0, *map(len, pieces)]) / RATE
    spans = list(pairwise(borders.tolist()))[::2]
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, RATE, 0, "NONE", ""))
        file.writeframes((32_000 * np.concatenate(pieces)).astype("<i2").tobytes())
    return path, [Segment(*span, name) for span, name in zip(spans, speakers, strict=True)]


def random_whisper(folder: Path) -> str:
    """A Whisper of tiny's size with random weights, and a tokenizer of letters."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import (
        PreTrainedTokenizerFast,
        WhisperConfig,
        WhisperFeatureExtractor,
        WhisperForConditionalGeneration,
    )

    marks = ["<|endoftext|>", "<|startoftranscript|>", *(f"<|{code}|>" for code in LANGUAGES), "<|translate|>"]
    marks += ["<|transcribe|>", "<|startoflm|>", "<|startofprev|>", "<|nospeech|>", "<|notimestamps|>"]
    size = 51_865
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = dict(zip([*letters, *marks], [*range(len(letters)), *range(50_257, 51_866)], strict=False))
    words = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    words.pre_tokenizer, words.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    PreTrainedTokenizerFast(tokenizer_object=words, additional_special_tokens=marks).save_pretrained(folder)
    torch.manual_seed(0)
    config = WhisperConfig(
        vocab_size=size, d_model=384, encoder_layers=4, decoder_layers=4, encoder_attention_heads=6,
        decoder_attention_heads=6, encoder_ffn_dim=1536, decoder_ffn_dim=1536,
    )  # fmt: skip
    WhisperForConditionalGeneration(config).save_pretrained(folder)
    WhisperFeatureExtractor(feature_size=80).save_pretrained(folder)
    return str(folder)


def peak() -> float:
    """The most memory that this process has had, in MiB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024


if __name__ == "__main__":
    main()
