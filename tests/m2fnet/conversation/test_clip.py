"""A clip and its utterances: their source, the manifest, and the files that are not clips."""

import os
import re
import zipfile
from pathlib import Path

import av
import numpy as np
import pytest
from tiny_media import _frame, _picture_stream, half_grey, tone, write_clip, write_pictures, write_sound

from m2fnet.conversation.clip import manifest_of, streams_of
from m2fnet.conversation.segments import Segment, segments_of
from m2fnet.errors import ConversationError
from m2fnet.media.audio import read_audio
from m2fnet.media.video import read_frames
from m2fnet.records import LabelSet

EMOTIONS = LabelSet("two", ("joy", "anger"))
SRT = "1\n00:00:00,200 --> 00:00:00,900\nANN: Hi\n\n2\n00:00:01,000 --> 00:00:09,000\nBye\n"


@pytest.fixture
def clip(tmp_path):
    """Two seconds of a tone and of pictures."""
    return write_clip(tmp_path / "talk.mp4")


def test_the_given_file_comes_first_then_subtitles_next_to_the_clip(clip, tmp_path):
    (tmp_path / "talk.vtt").write_text("WEBVTT\n\n00:00.000 --> 00:01.000\nsidecar\n", encoding="utf-8")
    (tmp_path / "given.srt").write_text(SRT, encoding="utf-8")
    given, sidecar = segments_of(clip, tmp_path / "given.srt"), segments_of(clip)
    assert given.source == "given.srt"
    assert [(s.speaker, s.text) for s in given.segments] == [("ANN", "Hi"), (None, "Bye")]
    assert (sidecar.source, sidecar.segments[0].text) == ("talk.vtt", "sidecar")


def test_an_utterance_longer_than_the_clip_is_cut_where_the_clip_ends(clip, tmp_path):
    (tmp_path / "talk.srt").write_text(SRT, encoding="utf-8")
    assert segments_of(clip).segments[1].end_s == pytest.approx(2.0, abs=0.05)


def test_an_utterance_beyond_the_clip_is_skipped_and_named(clip, tmp_path):
    (tmp_path / "talk.srt").write_text(SRT.replace("00:00:01,000", "00:00:05,000"), encoding="utf-8")
    found = segments_of(clip)
    late = r".*talk\.srt:6: the utterance begins at 5 s, but .*talk\.mp4 ends at 2\.\d\d s"
    assert (len(found.segments), len(found.skipped)) == (1, 1)
    assert re.fullmatch(late, found.skipped[0])
    text = SRT.replace("00:00:01,000", "00:00:05,000").replace("00:00:00,", "00:00:04,")
    (tmp_path / "talk.srt").write_text(text, encoding="utf-8")
    with pytest.raises(
        ConversationError, match=r"the utterance begins at .*talk\.mp4 ends at 2\.\d\d s, as all others do"
    ):
        segments_of(clip)


def test_damaged_subtitles_next_to_the_clip_are_not_passed_over(clip, tmp_path):
    (tmp_path / "talk.srt").write_text("no subtitles", encoding="utf-8")
    with pytest.raises(ConversationError, match=r"talk\.srt holds no utterance"):
        segments_of(clip)


def test_a_transcript_without_times_does_not_fit_a_clip(clip, tmp_path):
    (tmp_path / "t.csv").write_text("speaker,text\nAnn,Hi\n", encoding="utf-8")
    with pytest.raises(ConversationError, match=r"t\.csv:2 has no times, but the utterances of a clip need them"):
        segments_of(clip, tmp_path / "t.csv")
    with pytest.raises(ConversationError, match="Utterance 1 has no times, but with a clip every utterance needs"):
        manifest_of(clip, [Segment(None, None, "Ann", "Hi")], EMOTIONS)


def test_rttm_of_several_files_is_chosen_by_the_name_of_the_clip(clip, tmp_path):
    line = "SPEAKER {} 1 0.5 1 <NA> <NA> {} <NA> <NA>\n"
    (tmp_path / "all.rttm").write_text(line.format("walk", "bob") + line.format("talk", "ann"), encoding="utf-8")
    assert [s.speaker for s in segments_of(clip, tmp_path / "all.rttm").segments] == ["ann"]


def test_a_clip_in_which_nobody_speaks_is_one_utterance(clip, tmp_path):
    found = segments_of(clip)
    assert found.source == "whole clip"
    assert [(s.start_s, s.end_s, s.text) for s in found.segments] == [(0.0, pytest.approx(2.0, abs=0.1), None)]
    pictures = write_pictures(tmp_path / "silent.mp4", range(0, 250, 10))
    assert segments_of(pictures).segments == (Segment(0.0, pytest.approx(2.5)),)


def test_a_voice_is_found(tmp_path):
    sound = np.zeros((1, 4 * 16_000), np.float32)
    sound[:, 16_000:48_000] = tone(hertz=300, seconds=2)
    found = segments_of(write_sound(tmp_path / "a.wav", sound))
    assert found.source == "voice activity"
    assert [(s.start_s, s.end_s) for s in found.segments] == [(pytest.approx(1, abs=0.2), pytest.approx(3, abs=0.2))]


def test_a_sound_whose_length_is_unknown_is_measured(tmp_path):
    path = write_sound(tmp_path / "a.aac", tone(seconds=3), codec="aac")
    assert segments_of(path).segments == (Segment(0.0, pytest.approx(3.0, abs=0.1)),)


SEGMENTS = [Segment(0.2, 0.9, "Ann", "Hi", "talk.srt:2"), Segment(1.0, 1.5), Segment(1.6, 9.0)]


def test_the_manifest_is_one_unlabelled_dialogue_whose_media_can_be_read(clip):
    manifest = manifest_of(clip, SEGMENTS, EMOTIONS)
    (dialogue,) = manifest.dialogues("test")
    first, _, last = dialogue.utterances
    assert (dialogue.id, first.id, first.index, first.label) == ("talk", "talk_0", 0, None)
    assert (first.speaker, first.text, first.source) == ("Ann", "Hi", "talk.srt:2")
    assert (first.start_s, first.end_s, first.audio_span, first.video_span) == (0.2, 0.9, (0.2, 0.9), (0.2, 0.9))
    assert last.video_span == (1.6, pytest.approx(2.0))
    for utterance in dialogue.utterances:
        assert len(read_audio(manifest.media_path(utterance.audio), span=utterance.audio_span).samples) > 0
        assert len(read_frames(manifest.media_path(utterance.video), count=1, span=utterance.video_span)) == 1


def test_streams_that_are_absent_have_no_path(tmp_path):
    sound = write_sound(tmp_path / "a.wav", tone(seconds=2))
    pictures = write_pictures(tmp_path / "b.mp4", range(0, 200, 10))
    (utterance,) = manifest_of(sound, SEGMENTS[:1], EMOTIONS).utterances
    assert (utterance.audio, utterance.video, utterance.video_span, utterance.defects) == ("a.wav", None, None, ())
    (utterance,) = manifest_of(pictures, SEGMENTS[:1], EMOTIONS).utterances
    assert (utterance.audio, utterance.audio_span, utterance.video, utterance.defects) == (None, None, "b.mp4", ())


def test_a_stream_that_ends_before_an_utterance_is_missing_there_and_named(tmp_path):
    path = tmp_path / "a.mkv"
    with av.open(str(path), "w") as out:
        pictures = _picture_stream(out, "mpeg4", (32, 24), 10)
        sound = out.add_stream("pcm_f32le", rate=16_000, layout="mono")
        for number in range(40):
            out.mux(pictures.encode(_frame(half_grey(9, (32, 24)), number, 10)))
        frame = av.AudioFrame.from_ndarray(tone(), format="flt", layout="mono")
        frame.sample_rate, frame.pts = 16_000, 0
        out.mux(sound.encode(frame))
        out.mux(pictures.encode())
        out.mux(sound.encode())
    first, second = manifest_of(path, [Segment(0.5, 2.0), Segment(2.0, 3.0)], EMOTIONS).utterances
    assert first.audio_span == (0.5, pytest.approx(1.0, abs=0.05))
    assert (second.audio, second.video, second.defects) == (None, "a.mkv", ("the sound ends before the utterance",))


def test_only_text_needs_neither_times_nor_media():
    manifest = manifest_of(None, [Segment(None, None, "Ann", "Hi"), Segment(None, None, None, "Bye")], EMOTIONS)
    assert manifest.root is None
    assert [(u.id, u.speaker, u.start_s, u.audio, u.video) for u in manifest.utterances] == [
        ("conversation_0", "Ann", None, None, None),
        ("conversation_1", None, None, None, None),
    ]


def test_a_conversation_needs_an_utterance(clip):
    with pytest.raises(ConversationError, match="at least one utterance"):
        manifest_of(clip, [], EMOTIONS)


def test_a_clip_may_be_a_link_and_keeps_its_own_name(clip, tmp_path):
    (tmp_path / "other").mkdir()
    link = tmp_path / "other" / "link.mp4"
    link.symlink_to(clip)
    manifest = manifest_of(link, SEGMENTS[:1], EMOTIONS)
    assert manifest.utterances[0].id == "link_0"
    assert manifest.media_path(manifest.utterances[0].audio) == clip.resolve()


def test_a_colon_in_the_name_of_a_clip_is_refused(clip, tmp_path):
    with pytest.raises(ConversationError, match=r"must not hold a colon\. Rename the file"):
        manifest_of(clip.rename(tmp_path / "concat:a.mp4"), SEGMENTS[:1], EMOTIONS)


def zipped(folder):
    with zipfile.ZipFile(folder / "z", "w") as archive:
        archive.write(write_clip(folder / "inside.mp4"), "inside.mp4")
    return (folder / "z").read_bytes()


PLAYLIST = b"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nsecret.wav\n#EXT-X-ENDLIST\n"
REMOTE = b"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nhttp://127.0.0.1:9/secret.ts\n#EXT-X-ENDLIST\n"
SDP = b"v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=audio 49170 RTP/AVP 0\n"


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.m3u8", PLAYLIST),
        ("a.mp4", PLAYLIST),
        ("a.ts", REMOTE),
        ("a.ffconcat", b"ffconcat version 1.0\nfile secret.wav\n"),
        ("a.mp4", b"ffconcat version 1.0\nfile secret.wav\n"),
        ("a.sdp", SDP),
        ("a.mp4", SDP),
        ("a.zip", zipped),
        ("a.mp4", zipped),
        ("a.wav", b""),
        ("a.mp4", b"words " * 100),
        ("a.mkv", bytes(range(256)) * 40),
    ],
)
def test_what_is_no_clip_is_refused_by_a_sentence(tmp_path, name, content):
    write_sound(tmp_path / "secret.wav", tone())
    (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content(tmp_path))
    for refused in (segments_of, streams_of, lambda clip: manifest_of(clip, SEGMENTS, EMOTIONS)):
        with pytest.raises(ConversationError) as caught:
            refused(tmp_path / name)
        assert str(caught.value).startswith(f"{tmp_path / name} cannot be used as a clip: ")
        assert str(caught.value).endswith("playlists and archives are not opened.")


@pytest.mark.parametrize("kept", [0.0, 0.5])
def test_of_a_clip_that_was_cut_off_it_is_said_once_what_it_may_be(clip, kept):
    clip.write_bytes(clip.read_bytes()[: int(kept * clip.stat().st_size)])
    with pytest.raises(ConversationError) as caught:
        segments_of(clip)
    assert str(caught.value).count("it is not a clip of sound or pictures, or was cut off while it was copied (") == 1


def test_a_clip_that_is_not_there_was_not_cut_off(tmp_path):
    with pytest.raises(ConversationError) as caught:
        segments_of(tmp_path / "none.mp4")
    assert "cut off" not in str(caught.value)


def test_folders_devices_pipes_and_names_of_nothing_are_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, Path("/dev/zero"), tmp_path / "pipe"):
        with pytest.raises(ConversationError, match="cannot be used as a clip: it is no regular file"):
            segments_of(path)
    for name in ("none.mp4", "concat:a.mp4|b.mp4", "http://127.0.0.1:9/a.mp4"):
        with pytest.raises(ConversationError, match="cannot be used as a clip: the file does not exist"):
            segments_of(tmp_path / name)
