"""Spectrogram of an utterance, with the pitch and the energy of the voice."""

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike, NDArray

from m2fnet.plots.style import COLOURS, short, styled

_SHADES = "magma"  # dark to light, and read by lightness in grey too
_RANGE = 80.0  # dB below the loudest point that are drawn
_BANDS = 80  # of the mel scale
_HOP_S = 0.01  # seconds from column to column


def spectrogram(samples: ArrayLike, rate: int, pitch: ArrayLike, energy: ArrayLike, *, title: str = "") -> Figure:
    """Mel spectrogram in dB of a sound ``(N,)``, its pitch drawn over it, above its energy.

    Both tracks have a number per frame, and their frames divide the sound into equal parts.

    Args:
        samples: (N,) in -1..1, one channel.
        rate: in Hz.
        pitch: (T,) in Hz, NaN where the voice has none.
        energy: (T,) in dB.
        title: of the figure, for example what was said.

    Raises:
        ValueError: if a part is empty or has more than one dimension, or the rate is not positive.

    Example:
        >>> import numpy as np
        >>> sound = np.sin(2 * np.pi * 220 * np.arange(16000) / 16000)
        >>> figure = spectrogram(sound, 16000, np.full(100, 220.0), np.full(100, -3.0))
        >>> [axes.get_ylabel() for axes in figure.axes]
        ['frequency (Hz)', 'energy (dB)', 'power (dB)']
    """
    import librosa  # takes seconds, which the other plots do not need
    import librosa.display

    sound, pitch, energy = (np.asarray(part, dtype=np.float32) for part in (samples, pitch, energy))
    if rate <= 0 or any(part.ndim != 1 or not len(part) for part in (sound, pitch, energy)):
        raise ValueError(
            "Expected samples of shape (N,), pitch and energy of shape (T,), none empty, and a rate above 0; got "
            f"shapes {sound.shape}, {pitch.shape}, {energy.shape} and rate {rate}."
        )
    hop = max(1, round(_HOP_S * rate))
    width = 1 << max(8, (4 * hop - 1).bit_length())  # samples of a window: a power of two, about 40 ms
    mel = librosa.feature.melspectrogram(y=sound, sr=rate, n_fft=width, hop_length=hop, n_mels=_BANDS)
    power = librosa.power_to_db(mel, ref=np.max, top_db=_RANGE)
    seconds = len(sound) / rate
    with styled():
        figure = Figure(figsize=(min(16.0, 7.0 + 1.2 * seconds), 5.6))
        upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
        mesh = librosa.display.specshow(
            power, sr=rate, hop_length=hop, n_fft=width, x_axis="time", y_axis="mel", ax=upper, cmap=_SHADES
        )
        mesh.set(rasterized=True)  # one picture in an svg, not a shape per cell
        upper.plot(_times(len(pitch), seconds), pitch, color="black", lw=4)
        upper.plot(_times(len(pitch), seconds), pitch, color=COLOURS[4], lw=2, label="pitch")
        if np.isfinite(pitch).any():
            upper.legend(loc="upper right", labelcolor="white")
        upper.set(xlabel="", ylabel="frequency (Hz)", title=short(title, 100))
        upper.grid(visible=False)
        lower.plot(_times(len(energy), seconds), energy, color=COLOURS[0], lw=1.5)
        lower.set(xlabel="time (s)", ylabel="energy (dB)", xlim=(0, seconds))
        figure.colorbar(mesh, ax=(upper, lower), label="power (dB)", aspect=30, pad=0.02)
    return figure


def _times(frames: int, seconds: float) -> NDArray[np.float64]:
    """The middle of each frame."""
    return (np.arange(frames) + 0.5) * seconds / frames
