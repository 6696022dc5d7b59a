"""Text subtitles inside a clip, in the containers that carry them."""

import runpy
from pathlib import Path

import av
import pytest

from m2fnet.conversation.segments import segments_of

MEDIA = runpy.run_path(str(Path(__file__).parents[1] / "media" / "tiny_media.py"))
SRT = "1\n00:00:00,200 --> 00:00:00,900\n- ANN: Hi <i>you</i>\n- Who?\n\n2\n00:00:01,000 --> 00:00:09,000\n3 &lt; 4\n"


def with_subtitles(path, text=SRT, codec=None, forced=False):
    """A clip of two seconds with a picture, sound, and ``text`` inside, as it is or coded anew."""
    source = path.with_name("source.srt")
    source.write_text(text, encoding="utf-8")
    clip = MEDIA["write_clip"](path.with_name("plain.mkv"))
    with av.open(str(clip)) as media, av.open(str(source)) as words, av.open(str(path), "w") as out:
        streams = {stream.index: out.add_stream_from_template(stream) for stream in media.streams}
        track = out.add_stream_from_template(words.streams.subtitles[0])
        if forced:
            track.disposition = av.stream.Disposition.forced
        for packet in words.demux():
            if packet.dts is not None:
                packet.stream = track
                out.mux(packet)
        for packet in media.demux():
            if packet.dts is not None:
                packet.stream = streams[packet.stream.index]
                out.mux(packet)
    return path


def test_subtitles_inside_the_clip_are_its_turns(tmp_path):
    found = segments_of(with_subtitles(tmp_path / "talk.mkv"))
    assert found.source == "subtitles inside the clip"
    assert [(s.speaker, s.text) for s in found.segments] == [("ANN", "Hi you"), (None, "Who?"), (None, "3 < 4")]
    times = [time for s in found.segments for time in (s.start_s, s.end_s)]
    assert times == pytest.approx([0.2, 0.62, 0.62, 0.9, 1.0, 2.0], abs=0.05)


def test_subtitles_beside_the_clip_come_first(tmp_path):
    clip = with_subtitles(tmp_path / "talk.mkv")
    (tmp_path / "talk.srt").write_text(SRT, encoding="utf-8")
    assert segments_of(clip).source == "talk.srt"


def test_subtitles_for_foreign_passages_alone_are_passed_over(tmp_path):
    assert segments_of(with_subtitles(tmp_path / "talk.mkv", forced=True)).source == "whole clip"
