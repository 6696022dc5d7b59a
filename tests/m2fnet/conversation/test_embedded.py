"""Text subtitles inside a clip, in the containers and codes that carry them."""

import re
from fractions import Fraction

import av
import pytest
from av.stream import Disposition
from av.subtitles.subtitle import SubtitleSet
from tiny_media import _frame, _picture_stream, half_grey

from m2fnet.conversation.segments import segments_of
from m2fnet.errors import ConversationError

CUES = ((0.2, 0.9, rb"- ANN: Hi {\i1}you{\i0}\N- Who?"), (1.0, 9.0, b"Me & you"))  # as Advanced SubStation writes them
HEAD = b"""[Script Info]
ScriptType: v4.00+

[V4+ Styles]
Format: Name, Fontname, Fontsize, PrimaryColour, SecondaryColour, OutlineColour, BackColour, Bold, Italic, Underline, \
StrikeOut, ScaleX, ScaleY, Spacing, Angle, BorderStyle, Outline, Shadow, Alignment, MarginL, MarginR, MarginV, Encoding
Style: Default,Arial,16,&Hffffff,&Hffffff,&H0,&H0,0,0,0,0,100,100,0,0,1,1,0,2,10,10,10,1

[Events]
Format: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text
"""


def with_subtitles(path, codec="subrip", cues=CUES, is_forced=False):
    """A clip of two seconds of pictures with subtitles inside."""
    milliseconds = Fraction(1, 1000)
    with av.open(str(path), "w") as out:
        pictures = _picture_stream(out, "mpeg4", (32, 24), 10)
        words = out.add_stream(codec)
        words.codec_context.subtitle_header = HEAD
        words.codec_context.time_base = milliseconds
        if is_forced:
            words.disposition = Disposition.forced
        out.start_encoding()
        for number in range(20):
            out.mux(pictures.encode(_frame(half_grey(9, (32, 24)), number, 10)))
        out.mux(pictures.encode())
        for number, (start, end, text, *style_and_name) in enumerate(cues):
            line = f"{number},0,{''.join(style_and_name) or 'Default,'},0,0,0,,".encode() + text
            length = round(1000 * (end - start))
            packet = words.codec_context.encode_subtitle(SubtitleSet.create(line, 0, length, pts=round(start * 10**6)))
            packet.stream, packet.time_base = words, milliseconds
            packet.pts = packet.dts = round(1000 * start)
            packet.duration = length
            out.mux(packet)
    return path


def with_tracks(path, tracks):
    """A clip of two seconds of pictures with one cue in each track of subtitles: language, title, disposition."""
    milliseconds = Fraction(1, 1000)
    with av.open(str(path), "w") as out:
        pictures = _picture_stream(out, "mpeg4", (32, 24), 10)
        streams = [out.add_stream("subrip") for _ in tracks]
        for stream, (language, title, disposition) in zip(streams, tracks, strict=True):
            stream.codec_context.subtitle_header = HEAD
            stream.codec_context.time_base = milliseconds
            stream.metadata.update({"language": language, "title": title} if title else {"language": language})
            stream.disposition = disposition or stream.disposition & ~Disposition.default
        out.start_encoding()
        for number in range(20):
            out.mux(pictures.encode(_frame(half_grey(9, (32, 24)), number, 10)))
        out.mux(pictures.encode())
        for number, stream in enumerate(streams):
            line = f"0,0,Default,,0,0,0,,Track {number}".encode()
            packet = stream.codec_context.encode_subtitle(SubtitleSet.create(line, 0, 500, pts=500_000))
            packet.stream, packet.time_base = stream, milliseconds
            packet.pts, packet.dts, packet.duration = 500, 500, 500
            out.mux(packet)
    return path


@pytest.mark.parametrize(
    ("name", "codec"), [("a.mp4", "mov_text"), ("a.mkv", "subrip"), ("a.mkv", "webvtt"), ("a.mkv", "ass")]
)
def test_subtitles_inside_a_clip_are_its_utterances(tmp_path, name, codec):
    found = segments_of(with_subtitles(tmp_path / name, codec))
    assert found.source == "subtitles inside the clip"
    assert [(s.speaker, s.text) for s in found.segments] == [("ANN", "Hi you"), (None, "Who?"), (None, "Me & you")]
    times = [time for s in found.segments for time in (s.start_s, s.end_s)]
    assert times == pytest.approx([0.2, 0.62, 0.62, 0.9, 1.0, 2.0], abs=0.05)
    assert found.segments[2].source == f"{name} at 1.00 s"


def test_a_cue_inside_a_clip_that_says_nothing_is_skipped_and_named(tmp_path):
    empty = (0.1, 0.2, b"BOB:")
    found = segments_of(with_subtitles(tmp_path / "talk.mkv", cues=(empty, *CUES)))
    assert (len(found.segments), found.skipped) == (3, ("talk.mkv at 0.10 s says nothing but shows BOB:",))
    found = segments_of(with_subtitles(tmp_path / "talk.mkv", cues=(empty,)))
    assert (found.source, found.skipped) == ("whole clip", ("talk.mkv at 0.10 s says nothing but shows BOB:",))


def test_subtitles_next_to_the_clip_come_first(tmp_path):
    clip = with_subtitles(tmp_path / "talk.mkv")
    (tmp_path / "talk.srt").write_text("1\n00:00:00,2 --> 00:00:00,9\nHi\n", encoding="utf-8")
    assert segments_of(clip).source == "talk.srt"


def test_subtitles_for_foreign_passages_only_are_passed_over(tmp_path):
    assert segments_of(with_subtitles(tmp_path / "talk.mkv", is_forced=True)).source == "whole clip"


def test_subtitles_without_a_word_are_passed_over(tmp_path):
    assert segments_of(with_subtitles(tmp_path / "talk.mkv", cues=())).source == "whole clip"


LATE = r"talk\.mkv at 5\.00 s: the utterance begins at 5 s, but .* ends at 2\.\d\d s"


def test_subtitles_beyond_the_end_of_the_pictures_are_refused_if_there_are_no_others(tmp_path):
    late = (5.0, 6.0, b"late")
    with pytest.raises(ConversationError, match=f"{LATE}, as all others do"):
        segments_of(with_subtitles(tmp_path / "talk.mkv", cues=(late,)))
    found = segments_of(with_subtitles(tmp_path / "talk.mkv", cues=(*CUES, late)))
    assert (len(found.segments), len(found.skipped)) == (3, 1)
    assert re.fullmatch(LATE, found.skipped[0])


def test_speakers_signs_and_drawings_of_substation(tmp_path):
    events = (
        (0.2, 0.9, rb"I know,\Nbut {\p1}m 0 0 l 9 9{\p0}no", "Default,Ines"),
        (1.0, 1.5, b"BAKERY", "Sign,"),
        (1.0, 1.9, rb"The car,\hthere", "Default,Bruno"),
    )
    found = segments_of(with_subtitles(tmp_path / "talk.mkv", "ass", events))
    assert [(s.speaker, s.text) for s in found.segments] == [("Ines", "I know, but no"), ("Bruno", "The car, there")]
    assert found.skipped == (
        "talk.mkv at 1.00 s is not said, by its style 'Sign': 'BAKERY'",
        r"talk.mkv at 0.20 s shows the drawing {\p1}m 0 0 l 9 9{\p0}, which is not said",
    )


def test_voices_of_webvtt(tmp_path):
    found = segments_of(
        with_subtitles(tmp_path / "talk.mkv", "webvtt", ((0.2, 0.9, b"<v Ann Lee>Hi</v> <v Bob>Ho</v>"),))
    )
    assert [(s.speaker, s.text) for s in found.segments] == [("Ann Lee", "Hi"), ("Bob", "Ho")]


@pytest.mark.parametrize(
    ("tracks", "read"),
    [
        ((("eng", "", 0), ("ger", "", 0)), "eng"),
        ((("eng", "", 0), ("ger", "", Disposition.default)), "ger"),
        ((("eng", "", Disposition.forced | Disposition.default), ("ger", "", 0)), "ger"),
        ((("eng", "Signs & Songs", Disposition.default), ("eng", "Dialogue", 0)), "eng, Dialogue"),
    ],
)
def test_of_several_tracks_the_default_one_is_read_and_the_others_are_named(tmp_path, tracks, read):
    found = segments_of(with_tracks(tmp_path / "talk.mkv", tracks))
    (note,) = found.notes
    assert note.startswith("talk.mkv has 2 streams of subtitles. Of them was read #")
    assert f"({read}, " in note.split(", not ")[0]
    assert [s.text for s in found.segments] == [f"Track {[t for t, _, _ in tracks].index(read[:3]) + (', ' in read)}"]


def test_tracks_that_are_not_read_are_named(tmp_path):
    found = segments_of(with_tracks(tmp_path / "talk.mkv", (("eng", "", Disposition.forced),)))
    note = "The subtitles inside talk.mkv were not read: #1 (eng, forced, srt). Expected text that is not partial."
    assert (found.source, found.notes) == ("whole clip", (note,))
