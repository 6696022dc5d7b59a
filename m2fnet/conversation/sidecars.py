"""Subtitles in the folder of a clip, as players look for them: ``talk.srt`` or ``talk.en.srt`` for ``talk.mp4``."""

import re
from collections.abc import Sequence
from pathlib import Path

SIDECARS = (".srt", ".vtt", ".ass", ".ssa")  # the suffixes under which players look for subtitles, best first
_LANGUAGE = re.compile(
    r"(?:[a-z]{2,3}(?:[-_][a-z0-9]{2,8})*|english|german|deutsch|french|français|spanish|español|italian|italiano|"
    r"portuguese|português|russian|chinese|japanese|korean|arabic|hindi|dutch|polish|turkish|greek|hebrew|swedish|"
    r"danish|norwegian|finnish|czech|hungarian|romanian|vietnamese|thai|indonesian|ukrainian)"
)
_KINDS = frozenset((
    "forced", "sdh", "cc", "hi", "default", "full", "orig", "original", "auto",
))  # fmt: skip
_OWN_CUE = re.compile(r"\[(?:none|[^\[\]]+ [0-9]{1,3} %)\]")  # as `write_srt` begins them


def sidecars_of(clip: Path) -> list[Path]:
    """The files with subtitles that belong to a clip by their names, the one to be read first in front.

    The name is that of the clip, with any of a language, a kind (``forced``, ``sdh``, ...) or the clip's suffix behind
    it. First comes the one without; then those in the spoken language (``orig``, ``default``), in other languages by
    their names, for viewers who hear badly, and last those for foreign passages only. Another clip's subtitles, such as
    those of ``talk.en.mp4``, do not belong to it.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     for name in ("talk.mp4", "talk.forced.srt", "talk.en.sdh.srt", "talk.en.srt", "walk.srt"):
        ...         (Path(folder) / name).touch()
        ...     [path.name for path in sidecars_of(Path(folder) / "talk.mp4")]
        ['talk.en.srt', 'talk.en.sdh.srt', 'talk.forced.srt']
    """
    files = [path for path in clip.parent.iterdir() if path.is_file() and path.name != clip.name]
    clips = {path.stem.lower() for path in files if path.suffix.lower() not in SIDECARS}
    ranked = []
    for path in files:
        suffix, stem = path.suffix.lower(), path.stem
        if suffix not in SIDECARS or not stem.lower().startswith(clip.stem.lower()):
            continue
        rest = stem[len(clip.stem) :].lower()
        tags = rest.removeprefix(clip.suffix.lower()).split(".")[1:] if rest else []
        is_tagged = rest.startswith(".") and all(tag in _KINDS or _LANGUAGE.fullmatch(tag) for tag in tags)
        if rest and (not is_tagged or stem.lower() in clips):
            continue
        kinds = {kind for tag in tags for kind in re.split("[-_]", tag)}
        rank = (
            "forced" in kinds,
            bool(rest),
            not kinds & {"orig", "original", "default"},
            bool(kinds & {"sdh", "cc"}) or "hi" in tags[1:],
            SIDECARS.index(suffix),
            not stem.startswith(clip.stem),
            path.name,
        )
        ranked.append((rank, path))
    return [path for _, path in sorted(ranked)]


def similar_to(clip: Path) -> list[Path]:
    """Files with subtitles that may belong to a clip: their names begin as that of the clip and of no other file.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     for name in ("talk.mp4", "talk_english.srt", "talk2.mp4", "talk2.srt"):
        ...         (Path(folder) / name).touch()
        ...     [path.name for path in similar_to(Path(folder) / "talk.mp4")]
        ['talk_english.srt']
    """
    files = [path for path in clip.parent.iterdir() if path.is_file() and path.name != clip.name]
    others = tuple(path.stem.lower() for path in files if path.suffix.lower() not in SIDECARS)
    similar = (path for path in files if path.suffix.lower() in SIDECARS and path.stem.lower() not in others)
    return sorted(path for path in similar if path.stem.lower().startswith(clip.stem.lower()))


def is_forced(path: Path) -> bool:
    """Whether the name of a file says that its subtitles are for foreign passages only."""
    return "forced" in re.split(r"[._-]", path.stem.lower())


def is_own_output(texts: Sequence[str]) -> bool:
    """Whether the first lines of all cues are those of `write_srt`: the predictions, not what they are made from.

    Example:
        >>> is_own_output(["[joy 87 %, fear 6 %] Ann: Hi!", "[none] So."]), is_own_output(["[laughs] Hi!"])
        (True, False)
    """
    return any("%]" in text for text in texts) and all(_OWN_CUE.match(text) for text in texts)
