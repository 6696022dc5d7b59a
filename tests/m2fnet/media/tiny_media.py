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


def write_pictures(path, values, size=(32, 24), fps=10, codec="mpeg4"):
    """A clip whose frame ``i`` is grey of brightness ``values[i]`` left and black right."""
    width, height = size
    with av.open(str(path), "w") as out:
        stream = out.add_stream(codec, rate=fps)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.gop_size = 12
        for value in values:
            picture = np.zeros((height, width, 3), np.uint8)
            picture[:, : max(1, width // 2)] = value
            out.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        out.mux(stream.encode())
    return path
