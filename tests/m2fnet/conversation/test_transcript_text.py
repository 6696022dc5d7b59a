"""Transcripts as plain text: exports of meetings with times, of chats with dates, and one utterance per line."""

import pytest

from m2fnet.conversation.segments import segments_in
from m2fnet.errors import ConversationError


@pytest.fixture
def read(tmp_path):
    """``read(text)`` gives (start, end, speaker, text) of each segment, what was skipped, and the notes."""

    def call(text):
        path = tmp_path / "talk.txt"
        path.write_text(text, encoding="utf-8")
        found = segments_in(path)
        said = [(s.start_s, s.end_s, s.speaker, s.text) for s in found.segments]
        return (
            said,
            [one.replace(f"{path}:", "") for one in found.skipped],
            [one.replace(str(path), "") for one in found.notes],
        )

    return call


HELLO = [(3.0, 7.0, "Ann Lee", "Hello everyone."), (7.0, 8.0, "Bob", "Hi: all good?")]


@pytest.mark.parametrize(
    "text",
    [
        "Ann Lee  0:03\nHello everyone.\n\nBob  0:07\nHi: all good?\n",  # Otter
        "Ann Lee (00:03):\nHello everyone.\n\nBob (00:07):\nHi: all good?\n",  # Rev
        "Ann Lee\n0:03\nHello everyone.\n\nBob\n0:07\nHi: all good?\n",  # Teams
        "Ann Lee\t00:00:03\nHello\neveryone.\n\nBob\t00:00:07\nHi: all good?\n",
        "[00:00:03] Ann Lee\nHello everyone.\n\n[00:00:07] Bob\nHi: all good?\n",
        "[00:00:03] Ann Lee: Hello everyone.\n[00:00:07] Bob: Hi: all good?\n",
        "(0:03) Ann Lee: Hello everyone.\n(0:07) Bob: Hi: all good?\n",
        "00:03 Ann Lee: Hello everyone.\n00:07 Bob: Hi: all good?\n",
        "Ann Lee [00:00:03]: Hello everyone.\nBob [00:00:07]: Hi: all good?\n",
        "Ann Lee (0:03) Hello everyone.\nBob (0:07) Hi: all good?\n",
        "[00:03 - 00:07] Ann Lee: Hello everyone.\n[00:07 - 00:08] Bob: Hi: all good?\n",
        "[Ann Lee] 00:00:03\nHello everyone.\n\n[Bob] 00:00:07\nHi: all good?\n",  # captions saved by Zoom
        "00:00:03\t From Ann Lee to Everyone:\n\tHello everyone.\n00:00:07\t From  Bob : Hi: all good?\n",  # its chat
        "\u200e0:03\nAnn Lee: Hello everyone.\n0:07\nBob: Hi: all good?\n",
        "Ann Lee (00:03 - 00:07)\nHello everyone.\n\nBob (00:07 - 00:08)\nHi: all good?\n",  # Descript
        "3,000000\t7,000000\tAnn Lee: Hello everyone.\n7,000000\t8,000000\tBob: Hi: all good?\n",  # Audacity, German
        "00:00:03 | Ann Lee | Hello everyone.\n00:00:07 | Bob | Hi: all good?\n",
        "00:00:03\n[Ann Lee]\nHello everyone.\n\n00:00:07\n[Bob]\nHi: all good?\n",  # Happy Scribe
        "**Ann Lee** 0:03\nHello everyone.\n\n**Bob** 0:07\nHi: all good?\n",
    ],
)
def test_exports_of_meetings(read, text):
    said, skipped, notes = read(text)
    assert (said, skipped) == (HELLO, [])
    assert bool(notes) == (" - " not in text and "," not in text)
    assert all(note.startswith(" says when an utterance begins, but not when it ends.") for note in notes)


@pytest.mark.parametrize(
    "text",
    [
        "#00:00:01-0#\nI: Wie geht es? #00:00:05-1#\n\nB: (lacht) Gut. #00:00:09-3#\n\nB: Ohne Zeit\n",
        "#00:00:01-0# I: Wie geht es? #00:00:05-1#\nB: (lacht) Gut. #00:00:09-3#\nB: Ohne Zeit\n",
    ],
)
def test_stamps_of_f4_and_maxqda_are_when_an_utterance_ends(read, text):
    said, skipped, notes = read(text)
    assert said == [(1.0, 5.1, "I", "Wie geht es?"), (5.1, 9.3, "B", "Gut.")]
    assert [one.split(" ", 1)[1] for one in skipped] == [
        "shows (lacht), which is not said", "begins at 9.3 s and has no time after it: 'B: Ohne Zeit'",
    ]  # fmt: skip
    assert notes == [" says when an utterance ends. Each was taken to begin where the one before ends."]


@pytest.mark.parametrize(
    "text",
    [
        "Ann\nHello.\n\nBob\nHi.\n\nAnn\nSo.\n",
        "ANN\nHello.\n\nBOB (CONT'D)\n(laughing)\nHi.\n\nANN\nSo.\n",
    ],
)
def test_names_above_paragraphs(read, text):
    said, skipped, notes = read(text)
    assert [(who.title(), text) for _, _, who, text in said] == [("Ann", "Hello."), ("Bob", "Hi."), ("Ann", "So.")]
    assert skipped == (["5 says nothing but shows (laughing)"] if "(laughing)" in text else [])
    assert notes == [" has names on lines above what is said, which were read as speakers."]


def test_lines_above_paragraphs_that_are_no_names_are_said(read):
    lines = ["Hello Darling", "how are you", "", "Good Morning", "to you"]
    assert read("\n".join(lines)) == ([(None, None, None, line) for line in lines if line], [], [])


@pytest.mark.parametrize(
    "text",
    [
        "Ann, [12.03.2024 10:15]\nHello\n\nBob, [12.03.2024 10:16]\nHi: you\n",  # Telegram
        "[12-Mar-24 10:15 AM] Ann\nHello\n\n[12-Mar-24 10:16 AM] Bob\nHi: you\n",  # DiscordChatExporter
    ],
)
def test_chats_with_the_sender_above_the_message(read, text):
    assert read(text) == ([(None, None, "Ann", "Hello"), (None, None, "Bob", "Hi: you")], [], [])


@pytest.mark.parametrize("mark", ["\t", ",", ";"])
def test_a_table_in_a_text_file_is_a_table(read, mark):
    rows = [["start", "end", "speaker", "text"], ["0.5", "2.5", "Ann", "Hello"], ["3", "4", "Bob", "Hi"]]
    said, skipped, notes = read("\n".join(map(mark.join, rows)))
    assert (said, skipped) == ([(0.5, 2.5, "Ann", "Hello"), (3.0, 4.0, "Bob", "Hi")], [])
    assert notes == [" was read as CSV, which its content is."]


def test_a_table_without_headings_in_a_text_file_is_refused(read):  # as ELAN writes it
    with pytest.raises(
        ConversationError, match=r"columns have no names: 'Ann \|  \| 0.5 \| 2.5 \| Hello'. Put a first"
    ):
        read("Ann\t\t0.5\t2.5\tHello\nBob\t\t3.0\t4.0\tHi\n")


def test_times_of_day_are_not_used(read):
    for stamp in ("10:15 AM", " [10:16 p.m.]"):
        said, skipped, notes = read(f"Ann Lee {stamp}\nHi there.\nBob {stamp}\nHo: ho.\n")
        assert (said, skipped) == ([(None, None, "Ann Lee", "Hi there."), (None, None, "Bob", "Ho: ho.")], [])
        assert notes == [" has times of day, not of a clip, so they were not used."]


def test_seconds_before_a_text(read):
    said, *_ = read("0.00 2.50 SPEAKER_00 Hi there.\n2.50 4.00 SPEAKER_01 Ho.\n")
    assert said == [(0.0, 2.5, "SPEAKER_00", "Hi there."), (2.5, 4.0, "SPEAKER_01", "Ho.")]
    assert read("0.000000\t2.500000\tAnn: Hi\n")[0] == [(0.0, 2.5, "Ann", "Hi")]  # labels of Audacity


def test_what_frames_an_export_is_named(read):
    text = (
        "Weekly sync\nAttendees\nAnn, Bob\n00:00:00\n \nAnn: One.\nBob: Two,\nthree.\n00:05:00\n\nAnn: Four.\n"
        "Transcription ended after 00:06:00\n\nThis editable transcript was computer generated.\n"
    )  # Google Meet
    said, skipped, _ = read(text)
    assert [(start, speaker, words) for start, _, speaker, words in said] == [
        (0.0, "Ann", "One."),
        (pytest.approx(300 * 4 / 15), "Bob", "Two, three."),
        (300.0, "Ann", "Four."),
    ]
    assert skipped == [
        "1 is not said: 'Weekly sync'",
        "2 is not said: 'Attendees'",
        "3 is not said: 'Ann, Bob'",
        "12 is not said: 'Transcription ended after 00:06:00'",
        "14 is not said: 'This editable transcript was computer generated.'",
    ]


def test_the_transcript_that_youtube_shows(read):
    said, *_ = read("0:00\nhello everyone\n0:03\nand welcome\n1:02:03\nbye\n")
    assert said == [
        (0.0, 3.0, None, "hello everyone"),
        (3.0, 3723.0, None, "and welcome"),
        (3723.0, 3724.0, None, "bye"),
    ]


def test_times_that_go_back_are_not_used(read):
    said, _, notes = read("[00:00:12] Ann: Hello\n[00:00:02] Bob: Hi\n")
    assert said == [(None, None, "Ann", "Hello"), (None, None, "Bob", "Hi")]
    assert notes == [" has times that go back, so they were not used."]


def test_a_time_in_a_sentence_is_none(read):
    text = "We meet at 10:30\n10:30 is fine\nHe said: no way\nWell: I never\nhttp://x.y\n"
    assert read(text) == ([(None, None, None, line) for line in text.splitlines()], [], [])


@pytest.mark.parametrize(
    "stamp",
    ["12/03/2024, 10:15 - ", "3/12/24, 10:15\u202fPM - ", "12.03.24, 10:15 - ", "[12/03/24, 10:15:02] ",
     "\u200e[12.03.24, 10:15:02 PM] ", "2024-03-12 10:15 - ", "[2024-03-12 10:15:02] "],
)  # fmt: skip
def test_chats(read, stamp):
    messages = [
        "Messages and calls are end-to-end encrypted. Learn more.", "Ann created group \"x\"", "Ann: Hi: there",
        "~ Bob Lee: two\nlines", "Bob Lee: <Media omitted>", "Ann: \u200eimage omitted", "+49 151 2: ok 👍",
        "Ann: This message was deleted",
    ]  # fmt: skip
    said, skipped, notes = read("".join(f"{stamp}{message}\n" for message in messages))
    assert said == [
        (None, None, "Ann", "Hi: there"),
        (None, None, "Bob Lee", "two lines"),
        (None, None, "+49 151 2", "ok 👍"),
    ]
    assert skipped == [
        "1 is a message of the program: 'Messages and calls are end-to-end encrypted. Learn more.'",
        "2 is a message of the program: 'Ann created group \"x\"'",
        "6 says nothing but shows '<Media omitted>'",
        "7 says nothing but shows 'image omitted'",
        "9 says nothing but shows 'This message was deleted'",
    ]
    assert notes == []


def test_a_name_on_its_line_belongs_to_the_lines_under_it(read):
    said, skipped, _ = read("Ann:\nHello.\nHow are you?\n\nBob:\n\nHi.\n\nSo.\nCleo:\nDan: Yes.\n")
    assert [one[2:] for one in said] == [
        ("Ann", "Hello."), ("Ann", "How are you?"), ("Bob", "Hi."), (None, "So."), ("Dan", "Yes."),
    ]  # fmt: skip
    assert skipped == ["10 says nothing"]


def test_lower_case_names_where_most_lines_have_names(read):
    assert [one[2] for one in read("ann lee: hi\nbob: ho\n张三：你好\n")[0]] == ["ann lee", "bob", "张三"]
    assert [one[2] for one in read("one thing: go\nNo.\nYes.\n")[0]] == [None, None, None]


def test_sounds_in_a_transcript_are_named(read):
    assert read("Ann: Hi [laughs]\n[door slams]\n") == (
        [(None, None, "Ann", "Hi")],
        ["1 shows [laughs], which is not said", "2 says nothing but shows [door slams]"],
        [],
    )


def test_what_is_copied_from_the_page_of_teams_says_times_twice(read):
    text = "Ann Lee\n0 minutes 3 seconds\n0:03\nAnn Lee 0 minutes 3 seconds\nHello everyone.\n"
    text += "Bob\n7 seconds\n0:07\nBob 7 seconds\nHi: all good?\n"
    said, skipped, notes = read(text)
    assert (said, skipped) == (HELLO, [])
    assert notes[0] == ":2 and 3 others are times in words, which were not read."


def test_chats_with_times_of_day_between_tabs(read):
    said, skipped, notes = read("2024/05/12(日)\n10:31\tAnn Lee\tHello everyone.\n10:32\tBob\tHi: all good?\n")
    assert said == [(None, None, speaker, text) for _, _, speaker, text in HELLO]
    assert skipped == ["1 is not said: '2024/05/12(日)'"]
    assert notes == [" has times of day, not of a clip, so they were not used."]
