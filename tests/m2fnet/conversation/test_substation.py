"""Advanced SubStation files: speakers, codes, drawings, styles, and events that are not said."""

import pytest

from m2fnet.conversation.segments import segments_in

HEAD = """[Script Info]
ScriptType: v4.00+

[V4+ Styles]
Format: Name, Fontname, Fontsize
Style: Default,Arial,16

[Events]
Format: Layer, Start, End, Style, {name}, MarginL, MarginR, MarginV, Effect, Text
"""


NAMED = HEAD.format(name="Name")


@pytest.fixture
def read(tmp_path):
    """``read(*events)`` gives what `segments_in` does for a file of events, each a list of fields."""

    def call(*events, name="talk.ass", head=NAMED):
        lines = (
            f"{kind}: {layer},0:00:{start:05.2f},0:00:{end:05.2f},{style},{who},0,0,0,{effect},{text}"
            for kind, layer, start, end, style, who, effect, text in events
        )
        (tmp_path / name).write_text(head + "\n".join(lines) + "\n", encoding="utf-8")
        return segments_in(tmp_path / name)

    return call


def event(start, text, who="", *, style="Default", effect="", kind="Dialogue", layer=0):
    return kind, layer, start, start + 1, style, who, effect, text


def said(found):
    return [(s.start_s, s.end_s, s.speaker, s.text) for s in found.segments]


def test_speakers_codes_and_line_breaks(read):
    found = read(
        event(1, r"{\i1}I will never\Nget it{\i0}, ok", "Ines"),
        event(2, r"The car,\hthere {a remark}\nnow", "Bruno"),
        event(3, r"{\k20}La{\k30}la", "Ines"),
        event(4, "Note: yes"),
        event(5, "ANN: no"),
        event(0, "Translated by me", kind="Comment"),
    )
    assert said(found) == [
        (1.0, 2.0, "Ines", "I will never get it, ok"),
        (2.0, 3.0, "Bruno", "The car, there now"),
        (3.0, 4.0, "Ines", "Lala"),
        (4.0, 5.0, None, "Note: yes"),
        (5.0, 6.0, "ANN", "no"),
    ]
    assert (found.skipped, found.notes) == ((), ())


@pytest.mark.parametrize("name", ["talk.ass", "talk.ssa", "talk.srt", "talk.txt"])
def test_the_content_tells_the_format_and_the_head_the_fields(read, name):
    found = read(event(1, "Hi, you", "Ines"), name=name, head=HEAD.format(name="Actor").replace("Layer", "Marked"))
    assert said(found) == [(1.0, 2.0, "Ines", "Hi, you")]
    assert len(found.notes) == (name in ("talk.srt", "talk.txt"))


def test_signs_songs_effects_and_drawings_are_named(read, tmp_path):
    found = read(
        event(1, "Hi", "Ines"),
        event(2, r"{\p1}m 0 0 l 100 0{\p0}", style="Sign"),
        event(3, "BAKERY", style="Signs - top"),
        event(4, "La la", style="OP_Romaji"),
        event(5, "la", effect="fx"),
        event(6, r"{\p1}m 0 0 l 9 9{\p0}"),
        event(7, "Assigned", style="Designed"),
        event(1, "{\\blur2}Hi", "Ines", layer=1),
    )
    where = f"{tmp_path}/talk.ass"
    assert [s.text for s in found.segments] == ["Hi", "Assigned"]
    assert found.skipped == (
        f"{where}:11 is not said, by its style 'Sign': '{{\\\\p1}}m 0 0 l 100 0{{\\\\p0}}'",
        f"{where}:12 is not said, by its style 'Signs - top': 'BAKERY'",
        f"{where}:13 is not said, by its style 'OP_Romaji': 'La la'",
        f"{where}:14 is not said, by its style 'Default': 'la'",
        f"{where}:17 repeats {where}:10",
        f"{where}:15 says nothing but shows the drawing {{\\p1}}m 0 0 l 9 9{{\\p0}}",
    )


def test_styles_say_nothing_where_all_are_the_same(read):
    assert [s.text for s in read(event(1, "Hi", style="Title")).segments] == ["Hi"]


def test_damaged_events_are_named(read, tmp_path):
    found = read(event(1, "Hi"), head=NAMED + "Dialogue: 0,soon,0:00:02.00,Default,,0,0,0,,Hi\n")
    assert len(found.segments) == 1
    assert found.skipped[0].startswith(f"{tmp_path}/talk.ass:10 is 'Dialogue: 0,soon,0:00:02.00")
