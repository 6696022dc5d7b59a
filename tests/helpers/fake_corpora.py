"""Tiny raw trees of every corpus, made up on the spot: files of the right names whose media are not decoded here."""

from collections.abc import Sequence
from pathlib import Path

MELD_HEADER = [
    "Sr No.", "Utterance", "Speaker", "Emotion", "Sentiment", "Dialogue_ID", "Utterance_ID", "Season", "Episode",
    "StartTime", "EndTime",
]  # fmt: skip
CLIPS = {"train": "train_splits", "dev": "dev_splits_complete", "test": "output_repeated_splits_test"}


def meld_row(dialogue: int, number: int, **cells: object) -> list[str]:
    start, end = number * 10, number * 10 + 3
    row = {
        "Sr No.": number,
        "Utterance": f"Utterance {dialogue}-{number}, really",
        "Speaker": ("Ross", "Rachel")[number % 2],
        "Emotion": ("neutral", "joy", "anger")[number % 3],
        "Sentiment": "neutral",
        "Dialogue_ID": dialogue,
        "Utterance_ID": number,
        "Season": 1,
        "Episode": dialogue,
        "StartTime": f"00:{start // 60:02}:{start % 60:02},000",
        "EndTime": f"00:{end // 60:02}:{end % 60:02},000",
    }
    return [str(value) for value in (row | cells).values()]


def to_csv(rows: Sequence[Sequence[str]]) -> bytes:
    def cell(text: str) -> str:
        return '"' + text.replace('"', '""') + '"' if any(c in text for c in '",\n\r') else text

    return "".join(",".join(map(cell, row)) + "\r\n" for row in rows).encode()


def write_meld(folder: Path, rows: dict[str, list[list[str]]] | None = None, *, clips: bool = True) -> Path:
    """Writes a MELD tree: rows per split (two dialogues of three utterances when none are given), and their clips."""
    root = folder / "MELD.Raw"
    root.mkdir()
    first = {"train": 0, "dev": 10, "test": 20}
    for split, clip_folder in CLIPS.items():
        given = (rows or {}).get(split) or [meld_row(first[split] + d, n) for d in range(2) for n in range(3)]
        (root / f"{split}_sent_emo.csv").write_bytes(to_csv([MELD_HEADER, *given]))
        if clips:
            (root / clip_folder).mkdir()
            for row in given:
                (root / clip_folder / f"dia{row[5]}_utt{row[6]}.mp4").write_bytes(b"clip")
    return root


IEMOCAP_HEADER = "% [START_TIME - END_TIME] TURN_NAME EMOTION [V, A, D]"

Spoken = tuple[str, float, float, str]  # utterance, start, end, label


def write_iemocap(folder: Path, dialogues: dict[str, list[Spoken]], *, media: bool = True) -> Path:
    """Writes an IEMOCAP tree with the given utterances of each dialogue; sound and film when ``media``."""
    root = folder / "IEMOCAP_full_release"
    for session in range(1, 6):
        for name in ("EmoEvaluation", "transcriptions", *(["avi/DivX"] if media else [])):
            (root / f"Session{session}/dialog" / name).mkdir(parents=True)
        if media:
            (root / f"Session{session}/sentences/wav").mkdir(parents=True)
    for name, utterances in dialogues.items():
        _write_dialogue(root / f"Session{name[4]}", name, utterances, media)
    return root


def _write_dialogue(session: Path, name: str, utterances: list[Spoken], media: bool) -> None:
    evaluation = [IEMOCAP_HEADER, ""]
    transcript = []
    for utterance, start, end, label in utterances:
        evaluation += [
            f"[{start:.4f} - {end:.4f}]\t{name}_{utterance}\t{label}\t[2.5000, 2.5000, 2.5000]",
            "C-E2:\tNeutral;\t()",
            "C-F1:\tHappiness;\t()",
            "A-E3:\tval 3; act 2; dom  2;\t()",
            "",
        ]
        transcript.append(f"{name}_{utterance} [{start:08.4f}-{end:08.4f}]: Words of {utterance}.")
        if media:
            wav = session / f"sentences/wav/{name}/{name}_{utterance}.wav"
            wav.parent.mkdir(exist_ok=True)
            wav.write_bytes(b"sound")
    (session / f"dialog/EmoEvaluation/{name}.txt").write_text("\n".join(evaluation))
    (session / f"dialog/transcriptions/{name}.txt").write_text("\n".join(transcript) + "\n")
    if media:
        (session / f"dialog/avi/DivX/{name}.avi").write_bytes(b"film")


def small_iemocap(folder: Path, *, media: bool = True) -> Path:
    """One dialogue of four utterances in every session, two more in session 4."""
    utterances = [
        ("F000", 5.0, 8.0, "hap"),
        ("F001", 20.0, 21.5, "xxx"),
        ("M000", 7.5, 12.0, "exc"),
        ("M001", 30, 31, "neu"),
    ]
    names = [f"Ses0{n}F_impro01" for n in range(1, 6)] + ["Ses04M_impro01", "Ses04F_script01_3"]
    return write_iemocap(folder, dict.fromkeys(names, utterances), media=media)


def write_table(folder: Path, text: str | bytes, *, name: str = "own.csv", media: Sequence[str] = ()) -> Path:
    """Writes ``text`` as the table of an own corpus; the files in ``media`` are next to it."""
    root = folder / "own"
    root.mkdir(exist_ok=True)
    (root / name).write_bytes(text.encode() if isinstance(text, str) else text)
    for path in media:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(b"media")
    return root
