"""The checkpoints of a run: which one is asked for, and whether it is whole."""

from pathlib import Path

import torch

from m2fnet.errors import RunError, UsageError

SELECTED = {"dev": "best", "last": "last"}  # what ``--select`` chose -> the checkpoint that holds it


def selected_weights(run: Path, asked: object, select: str) -> Path:
    """The checkpoint to evaluate: a file, or ``best`` or ``last`` of the run; by default what ``select`` kept."""
    name = str(asked) if asked is not None else SELECTED[select]
    path = run / "checkpoints" / f"{name}.ckpt" if name in ("best", "last") else Path(name)
    if not path.is_file():
        raise UsageError(f"There are no weights at {path}; train first with `fit`, or name a file with --checkpoint.")
    return path


def refuse_damaged(path: Path) -> None:
    """Refuse a file that is not a complete checkpoint; this check runs no code in it."""
    try:
        content = torch.load(path, weights_only=True, map_location="cpu", mmap=True)
    except Exception:  # a damaged file raises anything, and torch's message would ask to trust the file
        content = None
    if not isinstance(content, dict) or not {"state_dict", "pytorch-lightning_version"} <= content.keys():
        raise RunError(
            f"{path} is damaged or not a checkpoint, which holds only tensors and plain values. Train again with "
            "`fit --overwrite`, or name another file with --checkpoint."
        )
