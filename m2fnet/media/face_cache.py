"""Detected faces in a cache: one small file per clip."""

import hashlib
import json
from pathlib import Path
from typing import Any

from torch import Tensor

from m2fnet.files import write_text
from m2fnet.media.faces import Face, FaceDetector


class CachedFaceDetector:
    """A detector that searches the same frames only once.

    An entry is filed under the SHA-256 of the frames and of the detector's settings: it holds for a copy of the clip
    under another name, and can never be stale. Damaged entries are made again. Processes may share a folder.

    Args:
        detector: finds the faces the first time.
        folder: where entries are; deleting it costs only time.
    """

    def __init__(self, detector: FaceDetector, folder: Path) -> None:
        self.detector, self.folder = detector, folder

    def __call__(self, frames: Tensor) -> list[list[Face]]:
        """Faces of each frame of (T, H, W, 3) uint8, as the detector gives them."""
        entry = self._entry(frames)
        known = _read(entry, frames)
        if known is not None:
            return known
        found = self.detector(frames)
        write_text(entry, json.dumps([[[*face.box, face.confidence] for face in faces] for faces in found]))
        return found

    def _entry(self, frames: Tensor) -> Path:
        digest = hashlib.sha256(f"{self.detector.settings} {tuple(frames.shape)}".encode())
        digest.update(frames.numpy().tobytes())
        name = digest.hexdigest()
        return self.folder / name[:2] / f"{name}.json"


def _read(entry: Path, frames: Tensor) -> list[list[Face]] | None:
    """The faces in ``entry``; None where there is none, or it does not fit the frames."""
    try:
        content = json.loads(entry.read_bytes())
        found = [[_face(*row) for row in rows] for rows in content]
    except (OSError, ValueError, TypeError, RecursionError):
        return None
    count, height, width = frames.shape[:3]
    fits = all(_fits(face, width, height) for faces in found for face in faces)
    return found if fits and len(found) == count else None


def _face(left: Any, top: Any, right: Any, bottom: Any, confidence: Any) -> Face:  # noqa: ANN401
    if not all(type(value) is int for value in (left, top, right, bottom)) or type(confidence) is not float:
        raise TypeError("a box has whole numbers, a confidence is a fraction")
    return Face((left, top, right, bottom), confidence)


def _fits(face: Face, width: int, height: int) -> bool:
    left, top, right, bottom = face.box
    return 0 <= left < right <= width and 0 <= top < bottom <= height and 0 <= face.confidence <= 1
