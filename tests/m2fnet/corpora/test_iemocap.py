from collections import Counter
from pathlib import Path

import pytest
from fake_corpora import Turn, small_iemocap, write_iemocap
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from m2fnet.corpora.iemocap import read_iemocap
from m2fnet.corpora.iemocap_protocols import (
    ERC_HAPPY,
    FILE_LABELS,
    SESSION_DIALOGUES,
    iemocap4,
    iemocap6,
    iemocap6_erc,
)
from m2fnet.errors import CorpusError, ManifestError

DEV_OF_SES04F = [
    "Ses04F_script01_3",
    "Ses04F_script02_1",
    "Ses04F_script02_2",
    "Ses04F_script03_1",
    "Ses04F_script03_2",
]
SPLIT_LABELS = {  # reference counts of the six-class split: hap sad neu ang exc fru
    "train": (392, 739, 1167, 711, 620, 1149),
    "dev": (60, 100, 157, 222, 122, 319),
    "test": (143, 245, 384, 170, 299, 381),
}


def release_names() -> list[str]:
    """Dialogue names with the release's counts per session, among them all that protocols name."""
    fixed = {turn.rsplit("_", 1)[0] for turn in ERC_HAPPY} | set(DEV_OF_SES04F)
    fixed |= {f"Ses04M_script{n:02}" for n in range(15)}
    for session, count in SESSION_DIALOGUES.items():
        present = sum(name.startswith(f"Ses0{session}") for name in fixed)
        fixed |= {f"Ses0{session}F_filler{n:02}" for n in range(count - present)}
    return sorted(fixed)


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A text-only tree with every published count of the release: 10,039 turns in 151 dialogues."""
    dialogues: dict[str, list[Turn]] = {name: [] for name in release_names()}
    for turn in sorted(ERC_HAPPY):
        dialogue, name = turn.rsplit("_", 1)
        dialogues[dialogue].append((name, 1.0, 2.0, "xxx"))
    dev = {name for name in dialogues if name.startswith("Ses04M") or name in DEV_OF_SES04F}
    test = {name for name in dialogues if name.startswith("Ses05")}
    members = {"train": sorted(set(dialogues) - dev - test), "dev": sorted(dev), "test": sorted(test)}
    labels = {
        split: [
            label for label, n in zip(("hap", "sad", "neu", "ang", "exc", "fru"), counts, strict=True) for _ in range(n)
        ]
        for split, counts in SPLIT_LABELS.items()
    }
    used = Counter(label for split in labels.values() for label in split) + Counter({"xxx": len(ERC_HAPPY)})
    labels["train"] += [label for label, count in FILE_LABELS.items() for _ in range(count - used[label])]
    for split, names in members.items():
        for place, label in enumerate(labels[split]):
            number = place // len(names)
            start = 10.0 + number
            dialogues[names[place % len(names)]].append(
                (f"{'FM'[number % 2]}{100 + number}", start, start + 0.5, label)
            )
    return write_iemocap(tmp_path_factory.mktemp("release"), dialogues, media=False)


def test_six_classes_have_the_published_counts(release: Path):
    manifest = read_iemocap(release, iemocap6())
    counts = manifest.counts()
    assert [counts[s]["dialogues"] for s in ("train", "dev", "test")] == [100, 20, 31]
    assert [counts[s]["labelled"] for s in ("train", "dev", "test")] == [4778, 980, 1622]
    assert len(manifest.utterances) == 10_039
    assert {d.id for d in manifest.dialogues("dev")} >= set(DEV_OF_SES04F)
    dropped = read_iemocap(release, iemocap6(), drop_unlabelled=True)
    assert len(dropped.utterances) == 7380
    assert all(u.label for u in dropped.utterances)
    assert all([u.index for u in d.utterances] == list(range(len(d))) for d in dropped.dialogues())


def test_the_erc_variant_adds_53_happy_turns(release: Path):
    manifest = read_iemocap(release, iemocap6_erc())
    counts = manifest.counts()
    assert counts["train"]["labelled"] + counts["dev"]["labelled"] == 5810
    assert counts["train"]["dialogues"] + counts["dev"]["dialogues"] == 120
    assert counts["test"]["labels"]["happy"] == 144
    assert {u.id for u in manifest.utterances if u.label == "happy"} >= ERC_HAPPY
    assert Counter(name[4] for name in ERC_HAPPY) == {"1": 8, "2": 8, "3": 36, "5": 1}


@pytest.mark.parametrize("fold", [1, 3, 5])
def test_four_classes_leave_one_session_out(release: Path, fold: int):
    manifest = read_iemocap(release, iemocap4(fold))
    counts = manifest.counts()
    assert sum(c["labelled"] for c in counts.values()) == 5531
    totals = Counter(u.label for u in manifest.utterances if u.label)
    assert totals == {"neutral": 1708, "happy": 1636, "angry": 1103, "sad": 1084}
    assert {u.dialogue[4] for u in manifest.utterances if u.split == "test"} == {str(fold)}
    assert counts["dev"]["dialogues"] == (151 - SESSION_DIALOGUES[fold]) // 10


def test_an_altered_release_needs_partial(release: Path, tmp_path: Path):
    with pytest.raises(CorpusError, match=r"has 1 dialogues in session 1, expected 28.*--partial"):
        read_iemocap(small_iemocap(tmp_path), iemocap6())


def test_a_turn_has_its_own_sound_and_its_share_of_the_film(tmp_path: Path):
    root = small_iemocap(tmp_path)
    manifest = read_iemocap(tmp_path, iemocap6(), partial=True)
    assert manifest.root == root
    dialogue = next(d for d in manifest.dialogues("train") if d.id == "Ses01F_impro01")
    assert [u.id[-4:] for u in dialogue.utterances] == ["F000", "M000", "F001", "M001"]  # by time, not by speaker
    assert [u.index for u in dialogue.utterances] == [0, 1, 2, 3]
    assert [u.label for u in dialogue.utterances] == ["happy", "excited", None, "neutral"]
    assert [u.crop for u in dialogue.utterances] == ["left", "right", "left", "right"]
    second = dialogue.utterances[1]
    assert second.speaker == "Ses01_M"
    assert second.text == "Words of M000."
    assert (second.start_s, second.end_s) == second.video_span == (7.5, 12.0)
    assert second.audio_span is None
    assert second.audio == "Session1/sentences/wav/Ses01F_impro01/Ses01F_impro01_M000.wav"
    assert second.video == "Session1/dialog/avi/DivX/Ses01F_impro01.avi"
    assert second.source == "Session1/dialog/EmoEvaluation/Ses01F_impro01.txt:13"
    other = next(d for d in manifest.dialogues("dev") if d.id == "Ses04M_impro01")
    assert [u.crop for u in other.utterances] == ["right", "left", "right", "left"]
    assert manifest.defects == ()


def test_what_is_missing_or_surplus_is_counted(tmp_path: Path):
    root = small_iemocap(tmp_path)
    (root / "Session1/sentences/wav/Ses01F_impro01/Ses01F_impro01_F000.wav").unlink()
    (root / "Session2/dialog/avi/DivX/Ses02F_impro01.avi").unlink()
    (root / "Session3/dialog/transcriptions/Ses03F_impro01.txt").unlink()
    (root / "Session1/dialog/EmoEvaluation/._Ses01F_impro01.txt").write_bytes(b"\0\5")
    (root / "Session1/dialog/EmoEvaluation/Categorical").mkdir()
    evaluation = root / "Session5/dialog/EmoEvaluation/Ses05F_impro01.txt"
    evaluation.write_text(evaluation.read_text() + "[1.0 - 2.0]\tSes05F_impro01_MXX0\tneu\t[1, 1, 1]\nwhat is this\n")
    lines = root / "Session1/dialog/transcriptions/Ses01F_impro01.txt"
    extra = ["M: (stage line)", "Ses01F_impro01_MXX0 [001.0000-002.0000]: no turn", "Ses01F_impro01_F000 [1-2]: again"]
    lines.write_bytes(lines.read_bytes() + "\n".join(extra).encode())
    manifest = read_iemocap(root, iemocap6(), partial=True)
    session3 = tuple(f"Ses03F_impro01_{turn}" for turn in ("F000", "F001", "M000", "M001"))
    assert {defect.what: defect.ids for defect in manifest.defects} == {
        "macOS ._ file": ("Session1/dialog/EmoEvaluation/._Ses01F_impro01.txt",),
        "label line of a turn without a number (XX)": ("Session5/dialog/EmoEvaluation/Ses05F_impro01.txt:22",),
        "evaluation line of no known kind": ("Session5/dialog/EmoEvaluation/Ses05F_impro01.txt:23",),
        "transcript line that is no turn": ("Session1/dialog/transcriptions/Ses01F_impro01.txt:5",),
        "transcript line of a turn without a label line": ("Session1/dialog/transcriptions/Ses01F_impro01.txt:6",),
        "second transcript of a turn": ("Ses01F_impro01_F000",),
        "dialogue avi missing": ("Ses02F_impro01",),
        "dialogue without a file of transcripts": ("Ses03F_impro01",),
        "sentence wav missing": ("Ses01F_impro01_F000",),
        "no transcript": session3,
    }
    utterances = {u.id: u for u in manifest.utterances}
    assert utterances["Ses01F_impro01_F000"].audio is None
    assert utterances["Ses01F_impro01_F000"].text == "Words of F000."
    assert utterances["Ses02F_impro01_F000"].video is utterances["Ses02F_impro01_F000"].crop is None
    assert utterances["Ses03F_impro01_F000"].text is None


def test_without_media_the_manifest_has_no_root(tmp_path: Path):
    manifest = read_iemocap(small_iemocap(tmp_path, media=False), iemocap6(), partial=True)
    assert manifest.root is None
    assert all(u.audio is u.video is u.crop is u.video_span is None for u in manifest.utterances)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("[1.0 - 2.0]\tSes01F_impro01_F000\tbliss\t[1, 1, 1]", r"txt:1: the label is 'bliss', expected one of xxx"),
        (
            "[1.0 - 2.0]\tSes02F_impro01_F000\tneu\t[1, 1, 1]",
            r"txt:1: the turn is called 'Ses02F.*expected Ses01F_impro01_",
        ),
        ("[1.0 - two]\tSes01F_impro01_F000\tneu\t[1, 1, 1]", r"txt:1 is .* expected a turn as"),
        (
            "[1.0 - 2.0]\tSes01F_impro01_F000\tneu\t[1, 1, 1]\n[3.0 - 4.0]\tSes01F_impro01_F000\tneu\t[1, 1, 1]",
            r"txt:2 gives the turn Ses01F_impro01_F000 again, first in .*txt:1",
        ),
        ("", r"Ses01F_impro01.txt is empty"),
    ],
)
def test_a_bad_evaluation_is_refused_with_file_and_line(tmp_path: Path, line: str, message: str):
    root = small_iemocap(tmp_path)
    (root / "Session1/dialog/EmoEvaluation/Ses01F_impro01.txt").write_text(line)
    with pytest.raises(CorpusError, match=message):
        read_iemocap(root, iemocap6(), partial=True)


def test_a_turn_that_the_erc_variant_relabels_must_be_unlabelled(tmp_path: Path):
    root = write_iemocap(tmp_path, {"Ses05F_impro07": [("M010", 1.0, 2.0, "sad"), ("F000", 3.0, 4.0, "hap")]})
    assert len(read_iemocap(root, iemocap6(), partial=True).utterances) == 2
    with pytest.raises(CorpusError, match="labels Ses05F_impro07_M010 as sad, but iemocap6-erc gives"):
        read_iemocap(root, iemocap6_erc(), partial=True)


def test_a_folder_that_is_not_iemocap_gets_the_expected_tree(tmp_path: Path):
    with pytest.raises(CorpusError, match=r"has no Session1/dialog/EmoEvaluation. Expected this tree:\nIEMOCAP_full"):
        read_iemocap(tmp_path, iemocap6(), partial=True)
    root = write_iemocap(tmp_path, {})
    with pytest.raises(CorpusError, match="has no turn in"):
        read_iemocap(root, iemocap6(), partial=True)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(body=st.binary(max_size=200), spoken=st.binary(max_size=200), keeps_turn=st.booleans())
def test_random_bytes_never_raise_anything_else(tmp_path: Path, body: bytes, spoken: bytes, keeps_turn: bool):
    dialog = tmp_path / "Session1/dialog"
    for folder in ("EmoEvaluation", "transcriptions"):
        (dialog / folder).mkdir(parents=True, exist_ok=True)
    turn = b"[1.0 - 2.0]\tSes01F_impro01_F000\tneu\t[1, 1, 1]\n" if keeps_turn else b""
    (dialog / "EmoEvaluation/Ses01F_impro01.txt").write_bytes(turn + body)
    (dialog / "transcriptions/Ses01F_impro01.txt").write_bytes(spoken)
    try:
        manifest = read_iemocap(tmp_path, iemocap6(), partial=True)
    except (CorpusError, ManifestError):
        return
    assert manifest.utterances
