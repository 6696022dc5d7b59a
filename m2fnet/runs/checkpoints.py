"""The checkpoints of a run: where they are, which one is asked for, and what they hold."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from m2fnet.errors import RunError, UsageError

BEST, LAST = "best", "last"  # on dev, and of the last epoch
SELECTED = {"dev": BEST, "last": LAST}  # what ``--select`` chose -> the checkpoint that holds it


def checkpoint_file(run: Path, name: str) -> Path:
    """The file of the checkpoint ``name`` in the folder ``run``.

    Example:
        >>> checkpoint_file(Path("runs/meld/seed-0"), BEST).as_posix()
        'runs/meld/seed-0/checkpoints/best.ckpt'
    """
    return run / "checkpoints" / f"{name}.ckpt"


def kept_weights(run: Path, fit: Mapping[str, object]) -> Path:
    """The checkpoint that a training selected, by what its ``fit.json`` says.

    Raises:
        RunError: if that file does not say it.

    Example:
        >>> kept_weights(Path("run"), {"select": "last"}).as_posix()
        'run/checkpoints/last.ckpt'
    """
    select = fit.get("select", "dev")
    if select not in SELECTED:
        raise RunError(f"{run / 'fit.json'} is damaged: select is {select!r}. Train the run again.")
    return checkpoint_file(run, SELECTED[str(select)])


def asked_weights(run: Path, asked: object, select: str) -> Path:
    """The checkpoint to evaluate: a file, or ``best`` or ``last`` of the run; by default what ``select`` kept.

    Raises:
        UsageError: if there is none.
    """
    name = str(asked) if asked is not None else SELECTED[select]
    path = checkpoint_file(run, name) if name in SELECTED.values() else Path(name)
    if not path.is_file():
        raise UsageError(f"There are no weights at {path}; train first with `fit`, or name a file with --checkpoint.")
    return path


def folder_of_results(run: Path, asked: object, select: str) -> Path:
    """Where the results of the weights that `asked_weights` finds are written: the run folder, or one in it for others.

    Example:
        >>> folder_of_results(Path("run"), "last", "dev").as_posix()
        'run/checkpoint-last'
    """
    kept = SELECTED[select]
    return run if asked in (None, kept) else run / f"checkpoint-{Path(str(asked)).stem}"


def read_checkpoint(path: Path, *, mmap: bool = False) -> dict[str, Any]:
    """What the checkpoint holds, tensors on the CPU; no code in it is run.

    Args:
        path: the file.
        mmap: read a tensor only when it is used.

    Raises:
        RunError: if the file is not a complete checkpoint of tensors and plain values.
    """
    try:
        # Lightning writes its checkpoints so; `weights_only` runs no code in them
        content = torch.load(path, weights_only=True, map_location="cpu", mmap=mmap)
    except Exception:  # a damaged file raises anything, and torch's message would ask to trust the file
        content = None
    if not isinstance(content, dict) or not {"state_dict", "pytorch-lightning_version"} <= content.keys():
        raise RunError(
            f"{path} is damaged or not a checkpoint, which holds only tensors and plain values. Train the "
            "run again with `fit --overwrite`, or name another checkpoint."
        )
    return content


def refuse_damaged(path: Path) -> None:
    """Refuse a file that is not a complete checkpoint."""
    read_checkpoint(path, mmap=True)
