"""Subtitles and documents that are not read are refused by a sentence that says what to convert them with."""

import pytest
from tiny_media import tone, write_sound

from m2fnet.conversation.segments import segments_in, segments_of
from m2fnet.errors import ConversationError
from m2fnet.pipeline.pipeline import conversation_of

TTML = (
    '<?xml version="1.0"?>\n<tt xmlns="http://www.w3.org/ns/ttml"><body><div><p begin="1s">Hi</p></div></body></tt>\n'
)
SAMI = "<SAMI><BODY>\n<SYNC Start=1000><P>Hi\n</BODY></SAMI>\n"
FILES = [
    ("talk.ttml", TTML, r"is TTML, .*`tt convert"),
    ("talk.dfxp", TTML, r"is TTML"),
    ("talk.xml", TTML, r"is TTML"),
    ("talk.txt", TTML, r"is TTML"),
    ("talk.srt", TTML.replace("<tt ", "<tt:tt "), r"is TTML"),
    ("talk.smi", SAMI, r"is SAMI, .*`ffmpeg -i IN.smi OUT.srt`"),
    ("talk.SMI", SAMI, r"is SAMI"),
    ("talk.txt", SAMI, r"is SAMI"),
    ("talk.sub", "{25}{50}Hi\n", r"is MicroDVD or VobSub, .*-subfps RATE"),
    ("talk.txt", "{25}{50}Hi\n{60}{}Ho\n", r"is MicroDVD"),
    ("talk.srt", "{1}{1}25.000\n{25}{50}Hi\n", r"is MicroDVD"),
    ("talk.sub", "\0\0\x01\xba", r"is MicroDVD or VobSub"),
    ("talk.lrc", "[00:01.00]Hi\n", r"is LRC"),
    ("talk.txt", "[ti:Hi]\n[00:01.00]Hi\n", r"is LRC"),
    ("talk.txt", "[10][20]Hi\n[30][40]Ho\n", r"is MPL2, .*-f mpl2"),
    ("talk.txt", "00:00:01:Hi\n00:00:03:Ho\n", r"is VPlayer or TMPlayer, .*-f vplayer"),
    ("talk.docx", "PK\x03\x04\0", r"is a document, .*plain text"),
    ("talk.txt", "{\\rtf1\\ansi Hi}", r"is a document"),
    ("talk.json", '{"segments": []}', r"is JSON, .*SRT or CSV"),
    ("talk.txt", '[{"start": 0.0, "text": "Hi"}]', r"is JSON"),
    ("talk.xlsx", "PK\x03\x04\0", r"is a spreadsheet, .*CSV"),
    ("talk.stl", "850STL25.01", r"Subtitle Edit"),
]


@pytest.mark.parametrize(("name", "content", "message"), FILES)
def test_formats_that_are_not_read_say_what_to_do(tmp_path, name, content, message):
    (tmp_path / name).write_text(content, encoding="utf-8")
    with pytest.raises(ConversationError, match=message):
        segments_in(tmp_path / name)
    with pytest.raises(ConversationError, match=message):
        conversation_of(tmp_path / name, None)


@pytest.mark.parametrize("text", ["{Hi} there", "[Ann]: Hi", "<tea> Hi", "{1} Hi", "[01:02] Ann: Hi"])
def test_texts_that_only_begin_like_them_are_read(tmp_path, text):
    (tmp_path / "talk.txt").write_text(f"{text}\nBob: Ho\n", encoding="utf-8")
    assert segments_in(tmp_path / "talk.txt").segments


def test_such_subtitles_next_to_a_clip_are_named(tmp_path):
    clip = write_sound(tmp_path / "talk.wav", tone())
    for name in ("talk.smi", "talk.json", "other.ttml"):
        (tmp_path / name).write_text("x", encoding="utf-8")
    assert segments_of(clip).notes == (
        "talk.smi is SAMI, which is not read. Convert it with `ffmpeg -i IN.smi OUT.srt`.",
    )
