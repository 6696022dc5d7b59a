"""The labels of the MER challenges, from CSV tables and from NPZ archives whose pickles are not run."""

import io
import math
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.lib import format as npy

from m2fnet.corpora.label_sets import MER
from m2fnet.corpora.reading import MAX_BYTES, read_csv, shown
from m2fnet.errors import CorpusError


@dataclass(frozen=True)
class Labelled:
    """What is known of a clip: emotion and valence, None where they are not given."""

    emotion: str | None
    valence: float | None
    where: str


def read_label_csv(path: Path) -> dict[str, Labelled]:
    """The clips of a table with the columns name, discrete and perhaps valence.

    Raises:
        CorpusError: if the table or a cell of it is wrong; the message names the line.
    """
    return {
        row["name"]: Labelled(
            _emotion(row["discrete"], row.where), _valence(row["valence"], row.where), _place(row.where, path)
        )
        for row in read_csv(path, ("name", "discrete"))
    }


def read_names(path: Path) -> dict[str, Labelled]:
    """The clips of a table that only names them.

    Raises:
        CorpusError: if it is no table with the column name.
    """
    return {row["name"]: Labelled(None, None, _place(row.where, path)) for row in read_csv(path, ("name",))}


def read_label_npz(path: Path, part: str, *, is_optional: bool = False) -> dict[str, Labelled]:
    """The clips of one part of an archive of `numpy.savez`: a dictionary from name to emotion and valence.

    Raises:
        UnsafePickleError: if the dictionary holds more than plain data.
        CorpusError: if there is no such part and ``is_optional`` is False, or it is not such a dictionary.
    """
    # here, because the package of stores loads PyTorch, which tables do not need
    from m2fnet.store.safe_pickle import Machine, instructions, refused_if_damaged

    with refused_if_damaged(path), zipfile.ZipFile(path) as archive:
        if f"{part}.npy" not in archive.namelist():
            if is_optional:
                return {}
            raise CorpusError(f"{path} has no part {part}; its parts are {', '.join(archive.namelist()[:10])}.")
        if archive.getinfo(f"{part}.npy").file_size > MAX_BYTES:
            raise CorpusError(f"{path} has a part {part} of more than {MAX_BYTES // 2**20} MiB, expected labels.")
        content = io.BytesIO(archive.read(f"{part}.npy"))
        version = npy.read_magic(content)
        shape, _, dtype = (npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0)(content)
        if shape != () or dtype != np.dtype("O"):
            raise CorpusError(f"{path} has an array of shape {shape} as {part}, expected one dictionary.")
        array = Machine(path, texts=True).run(instructions(content))
        table = array.item() if isinstance(array, np.ndarray) and array.shape == () else None
    if not isinstance(table, dict):
        raise CorpusError(f"{path} has a {type(table).__name__} as {part}, expected a dictionary of clips.")
    clips = {}
    for number, (name, entry) in enumerate(table.items()):
        where = f"{path}: {part} {str(name)[:80]}"
        if not isinstance(name, str) or not isinstance(entry, dict) or "emo" not in entry:
            raise CorpusError(f"{where} is {shown(str(entry)[:80])}, expected a dictionary with emo and val.")
        valence = _valence(str(entry.get("val", "")), where)
        clips[name] = Labelled(_emotion(str(entry["emo"]), where), valence, f"{path.name}:{part}:{number}")
    return clips


def _place(where: str, path: Path) -> str:
    return where.removeprefix(f"{path.parent}/")


def _emotion(name: str, where: str) -> str:
    if name not in MER.classes:
        raise CorpusError(f"{where}: the emotion is {shown(name)}, expected one of {', '.join(MER.classes)}.")
    return name


def _valence(text: str, where: str) -> float | None:
    if not text:
        return None
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise CorpusError(f"{where}: the valence is {shown(text)}, expected a number.")
    return number
