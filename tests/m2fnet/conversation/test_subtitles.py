"""SRT and WebVTT as they are found: who says what, when; and what is refused, with its line."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from m2fnet.conversation.cue_text import spoken
from m2fnet.conversation.segments import MAX_SEGMENTS, MAX_TEXT, read_segments, segments_in
from m2fnet.errors import ConversationError

SRT = """1
00:00:01,000 --> 00:00:02,500
Could you <i>be</i> any later?

2
00:00:03,000 --> 00:00:05,000
{\\an8}ANN: I know,
I know.
"""

VTT = """WEBVTT - a title

STYLE
::cue { color: red }

REGION
id:bill

NOTE not a cue
of two lines

intro
00:01.000 --> 00:02.500 align:start position:10%
<v.loud Ann>Hi &amp; <c.red>welcome</c> <00:02.000>back</v>

NOTE between

01:00:03.000 --> 01:00:05.000
<v Ann>You?
<v Bob Lee>Me.
"""


@pytest.fixture
def read(tmp_path):
    """``read(text, name)`` gives (start, end, speaker, text) of each segment of a file that holds ``text``."""

    def call(text, name="talk.srt", encoding="utf-8"):
        (tmp_path / name).write_bytes(text.encode(encoding))
        return [(s.start_s, s.end_s, s.speaker, s.text) for s in read_segments(tmp_path / name)]

    return call


PLAIN = [(1.0, 2.5, None, "Could you be any later?"), (3.0, 5.0, "ANN", "I know, I know.")]


def test_srt(read):
    assert read(SRT) == PLAIN


def test_vtt_without_notes_styles_regions_names_and_settings(read):
    middle = pytest.approx(3603 + 2 * 4 / 7)  # "You?" has four of seven letters
    assert read(VTT, "talk.vtt") == [
        (1.0, 2.5, "Ann", "Hi & welcome back"),
        (3603.0, middle, "Ann", "You?"),
        (middle, pytest.approx(3605.0), "Bob Lee", "Me."),
    ]


def test_vtt_is_known_by_its_first_line(read):
    assert read(VTT, "talk.srt") == read(VTT, "talk.vtt")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r", "\r\r\n"])
def test_encodings_and_line_ends(read, encoding, line_end):
    text = SRT.replace("later", "läter…").replace("\n", line_end)
    assert read(text, encoding=encoding)[0][3] == "Could you be any läter…?"
    assert read(text, encoding=encoding)[1] == PLAIN[1]


def test_big_endian_utf16_with_a_mark(read, tmp_path):
    (tmp_path / "talk.srt").write_bytes(b"\xfe\xff" + SRT.encode("utf-16-be"))
    assert [s.speaker for s in read_segments(tmp_path / "talk.srt")] == [None, "ANN"]


def test_single_bytes_that_are_no_utf8_leave_the_rest_as_it_is(read, tmp_path):
    (tmp_path / "talk.srt").write_bytes(SRT.replace("later", "läter").encode().rstrip() + b"\x85\n")
    assert [s.text for s in read_segments(tmp_path / "talk.srt")] == ["Could you be any läter?", "I know, I know.…"]


def test_cues_without_numbers_blank_lines_or_in_another_order(read):
    unsorted = "0:05,5 --> 0:06\nlast\n00:01.000 --> 00:02.000\nfirst\n\nstill first\n00:02.000-->00:07.000\nmiddle\n"
    assert read(unsorted) == [
        (1.0, 2.0, None, "first still first"),
        (2.0, 7.0, None, "middle"),
        (5.5, 6.0, None, "last"),
    ]


def test_a_number_that_is_said_is_kept(read):
    text = "1\n00:01,0 --> 00:02,0\n- How many?\n- 42\n\n2\n00:03,0 --> 00:04,0\n42\n"
    assert [said[3] for said in read(text)] == ["How many?", "42", "42"]


@pytest.mark.parametrize(
    ("times", "text", "message"),
    [
        ("00:03,0 --> 00:04,0", "", "says nothing"),
        ("00:03,0 --> 00:04,0", "<i> </i>", "says nothing"),
        ("00:03,0 --> 00:04,0", "BOB:", "says nothing"),
        ("00:03,0 --> 00:03,0", "Hi", "begins at 3 s and ends at 3 s"),
        ("00:03,0 --> 00:02,5", "- ANN: Hi\n- Who?", "begins at 3 s and ends at 2.5 s"),
    ],
)
def test_cues_that_are_not_utterances_are_skipped_and_named(read, tmp_path, times, text, message):
    cue = f"3\n{times}\n{text}\n"
    assert read(f"{SRT}\n{cue}\n4\n00:07,0 --> 00:08,0\nBye\n") == [*PLAIN, (7.0, 8.0, None, "Bye")]
    assert segments_in(tmp_path / "talk.srt").skipped == (f"{tmp_path}/talk.srt:11 {message}",)
    with pytest.raises(ConversationError, match=rf"talk\.srt holds no utterance \(.*talk\.srt:2 {message}\)\. Check"):
        read(cue)


def test_too_many_cues_that_are_not_utterances_are_refused(read):
    with pytest.raises(
        ConversationError, match=r"more than 10,000 cues are not utterances: .*talk\.srt:10001 says nothing"
    ):
        read("0:1 --> 0:2\n" * (MAX_SEGMENTS + 5))


@pytest.mark.parametrize(
    ("cue", "utterances"),
    [
        ("- You did?\n- I did.", [(None, "You did?"), (None, "I did.")]),
        ("-You did?\n–I did,\nreally.", [(None, "You did?"), (None, "I did, really.")]),
        (">> ANN: Hello.\n>> Hi.", [("ANN", "Hello."), (None, "Hi.")]),
        ("- ANN: Hello.\n- DR. LEE: Hi.", [("ANN", "Hello."), ("DR. LEE", "Hi.")]),
        ("ANN: Hello.\nMAN 2: Hi.", [("ANN", "Hello."), ("MAN 2", "Hi.")]),
        ("ANN:\nHello.", [("ANN", "Hello.")]),
        ("ANN:", []),
        ("<b>Ann:</b> Hello.", [("Ann", "Hello.")]),
        ("<v Ann>- Hello.", [("Ann", "Hello.")]),
        ("-5 degrees", [(None, "-5 degrees")]),
        ("one thing: go", [(None, "one thing: go")]),
        ("at 12:30 sharp", [(None, "at 12:30 sharp")]),
        ("3 < 4 and 5 > 4", [(None, "3 < 4 and 5 > 4")]),
        ("<i>a</i><font color='x'>b</font><U>c</U>", [(None, "abc")]),
        ("<script>alert(1)</script>", [(None, "<script>alert(1)</script>")]),
        ("&lt;img src=x onerror=alert(1)&gt;", [(None, "<img src=x onerror=alert(1)>")]),
        ("a\x07\x1b[31mb\u202ec&#27;", [(None, "a[31mbc")]),
        ("\u200e", [(None, "\u200e")]),
        ("", []),
        ("-", [(None, "-")]),
        ("&#" + "1" * 5000 + ";", [(None, "\ufffd;")]),
    ],
)
def test_who_says_what_in_a_cue(cue, utterances):
    assert list(spoken(cue).utterances) == utterances


@given(st.text(alphabet="<>v/i {}\\-:&;Aa1\n\x00", max_size=60))
def test_no_cue_text_is_a_failure(payload):
    for speaker, text in spoken(payload).utterances:
        assert text == " ".join(text.split()) != ""
        assert speaker is None or speaker == " ".join(speaker.split()) != ""


@pytest.mark.parametrize(
    "line",
    [
        "00:00:0x,000 --> 00:00:05,000",
        "-00:00:01,000 --> 00:00:05,000",
        "00:00:01,000 --> ",
        "00:00:01,000 --> soon",
        "nan --> 00:00:05,000",
        "00:75:00,000 --> 01:00:00,000",
        "00:00:01:500 --> 00:00:02:500",
    ],
)
def test_damaged_times_are_refused_with_their_line(read, line, tmp_path):
    with pytest.raises(ConversationError) as caught:
        read(f"{SRT}\n3\n{line}\nHello\n")
    assert f"{tmp_path / 'talk.srt'}:11 is {line.strip()!r}" in str(caught.value)
    assert "expected two times like 00:01:02,500 --> 00:01:04,000" in str(caught.value)


def test_an_arrow_in_a_text_is_text(read):
    assert read("1\n00:01,0 --> 00:02,0\ngo --> there\n")[0][3] == "go --> there"


def test_as_many_utterances_as_are_allowed_are_read_and_more_are_refused(read):
    cues = [
        f"{n}\n{n // 3600:02d}:{n // 60 % 60:02d}:{n % 60:02d},0 --> 99:00:00,0\nBOB: {n}\n"
        for n in range(MAX_SEGMENTS)
    ]
    began = time.process_time()
    assert len(read("\n".join(cues))) == MAX_SEGMENTS
    assert time.process_time() - began < 5
    with pytest.raises(ConversationError, match=r"talk\.srt:40002 on there are more than 10,000 utterances"):
        read("\n".join([*cues, cues[-1]]))


@pytest.mark.parametrize("payload", ["a" * (MAX_TEXT + 1), "a " * MAX_TEXT, "<v " + "n" * (MAX_TEXT + 1) + ">a"])
def test_a_text_that_is_too_long_is_refused(read, payload):
    with pytest.raises(ConversationError, match=r"talk\.srt:2: the (text|speaker's name) has 1\d,\d{3} characters"):
        read(f"1\n00:00:01,0 --> 00:00:02,0\n{payload}\n")


@pytest.mark.parametrize(
    "unit", ["<v ", "<", "{\\", "<v" + " " * 40_000, "- ", "A", "1 ", "\n", "&lt;", "00:00:01,0 -", ">>", "A: "]
)
def test_hostile_texts_take_linear_time(read, unit):
    began = time.process_time()
    with pytest.raises(ConversationError):
        read("1\n00:00:01,0 --> 00:00:02,0\n" + unit * (200_000 // len(unit)) + "x" * MAX_TEXT + "x\n")
    assert time.process_time() - began < 5
