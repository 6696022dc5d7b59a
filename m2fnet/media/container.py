"""The one border to FFmpeg: files are opened here, and every fault of one is raised as `MediaError`."""

import math
import re
import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, Literal, TypeVar

import av
from av.audio.codeccontext import AudioCodecContext
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.stream import Disposition
from av.video.stream import VideoStream

from m2fnet.errors import MediaError

# Containers of sound and pictures themselves. No playlists (hls, concat, dash, ...): they name other files.
DEMUXERS = (
    "aac,ac3,aiff,amr,amrnb,amrwb,asf,au,avi,caf,eac3,flac,flv,gif,h264,m4v,matroska,mov,mp3,mp4,mpeg,mpegts,mpegvideo,"
    "ogg,w64,wav,webm,wv"
)
MAX_PIXELS = 7680 * 4320  # a frame of more is an attack on the memory, no recording of a conversation
RAW = frozenset(
    {"aac", "ac3", "amr", "amrnb", "amrwb", "eac3", "h264", "m4v", "mp3", "mpegvideo"}
)  # streams without a clock: FFmpeg guesses their length
_BY_A_RATE = frozenset({"wav", "w64", "aiff", "au", "caf"})
_PCM = re.compile(r"pcm_[suf]([0-9]+)(?:be|le)?")
_UNKNOWN_SIZE = 0x7FFF0000  # written by programs that did not know yet how long the file would be
_TAG = re.compile(r"([0-9]{2,}):([0-5][0-9]):([0-5][0-9](?:\.[0-9]+)?)")  # of Matroska, hours:minutes:seconds

S = TypeVar("S", AudioStream, VideoStream)


@dataclass(frozen=True)
class Media(Generic[S]):
    """An open file with the stream that is read from it.

    Attributes:
        container: the file.
        stream: its default stream of sound or of pictures, otherwise the first.
        origin: time stamp in seconds at which the file begins; spans count from there.
    """

    container: InputContainer
    stream: S
    origin: float

    @property
    def begin(self) -> float:
        """Second at which the stream begins, as the file declares it."""
        return self.seconds(self.stream.start_time) if self.stream.start_time is not None else 0.0

    @property
    def end(self) -> float | None:
        """Second at which the stream ends, as the file declares it; None where it does not, or where FFmpeg guesses."""
        if self.container.format.name in RAW or self.is_timed_by_a_rate:
            return None
        if self.stream.duration is not None:
            return self.seconds((self.stream.start_time or 0) + self.stream.duration)
        tag = _TAG.fullmatch(self.stream.metadata.get("DURATION", ""))
        if tag is None:
            return None
        return int(tag[1]) * 3600 + int(tag[2]) * 60 + float(tag[3]) - self.origin  # FFmpeg writes the last time stamp

    @property
    def is_timed_by_a_rate(self) -> bool:
        """Whether FFmpeg computes places and length from a byte rate in the header that may be wrong.

        Files such as WAV have no time stamps. FFmpeg itself writes a wrong rate for ADPCM, and jumps by it: only PCM
        whose rate is that of its samples can be searched by time.
        """
        context = self.stream.codec_context
        if self.container.format.name not in _BY_A_RATE or not isinstance(context, AudioCodecContext):
            return False
        bits = _PCM.fullmatch(context.name)
        depth = 8 if context.name in ("pcm_alaw", "pcm_mulaw") else int(bits[1]) if bits else 0
        return depth == 0 or context.bit_rate != depth * context.sample_rate * context.channels

    @property
    def likely_end(self) -> float:
        """`end`, or else that of the whole file, which may be a guess, or 0 when nothing is known."""
        return self.end if self.end is not None else (self.container.duration or 0) / av.time_base

    def seconds(self, stamp: int) -> float:
        """Seconds from the origin of a time stamp of the stream."""
        assert self.stream.time_base is not None, "FFmpeg gives every stream a time base"
        return float(stamp * self.stream.time_base) - self.origin

    def key_before(self, time: float) -> int:
        """Number of the last known key frame at or before ``time``; -1 where the file has no index."""
        return self.stream.index_entries.search_timestamp(self._stamp(time))

    def seek(self, time: float) -> None:
        """Go to the last point at or before ``time`` (seconds from the origin) where decoding can start."""
        try:
            self.container.seek(self._stamp(time), stream=self.stream)
        except av.FFmpegError as error:  # "Operation not permitted"
            raise MediaError("decode", "the index of the file is damaged") from error

    def check_span(self, span: tuple[float, float]) -> None:
        """Do nothing if the stream, as the file declares it, covers ``span`` in seconds.

        Raises:
            MediaError: if it ends before the span begins, or clearly before the span ends.
        """
        if self.end is None:
            return
        start, stop = span
        what = {"audio": "sound", "video": "pictures"}[self.stream.type]
        if start >= self.end:
            raise MediaError("span", f"the span begins after the end of the {what}")
        if is_clearly_short(self.end - start, stop - start):
            raise MediaError("span", f"the span continues after the end of the {what}")

    def _stamp(self, time: float) -> int:
        assert self.stream.time_base is not None, "FFmpeg gives every stream a time base"
        return int((self.origin + time) / self.stream.time_base)


def is_clearly_short(found: float, expected: float) -> bool:
    """Whether ``found`` seconds are fewer than the ``expected`` ones by more than a tenth and 0.1 s.

    That much is usual: headers are rounded, coders pad, and spans were measured in other copies of a clip.
    """
    return found < 0.9 * expected - 0.1


def bounds_of(span: tuple[float, float] | None) -> tuple[float, float]:
    """Start and end in seconds of the part of a file that is wanted: those of ``span``, or without one all there is.

    Raises:
        MediaError: if the span is empty.
    """
    start, stop = span or (0.0, math.inf)
    if not 0 <= start < stop:
        raise MediaError("span", "the span is empty")
    return start, stop


def require_file(path: Path) -> None:
    """Do nothing if ``path`` is a regular file; a pipe would be waited on, and a device may have no end.

    Raises:
        MediaError: if it is anything else, or nothing.
    """
    if not path.is_file():
        raise MediaError("open", "it is no regular file" if path.exists() else "the file does not exist")


@contextmanager
def open_audio(path: Path) -> Iterator[Media[AudioStream]]:
    """The sound of ``path``.

    Raises:
        MediaError: if there is none, or for anything that goes wrong inside the block.
    """
    with _opened(path) as container:
        stream = _chosen(container.streams.audio, "sound")
        yield Media(container, stream, _origin(container))


@contextmanager
def open_video(path: Path) -> Iterator[Media[VideoStream]]:
    """The picture of ``path``; a cover image is not one.

    Raises:
        MediaError: if there is none, or for anything that goes wrong inside the block.
    """
    with _opened(path) as container:
        covers = Disposition.attached_pic | Disposition.timed_thumbnails | Disposition.still_image
        stream = _chosen([s for s in container.streams.video if not s.disposition & covers], "picture")
        context = stream.codec_context
        if context.width * context.height > MAX_PIXELS:
            raise MediaError("open", f"the pictures are larger than {MAX_PIXELS:,} pixels")
        context.options = {"max_pixels": str(MAX_PIXELS)}  # where a later frame is larger than the header says
        context.thread_count = 1  # workers already use every core
        yield Media(container, stream, _origin(container))


def _chosen(streams: Sequence[S], what: str) -> S:
    """The stream that a player takes: the first default one, or else the first that is not for a special audience."""
    if not streams:
        raise MediaError("open", f"the file has no {what}")
    special = Disposition.comment | Disposition.hearing_impaired | Disposition.visual_impaired | Disposition.dependent
    stream = min(streams, key=lambda s: (not s.disposition & Disposition.default, bool(s.disposition & special)))
    if getattr(stream, "codec_context", None) is None:  # the library's types say that this cannot be
        raise MediaError("open", f"the {what} is coded in an unknown way")
    return stream


@contextmanager
def _opened(path: Path) -> Iterator[InputContainer]:
    require_file(path)
    stage: Literal["open", "decode"] = "open"
    try:
        _check_riff(path)
        with av.open(
            str(path.resolve()),  # absolute: a name such as "concat:a|b" is never taken for a protocol
            metadata_errors="replace",
            container_options={"format_whitelist": DEMUXERS, "protocol_whitelist": "file"},
            stream_options=[],
            options={"max_pixels": str(MAX_PIXELS)},
        ) as container:
            stage = "decode"
            yield container
    except MediaError:
        raise
    except Exception as error:  # FFmpegError, ValueError, UnicodeDecodeError, PermissionError, EOFError, ...
        raise MediaError(stage, _reason(stage, error)) from error


def _check_riff(path: Path) -> None:
    """Refuse WAV and AVI files that were cut off: FFmpeg takes what is there for the whole."""
    with path.open("rb") as file:
        name, size = struct.unpack("<4sI", file.read(8).ljust(8, b"\0"))
    if name == b"RIFF" and size < _UNKNOWN_SIZE and path.stat().st_size < 0.9 * size:
        raise MediaError("open", "the file is shorter than its header says")


def _origin(container: InputContainer) -> float:
    return (container.start_time or 0) / av.time_base


def _reason(stage: str, error: Exception) -> str:
    """The error in plain words, and FFmpeg's own; without the path: reasons are counted over many files."""
    words = getattr(error, "strerror", None) or str(error)
    known: dict[type[Exception], str] = {
        PermissionError: "you may not read it",
        EOFError: "it ends too early",
        av.DecoderNotFoundError: "it is coded in a way that is not read; convert it by `ffmpeg -i FILE FILE.mp4`",
        MemoryError: "it needs more memory than there is",
    }
    if stage == "open":
        known[av.ArgumentError] = (
            "its format is not one of those that are read; convert it by `ffmpeg -i FILE FILE.mp4`"
        )
        known[av.InvalidDataError] = "it is not a clip of sound or pictures, or was cut off while it was copied"
    else:
        known[av.ArgumentError] = "its header or a frame is damaged"
        known[av.InvalidDataError] = "its sound or pictures are damaged"
    plain = next((text for kind, text in known.items() if isinstance(error, kind)), "it cannot be read")
    return f"{plain} ({type(error).__name__}{f': {words}' if words else ''})"
