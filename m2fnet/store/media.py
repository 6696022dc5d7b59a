"""Which media files embeddings were made from."""

import hashlib
import os
from collections.abc import Callable

from m2fnet.errors import MediaError
from m2fnet.manifest import Manifest

_SAMPLE = 65_536  # bytes at either end of a media file that are compared


def media_sha256(manifest: Manifest, modality: str, is_meant: Callable[[str], bool]) -> str | None:
    """One SHA-256 over the media files of utterances, to detect that a file was replaced; None where there are none.

    Of a large file its size, its beginning and its end count: a replaced one differs there, and reading them is quick.

    Args:
        manifest: knows the files.
        modality: ``"audio"`` or ``"visual"``; text has no files.
        is_meant: whether an utterance, by its id, is one of them.
    """
    if manifest.root is None or modality == "text":
        return None
    named = ((u.audio if modality == "audio" else u.video, u.id) for u in manifest.utterances)
    names = {name for name, utterance_id in named if name is not None and is_meant(utterance_id)}
    if not names:
        return None
    digest = hashlib.sha256()
    for name in sorted(names):
        digest.update(f"{name}\n".encode())
        try:
            with manifest.media_path(name).open("rb") as file:
                size = file.seek(0, os.SEEK_END)
                digest.update(f"{size}\n".encode())
                for start in (0, max(0, size - _SAMPLE)):
                    file.seek(start)
                    digest.update(file.read(_SAMPLE))
        except (OSError, MediaError):
            digest.update(b"cannot be read")
    return digest.hexdigest()
