"""The example clip: a conversation that a model and a browser can read, the same each time."""

from itertools import pairwise

import pytest

from m2fnet.conversation.clip import streams_of
from m2fnet.conversation.segments import segments_of
from m2fnet.web.example import CLIP, SUBTITLES, write_example

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def example(tmp_path_factory):
    folder = tmp_path_factory.mktemp("example")
    write_example(folder)
    return folder


def test_its_subtitles_tell_who_says_what_from_beginning_to_end(example):
    found = segments_of(example / CLIP)
    assert found.source == SUBTITLES
    utterances = found.segments
    assert 8 <= len(utterances) <= 10
    assert all(utterance.text and utterance.speaker for utterance in utterances)
    assert utterances[0].start_s == 0
    assert all(before.end_s == after.start_s for before, after in pairwise(utterances))
    streams = streams_of(example / CLIP)
    assert streams.sound_s == pytest.approx(utterances[-1].end_s, abs=0.1)
    assert streams.picture_s == pytest.approx(utterances[-1].end_s, abs=0.1)


def test_it_is_small_and_nothing_else_is_left(example):
    assert sorted(path.name for path in example.iterdir()) == [CLIP, SUBTITLES]
    assert (example / CLIP).stat().st_size < 400_000


def test_it_is_always_the_same_conversation(example, tmp_path):
    write_example(tmp_path)
    assert (tmp_path / SUBTITLES).read_text("utf-8") == (example / SUBTITLES).read_text("utf-8")
