"""Damaged and odd inputs of every kind that m2fnet reads, made from good ones by seed, and what becomes of them.

An input is *used*; *named*, which means that the rest is used and a sentence says what is not; or *refused* with a
sentence. Anything else, a traceback, a crash or ten seconds without an end, is a defect.
"""

import json
import multiprocessing
import os
import pickle
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from damages import DAMAGES
from tiny_media import tone, write_clip, write_sound
from trained_runs import dialog_settings, typed
from work_to_kill import EXTRACTORS

from dialog import cli as dialog_cli
from extractors.runs import folder as extractor_runs
from extractors.text.hint_prompt import Prompt
from extractors.text.hints import AnswerCache, HintFile, read_hints, write_hints
from m2fnet.conversation.segments import segments_in
from m2fnet.corpora.table import read_table
from m2fnet.errors import M2FNetError, MediaError
from m2fnet.files import write_jsonl
from m2fnet.manifest import Manifest
from m2fnet.media.audio import read_audio
from m2fnet.media.video import read_frames
from m2fnet.model.assembling import assemble
from m2fnet.model.folder import read_model
from m2fnet.runs.tested import TestedRun
from m2fnet.store import Store
from m2fnet.store.published import read_published
from m2fnet.store.torch_file import load_torch

HANG = 10  # seconds
USED, NAMED, REFUSED, TRACEBACK, CRASH, ENDLESS = "used", "named", "refused", "traceback", "crash", "endless"
GOOD = (USED, NAMED, REFUSED)
_FORK = multiprocessing.get_context("fork")
_TEXT = b"Could you *be* any more damaged?\n" * 40


@dataclass(frozen=True)
class Kind:
    """A kind of input.

    Attributes:
        name: of it.
        good: a whole one: a file, or a folder.
        files: of the folder, that are damaged one at a time.
        read: reads a file or a folder as the product does, and returns what it did not use, in words.
        is_sealed: whether every change has to be noticed.
        is_text: whether any text may be one; an empty file is then nothing worse.
    """

    name: str
    good: Path
    read: Callable[[Path], Sequence[str]]
    files: tuple[str, ...] = ()
    is_sealed: bool = False
    is_text: bool = False


@dataclass(frozen=True)
class Case:
    """An input, and the outcomes that are right for it."""

    name: str
    kind: Kind
    file: str  # of the folder; empty where the input is a file
    content: bytes | None  # None: of something that is no file
    suffix: str
    expected: tuple[str, ...]
    put: Callable[[Path], object] = os.mkfifo  # puts that in place


@dataclass(frozen=True)
class Outcome:
    """What became of a case, in how many seconds, with the sentence or the traceback's last line."""

    case: Case
    what: str
    seconds: float
    words: str


def cases(kinds: Sequence[Kind], each: int, seed: int = 0) -> list[Case]:
    """``each`` case per kind, file and damage, and a few odd ones whose outcome is known."""
    generator, found = np.random.default_rng(seed), []
    for kind in kinds:
        for file in kind.files or ("",):
            whole, where = (kind.good / file).read_bytes(), f"{kind.name}{file and '/'}{file}"
            suffix = kind.good.suffix
            found.append(Case(f"{where}, whole", kind, file, whole, suffix, (USED,)))
            nothing = GOOD if kind.is_text else (NAMED, REFUSED)
            found.append(Case(f"{where}, empty", kind, file, b"", suffix, nothing))
            found.append(Case(f"{where}, other text", kind, file, _TEXT, suffix, nothing))
            if not file:
                found.append(Case(f"{where}, a folder", kind, file, None, suffix, nothing, os.mkdir))
                found.append(Case(f"{where}, a pipe", kind, file, None, suffix, nothing, os.mkfifo))
            if kind.read is _heard_or_seen:
                found.append(Case(f"{where}, called .wav", kind, file, whole, ".wav", (USED,)))
            for damage, make in DAMAGES.items():
                for number in range(each):
                    content = make(whole, number / each, generator)
                    expected = (USED,) if content == whole else (NAMED, REFUSED) if kind.is_sealed else GOOD
                    found.append(Case(f"{where}, {damage} {number}", kind, file, content, suffix, expected))
    return found


def outcomes(wanted: Sequence[Case], folder: Path) -> list[Outcome]:
    """What becomes of every case, each read in a process that may crash or hang."""
    found: list[Outcome] = []
    while len(found) < len(wanted):
        ours, theirs = _FORK.Pipe(duplex=False)
        reader = _FORK.Process(target=_read_all, args=(wanted[len(found) :], folder, theirs))
        reader.start()
        theirs.close()
        while len(found) < len(wanted):
            case = wanted[len(found)]
            try:
                found.append(Outcome(case, *ours.recv()) if ours.poll(HANG) else Outcome(case, ENDLESS, HANG, ""))
            except EOFError:
                reader.join()
                found.append(Outcome(case, CRASH, 0.0, f"exit code {reader.exitcode}"))
            if found[-1].what in (CRASH, ENDLESS):
                break
        reader.kill()
        reader.join()
        ours.close()
    return found


def _read_all(wanted, folder, pipe):
    silence = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silence, 1)
    os.dup2(silence, 2)
    torch.set_num_threads(1)
    for case in wanted:
        place = _placed(case, folder)
        began = time.monotonic()
        try:
            left = case.kind.read(place)
            what, words = (NAMED, left[0]) if left else (USED, "")
        except (M2FNetError, OSError) as refusal:  # of both, the command line prints one sentence
            what, words = REFUSED, str(refusal)
        except BaseException as problem:  # whatever it is, a user would see a traceback
            what, words = TRACEBACK, f"{type(problem).__name__}: {problem}"
        pipe.send((what, time.monotonic() - began, words[:500]))
        shutil.rmtree(place) if place.is_dir() else place.unlink()


def _placed(case, folder):
    """The case on the disk."""
    for left in folder.iterdir():  # by a reader that crashed or was ended
        shutil.rmtree(left) if left.is_dir() else left.unlink()
    place = folder / f"case{case.suffix}"
    if case.content is None:
        case.put(place)
    elif case.file:
        shutil.copytree(case.kind.good, place)
        (place / case.file).write_bytes(case.content)
    else:
        place.write_bytes(case.content)
    return place


def all_kinds(root: Path, folder: Path) -> list[Kind]:
    """Every kind of input, made in ``folder``; ``root`` is the ground of `work_to_kill`."""
    folder.mkdir()
    return [*_media(folder), *_texts(folder), *_tensors(folder), *_folders(root, folder), _config(root, folder)]


def _media(folder):
    made = [
        write_clip(folder / "clip.mp4"),
        write_clip(folder / "clip.mov"),
        write_clip(folder / "clip.mkv", codecs=("libx264", "libopus")),
        write_clip(folder / "clip.webm", codecs=("libvpx", "libopus")),
        write_clip(folder / "clip.avi", codecs=("mpeg4", "libmp3lame")),
        write_sound(folder / "sound.wav", tone(seconds=2), codec="pcm_s16le"),
        write_sound(folder / "sound.flac", tone(seconds=2), codec="flac"),
        write_sound(folder / "sound.mp3", tone(seconds=2), codec="libmp3lame"),
        write_sound(folder / "sound.m4a", tone(seconds=2), codec="aac"),
        write_sound(folder / "sound.ogg", tone(seconds=2, rate=48_000), rate=48_000, codec="libopus"),
    ]
    return [Kind(f"media {path.suffix}", path, _heard_or_seen if path.stem == "clip" else _heard) for path in made]


def _heard(path):
    try:
        read_audio(path)
    except MediaError as reason:
        return [str(reason)]
    return []


def _heard_or_seen(path):
    left = _heard(path)
    try:
        read_frames(path, count=5)
    except MediaError as reason:
        left.append(str(reason))
    return left


_SAID = [(n, n + 0.8, "AB"[n % 2], f"This is sentence {n}, and it is said here.") for n in range(30)]


def _texts(folder):
    srt = "\n".join(
        f"{n}\n{_stamp(a, ',')} --> {_stamp(b, ',')}\n{who}: {said}\n" for n, (a, b, who, said) in enumerate(_SAID, 1)
    )
    vtt = "WEBVTT\n\n" + "\n".join(
        f"{_stamp(a, '.')} --> {_stamp(b, '.')}\n<v {who}>{said}\n" for a, b, who, said in _SAID
    )
    ass = "[Events]\nFormat: Layer, Start, End, Style, Name, Text\n" + "".join(
        f"Dialogue: 0,{_stamp(a, '.')[1:-1]},{_stamp(b, '.')[1:-1]},Default,{who},{said}\n" for a, b, who, said in _SAID
    )
    rttm = "".join(f"SPEAKER clip 1 {a:.2f} {b - a:.2f} <NA> <NA> {who} <NA> <NA>\n" for a, b, who, _ in _SAID)
    splits, labels = ("train", "dev", "test"), ("joy", "anger")
    table = "id,dialogue,split,speaker,text,label\n" + "".join(
        f'u{n},{splits[n % 3]}{n // 6},{splits[n % 3]},{who},"{said}",{labels[n % 2]}\n'
        for n, (_, _, who, said) in enumerate(_SAID)
    )
    rows = [
        {"id": f"u{n}", "dialogue": f"d{n % 3}", "split": splits[n % 3], "text": said, "label": labels[n % 2]}
        for n, (_, _, _, said) in enumerate(_SAID)
    ]
    made = {"subtitles.srt": srt, "subtitles.vtt": vtt, "subtitles.ass": ass, "speakers.rttm": rttm, "table.csv": table}
    for name, text in made.items():
        (folder / name).write_text(text, encoding="utf-8")
    write_jsonl(folder / "table.jsonl", rows)
    spoken = [Kind(name, folder / name, _segments, is_text=True) for name in made if name != "table.csv"]
    return [*spoken, *(Kind(name, folder / name, _prepared) for name in ("table.csv", "table.jsonl"))]


def _stamp(seconds, sign):
    return f"00:00:{int(seconds):02}{sign}{round(seconds % 1 * 1000):03}"


def _segments(path):
    return segments_in(path).skipped


def _prepared(path):
    return [defect.what for defect in read_table(path).defects]


def _tensors(folder):
    draw = np.random.default_rng(0)
    talks = {f"d{n}": range(3) for n in range(6)}

    def each(make):
        return {name: [make(n) for n in said] for name, said in talks.items()}

    vectors = [each(lambda n: draw.normal(size=4).astype(np.float32)) for _ in range(3)]
    labels, names = each(lambda n: n % 3), {name: [f"{name}_{n}" for n in said] for name, said in talks.items()}
    parts = (names, each("MF M".__getitem__), labels, *vectors, each(str), ["d0", "d1", "d2", "d3"], ["d4", "d5"])
    (folder / "features.pkl").write_bytes(pickle.dumps(parts))
    torch.save({"train": {"text": torch.randn(5, 4), "names": ["a", "b"]}}, folder / "features.pt")
    return [
        Kind("pickle", folder / "features.pkl", lambda path: _nothing(read_published(path, 3))),
        Kind(".pt", folder / "features.pt", lambda path: _nothing(load_torch(path))),
    ]


def _nothing(_):
    return ()


def _folders(root, folder):
    store, manifest, talk = root / "embeddings" / "text", root / "manifest", root / "runs" / "talk" / "seed-2"
    runs = {name: root / "runs" / place for name, place in EXTRACTORS.items()}
    typed("export", talk, *(f"--extractor={name}={run}" for name, run in runs.items()), "--out", folder / "model")
    hints = _hints(folder / "hints", Manifest.load(manifest))

    def in_use(run):
        TestedRun.read(run).predictions  # noqa: B018 - reads them
        return _nothing(assemble(run, runs))

    return [
        Kind("store", store, _vectors, ("shard-00000.safetensors", "index.jsonl"), is_sealed=True),
        Kind("store's facts", store, _vectors, ("meta.json",)),
        Kind("manifest", manifest, _loaded, ("manifest.jsonl",), is_sealed=True),
        Kind("manifest's facts", manifest, _loaded, ("manifest.meta.json",)),
        Kind("tested run", talk, in_use, tuple(_TESTED)),
        Kind("fitted extractor", runs["audio"], _extractor, ("net/fitted.safetensors",), is_sealed=True),
        Kind("trained extractor", runs["text"], _extractor, ("checkpoints/best.ckpt", "config.yaml", "fit.json")),
        Kind("model", folder / "model", _model, _sealed_files(folder / "model"), is_sealed=True),
        Kind("hints", hints, _hinted, ("hints.jsonl",), is_sealed=True),
        Kind("hints' facts", hints, _hinted, ("meta.json",)),
        Kind("answers of a language model", hints / "answers.jsonl", _answers, is_text=True),
    ]


_TESTED = ("config.yaml", "report.json", "predictions.jsonl", "provenance.json", "fit.json", "checkpoints/best.ckpt")


def _sealed_files(model):
    """All but the card, which people may edit."""
    found = sorted(path for path in model.rglob("*") if path.is_file() and path.name != "README.md")
    return tuple(str(path.relative_to(model)) for path in found)


def _vectors(folder):
    store = Store(folder)
    store.verify()
    return _nothing(store.matrix(list(store.to_pandas().index)))


def _loaded(folder):
    return _nothing(Manifest.load(folder))


def _extractor(folder):
    return _nothing(extractor_runs.load(folder))


def _model(folder):
    return _nothing(read_model(folder))


def _hints(folder, manifest):
    folder.mkdir()
    rows = [{"id": utterance.id, "hint": "joy: she laughs"} for utterance in manifest.utterances]
    write_jsonl(folder.with_suffix(".jsonl"), rows)
    write_hints(folder, manifest, HintFile(Prompt(form="free"), folder.with_suffix(".jsonl")))
    answers = [{"key": f"{n:064x}", "answer": "joy", "input_tokens": 20, "output_tokens": 1} for n in range(40)]
    write_jsonl(folder / "answers.jsonl", answers)
    return folder


def _hinted(folder):
    return _nothing(read_hints(folder))


def _answers(path):
    return _nothing(AnswerCache(path))


def _config(root, folder):
    path = folder / "dialog.yaml"
    path.write_text(json.dumps(dialog_settings(root), indent=1), encoding="utf-8")  # which is YAML too

    def planned(given):
        return _nothing(dialog_cli.train(["fit", "--config", str(given), "--run", str(folder / "run"), "--dry-run"]))

    return Kind("configuration", path, planned)
