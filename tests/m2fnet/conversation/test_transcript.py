"""Tables of segments, RTTM files and plain transcripts: what is read, and what is refused with line and column."""

import math
import os
import signal
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from m2fnet.conversation.reading import MAX_BYTES
from m2fnet.conversation.segments import read_segments, segments_in
from m2fnet.errors import ConversationError


@pytest.fixture
def read(tmp_path):
    """``read(text, name)`` gives (start, end, speaker, text) of each segment of a file that holds ``text``."""

    def call(text, name="talk.csv", clip=None):
        (tmp_path / name).write_text(text, encoding="utf-8")
        return [(s.start_s, s.end_s, s.speaker, s.text) for s in read_segments(tmp_path / name, clip)]

    return call


@pytest.fixture
def refusal(read):
    def call(*given):
        with pytest.raises(ConversationError) as caught:
            read(*given)
        return str(caught.value)

    return call


def test_a_table_with_times(read):
    table = 'Speaker,start_s,mood,End,text\nAnn,1:02.5,x,1:04,"Well, no."\n\nBob,3,y,"4,5",\n,1:00:00,z,1:00:01,Yes\n'
    assert read(table) == [
        (3.0, 4.5, "Bob", None),
        (62.5, 64.0, "Ann", "Well, no."),
        (3600.0, 3601.0, None, "Yes"),
    ]


@pytest.mark.parametrize("delimiter", [";", "\t"])
def test_other_delimiters(read, delimiter):
    assert read(delimiter.join(["start", "end"]) + "\n" + delimiter.join(["0", "1,5"])) == [(0.0, 1.5, None, None)]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", b"Start Time,End Time,Speaker,Text\n0,1,Ann,Hi\n"),
        ("a.csv", b"sep=;\r\nBegin;End;Who;Utterance\r\n0,0;1,0;Ann;Hi\r\n"),
        ("a.CSV", "start,end,speaker,text,,\n0,1,Ann,Hi,,\n,,,,,\n".encode("utf-16")),
        ("a.tsv", b"\n\nonset\toffset\tspeaker_id\ttranscript\n00:00:00,000\t00:00:01,000\tAnn\tHi\n"),
    ],
)
def test_tables_of_spreadsheets_and_other_projects_are_read_as_prepare_reads_them(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    (segment,) = read_segments(tmp_path / name)
    assert (segment.start_s, segment.end_s, segment.speaker, segment.text) == (0.0, 1.0, "Ann", "Hi")


@pytest.mark.parametrize("word", ["NaN", "None", "<NA>"])
def test_a_word_for_nothing_is_no_speaker(read, word):
    assert read(f"start,end,speaker,text\n0,1,{word},{word}\n") == [(0.0, 1.0, None, word)]


@pytest.mark.parametrize(
    ("name", "table"),
    [
        ("whisper.tsv", "start\tend\ttext\n500\t2500\tHello there.\n2500\t5250\tHow are you?\n"),
        ("a.csv", "start_ms,end_ms,text\n500,2500,Hello there.\n2500,5250,How are you?\n"),
        ("b.csv", "Start (ms);End (ms);text\n500;2500;Hello there.\n2500;5250;How are you?\n"),
        ("c.csv", "Start,Duration,Text\n0.5,2,Hello there.\n2.5,2.75,How are you?\n"),
        ("nemo.csv", "offset,duration,text\n0.5,2,Hello there.\n2.5,2.75,How are you?\n"),
        ("d.tsv", "Text\tDuration (s)\tOffset\nHello there.\t2\t0.5\nHow are you?\t2,75\t2,5\n"),
        ("e.csv", "onset,offset,text\n0.5,2.5,Hello there.\n2.5,5.25,How are you?\n"),
        ("f.csv", "onset,offset,duration,text\n0.5,2.5,2,Hello there.\n2.5,5.25,2.75,How are you?\n"),
    ],
)
def test_milliseconds_and_durations(read, name, table):
    assert read(table, name) == [(0.5, 2.5, None, "Hello there."), (2.5, 5.25, None, "How are you?")]


def test_whole_seconds_are_seconds(read):
    assert read("start,end,text\n0,20,Hello there.\n20,40,\n") == [
        (0.0, 20.0, None, "Hello there."), (20.0, 40.0, None, None),
    ]  # fmt: skip


def test_what_is_not_read_in_a_table_or_may_be_no_word_is_noted(tmp_path):
    (tmp_path / "talk.csv").write_text("start,end,text,Name,,start_frame\n0,1,NaN,Ann,,2\n")
    unread, word = segments_in(tmp_path / "talk.csv").notes
    assert unread.endswith("talk.csv: not read, as their headings mean nothing here: Name, start_frame.")
    assert "talk.csv:2: a text like NaN was read as a word." in word


def test_a_table_without_times_is_a_transcript_in_its_own_order(read):
    assert read("text,speaker\nHi,Bob\nHi,Ann\n") == [(None, None, "Bob", "Hi"), (None, None, "Ann", "Hi")]


def test_a_plain_transcript(read):
    text = "Ann: Hello: you?\n\nperson 2: I said 12:30.\nAnd then she left.\n"
    assert read(text, "talk.txt") == [
        (None, None, "Ann", "Hello: you?"),
        (None, None, "person 2", "I said 12:30."),
        (None, None, None, "And then she left."),
    ]


def test_a_speaker_who_says_nothing_is_skipped_and_named(read, refusal, tmp_path):
    assert read("Ann: Hi\nBob:\n", "talk.txt") == [(None, None, "Ann", "Hi")]
    assert segments_in(tmp_path / "talk.txt").skipped == (f"{tmp_path}/talk.txt:2 says nothing",)
    assert f"talk.txt holds no utterance ({tmp_path}/talk.txt:1 says nothing)." in refusal("Bob:\n", "talk.txt")


def test_segments_say_where_they_come_from(read, tmp_path):
    read('start,end,text\n0,1,"two\nlines"\n2,3,Hi\n')
    assert [s.source for s in read_segments(tmp_path / "talk.csv")] == [f"{tmp_path}/talk.csv:{n}" for n in (2, 4)]


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (
            "start,end\nsoon,2\n",
            "talk.csv:2, column start: 'soon' is not a time, expected seconds like 12.5 or 0:12.5.",
        ),
        ("start,end\n0,1\n1,nan\n", "talk.csv:3, column end: 'nan' is not a time"),
        ("start,end\n0,inf\n", "column end: 'inf' is not a time"),
        ("start,end\n-1,2\n", "column start: '-1' is not a time"),
        ("start,end\n1:75,2:00\n", "column start: '1:75' is not a time"),
        ("start,end\n,2\n", "column start: '' is not a time"),
        ("start,end,text\n0,1,Hi\n,,Hi\n", "talk.csv:3: the utterance has no times, but others have."),
        ("start,end,text\n,,Hi\n0,1,Hi\n", "talk.csv:2: the utterance has no times, but others have."),
        ("start,end,speaker\n,,Ann\n", "talk.csv:2, column text: it is empty"),
        (
            "start,end\n3,2\n",
            "talk.csv:2: the utterance begins at 3 s and ends at 2 s, expected an end after the start.",
        ),
        ("start,text\n0,Hi\n", "talk.csv:1 has the columns 'start,text'. Expected a first line like start,end,speaker"),
        ("speaker\nAnn\n", "talk.csv:1 has the columns 'speaker'."),
        ("0,1,Ann,Hi\n", "talk.csv:1 has the columns '0, 1, Ann, Hi'."),
        ("text,Text\nHi,Hi\n", "talk.csv:1 names the column text twice ('text' and 'Text');"),
        ("start,start_s,end\n0,0,1\n", "talk.csv:1 names the column start twice ('start' and 'start_s');"),
        ("speaker,text\nAnn,\n", "talk.csv:2, column text: it is empty, expected what was said."),
        ("start,end,text\n0,1,Well, no\n", "talk.csv:2 has 4 cells, expected 3 as in the first line."),
        ('text\n"Hi\n', "talk.csv:2 is not valid CSV: unexpected end of data."),
        ("text\n" + "a" * 200_000, "talk.csv:2 is not valid CSV: field larger than field limit (131072)."),
        ("text\n", "talk.csv holds no utterance."),
        (" \n", "talk.csv is empty, expected the utterances of a conversation."),
        ("text\nHi\nyou\0\n", "talk.csv:3 holds a NUL byte, expected text."),
    ],
)
def test_tables_that_are_refused(refusal, table, message):
    assert message.replace("'start,text'", "'start, text'") in refusal(table)


RTTM = """;; a comment
SPKR-INFO talk 1 <NA> <NA> <NA> unknown ann <NA> <NA>
SPEAKER talk 1 2.50 1.25 <NA> <NA> ann <NA> <NA>
SPEAKER talk 1 0 2 <NA> <NA> <NA> <NA>
"""


def test_rttm(read):
    assert read(RTTM, "x.rttm") == [(0.0, 2.0, None, None), (2.5, 3.75, "ann", None)]


def test_rttm_of_several_files(read, refusal):
    several = RTTM + RTTM.replace(" talk ", " walk ").replace(" 2.50 ", " 7.50 ")
    assert read(several, "x.rttm", "walk")[1] == (7.5, 8.75, "ann", None)
    assert "x.rttm is about 2 files (talk, walk), none of them 'other'." in refusal(several, "x.rttm", "other")
    assert "none of them None. Name the clip like one of them" in refusal(several, "x.rttm")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (
            "SPEAKER talk 1 0 1",
            "x.rttm:5 is 'SPEAKER talk 1 0 1', expected fields as in `SPEAKER clip 1 12.50 1.75 <NA>",
        ),
        ("SPEAKER talk 1 0 1 a b c d e f", "x.rttm:5 is 'SPEAKER talk 1 0 1 a b c d e f', expected fields as in"),
        ("SPEAKER talk 1 nan 1 <NA> <NA> ann", "x.rttm:5 begins at 'nan' and lasts '1', expected seconds like 12.50"),
        ("SPEAKER talk 1 0 inf <NA> <NA> ann", "x.rttm:5 begins at '0' and lasts 'inf', expected seconds like 12.50"),
        ("SPEAKER talk 1 0 -1 <NA> <NA> ann", "x.rttm:5 begins at 0 s and lasts -1 s"),
        ("SPEAKER talk 1 7 0 <NA> <NA> ann", "x.rttm:5 begins at 7 s and lasts 0 s"),
        ("SPEAKER talk 1 -3 1 <NA> <NA> ann", "x.rttm:5 begins at -3 s and lasts 1 s"),
        ("talk 0.1 1.3 ann", "x.rttm:5 is 'talk 0.1 1.3 ann', expected a line that begins with SPEAKER"),
    ],
)
def test_rttm_lines_that_are_skipped_and_named(read, refusal, tmp_path, line, message):
    assert len(read(RTTM + line, "x.rttm")) == 2
    (skipped,) = segments_in(tmp_path / "x.rttm").skipped
    assert message in skipped
    assert message.replace("rttm:5", "rttm:1") in refusal(line, "x.rttm")


@pytest.mark.parametrize(
    "line",
    [
        "SPEAKER talk 1   0.100   1.200 <NA> <NA> speaker_0 <NA> <NA>",  # NeMo
        "SPEAKER talk 0 0.10 1.20 <NA> <NA> speaker_0 <NA>",  # nine fields, channel 0
        "SPEAKER\ttalk\t1\t0.10\t1.20\t<NA>\t<NA>\tspeaker_0",
        "SPEAKER talk 1 0,10 1,20 <NA> <NA> speaker_0 <NA> <NA>",
        "speaker talk 1 0.1 1.2 <na> <na> speaker_0 0.95 <na>",
        "SPEAKER talk 1 0.1 1.2 <NA> adult_male speaker_0 <NA>",
        "SPEAKER talk 1 0.1 1.2 <NA> <NA> speaker_0 <NA> <NA> <NA> more",
        "SPEAKER talk <NA> 1e-1 1.2 <NA> <NA> speaker_0 <NA> <NA>",
        "  SPEAKER talk 1 0.1 1.2 <NA> <NA> speaker_0 <NA> <NA>  \n\n# comment\nLEXEME talk 1 0 1 hi lex ann <NA>",
    ],
)
def test_rttm_as_tools_write_it(read, tmp_path, line):
    ((start, end, speaker, text),) = read(line, "talk.rttm", "talk")
    assert (start, pytest.approx(end), speaker, text) == (0.1, 1.3, "speaker_0", None)
    assert (segments_in(tmp_path / "talk.rttm", "talk").skipped, segments_in(tmp_path / "talk.rttm").notes) == ((), ())


@pytest.mark.parametrize("blank", [" ", "\t"])
def test_rttm_of_names_with_blanks(read, blank):
    line = blank.join(["SPEAKER", "my talk 2", "1", "0.10", "1.20", "<NA>", "<NA>", "Ann Lee 3", "<NA>", "<NA>"])
    assert read(line, "x.rttm", "my talk 2") == [(0.1, pytest.approx(1.3), "Ann Lee 3", None)]
    others = line.replace("talk 2", "talk 3").replace("0.10", "7.10")
    assert read(f"{others}\n{line}", "x.rttm", "my talk 2")[0][0] == 0.1


def test_rttm_that_begins_before_the_clip(read, tmp_path):
    assert read("SPEAKER talk 1 -0.5 2 <NA> <NA> ann <NA> <NA>", "x.rttm") == [(0.0, 1.5, "ann", None)]
    assert segments_in(tmp_path / "x.rttm").notes == (
        f"{tmp_path}/x.rttm:1 begins at -0.5 s and was read from 0 s on.",
    )


@pytest.mark.parametrize("name", ["walk", "walk.wav", "/data/Walk.WAV", "WALK"])
def test_rttm_names_the_clip_in_many_ways(read, name):
    several = RTTM + RTTM.replace(" talk ", f" {name} ").replace(" 2.50 ", " 7.50 ")
    assert read(several, "x.rttm", "walk")[1] == (7.5, 8.75, "ann", None)


def test_rttm_about_another_name_is_noted(read, tmp_path):
    read("SPEAKER waveform 1 0 1 <NA> <NA> ann <NA> <NA>", "talk.rttm")
    note = f"{tmp_path}/talk.rttm is about 'waveform', and was read as that of 'talk'."
    assert segments_in(tmp_path / "talk.rttm", "talk").notes == (note,)


def test_other_formats_are_refused_by_suffix(refusal):
    assert "has the suffix '.words', expected one of .srt, .vtt, .ass, .ssa, .sbv, .rttm, .csv, .tsv, .txt" in refusal(
        "Ann: Hi", "talk.words"
    )


def test_what_is_no_small_file_is_refused(tmp_path):
    with pytest.raises(ConversationError, match=r"Cannot read .*none\.srt: No such file or directory\. Check the path"):
        read_segments(tmp_path / "none.srt")
    with pytest.raises(ConversationError, match="is not a plain file, expected a file of segments"):
        read_segments(tmp_path)
    os.mkfifo(tmp_path / "pipe.srt")
    signal.alarm(10)  # ends the tests where it would hang
    with pytest.raises(ConversationError, match="is not a plain file"):
        read_segments(tmp_path / "pipe.srt")
    signal.alarm(0)
    with (tmp_path / "huge.srt").open("wb") as file:
        file.truncate(MAX_BYTES + 1)
    with pytest.raises(ConversationError, match=r"huge\.srt is larger than 10 MiB"):
        read_segments(tmp_path / "huge.srt")


GOOD = {
    "a.srt": b"1\n00:00:01,000 --> 00:00:02,500\n- ANN: Hi <i>you</i>\n- Who?\n\n2\n00:03,0 --> 00:04,0\nMe\n",
    "a.vtt": b"WEBVTT\n\nNOTE x\n\n00:01.000 --> 00:02.500 align:start\n<v Ann>Hi &amp; bye\n",
    "a.csv": b'start,end,speaker,text\n0,1:02.5,Ann,"Well, no"\n2;3\n',
    "a.rttm": b"SPEAKER talk 1 0.5 1 <NA> <NA> ann <NA> <NA>\n",
    "a.txt": b"Ann: Hello\nBob: Bye\n",
    "b.txt": b"Ann Lee  0:03\nHello.\n\nBob [0:07]: Hi\n0:09\nYes\n",
    "c.txt": b"12.03.24, 10:15 - Ann: Hello\n12.03.24, 10:16 - Bob: <x>\nBye\n",
    "b.srt": "1\n0:1,0 --> 0:2,0\nGrüß Gott\n\n0:2,0 -> 0:3,0\nGrüß Gott\nAnn: (lacht) Já!\n".encode("cp1252"),
    "c.srt": "1\n0:1,0 --> 0:2,0\n你好。\n".encode("utf-16-le"),
    "a.ass": b"[Events]\nFormat: Start, End, Name, Text\nDialogue: 0:00:01.0,0:00:02.0,Ann,{\\p1}m{\\p0}Hi, you\n",
}


@given(
    name=st.sampled_from(sorted(GOOD)),
    edits=st.lists(st.tuples(st.integers(0, 120), st.integers(0, 3), st.binary(max_size=8)), max_size=4),
)
def test_damaged_files_give_sound_segments_or_an_error_that_names_the_file(tmp_path_factory, name, edits):
    content = bytearray(GOOD[name])
    for place, removed, inserted in edits:
        content[place : place + removed] = inserted
    path = tmp_path_factory.getbasetemp() / name
    path.write_bytes(content)
    try:
        segments, message = read_segments(path), str(path)
    except ConversationError as problem:
        segments, message = (), str(problem)
    assert str(path) in message
    for segment in segments:
        assert segment.start_s is None or 0 <= segment.start_s < segment.end_s < math.inf
        for text in (segment.speaker, segment.text):
            assert text is None or (text and text == " ".join(text.split()))
            assert not any(unicodedata.category(letter) in ("Cc", "Cs") for letter in text or "")
