"""Faces in frames against facenet-pytorch's `MTCNN.detect` frame by frame, compared on two cores.

Clips of 15 frames with faces that move over a cluttered wall, in four scenes: up to four faces of 60 to 300 pixels, a
crowd, close-ups (all 720p), and small pictures. Without `--faces` they are drawings; with it photographs from a folder,
their frames counted in the sizes. Ours looks for faces of 40 pixels and more, as it comes otherwise. It is measured
against MTCNN as it comes, which looks for those of 20 and more, and in the first scene against MTCNN told to look for
the same. Speeds are those of the median clip. A box is found if one of ours overlaps with it (IoU) by half and more;
all of MTCNN's count, whatever its confidence, as far as they are in the frame. Bounds are given with their figures.
"""

import argparse
import resource
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from _table import Row, finish, parser
from facenet_pytorch import MTCNN
from numpy.random import Generator
from PIL import Image, ImageDraw, ImageFilter
from torchvision.ops import box_iou, clip_boxes_to_image

from m2fnet.corpora.toy_face import EXPRESSIONS, LEFT, TOP, Look, draw_head
from m2fnet.media.faces import FaceDetector

FRAMES, MIN_SIDE = 15, 40
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


@dataclass(frozen=True)
class Scene:
    """What clips show: frames ``width`` x ``height``, so many faces in turn, of a side drawn from a range."""

    name: str
    actors: Sequence[int]
    sides: tuple[float, float]
    width: int = 1280
    height: int = 720

    def clips(self, faces: Photographs, count: int) -> Iterator[torch.Tensor]:
        """The same ``count`` clips each time, made when they are asked for."""
        for number in range(count):
            yield clip(faces, np.random.default_rng(number), self, self.actors[number % len(self.actors)])


MIXED = Scene("0 to 4 faces", (2, 3, 4, 0, 1), (60, 300))
OTHERS = (
    Scene("crowd", (8, 6, 10), (90, 160)),
    Scene("close-up", (1, 2), (250, 650)),
    Scene("320 x 240", (1, 2), (60, 200), 320, 240),
)


def measure(faces: Photographs, args: argparse.Namespace) -> list[Row]:
    rows = mixed_rows(faces, 2 if args.quick else 24)
    for scene in OTHERS:
        contest = Contest({"ours": ours_on("cpu"), "stock": stock_detector("cpu", 20)})
        contest.run(scene, faces, 1 if args.quick else 12)
        rows += [
            against_stock(contest, scene),
            *agreement(scene, "MTCNN", contest.boxes["ours"], contest.boxes["stock"]),
        ]
    rows.append(memory_row(faces, 60 if args.quick else 1000))
    if torch.cuda.is_available():
        on_gpu = Contest({"ours": ours_on("cuda"), "stock": stock_detector("cuda", 20)})
        on_gpu.run(MIXED, faces, 2 if args.quick else 24)
        rows.append(Row("cuda: vs MTCNN frame by frame", "frames/s", on_gpu.speed("ours"), on_gpu.speed("stock")))
    return rows


def mixed_rows(faces: Photographs, count: int) -> list[Row]:
    stock, same = (stock_detector("cpu", side) for side in (20, MIN_SIDE))
    contest = Contest({"ours": ours_on("cpu"), "one by one": one_by_one("cpu"), "stock": stock, "same": same})
    contest.run(MIXED, faces, count)
    speed, boxes, name = contest.speed, contest.boxes, MIXED.name
    return [
        against_stock(contest, MIXED),
        Row(f"{name}: vs MTCNN for faces >= {MIN_SIDE} px", "frames/s", speed("ours"), speed("same")),
        Row(f"{name}: 15 frames together, vs ours one by one", "frames/s", speed("ours"), speed("one by one")),
        *agreement(MIXED, "MTCNN", boxes["ours"], boxes["stock"]),
        *agreement(MIXED, f"MTCNN for >= {MIN_SIDE} px", boxes["ours"], boxes["same"]),
    ]


def against_stock(contest: "Contest", scene: Scene) -> Row:
    row = Row(f"{scene.name}: vs MTCNN frame by frame", "frames/s", contest.speed("ours"), contest.speed("stock"))
    return asked(row, ">=", 4) if scene.height >= 720 else row


def asked(row: Row, sign: str, bound: float) -> Row:
    """The row with what is asked of its ratio, or of its figure if it has none, and whether that is met."""
    figure = row.ours if row.ratio is None else row.ratio
    is_met = figure >= bound if sign == ">=" else figure <= bound
    return replace(row, name=f"{row.name} (asked {sign} {bound:g}: {'met' if is_met else 'MISSED'})")


@dataclass
class Contest:
    """Detectors that see the same clips in turn, so that a busy machine slows all of them."""

    detectors: dict[str, Callable[[torch.Tensor], Boxes]]
    seconds: dict[str, list[float]] = field(default_factory=dict)
    boxes: dict[str, Boxes] = field(default_factory=dict)

    def run(self, scene: Scene, faces: Photographs, count: int) -> None:
        for detect in self.detectors.values():
            detect(torch.full((FRAMES, scene.height, scene.width, 3), 127, dtype=torch.uint8))  # warms up
        for frames in scene.clips(faces, count):
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
    return lambda frames: [inside(as_boxes(mtcnn.detect(frame.numpy())[0]), frame) for frame in frames]


def inside(boxes: torch.Tensor, frame: torch.Tensor) -> torch.Tensor:
    """The part of the boxes inside the frame, where ours always are."""
    return clip_boxes_to_image(boxes, (frame.shape[0], frame.shape[1]))


def as_boxes(boxes: object) -> torch.Tensor:
    return torch.zeros(0, 4) if boxes is None else torch.as_tensor(np.array(boxes, np.float32)).reshape(-1, 4)


def agreement(scene: Scene, name: str, ours: Boxes, theirs: Boxes) -> list[Row]:
    overlaps = [box_iou(*pair) >= 0.5 for pair in zip(theirs, ours, strict=True)]
    found = sum(int(overlap.any(1).sum()) for overlap in overlaps)
    new = sum(int((~overlap.any(0)).sum()) for overlap in overlaps)
    count = max(1, sum(map(len, theirs)))
    return [
        asked(Row(f"{scene.name}: of {count:,} boxes of {name} found", "%", 100 * found / count), ">=", 98),
        asked(Row(f"{scene.name}: boxes that {name} has not", "%", 100 * new / count), "<=", 2),
    ]


def memory_row(faces: Photographs, count: int) -> Row:
    detector = FaceDetector(min_side=MIN_SIDE)
    frame = clip(faces, np.random.default_rng(0), MIXED, actors=4)[:1]
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


def clip(faces: Photographs, rng: Generator, scene: Scene, actors: int) -> torch.Tensor:
    """Frames (15, H, W, 3) of faces in motion."""
    wall = background(rng, scene)
    smallest, largest = scene.sides
    moving = []
    for place in range(actors):
        face = faces[int(rng.integers(len(faces)))]
        factor = smallest * (largest / smallest) ** rng.random() / max(face.size)
        face = face.resize((max(1, round(face.width * factor)), max(1, round(face.height * factor))))
        room = scene.width / actors
        left = room * place + rng.uniform(0, max(0.0, room - face.width))
        moving.append((face, left, rng.uniform(0, max(0.0, scene.height - face.height)), *rng.uniform(-5, 5, 2)))
    frames = []
    for number in range(FRAMES):
        picture = wall.copy()
        for face, left, top, right_by, down_by in moving:
            picture.paste(face, (round(left + number * right_by), round(top + number * down_by)), face)
        frames.append(np.asarray(picture))
    return torch.from_numpy(np.stack(frames))


def background(rng: Generator, scene: Scene) -> Image.Image:
    """A wall with stains of every size and things with sharp edges on it."""
    size = width, height = scene.width, scene.height
    wall = np.full((height, width, 3), rng.uniform(70, 170, 3))
    for cells in (4, 16, 64, 256):
        stains = rng.integers(0, 256, (cells * height // width + 1, cells, 3)).astype(np.uint8)
        wall += 60 / cells**0.35 * (np.asarray(Image.fromarray(stains).resize(size)) / 127.5 - 1)
    picture = Image.fromarray(np.clip(wall, 0, 255).astype(np.uint8))
    draw = ImageDraw.Draw(picture)
    for _ in range(40):
        x, y, w, h = rng.uniform(0, width), rng.uniform(0, height), *rng.uniform(10, 160, 2) * width / 1280
        shape = (draw.rectangle, draw.ellipse)[int(rng.integers(2))]
        shape((x, y, x + w, y + h), fill=tuple(int(c) for c in rng.integers(0, 256, 3)))
    return picture.filter(ImageFilter.GaussianBlur(1))


if __name__ == "__main__":
    main()
