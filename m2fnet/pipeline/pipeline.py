"""A clip, or a conversation in text, in; a `Prediction` for each of its turns out."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from torch import Tensor

from m2fnet.conversation.clip import manifest_of
from m2fnet.conversation.segments import SUFFIXES, Found, segments_in, segments_of
from m2fnet.errors import M2FNetError, PredictionError, UsageError
from m2fnet.manifest import Manifest
from m2fnet.model import Model, load_model
from m2fnet.pipeline.stages import TOGETHER, WINDOW, Embedded, Stages
from m2fnet.records import Prediction, Segment, Utterance
from m2fnet.store import Missing

Progress = Callable[[int, int], None]


class Pipeline:
    """What a trained model says of conversations.

    All turns of a conversation are context of each other, as in training; in a long one, those up to `WINDOW` turns
    away. With ``causal`` the context of a turn are the turns before it alone, the last `WINDOW`: the answer is what was
    known when it was spoken, the same that `stream` gives. A network trained on whole dialogues has not learnt for
    that; one trained with its own setting ``causal`` has. Where turns begin and end, the whole clip tells even then.
    Either way each turn is embedded once.

    Several threads may call one pipeline: it works for one at a time, and changes over after every few turns.

    Args:
        model: all stages of a trained run.
        device: where the networks run, such as ``cpu`` or ``cuda:0``.
        causal: let no turn see a later one.

    Raises:
        UsageError: if there is no such device.
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
        """
        return cls(load_model(place), device=device, causal=causal)

    def __call__(
        self,
        clip: str | Path | None = None,
        *,
        segments: str | Path | Sequence[Segment] | None = None,
        progress: Progress | None = None,
    ) -> list[Prediction]:
        """What the model says of each turn of a conversation, in speaking order.

        Args:
            clip: video or sound, or a transcript that is all there is; None: ``segments`` are.
            segments: who speaks when, and what: a file (SRT, VTT, RTTM, CSV), or the segments themselves. By default
                subtitles beside the clip, else where there is a voice, else the whole clip as one turn.
            progress: is told how many turns of how many are done.

        Raises:
            UsageError: if there is neither a clip nor segments.
            ConversationError: if the clip or the segments cannot be read.
            PredictionError: if they have nothing that the model takes.
        """
        clip, found = conversation_of(clip, segments)
        manifest = manifest_of(clip, found.segments, self.model.label_set)
        predictions = self._causal(manifest, progress) if self.causal else self._whole(manifest, progress)
        if not any(prediction.modalities for prediction in predictions):
            raise PredictionError(_nothing_to_use(clip, predictions))
        return predictions

    def batch(self, clips: Iterable[str | Path]) -> Iterator[tuple[Path, list[Prediction] | M2FNetError]]:
        """Each clip with what the model says of its turns, or with the error that kept it from that, one at a time."""
        for clip in map(Path, clips):
            try:
                yield clip, self(clip)
            except M2FNetError as problem:
                yield clip, problem

    def stream(self) -> "Stream":
        """A conversation that goes on: turn after turn in, what the model says of each out."""
        return Stream(self.model, self._stages)

    def _whole(self, manifest: Manifest, progress: Progress | None) -> list[Prediction]:
        utterances = manifest.utterances
        embedded: list[Embedded] = []
        while len(embedded) < len(utterances):
            wanted = range(len(embedded), min(len(embedded) + TOGETHER, len(utterances)))
            embedded += self._stages.embed(manifest, utterances, wanted)
            if progress is not None:
                progress(len(embedded), len(utterances))
        rows = zip(utterances, embedded, self._stages.judge(embedded), strict=True)
        return [_prediction(self.model, *row) for row in rows]

    def _causal(self, manifest: Manifest, progress: Progress | None) -> list[Prediction]:
        stream = self.stream()
        predictions: list[Prediction] = []
        for utterance in manifest.utterances:
            predictions.append(stream.add_utterance(manifest, utterance))
            if progress is not None:
                progress(len(predictions), len(manifest.utterances))
        return predictions


class Stream:
    """A conversation that goes on; one thread at a time adds to it.

    It remembers the last `WINDOW` turns. What was said of a turn stays: no turn is judged again.
    """

    def __init__(self, model: Model, stages: Stages) -> None:
        self._model, self._stages = model, stages
        self._spoken = 0
        self._utterances: deque[Utterance] = deque(maxlen=WINDOW)
        self._embedded: deque[Embedded] = deque(maxlen=WINDOW)

    def add(self, turn: Segment, clip: str | Path | None = None) -> Prediction:
        """What the model says of the next turn, given those before it.

        Args:
            turn: who says what, and from when to when in ``clip``.
            clip: where it is heard and seen: one file for all turns, or one for each; None for text alone.

        Raises:
            ConversationError: if the clip cannot be read.
        """
        manifest = manifest_of(Path(clip) if clip is not None else None, (turn,), self._model.label_set)
        (utterance,) = manifest.utterances
        named = replace(utterance, id=f"{utterance.dialogue}_{self._spoken}", index=self._spoken)  # as in one manifest
        return self.add_utterance(manifest, named)

    def add_utterance(self, manifest: Manifest, utterance: Utterance) -> Prediction:
        """The same of an utterance of ``manifest``."""
        so_far = [*self._utterances, utterance]
        (embedded,) = self._stages.embed(manifest, so_far, range(len(so_far) - 1, len(so_far)))
        self._spoken += 1
        self._utterances.append(utterance)
        self._embedded.append(embedded)
        probabilities = self._stages.judge(list(self._embedded))[-1]
        return _prediction(self._model, utterance, embedded, probabilities)


def conversation_of(
    clip: str | Path | None, segments: str | Path | Sequence[Segment] | None = None
) -> tuple[Path | None, Found]:
    """The clip, None for text alone, and its turns with what told them; the arguments are those of a `Pipeline`.

    Raises:
        UsageError: if there is neither a clip nor segments.
        ConversationError: if one of them cannot be read.
    """
    clip = Path(clip) if clip is not None else None
    if segments is not None and not isinstance(segments, str | Path):
        return clip, Found(tuple(segments), "given segments")
    told_by = Path(segments) if segments is not None else None
    if clip is not None and told_by is None and clip.suffix.lower() in SUFFIXES:
        clip, told_by = None, clip
    if clip is not None:
        return clip, segments_of(clip, told_by)
    if told_by is not None:
        return None, segments_in(told_by)
    raise UsageError("Expected a clip, segments, or both, but got neither.")


def _prediction(model: Model, utterance: Utterance, embedded: Embedded, probabilities: Tensor) -> Prediction:
    classes, vectors = model.label_set.classes, embedded.vectors
    return Prediction(
        start_s=utterance.start_s,
        end_s=utterance.end_s,
        speaker=utterance.speaker,
        text=utterance.text,
        emotion=classes[int(probabilities.argmax())],
        probabilities=dict(zip(classes, probabilities.tolist(), strict=True)),
        modalities=tuple(name for name, found in vectors.items() if not isinstance(found, Missing)),
        missing={name: _why(name, utterance, v) for name, v in vectors.items() if isinstance(v, Missing)},
        frames=embedded.frames,
    )


def _why(modality: str, utterance: Utterance, missing: Missing) -> str:
    """Why a turn lacks a modality, in the words of somebody who knows the clip and not its manifest."""
    kind, file = {"audio": ("sound", utterance.audio), "visual": ("picture", utterance.video)}.get(modality, ("", ""))
    if file is not None:
        return missing.reason
    ended = f"the {kind} ends before the turn"
    return ended if ended in utterance.defects else f"there is no {kind}"


def _nothing_to_use(clip: Path | None, predictions: Sequence[Prediction]) -> str:
    reasons = "; ".join(f"{name}: {reason}" for name, reason in predictions[0].missing.items())
    return (
        f"No turn of {clip or 'the transcript'} ({len(predictions)} in all) has anything that the model takes. Of the "
        f"first one it asked for {reasons}. Give what is missing, or use a model of other modalities."
    )
