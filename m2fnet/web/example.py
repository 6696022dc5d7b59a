"""An example clip to click on: a conversation of the toy corpus's people, made on the fly."""

from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from tempfile import TemporaryDirectory

import av
import numpy as np
from numpy.typing import NDArray

from m2fnet.corpora.toy_clip import FPS, HEIGHT, WIDTH, shoot
from m2fnet.corpora.toy_script import Line, Scene, write_script
from m2fnet.files import replaced, write_text
from m2fnet.media.audio import RATE, read_audio

CLIP, SUBTITLES = "example.mp4", "example.srt"
_SEED = 0  # that of `m2fnet demo`: the same people, so that the demo's model knows their voices
_UNSEEN = 70  # the demo's dialogues; the conversation comes after them
_UTTERANCES = (8, 10)  # at least, at most


def write_example(folder: Path) -> None:
    """Write `CLIP` and its `SUBTITLES` into ``folder``; always the same, in a second or two."""
    script = write_script({"test": _UNSEEN + 30}, np.random.default_rng(_SEED))
    few, many = _UTTERANCES
    lines = max((scene for scene in script["test"][_UNSEEN:] if few <= len(scene) <= many), key=_richness)
    with TemporaryDirectory(dir=folder) as shots:
        paths = [Path(shots) / f"{number}.mp4" for number in range(len(lines))]
        for path, line in zip(paths, lines, strict=True):
            shoot(path, line.shot)
        frames = [_frames(path) for path in paths]
        _write_clip(folder / CLIP, frames, [_sound(p, len(f)) for p, f in zip(paths, frames, strict=True)])
    write_text(folder / SUBTITLES, _subtitles(lines, [len(f) / FPS for f in frames]))


def _richness(scene: Scene) -> int:
    """How much is said, in how many emotions."""
    return len({line.emotion for line in scene}) * sum(len(line.text.split()) for line in scene)


def _frames(path: Path) -> list[av.VideoFrame]:
    with av.open(str(path)) as shot:
        return list(shot.decode(video=0))


def _sound(path: Path, frames: int) -> NDArray[np.float32]:
    """The shot's sound, exactly as long as its pictures."""
    sound = np.zeros(frames * RATE // FPS, dtype=np.float32)
    samples = read_audio(path).samples.numpy()[: len(sound)]
    sound[: len(samples)] = samples
    return sound


def _write_clip(path: Path, shots: Sequence[Sequence[av.VideoFrame]], sounds: Sequence[NDArray[np.float32]]) -> None:
    with replaced(path) as temporary, av.open(str(temporary), "w") as out:
        video = out.add_stream("libx264", rate=FPS, options={"preset": "fast", "crf": "22", "threads": "1"})
        video.width, video.height, video.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        audio = out.add_stream("aac", rate=RATE, layout="mono")
        for number, picture in enumerate(frame for shot in shots for frame in shot):
            picture.pts, picture.time_base, picture.pict_type = number, Fraction(1, FPS), 0
            out.mux(video.encode(picture))
        out.mux(video.encode())
        for sound in _blocks(np.concatenate(sounds)):
            out.mux(audio.encode(sound))
        out.mux(audio.encode())


def _blocks(sound: NDArray[np.float32], size: int = 1024) -> Iterator[av.AudioFrame]:
    for start in range(0, len(sound), size):
        block = av.AudioFrame.from_ndarray(sound[None, start : start + size], format="fltp", layout="mono")
        block.sample_rate, block.pts, block.time_base = RATE, start, Fraction(1, RATE)
        yield block


def _subtitles(lines: Sequence[Line], lengths: Sequence[float]) -> str:
    cues, clock = [], 0.0
    for number, (line, seconds) in enumerate(zip(lines, lengths, strict=True), start=1):
        cues.append(f"{number}\n{_stamp(clock)} --> {_stamp(clock + seconds)}\n{line.speaker}: {line.text}\n")
        clock += seconds
    return "\n".join(cues)


def _stamp(seconds: float) -> str:
    whole, milliseconds = divmod(round(seconds * 1000), 1000)
    return f"{whole // 3600:02}:{whole // 60 % 60:02}:{whole % 60:02},{milliseconds:03}"
