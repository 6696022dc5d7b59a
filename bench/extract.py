"""Clips to embeddings, end to end, against the way that comes to mind first, compared on two cores.

A corpus like MELD: clips of 1280 x 720 pixels, 24 frames and 48,000 samples a second, H.264 of 1.5 Mbit/s and AAC, 3.2
seconds long on the average, dialogues of ten utterances. Twelve clips are made and listed in the manifest again and
again, so files come from the system's memory. The networks have the sizes of `conf/extractors` (text: that of MiniLM)
and random weights. Ours compute in the precision of `m2fnet extract`, unless `--precision` names another; the naive way
in float32.

The naive way takes one utterance at a time, in the same process, with as many threads for torch. Text is padded to 512
tokens. Sound is decoded by PyAV, resampled and turned into mels by librosa. Of pictures, PyAV decodes all; facenet's
MTCNN, as it comes, looks at each of the same 15 frames that ours looks at. It sees every clip once, and its time is
scaled to the corpus.

What the parts cost is told in seconds of one core, which a busy machine hardly changes: one process with one thread
does one thing after the other, on one round through the clips.

Needs `uv pip install --group bench`.
"""

import sys

sys.path.append(sys.path.pop(0))  # the folder of this file has another with the name of a package

import argparse
import logging
import os
import runpy
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any
from unittest.mock import patch

import av
import librosa
import numpy as np
import torch
from _clock import Clock
from _table import Row, finish, parser
from facenet_pytorch import MTCNN
from faces import MIXED, clip, drawings
from PIL import Image

import extractors.audio.waveform
import extractors.visual.face_scene
from extractors.audio.mel_resnet import MelResNet
from extractors.base import Extractor, PlacedUtterance
from extractors.extraction.embedding import Loading, place_utterances, plan
from extractors.extraction.extract import extract
from extractors.extraction.lightning import trainer_for
from extractors.text.roberta import TextEncoder
from extractors.visual.face_scene import FaceScene
from m2fnet.manifest import Manifest
from m2fnet.media.faces import FaceDetector
from m2fnet.records import LabelSet, Utterance
from m2fnet.store import StoreWriter
from m2fnet.store.parts import PartWriter

FPS, RATE, HEARD = 24, 48_000, 16_000
BITS = 1_500_000  # of the picture, a second
MEDIAN, SPREAD = 2.4, 0.75  # of the lengths, log-normal, so that the mean is 3.2 s as in MELD
BUDGET, BATCH = 512, 8
STAGES = ("decode", "detect", "network", "write", "rest")


@dataclass(frozen=True)
class Job:
    """An extractor and the naive way to the same embeddings."""

    net: Extractor
    naive: Callable[[PlacedUtterance, Clock], object]


def main() -> None:
    arguments = parser(__doc__ or "")
    arguments.add_argument("--clips", type=int, help="utterances of the corpus (default 500, with --quick 12)")
    arguments.add_argument("--modalities", nargs="+", choices=["text", "audio", "visual"], help="only these")
    arguments.add_argument("--threads", type=int, default=2, help="cores that both may use (default 2)")
    arguments.add_argument("--accelerator", default="cpu", help="where our networks run (default cpu)")
    arguments.add_argument("--precision", default="auto", help="of our networks' arithmetic (default auto)")
    args = arguments.parse_args()
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: args.threads])
    torch.set_num_threads(args.threads)
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        manifest = corpus(folder, args.clips or (12 if args.quick else 500), different=3 if args.quick else 12)
        jobs = {m: job for m, job in make_jobs(folder).items() if m in (args.modalities or [m])}
        speeds = {name: speeds_of(job, manifest, folder, args) for name, job in jobs.items()}
        rows = [row for job in jobs.values() for row in rows_of(job, manifest, folder, speeds[job.net.modality], args)]
        naive_s, ours_s = (sum(column) for column in zip(*speeds.values(), strict=True))
        finish([*rows, Row(f"{' + '.join(jobs)}: end to end, utterances/s", "1/s", 1 / ours_s, 1 / naive_s)], args)


def rows_of(
    job: Job, manifest: Manifest, folder: Path, speeds: tuple[float, float], args: argparse.Namespace
) -> list[Row]:
    name, wanted = job.net.modality, place_utterances(manifest)
    clips = clips_of(wanted)
    media = statistics.mean(float(placed.utterance.end_s or 0) for placed in wanted)
    parts = parts_of(job, part_of(manifest, clips, folder), folder, args)
    naive_s, ours_s = speeds
    rows = [
        Row("end to end, utterances/s", "1/s", 1 / ours_s, 1 / naive_s),
        Row("end to end, times real time", "x", media / ours_s, media / naive_s),
        *stage_rows(*(per_thousand(clock, clips) for clock in parts)),
    ]
    if name == "text":
        rows.append(padding_row(job.net, wanted))
    return [replace(row, name=f"{name}: {row.name}") for row in rows]


def parts_of(job: Job, once: Manifest, folder: Path, args: argparse.Namespace) -> tuple[Clock, Clock]:
    """What every stage costs a single core: ours and the naive way."""
    torch.set_num_threads(1)
    ours, naive = Clock(time.process_time), Clock(time.process_time)
    with ours("all"), stages(job.net, ours):
        embed(job.net, once, folder / "once", args, workers=0)
    with naive("all"):
        for placed in place_utterances(once):
            job.naive(placed, naive)
    return ours, naive


def speeds_of(job: Job, manifest: Manifest, folder: Path, args: argparse.Namespace) -> tuple[float, float]:
    """Seconds on the wall per utterance: the naive way and ours, with as many cores as there may be."""
    torch.set_num_threads(args.threads)
    naive, ours = Clock(), Clock()
    wanted = place_utterances(manifest)
    clips = clips_of(wanted)
    embed(job.net, part_of(manifest, 1, folder), folder / "warm", args, workers=0)
    job.naive(wanted[0], Clock())
    with naive("all"):
        for placed in wanted[:clips]:
            job.naive(placed, Clock())
    with ours("all"):
        embed(job.net, manifest, folder / "all", args, workers=None)
    return naive.seconds["all"] / clips, ours.seconds["all"] / len(wanted)


def embed(net: Extractor, manifest: Manifest, out: Path, args: argparse.Namespace, workers: int | None) -> None:
    trainer, loading = trainer_for(args.accelerator), Loading(BATCH, workers)
    extract(net, {}, manifest, out / net.modality, loading=loading, trainer=trainer, precision=args.precision)


@contextmanager
def stages(net: Extractor, clock: Clock) -> Iterator[None]:
    """Time the parts of an extraction."""
    parts: list[tuple[str, Any, str]] = [
        ("decode", extractors.audio.waveform, "utterance_sound"),
        ("decode", extractors.visual.face_scene, "utterance_frames"),
        ("detect", FaceDetector, "__call__"),
        ("network", type(net), "forward"),
        ("write", PartWriter, "flush"),
        ("write", StoreWriter, "put"),
        ("write", StoreWriter, "__exit__"),
    ]
    with ExitStack() as stack:
        for stage, owner, name in parts:
            stack.enter_context(patch.object(owner, name, clock.on(stage, getattr(owner, name))))
        yield


def clips_of(wanted: Sequence[PlacedUtterance]) -> int:
    return len({placed.utterance.video for placed in wanted})


def per_thousand(clock: Clock, count: int) -> dict[str, float]:
    seconds = {stage: 1000 * clock.seconds[stage] / count for stage in STAGES[:-1]}
    total = 1000 * clock.seconds["all"] / count
    return {"all": total, **seconds, "rest": total - sum(seconds.values())}


def stage_rows(ours: dict[str, float], naive: dict[str, float]) -> list[Row]:
    shown = ["all", *(stage for stage in STAGES if ours[stage] > 0)]
    return [
        Row(f"core seconds per 1,000, {stage}", "s", ours[stage], naive[stage] or None, larger_is_better=False)
        for stage in shown
    ]


def padding_row(net: Extractor, wanted: Sequence[PlacedUtterance]) -> Row:
    """Share of padding in batches of similar length, against batches in the manifest's order."""
    lengths = [net.length(net.preprocess(placed)) for placed in wanted]
    in_order = [list(range(start, min(len(wanted), start + BATCH))) for start in range(0, len(wanted), BATCH)]
    ours, theirs = (
        sum(len(batch) * max(lengths[place] for place in batch) for batch in batches) / sum(lengths) - 1
        for batches in (plan(net, wanted, BATCH), in_order)
    )
    return Row("padding, vs in the manifest's order", "%", 100 * ours, 100 * theirs, larger_is_better=False)


def make_jobs(folder: Path) -> dict[str, Job]:
    made_up_encoder = runpy.run_path(str(Path(__file__).with_name("extractors.py")))["made_up_encoder"]
    text, audio, visual = TextEncoder(made_up_encoder(folder / "encoder"), budget=BUDGET), MelResNet(), FaceScene()
    mtcnn = MTCNN(keep_all=True)
    return {
        "text": Job(text.eval(), lambda placed, clock: naive_text(text, placed, clock)),
        "audio": Job(audio.eval(), lambda placed, clock: naive_audio(audio, placed, clock)),
        "visual": Job(visual.eval(), lambda placed, clock: naive_visual(visual, mtcnn, placed, clock)),
    }


@torch.inference_mode()
def naive_text(net: TextEncoder, placed: PlacedUtterance, clock: Clock) -> object:
    tokens = net.preprocess(placed)["tokens"]
    padded = torch.full((1, BUDGET), net.tokenizer.pad_token_id)
    padded[0, : len(tokens)] = tokens
    with clock("network"):
        return net.encoder(input_ids=padded, attention_mask=(padded != net.tokenizer.pad_token_id).long())


@torch.inference_mode()
def naive_audio(net: MelResNet, placed: PlacedUtterance, clock: Clock) -> object:
    with clock("decode"), av.open(str(path_of(placed))) as container:
        sound = np.concatenate([frame.to_ndarray() for frame in container.decode(audio=0)], axis=1).mean(0)
        sound = librosa.resample(sound, orig_sr=RATE, target_sr=HEARD)
    mel = librosa.feature.melspectrogram(y=sound, sr=HEARD, n_fft=1024, win_length=400, hop_length=160, n_mels=128)
    logarithmic = librosa.power_to_db(mel)
    changes = [librosa.feature.delta(logarithmic, order=order) for order in (1, 2)]
    picture = torch.from_numpy(np.stack([logarithmic, *changes]))[None]
    with clock("network"):
        return net.projector(net.encode(picture, torch.tensor([picture.shape[3]])))


@torch.inference_mode()
def naive_visual(net: FaceScene, mtcnn: MTCNN, placed: PlacedUtterance, clock: Clock) -> object:
    with clock("decode"), av.open(str(path_of(placed))) as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    first = max(0, (len(frames) - net.which.count) // 2)
    pictures = []
    for frame in frames[first : first + net.which.count]:
        with clock("detect"):
            boxes, _ = mtcnn.detect(frame)
        image = Image.fromarray(frame)
        faces = [image.crop(tuple(box)) for box in (boxes if boxes is not None else ())]
        pictures += [np.asarray(picture.resize((net.side, net.side))) for picture in (image, *faces)]
    batch = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).float()
    with clock("network"):
        return net.encoder(batch).max(0)


def path_of(placed: PlacedUtterance) -> Path:
    return placed.manifest.media_path(str(placed.utterance.video))


def corpus(folder: Path, count: int, different: int) -> Manifest:
    """Dialogues of ten utterances of about eleven words, whose clips are used one after another."""
    rng = np.random.default_rng(0)
    quantiles = (np.arange(different) + 0.5) / different
    lengths = [MEDIAN * np.exp(SPREAD * statistics.NormalDist().inv_cdf(quantile)) for quantile in quantiles]
    faces = drawings(rng)
    for number, seconds in enumerate(lengths):
        frames = clip(faces, np.random.default_rng(number), MIXED, actors=(number + 2) % 5)
        write_clip(folder / f"{number}.mp4", frames.numpy(), float(seconds), rng)
    utterances = []
    for number in range(count):
        text = " ".join(map(str, rng.integers(0, 5000, 1 + rng.geometric(1 / 11))))
        name, seconds = f"{number % different}.mp4", float(lengths[number % different])
        utterances.append(
            Utterance(
                str(number), "bench", "train", str(number // 10), number % 10, "A", text, "a",
                start_s=0.0, end_s=seconds, audio=name, video=name,
            )
        )  # fmt: skip
    return Manifest("bench", LabelSet("bench", ("a", "b")), tuple(utterances), folder).save(folder / "manifest")


def part_of(manifest: Manifest, count: int, folder: Path) -> Manifest:
    """The first ``count`` utterances."""
    chosen = manifest.utterances[:count]
    return Manifest(manifest.corpus, manifest.label_set, chosen, manifest.root).save(folder / f"first{count}")


def write_clip(path: Path, frames: np.ndarray, seconds: float, rng: np.random.Generator) -> None:
    """The frames to and fro for some seconds, with a camera's noise, and a sound that swells."""
    noise = rng.normal(0, 3, (MIXED.height + 64, MIXED.width + 64, 3)).astype(np.int16)
    order = [*range(len(frames)), *range(len(frames) - 2, 0, -1)]
    time_s = np.arange(round(seconds * RATE)) / RATE
    sound = (0.2 * np.sin(4 * time_s) * rng.normal(0, 1, (2, len(time_s)))).astype(np.float32)
    with av.open(str(path), "w") as out:
        video = out.add_stream("libx264", rate=FPS, options={"preset": "veryfast"})
        video.width, video.height, video.pix_fmt, video.bit_rate = MIXED.width, MIXED.height, "yuv420p", BITS
        audio = out.add_stream("aac", rate=RATE, layout="stereo")
        for number in range(round(seconds * FPS)):
            down, right = rng.integers(0, 64, 2)
            grain = noise[down : down + MIXED.height, right : right + MIXED.width]
            picture = np.clip(frames[order[number % len(order)]] + grain, 0, 255).astype(np.uint8)
            out.mux(video.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        out.mux(video.encode())
        frame = av.AudioFrame.from_ndarray(sound, format="fltp", layout="stereo")
        frame.sample_rate, frame.pts, frame.time_base = RATE, 0, Fraction(1, RATE)
        out.mux(audio.encode(frame))
        out.mux(audio.encode())


if __name__ == "__main__":
    main()
