"""Spectrogram of an utterance, with the pitch and the energy of the voice."""

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke
from matplotlib.ticker import AutoLocator, ScalarFormatter
from numpy.typing import ArrayLike

from m2fnet.plots.style import COLOURS, short, styled

_SHADES = "magma"  # dark to light, and read by lightness in grey too
_RANGE = 80.0  # dB below the loudest point that are drawn
_BANDS = 80  # of the mel scale
_HOP_S = 0.01  # seconds from column to column


def spectrogram(
    samples: ArrayLike,
    rate: int,
    pitch: ArrayLike,
    energy: ArrayLike,
    *,
    times: ArrayLike | None = None,
    title: str = "",
) -> Figure:
    """Mel spectrogram in dB of a sound ``(N,)`` with its pitch drawn over it, above its energy.

    Args:
        samples: (N,) in -1..1, one channel.
        rate: in Hz.
        pitch: (T,) in Hz, NaN where the voice has none.
        energy: (T,) in dB.
        times: (T,) in seconds, the middle of each frame of both tracks; by default the frames divide the sound into
            equal parts.
        title: of the figure, for example what was said.

    Raises:
        ValueError: if a part is empty or has another shape, or the rate is not positive.

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
    if (
        rate <= 0
        or sound.ndim != 1
        or pitch.ndim != 1
        or pitch.shape != energy.shape
        or not (sound.size and pitch.size)
    ):
        raise ValueError(
            "Expected samples of shape (N,), pitch and energy of shape (T,), none empty, and a rate above 0; got "
            f"shapes {sound.shape}, {pitch.shape}, {energy.shape} and rate {rate}."
        )
    seconds = len(sound) / rate
    times = (np.arange(len(pitch)) + 0.5) * seconds / len(pitch) if times is None else np.asarray(times)
    hop = max(1, round(_HOP_S * rate))
    width = 1 << max(8, (4 * hop - 1).bit_length())  # samples of a window: a power of two, about 40 ms
    padded = np.pad(sound, (0, max(0, width - len(sound))))  # librosa warns of a sound shorter than its window
    mel = librosa.feature.melspectrogram(y=padded, sr=rate, n_fft=width, hop_length=hop, n_mels=_BANDS)
    power = librosa.power_to_db(mel, ref=np.max, top_db=_RANGE)
    with styled():
        figure = Figure(figsize=(min(16.0, 7.0 + 1.2 * seconds), 5.6))
        upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
        # without the centres, librosa draws every band one too low
        centres = librosa.mel_frequencies(_BANDS + 2, fmax=rate / 2)[1:-1]
        mesh = librosa.display.specshow(
            power, sr=rate, hop_length=hop, y_coords=centres, x_axis="time", y_axis="mel", ax=upper, cmap=_SHADES
        )
        mesh.set(rasterized=True)  # one picture in an svg, not a shape per cell
        upper.plot(times, pitch, color="black", lw=4)
        upper.plot(times, pitch, color=COLOURS[4], lw=2)
        if np.isfinite(pitch).any():
            line = Line2D([], [], color=COLOURS[4], lw=2, path_effects=[withStroke(linewidth=4, foreground="black")])
            figure.legend([line], ["pitch of the voice"], loc="outside lower right")
        upper.set(xlabel="", ylabel="frequency (Hz)", title=short(title, 100))
        upper.grid(visible=False)
        lower.plot(times, energy, color=COLOURS[0], lw=1.5)
        lower.set(xlabel="time (s)", ylabel="energy (dB)", xlim=(0, seconds))
        upper.set_ylim(0, rate / 2)
        lower.xaxis.set_major_locator(AutoLocator())  # librosa's ticks are rounded to numbers that they are not at
        lower.xaxis.set_major_formatter(ScalarFormatter())
        figure.colorbar(mesh, ax=(upper, lower), label="power (dB)", aspect=30, pad=0.02)
    return figure
