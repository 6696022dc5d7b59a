"""``m2fnet predict CLIP|FOLDER --model MODEL``: the emotions of one's own conversations as table, files, picture."""

import argparse
import hashlib
import os
import shutil
import sys
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from m2fnet.commands.annotator_options import add_annotator_options, check_annotator_options, load_annotator
from m2fnet.commands.arguments import make_parser, positive_float, positive_int
from m2fnet.commands.progress import shown_progress
from m2fnet.conversation.sidecars import sidecars_of
from m2fnet.errors import ConversationError, M2FNetError, PredictionError, UsageError
from m2fnet.files import like_it, locked, sha256_of
from m2fnet.formatting import plain
from m2fnet.records import Prediction

if TYPE_CHECKING:
    from m2fnet.pipeline import Pipeline
    from m2fnet.pipeline.annotator import Annotator

CLIPS = (
    ".3g2", ".3gp", ".aac", ".ac3", ".aif", ".aifc", ".aiff", ".amr", ".asf", ".au", ".avi", ".awb", ".caf", ".eac3",
    ".flac", ".flv", ".gif", ".m2ts", ".m4a", ".m4b", ".m4v", ".mka", ".mkv", ".mov", ".mp2", ".mp3", ".mp4", ".mpeg",
    ".mpg", ".mpga", ".mts", ".oga", ".ogg", ".ogv", ".opus", ".qt", ".ts", ".vob", ".w64", ".wav", ".webm", ".wma",
    ".wmv", ".wv",
)  # fmt: skip
_SHOWN = 40  # utterances that are printed
_TEXT = 60  # most characters of an utterance that are printed
_FEWEST = 20  # and the fewest, where the terminal is narrow
_NAMED = 3  # skipped cues that are printed


@dataclass(frozen=True)
class Job:
    """One conversation.

    Attributes:
        name: of the folder for its results.
        clip: video or sound; None for a transcript without them.
        segments: file with its utterances; None: they are looked for.
    """

    name: str
    clip: Path | None
    segments: Path | None

    def hashes(self) -> dict[str, str | None]:
        """SHA-256 of the files that the utterances come from, to detect that one of them has changed."""
        files = {"clip": self.clip, "segments": self.segments}
        found = {what: sha256_of(path) if path is not None else None for what, path in files.items()}
        return {**found, "subtitles": None if self.clip is None or self.segments else _hash_of_subtitles(self.clip)}

    def refuse_odd_name(self) -> None:
        """Do nothing if results can be written about files of these names.

        Raises:
            PredictionError: if a name is not valid UTF-8, as in old archives and on old disks.
        """
        for path in (self.clip, self.segments):
            try:
                str(path).encode()
            except UnicodeEncodeError as problem:
                raise PredictionError(
                    f"The name {os.fsencode(str(path))!r} is not valid UTF-8, so nothing can be written about it. "
                    "Rename the file or its folder."
                ) from problem


def _hash_of_subtitles(clip: Path) -> str | None:
    """SHA-256 of the name and the content of the subtitles next to the clip that are read; None without any."""
    from m2fnet.conversation.segments import SUFFIXES, subtitles_of

    file = subtitles_of(clip) if clip.suffix.lower() not in SUFFIXES else None  # a transcript has none
    return hashlib.sha256(f"{file.name} {sha256_of(file)}".encode()).hexdigest() if file is not None else None


def main(argv: list[str]) -> None:
    """Predict every named conversation, print its utterances and write its results.

    Raises:
        UsageError: for a path or an option that cannot be.
        M2FNetError: if a conversation cannot be predicted; in a folder only after all the others.
    """
    arguments = _parser().parse_args(argv)
    try:
        _predict(arguments)
    except M2FNetError as problem:
        problem.args = (plain(str(problem)),)  # names of files may hold characters that control a terminal
        raise


def _parser() -> argparse.ArgumentParser:
    parser = make_parser(
        "predict",
        "Predict the emotion of every utterance of your own conversations: video, sound, or a transcript.\n\n"
        "Each conversation gets a folder with predictions.jsonl, predictions.csv, predictions.srt, timeline.svg, "
        "timeline.png, and about.json, which says what they were made from.",
        notes="Utterances come from --segments, else from subtitles that have the clip's name or are inside it, else "
        "from where there is a voice; else the whole clip is one utterance. Without subtitles there is no text, and "
        "each utterance says so, unless --transcribe names a recogniser. Its words are marked as its words.\n\n"
        "Limits: --max-minutes, 10,000 utterances, 10 MiB of subtitles. MPEG-TS and H.264 in AVI cannot be searched by "
        "time: long ones take long, so convert them to MP4 first.",
        examples=[
            "m2fnet predict clip.mp4 --model runs/meld/seed-0",
            "m2fnet predict clips/ --model model --out results",
            "m2fnet predict talk.txt --model model --causal",
            "m2fnet predict talk.mp4 --model model --transcribe openai/whisper-base",
        ],
    )
    parser.add_argument(
        "clip",
        nargs="?",
        type=Path,
        metavar="CLIP|FOLDER",
        help="a clip; a photograph; a transcript (.txt with `Ann: Hello!` on each line, .csv, .srt, .vtt, .ass); or a "
        "folder, in which every clip is a conversation",
    )
    what = parser.add_argument_group("model and conversation")
    what.add_argument("--model", required=True, help="what `m2fnet export` wrote, a dialogue run, or a name on the hub")
    what.add_argument(
        "--segments",
        type=Path,
        metavar="FILE",
        help="who speaks when, and what: .srt, .vtt, .ass, .rttm, .txt, or .csv with start,end,speaker,text; without "
        "CLIP it is the whole conversation",
    )
    what.add_argument("--causal", action="store_true", help="no utterance sees a later one, as in a live conversation")
    what.add_argument(
        "--max-minutes",
        type=positive_float,
        default=180.0,
        metavar="N",
        help="refuse longer clips (default: %(default)g)",
    )
    add_annotator_options(parser)
    results = parser.add_argument_group("results")
    results.add_argument(
        "--out", type=Path, default=Path("predictions"), metavar="DIR", help="folder for them (default: predictions)"
    )
    results.add_argument("--overwrite", action="store_true", help="replace results that exist already")
    machine = parser.add_argument_group("machine")
    machine.add_argument("--device", default="cpu", help="where the networks run: cpu (default), cuda:0, ...")
    machine.add_argument(
        "--threads",
        type=positive_int,
        metavar="N",
        help="of torch (default: 1 for extractors in closed form, all cores for networks)",
    )
    return parser


def _predict(arguments: argparse.Namespace) -> None:
    """Load the model, then predict one conversation after the other."""
    check_annotator_options(arguments)
    jobs = find_jobs(arguments.clip, arguments.segments)
    from m2fnet.pipeline import Pipeline  # takes seconds, which `m2fnet predict --help` does not need
    from m2fnet.pipeline.results import model_sha256
    from m2fnet.pipeline.stages import use_threads

    pipeline = Pipeline.from_pretrained(arguments.model, device=arguments.device, causal=arguments.causal)
    use_threads(arguments.threads, pipeline.model)
    # 1 is what a fit on dev never gives to the last digit; sets of emotions have thresholds instead
    if pipeline.model.temperature == 1 and not pipeline.model.thresholds:
        print(
            "The probabilities are not calibrated, because the run was not tested before. To calibrate them on its dev "
            "split, run `m2fnet dialog test --config RUN/config.yaml`; export it again if MODEL is an exported one."
        )
    if pipeline.model.trained_on:
        print(plain(pipeline.model.trained_on))
    context = "past" if arguments.causal else "whole conversation"
    made_with = {"model": model_sha256(pipeline.model), "context": context, "recogniser": None, "speakers": None}
    annotator = load_annotator(arguments)
    if annotator is not None:
        made_with |= annotator.made_from
    failed = []
    for job in jobs:
        try:
            _predict_one(job, pipeline, annotator, made_with, arguments)
        except M2FNetError as problem:
            if len(jobs) == 1:
                raise
            failed.append(plain(job.name))
            print(f"\n{plain(job.name)} failed: {plain(str(problem))}", file=sys.stderr, flush=True)
    if failed:
        raise PredictionError(
            f"{len(failed)} of {len(jobs)} clips failed, see the messages above: {', '.join(failed)}. The others are "
            "done."
        )


def find_jobs(clip: Path | None, segments: Path | None) -> list[Job]:
    """The conversations that a command line names: one, or all clips of a folder.

    Raises:
        UsageError: if there are none.
    """
    for path in (clip, segments):
        if path is not None and not (path.is_file() or (path.is_dir() and path == clip)):
            what = "is not a regular file" if path.exists() else "does not exist"
            raise UsageError(f"{path} {what}; expected a clip, a folder of clips, or a transcript.{like_it(path)}")
    if clip is None and segments is None:
        raise UsageError("Expected a clip, a folder of clips, or a transcript; see `m2fnet predict --help`.")
    if clip is None or not clip.is_dir():
        file = clip or segments
        assert file is not None
        return [Job(file.name, clip, segments)]
    if segments is not None:
        raise UsageError(
            f"--segments holds the utterances of one conversation, but {clip} is a folder. Put subtitles into it "
            "instead, with the name of each clip."
        )
    files = sorted(path for path in clip.iterdir() if path.is_file())
    clips = [path for path in files if path.suffix.lower() in CLIPS and not path.name.startswith(".")]
    if not clips:
        raise UsageError(f"{clip} holds no clip among {len(files)} files; expected names such as a.mp4 or a.wav.")
    subtitles = {file for path in clips for file in sidecars_of(path)}
    others = [path.name for path in files if path not in clips and path not in subtitles]
    if others:
        print(f"Skipped, because they are not clips: {plain(', '.join(others))}")
    return [Job(path.name, path, None) for path in clips]


def _predict_one(
    job: Job,
    pipeline: "Pipeline",
    annotator: "Annotator | None",
    made_with: dict[str, str | None],
    arguments: argparse.Namespace,
) -> None:
    """Predict one conversation, write its folder and print its table, unless that is done."""
    from m2fnet.pipeline import conversation_of
    from m2fnet.pipeline.results import changed_since, missing, write_results

    job.refuse_odd_name()
    folder, name, made_from = arguments.out / job.name, plain(job.name), made_with | job.hashes()
    for place in (arguments.out, folder):
        if place.exists() and not place.is_dir():
            raise UsageError(
                f"{place} is a file, but the results need a folder of that name; choose another with --out."
            )
    changed = None if arguments.overwrite else changed_since(folder, made_from)
    if changed == []:
        print(f"\n{name} was done before: see {plain(str(folder))}, or use --overwrite to predict it again.")
        return
    if changed:
        print(f"\n{name} was done before, but from {' and '.join(changed)}; it is predicted again.")
    clip, found = conversation_of(job.clip, job.segments)
    end_s = max(segment.end_s or 0.0 for segment in found.segments)
    if end_s > 60 * arguments.max_minutes:
        raise ConversationError(
            f"{name} lasts {end_s / 60:.1f} minutes, expected at most {arguments.max_minutes:g}. Cut it, or allow more "
            "with --max-minutes."
        )
    with _results_folder(folder):
        if annotator is not None and clip is not None:
            found = annotator(clip, found, lambda what, count: shown_progress(f"{name}, {what}", "stretches", count))
        with shown_progress(name, "utterances", len(found.segments)) as progress:
            predictions = pipeline(clip, segments=found.segments, progress=progress)
        files = write_results(folder, predictions, found, made_from)
    print(f"\n{name}: {_count(len(predictions))}, from {found.source}")
    if found.skipped:
        others = ["…"] if len(found.skipped) > _NAMED else []
        reasons = "; ".join([*found.skipped[:_NAMED], *others])
        print(plain(f"Skipped {len(found.skipped)} cues, lines or sounds that are not utterances: {reasons}"))
    for note in found.notes:
        print(plain(note))
    for line in (*_table(predictions), *_summary(predictions, missing(predictions))):
        print(line)
    print(f"Written to {plain(str(folder))}: {', '.join(files)}", flush=True)


@contextmanager
def _results_folder(folder: Path) -> Iterator[None]:
    """Lock ``folder`` while results are written into it, and remove it if it stays empty."""
    try:
        with locked(folder, PredictionError):
            yield
    finally:
        with suppress(OSError):  # it is not empty
            folder.rmdir()


def _table(predictions: Sequence[Prediction]) -> Iterator[str]:
    """The first utterances, one per line."""
    shown = predictions[:_SHOWN]
    who = min(16, max(len(plain(p.speaker or "")) for p in shown))
    is_single = shown[0].labels is None
    emotion = max(len(name) for name in (*shown[0].probabilities, *(p.as_words for p in shown if not is_single)))
    for p in shown:
        when = f"{clock(p.start_s)} – {clock(p.end_s)}  " if p.start_s is not None and p.end_s is not None else ""
        speaker = plain(p.speaker or "")[:who]
        answer = f"{p.emotion:<{emotion}} {100 * p.confidence:3.0f} %" if is_single else f"{p.as_words:<{emotion}}"
        answer += "".join(f"  {plain(name)} {value:+.2f}" for name, value in p.ratings.items())
        start = f"  {when}{speaker:<{who}}  {answer}  "
        room = min(max(_columns() - len(start), _FEWEST), _TEXT)
        yield start + textwrap.shorten(plain(p.text or "(no transcript)"), room, placeholder="…")
    if len(predictions) > len(shown):
        yield f"  … and {_count(len(predictions) - len(shown))} more, in the files"


def _summary(predictions: Sequence[Prediction], missing: Mapping[str, Mapping[str, int]]) -> Iterator[str]:
    """Which modalities the model used, which it missed and why, and where it found faces."""
    thresholds = predictions[0].thresholds
    if thresholds:
        words = ", ".join(f"{name} {100 * value:.0f} %" for name, value in thresholds.items())
        yield from textwrap.wrap(f"An emotion is an answer from this probability on: {words}", _columns())
    if not missing:
        yield f"With {', '.join(predictions[0].modalities)} in all utterances"
    for modality, reasons in missing.items():
        count = sum(reasons.values())
        how_many = f"{count} of {_count(len(predictions))}" if count < len(predictions) else "all utterances"
        yield f"Without {modality} in {how_many} ({', '.join(f'{reason}: {n}' for reason, n in reasons.items())})"
    searched = [prediction for prediction in predictions if prediction.frames]
    if searched:
        shown = sum(any(frame.faces for frame in prediction.frames) for prediction in searched)
        yield f"Faces found in {shown} of {_count(len(predictions))}"
    empty = sum(not prediction.modalities for prediction in predictions)
    if empty:
        yield f"Without any modality in {_count(empty)}; their emotions come from the utterances around them only"


def _columns() -> int:
    """Of the terminal, or 80 without one."""
    return shutil.get_terminal_size((80, 24)).columns


def _count(utterances: int) -> str:
    return f"{utterances} utterance" if utterances == 1 else f"{utterances} utterances"


def clock(seconds: float) -> str:
    """Minutes, seconds and tenths.

    Example:
        >>> clock(83.26)
        ' 1:23.3'
    """
    tenths = round(10 * seconds)
    return f"{tenths // 600:2}:{tenths % 600 // 10:02}.{tenths % 10}"
