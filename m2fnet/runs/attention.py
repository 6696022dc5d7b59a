"""What the fusion layers of a run read in some dialogues, as ``m2fnet dialog test`` wrote it."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from m2fnet.errors import RunError
from m2fnet.files import read_json

ATTENTION = "attention.json"


@dataclass(frozen=True)
class DialogueAttention:
    """What the fusion layers of a run read in one dialogue.

    Attributes:
        dialogue: its id.
        utterances: speaker and true emotion of each.
        maps: layer and modality of the keys -> shares (U, U); a row reads, a column is read.
    """

    dialogue: str
    utterances: tuple[str, ...]
    maps: Mapping[tuple[int, str], NDArray[np.float64]]

    @classmethod
    def read(cls, run: Path) -> list["DialogueAttention"]:
        """The dialogues in ``attention.json`` of the run folder.

        Raises:
            RunError: if there is none, or it is damaged.

        Example:
            >>> import tempfile
            >>> from m2fnet.files import write_json
            >>> said = [{"speaker": "Ann", "label": "joy"}]
            >>> read = [{"layer": 1, "keys": "audio", "weights": [[1.0]]}]
            >>> with tempfile.TemporaryDirectory() as folder:
            ...     dialogue = {"dialogue": "a", "utterances": said, "attention": read}
            ...     write_json(Path(folder) / ATTENTION, {"dialogues": [dialogue]})
            ...     DialogueAttention.read(Path(folder))[0].utterances
            ('Ann: joy',)
        """
        path, advice = run / ATTENTION, f"`m2fnet dialog test --config {run / 'config.yaml'}` writes it again."
        content = read_json(path, RunError, advice)
        try:
            found = [cls._of(dialogue) for dialogue in content["dialogues"]]
        except (KeyError, TypeError, ValueError, AttributeError) as problem:
            raise RunError(f"{path} is damaged ({problem!r}). {advice}") from problem
        return found

    @classmethod
    def _of(cls, content: Mapping[str, Any]) -> "DialogueAttention":
        rows = content["utterances"] if "utterances" in content else content["turns"]  # the key of older runs
        utterances = tuple(f"{row['speaker'] or 'someone'}: {row['label'] or 'no label'}" for row in rows)
        maps = {(int(one["layer"]), str(one["keys"])): np.array(one["weights"], float) for one in content["attention"]}
        for shares in maps.values():
            if shares.shape != (len(utterances), len(utterances)) or not (np.abs(shares - 0.5) <= 0.5).all():
                raise ValueError(
                    f"shares of shape {shares.shape} for {len(utterances)} utterances, each expected from 0 to 1"
                )
        return cls(str(content["dialogue"]), utterances, maps)
