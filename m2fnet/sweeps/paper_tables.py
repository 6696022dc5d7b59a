"""The rows of an ablation: which settings each needs, and what the paper printed for it.

Chudasama et al., arXiv:2206.02187, Tables 2 to 5: accuracy and weighted F1 on test, in per cent, of one run each.
"""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations

from m2fnet.records import MODALITIES

NET = "model.net.init_args"
MOST = 6  # encoders and fusion layers that the paper tries
# corpus and its number of test utterances: only a score on these is compared with the paper's
PAPER_CORPORA = {("iemocap6", 1622): "iemocap", ("meld", 2610): "meld"}

PAPER_TABLES = ("encoders", "fusion_layers", "fusion")  # that no other network has

Scores = tuple[float, float]  # accuracy, weighted F1


@dataclass(frozen=True)
class Row:
    """One line of a table.

    Attributes:
        name: as it is printed.
        value: of the part's setting, as it is typed.
        paper: ``iemocap`` and ``meld`` -> the paper's scores, where it has any.
    """

    name: str
    value: str
    paper: Mapping[str, Scores] = field(default_factory=dict)


@dataclass(frozen=True)
class Part:
    """Rows that differ in one setting, so that one sweep runs them.

    Attributes:
        key: that setting.
        rows: one for each of its values.
        fixed: other settings of these rows: dotted key -> value.
    """

    key: str
    rows: tuple[Row, ...]
    fixed: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Table:
    """One table of the ablation.

    Attributes:
        name: as ``--only`` names it.
        title: what it asks.
        parts: its rows.
        is_paired: the rows of the first part are set against those of the second.
    """

    name: str
    title: str
    parts: tuple[Part, ...]
    is_paired: bool = False

    @property
    def rows(self) -> list[Row]:
        """All lines."""
        return [row for part in self.parts for row in part.rows]


@dataclass(frozen=True)
class StoreQuestion:
    """A table that compares stores, which somebody has to make first.

    Attributes:
        name: as ``--only`` names it, and the option that takes the stores.
        title: what it asks.
        commands: that make the stores and then the table; ``{config}`` and ``{manifest}`` stand for what is configured.
    """

    name: str
    title: str
    commands: str


STORE_QUESTIONS = (
    StoreQuestion(
        "visual",
        "Scene, face or both",
        """\
for branches in scene face both; do
  m2fnet extractor fit --config conf/extractors/visual_face.yaml --data.manifest {manifest} \\
    --model.net.branches $branches --run runs/visual-$branches
  m2fnet extract --ckpt runs/visual-$branches --manifest {manifest} --out embeddings/visual-$branches
done
m2fnet ablate --config {config} --only visual \\
  --visual scene=embeddings/visual-scene face=embeddings/visual-face both=embeddings/visual-both
""",
    ),
    StoreQuestion(
        "losses",
        "Losses that the extractor was trained with",
        """\
fit="m2fnet extractor fit --config conf/extractors/audio_mel.yaml --data.manifest {manifest}"
$fit --run runs/audio-detached
$fit --run runs/audio-printed --model.as_printed true
$fit --run runs/audio-entropy --model.losses '{{cross_entropy: 1, triplet: 0, covariance: 0, variance: 0}}'
for losses in detached printed entropy; do
  m2fnet extract --ckpt runs/audio-$losses --manifest {manifest} --out embeddings/audio-$losses
done
m2fnet ablate --config {config} --only losses \\
  --losses detached=embeddings/audio-detached printed=embeddings/audio-printed entropy=embeddings/audio-entropy
""",
    ),
)


def tables(streams: Sequence[str], text: Collection[str] = ("text",)) -> list[Table]:
    """The tables that need no other stores; one that has nothing to compare in these streams has no rows.

    Args:
        streams: names of those to combine; the paper's are called as their modality.
        text: names of those that are made of text, which the fusion layers lead by.

    Example:
        >>> [(table.name, len(table.rows)) for table in tables(["text", "clip"])]
        [('modalities', 4), ('fusion', 2), ('encoders', 6), ('fusion_layers', 6)]
    """
    return [modality_table(streams, text), fusion_table(streams, text), *depth_tables(streams, text)]


def modality_table(streams: Sequence[str], text: Collection[str] = ("text",)) -> Table:
    """Every subset of ``streams``, concatenated, and all of them with the fusion layers."""
    rows = [Row(_concat(chosen), _list(chosen), _SUBSETS.get(chosen, {})) for chosen in _subsets(streams)]
    whole = tuple(streams)
    paper = _WHOLE if whole == MODALITIES else {}
    fused = [Row(_fused(whole), _list(whole), paper)] if _can_fuse(whole, text) else []
    return Table("modalities", "Which modalities", (_concatenated(rows), *([_with_fusion(fused)] if fused else [])))


def stream_part(streams: Sequence[str]) -> Part:
    """Every subset of ``streams`` for a network that fuses them in its own way."""
    return Part("data.streams", tuple(Row(" + ".join(chosen), _list(chosen)) for chosen in _subsets(streams)))


def fusion_table(streams: Sequence[str], text: Collection[str] = ("text",)) -> Table:
    """The fusion layers against plain concatenation, for every set of streams that can be fused."""
    chosen = [subset for subset in _subsets(streams) if _can_fuse(subset, text)]
    fused = [Row(_fused(subset), _list(subset), _WHOLE if subset == MODALITIES else {}) for subset in chosen]
    plain = [Row(_concat(subset), _list(subset), _SUBSETS.get(subset, {})) for subset in chosen]
    return Table(
        "fusion", "Fusion layers or concatenation", (_with_fusion(fused), _concatenated(plain)), is_paired=True
    )


def depth_tables(streams: Sequence[str], text: Collection[str] = ("text",)) -> list[Table]:
    """One to six encoders per stream, and one to six fusion layers where there is something to fuse."""
    layers = (_depths("fusion_layers", "m", _FUSION_LAYERS),) if _can_fuse(streams, text) else ()
    return [
        Table("encoders", "Encoders per modality, N", (_depths("encoders", "N", _ENCODERS),)),
        Table("fusion_layers", "Fusion layers, m", layers),
    ]


def store_table(name: str, title: str, stream: str, folders: Mapping[str, str]) -> Table:
    """The same network over other stores of one stream, by the names of ``folders``."""
    rows = tuple(Row(label, folder, _VISUAL.get(label, {})) for label, folder in folders.items())
    return Table(name, title, (Part(f"data.stores.{stream}", rows),))


def _concatenated(rows: Sequence[Row]) -> Part:
    return Part("data.streams", tuple(rows), {f"{NET}.fusion": "concat"})


def _with_fusion(rows: Sequence[Row]) -> Part:
    return Part("data.streams", tuple(rows), {f"{NET}.fusion": "attention"})


def _depths(key: str, symbol: str, paper: Mapping[str, Sequence[Scores]]) -> Part:
    rows = [
        Row(f"{symbol} = {depth}", str(depth), {corpus: scores[depth - 1] for corpus, scores in paper.items()})
        for depth in range(1, MOST + 1)
    ]
    return Part(f"{NET}.{key}", tuple(rows))


def _subsets(streams: Sequence[str]) -> list[tuple[str, ...]]:
    sizes = range(1, len(streams) + 1)
    return [chosen for size in sizes for chosen in combinations(streams, size)]


def _can_fuse(streams: Sequence[str], text: Collection[str]) -> bool:
    return len(streams) > 1 and sum(name in text for name in streams) == 1  # one of text leads


def _list(streams: Sequence[str]) -> str:
    return json.dumps(list(streams))


def _concat(streams: Sequence[str]) -> str:
    return " + ".join(streams) + (", concat" if len(streams) > 1 else "")


def _fused(streams: Sequence[str]) -> str:
    return " + ".join(streams) + ", fusion"


_WHOLE: dict[str, Scores] = {"iemocap": (69.69, 69.86), "meld": (67.85, 66.71)}
_SUBSETS: dict[tuple[str, ...], dict[str, Scores]] = {
    ("audio",): {"iemocap": (26.56, 21.79), "meld": (49.04, 39.63)},
    ("visual",): {"iemocap": (20.39, 13.10), "meld": (45.63, 32.44)},
    ("text",): {"iemocap": (66.30, 66.20), "meld": (67.24, 66.23)},
    ("audio", "visual"): {"iemocap": (35.12, 31.35), "meld": (48.35, 35.74)},
    ("text", "audio"): {"iemocap": (66.52, 66.48), "meld": (67.80, 66.32)},
    ("text", "visual"): {"iemocap": (66.64, 66.67), "meld": (67.81, 66.35)},
    ("text", "audio", "visual"): {"iemocap": (67.16, 67.12), "meld": (67.28, 66.81)},
}
_ENCODERS: dict[str, list[Scores]] = {
    "iemocap": [(69.32, 69.36), (69.07, 69.21), (69.32, 69.44), (69.13, 69.22), (69.69, 69.86), (69.13, 69.26)],
    "meld": [(67.85, 66.71), (67.16, 65.82), (66.86, 66.06), (67.20, 66.06), (67.47, 66.38), (67.24, 65.48)],
}
_FUSION_LAYERS: dict[str, list[Scores]] = {
    "iemocap": [(67.22, 67.34), (68.08, 68.19), (69.13, 69.25), (69.01, 68.95), (69.69, 69.86), (68.95, 69.08)],
    "meld": [(66.63, 66.11), (67.47, 66.50), (67.47, 66.65), (67.59, 66.51), (67.85, 66.71), (66.82, 65.32)],
}
_VISUAL: dict[str, dict[str, Scores]] = {
    "scene": {"iemocap": (67.65, 67.70), "meld": (65.23, 64.23)},
    "face": {"iemocap": (67.32, 67.28), "meld": (66.37, 65.67)},
    "both": _WHOLE,
}
