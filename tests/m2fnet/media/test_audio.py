"""Sound against a reference tone: any rate, any channels, spans, and sound without content."""

import wave
from fractions import Fraction

import av
import numpy as np
import pytest
import torch
from tiny_media import tone, write_clip, write_sound

from m2fnet.conversation.voice import levels_of, voice_activity
from m2fnet.errors import MediaError
from m2fnet.media.audio import RATE, PlacedSound, read_audio


@pytest.mark.parametrize(
    ("rate", "channels", "layout"),
    [(16_000, 1, "mono"), (8_000, 1, "mono"), (44_100, 2, "stereo"), (48_000, 6, "5.1")],
)
def test_sound_of_any_rate_and_layout_becomes_the_same_tone(tmp_path, rate, channels, layout):
    path = write_sound(tmp_path / "a.wav", tone(rate=rate, channels=channels), rate=rate, layout=layout)
    samples = read_audio(path).samples
    assert abs(len(samples) - RATE) <= 32
    spectrum = torch.fft.rfft(samples[:RATE], RATE).abs()
    assert int(spectrum.argmax()) == 440
    assert samples[2000:-2000].abs().max() == pytest.approx(0.5, abs=0.01)


def test_channels_are_averaged(tmp_path):
    left, right = tone(level=0.6), tone(level=0.2)
    samples = read_audio(write_sound(tmp_path / "a.wav", np.concatenate([left, right]), layout="stereo")).samples
    torch.testing.assert_close(samples, torch.from_numpy(tone(level=0.4)[0]), atol=2e-3, rtol=0)


def test_a_span_is_cut_to_the_sample(tmp_path):
    ramp = np.linspace(0.0, 0.9, 3 * RATE, dtype=np.float32)[None]
    path = write_sound(tmp_path / "a.wav", ramp)
    samples = read_audio(path, span=(1.25, 2.0)).samples
    torch.testing.assert_close(samples, torch.from_numpy(ramp[0, int(1.25 * RATE) : 2 * RATE]), atol=1e-4, rtol=0)


@pytest.mark.parametrize("suffix", [".wav", ".mkv", ".mp3"])  # the last tells no length, FFmpeg guesses it
def test_a_long_file_is_read_up_to_the_limit_and_the_rest_is_counted(tmp_path, suffix):
    codec = {".mp3": "libmp3lame", ".mkv": "flac", ".wav": "pcm_s16le"}[suffix]
    path = write_sound(tmp_path / f"a{suffix}", tone(seconds=5), codec=codec)
    sound = read_audio(path, max_seconds=2)
    assert len(sound.samples) == 2 * RATE
    assert sound.cut_s == pytest.approx(3, abs=0.2)
    assert read_audio(path, span=(1.0, 4.0), max_seconds=2).cut_s == pytest.approx(1)
    assert read_audio(path, span=(1.0, 3.0), max_seconds=2).cut_s == 0
    assert read_audio(path).cut_s == 0


@pytest.mark.parametrize(
    ("suffix", "codec"), [(".mp4", "aac"), (".avi", "libmp3lame"), (".flac", "flac"), (".mkv", "ac3")]
)
def test_a_span_far_inside_is_that_of_the_whole(tmp_path, suffix, codec):
    rate = 48_000
    time = np.arange(20 * rate) / rate
    sweep = 0.4 * np.sin(2 * np.pi * (100 + 4 * time) * time)
    path = write_sound(tmp_path / f"a{suffix}", sweep.astype(np.float32)[None], rate=rate, codec=codec)
    whole = read_audio(path).samples
    for start in (0.02, 0.49, 7.3, 15.1):
        cut = read_audio(path, span=(start, start + 2)).samples
        same = whole[round(start * RATE) : round((start + 2) * RATE)]
        assert len(cut) == len(same)
        shifted = [(cut[9:-9] - same[9 + by : len(same) - 9 + by]).abs().max() for by in range(-9, 10)]
        assert min(shifted) < 0.03  # the same but for half a millisecond, the precision of Matroska's time stamps


def test_half_packets_after_a_jump_are_passed_over(tmp_path):
    """A programme stream lets a jump end in the middle of a packet of sound."""
    path = write_clip(tmp_path / "clip.mpg", seconds=6, codecs=("mpeg2video", "mp2"), fps=25)
    for start in (0.0, 0.7, 1.3, 2.9, 4.0):
        samples = read_audio(path, span=(start, start + 1.5)).samples
        assert len(samples) == pytest.approx(1.5 * RATE, abs=0.05 * RATE)
        assert torch.fft.rfft(samples[:RATE]).abs().argmax() == 440


def test_a_jump_that_ends_late_is_made_again_from_further_back(tmp_path):
    """As in programme streams, which have no index."""
    path, tones, rate = tmp_path / "a.mpg", [300.0, 400.0, 500.0, 600.0, 700.0, 800.0], 48_000
    wave = np.concatenate([tone(hertz, rate=rate, channels=2) for hertz in tones], axis=1)
    with av.open(str(path), "w") as out:
        pictures = out.add_stream("mpeg2video", rate=25)
        pictures.width, pictures.height, pictures.pix_fmt = 64, 48, "yuv420p"
        sound = out.add_stream("mp2", rate=rate, layout="stereo")
        for tenth in range(10 * len(tones)):
            for number in range(tenth * 5 // 2, (tenth + 1) * 5 // 2):
                picture = av.VideoFrame.from_ndarray(np.full((48, 64, 3), int(20 + 1.4 * number), np.uint8)).reformat(
                    format="yuv420p"
                )
                picture.pts, picture.time_base = number, Fraction(1, 25)
                out.mux(pictures.encode(picture))
            piece = wave[:, tenth * rate // 10 : (tenth + 1) * rate // 10]
            frame = av.AudioFrame.from_ndarray(
                (piece.T.reshape(1, -1) * 32767).astype(np.int16), format="s16", layout="stereo"
            )
            frame.sample_rate, frame.pts, frame.time_base = rate, tenth * rate // 10, Fraction(1, rate)
            out.mux(sound.encode(frame))
        out.mux(pictures.encode())
        out.mux(sound.encode())
    for second, hertz in enumerate(tones):
        samples = read_audio(path, span=(second + 0.15, second + 0.85)).samples
        assert len(samples) == pytest.approx(0.7 * RATE, abs=0.001 * RATE)
        assert torch.fft.rfft(samples, n=RATE).abs().argmax() == pytest.approx(hertz, abs=5)


def test_a_span_that_the_file_does_not_hold_is_named(tmp_path):
    path = write_sound(tmp_path / "a.wav", tone(seconds=3))
    assert len(read_audio(path, span=(1.0, 3.1)).samples) == 2 * RATE  # a small deviation
    with pytest.raises(MediaError, match="span: the span continues after the end of the sound"):
        read_audio(path, span=(1.0, 4.0))
    with pytest.raises(MediaError, match="span: the span begins after the end of the sound"):
        read_audio(path, span=(3.5, 4.0))


@pytest.mark.parametrize("share", [0.3, 0.5, 0.8])
def test_sound_that_is_shorter_than_declared_is_named(tmp_path, share):
    path = write_sound(tmp_path / "a.mkv", tone(seconds=4), codec="pcm_s16le")
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    with pytest.raises(MediaError, match="decode: the sound is shorter than declared"):
        read_audio(path)


def test_one_sample_is_sound(tmp_path):
    assert len(read_audio(write_sound(tmp_path / "a.wav", np.full((1, 1), 0.5, np.float32))).samples) == 1


@pytest.mark.parametrize(
    ("samples", "reason"),
    [(np.zeros((1, RATE), np.float32), "silent"), (np.full((1, RATE), np.nan, np.float32), "NaN")],
)
def test_sound_without_content_is_named(tmp_path, samples, reason):
    with pytest.raises(MediaError, match=reason):
        read_audio(write_sound(tmp_path / "a.wav", samples))


def bursts(seconds, rate=16_000):
    """Silence, but for 300 Hz in every odd second."""
    time = np.arange(seconds * rate) / rate
    return (0.4 * np.sin(2 * np.pi * 300 * time) * (np.floor(time) % 2)).astype(np.float32)


@pytest.mark.parametrize("codec", ["adpcm_ms", "adpcm_ima_wav", "pcm_s16le"])
def test_wav_with_a_wrong_byte_rate_is_read_at_its_real_places(tmp_path, codec):
    path = write_sound(tmp_path / "a.wav", bursts(12)[None], codec=codec)
    content = bytearray(path.read_bytes())
    content[28:32] = (8_000).to_bytes(4, "little")  # bytes per second, by which FFmpeg would jump
    path.write_bytes(content)
    if codec == "pcm_s16le":
        with wave.open(str(path)) as file:  # an independent reading
            whole = np.frombuffer(file.readframes(file.getnframes()), np.int16) / 2**15
    else:
        with av.open(str(path)) as file:
            whole = np.concatenate([frame.to_ndarray()[0] for frame in file.decode(audio=0)]) / 2**15
    for second in (1, 7, 11):
        samples = read_audio(path, span=(second, second + 1)).samples.numpy()
        np.testing.assert_allclose(samples, whole[second * RATE : (second + 1) * RATE], atol=1e-3)


def write_joined(path, starts, piece, rate=RATE):
    """The same piece of sound again and again with the given time stamps, whatever its length is."""
    with av.open(str(path), "w") as out:
        stream = out.add_stream("pcm_s16le", rate=rate, layout="mono")
        for start in starts:
            frame = av.AudioFrame.from_ndarray((piece * 2**15).astype(np.int16)[None], format="s16", layout="mono")
            frame.sample_rate, frame.time_base, frame.pts = rate, Fraction(1, rate), round(start * rate)
            out.mux(stream.encode(frame))
        out.mux(stream.encode())
    return path


def placed_by_stamps(path, seconds, rate=RATE):
    """The sound by the time stamps of its packets, as this test understands them."""
    sound = np.zeros(round(seconds * rate))
    with av.open(str(path)) as file:
        for frame in file.decode(audio=0):
            first = round(float(frame.pts * frame.time_base) * rate)
            samples = frame.to_ndarray().reshape(-1) / 2**15
            sound[first : first + len(samples)] = samples[: len(sound) - first]
    return sound


@pytest.mark.parametrize("step", [2.93, 3.0, 3.4])  # overlapping, gapless, with gaps
def test_sound_is_where_its_time_stamps_say(tmp_path, step):
    piece = np.zeros(3 * RATE, np.float32)
    piece[RATE : 2 * RATE] = bursts(2)[RATE:]
    path = write_joined(tmp_path / "a.mkv", [n * step for n in range(12)], piece)
    expected = placed_by_stamps(path, 12 * step)
    whole = read_audio(path).samples.numpy()
    assert len(whole) == pytest.approx(11 * step * RATE + len(piece), abs=0.06 * RATE)
    common = min(len(whole), len(expected))
    loud, found = np.abs(expected[:common]) > 0.05, np.abs(whole[:common]) > 0.05
    assert (loud != found).mean() < 0.02  # of the samples; FFmpeg's own tolerance is a tenth of a second
    for n in (1, 6, 11):
        samples = read_audio(path, span=(n * step + 0.9, n * step + 2.1)).samples.abs()
        assert float((samples > 0.05).float().mean()) == pytest.approx(found.mean() * step / 1.2, abs=0.1)
    begins = [segment.start_s for segment in voice_activity(path)]
    assert begins == pytest.approx([n * step + 1.0 for n in range(12)], abs=0.2)


def test_time_stamps_that_do_not_advance_or_start_again_are_not_followed():
    frame = av.AudioFrame.from_ndarray(np.ones((1, 1600), np.float32), format="flt", layout="mono")
    frame.sample_rate = RATE
    rising = [0.1 * n for n in range(10)]
    for times in ([0.0] * 20, [20 + time for time in rising] + rising, [20 + time for time in rising] + [0.0] * 10):
        placed = PlacedSound(RATE)
        samples = sum(len(piece) for time in times for piece in placed.add(frame, time))
        assert samples + sum(map(len, placed.rest())) >= 0.7 * 20 * 1600


def test_channels_in_opposite_phase_are_not_silent(tmp_path):
    left = tone(seconds=2)
    path = write_sound(tmp_path / "a.wav", np.concatenate([left, -left]), layout="stereo")
    torch.testing.assert_close(read_audio(path).samples, torch.from_numpy(left[0]), atol=2e-3, rtol=0)
    assert len(levels_of(path))
    assert float(levels_of(path).max()) > -40
    quiet = write_sound(tmp_path / "b.wav", np.zeros((2, RATE), np.float32), layout="stereo")
    with pytest.raises(MediaError, match="silent"):
        read_audio(quiet)
