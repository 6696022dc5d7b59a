"""What the notebooks share: a folder to work in, the command line in a cell, and what earlier notebooks make."""

import os
import shlex
import warnings
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path

from m2fnet import cli

# what a notebook writes -> the commands that make it; each does nothing if it is done already
MADE_BY = {
    "data/toy/manifest.jsonl": ["prepare toy --root raw/toy --out data/toy --dialogues 30 10 14"],
    "data/toy-sets/manifest.jsonl": [
        "prepare toy --root raw/toy --out data/toy --dialogues 30 10 14",
        "prepare toy --root raw/toy --out data/toy-sets --dialogues 30 10 14 --label-sets",
    ],
    **{
        f"embeddings/{corpus}": [
            f"extract --config conf/extractors/{config}.yaml --run runs/{run}{config} --manifest data/{corpus} "
            f"--out embeddings/{corpus}/{modality}"
            for modality, config in (
                ("text", "text_lsa"),
                ("audio", "audio_mel_statistics"),
                ("visual", "visual_face_gradients"),
            )
        ]
        for corpus, run in (("toy", ""), ("toy-sets", "sets-"))
    },
}


def enter(*needed: str) -> Path:
    """Go to the folder of the notebooks, make what is ``needed`` of `MADE_BY` there, and return the folder.

    It is ``runs/notebooks`` of the clone, or what the environment variable ``M2FNET_NOTEBOOKS`` names.
    """
    warnings.filterwarnings("ignore", message="IProgress not found")  # plain progress bars do
    folder = Path(os.environ.get("M2FNET_NOTEBOOKS", Path(__file__).parents[1] / "runs" / "notebooks"))
    folder.mkdir(parents=True, exist_ok=True)
    os.chdir(folder)
    for name in needed:
        for command in MADE_BY[name]:
            with redirect_stdout(StringIO()):
                m2fnet(command)
    return folder


def m2fnet(command: str) -> None:
    """Run ``m2fnet COMMAND`` as a shell would, but in this process, where torch is imported only once.

    Raises:
        RuntimeError: if it fails; the command has said why.
    """
    if cli.run(shlex.split(command)) != cli.DONE:
        raise RuntimeError(f"`m2fnet {command}` failed, see above.")
