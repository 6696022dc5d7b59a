"""``m2fnet predict CLIP|FOLDER --model MODEL``: the emotions of one's own conversations as table, files, picture."""

import argparse
import sys
import textwrap
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tqdm import tqdm

from m2fnet.errors import ConversationError, M2FNetError, PredictionError, UsageError
from m2fnet.files import locked, sha256_of
from m2fnet.formatting import plain
from m2fnet.records import Prediction, Segment

if TYPE_CHECKING:
    from m2fnet.pipeline import Pipeline

CLIPS = (
    ".3gp", ".aac", ".aif", ".aiff", ".asf", ".au", ".avi", ".caf", ".flac", ".flv", ".m4a", ".m4v", ".mka", ".mkv",
    ".mov", ".mp3", ".mp4", ".mpeg", ".mpg", ".mts", ".oga", ".ogg", ".ogv", ".opus", ".ts", ".w64", ".wav", ".webm",
    ".wma", ".wmv", ".wv",
)  # fmt: skip
_SHOWN = 40  # turns that are printed
_TEXT = 60  # characters of a turn that are printed
_NAMED = 3  # cues that are no turns
_LINE_EVERY = 30.0  # seconds between two lines of progress where there is no terminal for a bar


@dataclass(frozen=True)
class Job:
    """One conversation.

    Attributes:
        name: of the folder for its results.
        clip: video or sound; None for a transcript alone.
        segments: file that tells its turns; None: they are looked for.
    """

    name: str
    clip: Path | None
    segments: Path | None

    def hashes(self) -> dict[str, str | None]:
        """What tells another conversation of the same name; subtitles beside the clip do not count."""
        files = {"clip": self.clip, "segments": self.segments}
        return {what: sha256_of(path) if path is not None else None for what, path in files.items()}


def main(argv: list[str]) -> None:
    """Judge every conversation that was asked for, print its turns and write its results.

    Raises:
        UsageError: for a path or an option that cannot be.
        M2FNetError: if a conversation cannot be judged; in a folder only after all the others.
    """
    arguments = _parser().parse_args(argv)
    try:
        _predict(arguments)
    except M2FNetError as problem:
        problem.args = (plain(str(problem)),)  # names of files may hold what a terminal obeys
        raise


def _predict(arguments: argparse.Namespace) -> None:
    """Judge every conversation."""
    jobs = _jobs(arguments.clip, arguments.segments)
    from m2fnet.pipeline import Pipeline  # takes seconds, which `m2fnet predict --help` does not need
    from m2fnet.pipeline.results import model_sha256
    from m2fnet.pipeline.stages import use_threads

    pipeline = Pipeline.from_pretrained(arguments.model, device=arguments.device, causal=arguments.causal)
    use_threads(arguments.threads, pipeline.model)
    if pipeline.model.temperature == 1:  # what a fit on dev never gives to the last digit
        print(
            "The probabilities are not calibrated: the run was not tested before. `m2fnet dialog test --config "
            "RUN/config.yaml` mends that, on its dev split; export it again if MODEL is an exported one."
        )
    context = "past" if arguments.causal else "whole conversation"
    made_with = {"model": model_sha256(pipeline.model), "context": context}
    failed = []
    for job in jobs:
        try:
            _run(job, pipeline, made_with, arguments)
        except M2FNetError as problem:
            if len(jobs) == 1:
                raise
            failed.append(plain(job.name))
            print(f"\n{plain(job.name)} failed: {plain(str(problem))}", file=sys.stderr, flush=True)
    if failed:
        raise PredictionError(
            f"{len(failed)} of {len(jobs)} clips failed, as told above: {', '.join(failed)}. The others are done."
        )


def _at_least_one(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a number from 1, got {text!r}")
    return int(text)


def _minutes(text: str) -> float:
    try:
        if (minutes := float(text)) > 0:  # not of nan, which would allow any length
            return minutes
    except ValueError:
        pass
    raise argparse.ArgumentTypeError(f"expected minutes above 0, got {text!r}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="m2fnet predict",
        description="Tell the emotion of every turn of your own conversations: video, sound, or a transcript alone. "
        "Each conversation gets a folder with predictions.jsonl, predictions.csv, predictions.srt, timeline.svg and "
        "timeline.png, and about.json, which says what they were made from.",
        epilog="Turns are told by --segments, else by subtitles that have the clip's name or are inside it, else by "
        "where there is a voice; else the whole clip is one turn. Without subtitles the text is missing, and each turn "
        "says so. Limits: --max-minutes, 10,000 turns, 10 MiB of subtitles. MPEG-TS and H.264 in AVI cannot be jumped "
        "in: long ones take long, so make an MP4 of them first.",
    )
    parser.add_argument(
        "clip",
        nargs="?",
        type=Path,
        metavar="CLIP|FOLDER",
        help="a clip; a transcript (.txt with `Ann: Hello!` on each line, .csv, .srt, .vtt); or a folder, in which "
        "every clip is a conversation of its own",
    )
    parser.add_argument(
        "--model", required=True, help="what `m2fnet export` wrote, a dialogue run, or a name on the hub"
    )
    parser.add_argument(
        "--segments",
        type=Path,
        metavar="FILE",
        help="who speaks when, and what: .srt, .vtt, .rttm, or .csv with start,end,speaker,text; without CLIP it is "
        "the whole conversation",
    )
    parser.add_argument(
        "--out", type=Path, default=Path("predictions"), metavar="DIR", help="for the results (default: predictions)"
    )
    parser.add_argument("--causal", action="store_true", help="no turn sees a later one, as if it all happened now")
    parser.add_argument("--device", default="cpu", help="where the networks run: cpu (default), cuda:0, ...")
    parser.add_argument(
        "--threads",
        type=_at_least_one,
        metavar="N",
        help="of torch (default: 1 for extractors in closed form, all cores for networks)",
    )
    parser.add_argument(
        "--max-minutes", type=_minutes, default=180.0, metavar="N", help="refuse longer clips (default: %(default)g)"
    )
    parser.add_argument("--overwrite", action="store_true", help="do again what is done, in place of its results")
    return parser


def _jobs(clip: Path | None, segments: Path | None) -> list[Job]:
    """The conversations that were asked for.

    Raises:
        UsageError: if there are none.
    """
    for path in (clip, segments):
        if path is not None and not (path.is_file() or (path.is_dir() and path == clip)):
            what = "is no regular file" if path.exists() else "does not exist"
            raise UsageError(f"{path} {what}; expected a clip, a folder of clips, or a transcript.")
    if clip is not None and clip.is_dir():
        if segments is not None:
            raise UsageError(
                f"--segments tells the turns of one conversation, but {clip} is a folder; put subtitles beside each "
                "clip, with its name."
            )
        return _jobs_in(clip)
    if clip is not None:
        return [Job(clip.name, clip, segments)]
    if segments is not None:
        return [Job(segments.name, None, segments)]
    raise UsageError("Expected a clip, a folder of clips, or a transcript; see `m2fnet predict --help`.")


def _jobs_in(folder: Path) -> list[Job]:
    files = sorted(path for path in folder.iterdir() if path.is_file())
    clips = [path for path in files if path.suffix.lower() in CLIPS]
    if not clips:
        raise UsageError(f"{folder} holds no clip among {len(files)} files; expected names such as a.mp4 or a.wav.")
    subtitles = {clip.with_suffix(suffix) for clip in clips for suffix in (".srt", ".vtt")}
    others = [path.name for path in files if path not in clips and path not in subtitles]
    if others:
        print(f"Left out, because they are no clips: {plain(', '.join(others))}")
    return [Job(clip.name, clip, None) for clip in clips]


def _run(job: Job, pipeline: "Pipeline", made_with: dict[str, str], arguments: argparse.Namespace) -> None:
    """Judge one conversation, unless that is done."""
    from m2fnet.pipeline import conversation_of
    from m2fnet.pipeline.results import is_done, missing, write_results

    folder, name, made_from = arguments.out / job.name, plain(job.name), made_with | job.hashes()
    for place in (arguments.out, folder):
        if place.exists() and not place.is_dir():
            raise UsageError(
                f"{place} is a file, but the results need a folder of that name; choose another with --out."
            )
    if not arguments.overwrite and is_done(folder, made_from):
        print(f"\n{name} was done before: see {plain(str(folder))}, or do it again with --overwrite.")
        return
    clip, found = conversation_of(job.clip, job.segments)
    _check_length(name, found.segments, arguments.max_minutes)
    with _owned(folder), _progress(name, len(found.segments)) as progress:
        predictions = pipeline(clip, segments=found.segments, progress=progress)
        files = write_results(folder, predictions, found, made_from)
    print(f"\n{name}: {_turns(len(predictions))}, told by {found.source}")
    for line in (*_left_out(found.skipped), *_table(predictions), *_without(predictions, missing(predictions))):
        print(line)
    print(f"Written to {plain(str(folder))}: {', '.join(files)}", flush=True)


@contextmanager
def _owned(folder: Path) -> Iterator[None]:
    """Lets no other process write the same results meanwhile; a folder in which nothing came of it goes again."""
    try:
        with locked(folder, PredictionError):
            yield
    finally:
        with suppress(OSError):  # it is not empty
            folder.rmdir()


def _check_length(name: str, segments: Sequence[Segment], most: float) -> None:
    end_s = max(segment.end_s or 0.0 for segment in segments)
    if end_s > 60 * most:
        raise ConversationError(
            f"{name} goes on for {end_s / 60:.1f} minutes, expected at most {most:g}. Cut it, or allow more with "
            "--max-minutes."
        )


@contextmanager
def _progress(name: str, turns: int) -> Iterator[Callable[[int, int], None]]:
    """Tells how many turns are done: by a bar on a terminal, by a line now and then elsewhere."""
    told = time.monotonic()
    is_bar = sys.stderr.isatty()
    with tqdm(desc=name, total=turns, unit=" turns", file=sys.stderr, disable=not is_bar, leave=False) as bar:

        def tell(done: int, total: int) -> None:
            nonlocal told
            bar.update(done - bar.n)
            if not is_bar and time.monotonic() - told >= _LINE_EVERY:
                told = time.monotonic()
                print(f"{name}: {done} of {total} turns", file=sys.stderr, flush=True)

        yield tell


def _table(predictions: Sequence[Prediction]) -> Iterator[str]:
    """The first turns, one per line."""
    shown = predictions[:_SHOWN]
    who = min(16, max(len(plain(p.speaker or "")) for p in shown))
    emotion = max(len(name) for name in shown[0].probabilities)
    for p in shown:
        when = f"{_clock(p.start_s)} – {_clock(p.end_s)}  " if p.start_s is not None and p.end_s is not None else ""
        speaker = plain(p.speaker or "")[:who]
        said = textwrap.shorten(plain(p.text or "(no transcript)"), _TEXT, placeholder="…")
        yield f"  {when}{speaker:<{who}}  {p.emotion:<{emotion}} {100 * p.confidence:3.0f} %  {said}"
    if len(predictions) > len(shown):
        yield f"  … and {_turns(len(predictions) - len(shown))} more, in the files"


def _left_out(sentences: Sequence[str]) -> Iterator[str]:
    """What of the subtitles is no turn, the first ones with their lines."""
    if sentences:
        others = ["…"] if len(sentences) > _NAMED else []
        yield plain(f"Left out {len(sentences)} that are no turns: {'; '.join([*sentences[:_NAMED], *others])}")


def _turns(count: int) -> str:
    return f"{count} turn" if count == 1 else f"{count} turns"


def _clock(seconds: float) -> str:
    """Minutes, seconds and tenths.

    >>> _clock(83.26)
    ' 1:23.3'
    """
    tenths = round(10 * seconds)
    return f"{tenths // 600:2}:{tenths % 600 // 10:02}.{tenths % 10}"


def _without(predictions: Sequence[Prediction], missing: Mapping[str, Mapping[str, int]]) -> Iterator[str]:
    """What the model had to do without, and why."""
    if not missing:
        yield f"With {', '.join(predictions[0].modalities)} in all turns"
    for modality, reasons in missing.items():
        turns = sum(reasons.values())
        how_many = f"{turns} of {_turns(len(predictions))}" if turns < len(predictions) else "all turns"
        yield f"Without {modality} in {how_many} ({', '.join(f'{reason}: {n}' for reason, n in reasons.items())})"
    looked = [prediction for prediction in predictions if prediction.frames]
    if looked:
        shown = sum(any(frame.faces for frame in prediction.frames) for prediction in looked)
        yield f"Faces found in {shown} of {_turns(len(predictions))}"
    empty = sum(not prediction.modalities for prediction in predictions)
    if empty:
        yield f"Without anything in {_turns(empty)}; what is said there comes from the turns around alone"
