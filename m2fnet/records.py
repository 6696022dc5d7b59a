"""The records that travel between stages. Times are in seconds, rates in Hz."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, get_args

Split = Literal["train", "dev", "test"]
SPLITS: tuple[Split, ...] = get_args(Split)
Modality = Literal["text", "audio", "visual"]
MODALITIES: tuple[Modality, ...] = get_args(Modality)
Crop = Literal["left", "right"]
LabelKind = Literal["single", "multi"]
LEAK = "leak"  # the kind of a defect: the same utterance is in two splits


@dataclass(frozen=True, slots=True)
class Utterance:
    """What one speaker says between two others.

    Attributes:
        id: unique in the corpus; the key of its embeddings in every store.
        corpus: name of the corpus, e.g. ``"meld"``.
        split: ``"train"``, ``"dev"`` or ``"test"``.
        dialogue: id of its dialogue.
        index: place in the dialogue, from 0, in speaking order.
        speaker: name of the speaker, or None when unknown.
        text: what was said, or None when there is no transcript.
        label: the one emotion of a single-label corpus; None in a multi-label corpus, and for an utterance that is
            context only (unlabelled, or labelled outside the label set).
        labels: all its emotions; None for an utterance that is context only, ``()`` for one that was labelled with none
            of them. Where ``label`` is given, it is that one.
        start_s: start in seconds on the clock of ``source`` (for MELD the episode), or None.
        end_s: end in seconds on the same clock, or None.
        audio: path of the file that holds its sound, relative to the manifest's ``root``, or None.
        video: path of the file that holds its picture, relative to ``root``, or None.
        audio_span: (start, end) in seconds inside the file ``audio``; None when the whole file is the utterance.
        video_span: the same inside the file ``video``. They differ when a corpus cuts its sound by utterance
            and its picture by dialogue, as IEMOCAP does.
        crop: the half of the frame in which the speaker sits, or None for the whole frame.
        defects: names of the defects found in it, e.g. ``"video missing"``.
        source: where it comes from, as ``file:line``.
    """

    id: str
    corpus: str
    split: Split
    dialogue: str
    index: int
    speaker: str | None = None
    text: str | None = None
    label: str | None = None
    labels: tuple[str, ...] | None = None
    start_s: float | None = None
    end_s: float | None = None
    audio: str | None = None
    video: str | None = None
    audio_span: tuple[float, float] | None = None
    video_span: tuple[float, float] | None = None
    crop: Crop | None = None
    defects: tuple[str, ...] = ()
    source: str | None = None

    def __post_init__(self) -> None:
        if self.label is not None:
            object.__setattr__(self, "labels", (self.label,))


@dataclass(frozen=True)
class Annotation:
    """What people noted of one utterance besides its labels.

    Attributes:
        votes: group of raters -> emotion -> how many of them chose it; a rater may choose several or none.
        raters: group of raters -> how many they were.
        values: name of a rating on a scale, such as ``"valence"`` -> its value.

    Example:
        >>> said = Annotation(votes={"raters": {"angry": 2, "sad": 1}}, raters={"raters": 3}, values={"valence": 1.5})
        >>> said.share("raters", "angry")
        0.6666666666666666
    """

    votes: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    raters: Mapping[str, int] = field(default_factory=dict)
    values: Mapping[str, float] = field(default_factory=dict)

    def share(self, group: str, emotion: str) -> float:
        """Share of the raters of ``group`` who chose ``emotion``, 0 to 1; 0 where there are none."""
        raters = self.raters.get(group, 0)
        return self.votes.get(group, {}).get(emotion, 0) / raters if raters else 0.0


@dataclass(frozen=True)
class Dialogue:
    """The utterances of one conversation in speaking order."""

    id: str
    split: Split
    utterances: tuple[Utterance, ...]

    def __len__(self) -> int:
        return len(self.utterances)

    def __iter__(self) -> Iterator[Utterance]:
        return iter(self.utterances)


@dataclass(frozen=True)
class LabelSet:
    """The emotions of a corpus in their fixed order; a label's place is its class number."""

    name: str
    classes: tuple[str, ...]
    kind: LabelKind = "single"

    def __post_init__(self) -> None:
        fewest = 2 if self.kind == "single" else 1  # of sets, one emotion is there or not
        if len(self.classes) < fewest or len(set(self.classes)) != len(self.classes):
            needed = "two different classes" if fewest == 2 else "one class, and each once"
            raise ValueError(f"A label set needs at least {needed}, got {self.classes}.")

    def index(self, label: str) -> int:
        """Class number of ``label``."""
        return self.classes.index(label)


@dataclass(frozen=True)
class Segment:
    """A stretch of a conversation in which one person speaks.

    Attributes:
        start_s: start in seconds from the beginning of the clip; None in a transcript without times.
        end_s: end in seconds, later than ``start_s``; None where that is.
        speaker: name of the speaker, or None when unknown.
        text: what was said, on one line, or None when there is no transcript. It comes from strangers and may hold
            HTML: whoever shows it escapes it.
        source: the place it was read from, as ``file:line``; None when no file tells it.
        text_source: name of the model that recognised ``text``; None where people wrote it, or there is none.
        speaker_source: by what ``speaker`` was guessed from the voice; None where a file names the speaker.
        no_text: why a recogniser that heard the segment gave no text; None without one, or with a text.

    Example:
        >>> Segment(0.0, 2.5, speaker="Ann", text="Look who is here!").speaker
        'Ann'
    """

    start_s: float | None
    end_s: float | None
    speaker: str | None = None
    text: str | None = None
    source: str | None = None
    text_source: str | None = None
    speaker_source: str | None = None
    no_text: str | None = None


@dataclass(frozen=True)
class SeenFrame:
    """A frame of a clip in which the visual extractor looked for faces.

    Attributes:
        time_s: when it is on the screen, in seconds from the beginning of the clip.
        faces: left, top, right, bottom of each face found, as shares 0..1 of the frame's width and height, the largest
            face first; empty where none was found.
    """

    time_s: float
    faces: tuple[tuple[float, float, float, float], ...] = ()


@dataclass(frozen=True)
class Prediction:
    """What a model predicts for one utterance of a conversation.

    Attributes:
        start_s: start in seconds from the beginning of the clip; None in a transcript without times.
        end_s: end in seconds on the same clock; None where ``start_s`` is.
        speaker: name of the speaker, or None when unknown.
        text: what was said, or None when there is no transcript; escaped by whoever shows it.
        emotion: the most probable emotion, one of the keys of ``probabilities``.
        probabilities: emotion -> probability, all emotions in class order; they sum to 1, but of a model of sets of
            emotions each is separate.
        modalities: what the model saw of the utterance.
        missing: modality -> why the model did not see it, e.g. ``"no face"``.
        frames: in which the model looked for faces, by time; empty where it did not.
        labels: the answer of a model of sets of emotions, possibly empty: those that reach their threshold; None where
            the answer is ``emotion``.
        thresholds: emotion -> the probability from which it is in ``labels``; empty where that is None.
        text_source: name of the model that recognised ``text``; None where people wrote it, or there is none.
        speaker_source: by what ``speaker`` was guessed from the voice; None where a file names the speaker.
        ratings: scale, such as ``valence``, -> the predicted value; empty of a model that rates nothing.
    """

    start_s: float | None
    end_s: float | None
    speaker: str | None
    text: str | None
    emotion: str
    probabilities: dict[str, float]
    modalities: tuple[str, ...]
    missing: dict[str, str] = field(default_factory=dict)
    frames: tuple[SeenFrame, ...] = ()
    labels: tuple[str, ...] | None = None
    thresholds: dict[str, float] = field(default_factory=dict)
    text_source: str | None = None
    speaker_source: str | None = None
    ratings: dict[str, float] = field(default_factory=dict)

    @property
    def answers(self) -> tuple[str, ...]:
        """The emotions that are the answer: one, or of a set any number."""
        return (self.emotion,) if self.labels is None else self.labels

    @property
    def as_words(self) -> str:
        """The answer with its probabilities.

        Example:
            >>> chances = {"joy": 0.9, "fear": 0.6}
            >>> Prediction(0, 1, None, "Hi!", "joy", chances, ("text",), labels=("joy", "fear")).as_words
            'joy 90 %, fear 60 %'
            >>> Prediction(0, 1, None, "Hi!", "joy", chances, ("text",), labels=()).as_words
            'none'
        """
        return ", ".join(f"{name} {100 * self.probabilities[name]:.0f} %" for name in self.answers) or "none"

    @property
    def confidence(self) -> float:
        """Probability of the answer."""
        return self.probabilities[self.emotion]


@dataclass(frozen=True)
class ScoredPrediction:
    """What a network predicted for one utterance, and its true emotion; a `Prediction` has none.

    Attributes:
        id: of the utterance.
        dialogue: of its dialogue.
        label: its true emotion; None for a context utterance.
        predicted: the emotion with the highest probability.
        probabilities: emotion -> probability.
    """

    id: str
    dialogue: str
    label: str | None
    predicted: str
    probabilities: dict[str, float]

    @property
    def label_sets(self) -> tuple[tuple[str, ...] | None, tuple[str, ...]]:
        """The true set (None for a context utterance) and the predicted set, of one emotion each."""
        return None if self.label is None else (self.label,), (self.predicted,)


@dataclass(frozen=True)
class ScoredLabelSet:
    """What a network predicted for one utterance of a multi-label corpus, and its true emotions.

    Attributes:
        id: of the utterance.
        dialogue: of its dialogue.
        labels: its true emotions, possibly none; None for a context utterance.
        predicted: the emotions whose probability reaches their threshold.
        probabilities: emotion -> probability; they do not sum to 1.
    """

    id: str
    dialogue: str
    labels: tuple[str, ...] | None
    predicted: tuple[str, ...]
    probabilities: dict[str, float]

    @property
    def label_sets(self) -> tuple[tuple[str, ...] | None, tuple[str, ...]]:
        """The true set (None for a context utterance) and the predicted set."""
        return self.labels, self.predicted


Scored = ScoredPrediction | ScoredLabelSet


@dataclass(frozen=True)
class Defect:
    """Something wrong in a raw corpus.

    Attributes:
        what: a sentence for people.
        ids: of the utterances or dialogues it concerns.
        done: what was done about it.
        kind: a word for programs, such as `LEAK`; empty where no program needs one.
    """

    what: str
    ids: tuple[str, ...]
    done: str
    kind: str = ""

    def as_dict(self) -> dict[str, object]:
        """The JSON form, with the number of ids."""
        return {
            "what": self.what,
            "kind": self.kind,
            "count": len(self.ids),
            "done": self.done,
            "ids": list(self.ids),
        }


def group_dialogues(utterances: Sequence[Utterance]) -> list[Dialogue]:
    """Dialogues in the order of their first utterance, each sorted by ``index``."""
    groups: dict[str, list[Utterance]] = {}
    for utterance in utterances:
        groups.setdefault(utterance.dialogue, []).append(utterance)
    return [
        Dialogue(name, members[0].split, tuple(sorted(members, key=lambda utterance: utterance.index)))
        for name, members in groups.items()
    ]
