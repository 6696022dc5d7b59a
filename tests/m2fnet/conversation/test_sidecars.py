"""Which subtitles in the folder of a clip are read, and what is noted about the others."""

import pytest
from tiny_media import write_clip

from m2fnet.conversation.segments import segments_of, subtitles_of
from m2fnet.conversation.sidecars import sidecars_of
from m2fnet.conversation.writing import write_srt
from m2fnet.records import Prediction

CUE = "1\n00:00:00,100 --> 00:00:00,900\n{}\n"


@pytest.fixture(scope="module")
def clip_file(tmp_path_factory):
    return write_clip(tmp_path_factory.mktemp("clip") / "talk.mp4", seconds=1, codecs=("mpeg4", "aac")).read_bytes()


@pytest.fixture
def clip(clip_file, tmp_path):
    (tmp_path / "talk.mp4").write_bytes(clip_file)
    return tmp_path / "talk.mp4"


def put(clip, *names):
    for name in names:
        (clip.parent / name).write_text(CUE.format(name), encoding="utf-8")


@pytest.mark.parametrize(
    "name",
    ["talk.en.srt", "talk.SRT", "talk.en-US.vtt", "talk.en.sdh.srt", "talk.zh-Hans.ass", "talk.pt_BR.srt", "Talk.srt",
     "talk.English.srt", "talk.mp4.srt", "talk.mp4.en.srt", "talk.en-orig.vtt", "talk.default.srt"],
)  # fmt: skip
def test_names_that_players_find(clip, name):
    put(clip, name)
    assert subtitles_of(clip) == clip.parent / name
    found = segments_of(clip)
    assert (found.source, found.segments[0].text) == (name, name)


@pytest.mark.parametrize(
    ("names", "first"),
    [
        (["talk.de.srt", "talk.en.srt", "talk.srt"], "talk.srt"),
        (["talk.vtt", "talk.srt", "talk.ass"], "talk.srt"),
        (["talk.en.sdh.srt", "talk.en.srt"], "talk.en.srt"),
        (["talk.en.hi.srt", "talk.en.vtt"], "talk.en.vtt"),
        (["talk.de.vtt", "talk.en-orig.vtt"], "talk.en-orig.vtt"),
        (["talk.de.srt", "talk.en.srt"], "talk.de.srt"),
    ],
)
def test_of_several_the_first_is_read_and_the_others_are_named(clip, names, first):
    put(clip, *names)
    found = segments_of(clip)
    assert found.source == first
    (note,) = found.notes
    assert note.startswith(f"{first} was read, not ")
    assert all(name in note for name in names)


@pytest.mark.parametrize("name", ["talk.forced.srt", "talk.en.forced.srt"])
def test_subtitles_for_foreign_passages_only_are_not_read(clip, name):
    put(clip, name)
    found = segments_of(clip)
    assert found.source not in (name, "subtitles inside the clip")
    assert found.notes == (f"{name} was not read: it is for foreign passages only. Choose it with --segments.",)


def test_subtitles_of_another_clip_are_not_read(clip):
    put(clip, "talk.en.srt", "talker.srt", "talk.part.srt")
    (clip.parent / "talk.en.mp4").touch()
    assert sidecars_of(clip) == []
    assert subtitles_of(clip.parent / "talk.en.mp4").name == "talk.en.srt"


@pytest.mark.parametrize("name", ["talk_english.srt", "talk [abc].en.vtt"])
def test_similar_names_are_named(clip, name):
    put(clip, name)
    found = segments_of(clip)
    note = f"{name} was not read, because its name is not that of the clip. Choose it with --segments."
    assert (found.segments[0].text, found.notes) == (None, (note,))


def test_predictions_are_never_read_as_subtitles(clip):
    predicted = Prediction(0.0, 0.5, "Ann", "Hi!", "joy", {"joy": 0.9, "anger": 0.1}, ("text",), {})
    write_srt([predicted, predicted], clip.with_suffix(".srt"))
    found = segments_of(clip)
    note = "talk.srt was not read: it holds predictions, not what is said."
    assert (found.segments[0].text, found.notes) == (None, (note,))
    put(clip, "talk.en.srt")
    found = segments_of(clip)
    assert (found.source, found.notes) == ("talk.en.srt", (note,))


def test_cues_after_the_end_are_skipped_and_named(clip):
    clip.with_suffix(".srt").write_text(CUE.format("Hi") + "\n2\n00:01:00,0 --> 00:01:01,0\nHo\n", encoding="utf-8")
    found = segments_of(clip)
    assert [s.text for s in found.segments] == ["Hi"]
    (late,) = found.skipped
    assert late.startswith(f"{clip.with_suffix('.srt')}:6: the utterance begins at 60 s, but {clip} ends at 1.0")
