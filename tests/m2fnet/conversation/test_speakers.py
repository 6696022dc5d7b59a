"""Which beginnings of lines are speakers, as tools and people write them, and which are the words of a sentence."""

import time

import pytest

from m2fnet.conversation.sounds import is_sound, without_sounds
from m2fnet.conversation.speakers import LONGEST_NAME, is_header_name, labelled, mostly_named, names_in_brackets


@pytest.mark.parametrize(
    ("line", "speaker"),
    [
        ("[SPEAKER_00]: Hi", "SPEAKER_00"),  # whisperX
        ("[SPEAKER_00] Hi", "SPEAKER_00"),
        ("SPEAKER_00: Hi", "SPEAKER_00"),
        ("(speaker 1) Hi", "speaker 1"),  # whisper.cpp
        ("(Speaker 1): Hi", "Speaker 1"),
        ("Speaker A: Hi", "Speaker A"),
        ("spk_0: Hi", "spk_0"),
        ("person 2: Hi", "person 2"),
        ("MAN #1: Hi", "MAN #1"),
        ("MAN 2: Hi", "MAN 2"),
        ("[Ann Lee]: Hi", "Ann Lee"),
        ("(Ann): Hi", "Ann"),
        ("[Tom] Hi", "Tom"),
        ("[TOM:] Hi", "TOM"),
        ("<Ann> Hi", "Ann"),
        ("<ANN LEE>: Hi", "ANN LEE"),
        ("<speaker 1> Hi", "speaker 1"),
        ("*Ann:* Hi", "Ann"),
        ("_Ann_: Hi", "Ann"),
        ("***Ann***: Hi", "Ann"),
        ("**Ann:** Hi", "Ann"),
        ("**Ann**: Hi", "Ann"),
        ("JOHN:Hi", "JOHN"),
        ("Ann : Hi", "Ann"),  # French typography
        ("Dr. O'Neil: Hi", "Dr. O'Neil"),
        ("Mr. & Mrs. Smith: Hi", "Mr. & Mrs. Smith"),
        ("J. R. R. Tolkien: Hi", "J. R. R. Tolkien"),
        ("Lee, Ann: Hi", "Lee, Ann"),  # Teams
        ("Anna-Lena von der Heide: Hi", "Anna-Lena von der Heide"),
        ("The Doctor: Hi", "The Doctor"),
        ("Ann and Bob: Hi", "Ann and Bob"),
        ("iPhone (2): Hi", "iPhone (2)"),
        ("Ann (Guest): Hi", "Ann (Guest)"),
        ("Ann Lee | ACME: Hi", "Ann Lee | ACME"),
        ("Émilie: Hi", "Émilie"),
        ("JOHN’S MOM: Hi", "JOHN’S MOM"),
        ("Nguyễn Văn: Hi", "Nguyễn Văn"),
        ("张三：Hi", "张三"),
        ("张 三: Hi", "张 三"),
        ("李四:Hi", "李四"),
        ("أحمد: Hi", "أحمد"),
        ("You: Hi", "You"),
        ("I: Hi", "I"),  # interviewers
        ("Q: Hi", "Q"),
    ],
)
def test_speakers(line, speaker):
    found = labelled(line)
    assert (found.speaker, found.text, found.manner) == (speaker, "Hi", None)


@pytest.mark.parametrize(
    ("line", "speaker", "manner"),
    [
        ("JOHN (V.O.): Hi", "JOHN", "(V.O.)"),
        ("WOMAN (ON PHONE): Hi", "WOMAN", "(ON PHONE)"),
        ("Alex Doe (he/him): Hi", "Alex Doe", "(he/him)"),
        ("John [whispering]: Hi", "John", "[whispering]"),
        ("记者（小声）：Hi", "记者", "（小声）"),
        ("1. Ann: Hi", "Ann", "1."),
        ("12) ANN: Hi", "ANN", "12)"),
        ("#3 Ann: Hi", "Ann", "#3"),
        ("• Ann: Hi", "Ann", "•"),
        ("Ann (00:01): Hi", "Ann", "(00:01)"),
        ("Ann Lee [1:02:03]: Hi", "Ann Lee", "[1:02:03]"),
        ("Ann 00:01: Hi", "Ann", "00:01"),
        ("[00:01] Ann: Hi", "Ann", "[00:01]"),
        ("00:01:02 - Ann (V.O.): Hi", "Ann", "00:01:02 - (V.O.)"),
    ],
)
def test_how_it_is_said_is_no_part_of_the_name(line, speaker, manner):
    found = labelled(line)
    assert (found.speaker, found.text, found.manner) == (speaker, "Hi", manner)


TEXTS = [
    "10:30 is fine", "at 12:30 sharp", "http://x.y", "https://x.y: look", "He said: no way",
    "I told her so: go", "Well: I never", "Note: go", "NOTE: go", "Note to self: run", "PS: I love you",
    "Remember: do not go", "Warning: hot", "Chapter 2: The end", "That's right: go", "It's 5 p.m.: go",
    "The thing is: go", "C:\\temp", "3: no", "注意：不要去", "他说：不", "Really? Yes: go", "Ann. Bob: go",
    "[door slams]", "[Applause] Hi", "[MUSIC] la la", "[THUNDER RUMBLING] Hi", "(LAUGHS) Hi", "<laughs> Hi", "<3 you",
    "<No> Hi", "1. Go home", "2. Note: go", "We meet (10:30): go", "at 10:30: go", "[10:30] go",
    "*sighs* Hi", "**bold** text", "(laughs): Hi", "", ":", "：", "♪ a: b",
    f"{'A' * (LONGEST_NAME + 1)}: Hi", "One Two Three Four Five Six Seven: Hi",
]  # fmt: skip


@pytest.mark.parametrize("line", TEXTS)
@pytest.mark.parametrize("is_mostly_named", [False, True])
def test_texts(line, is_mostly_named):
    assert labelled(line, is_mostly_named=is_mostly_named) is None


@pytest.mark.parametrize("name", ["zhang wei", "ann's ipad", "one thing", "Ann 🌸", "wife of Bob"])
def test_other_names_are_names_in_a_file_in_which_most_lines_begin_with_one(name):
    assert labelled(f"{name}: Hi") is None
    assert labelled(f"{name}: Hi", is_mostly_named=True).speaker == name


def test_a_file_in_which_most_lines_begin_with_a_name():
    assert mostly_named(["zhang wei: hi", "Me too.", "Ann: hi", "Well."])
    assert not mostly_named(["zhang wei: hi", "Me too.", "Ann: hi", "Well.", "So."])
    assert not mostly_named(["zhang wei: hi"])
    assert not mostly_named(TEXTS)
    assert not mostly_named([])


@pytest.mark.parametrize(
    "line", ["[ANN] Hi", "【ANN】Hi", "(Ann) Hi", "(ANN) Hi", "<ann> Hi", "Ann — Hi", "Ann – Hi", "Ann「Hi」"]
)
def test_names_in_brackets_in_a_file_in_which_most_lines_begin_with_one(line):
    assert labelled(line) is None
    found = labelled(line, is_mostly_named=True)
    assert (found.speaker.upper(), found.text) == ("ANN", "Hi")
    assert mostly_named([line, line, "Yes."]) == (line[0] != "(")
    assert labelled("彼は「Hi」", is_mostly_named=True) is None


def test_names_in_brackets_are_before_speech_more_than_once():
    lines = ["[ANN] Hi", "Yes.", "So.", "[ANN] No.", "[SPLASH] Oh", "[SPLASH] Oh", "[SPLASH]", "[BOB] Oh", "Well."]
    assert not mostly_named(lines)
    assert names_in_brackets(lines) == {"ANN"}
    assert labelled("[ANN] Hi", names={"ANN"}).speaker == "ANN"
    assert labelled("[MUSIC] Hi", names=names_in_brackets(["[MUSIC] Hi"] * 3)) is None
    assert labelled("[SPLASH]", is_mostly_named=True) is None


def test_a_speaker_who_is_not_known():
    assert labelled("(speaker ?) Hi") == labelled("[SPEAKER ?]: Hi")
    assert (labelled("(speaker ?) Hi").speaker, labelled("(speaker ?) Hi").text) == (None, "Hi")


@pytest.mark.parametrize("text", ["Ann Lee", "Lee, Ann", "Dr. O'Neil", "张三"])
def test_names_above_a_text(text):
    assert is_header_name(text)
    assert not is_header_name(f"{text}: Hi")
    assert not is_header_name(f"{text}!")


@pytest.mark.parametrize(
    ("text", "words", "others"),
    [
        ("[door slams]", "", ["[door slams]"]),
        ("(laughs) Yes.", "Yes.", ["(laughs)"]),
        ("(LAUGHS) Yes.", "Yes.", ["(LAUGHS)"]),
        ("Yes. (phone ringing)", "Yes.", ["(phone ringing)"]),
        ("(speaking in French) Oui.", "Oui.", ["(speaking in French)"]),
        ("*sighs* Yes.", "Yes.", ["*sighs*"]),
        ("I *really* mean it", "I *really* mean it", []),
        ("I am fine (but not really)", "I am fine (but not really)", []),
        ("(Don't let him hear you.)", "(Don't let him hear you.)", []),
        ("the Bureau (FBI)", "the Bureau (FBI)", []),
        ("what the [ __ ] is this", "what the is this", ["[ __ ]"]),
        ("（笑）はい", "はい", ["（笑）"]),
        ("【掌声】好", "好", ["【掌声】"]),
        ("♪", "", ["♪"]),
        ("♪ La la ♪", "", ["♪ La la ♪"]),
        ("♪ La la", "", ["♪ La la"]),
        ("# La la #", "", ["# La la #"]),
        ("Stop! ♪ La la ♪ Now.", "Stop! Now.", ["♪ La la ♪"]),
        ("Yes. ♪", "Yes.", ["♪"]),
        ("(Musik) [lacht] Ja", "Ja", ["[lacht]", "(Musik)"]),
        ("(смех) Да", "Да", ["(смех)"]),
        ("we are #1", "we are #1", []),
    ],
)
def test_what_nobody_said(text, words, others):
    assert without_sounds(text, is_named=False) == (words, others)


def test_what_a_speaker_sings_is_said():
    assert without_sounds("♪ Smelly cat ♪", is_named=True) == ("Smelly cat", [])
    assert without_sounds("♪", is_named=True) == ("", ["♪"])


@pytest.mark.parametrize("words", ["he laughs", "INDISTINCT CHATTER", "in German", "on phone", "rires", "笑い声"])
def test_sounds(words):
    assert is_sound(words)


@pytest.mark.parametrize("words", ["I laughed at him", "but not really", "Don't cry.", "", "2019", "your song"])
def test_no_sounds(words):
    assert not is_sound(words)


@pytest.mark.parametrize("unit", ["A ", "(", "[", "[a", "**", "（", "a:", "♪", "# ", "*", "A. ", "- ", "x, ", "MAN #1"])
def test_hostile_lines_take_linear_time(unit):
    line = unit * (20_000 // len(unit))
    began = time.process_time()
    labelled(line, is_mostly_named=True)
    without_sounds(line, is_named=False)
    assert time.process_time() - began < 1
