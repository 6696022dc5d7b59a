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
        ("00:03,0 --> 00:04,0", "BOB:", "says nothing but shows BOB:"),
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
        ("Note: go", [(None, "Note: go")]),
        ("[SPEAKER_00]: Hi", [("SPEAKER_00", "Hi")]),
        ("(speaker 1) Hi", [("speaker 1", "Hi")]),
        ("(Speaker_01)\nHi", [("Speaker_01", "Hi")]),
        ("(speaker ?) Hi", [(None, "Hi")]),
        (">>> JOHN (V.O.): Hi", [("JOHN", "Hi")]),
        ("&gt;&gt; Hi. &gt;&gt; Ho.", [(None, "Hi."), (None, "Ho.")]),
        ("- What? - Nothing!", [(None, "What?"), (None, "Nothing!")]),
        ("- What? / - Nothing!", [(None, "What?"), (None, "Nothing!")]),
        ("- well-known - yes", [(None, "well-known - yes")]),
        ("<v.first.loud Lee, Ann>Hi</v> <v Bob>Ho</v>", [("Lee, Ann", "Hi"), ("Bob", "Ho")]),
        ("- <v Ann>Hi: you</v>\n- <v Bob>Ho</v>", [("Ann", "Hi: you"), ("Bob", "Ho")]),
        ("<v Ann>Hi</v> all", [("Ann", "Hi"), (None, "all")]),
        ("{\\an8}{\\i1}Hi\\Nyou,\\hAnn{\\i0}", [(None, "Hi you, Ann")]),
        ("{c:$ff0000}Micro{/c} {y:i}DVD", [(None, "Micro DVD")]),
        ("Hi<br>you<br />too", [(None, "Hi you too")]),
        ("{\\p1}m 0 0 l 100 0{\\p0}Hi", [(None, "Hi")]),
        ("[door slams]\nANN: Hi [sighs] you", [("ANN", "Hi you")]),
        ("[Tom] Hi", [("Tom", "Hi")]),
        ("[Applause] Hi", [(None, "Hi")]),
        ("[Tom]\nHi", [("Tom", "Hi")]),
        ("ANN: Hi. BOB: Ho.", [("ANN", "Hi."), ("BOB", "Ho.")]),
        ("<v ->Hi", [(None, "Hi")]),
        ("\u202bأحمد: مرحبا\u202c", [("أحمد", "مرحبا")]),
        ("Subtitles by the Amara.org community", []),
        ("ANN: Subtitles by whom?", [("ANN", "Subtitles by whom?")]),
        ("（健）おはよう", [("健", "おはよう")]),
        ("张三：你好", [("张三", "你好")]),
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
        "00:00:01,000 --> ",
        "00:00:01,000 --> soon",
        "nan --> 00:00:05,000",
        "00:75:00,000 --> 01:00:00,000",
        "00:00:01:50 --> 00:00:02:50",  # frames of an unknown rate
        "00:00:0x,000 -> 00:00:05,000",
    ],
)
def test_cues_with_damaged_times_are_skipped_and_named_with_their_text(read, line, tmp_path):
    assert read(f"{SRT}\n3\n{line}\nHello\n") == PLAIN
    (skipped,) = segments_in(tmp_path / "talk.srt").skipped
    assert skipped.startswith(f"{tmp_path / 'talk.srt'}:11 is {line.strip()!r}, expected two times like 00:01:02,500")
    assert skipped.endswith("its text is 'Hello'")
    with pytest.raises(ConversationError, match=r"holds no utterance .*expected two times like 00:01:02,500 --> 00:01"):
        read(f"1\n{line}\nHello\n")


def test_cues_that_begin_before_the_clip_are_read_from_its_beginning(read, tmp_path):
    text = "1\n-00:00:01,000 --> 00:00:02,000\nHi\n\n2\n-00:00:03,000 --> -00:00:02,000\nHo\n"
    assert read(text) == [(0.0, 2.0, None, "Hi")]
    found = segments_in(tmp_path / "talk.srt")
    assert found.skipped == (f"{tmp_path}/talk.srt:6 begins at -3 s and ends at -2 s, before the clip begins",)
    assert found.notes == (f"{tmp_path}/talk.srt:2 begins at -1 s and was read from 0 s on.",)


ARROWS = ("->", "–>", "—>", "—", "→", "⇒", "-- >", "--&gt;", "--->", "==>", "~>", ">>", ">", "-", "to", "", "－－＞")


@pytest.mark.parametrize("arrow", ARROWS)
def test_other_arrows_than_the_usual_one(read, arrow):
    text = f"1\n00:00:01,000 {arrow} 00:00:02,500\nHi\n\n2\n00:00:03,000 --> 00:00:04,000\nHo\n"
    assert read(text) == [(1.0, 2.5, None, "Hi"), (3.0, 4.0, None, "Ho")]
    assert read(text.replace(f" {arrow} ", arrow or "  "))[0] == (1.0, 2.5, None, "Hi") or arrow == "to"


@pytest.mark.parametrize(
    "times",
    [
        "00: 00: 01, 000 -> 00: 00: 02, 500",  # translated by machine
        "００：００：０１，０００ --> ００：００：０２，５００",
        "00:00:01:000 --> 00:00:02:500",
        "[00:01.000 --> 00:02.500]",  # printed by Whisper
        "1 00:00:01.000 --> 00:00:02.500",
        "00:00:01,000 --> 00:00:02,500 X1:40 X2:600 Y1:20 Y2:50",
        "00:00:01.000,00:00:02.500",  # SubViewer
        "1.0 --> 2.5",
    ],
)
def test_other_ways_to_write_times(read, times):
    assert read(f"{times}\nHi\n") == [(1.0, 2.5, None, "Hi")]


@pytest.mark.parametrize("text", ["open 10:30 -> 11:30", "10:30 - 11:30", "see -> that", "2 -> 3", "12:30 --", "1, 2"])
def test_arrows_and_times_in_a_text_are_text(read, text):
    assert read(f"1\n00:01,0 --> 00:02,0\n{text}\n") == [(1.0, 2.0, None, text)]


def test_text_behind_the_times_is_text(read):
    assert read("[00:00.000 --> 00:02.500]  [SPEAKER_01]: Hi: you.\n[00:02.500 --> 00:04.000]  Ho.\n", "talk.txt") == [
        (0.0, 2.5, "SPEAKER_01", "Hi: you."),
        (2.5, 4.0, None, "Ho."),
    ]


def test_a_line_with_a_blank_does_not_end_a_cue_of_webvtt_and_an_empty_one_does(read, tmp_path):
    text = (
        "WEBVTT\n\n00:01.000 --> 00:02.000\nI am fine\n \n(but not really)\n\n00:03.000 --> 00:04.000\n \nYes\n\nLost\n"
    )
    assert read(text, "talk.vtt") == [(1.0, 2.0, None, "I am fine (but not really)"), (3.0, 4.0, None, "Yes")]
    lost = f"{tmp_path}/talk.vtt:12 is in no cue, because an empty line ends one: 'Lost'"
    assert segments_in(tmp_path / "talk.vtt").skipped == (lost,)


def test_cues_of_webvtt_with_blanks_between_them(read):
    text = "WEBVTT\n \n1\n00:01.000 --> 00:02.000\nHi\n \n2\n00:03.000 --> 00:04.000\nHo\n"
    assert read(text, "talk.vtt") == [(1.0, 2.0, None, "Hi"), (3.0, 4.0, None, "Ho")]


def test_times_that_are_mapped_to_those_of_a_broadcast(read, tmp_path):
    parts = [
        f"WEBVTT\nX-TIMESTAMP-MAP=LOCAL:00:00:00.0,MPEGTS:{900_000 + 540_000 * n}\n\n00:01.000 --> 00:02.000\n{word}\n"
        for n, word in enumerate(("Hi", "Ho"))
    ]
    assert read("\n".join(parts), "talk.vtt") == [(1.0, 2.0, None, "Hi"), (7.0, 8.0, None, "Ho")]
    (note,) = segments_in(tmp_path / "talk.vtt").notes
    assert note.startswith(f"{tmp_path}/talk.vtt:2 maps its times to those of a broadcast.")


@pytest.mark.parametrize("name", ["talk.txt", "talk.vtt", "talk.ass", "talk.rttm"])
def test_srt_with_any_suffix(read, name):
    assert read(SRT, name) == PLAIN


def test_a_format_that_the_suffix_does_not_say_is_noted(read, tmp_path):
    read(SRT, "talk.txt")
    assert segments_in(tmp_path / "talk.txt").notes == (f"{tmp_path}/talk.txt was read as SRT, which its content is.",)


def test_subviewer(read, tmp_path):
    assert read("0:00:01.000,0:00:02.500\nHi\n\n0:00:03.000,0:00:04.000\n>> ANN: Ho\n", "talk.sbv") == [
        (1.0, 2.5, None, "Hi"),
        (3.0, 4.0, "ANN", "Ho"),
    ]
    assert segments_in(tmp_path / "talk.sbv").notes == ()


@pytest.mark.parametrize("first", ["", "\n"])
def test_double_spacing(read, first):
    assert read(first + SRT.replace("\n", "\n\n")) == PLAIN
    assert [said[:2] for said in read(VTT.replace("\n", "\n\n"), "talk.vtt")] == [
        said[:2] for said in read(VTT, "b.vtt")
    ]


def test_numbers_are_text_where_cues_have_none(read):
    text = "00:01,0 --> 00:02,0\nHow many?\n\n00:03,0 --> 00:04,0\n42\n\n00:05,0 --> 00:06,0\nOk\n"
    assert [said[3] for said in read(text)] == ["How many?", "42", "Ok"]


def test_text_before_the_first_times_is_named(read, tmp_path):
    assert read(f"Translated by me\n\n{SRT}") == PLAIN
    assert segments_in(tmp_path / "talk.srt").skipped == (f"{tmp_path}/talk.srt:1 has no times: 'Translated by me'",)


def test_transcripts_that_teams_saves_as_documents(read):
    text = "0:0:0.0 --> 0:0:2.310\nAnn Lee\nHello.\n\n0:0:2.310 --> 0:0:5.10\nRay, Bob\nHi: you.\nSo?\n"
    assert read(text, "talk.txt") == [(0.0, 2.31, "Ann Lee", "Hello."), (2.31, 5.1, "Ray, Bob", "Hi: you. So?")]


def test_an_arrow_in_a_text_is_text(read):
    assert read("1\n00:01,0 --> 00:02,0\ngo --> there\n")[0][3] == "go --> there"


def test_as_many_utterances_as_are_allowed_are_read_and_more_are_refused(read):
    cues = [
        f"{n}\n{n // 3600:02d}:{n // 60 % 60:02d}:{n % 60:02d},0 --> 99:00:00,0\nBOB: {n}\n"
        for n in range(MAX_SEGMENTS)
    ]
    began = time.process_time()
    assert len(read("\n".join(cues))) == MAX_SEGMENTS
    assert time.process_time() - began < 10
    with pytest.raises(ConversationError, match=r"talk\.srt:40002 on there are more than 10,000 utterances"):
        read("\n".join([*cues, cues[-1].replace("BOB: ", "BOB: and ")]))


def test_cues_without_end_are_refused_soon(read):
    began = time.process_time()
    with pytest.raises(ConversationError, match=r"talk\.srt:100001: there are more than 50,000 cues"):
        read("0:1 --> 0:2\n\n" * 50_001)
    assert time.process_time() - began < 10


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
