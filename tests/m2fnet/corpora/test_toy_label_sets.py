import json
from pathlib import Path

import pytest

from m2fnet.corpora.meld import read_toy
from m2fnet.corpora.toy import planned_script, write_toy
from m2fnet.corpora.toy_label_sets import read_toy_label_sets
from m2fnet.errors import CorpusError

EMOTIONS = ("joy", "anger", "sadness", "surprise")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("sets") / "raw"
    write_toy(root, dialogues=(3, 2, 3), seed=4, workers=1, progress=False)
    return root


def test_the_same_clips_have_label_sets_some_of_them_empty(root: Path):
    single, multi = read_toy(root), read_toy_label_sets(root)
    assert (multi.label_set.classes, multi.label_set.kind) == (EMOTIONS, "multi")
    assert [(u.id, u.text, u.video, u.defects) for u in multi.utterances] == [
        (u.id, u.text, u.video, u.defects) for u in single.utterances
    ]
    sets = [u.labels for u in multi.utterances]
    assert None not in sets
    assert {len(found) for found in sets if found is not None} >= {0, 1, 2}
    for one, several in zip(single.utterances, multi.utterances, strict=True):
        assert several.label is None
        assert (one.label == "neutral") or (one.label in (several.labels or ()))


def test_a_set_holds_the_emotions_that_are_felt_heard_and_seen(root: Path):
    scenes = [scene for scenes in planned_script(root).values() for scene in scenes]
    lines = {f"{line.split}_dia{line.dialogue}_utt{line.utterance}": line for scene in scenes for line in scene}
    single = {u.id: u for u in read_toy(root).utterances}
    assert {name: (line.emotion, line.text) for name, line in lines.items()} == {
        name: (u.label, u.text) for name, u in single.items()
    }  # the plan is that of the tables
    assert any(line.shot.is_faceless for line in lines.values())
    for utterance in read_toy_label_sets(root).utterances:
        line = lines[utterance.id]
        shown = [line.emotion, line.shot.voice_emotion, *([] if line.shot.is_faceless else [line.shot.face_emotion])]
        assert set(utterance.labels or ()) == set(shown) - {"neutral"}


@pytest.mark.parametrize(
    "settings",
    [
        {"recipe": 0, "seed": 4, "dialogues": [3, 2, 3], "has_defects": True},
        {"recipe": 1, "seed": "4", "dialogues": [3, 2, 3], "has_defects": True},
        {"recipe": 1, "seed": 4, "dialogues": [3, 2], "has_defects": True},
        None,
    ],
)
def test_a_corpus_of_another_version_is_refused(root: Path, tmp_path: Path, settings: object):
    (tmp_path / "toy.json").write_text(json.dumps({"settings": settings}))
    with pytest.raises(CorpusError, match=r"has the settings .*, expected those of recipe 1\. Write it again with"):
        planned_script(tmp_path)
