"""A sound and its subtitles, small enough to make for every test."""

import math
import struct
import wave


def write_sound(path, seconds=4.0, rate=8000, amplitude=9000):
    """A WAV file of a tone."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        tone = (round(amplitude * math.sin(n / 3)) for n in range(round(seconds * rate)))
        file.writeframes(b"".join(struct.pack("<h", value) for value in tone))
    return path


def write_subtitles(path, texts, seconds=0.25):
    """An SRT file, or a CSV file where the suffix says so, whose utterances follow each other."""
    times = [(i * seconds, (i + 1) * seconds) for i in range(len(texts))]
    if path.suffix == ".csv":
        rows = [f'{start},{end},Ann,"{text}"' for (start, end), text in zip(times, texts, strict=True)]
        path.write_text("\n".join(["start,end,speaker,text", *rows]), encoding="utf-8")
    else:
        cues = [
            f"{i}\n{stamp(start)} --> {stamp(end)}\n{text}\n"
            for i, ((start, end), text) in enumerate(zip(times, texts, strict=True), start=1)
        ]
        path.write_text("\n".join(cues), encoding="utf-8")
    return path


def stamp(seconds):
    whole, milliseconds = divmod(round(1000 * seconds), 1000)
    return f"{whole // 3600:02}:{whole // 60 % 60:02}:{whole % 60:02},{milliseconds:03}"
