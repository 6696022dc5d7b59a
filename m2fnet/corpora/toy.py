"""A made-up corpus in MELD's own layout, for trying everything out: three streams, planted emotions, real defects."""

import csv
import io
import os
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from itertools import accumulate
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from tqdm import tqdm

from m2fnet.corpora.meld import CLIP_FOLDERS
from m2fnet.corpora.toy_clip import FPS, shoot
from m2fnet.corpora.toy_defects import FEWEST_DIALOGUES, Planted, plant, spoil
from m2fnet.corpora.toy_script import Line, Script, write_script
from m2fnet.errors import CorpusError, UsageError
from m2fnet.files import read_json, replaced, replaced_folder, write_json, write_text
from m2fnet.records import SPLITS, Split

STAMP = "toy.json"
RECIPE = 1  # counts up whenever the same seed gives another corpus
_MOST_WORKERS = 8  # more take longer to start than they save

_COLUMNS = (
    "Sr No.", "Utterance", "Speaker", "Emotion", "Sentiment", "Dialogue_ID", "Utterance_ID", "Season", "Episode",
    "StartTime", "EndTime",
)  # fmt: skip


@dataclass(frozen=True)
class ToyTruth:
    """What was written: how many utterances per split, and which clips (or ids) have which planted defect."""

    utterances: dict[str, int]
    defects: Planted


def write_toy(
    root: Path,
    *,
    seed: int = 0,
    dialogues: tuple[int, int, int] = (40, 10, 20),
    defects: bool = True,
    workers: int | None = None,
    progress: bool = True,
) -> ToyTruth:
    """Write the toy corpus of ``seed`` to ``root`` and return what was planted in it.

    Dialogues of two to four speakers whose emotions flow from utterance to utterance; each row of the three tables has
    a clip with a voice and a face. No single modality tells the emotion. The same arguments give the same corpus.

    Args:
        root: folder to make; one that already holds the same corpus is not changed.
        seed: of everything random.
        dialogues: numbers of training, dev and test dialogues.
        defects: whether to plant the real corpus's defects.
        workers: processes that write clips; None: one per core, up to eight.
        progress: whether to show a bar.

    Raises:
        CorpusError: if ``root`` holds anything else.
        UsageError: if there are too few dialogues.
    """
    counts = dict(zip(SPLITS, dialogues, strict=True))
    _check_counts(counts, defects)
    settings = {"recipe": RECIPE, "seed": seed, "dialogues": list(dialogues), "has_defects": defects}
    if root.exists() and (not root.is_dir() or any(root.iterdir())):
        return _reuse(root, settings)

    script, planted = _plan(seed, counts, defects)
    truth = ToyTruth({split: sum(map(len, scenes)) for split, scenes in script.items()}, planted)
    with replaced_folder(root) as building:
        _write_tables(building, script)
        _shoot_all(building, script, workers or min(_MOST_WORKERS, os.cpu_count() or 1), progress)
        if defects:
            spoil(building, planted)
        write_json(building / STAMP, {"settings": settings, "utterances": truth.utterances, "defects": planted})
    return truth


def write_talk(clip: Path, root: Path) -> None:
    """Write a conversation that the toy corpus in ``root`` does not have, between the same people, with subtitles.

    Args:
        clip: the MP4 file to write; the subtitles have the same name and end in ``.srt``.
        root: folder of the corpus.

    Raises:
        CorpusError: if ``root`` holds no toy corpus, or one of another version.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     root = Path(folder) / "raw"
        ...     _ = write_toy(root, dialogues=(1, 1, 1), defects=False, workers=1, progress=False)
        ...     write_talk(Path(folder) / "talk.mp4", root)
        ...     sorted(path.name for path in Path(folder).iterdir())
        ['raw', 'talk.mp4', 'talk.srt']
    """
    seed, counts, _ = _settings_of(root)
    scene = write_script({**counts, "test": counts["test"] + 1}, np.random.default_rng(seed))["test"][-1]
    shots = [replace(line.shot, seconds=round(line.shot.seconds * FPS) / FPS) for line in scene]  # whole frames
    ends = list(accumulate(shot.seconds for shot in shots))
    cues = [
        f"{number}\n{_clock(end - shot.seconds, 2)} --> {_clock(end, 2)}\n{line.speaker}: {line.text}\n"
        for number, (line, shot, end) in enumerate(zip(scene, shots, ends, strict=True), start=1)
    ]
    with replaced(clip) as temporary:
        shoot(temporary, *shots)
    write_text(clip.with_suffix(".srt"), "\n".join(cues))


def planned_script(root: Path) -> Script:
    """What happens in every clip of the toy corpus in ``root``, which its seed decides.

    Raises:
        CorpusError: if ``root`` holds no toy corpus, or one of another version.
    """
    script, _ = _plan(*_settings_of(root))
    return script


def _settings_of(root: Path) -> tuple[int, dict[Split, int], bool]:
    """Seed, number of dialogues per split, and whether it has defects, of the toy corpus in ``root``."""
    advice = "Write it again with `m2fnet prepare toy`, into a new folder."
    settings = read_json(root / STAMP, CorpusError, advice).get("settings")
    match settings:
        case {"recipe": int(recipe), "seed": int(seed), "dialogues": [int(), int(), int()] as sizes,
              "has_defects": bool(defects)} if recipe == RECIPE:  # fmt: skip
            return seed, dict(zip(SPLITS, sizes, strict=True)), defects
    raise CorpusError(f"{root / STAMP} has the settings {settings}, expected those of recipe {RECIPE}. {advice}")


def _plan(seed: int, counts: dict[Split, int], defects: bool) -> tuple[Script, Planted]:
    rng = np.random.default_rng(seed)
    script = write_script(counts, rng)
    return plant(script, rng) if defects else (script, {})


def _check_counts(counts: dict[Split, int], defects: bool) -> None:
    fewest = FEWEST_DIALOGUES if defects else dict.fromkeys(SPLITS, 1)
    if any(counts[split] < fewest[split] for split in SPLITS):
        advice = "Ask for more, or for a corpus without defects" if defects else "Ask for more"
        raise UsageError(
            f"The toy corpus was asked for with {_list(counts)} dialogues; expected at least {_list(fewest)}. {advice}."
        )


def _list(counts: dict[Split, int]) -> str:
    return ", ".join(f"{counts[split]} {split}" for split in SPLITS)


def _reuse(root: Path, settings: dict[str, object]) -> ToyTruth:
    advice = "Name a folder that does not exist yet, or remove this one."
    if not (root / STAMP).is_file():
        raise CorpusError(f"{root} already holds something else than a toy corpus; nothing was written. {advice}")
    stamp = read_json(root / STAMP, CorpusError, advice)
    if stamp.get("settings") != settings:
        raise CorpusError(
            f"{root} holds a toy corpus of other settings: found {stamp.get('settings')}, expected {settings}. {advice}"
        )
    return ToyTruth(stamp["utterances"], {what: tuple(names) for what, names in stamp["defects"].items()})


def _write_tables(root: Path, script: Script) -> None:
    for split, scenes in script.items():
        lines = [line for scene in scenes for line in scene]
        table = _row(_COLUMNS).encode() + b"".join(_encoded(n, line) for n, line in enumerate(lines, start=1))
        (root / f"{split}_sent_emo.csv").write_bytes(table)


def _encoded(number: int, line: Line) -> bytes:
    """One row of the table in the line's own encoding: the real tables mix them."""
    start, end = (_clock(seconds, line.hour_digits) for seconds in (line.start_s, line.end_s))
    row = (number, line.text, line.speaker, line.emotion, line.sentiment, line.dialogue, line.utterance)
    return _row((*row, line.season, line.episode, start, end)).encode(line.encoding)


def _row(cells: tuple[object, ...]) -> str:
    out = io.StringIO()
    csv.writer(out, lineterminator="\r\n").writerow(cells)
    return out.getvalue()


def _clock(seconds: float, hour_digits: int) -> str:
    """``HH:MM:SS,mmm``, or ``H:MM:SS,mmm`` as in a quarter of MELD's rows."""
    whole, milliseconds = divmod(round(seconds * 1000), 1000)
    minutes, second = divmod(whole, 60)
    hour, minute = divmod(minutes, 60)
    return f"{hour:0{hour_digits}}:{minute:02}:{second:02},{milliseconds:03}"


def _shoot_all(root: Path, script: Script, workers: int, progress: bool) -> None:
    jobs = [(root / line.clip, line.shot) for scenes in script.values() for scene in scenes for line in scene]
    for folder in CLIP_FOLDERS.values():
        (root / folder).mkdir()
    paths, shots = zip(*jobs, strict=True)
    bar = tqdm(total=len(jobs), desc="writing toy clips", unit="clip", disable=not progress)
    # Fresh processes: a fork of one that runs PyTorch's threads may hang.
    with bar, ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        for _ in map(shoot, paths, shots) if workers == 1 else pool.map(shoot, paths, shots, chunksize=4):
            bar.update()
