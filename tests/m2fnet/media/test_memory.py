"""Reading a clip of any length takes memory for what is wanted of it."""

import subprocess
import sys
from pathlib import Path

import pytest
from peak_memory import PEAK
from tiny_media import write_clip

SCRIPT = f"""{PEAK}
import sys
from m2fnet.media.audio import read_audio
from m2fnet.media.video import read_frames

path = Path(sys.argv[1])
before = peak()
assert len(read_frames(path, count=15)) == 15
assert len(read_frames(path, count=15, place="centre")) == 15
assert len(read_audio(path, max_seconds=400).samples) > 304 * 16_000
assert len(read_audio(path).samples) == 60 * 16_000
print(before, peak())
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="memory is read from Linux's /proc")
def test_a_clip_of_305_seconds_and_7320_frames_stays_far_below_a_gigabyte(tmp_path):
    path = write_clip(tmp_path / "a.mp4", seconds=305, size=(160, 90), fps=24, codecs=("mpeg4", "aac"), rate=16_000)
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(path)], capture_output=True, text=True, check=True, timeout=120
    )
    before, after = map(float, done.stdout.split())
    assert after < 1000  # MiB, libraries included
    assert after - before < 150  # MiB; the pictures would be 300
