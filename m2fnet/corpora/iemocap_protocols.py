"""The label sets and splits under which IEMOCAP's scores are published."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from m2fnet.corpora.base import Counts
from m2fnet.corpora.label_sets import IEMOCAP4, IEMOCAP6, IEMOCAP_MULTI, IEMOCAP_NAMES
from m2fnet.records import LabelSet, Split

# all labels of the evaluation files with their counts over the whole corpus, and the dialogues of each session
FILE_LABELS = {
    "xxx": 2507, "fru": 1849, "neu": 1708, "ang": 1103, "sad": 1084, "exc": 1041, "hap": 595,
    "sur": 107, "fea": 40, "oth": 3, "dis": 2,
}  # fmt: skip
SESSION_DIALOGUES = {1: 28, 2: 30, 3: 32, 4: 30, 5: 31}

# conv-emotion's feature pickle gives these utterances without a majority (xxx) as happy: 53, of which 36 are in session
# 3 and one is in the test session. The list is the table in snailcoder/emodet@0659200 README.md, made by comparing the
# pickle with the release. With it, the labels of the release agree with all 7,433 of the pickle.
ERC_HAPPY = frozenset(
    f"{dialogue}_{name}"
    for dialogue, names in {
        "Ses01F_impro03": "F007 F011 F014 M012",
        "Ses01F_impro06": "M017",
        "Ses01F_impro07": "F007",
        "Ses01M_impro03": "F000",
        "Ses01M_impro07": "F002",
        "Ses02F_impro03": "F002 F005 F006 F007 F020",
        "Ses02M_impro03": "F010 F026 F027",
        "Ses03F_impro02": "M003",
        "Ses03F_impro03": "F000 F003 F010 M003 M008 M013 M016 M019",
        "Ses03F_impro04": "M020",
        "Ses03F_impro07": "F000 F002 F006 M016 M020 M031",
        "Ses03M_impro02": "F001",
        "Ses03M_impro03": "F000 F019 M005 M006 M008 M009 M010 M024 M025 M026 M027 M034 M036 M037",
        "Ses03M_impro05a": "F017",
        "Ses03M_impro07": "F020 M001 M012 M021",
        "Ses05F_impro07": "M010",
    }.items()
    for name in names.split()
)

# the dev dialogues of DialogXL, EmoBERTa and, by its table 1, M2FNet (arXiv:2206.02187) are all of Ses04M and these
_DEV_OF_SES04F = frozenset(f"Ses04F_script{n}" for n in ("01_3", "02_1", "02_2", "03_1", "03_2"))


@dataclass(frozen=True)
class Protocol:
    """One way to label and split IEMOCAP.

    Attributes:
        name: the corpus name of its manifests.
        label_set: its emotions.
        classes: label in the evaluation files -> emotion; an utterance with another label is context. In a multi-label
            protocol the raters' categories count, and this maps the emotion that the files give for comparison.
        relabelled: utterances that count as happy although the files give them no label.
        test_session: the session that is the test split.
        fixed_dev: dev is the published list; otherwise every tenth remaining dialogue in order of name.
        dev_session: the session that is the dev split, in place of both.
        counts: published counts per split, as `m2fnet.manifest.Manifest.counts` gives them.
    """

    name: str
    label_set: LabelSet
    classes: Mapping[str, str]
    relabelled: frozenset[str] = frozenset()
    test_session: int = 5
    fixed_dev: bool = False
    dev_session: int | None = None
    counts: Mapping[Split, Counts] = field(default_factory=dict)

    def emotion(self, utterance_id: str, file_label: str) -> str | None:
        """The emotion of an utterance, or None if it is context.

        Example:
            >>> iemocap6().emotion("Ses01F_impro01_F000", "exc"), iemocap4().emotion("Ses01F_impro01_F000", "exc")
            ('excited', 'happy')
        """
        return self.classes.get("hap" if utterance_id in self.relabelled else file_label)

    def splits(self, dialogues: Collection[str]) -> dict[str, Split]:
        """The split of every dialogue name.

        Example:
            >>> iemocap6().splits(["Ses01F_impro01", "Ses04M_impro01", "Ses05F_impro01"])
            {'Ses01F_impro01': 'train', 'Ses04M_impro01': 'dev', 'Ses05F_impro01': 'test'}
        """
        rest = sorted(name for name in dialogues if not name.startswith(f"Ses{self.test_session:02}"))
        if self.fixed_dev:
            dev = {name for name in rest if name.startswith("Ses04M") or name in _DEV_OF_SES04F}
        elif self.dev_session is not None:
            dev = {name for name in rest if name.startswith(f"Ses{self.dev_session:02}")}
        else:
            dev = set(rest[9::10])
        return {name: "test" if name not in rest else "dev" if name in dev else "train" for name in dialogues}


def iemocap6() -> Protocol:
    """Six emotions as the files give them, split as in M2FNet and EmoBERTa: 100/20/31 dialogues."""
    counts: dict[Split, Counts] = {
        "train": _counts(100, 4778, (392, 739, 1167, 711, 620, 1149)),
        "dev": _counts(20, 980, (60, 100, 157, 222, 122, 319)),
        "test": _counts(31, 1622, (143, 245, 384, 170, 299, 381)),
    }
    return Protocol("iemocap6", IEMOCAP6, IEMOCAP_NAMES, fixed_dev=True, counts=counts)


def iemocap6_erc() -> Protocol:
    """Six emotions with the 53 further happy utterances of DialogueRNN's features: sessions 1-4 against 5.

    Published work draws dev at random from the 120 training dialogues; here it is every tenth of them, for feature
    pickles too.
    """
    counts: dict[Split, Counts] = {
        "train": {"dialogues": 108},
        "dev": {"dialogues": 12},
        "test": _counts(31, 1623, (144, 245, 384, 170, 299, 381)),
    }
    return Protocol("iemocap6-erc", IEMOCAP6, IEMOCAP_NAMES, relabelled=ERC_HAPPY, counts=counts)


def iemocap4(fold: int = 5) -> Protocol:
    """Neutral, happy with excited, angry, sad; session ``fold`` is the test split, every tenth other dialogue dev."""
    classes = {"neu": "neutral", "hap": "happy", "exc": "happy", "ang": "angry", "sad": "sad"}
    counts: dict[Split, Counts] = {"test": {"dialogues": SESSION_DIALOGUES[fold]}}
    return Protocol("iemocap4", IEMOCAP4, classes, test_session=fold, counts=counts)


def iemocap_multilabel(fold: int = 5) -> Protocol:
    """All emotions that at least one rater ticked; session ``fold`` is test, the session before it dev, the rest train.

    No actor occurs in two splits.

    Example:
        >>> iemocap_multilabel().splits(["Ses03F_impro01", "Ses04M_impro01", "Ses05F_impro01"])
        {'Ses03F_impro01': 'train', 'Ses04M_impro01': 'dev', 'Ses05F_impro01': 'test'}
    """
    classes = IEMOCAP_NAMES | {"sur": "surprised", "fea": "fearful", "dis": "disgusted"}
    dev = fold - 1 or max(SESSION_DIALOGUES)
    counts: dict[Split, Counts] = {
        "dev": {"dialogues": SESSION_DIALOGUES[dev]},
        "test": {"dialogues": SESSION_DIALOGUES[fold]},
    }
    return Protocol("iemocap-multilabel", IEMOCAP_MULTI, classes, test_session=fold, dev_session=dev, counts=counts)


def _counts(dialogues: int, labelled: int, labels: tuple[int, ...]) -> Counts:
    by_label = dict(zip(IEMOCAP6.classes, labels, strict=True))
    return {"dialogues": dialogues, "labelled": labelled, "labels": by_label}
