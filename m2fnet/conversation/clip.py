"""A clip and its segments as a manifest of one dialogue."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from m2fnet.errors import ConversationError, MediaError
from m2fnet.manifest import Manifest
from m2fnet.media.container import open_audio, open_video
from m2fnet.media.frames import end_of
from m2fnet.media.picture import is_picture
from m2fnet.records import LabelSet, Segment, Utterance

_CORPUS = "own"

Span = tuple[float, float]


@dataclass(frozen=True)
class Streams:
    """What a clip holds.

    Attributes:
        sound_s: second at which its sound ends, infinite where the file does not say; None without sound.
        picture_s: the same for its picture.
    """

    sound_s: float | None
    picture_s: float | None

    @property
    def end_s(self) -> float:
        """Second at which the longer of the two ends."""
        return max(self.sound_s or 0.0, self.picture_s or 0.0)


def streams_of(clip: Path) -> Streams:
    """The streams of ``clip``, which is opened as media whatever its name is.

    Raises:
        ConversationError: if it is not a file with sound or a picture: a playlist, an archive, a folder, a device.
    """
    try:
        sound_s, no_sound = _sound_end(clip), ""
    except MediaError as problem:
        sound_s, no_sound = None, problem.reason
    try:
        picture_s = _picture_end(clip)
    except MediaError as problem:
        picture_s = None
        if sound_s is None:
            reasons = " and ".join(dict.fromkeys((no_sound, problem.reason)))
            if is_picture(clip):
                raise ConversationError(
                    f"{clip} is a still picture, which has no time in which somebody speaks. Give it without "
                    "segments, or make a clip of it: "
                    "`ffmpeg -loop 1 -i PICTURE -t 2 -pix_fmt yuv420p CLIP.mp4`."
                ) from problem
            raise ConversationError(
                f"{clip} cannot be used as a clip: {reasons}. Expected one file that holds sound or pictures itself, "
                "such as MP4, MKV, WebM, AVI, WAV, MP3 or FLAC; playlists and archives are not opened."
            ) from problem
    return Streams(sound_s, picture_s)


def manifest_of(
    clip: Path | None, segments: Sequence[Segment], label_set: LabelSet, name: str | None = None
) -> Manifest:
    """One unlabelled dialogue in the split ``"test"``, with one utterance per segment, in their order.

    Where a stream is absent the path is None. Where it ends before an utterance begins, the path is None too, and the
    ``defects`` of the utterance say so. Where it ends within an utterance, the span ends with it.

    Args:
        clip: video, sound or a photograph; None for a conversation that is only text.
        segments: at least one; with times if there is a clip; of a photograph one without times.
        label_set: the emotions of the model that the manifest is made for.
        name: of the dialogue; by default the clip's name without suffix, or ``"conversation"``.

    Raises:
        ConversationError: if the file is not a clip, a segment has no times although there is a clip, or there is no
            segment.

    Example:
        >>> said = [Segment(None, None, "Ann", "You came!"), Segment(None, None, "Bob", "Of course.")]
        >>> manifest = manifest_of(None, said, LabelSet("two", ("joy", "anger")))
        >>> [(u.id, u.speaker, u.text) for u in manifest.utterances]
        [('conversation_0', 'Ann', 'You came!'), ('conversation_1', 'Bob', 'Of course.')]
    """
    if not segments:
        raise ConversationError("A conversation needs at least one utterance, but there is none.")
    name = name or (clip.stem if clip is not None else "conversation")
    if clip is None:
        return Manifest(_CORPUS, label_set, tuple(_utterance(name, n, segment) for n, segment in enumerate(segments)))
    file = clip.resolve()  # media must be under the manifest's root, and the clip may be a link
    if ":" in file.name:
        raise ConversationError(f"{clip}: the name of a clip must not hold a colon. Rename the file.")
    if is_picture(clip) and len(segments) == 1 and segments[0].start_s is None:
        photographed = replace(_utterance(name, 0, segments[0]), video=file.name)
        return Manifest(_CORPUS, label_set, (photographed,), root=file.parent)
    return Manifest(_CORPUS, label_set, tuple(_utterances(clip, name, segments, file.name)), root=file.parent)


def _utterances(clip: Path, name: str, segments: Sequence[Segment], file: str) -> Iterator[Utterance]:
    streams = streams_of(clip)
    for index, segment in enumerate(segments):
        if segment.start_s is None or segment.end_s is None:
            raise ConversationError(
                f"{segment.source or f'Utterance {index + 1}'} has no times, but with a clip every utterance needs its "
                "start and end. Give segments with times, or only the transcript."
            )
        audio_span = _span(segment.start_s, segment.end_s, streams.sound_s)
        video_span = _span(segment.start_s, segment.end_s, streams.picture_s)
        spans = {"sound": (streams.sound_s, audio_span), "picture": (streams.picture_s, video_span)}
        yield replace(
            _utterance(name, index, segment),
            audio=file if audio_span else None,
            video=file if video_span else None,
            audio_span=audio_span,
            video_span=video_span,
            defects=tuple(
                f"the {kind} ends before the utterance"
                for kind, (end_s, span) in spans.items()
                if end_s is not None and span is None
            ),
        )


def _utterance(name: str, index: int, segment: Segment) -> Utterance:
    return Utterance(
        id=f"{name}_{index}",
        corpus=_CORPUS,
        split="test",
        dialogue=name,
        index=index,
        speaker=segment.speaker,
        text=segment.text,
        start_s=segment.start_s,
        end_s=segment.end_s,
        source=segment.source,
    )


def _span(start_s: float, end_s: float, stream_end_s: float | None) -> Span | None:
    """The part of an utterance that a stream covers."""
    if stream_end_s is None or stream_end_s <= start_s:
        return None
    return start_s, min(end_s, stream_end_s)


def _sound_end(clip: Path) -> float:
    with open_audio(clip) as media:
        return media.end if media.end is not None else math.inf


def _picture_end(clip: Path) -> float:
    with open_video(clip) as media:
        return end_of(media) or math.inf
