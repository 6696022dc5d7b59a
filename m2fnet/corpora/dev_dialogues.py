"""Which training dialogues become dev, where a corpus does not say or its dev cannot choose."""

import random
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path

from m2fnet.errors import UsageError
from m2fnet.manifest import Manifest
from m2fnet.manifest.table import collected

DEV_SHARE = 0.1
HELP = (
    "dialogues that become dev, taken from those that are not test: a share such as 0.15, names with commas between "
    "them, or a file with one name per line"
)


def draw_dialogues(names: Collection[str], share: float, seed: int = 0) -> tuple[str, ...]:
    """A random ``share`` of the dialogues ``names``, the same for the same names in any order; at least one.

    Example:
        >>> draw_dialogues(["a", "b", "c", "d"], 0.5)
        ('b', 'd')
        >>> draw_dialogues(["d", "c", "b", "a"], 0.5) == draw_dialogues(["a", "b", "c", "d"], 0.5)
        True
    """
    count = min(max(round(share * len(names)), 1), len(names) - 1) if share else 0
    return tuple(sorted(random.Random(seed).sample(sorted(names), count)))


def chosen_dialogues(wanted: str, names: Sequence[str], seed: int = 0) -> tuple[tuple[str, ...], str]:
    """The dialogues that ``--dev-dialogues`` asks for among ``names``, and in words how they were chosen.

    Args:
        wanted: a share of at least 0 and below 1, names with commas between them, or a file with one name per line.
        names: the dialogues to choose from.
        seed: of the draw of a share.

    Raises:
        UsageError: if a name is none of ``names``, or nothing would remain for training.

    Example:
        >>> chosen_dialogues("b,c", ["a", "b", "c"])
        (('b', 'c'), '2 dialogues by name')
    """
    try:
        share = float(wanted)
    except ValueError:
        file = Path(wanted)
        listed = file.read_text(encoding="utf-8").splitlines() if file.is_file() else wanted.split(",")
        chosen = tuple(dict.fromkeys(name.strip() for name in listed if name.strip()))
        how = f"{len(chosen)} dialogues by name"
    else:
        if not 0 <= share < 1:
            raise UsageError(f"--dev-dialogues is {wanted}, expected a share of at least 0 and below 1, or names.")
        chosen, how = (
            draw_dialogues(names, share, seed),
            f"{share:.0%} of the training dialogues, drawn with seed {seed}",
        )
    if unknown := [name for name in chosen if name not in names]:
        raise UsageError(
            f"--dev-dialogues names {unknown[0]!r}, which is no training dialogue; expected names such as "
            f"{', '.join(sorted(names)[:3])}."
        )
    if len(chosen) >= len(names):
        raise UsageError(f"--dev-dialogues takes all {len(names)} dialogues, so none remains to train on; name fewer.")
    return chosen, how


def with_dev(manifest: Manifest, wanted: str, seed: int = 0) -> Manifest:
    """The manifest with other dev dialogues: those ``wanted``, while all others that are not test are for training.

    Raises:
        UsageError: as `chosen_dialogues`.
    """
    names = list(dict.fromkeys(u.dialogue for u in manifest.utterances if u.split != "test"))
    chosen, how = chosen_dialogues(wanted, names, seed)
    dev = frozenset(chosen)
    return replace(
        manifest,
        utterances=collected(
            u if u.split == "test" else replace(u, split="dev" if u.dialogue in dev else "train")
            for u in manifest.utterances
        ),
        provenance={**manifest.provenance, "dev": how},
    )
