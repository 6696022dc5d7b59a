"""Rolling captions: each sentence once, at the time at which it is first shown; and what only looks like them."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from m2fnet.conversation.cue_text import lines_of
from m2fnet.conversation.cues import Cue, utterances_of
from m2fnet.conversation.reading import Note
from m2fnet.conversation.segments import read_segments, segments_in
from m2fnet.records import Segment

YOUTUBE = """WEBVTT
Kind: captions
Language: en

00:00:00.400 --> 00:00:02.150 align:start position:0%
 
It<00:00:00.640><c> rains</c><00:00:00.900><c> again</c>

00:00:02.150 --> 00:00:02.160 align:start position:0%
It rains again
 

00:00:02.160 --> 00:00:04.190 align:start position:0%
It rains again
and<00:00:02.400><c> nobody</c><00:00:02.800><c> minds</c>

00:00:04.190 --> 00:00:04.200 align:start position:0%
and nobody minds
 

00:00:06.000 --> 00:00:08.000 align:start position:0%
 
so<00:00:06.500><c> what</c>

00:00:08.000 --> 00:00:08.010 align:start position:0%
so what
 
"""  # noqa: W293
ONCE = [(0.4, 2.15, "It rains again"), (2.16, 4.19, "and nobody minds"), (6.0, 8.0, "so what")]


def said(cues):
    found = utterances_of(Cue(f"a.srt:{n}", start, end, text) for n, (start, end, text) in enumerate(cues, start=1))
    return [(s.start_s, s.end_s, s.text) for s in found if not isinstance(s, Note | str)]


def sentences(cues):
    found = list(utterances_of(Cue(f"a.srt:{n}", *cue) for n, cue in enumerate(cues, start=1)))
    return [one for one in found if isinstance(one, str)], [one.text for one in found if isinstance(one, Note)]


def test_youtube(tmp_path):
    (tmp_path / "talk.vtt").write_text(YOUTUBE, encoding="utf-8")
    assert [(s.start_s, s.end_s, s.text) for s in read_segments(tmp_path / "talk.vtt")] == ONCE
    found = segments_in(tmp_path / "talk.vtt")
    note = (
        f"{tmp_path}/talk.vtt:5 and the cues after it repeat lines, as rolling captions do. Each line was read once, at"
    )
    assert (found.skipped, len(found.notes), found.notes[0].startswith(note)) == ((), 1, True)


@pytest.mark.parametrize("has_short_cues", [True, False])
def test_youtube_converted_to_srt(has_short_cues):
    cues = [
        (0.4, 2.15, "It rains again"),
        (2.15, 2.16, "It rains again"),
        (2.16, 4.19, "It rains again\nand nobody minds"),
        (4.19, 4.2, "and nobody minds"),
        (4.2, 6.0, "and nobody minds\nso what"),
    ]
    kept = [cue for cue in cues if has_short_cues or cue[1] - cue[0] > 0.1]
    assert said(kept) == [*ONCE[:2], (4.2, 6.0, "so what")]


def test_one_sentence_of_youtube():
    assert said([(0.4, 2.15, " \nIt rains"), (2.15, 2.16, "It rains\n ")]) == [(0.4, 2.15, "It rains")]


def test_three_lines_that_roll():
    texts = ["a", "a\nb", "a\nb\nc", "b\nc\nd"]
    assert said([(n, n + 1, text) for n, text in enumerate(texts)]) == [(n, n + 1, "abcd"[n]) for n in range(4)]


def test_captions_that_grow_word_by_word():
    cues = [(0, 1, "I"), (1, 2, "I lost"), (2, 3, "I lost it"), (5, 6, "No")]
    assert said(cues) == [(0, 3, "I lost it"), (5, 6, "No")]


def test_captions_that_highlight_each_word():
    cues = [(0, 1, "<u>So</u> what now"), (1, 2, "So <u>what</u> now"), (2, 3, "So what <u>now</u>"), (4, 5, "Bye")]
    assert said(cues) == [(0, 3, "So what now"), (4, 5, "Bye")]


def test_what_is_said_twice_is_kept_twice():
    cues = [(0, 1, "No."), (1, 2, "No."), (2, 3, "Yes."), (3, 5, "- Yes.\n- Oh."), (5, 6, "- Oh.")]
    assert [text for *_, text in said(cues)] == ["No.", "No.", "Yes.", "Yes.", "Oh.", "Oh."]
    assert said([(0, 1, "No"), (1, 2, "No way")]) == [(0, 1, "No"), (1, 2, "No way")]
    assert sentences([(0, 1, "No."), (1, 2, "No.")]) == ([], [])


def test_a_cue_that_is_there_twice_is_named():
    cues = [(0, 1, "Hi"), (0, 1, "<i>Hi</i>"), (0, 1, "Hi", "Ann")]
    assert sentences(cues) == (["a.srt:2 repeats a.srt:1"], [])


def test_overlapping_cues_and_cues_in_another_order_are_kept():
    assert said([(3, 5, "c"), (0, 2, "a"), (1, 4, "b")]) == [(0, 2, "a"), (1, 4, "b"), (3, 5, "c")]


def test_everything_else_on_the_screen_is_named():
    cues = [(0, 1, "[door slams]"), (1, 2, "♪"), (2, 3, "Hi [sighs]\nBOB:"), (3, 4, ""), (5, 4, "Ho"), (-2, -1, "Hu")]
    assert sentences(cues) == (
        [
            "a.srt:6 begins at -2 s and ends at -1 s, before the clip begins",
            "a.srt:5 begins at 5 s and ends at 4 s",
            "a.srt:1 says nothing but shows [door slams]",
            "a.srt:2 says nothing but shows ♪",
            "a.srt:3 shows [sighs], which is not said",
            "a.srt:3: BOB says nothing",
            "a.srt:4 says nothing",
        ],
        [],
    )


MARKS = [
    "\n",
    " ",
    "- ",
    ">> ",
    "♪ ",
    " ♪",
    "# ",
    ": ",
    "<i>",
    "</i>",
    "<v Ann>",
    "</v>",
    "{\\an8}",
    "{\\p1}",
    "{\\p0}",
    "\\N",
]
WORDS = [
    "[w{}]",
    "(w{})",
    "(laughs w{})",
    "（w{}）",
    "*sighs w{}*",
    "W{}",
    "w{}",
    "W{}:",
    "w{}:",
    "W{} (v.o.):",
    "(speaker {})",
]


@given(st.lists(st.lists(st.sampled_from(MARKS + WORDS), min_size=1, max_size=8), min_size=1, max_size=4))
def test_no_word_on_the_screen_vanishes(parts):
    number = iter(range(100))
    texts = ["".join(part.format(next(number)) if "{}" in part else part for part in text) for text in parts]
    found = list(utterances_of(Cue(f"a.srt:{n}", 3 * n, 3 * n + 1, text) for n, text in enumerate(texts)))
    seen = " ".join(
        one if isinstance(one, str) else one.text if isinstance(one, Note) else f"{one.speaker} {one.text}"
        for one in found
    )
    words = re.findall(r"[wW]?\d+", " ".join(" ".join(lines_of(text)) for text in texts))
    assert [word for word in words if word not in seen] == []


def test_names_in_square_brackets_and_sounds_in_one_file():
    texts = ["[ANN] You came!", "Of course.", "[MUSIC] la la", "[ANN] Sit down.", "[SQUAWK]", "[SQUAWK] Oh!", "Well."]
    read = list(utterances_of([Cue(f"a.srt:{n}", n, n + 1, text) for n, text in enumerate(texts)]))
    assert [(s.speaker, s.text) for s in read if isinstance(s, Segment)] == [
        ("ANN", "You came!"), (None, "Of course."), (None, "la la"), ("ANN", "Sit down."),
        (None, "Oh!"), (None, "Well."),
    ]  # fmt: skip
    assert [s for s in read if isinstance(s, str)] == [
        "a.srt:2 shows [MUSIC], which is not said",
        "a.srt:4 says nothing but shows [SQUAWK]",
        "a.srt:5 shows [SQUAWK], which is not said",
    ]


@pytest.mark.parametrize(
    ("line", "sign"),
    [("1. Ann: Hi", "1."), ("Ann (00:01): Hi", "(00:01)"), ("<Ann> Hi", ""), ("*Ann:* Hi", ""), ("<i>Ann:</i> Hi", "")],
)
def test_names_with_signs_around_them(line, sign):
    segment, *others = utterances_of([Cue("a.srt:2", 0, 1, line)])
    found = segment if isinstance(segment, Segment) else others.pop()
    assert (found.speaker, found.text) == ("Ann", "Hi")
    assert sign == "" or segment == f"a.srt:2 shows {sign}, which is not said"
