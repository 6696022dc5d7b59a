"""A clip, or a conversation in text, in; a `Prediction` for each of its utterances out."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from torch import Tensor

from m2fnet.conversation.clip import manifest_of
from m2fnet.conversation.other_formats import advice_by_suffix
from m2fnet.conversation.predictions import Predictions
from m2fnet.conversation.segments import SUFFIXES, Found, segments_in, segments_of
from m2fnet.errors import M2FNetError, PredictionError, UsageError
from m2fnet.manifest import Manifest
from m2fnet.media.picture import is_picture
from m2fnet.model import Model, load_model
from m2fnet.pipeline.stages import TOGETHER, WINDOW, Embedded, Stages
from m2fnet.records import Prediction, Segment, Utterance
from m2fnet.store import Missing

Progress = Callable[[int, int], None]


class Pipeline:
    """A trained model that predicts the emotion of every utterance of a conversation.

    All utterances of a conversation are context of each other, as in training; in a long one, those up to `WINDOW`
    utterances away. With ``causal``, only the last `WINDOW` utterances before it are context: the prediction uses what
    was known when the utterance was spoken, and is the same that `stream` gives. A network trained on whole dialogues
    has not learnt for that; one trained with its setting ``causal`` has. Where utterances begin and end is found in the
    whole clip in both cases. Each utterance is embedded once.

    Several threads may call one pipeline: it works for one at a time, and switches between them after every few
    utterances.

    Args:
        model: all stages of a trained run.
        device: where the networks run, such as ``cpu`` or ``cuda:0``.
        causal: let no utterance see a later one.

    Raises:
        UsageError: if there is no such device.

    Example:
        >>> from m2fnet.pipeline import Pipeline
        >>> pipeline = Pipeline.from_pretrained("runs/meld/seed-0")  # doctest: +SKIP
        >>> pipeline("clip.mp4").to_pandas()[["start_s", "speaker", "emotion"]]  # doctest: +SKIP
           start_s speaker  emotion
        0      0.0     Ann      joy
        1      1.5     Bob  neutral

        A model of text needs no clip. This one is not trained:

        >>> from dialog.models.per_utterance import PerUtterance
        >>> from extractors.text.lsa import LSA
        >>> from m2fnet.problems import make_problem
        >>> from m2fnet.records import LabelSet
        >>> labels, lsa = LabelSet("own", ("joy", "anger")), LSA(width=2, min_df=1)
        >>> lsa.fit([{"text": text} for text in ("so happy", "so sad", "happy")])
        >>> network = PerUtterance(make_problem(labels, {"text": 2})).eval()
        >>> pipeline = Pipeline(Model(labels, {"text": lsa}, network, {"temperature": 1.0}))
        >>> pipeline(segments=[Segment(None, None, "Ann", "so happy")]).to_pandas()[["speaker", "text"]]
          speaker      text
        0     Ann  so happy
    """

    def __init__(self, model: Model, *, device: str = "cpu", causal: bool = False) -> None:
        self.model, self.causal = model, causal
        self._stages = Stages(model, device)

    @classmethod
    def from_pretrained(cls, place: str | Path, *, device: str = "cpu", causal: bool = False) -> "Pipeline":
        """The pipeline of a model folder, of the folder of a dialogue run, or of a name on the Hugging Face hub.

        Raises:
            M2FNetError: if there is no such model, or it is damaged.
            UsageError: if there is no such device.

        Example:
            >>> pipeline = Pipeline.from_pretrained("runs/meld/seed-0", device="cuda:0")  # doctest: +SKIP
            >>> Pipeline.from_pretrained("nowhere")  # doctest: +ELLIPSIS
            Traceback (most recent call last):
            ...
            m2fnet.errors.ModelError: There is no model 'nowhere': no folder has that name; expected the folder of ...
        """
        return cls(load_model(place), device=device, causal=causal)

    def __call__(
        self,
        clip: str | Path | None = None,
        *,
        segments: str | Path | Sequence[Segment] | None = None,
        progress: Progress | None = None,
    ) -> Predictions:
        """The emotion of each utterance of a conversation, in speaking order.

        Args:
            clip: video or sound, a photograph, which is one utterance without times, or the file of a transcript
                without sound or picture; None to predict from ``segments`` only.
            segments: who speaks when, and what: a file (SRT, VTT, RTTM, CSV), or the segments themselves. By default
                subtitles with the clip's name or inside it, else the stretches with a voice, else the whole clip as one
                utterance.
            progress: called with the number of utterances that are done and the number of all.

        Returns:
            A sequence of `Prediction`; ``to_pandas()`` makes a table of it, and a notebook shows it as one.

        Raises:
            UsageError: if there is neither a clip nor segments.
            ConversationError: if the clip or the segments cannot be read.
            PredictionError: if they have nothing that the model takes.
        """
        clip, found = conversation_of(clip, segments)
        manifest = manifest_of(clip, found.segments, self.model.label_set)
        predict = self._predict_causally if self.causal else self._predict_whole
        rows = zip(predict(manifest, progress or (lambda *_: None)), found.segments, strict=True)
        predictions = Predictions(_with_sources(self.model, *row) for row in rows)
        if not any(prediction.modalities for prediction in predictions):
            reasons = "; ".join(f"{name}: {reason}" for name, reason in predictions[0].missing.items())
            raise PredictionError(
                f"None of the utterances of {clip or 'the transcript'} ({len(predictions)} in all) has anything that "
                f"the model takes. Of the first one it asked for {reasons}. Give what is missing, or use a model of "
                "other modalities."
            )
        return predictions

    def batch(self, clips: Iterable[str | Path]) -> Iterator[tuple[Path, Predictions | M2FNetError]]:
        r"""Each clip with its predictions, or with the error that prevented them, one clip at a time.

        Example:
            >>> import tempfile
            >>> from dialog.models.per_utterance import PerUtterance
            >>> from extractors.text.lsa import LSA
            >>> from m2fnet.problems import make_problem
            >>> from m2fnet.records import LabelSet
            >>> labels, lsa = LabelSet("own", ("joy", "anger")), LSA(width=2, min_df=1)
            >>> lsa.fit([{"text": text} for text in ("so happy", "so sad", "happy")])
            >>> network = PerUtterance(make_problem(labels, {"text": 2})).eval()
            >>> pipeline = Pipeline(Model(labels, {"text": lsa}, network, {"temperature": 1.0}))
            >>> file = Path(tempfile.mkdtemp()) / "talk.srt"
            >>> _ = file.write_text("1\n00:00:00,000 --> 00:00:01,500\nso happy\n")
            >>> for clip, found in pipeline.batch([file, "nowhere.srt"]):
            ...     print(clip.name, type(found).__name__, None if isinstance(found, M2FNetError) else len(found))
            talk.srt Predictions 1
            nowhere.srt ConversationError None
        """
        for clip in map(Path, clips):
            try:
                yield clip, self(clip)
            except M2FNetError as problem:
                yield clip, problem

    def stream(self) -> "LiveConversation":
        """A conversation that is still going on: one utterance after the other in, the prediction of each out.

        Example:
            >>> from dialog.models.per_utterance import PerUtterance
            >>> from extractors.text.lsa import LSA
            >>> from m2fnet.problems import make_problem
            >>> from m2fnet.records import LabelSet
            >>> labels, lsa = LabelSet("own", ("joy", "anger")), LSA(width=2, min_df=1)
            >>> lsa.fit([{"text": text} for text in ("so happy", "so sad", "happy")])
            >>> network = PerUtterance(make_problem(labels, {"text": 2})).eval()
            >>> pipeline = Pipeline(Model(labels, {"text": lsa}, network, {"temperature": 1.0}))
            >>> live = pipeline.stream()
            >>> live.add(Segment(None, None, "Ann", "so happy")).modalities
            ('text',)
        """
        return LiveConversation(self.model, self._stages)

    def _predict_whole(self, manifest: Manifest, progress: Progress) -> list[Prediction]:
        utterances = manifest.utterances
        embedded: list[Embedded] = []
        while len(embedded) < len(utterances):
            wanted = range(len(embedded), min(len(embedded) + TOGETHER, len(utterances)))
            embedded += self._stages.embed(manifest, utterances, wanted)
            progress(len(embedded), len(utterances))
        answers = self._stages.answers(utterances, embedded)
        rows = zip(utterances, embedded, answers.probabilities, answers.ratings, strict=True)
        return [_prediction(self.model, *row) for row in rows]

    def _predict_causally(self, manifest: Manifest, progress: Progress) -> Iterator[Prediction]:
        stream = self.stream()
        for number, utterance in enumerate(manifest.utterances, start=1):
            yield stream.add_utterance(manifest, utterance)
            progress(number, len(manifest.utterances))


class LiveConversation:
    """A conversation that is still going on; one thread at a time adds to it.

    It remembers the last `WINDOW` utterances. A prediction is final: no utterance is predicted twice.
    """

    def __init__(self, model: Model, stages: Stages) -> None:
        self._model, self._stages = model, stages
        self._spoken = 0
        self._utterances: deque[Utterance] = deque(maxlen=WINDOW)
        self._embedded: deque[Embedded] = deque(maxlen=WINDOW)

    def add(self, segment: Segment, clip: str | Path | None = None) -> Prediction:
        """The prediction for the next utterance, given those before it.

        Args:
            segment: who says what, and from when to when in ``clip``.
            clip: where it is heard and seen: one file for all utterances, or one for each; None for text without sound
                and picture.

        Raises:
            ConversationError: if the clip cannot be read.
        """
        manifest = manifest_of(Path(clip) if clip is not None else None, (segment,), self._model.label_set)
        (utterance,) = manifest.utterances
        named = replace(utterance, id=f"{utterance.dialogue}_{self._spoken}", index=self._spoken)  # as in one manifest
        return _with_sources(self._model, self.add_utterance(manifest, named), segment)

    def add_utterance(self, manifest: Manifest, utterance: Utterance) -> Prediction:
        """The same for an utterance of ``manifest``."""
        so_far = [*self._utterances, utterance]
        (embedded,) = self._stages.embed(manifest, so_far, range(len(so_far) - 1, len(so_far)))
        self._spoken += 1
        self._utterances.append(utterance)
        self._embedded.append(embedded)
        answers = self._stages.answers(list(self._utterances), list(self._embedded))
        return _prediction(self._model, utterance, embedded, answers.probabilities[-1], answers.ratings[-1])


def conversation_of(
    clip: str | Path | None, segments: str | Path | Sequence[Segment] | None = None
) -> tuple[Path | None, Found]:
    """The clip, None for a transcript without one, and its utterances; the arguments are those of a `Pipeline`.

    Raises:
        UsageError: if there is neither a clip nor segments.
        ConversationError: if one of them cannot be read.

    Example:
        >>> from m2fnet.records import Segment
        >>> clip, found = conversation_of(None, [Segment(None, None, "Ann", "Hello!")])
        >>> found.source
        'given segments'
    """
    clip = Path(clip) if clip is not None else None
    if segments is not None and not isinstance(segments, str | Path):
        return clip, Found(tuple(segments), "given segments")
    file = Path(segments) if segments is not None else None
    is_text = clip is not None and (clip.suffix.lower() in SUFFIXES or advice_by_suffix(clip) is not None)
    if clip is not None and file is None and is_text:
        clip, file = None, clip
    if clip is not None and file is None and is_picture(clip):
        return clip, Found((Segment(None, None),), "a photograph")
    if clip is not None:
        return clip, segments_of(clip, file)
    if file is not None:
        return None, segments_in(file)
    raise UsageError("Expected a clip, segments, or both, but got neither.")


def _prediction(
    model: Model, utterance: Utterance, embedded: Embedded, probabilities: Tensor, ratings: Tensor
) -> Prediction:
    classes, vectors = model.label_set.classes, embedded.vectors
    by_name = dict(zip(classes, probabilities.tolist(), strict=True))
    thresholds = model.thresholds
    return Prediction(
        start_s=utterance.start_s,
        end_s=utterance.end_s,
        speaker=utterance.speaker,
        text=utterance.text,
        emotion=classes[int(probabilities.argmax())],
        probabilities=by_name,
        modalities=tuple(name for name, found in vectors.items() if not isinstance(found, Missing)),
        missing={
            name: _reason(model.extractors[name].modality, utterance, found)
            for name, found in vectors.items()
            if isinstance(found, Missing)
        },
        frames=embedded.frames,
        labels=tuple(name for name in classes if by_name[name] >= thresholds[name]) if thresholds else None,
        thresholds=thresholds,
        ratings=dict(zip(model.ratings, ratings.tolist(), strict=True)),
    )


def _with_sources(model: Model, prediction: Prediction, segment: Segment) -> Prediction:
    """The prediction with what no person wrote of its segment, and why a recogniser gave no words."""
    missing = dict(prediction.missing)
    if segment.no_text is not None:
        texts = [name for name in missing if model.extractors[name].modality == "text"]
        missing |= dict.fromkeys(texts, segment.no_text)
    return replace(prediction, missing=missing, text_source=segment.text_source, speaker_source=segment.speaker_source)


def _reason(modality: str, utterance: Utterance, missing: Missing) -> str:
    """Why an utterance lacks a modality, in the words of somebody who knows the clip and not its manifest."""
    kind, file = {"audio": ("sound", utterance.audio), "visual": ("picture", utterance.video)}.get(modality, ("", ""))
    if file is not None:
        return missing.reason
    ended = (defect for defect in utterance.defects if defect.startswith(f"the {kind} ends before"))
    return next(ended, f"there is no {kind}")
