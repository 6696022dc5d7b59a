"""A model on a clip of one's own: what each stage takes, how that compares with the clip's length, and memory.

The clip is one shot of the toy corpus, 192 x 144 pixels, 12 frames and 16,000 samples a second, with subtitles of the
toy corpus's sentences. Two models: that of `m2fnet demo`, whose extractors are fitted in closed form, trained
for one epoch; and networks as in `conf/`, with random weights and text of MiniLM's size. Or yours (`--model`).

Everything happens once, in a separate process that starts with nothing loaded, as the command does: what is loaded
late or filled at first use counts where it happens. Peak memory is that of this process. Core seconds are told too: a
busy machine changes them less than seconds on the wall.

Needs `uv pip install --group bench`.
"""

import sys

sys.path.append(sys.path.pop(0))  # files in this folder have the names of packages

import json
import multiprocessing
import runpy
import subprocess
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

from _clock import Clock
from _table import Row, finish, parser

EXTRACTORS = {"text": "text_lsa", "audio": "audio_mel_statistics", "visual": "visual_face_gradients"}
START, VOICE = "load libraries and model", "voice activity, without subtitles"  # besides the stages
EMOTIONS = ("neutral", "joy", "anger", "sadness", "surprise")
MIB = 1024  # in kB


def main() -> None:
    arguments = parser(__doc__ or "")
    arguments.add_argument(
        "--model", type=Path, help="a dialogue run or what `m2fnet export` wrote (default: made here)"
    )
    arguments.add_argument("--seconds", type=int, help="length of the clip (default 60, with --quick 6)")
    arguments.add_argument("--threads", type=int, help="of torch (default: those of `m2fnet predict`)")
    args = arguments.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        clip = shoot(folder / "clip.mp4", args.seconds or (6 if args.quick else 60))
        if args.model is not None:
            models = {"model": args.model}
        else:
            models = {"closed form": trained(folder, quick=args.quick), "networks": networks(folder)}
        rows = []
        for name, model in models.items():
            for causal in (False, True):
                figures = measured(clip, model, folder / "out", args.threads, causal)
                rows += rows_of(f"{name}, causal" if causal else name, figures)
            rows.append(Row(f"{name}: `m2fnet predict`, all in all", "s", whole_command(clip, model, folder / "all")))
    finish(rows, args)


def whole_command(clip: Path, model: Path, out: Path) -> float:
    """Seconds until the command is back."""
    command = [sys.executable, "-m", "m2fnet.cli", "predict", clip, "--model", model, "--out", out, "--overwrite"]
    start = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def rows_of(name: str, figures: dict[str, Any]) -> list[Row]:
    seconds = {stage: value for stage, value in figures["seconds"].items() if stage != "all"}
    known = sum(value for stage, value in seconds.items() if stage not in (START, VOICE))
    total = figures["seconds"]["all"]
    rows = [
        Row("length of the clip", "s", figures["length"]),
        Row("utterances", "", figures["utterances"]),
        *(Row(stage, "s", value) for stage, value in seconds.items()),
        Row("rest", "s", total - known),
        Row("all but loading", "s", total),
        Row("real-time factor", "", total / figures["length"], larger_is_better=False),
        Row("per utterance", "s", total / figures["utterances"]),
        *(Row(f"core seconds, {part}", "s", value) for part, value in figures["cores"].items()),
        Row("peak memory", "MiB", figures["peak"]),
        Row("peak memory before the clip", "MiB", figures["before"]),
    ]
    return [replace(row, name=f"{name}: {row.name}") for row in rows]


def measured(*arguments: Any) -> dict[str, Any]:  # noqa: ANN401
    """What `measure` says in a fresh process."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(measure, *arguments).result()


def measure(clip: Path, model: Path, out: Path, threads: int | None, causal: bool) -> dict[str, Any]:
    """Seconds of each stage in this process, its peak memory, and how many utterances there were."""
    clock = Clock()
    with clock(START):
        from m2fnet.conversation.segments import segments_of
        from m2fnet.conversation.voice import voice_activity
        from m2fnet.pipeline import Pipeline
        from m2fnet.pipeline.results import write_results
        from m2fnet.pipeline.stages import use_threads

        pipeline = Pipeline.from_pretrained(model, causal=causal)
        use_threads(threads, pipeline.model)
    before, loaded = peak(), time.process_time()
    for name, extractor in pipeline.model.extractors.items():
        extractor.preprocess = clock.on(f"{name}: read and look at", extractor.preprocess)
        extractor.forward = clock.on(f"{name}: embed", extractor.forward)
    pipeline.model.network.forward = clock.on("dialogue network", pipeline.model.network.forward)
    with clock("all"):
        with clock("utterances from subtitles"):
            found = segments_of(clip)
        predictions = pipeline(clip, segments=found.segments)
        with clock("write"):
            write_results(out, predictions, found, {})
    most, cores = peak(), {"load": loaded, "the rest": time.process_time() - loaded}
    with clock(VOICE):
        voice_activity(clip)
    length = max(float(placed.end_s or 0) for placed in found.segments)
    return {
        "seconds": clock.seconds,
        "cores": cores,
        "utterances": len(predictions),
        "length": length,
        "before": before,
        "peak": most,
    }


def peak() -> float:
    """The most memory that this process has had, in MiB; getrusage would count what its parent held."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / MIB


def trained(folder: Path, *, quick: bool) -> Path:
    """A dialogue run on the toy corpus, by the commands of `m2fnet demo`."""
    data, run = str(folder / "data"), folder / "runs" / "net"
    dialogues = ("3", "2", "3") if quick else ("40", "10", "20")
    command("prepare", "toy", "--root", str(folder / "raw"), "--out", data, "--dialogues", *dialogues)
    stores = {}
    for modality, name in EXTRACTORS.items():
        place, stores[modality] = str(folder / "runs" / name), str(folder / modality)
        command("extractor", "fit", "--config", f"conf/extractors/{name}.yaml", "--manifest", data, "--run", place)
        command("extract", "--ckpt", place, "--manifest", data, "--out", stores[modality])
    places = ("--data.manifest", data, "--data.stores", json.dumps(stores), "--run", str(run), "--quiet")
    command("dialog", "fit", "--config", "conf/dialog/m2fnet_toy.yaml", "--trainer.max_epochs", "1", *places)
    return run


def networks(folder: Path) -> Path:
    """A model whose extractors are networks with random weights."""
    from dialog.models.m2fnet import M2FNet
    from extractors.audio.mel_resnet import MelResNet
    from extractors.text.roberta import TextEncoder
    from extractors.visual.face_scene import FaceScene
    from m2fnet.model import Model, save_model
    from m2fnet.problems import make_problem
    from m2fnet.records import LabelSet

    encoder = runpy.run_path(str(Path(__file__).with_name("extractors.py")))["made_up_encoder"](folder / "encoder")
    extractors = {"text": TextEncoder(encoder), "audio": MelResNet(), "visual": FaceScene()}
    problem = make_problem(LabelSet("toy", EMOTIONS), {name: extractor.width for name, extractor in extractors.items()})
    settings = {name: settings_of(type(extractor)) for name, extractor in extractors.items()}
    config = {
        "label_set": {"name": "toy", "classes": EMOTIONS, "kind": "single"},
        "network": {**settings_of(M2FNet), "widths": problem.widths},
        "extractors": settings,
        "temperature": 1.0,
    }
    return save_model(Model(problem.label_set, extractors, M2FNet(problem), config), folder / "networks", card="")


def settings_of(cls: type) -> dict[str, Any]:
    return {"class_path": f"{cls.__module__}.{cls.__name__}", "init_args": {}}


def command(*arguments: str) -> None:
    """Run a command of this project in this process.

    Raises:
        RuntimeError: if it fails.
    """
    from m2fnet import cli

    if cli.run(arguments) != cli.DONE:
        raise RuntimeError(f"m2fnet {' '.join(arguments)} failed")


def shoot(path: Path, seconds: int) -> Path:
    """A clip of about so many seconds with subtitles, each cue as long as a line of the toy corpus."""
    import numpy as np

    from m2fnet.corpora import toy_clip
    from m2fnet.corpora.toy_script import write_script

    script = write_script({"test": seconds}, np.random.default_rng(0))
    lines, cues, clock = [line for scene in script["test"] for line in scene], list[str](), 0.0
    for number, line in enumerate(lines, start=1):
        if clock >= seconds:
            break
        end = clock + line.shot.seconds
        cues.append(f"{number}\n{stamp(clock)} --> {stamp(end)}\n{line.speaker}: {line.text}\n")
        clock = end
    toy_clip.shoot(path, replace(lines[0].shot, seconds=clock))
    path.with_suffix(".srt").write_text("\n".join(cues), encoding="utf-8")
    return path


def stamp(seconds: float) -> str:
    whole, thousandths = divmod(round(1000 * seconds), 1000)
    return f"{whole // 3600:02}:{whole // 60 % 60:02}:{whole % 60:02},{thousandths:03}"


if __name__ == "__main__":
    main()
