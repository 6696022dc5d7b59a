"""Hundreds of damaged and odd clips, made from a few good ones by seed; as a script, reads some of them.

``python damaged_media.py FOLDER FIRST STEP`` reads every STEP-th file from FIRST on, as extraction would, and prints
one line of JSON for each: its name, the seconds it took, and the outcome of its sound and of its pictures.
"""

import faulthandler
import json
import resource
import sys
import time
from pathlib import Path

import numpy as np
from damages import DAMAGES
from tiny_media import tone, write_clip, write_pictures, write_sound

from m2fnet.errors import MediaError
from m2fnet.media.audio import read_audio
from m2fnet.media.video import read_frames

SUFFIXES = (".mp4", ".avi", ".mkv", ".wav")
HANG = 10  # seconds


def write_damaged(folder: Path, seed: int = 0) -> int:
    """Write all files into ``folder`` and return how many they are."""
    generator = np.random.default_rng(seed)
    for path, whole in _good(folder).items():
        for kind, count in COUNTS.items():
            for number in range(count):
                damaged = DAMAGES[kind](whole, number / count, generator)
                path.with_stem(f"{path.stem}_{kind}{number}").write_bytes(damaged)
        for suffix in SUFFIXES:
            path.with_name(f"{path.stem}_named{suffix}").write_bytes(whole)
    for suffix in SUFFIXES:
        (folder / f"empty{suffix}").write_bytes(b"")
        (folder / f"text{suffix}").write_bytes(b"Could you *be* any more damaged?\n" * 40)
    _odd(folder)
    return len(list(folder.iterdir()))


def _good(folder: Path) -> dict[Path, bytes]:
    paths = [
        write_clip(folder / "late.mp4"),
        write_clip(folder / "early.mp4", container_options={"movflags": "faststart"}),
        write_clip(folder / "old.avi", codecs=("mpeg4", "libmp3lame")),
        write_clip(folder / "open.mkv", codecs=("libx264", "libopus")),
        write_sound(folder / "sound.wav", tone(seconds=2), codec="pcm_s16le"),
    ]
    return {path: path.read_bytes() for path in paths}


COUNTS = {"truncated": 16, "flipped": 16, "shot": 16, "zeroed": 12, "head": 12, "tail": 8}


def _odd(folder: Path) -> None:
    for suffix, video, audio in (
        (".mp4", "libx264", "aac"),
        (".avi", "mpeg4", "pcm_s16le"),
        (".mkv", "libx264", "flac"),
    ):
        write_pictures(folder / f"pictures_only{suffix}", range(0, 250, 10), codec=video)
        write_pictures(folder / f"one_frame{suffix}", [200], codec=video)
        write_pictures(folder / f"no_frame{suffix}", [], codec=video)
        write_pictures(
            folder / f"one_pixel{suffix}", [90] * 5, size=(1, 1), codec="ffv1" if suffix != ".mp4" else "png"
        )
        write_pictures(folder / f"variable{suffix}", range(0, 250, 10), codec=video, gaps=(1, 7, 2, 30))
        write_sound(folder / f"sound_only{suffix}", tone(), codec=audio)
        write_sound(folder / f"six_channels{suffix}", tone(channels=6), layout="5.1", codec=audio)
    write_pictures(folder / "rotated.mp4", range(0, 250, 10), codec="libx264", rotation=90)
    write_sound(folder / "six_channels.wav", tone(channels=6), layout="5.1")


def outcome(read) -> str:
    """``read`` with the shape of what reading gives, or the error's text."""
    try:
        return f"read {tuple(read().shape)}"
    except MediaError as error:
        return str(error)


def main(folder: Path, first: int, step: int) -> None:
    span = (0.5, 1.5)
    for path in sorted(folder.iterdir())[first::step]:
        faulthandler.dump_traceback_later(HANG, exit=True)
        begun = time.perf_counter()
        outcomes = {
            "sound": outcome(lambda path=path: read_audio(path).samples),
            "sound of a span": outcome(lambda path=path: read_audio(path, span=span).samples),
            "pictures": outcome(lambda path=path: read_frames(path, count=5)),
            "pictures of a span": outcome(lambda path=path: read_frames(path, count=5, place="centre", span=span)),
        }
        seconds, kilobytes = time.perf_counter() - begun, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        row = {"name": path.name, "seconds": seconds, "megabytes": kilobytes / 1024, "outcomes": outcomes}
        sys.stdout.write(json.dumps(row) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
