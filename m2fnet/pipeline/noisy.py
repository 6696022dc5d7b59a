"""A model tested with noise in one of its inputs."""

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from torch import Tensor

from extractors.extraction.embedding import Loading, embed, place_utterances
from m2fnet.errors import RunError
from m2fnet.files import read_json, write_json
from m2fnet.manifest import Manifest
from m2fnet.media.noise import Noise, words_of
from m2fnet.metrics.bootstrap import FEWEST_DIALOGUES, bootstrap_intervals
from m2fnet.metrics.counts import Counts, count_dialogues
from m2fnet.metrics.scores import STATISTICS, TWO_SCORES
from m2fnet.model import Model
from m2fnet.pipeline.stages import Embedded, Stages
from m2fnet.records import Modality, Split
from m2fnet.store import Missing

# of each modality the levels, from hardly any noise to little else
LEVELS: Mapping[Modality, tuple[float, ...]] = {
    "audio": (30.0, 20.0, 10.0, 5.0, 0.0, -5.0, -10.0),
    "visual": (0.5, 1.0, 2.0, 4.0, 8.0),
    "text": (10.0, 20.0, 40.0, 60.0, 80.0, 100.0),
}


class NoisyTest:
    """The labelled utterances of one split, embedded once without noise.

    Args:
        model: its extractors and its network.
        manifest: the corpus that the network was trained on.
        split: ``dev`` or ``test``.
        loading: batch size, worker processes and device.
    """

    def __init__(self, model: Model, manifest: Manifest, split: Split, loading: Loading) -> None:
        self.model, self.manifest, self.split, self.loading = model, manifest, split, loading
        self.dialogues = manifest.dialogues(split)
        self.words = words_of([u.text for u in manifest.utterances if u.split == "train" and u.text])
        self._stages = Stages(model, loading.device)
        self._clean = {stream: self._embedded(stream, None) for stream in model.extractors}

    def scores(self, seed: int, tell: Callable[[str], None], kept: Path) -> dict[str, Any]:
        """Scores without noise and at each level of each modality that the model reads.

        Args:
            seed: of the noise.
            tell: is given a line before each level.
            kept: file that gets the scores after each level. Those that it has already, of the same split and seed and
                with the same scores without noise, are not computed again.
        """
        read = {extractor.modality for extractor in self.model.extractors.values()}
        noises = [
            Noise(modality, level, self.words if modality == "text" else (), seed)
            for modality, levels in LEVELS.items()
            if modality in read and (modality != "text" or self.words)
            for level in levels
        ]
        clean = {
            "classes": list(self.model.label_set.classes),
            "kind": self.model.label_set.kind,
            "split": self.split,
            "streams": list(self.model.extractors),
            "manifest_sha256": self.manifest.sha256,
            "seed_of_noise": seed,
            "without": self._scores(None),
        }
        rows = _rows(kept, clean, noises)
        if rows:
            tell(f"{len(rows)} of {len(noises)} levels were scored by an earlier run")
        for number, noise in enumerate(noises[len(rows) :], len(rows) + 1):
            tell(f"noise {number} of {len(noises)}: {noise.modality}, level {noise.level:g}")
            rows.append({"modality": noise.modality, "level": noise.level, **self._scores(noise)})
            write_json(kept, {**clean, "noise": rows})
        return {**clean, "noise": rows}

    def _embedded(self, stream: str, noise: Noise | None) -> list[Tensor | Missing]:
        extractor = self.model.extractors[stream]
        placed = place_utterances(self.manifest, self.split, noise)
        return [vector for _, vector in embed(extractor, placed, self.loading)]

    def _scores(self, noise: Noise | None) -> dict[str, Any]:
        columns = {
            stream: self._embedded(stream, noise)
            if noise is not None and extractor.modality == noise.modality
            else self._clean[stream]
            for stream, extractor in self.model.extractors.items()
        }
        counts = self._counts([dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)])
        kind = self.model.label_set.kind
        statistics = {name: STATISTICS[kind][name] for name in TWO_SCORES[kind]}
        found = {}
        for name, interval in bootstrap_intervals(Counts.stack([counts]), statistics).items():
            found[name] = asdict(interval)
            if len(counts) < FEWEST_DIALOGUES:
                found[name] |= {"low": None, "high": None}
        return found

    def _counts(self, rows: Sequence[Mapping[str, Tensor | Missing]]) -> Counts:
        """Counts of the answers to all labelled utterances, whose embeddings are ``rows``."""
        labels: list[tuple[str, ...]] = []
        answers: list[tuple[str, ...]] = []
        dialogues: list[str] = []
        start = 0
        for dialogue in self.dialogues:
            said = dialogue.utterances
            embedded = [Embedded(row, ()) for row in rows[start : start + len(said)]]
            start += len(said)
            for one, chances in zip(said, self._stages.answers(said, embedded).probabilities, strict=True):
                if one.labels is not None:
                    labels.append(one.labels)
                    answers.append(self._answer(chances))
                    dialogues.append(one.dialogue)
        return count_dialogues(labels, answers, dialogues, self.model.label_set.classes)

    def _answer(self, chances: Tensor) -> tuple[str, ...]:
        """The emotion, or the set of them, that the probabilities (C,) stand for."""
        classes, thresholds = self.model.label_set.classes, self.model.thresholds
        if self.model.label_set.kind == "multi":
            both = zip(classes, chances.tolist(), strict=True)
            return tuple(name for name, chance in both if chance >= thresholds[name])
        return (classes[int(chances.argmax())],)


def _rows(kept: Path, clean: Mapping[str, object], noises: Sequence[Noise]) -> list[dict[str, Any]]:
    """The scored levels in ``kept``, the first of ``noises``, if it belongs to what ``clean`` says; else none."""
    with contextlib.suppress(RunError, KeyError, TypeError):
        content = read_json(kept, RunError, "It is made again.")
        rows: list[dict[str, Any]] = content.pop("noise")
        planned = [(noise.modality, noise.level) for noise in noises]
        if content == clean and [(row["modality"], row["level"]) for row in rows] == planned[: len(rows)]:
            return rows
    return []
