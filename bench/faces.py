"""Faces in 720p frames against facenet-pytorch's `MTCNN.detect` frame by frame, side by side on two cores.

Clips of 15 frames: up to four faces, 60 to 300 pixels large, that move over a cluttered wall. Without `--faces` they
are drawings; with it photographs from a folder. Ours looks for faces of 40 pixels and more. It is measured against
MTCNN as it comes, which looks for those of 20 and more, and against MTCNN told to look for the same. Speeds are those
of the median clip. A box is found if one of ours overlaps with it (IoU) by half and more; all of MTCNN's count,
whatever its confidence.
"""

import argparse
import resource
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from _table import Row, finish, parser
from facenet_pytorch import MTCNN
from numpy.random import Generator
from PIL import Image, ImageDraw, ImageFilter
from torchvision.ops import box_iou

from m2fnet.corpora.toy_face import EXPRESSIONS, LEFT, TOP, Look, draw_head
from m2fnet.media.faces import FaceDetector

WIDTH, HEIGHT, FRAMES, MIN_SIDE = 1280, 720, 15, 40
UNIT = 90  # half the width of a drawn head, in pixels
Photographs = Sequence[Image.Image]
Boxes = list[torch.Tensor]


def main() -> None:
    arguments = parser(__doc__ or "")
    arguments.add_argument("--faces", type=Path, metavar="FOLDER", help="photographs of faces instead of drawings")
    arguments.add_argument("--threads", type=int, default=2, help="cores that both may use (default 2)")
    args = arguments.parse_args()
    torch.set_num_threads(args.threads)
    rng = np.random.default_rng(0)
    faces = photographs(args.faces, rng) if args.faces else drawings(rng)
    finish(measure(faces, args), args)


def measure(faces: Photographs, args: argparse.Namespace) -> list[Row]:
    count = 2 if args.quick else 24
    stock, same = (stock_detector("cpu", side) for side in (20, MIN_SIDE))
    contest = Contest({"ours": ours_on("cpu"), "one by one": one_by_one("cpu"), "stock": stock, "same": same})
    contest.run(clips(faces, count))
    speed, boxes = contest.speed, contest.boxes
    sides = torch.cat([(b[:, 2:] - b[:, :2]).max(1).values for b in boxes["stock"]])
    unit = "frames/s"
    rows = [
        Row("cpu: 15 frames of a clip, vs MTCNN frame by frame", unit, speed("ours"), speed("stock")),
        Row(f"cpu: the same, vs MTCNN for faces >= {MIN_SIDE} px", unit, speed("ours"), speed("same")),
        Row("cpu: 15 frames at once, vs ours one by one", unit, speed("ours"), speed("one by one")),
        *agreement("MTCNN", boxes["ours"], boxes["stock"]),
        *agreement(f"MTCNN for >= {MIN_SIDE} px", boxes["ours"], boxes["same"]),
        Row(f"MTCNN's boxes below {MIN_SIDE} px, not looked for", "%", 100 * float((sides < MIN_SIDE).float().mean())),
        Row("frames searched", "count", len(boxes["stock"])),
        Row("MTCNN's boxes in them", "count", sum(map(len, boxes["stock"]))),
        memory_row(faces, 100 if args.quick else 1000),
    ]
    if torch.cuda.is_available():
        on_gpu = Contest({"ours": ours_on("cuda"), "stock": stock_detector("cuda", 20)})
        on_gpu.run(clips(faces, count))
        rows.append(Row("cuda: 15 frames, vs MTCNN frame by frame", unit, on_gpu.speed("ours"), on_gpu.speed("stock")))
    return rows


@dataclass
class Contest:
    """Detectors that see the same clips in turn, so that a busy machine slows all of them."""

    detectors: dict[str, Callable[[torch.Tensor], Boxes]]
    seconds: dict[str, list[float]] = field(default_factory=dict)
    boxes: dict[str, Boxes] = field(default_factory=dict)

    def run(self, clips: Iterator[torch.Tensor]) -> None:
        for detect in self.detectors.values():
            detect(torch.full((FRAMES, HEIGHT, WIDTH, 3), 127, dtype=torch.uint8))  # warms up
        for frames in clips:
            for name, detect in self.detectors.items():
                start = time.perf_counter()
                found = detect(frames)
                self.seconds.setdefault(name, []).append(time.perf_counter() - start)
                self.boxes.setdefault(name, []).extend(found)

    def speed(self, name: str) -> float:
        return FRAMES / statistics.median(self.seconds[name])


def ours_on(device: str) -> Callable[[torch.Tensor], Boxes]:
    detector = FaceDetector(min_side=MIN_SIDE, device=device)
    return lambda frames: [as_boxes([face.box for face in faces]) for faces in detector(frames)]


def one_by_one(device: str) -> Callable[[torch.Tensor], Boxes]:
    detect = ours_on(device)
    return lambda frames: [boxes for frame in frames for boxes in detect(frame[None])]


def stock_detector(device: str, min_side: int) -> Callable[[torch.Tensor], Boxes]:
    mtcnn = MTCNN(keep_all=True, min_face_size=min_side, device=torch.device(device))
    return lambda frames: [as_boxes(mtcnn.detect(frame.numpy())[0]) for frame in frames]


def as_boxes(boxes: object) -> torch.Tensor:
    return torch.zeros(0, 4) if boxes is None else torch.as_tensor(np.array(boxes, np.float32)).reshape(-1, 4)


def agreement(name: str, ours: Boxes, theirs: Boxes) -> list[Row]:
    overlaps = [box_iou(*pair) >= 0.5 for pair in zip(theirs, ours, strict=True)]
    found = sum(int(overlap.any(1).sum()) for overlap in overlaps)
    new = sum(int((~overlap.any(0)).sum()) for overlap in overlaps)
    count = max(1, sum(map(len, theirs)))
    return [
        Row(f"boxes of {name} found", "%", 100 * found / count),
        Row(f"boxes that {name} has not", "%", 100 * new / count),
    ]


def memory_row(faces: Photographs, count: int) -> Row:
    detector = FaceDetector(min_side=MIN_SIDE)
    frame = clip(faces, np.random.default_rng(0), actors=4)[:1]
    detector(frame.expand(50, -1, -1, -1))
    before = peak()
    detector(frame.expand(count, -1, -1, -1))
    return Row(f"peak memory that {count:,} frames need beyond 50", "MiB", peak() - before)


def peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def photographs(folder: Path, rng: Generator) -> list[Image.Image]:
    paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in (".jpg", ".jpeg", ".png"))
    return [Image.open(paths[number]).convert("RGBA") for number in rng.permutation(len(paths))[:200]]


def drawings(rng: Generator) -> list[Image.Image]:
    looks = [Look.draw(style, rng) for style in ("short", "long", "bun", "parted", "bald") for _ in range(4)]
    heads = [draw_head(look, UNIT, [EXPRESSIONS["neutral"]])[0] for look in looks]
    around = tuple(round(UNIT * side) for side in (-1.4 - LEFT, 0, 1.4 - LEFT, 1.7 - TOP))
    return [head.crop(around) for head in heads]


def clips(faces: Photographs, count: int) -> Iterator[torch.Tensor]:
    """The same ``count`` clips each time, made when they are asked for; of five, one each has 0 to 4 faces."""
    for number in range(count):
        yield clip(faces, np.random.default_rng(number), actors=(number + 2) % 5)


def clip(faces: Photographs, rng: Generator, actors: int) -> torch.Tensor:
    """Frames (15, 720, 1280, 3) of faces in motion."""
    wall = background(rng)
    moving = []
    for place in range(actors):
        face = faces[int(rng.integers(len(faces)))]
        factor = 60 * 5 ** rng.random() / max(face.size)
        face = face.resize((max(1, round(face.width * factor)), max(1, round(face.height * factor))))
        room = WIDTH / actors
        left = room * place + rng.uniform(0, max(0.0, room - face.width))
        moving.append((face, left, rng.uniform(0, HEIGHT - face.height), *rng.uniform(-5, 5, 2)))
    frames = []
    for number in range(FRAMES):
        picture = wall.copy()
        for face, left, top, right_by, down_by in moving:
            picture.paste(face, (round(left + number * right_by), round(top + number * down_by)), face)
        frames.append(np.asarray(picture))
    return torch.from_numpy(np.stack(frames))


def background(rng: Generator) -> Image.Image:
    """A wall with stains of every size and things with sharp edges on it."""
    wall = np.full((HEIGHT, WIDTH, 3), rng.uniform(70, 170, 3))
    for cells in (4, 16, 64, 256):
        stains = rng.integers(0, 256, (cells * HEIGHT // WIDTH + 1, cells, 3)).astype(np.uint8)
        wall += 60 / cells**0.35 * (np.asarray(Image.fromarray(stains).resize((WIDTH, HEIGHT))) / 127.5 - 1)
    picture = Image.fromarray(np.clip(wall, 0, 255).astype(np.uint8))
    draw = ImageDraw.Draw(picture)
    for _ in range(40):
        x, y, w, h = rng.uniform(0, WIDTH), rng.uniform(0, HEIGHT), *rng.uniform(10, 160, 2)
        shape = (draw.rectangle, draw.ellipse)[int(rng.integers(2))]
        shape((x, y, x + w, y + h), fill=tuple(int(c) for c in rng.integers(0, 256, 3)))
    return picture.filter(ImageFilter.GaussianBlur(1))


if __name__ == "__main__":
    main()
