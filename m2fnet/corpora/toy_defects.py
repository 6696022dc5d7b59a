"""Plants the real corpus's defects into a toy corpus: few, each named, so that every reader meets them."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from numpy.random import Generator

from m2fnet.corpora.meld import CLIP_FOLDERS
from m2fnet.corpora.toy_script import Line, Script
from m2fnet.corpora.toy_text import typographic
from m2fnet.records import Split

FEWEST_DIALOGUES: dict[Split, int] = {"train": 3, "dev": 2, "test": 3}  # fewer have no room for all of them

_OLD_ENCODING, _ONE_DIGIT_HOURS = 0.06, 0.25  # shares of the rows
_OVER_LONG_S = 304.9  # as MELD's test dia38_utt4
_OVER_LONG_CLIP_S = 4.0  # what the file really holds; long enough to be seen, short enough to be written
_APPLE_DOUBLE = bytes.fromhex("0005160700020000") + b"Mac OS X        " + bytes(58)

_SURPLUS = "final_videos_test"

_Place = tuple[int, int]  # number of the scene in its split, number of the line in its scene
Planted = dict[str, tuple[str, ...]]


def plant(script: Script, rng: Generator) -> tuple[Script, Planted]:
    """The script with all defects a table can have, and which clips, by path, have which defect.

    Clips named under ``"missing clip"``, ``"undecodable clip"`` and ``"surplus file"`` are spoilt by `spoil`.
    """
    planter = _Planter(script, rng)
    planter.repeat_a_dialogue()
    planter.leave_gaps()
    for split in script:
        planter.spoil_rows(split)
    return planter.script, {what: tuple(names) for what, names in sorted(planter.planted.items())}


def spoil(root: Path, planted: Planted) -> None:
    """Make the clips under ``root`` missing, undecodable and surplus that ``planted`` says are."""
    for name in planted["undecodable clip"]:
        clip = root / name
        clip.write_bytes(clip.read_bytes()[: clip.stat().st_size // 2])  # loses the index at its end
    for name in planted["missing clip"]:
        (root / name).unlink()
    for name in planted["surplus file"]:
        twin = root / name.replace(_SURPLUS, "")
        (root / name).write_bytes(twin.read_bytes() if _SURPLUS in name else _APPLE_DOUBLE)


class _Planter:
    """Changes a copy of ``script`` and keeps count in ``planted``."""

    def __init__(self, script: Script, rng: Generator) -> None:
        self.script: Script = {split: [list(scene) for scene in scenes] for split, scenes in script.items()}
        self.planted: dict[str, list[str]] = {}
        self._rng = rng
        self._intact: dict[Split, set[int]] = {split: set() for split in script}  # scenes in which nothing else happens

    def repeat_a_dialogue(self) -> None:
        """Let the last test dialogue be the shortest of training once more."""
        train, test = self.script["train"], self.script["test"]
        source = min(range(len(train)), key=lambda number: len(train[number]))
        repeated = [replace(line, split="test", dialogue=test[-1][0].dialogue) for line in train[source]]
        test[-1] = repeated
        self._intact["train"].add(source)
        self._intact["test"].add(len(test) - 1)
        self._note("dialogue repeated across splits", *repeated)

    def leave_gaps(self) -> None:
        """Skip one dialogue id of training, and one utterance id in every split."""
        train = self.script["train"]
        middle = len(train) // 2
        self.planted["gap in Dialogue_ID"] = [f"{CLIP_FOLDERS['train']}/dia{train[middle][0].dialogue}"]
        for scene in train[middle:]:
            scene[:] = [replace(line, dialogue=line.dialogue + 1) for line in scene]
        for split in self.script:
            scene = self.script[split][self._free_scene(split)]
            middle = len(scene) // 2
            self._note("gap in Utterance_ID", scene[middle])
            scene[middle:] = [replace(line, utterance=line.utterance + 1) for line in scene[middle:]]

    def spoil_rows(self, split: Split) -> None:
        """Spoil single rows and clips of ``split``; none but its writing is spoilt twice."""
        scene = self._free_scene(split)
        start = round(self.script[split][scene][0].start_s - 0.5, 3)
        self._change(split, (scene, 1), "StartTime does not increase", start_s=start)
        places = [place for place in self._places(split) if place != (scene, 1)]
        self._rng.shuffle(places)
        for what in ("missing clip", "undecodable clip"):
            self._change(split, places.pop(), what)
        self._change(split, places.pop(), "joint speaker", speaker="All")
        if split != "dev":
            self._make_over_long(split, places.pop())
        if split == "test":
            scene, row = places.pop()
            self._change(split, (scene, row), "zero-length span", end_s=self.script[split][scene][row].start_s)
        for place in self._some(self._places(split), _OLD_ENCODING):
            text = typographic(self.script[split][place[0]][place[1]].text, self._rng)
            self._change(split, place, "cp1252 bytes", text=text, encoding="cp1252")
        for place in self._some(self._places(split), _ONE_DIGIT_HOURS):
            self._change(split, place, "hour with one digit", hour_digits=1)
        self._add_surplus(split)

    def _make_over_long(self, split: Split, place: _Place) -> None:
        line = self.script[split][place[0]][place[1]]
        shot = replace(line.shot, seconds=_OVER_LONG_CLIP_S)
        self._change(split, place, "over-long clip", shot=shot, end_s=round(line.start_s + _OVER_LONG_S, 3))

    def _add_surplus(self, split: Split) -> None:
        folder, _, name = self.script[split][-1][0].clip.partition("/")
        names = [f"{folder}/._{name}"]
        if split == "test":
            names.append(f"{folder}/{_SURPLUS}{name}")
        self.planted.setdefault("surplus file", []).extend(names)

    def _free_scene(self, split: Split) -> int:
        free = sorted(set(range(len(self.script[split]))) - self._intact[split])
        return int(self._rng.choice(free))

    def _places(self, split: Split) -> list[_Place]:
        scenes = enumerate(self.script[split])
        return [(n, row) for n, scene in scenes if n not in self._intact[split] for row in range(len(scene))]

    def _some(self, places: list[_Place], share: float) -> list[_Place]:
        chosen = self._rng.choice(len(places), size=max(1, round(share * len(places))), replace=False)
        return [places[n] for n in sorted(chosen)]

    def _change(self, split: Split, place: _Place, what: str, **changes: Any) -> None:  # noqa: ANN401
        scene, row = place
        line = replace(self.script[split][scene][row], **changes)
        self.script[split][scene][row] = line
        self._note(what, line)

    def _note(self, what: str, *lines: Line) -> None:
        self.planted.setdefault(what, []).extend(line.clip for line in lines)
