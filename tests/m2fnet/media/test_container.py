"""What is no media file, or only half of one, is an error with a reason and never a crash."""

import contextlib
import os
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_media import tone, write_pictures, write_sound

from m2fnet.errors import MediaError
from m2fnet.media.audio import read_audio
from m2fnet.media.container import DEMUXERS, is_clearly_short
from m2fnet.media.video import read_frames


def playlist(folder):
    write_sound(folder / "secret.wav", tone())
    return b"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nsecret.wav\n#EXT-X-ENDLIST\n"


def concat(folder):
    write_sound(folder / "secret.wav", tone())
    return b"ffconcat version 1.0\nfile secret.wav\n"


def dash(folder):
    write_sound(folder / "secret.wav", tone())
    return b"""<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static"><Period>
<AdaptationSet mimeType="audio/wav"><Representation id="1"><BaseURL>secret.wav</BaseURL></Representation>
</AdaptationSet></Period></MPD>"""


@pytest.mark.parametrize("name", ["a.mp4", "a.m3u8", "a.wav"])
@pytest.mark.parametrize(
    "content",
    [lambda _: b"", lambda _: b"just some words\n" * 50, lambda _: bytes(range(256)) * 40, playlist, concat, dash],
    ids=["empty", "text", "bytes", "playlist", "concat", "dash"],
)
def test_what_is_no_media_file_is_an_error(tmp_path, name, content):
    path = tmp_path / name
    path.write_bytes(content(tmp_path))
    with pytest.raises(MediaError):
        read_audio(path)
    with pytest.raises(MediaError):
        read_frames(path, count=1)


def test_reasons_do_not_name_the_file(tmp_path):
    path = tmp_path / "dia3_utt4.mp4"
    path.write_bytes(b"words" * 100)
    with pytest.raises(MediaError) as caught:
        read_audio(path)
    assert "dia3" not in str(caught.value)


def test_only_regular_files_are_opened(tmp_path):
    with pytest.raises(MediaError, match="open: the file does not exist"):
        read_audio(tmp_path / "none.wav")
    with pytest.raises(MediaError, match="open: it is no regular file"):
        read_frames(tmp_path, count=1)


@pytest.mark.parametrize("name", ["a.wav", "a.mp4", "a.png"])
def test_a_pipe_is_refused_and_not_waited_for(tmp_path, name):
    os.mkfifo(tmp_path / name)
    signal.alarm(10)  # ends the tests where it would hang
    with pytest.raises(MediaError, match="open: it is no regular file"):
        read_audio(tmp_path / name)
    with pytest.raises(MediaError, match="open: it is no regular file"):
        read_frames(tmp_path / name, count=1)
    signal.alarm(0)


@pytest.mark.parametrize("device", ["/dev/zero", "/dev/null"])
def test_a_device_is_refused(tmp_path, device):
    (tmp_path / "a.wav").symlink_to(device)
    with pytest.raises(MediaError, match="open: it is no regular file"):
        read_audio(tmp_path / "a.wav")


@pytest.mark.parametrize(
    "path", ["http://localhost/a.mp4", "file:///etc/passwd", "pipe:0", "tcp://localhost:1", "data:,a"]
)
def test_addresses_are_plain_names_of_files_that_do_not_exist(path):
    with pytest.raises(MediaError, match="open: the file does not exist"):
        read_audio(Path(path))


def test_paths_with_protocol_names_are_plain_files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_sound(tmp_path / "a.wav", tone())
    with pytest.raises(MediaError, match="does not exist"):
        read_audio(Path("concat:a.wav|a.wav"))


def test_a_file_without_the_wanted_stream_says_so(tmp_path):
    with pytest.raises(MediaError, match="open: the file has no sound"):
        read_audio(write_pictures(tmp_path / "a.mp4", [100] * 5))
    with pytest.raises(MediaError, match="open: the file has no picture"):
        read_frames(write_sound(tmp_path / "a.wav", tone()), count=1)


@pytest.mark.parametrize("span", [(1.0, 1.0), (2.0, 1.0), (-1.0, 1.0)])
def test_an_empty_span_is_named(tmp_path, span):
    sound = write_sound(tmp_path / "a.wav", tone())
    clip = write_pictures(tmp_path / "a.mp4", [100] * 10)
    with pytest.raises(MediaError, match="span: the span is empty"):
        read_audio(sound, span=span)
    with pytest.raises(MediaError, match="span: the span is empty"):
        read_frames(clip, count=1, span=span)


@pytest.mark.parametrize("share", [0.02, 0.2, 0.4, 0.6, 0.9, 0.99])
@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".avi"])
def test_a_cut_off_clip_gives_frames_or_an_error(tmp_path, share, suffix):
    whole = write_pictures(tmp_path / f"a{suffix}", [90] * 40).read_bytes()
    path = tmp_path / f"cut{suffix}"
    path.write_bytes(whole[: int(len(whole) * share)])
    with contextlib.suppress(MediaError):
        assert 1 <= len(read_frames(path, count=3)) <= 3


def test_sound_that_ends_early_is_an_error(tmp_path):
    whole = write_sound(tmp_path / "a.flac", tone(seconds=4), codec="flac").read_bytes()
    path = tmp_path / "cut.flac"
    path.write_bytes(whole[: len(whole) // 4])
    with pytest.raises(MediaError, match="decode"):
        read_audio(path)


@pytest.mark.parametrize("suffix", [".wav", ".avi"])
@pytest.mark.parametrize("share", [0.3, 0.6, 0.85])
def test_wav_and_avi_that_were_cut_off_are_named_although_they_decode(tmp_path, suffix, share):
    whole = write_sound(tmp_path / f"a{suffix}", tone(seconds=4), codec="pcm_s16le").read_bytes()
    path = tmp_path / f"cut{suffix}"
    path.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(MediaError, match="open: the file is shorter than its header says"):
        read_audio(path)


@pytest.mark.parametrize("size", [0, 0x7FFFFFFF, 0xFFFFFFFF])
def test_wav_whose_writer_did_not_know_its_length_is_read(tmp_path, size):
    path = write_sound(tmp_path / "a.wav", tone(), codec="pcm_s16le")
    content = bytearray(path.read_bytes())
    content[4:8] = size.to_bytes(4, "little")
    path.write_bytes(content)
    assert len(read_audio(path).samples) == 16_000


@pytest.mark.parametrize(("found", "is_short"), [(3.0, False), (2.65, False), (2.55, True), (0.0, True)])
def test_a_tenth_of_the_length_may_be_missing(found, is_short):
    assert is_clearly_short(found, 3.0) is is_short
    assert not is_clearly_short(0.0, 0.1)  # of what is very short, all of it


def test_flipped_bytes_never_crash(tmp_path):
    whole = bytearray(write_pictures(tmp_path / "a.mp4", list(range(50, 200, 5))).read_bytes())
    generator = np.random.default_rng(0)
    path = tmp_path / "b.mp4"
    for _ in range(25):
        damaged = bytearray(whole)
        for place in generator.integers(0, len(damaged), 20):
            damaged[place] = generator.integers(256)
        path.write_bytes(damaged)
        with contextlib.suppress(MediaError):
            assert read_frames(path, count=3).dtype == torch.uint8


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (
            b"just some words\n" * 50,
            "it is not a clip of sound or pictures, or was cut off while it was copied",
        ),
        (b"ffconcat version 1.0\nfile secret.wav\n", "its format is not one of those that are read; convert it"),
    ],
)
def test_plain_words_come_before_those_of_ffmpeg(tmp_path, content, words):
    (tmp_path / "a.xyz").write_bytes(content)
    with pytest.raises(MediaError) as caught:
        read_audio(tmp_path / "a.xyz")
    assert caught.value.reason.startswith(words)


@pytest.mark.parametrize(("suffix", "codec", "rate"), [(".ac3", "ac3", 16_000 * 3), (".mkv", "flac", 16_000)])
def test_sound_of_telephones_and_discs_is_read(tmp_path, suffix, codec, rate):
    path = write_sound(tmp_path / f"a{suffix}", tone(seconds=3, rate=rate), rate=rate, codec=codec)
    assert len(read_audio(path, span=(1.0, 2.0)).samples) == 16_000


def test_amr_is_a_format_that_is_read():
    assert {"amr", "ac3", "eac3"} <= set(DEMUXERS.split(","))  # FFmpeg as it is packaged cannot write AMR
