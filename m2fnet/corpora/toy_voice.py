"""The toy corpus's voice: a harmonic source through moving formants, whose prosody carries the emotion."""

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

RATE = 16_000
# First three formants in Hz of the vowels of "father", "bed", "see", "go" and "you", of an average adult.
_VOWELS = np.array([[730, 1200, 2500], [550, 1850, 2500], [290, 2250, 2950], [550, 900, 2400], [320, 900, 2250]])
_BANDWIDTHS = np.array([90.0, 120.0, 180.0])
_HIGHEST_HZ = 4_500.0

Waveform = NDArray[np.float64]


@dataclass(frozen=True)
class Voice:
    """How somebody sounds.

    Attributes:
        pitch_hz: fundamental frequency of quiet speech.
        tract: scale of the formants; a shorter vocal tract has a larger one.
        tempo: syllables per second of quiet speech.
    """

    pitch_hz: float
    tract: float
    tempo: float

    @classmethod
    def draw(cls, rng: Generator) -> "Voice":
        """Somebody's voice; high voices tend to come with short vocal tracts."""
        height = rng.random()
        return cls(
            pitch_hz=float(100 * 2 ** (1.1 * height)),
            tract=float(0.92 + 0.22 * height + rng.normal(0, 0.02)),
            tempo=float(rng.uniform(4.2, 5.0)),
        )


@dataclass(frozen=True)
class Prosody:
    """What an emotion does to a voice.

    Attributes:
        pitch: factor on the fundamental frequency.
        swing: depth of the pitch movement within a syllable, as a share of the pitch.
        rise: change of pitch from start to end, as a share of the pitch.
        loudness_db: change of level.
        tempo: factor on the syllable rate.
        dullness: exponent with which the spectrum falls; a pressed voice is bright.
    """

    pitch: float
    swing: float
    rise: float
    loudness_db: float
    tempo: float
    dullness: float


PROSODIES = {
    "neutral": Prosody(pitch=1.0, swing=0.03, rise=-0.08, loudness_db=0.0, tempo=1.0, dullness=1.0),
    "joy": Prosody(pitch=1.25, swing=0.16, rise=0.0, loudness_db=3.0, tempo=1.2, dullness=0.9),
    "anger": Prosody(pitch=1.1, swing=0.08, rise=-0.15, loudness_db=8.0, tempo=1.25, dullness=0.45),
    "sadness": Prosody(pitch=0.85, swing=0.02, rise=-0.15, loudness_db=-7.0, tempo=0.65, dullness=1.5),
    "surprise": Prosody(pitch=1.4, swing=0.06, rise=0.45, loudness_db=1.0, tempo=0.85, dullness=0.75),
}


def speak(voice: Voice, emotion: str, seconds: float, rng: Generator) -> Waveform:
    """Sound (samples,) in -1..1 at `RATE` of ``voice`` talking for ``seconds`` in ``emotion``, with some noise."""
    how = PROSODIES[emotion]
    time = np.arange(round(seconds * RATE)) / RATE
    rate = voice.tempo * how.tempo * rng.uniform(0.85, 1.15)
    count = max(2, round(seconds * rate))
    edges = np.cumsum(np.r_[0.0, rng.uniform(0.7, 1.3, count)])
    edges *= seconds / edges[-1]
    syllable = np.clip(np.searchsorted(edges, time, side="right") - 1, 0, count - 1)
    within = (time - edges[syllable]) / np.diff(edges)[syllable]

    pitch = voice.pitch_hz * how.pitch * np.exp(rng.normal(0, 0.08))
    movement = how.swing * rng.uniform(0.5, 1.5) * np.sin(np.pi * within) + how.rise * (time / seconds - 0.5)
    vibrato = 0.015 * np.sin(2 * np.pi * 5.5 * time + rng.uniform(0, 6))
    fundamental = pitch * (1 + movement + vibrato)

    vowels = _VOWELS[rng.integers(len(_VOWELS), size=count)] * voice.tract
    tone = _harmonics(fundamental, vowels, syllable, how.dullness * rng.uniform(0.85, 1.15))
    stress = rng.uniform(0.6, 1.0, count)[syllable]
    envelope = stress * np.sin(np.pi * np.clip(within, 0, 1)) ** 0.7
    breath = 0.06 * rng.normal(size=len(time)) * (within < 0.18)  # stands for the consonant that opens a syllable
    level = 0.09 * 10 ** ((how.loudness_db + rng.normal(0, 2.5)) / 20)
    sound = level * (envelope * tone + breath) + 0.003 * rng.normal(size=len(time))
    return np.asarray(np.clip(sound, -1, 1))


def opening(sound: Waveform, frames: int) -> NDArray[np.float64]:
    """How far the mouth is open, 0..1, in each of ``frames`` equal parts of ``sound``."""
    level = np.array([np.sqrt(np.mean(part**2)) for part in np.array_split(sound, frames)])
    return np.asarray(np.clip(level / max(level.max(), 1e-6), 0, 1))


def _harmonics(
    fundamental: Waveform, vowels: NDArray[np.float64], syllable: NDArray[np.int64], dullness: float
) -> Waveform:
    """Sum of the harmonics of ``fundamental`` (samples,), each as loud as its syllable's formants make it; rms 1."""
    rotation = np.exp(2j * np.pi * np.cumsum(fundamental) / RATE)
    wave = np.ones_like(rotation)
    out = np.zeros(len(fundamental))
    middle = np.array([fundamental[syllable == n].mean() for n in range(len(vowels))])
    for number in range(1, int(_HIGHEST_HZ / middle.max()) + 1):
        wave = wave * rotation
        frequency = number * middle[:, None]
        resonance = (1 / (1 + ((frequency - vowels) / _BANDWIDTHS) ** 2)).sum(1)
        gain = (0.04 + resonance) * (frequency[:, 0] / 200) ** -dullness
        out += gain[syllable] * wave.imag
    return np.asarray(out / np.sqrt(np.mean(out**2)))
