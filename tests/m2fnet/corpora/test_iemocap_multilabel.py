"""Label sets from the raters' lines of IEMOCAP's evaluation files."""

from pathlib import Path

import pytest
from fake_corpora import IEMOCAP_HEADER

from m2fnet.cli import run
from m2fnet.corpora.iemocap import read_iemocap
from m2fnet.corpora.iemocap_protocols import SESSION_DIALOGUES, iemocap6, iemocap_multilabel
from m2fnet.errors import ManifestError
from m2fnet.manifest import ANNOTATIONS, Manifest
from m2fnet.records import Annotation

# The first block is printed in public notes on the release (CXianRen/AMST Doc/dataset/IEMOCAP.md); the others are made
# up in its format.
BLOCKS = """

[140.2250 - 145.6000]\tSes01F_impro05_F019\tang\t[1.5000, 4.0000, 4.5000]
C-E1:\tAnger;\t()
C-E3:\tAnger;\t()
C-E4:\tAnger;\t()
C-F1:\tAnger;\t()
A-E3:\tval 2; act 4; dom  4;\t()
A-E4:\tval 1; act 4; dom  5;\t(threatening, belligerent)
A-F1:\tval 1; act 5; dom  5;\t()

[150.0000 - 152.0000]\tSes01F_impro05_M019\txxx\t[2.5000, 2.5000, 2.5000]
C-E1:\tFrustration; Sadness;\t()
C-E3:\tNeutral state;\t()
C-E4:\tOther;\t(tired)
C-M1:\tExcited;\t()

[153.0000 - 154.0000]\tSes01F_impro05_M020\toth\t[2.5000, 2.5000, 2.5000]
C-E1:\tOther;\t(confused)
C-E3:\tOther;\t(bored)

[155.0000 - 156.0000]\tSes01F_impro05_M021\txxx\t[2.5000, 2.5000, 2.5000]
C-M1:\tFear; Surprise;\t()

[157.0000 - 158.0000]\tSes01F_impro05_MXX0\tneu\t[2.5000, 2.5000, 2.5000]
C-E1:\tDisgust;\t()

[159.0000 - 160.0000]\tSes01F_impro05_F020\thap\t[2.5000, 2.5000, 2.5000]
C-E1:\tNeutral;\t()
C-E3:\tBored;\t()
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for session in range(1, 6):
        folder = tmp_path / f"raw/Session{session}/dialog/EmoEvaluation"
        folder.mkdir(parents=True)
        name = f"Ses0{session}F_impro05"
        (folder / f"{name}.txt").write_text(IEMOCAP_HEADER + BLOCKS.replace("Ses01F_impro05", name))
    return tmp_path / "raw"


def test_the_label_set_is_the_union_of_what_the_evaluators_ticked(root: Path):
    manifest = read_iemocap(root, iemocap_multilabel(), partial=True)
    sets = {u.id.rsplit("_", 1)[1]: u.labels for u in manifest.utterances if u.dialogue == "Ses01F_impro05"}
    assert sets == {
        "F019": ("angry",),
        "M019": ("sad", "neutral", "frustrated"),  # the actor's own "Excited" is no evaluator's
        "M020": (),  # only "Other": none of the emotions
        "M021": None,  # no evaluator: unlabelled
        "F020": ("neutral",),
    }
    assert {u.label for u in manifest.utterances} == {None}
    assert manifest.label_set.kind == "multi"
    found = {defect.what: len(defect.ids) for defect in manifest.defects if "dialogue" not in defect.what}
    assert found["utterance without a line of an evaluator (C-E)"] == 5
    assert found["the file's label is an emotion that no evaluator ticked"] == 5
    assert found["rater's category of no known name"] == 5


def test_votes_and_scales_are_saved_next_to_the_manifest(root: Path, tmp_path: Path):
    manifest = read_iemocap(root, iemocap_multilabel(), partial=True)
    notes = manifest.annotations
    assert notes["Ses01F_impro05_F019"] == Annotation(
        votes={"raters": {"angry": 3}, "self": {"angry": 1}},
        raters={"raters": 3, "self": 1},
        values={"valence": 1.5, "activation": 4.0, "dominance": 4.5},
    )
    second = notes["Ses01F_impro05_M019"]
    assert second.votes == {
        "raters": {"frustrated": 1, "neutral": 1, "other": 1, "sad": 1},
        "self": {"excited": 1},
    }
    assert second.share("raters", "sad") == pytest.approx(1 / 3)
    assert second.share("nobody", "sad") == 0
    manifest.save(tmp_path / "data")
    assert Manifest.load(tmp_path / "data").annotations == notes
    (tmp_path / "data" / ANNOTATIONS).write_text("{}\n")
    with pytest.raises(ManifestError, match=r"annotations.jsonl was changed"):
        Manifest.load(tmp_path / "data")


def test_the_annotations_of_an_older_manifest_do_not_stay(root: Path, tmp_path: Path):
    manifest = read_iemocap(root, iemocap6(), partial=True)
    assert manifest.annotations  # the votes are facts of the corpus, whatever the protocol
    manifest.save(tmp_path / "data")
    Manifest(manifest.corpus, manifest.label_set, manifest.utterances).save(tmp_path / "data")
    assert not (tmp_path / "data" / ANNOTATIONS).exists()
    assert Manifest.load(tmp_path / "data").annotations == {}


@pytest.mark.parametrize(("fold", "dev"), [(5, 4), (3, 2), (1, 5)])
def test_sessions_are_the_splits(root: Path, fold: int, dev: int):
    manifest = read_iemocap(root, iemocap_multilabel(fold), partial=True)
    splits = {int(d.id[4]): d.split for d in manifest.dialogues()}
    expected = dict.fromkeys(SESSION_DIALOGUES, "train") | {fold: "test", dev: "dev"}
    assert splits == expected


def test_the_command_counts_label_sets_and_drops_only_the_unlabelled(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    arguments = ["prepare", "iemocap", "--root", str(root), "--out", str(tmp_path / "data"), "--partial"]
    assert run([*arguments, "--protocol", "iemocap-multilabel", "--drop-unlabelled"]) == 0
    manifest = Manifest.load(tmp_path / "data")
    assert len(manifest.utterances) == 20
    assert sum(u.labels == () for u in manifest.utterances) == 5
    assert "labelled        12       4       4" in capsys.readouterr().out
