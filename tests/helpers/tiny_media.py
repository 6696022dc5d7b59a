"""Small files of sound and of pictures, written by FFmpeg itself."""

import math
from fractions import Fraction

import av
import numpy as np

from m2fnet.media.audio import RATE


def tone(hertz=440.0, seconds=1.0, rate=RATE, channels=1, level=0.5):
    wave = level * np.sin(2 * math.pi * hertz * np.arange(int(seconds * rate)) / rate)
    return np.tile(wave.astype(np.float32), (channels, 1))


def write_sound(path, samples, rate=RATE, layout="mono", codec="pcm_f32le"):
    with av.open(str(path), "w") as out:
        stream = out.add_stream(codec, rate=rate, layout=layout)
        interleaved = np.ascontiguousarray(samples.T.reshape(1, -1))
        frame = av.AudioFrame.from_ndarray(interleaved, format="flt", layout=layout)
        frame.sample_rate, frame.pts, frame.time_base = rate, 0, Fraction(1, rate)
        for resampled in av.AudioResampler(stream.format, layout, rate).resample(frame):
            out.mux(stream.encode(resampled))
        out.mux(stream.encode())
    return path


def write_pictures(
    path, values, size=(32, 24), fps=10, codec="mpeg4", gaps=(1,), rotation=0, container_options=None, **settings
):
    """A clip whose frame ``i`` is grey of brightness ``values[i]`` left and black right, ``gaps`` frames apart.

    ``values`` may be pictures as well. ``settings`` are attributes of the coder, such as ``gop_size``.
    """
    with av.open(str(path), "w", options=container_options or {}) as out:
        stream = _picture_stream(out, codec, size, fps, **settings)
        if rotation:
            stream.set_display_rotation(rotation)
        out.start_encoding()  # also for no frame at all
        time = 0
        for number, value in enumerate(values):
            picture = value if isinstance(value, np.ndarray) else half_grey(value, size)
            out.mux(stream.encode(_frame(picture, time, fps)))
            time += gaps[number % len(gaps)]
        out.mux(stream.encode())
    return path


def write_clip(
    path, seconds=2.0, size=(64, 48), fps=10, codecs=("libx264", "aac"), rate=48_000, container_options=None
):
    """A clip of a tone and of frames that brighten."""
    with av.open(str(path), "w", options=container_options or {}) as out:
        pictures = _picture_stream(out, codecs[0], size, fps)
        sound = out.add_stream(codecs[1], rate=rate, layout="stereo")
        for second in range(math.ceil(seconds)):
            for i in range(second * fps, (second + 1) * fps):
                out.mux(pictures.encode(_frame(half_grey(i * 5 % 250, size), i, fps)))
            frame = av.AudioFrame.from_ndarray(tone(rate=rate, channels=2), format="fltp", layout="stereo")
            frame.sample_rate, frame.pts, frame.time_base = rate, second * rate, Fraction(1, rate)
            out.mux(sound.encode(frame))
        out.mux(pictures.encode())
        out.mux(sound.encode())
    return path


def _picture_stream(out, codec, size, fps, **settings):
    stream = out.add_stream(codec, rate=fps)
    stream.width, stream.height = size
    stream.pix_fmt = {"mjpeg": "yuvj420p", "png": "rgb24"}.get(codec, "yuv420p")
    stream.codec_context.options = settings.pop("options", {})
    for name, value in {"gop_size": 12, "thread_count": 1, **settings}.items():
        setattr(stream.codec_context, name, value)
    return stream


def half_grey(value, size):
    width, height = size
    picture = np.zeros((height, width, 3), np.uint8)
    picture[:, : max(1, width // 2)] = value
    return picture


def numbered(number, size=(96, 64)):
    """A picture that moves with its number and shows it in bits, to be read by `number_of`."""
    width, height = size
    across, down = np.meshgrid(np.arange(width) + 3 * number, np.arange(height))
    picture = np.repeat((across * down // 8 % 200).astype(np.uint8)[..., None], 3, axis=2)
    picture[:16] = 0
    for bit in range(9):
        picture[:16, bit * 10 : bit * 10 + 10] = 255 * (number >> bit & 1)
    return picture


def number_of(picture):
    return sum(int(picture[2:14, bit * 10 + 2 : bit * 10 + 8].mean() > 120) << bit for bit in range(9))


def _frame(picture, time, fps):
    frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
    frame.pts, frame.time_base = time, Fraction(1, fps)
    return frame
