"""The files of a model folder: the allowed kinds, and the check that none has changed.

A model is a folder::

    model.json             classes and settings of all parts, their training data, SHA-256 of each file below and of
                           the rest of this file
    network.safetensors    weights of the dialogue network
    <stream>/...           weights of an extractor, and its other files, such as a tokenizer
    README.md              the model card; people may edit it, so it is not among the hashes
    *.onnx                 networks for other runtimes, if asked for; not read here
"""

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from m2fnet.errors import ModelError, UsageError
from m2fnet.files import read_json, sha256_of

CONFIG = "model.json"
CARD = "README.md"
NETWORK = "network.safetensors"
SEAL = "sha256"
FORMAT = 1
KINDS = (".json", ".model", ".onnx", ".safetensors", ".txt")  # settings, vocabularies, tensors; no pickle, no code
ADVICE = "Get the model again from where it came, or make it with `m2fnet export`."
_MOST_BYTES = 10 * 2**20  # of model.json, which has a few thousand
_UNLISTED = (CONFIG, CARD, ".gitattributes")
_NOT_OURS = (".git", ".cache")  # of a folder that was cloned, or downloaded by the hub's own command


def read_folder(folder: Path, root: Path) -> dict[str, Any]:
    """The content of ``model.json``, after every file it lists was compared with its hash, and no other was found.

    Args:
        folder: of the model.
        root: folder that all its files are in once links are followed; for a download the hub's cache of it.

    Raises:
        ModelError: if a file is missing, surplus, changed, or somewhere else, or ``model.json`` is too large.
    """
    _refuse_elsewhere(folder, CONFIG, root)
    if (folder / CONFIG).stat().st_size > _MOST_BYTES:
        raise ModelError(f"{folder / CONFIG} is larger than {_MOST_BYTES // 2**20} MiB, expected settings. {ADVICE}")
    content = read_json(folder / CONFIG, ModelError, ADVICE)
    if content.get("format") != FORMAT:
        raise ModelError(
            f"{folder / CONFIG} has the format {content.get('format')!r}, expected {FORMAT}; use the version of m2fnet "
            "that wrote it, or export the model again with this one."
        )
    listed = _listed(folder, content)
    surplus = sorted(files_in(folder) - listed.keys() - set(_UNLISTED))
    if surplus:
        raise ModelError(f"{folder} holds {surplus[0]!r}, which {CONFIG} does not list; remove it. {ADVICE}")
    for name, noted in listed.items():
        _refuse_elsewhere(folder, name, root)
        _refuse_changed(folder / name, noted)
    return content


def list_files(folder: Path) -> dict[str, dict[str, int | str]]:
    """Name -> ``{"bytes", "sha256"}`` of each file in ``folder`` that ``model.json`` has to list."""
    names = sorted(files_in(folder) - set(_UNLISTED))
    return {name: {"bytes": (folder / name).stat().st_size, "sha256": sha256_of(folder / name)} for name in names}


def sealed(content: Mapping[str, object]) -> dict[str, object]:
    """``content`` of ``model.json`` with the hash of all else in it, so that emotions renamed by hand are noticed."""
    rest = {key: value for key, value in content.items() if key != SEAL}
    return {**rest, SEAL: hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()}


def refuse_unsealed(folder: Path, content: Mapping[str, object]) -> None:
    """Refuse a ``model.json`` that was changed.

    Raises:
        ModelError: if its hash is missing or another.
    """
    if content.get(SEAL) != sealed(content)[SEAL]:
        raise ModelError(f"{folder / CONFIG} is not as it was written: its content differs from its {SEAL}. {ADVICE}")


def files_in(folder: Path) -> set[str]:
    """Names of all files in ``folder`` and below, with ``/`` between the parts; a link to a folder counts as a file."""
    found = set()
    for place, folders, files in os.walk(folder):
        inside = Path(place)
        if inside == folder:
            folders[:] = [name for name in folders if name not in _NOT_OURS]
        links = [name for name in folders if (inside / name).is_symlink()]
        found |= {(inside / name).relative_to(folder).as_posix() for name in (*files, *links)}
    return found


def refuse_used(folder: Path, *, overwrite: bool) -> None:
    """Refuse a folder that a new model may not replace.

    Raises:
        UsageError: if it is a file, holds something else than a model, or a model and ``overwrite`` is not given.
    """
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return
    if not (folder / CONFIG).is_file():
        raise UsageError(f"{folder} exists and is not a model; choose another folder.")
    if not overwrite:
        raise UsageError(f"{folder} already holds a model; choose another folder, or replace it with --overwrite.")
    names = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir()}
    own = names - _listed(folder, read_json(folder / CONFIG, ModelError, ADVICE)).keys() - set(_UNLISTED)
    if own:
        raise UsageError(f"{folder} holds {min(own)!r}, which is not of the model; choose another folder.")


def _listed(folder: Path, content: Mapping[str, object]) -> dict[str, dict[str, object]]:
    """The files in ``model.json``, whose names all stay inside the folder and are of a kind that runs no code."""
    files = content.get("files")
    if not isinstance(files, dict) or not all(isinstance(noted, dict) for noted in files.values()):
        raise ModelError(f"{folder / CONFIG} lists no files with their hashes. {ADVICE}")
    for name in files:
        path = PurePosixPath(name)
        stays = not path.is_absolute() and ".." not in path.parts and str(path) == name and not {"\\", ":"} & set(name)
        if not stays or path.suffix not in KINDS or name in _UNLISTED:
            raise ModelError(
                f"{folder / CONFIG} lists the file {name!r}; expected names inside the folder that end in "
                f"{', '.join(KINDS)}. Do not use this model."
            )
    return files


def _refuse_elsewhere(folder: Path, name: str, root: Path) -> None:
    path = folder / name
    try:
        is_inside, is_file = path.resolve().is_relative_to(root.resolve()), path.is_file()
    except (OSError, RuntimeError, ValueError):  # a loop of links, a name that no file can have
        is_inside = is_file = False
    if not is_file:
        raise ModelError(f"{path} is missing. {ADVICE}")
    if not is_inside:
        raise ModelError(f"{path} is a link that leads out of the model; expected the file itself. {ADVICE}")


def _refuse_changed(path: Path, noted: Mapping[str, object]) -> None:
    if path.stat().st_size != noted.get("bytes") or sha256_of(path) != noted.get("sha256"):
        raise ModelError(f"{path} is not as it was written: its size or SHA-256 differs from {CONFIG}. {ADVICE}")
