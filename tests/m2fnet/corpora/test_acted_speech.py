"""RAVDESS and CREMA-D: facts in the names of files, and the votes of raters."""

from collections import Counter
from pathlib import Path

import pytest
from fake_other_corpora import CREMAD_VOTES_HEADER, write_cremad, write_ravdess

from m2fnet.cli import run
from m2fnet.corpora.cremad import read_cremad
from m2fnet.corpora.ravdess import read_ravdess
from m2fnet.errors import CorpusError
from m2fnet.manifest import Manifest
from m2fnet.records import Annotation


def test_a_name_of_ravdess_means_what_its_authors_say(tmp_path: Path):
    manifest = read_ravdess(write_ravdess(tmp_path, (12,)), partial=True)
    # 06 fearful, 01 normal, 02 "dogs", 01 first repetition, 12th actor: the example of the corpus's own page
    said = {u.id: u for u in manifest.utterances}["01-06-01-02-01-12"]
    assert (said.label, said.text, said.speaker) == ("fearful", "Dogs are sitting by the door.", "actor_12")
    assert (said.split, said.audio, said.video) == ("train", "Actor_12/03-01-06-01-02-01-12.wav", None)


def test_all_of_ravdess_has_the_published_counts_by_actor(tmp_path: Path):
    manifest = read_ravdess(write_ravdess(tmp_path, range(1, 25)))
    assert len(manifest.utterances) == 1440
    assert Counter(u.label for u in manifest.utterances) == dict.fromkeys(
        ("calm", "happy", "sad", "angry", "fearful", "disgust", "surprised"), 192
    ) | {"neutral": 96}
    speakers = {
        split: {u.speaker for u in manifest.utterances if u.split == split} for split in ("train", "dev", "test")
    }
    assert [len(names) for names in speakers.values()] == [16, 4, 4]
    assert not speakers["train"] & speakers["test"]


def test_links_out_of_the_folder_are_named(tmp_path: Path):
    there = write_ravdess(tmp_path / "there", (1,))
    here = tmp_path / "here"
    here.mkdir()
    for path in there.rglob("*.wav"):
        (here / path.name).symlink_to(path)
    with pytest.raises(CorpusError, match=r"03-01-0\S+wav is a link that leaves the corpus folder. Copy the files"):
        read_ravdess(here, partial=True)


def test_sentences_that_were_read_out_are_not_what_to_learn_from(tmp_path: Path, capsys):
    words = ["prepare", "ravdess", "--root", str(write_ravdess(tmp_path, (1, 2))), "--partial"]
    assert run([*words, "--out", str(tmp_path / "data")]) == 0
    said = capsys.readouterr().out
    assert "extract --config conf/extractors/audio_mel_statistics.yaml" in said
    assert "No dev utterance has a label" in said
    assert "No test utterance has a label" in said


def test_films_songs_and_other_files(tmp_path: Path):
    root = write_ravdess(tmp_path, (1, 2), films=True)
    for path in (root / "Actor_02").glob("0[13]-*"):
        path.unlink()
    song = root / "Actor_01/03-02-04-01-01-01-01.wav"
    song.write_bytes(b"la")
    (root / "Actor_01/notes.wav").write_bytes(b"x")
    (root / "Actor_01/03-01-01-01-01-01-01.wav").write_bytes(b"")
    manifest = read_ravdess(root, partial=True)
    said = {u.id: u for u in manifest.utterances}
    assert said["01-02-01-01-01-01"].video == "Actor_01/01-01-02-01-01-01-01.mp4"
    assert said["01-02-01-01-01-01"].audio == "Actor_01/03-01-02-01-01-01-01.wav"
    assert said["01-01-01-01-01-01"].audio == "Actor_01/01-01-01-01-01-01-01.mp4"  # the film's sound for the empty file
    assert said["01-02-01-01-01-02"].audio is None
    found = {d.what: len(d.ids) for d in manifest.defects}
    assert found == {
        "song": 1,
        "media file of another name": 1,
        "media file empty": 1,
        "film without sound, and no file of its sound": 60,
    }


def test_a_part_of_ravdess_needs_partial(tmp_path: Path):
    with pytest.raises(CorpusError, match=r"ravdess train has 60 utterances, expected 960"):
        read_ravdess(write_ravdess(tmp_path))
    (tmp_path / "empty").mkdir()
    with pytest.raises(CorpusError, match=r"has no file of speech such as .* Expected this tree"):
        read_ravdess(tmp_path / "empty", partial=True)


def test_cremad_gives_the_acted_emotion_and_all_votes(tmp_path: Path):
    manifest = read_cremad(write_cremad(tmp_path), partial=True)
    assert [(u.id, u.label, u.split, u.text) for u in manifest.utterances] == [
        ("1001_DFA_ANG_XX", "anger", "train", "Don't forget a jacket."),
        ("1070_IEO_NEU_XX", "neutral", "dev", "It's eleven o'clock."),
        ("1091_WSI_HAP_HI", "happy", "test", "We'll stop in a couple of minutes."),
    ]
    assert manifest.annotations["1001_DFA_ANG_XX"] == Annotation(
        votes={
            "voice": {"anger": 6, "disgust": 2, "neutral": 1},
            "face": {"anger": 2, "disgust": 2, "neutral": 4},
            "both": {"anger": 5, "disgust": 4, "neutral": 1},
        },
        raters={"voice": 9, "face": 8, "both": 10},
    )


@pytest.mark.parametrize(
    ("share", "expected"),
    [("0.2", ("anger", "disgust")), ("0.1", ("anger", "disgust", "neutral")), ("0.5", ("anger",)), ("0.9", ())],
)
def test_cremad_as_label_sets_by_the_share_of_the_raters(tmp_path: Path, share: str, expected: tuple[str, ...]):
    root, out = write_cremad(tmp_path), tmp_path / "data"
    arguments = ["prepare", "cremad", "--root", str(root), "--out", str(out), "--partial", "--least-share", share]
    assert run([*arguments, "--protocol", "cremad-votes"]) == 0
    manifest = Manifest.load(out)
    sets = {u.id: u.labels for u in manifest.utterances}
    assert sets["1001_DFA_ANG_XX"] == expected
    assert sets["1091_WSI_HAP_HI"] is None  # nobody rated it
    assert [d.ids for d in manifest.defects if "votes" in d.what] == [("1091_WSI_HAP_HI",)]


@pytest.mark.parametrize("row", ['"400001",1,0,0,0,0,0,"x",1,1,"A"', '"1",1,0,0,0,0,0,"x",1,1,"A"'])
def test_a_row_of_votes_of_no_known_group_is_refused(tmp_path: Path, row: str):
    root = write_cremad(tmp_path)
    (root / "processedResults/tabulatedVotes.csv").write_text(CREMAD_VOTES_HEADER + row + "\n")
    with pytest.raises(CorpusError, match=r"csv:2: the row is called .* expected six digits"):
        read_cremad(root, partial=True)


def test_cremad_is_checked(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    root = write_cremad(tmp_path)
    with pytest.raises(CorpusError, match="has 3 actors, expected 91"):
        read_cremad(root)
    (root / "processedResults/tabulatedVotes.csv").unlink()
    with pytest.raises(CorpusError, match=r"has no processedResults/tabulatedVotes.csv"):
        read_cremad(root, "cremad-votes", partial=True)
    arguments = ["prepare", "cremad", "--root", str(root), "--out", str(tmp_path / "data"), "--least-share", "0"]
    assert run(arguments) == 2
    assert "--least-share is 0; expected a share above 0" in capsys.readouterr().err
