"""``m2fnet ablate``: the paper's tables for one configuration of M2FNet, by sweeps over its settings."""

import argparse
import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from m2fnet import sweep_command
from m2fnet.ablation import (
    PAPER_CORPORA,
    STORE_QUESTIONS,
    Part,
    Row,
    Table,
    depth_tables,
    fusion_table,
    modality_table,
    store_table,
)
from m2fnet.config import resolve_config_arguments
from m2fnet.errors import RunError, UsageError
from m2fnet.files import read_json, write_json, write_text
from m2fnet.metrics.markdown import percent, table
from m2fnet.records import MODALITIES

DESCRIPTION = """\
Train and test every row of the paper's tables (arXiv:2206.02187, Tables 2 to 5) and print them with the paper's numbers
beside ours: modality subsets, concatenation against fusion, 1 to 6 encoders, 1 to 6 fusion layers. Scene, face or both
and the extractor's losses compare stores, which --visual and --losses name; without, the page tells what makes them.
Each part is an `m2fnet sweep`; rows that are the same settings are trained once, what is done is not done again, and a
run that fails does not stop the others. Depths are to be chosen by the dev column.
"""
EPILOG = """\
Any other key is a setting of all runs: --trainer.max_epochs 5 ...

  m2fnet ablate --config conf/dialog/m2fnet_meld.yaml --seeds 0-2 --jobs 2
  m2fnet ablate --config conf/dialog/m2fnet_meld.yaml --only encoders,fusion_layers
  m2fnet ablate --config conf/dialog/m2fnet_meld.yaml --visual scene=DIR face=DIR both=DIR
"""
NAMES = ("modalities", "fusion", "encoders", "fusion_layers", "visual", "losses")
_COLUMNS = (
    "",
    "weighted F1",
    "paper",
    "95 % interval",
    "accuracy",
    "paper's accuracy",
    "dev weighted F1",
    "seeds",
)


@dataclass(frozen=True)
class Line:
    """A row with the runs that belong to it."""

    row: Row
    runs: tuple[Path, ...]


def main(argv: list[str]) -> None:
    """Run what is left of every table, print the tables and write them.

    Raises:
        UsageError: if a setting is wrong.
        RunError: if runs failed; their tables are written without them.
    """
    arguments, settings = _parser().parse_known_args(argv)
    out: Path = arguments.out or Path("runs") / f"{Path(arguments.config).stem}-ablation"
    data = _data(arguments.config)
    modalities = arguments.modalities or [name for name in MODALITIES if name in data["stores"]]
    tables = _tables(arguments, modalities)
    common = [f"--data.modalities={json.dumps(modalities)}", *settings]
    failures: list[str] = []
    found = {}
    for one in tables:
        lines = []
        for number, part in enumerate(one.parts, start=1):
            folder = out / "sweeps" / f"{one.name}-{number}"
            failures += _sweep(arguments, common, part, folder)
            lines.append(_lines(part, folder))
        found[one.name] = lines
    content = {
        "config": arguments.config,
        "seeds": arguments.seeds,
        "tables": [_summary(one, found[one.name]) for one in tables],
        "left_out": _left_out(arguments, str(data.get("manifest"))),
    }
    page = as_markdown(content)
    print(f"\n{page}")
    write_json(out / "ablation.json", content)
    write_text(out / "ablation.md", page)
    print(f"Wrote {out / 'ablation.md'}, {out / 'ablation.json'}")
    if failures:
        raise RunError("\n".join(failures))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="m2fnet ablate",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--config", required=True, metavar="FILE", help="of M2FNet on any corpus")
    parser.add_argument("--seeds", default="0-2", help="such as 0-9 or 0-3,7 (default 0-2)")
    parser.add_argument(
        "--only", type=_list_of(NAMES), default=list(NAMES), metavar="TABLES", help=f"any of {','.join(NAMES)}"
    )
    parser.add_argument(
        "--modalities",
        type=_list_of(MODALITIES),
        metavar="NAMES",
        help="those to combine (default: all that the configuration has stores of)",
    )
    parser.add_argument(
        "--visual",
        nargs="+",
        type=_store,
        default=[],
        metavar="NAME=DIR",
        help="stores of visual embeddings to compare, named scene, face and both to stand beside the paper's",
    )
    parser.add_argument(
        "--losses",
        nargs="+",
        type=_store,
        default=[],
        metavar="NAME=DIR",
        help="stores of one modality, whose extractor was trained with the losses so named",
    )
    parser.add_argument("--jobs", type=int, default=1, help="processes at a time (default 1)")
    parser.add_argument("--out", type=Path, metavar="DIR", help="folder of the tables (default runs/FILE-ablation)")
    return parser


def _list_of(choices: Sequence[str]) -> Any:  # noqa: ANN401
    def parse(text: str) -> list[str]:
        names = text.split(",")
        for name in names:
            if name not in choices:
                raise argparse.ArgumentTypeError(f"{name!r} is not one of {', '.join(choices)}")
        return [name for name in choices if name in names]

    return parse


def _store(text: str) -> tuple[str, str]:
    name, sign, folder = text.partition("=")
    if not (name and sign and folder):
        raise argparse.ArgumentTypeError(f"expected NAME=DIR, got {text!r}")
    return name, folder


def _data(config: str) -> dict[str, Any]:
    """What the configuration says of its data."""
    path = Path(resolve_config_arguments(["--config", config])[1])
    data = yaml.safe_load(path.read_text(encoding="utf-8")).get("data")
    if isinstance(data, str):
        data = yaml.safe_load((path.parent / data).read_text(encoding="utf-8"))
    if not isinstance(data, dict) or not isinstance(data.get("stores"), dict):
        raise UsageError(f"{config} names no data.stores; expected the configuration of a dialogue network.")
    return data


def _tables(arguments: argparse.Namespace, modalities: Sequence[str]) -> list[Table]:
    every = [modality_table(modalities), fusion_table(modalities), *depth_tables()]
    for asked in STORE_QUESTIONS:
        if stores := getattr(arguments, asked.name):
            every.append(store_table(asked.name, asked.title, _modality_of(stores, asked.name), dict(stores)))
    return [one for one in every if one.name in arguments.only and one.rows]


def _modality_of(stores: Sequence[tuple[str, str]], option: str) -> str:
    from m2fnet.store import Store

    found = {Store(folder).meta.modality for _, folder in stores}
    if len(found) > 1 or (option == "visual" and found != {"visual"}):
        raise UsageError(f"--{option} names stores of {', '.join(sorted(found))} embeddings; expected one modality.")
    return found.pop()


def _left_out(arguments: argparse.Namespace, manifest: str) -> list[dict[str, str]]:
    """The tables that were asked for but need stores, and what makes those."""
    given = {"config": shlex.quote(arguments.config), "manifest": shlex.quote(manifest)}
    return [
        {"title": asked.title, "commands": asked.commands.format(**given)}
        for asked in STORE_QUESTIONS
        if asked.name in arguments.only and not getattr(arguments, asked.name)
    ]


def _sweep(arguments: argparse.Namespace, common: Sequence[str], part: Part, out: Path) -> list[str]:
    """Run a part; return what is to be said of runs that failed."""
    values = ",".join(row.value if row.value.startswith("[") else json.dumps(row.value) for row in part.rows)
    fixed = [f"--{key}={value}" for key, value in part.fixed.items()]
    command = ["--config", arguments.config, "--seeds", arguments.seeds, "--grid", f"{part.key}={values}", *fixed]
    command += [*common, "--jobs", str(arguments.jobs), "--out", str(out), "--no-report"]
    print(f"\n$ m2fnet sweep {shlex.join(command)}", flush=True)
    try:
        sweep_command.main(command)
    except RunError as failed:
        return [str(failed)]
    return []


def _lines(part: Part, folder: Path) -> list[Line]:
    """The rows with the runs that a sweep has made for them and that could be tested."""
    planned = read_json(folder / "sweep.json", RunError, "Run the same command again.")["runs"]
    seeds = len(planned) // len(part.rows)  # a sweep lists every seed of a value, value after value
    runs = [Path(run["run"]) for run in planned]
    return [
        Line(row, tuple(run for run in runs[n * seeds : (n + 1) * seeds] if (run / sweep_command.REPORT).exists()))
        for n, row in enumerate(part.rows)
    ]


def _summary(asked: Table, parts: Sequence[Sequence[Line]]) -> dict[str, Any]:
    """The scores of a table's rows, as `m2fnet report` gives them, with the paper's."""
    from m2fnet.metrics.summary import summarise_settings
    from m2fnet.metrics.tested import collect

    lines = [line for part in parts for line in part]
    settings = collect([run for line in lines for run in line.runs])
    of = {run.folder: setting for setting in settings for run in setting.runs}
    pairs = zip(*parts, strict=True) if asked.is_paired else []
    compare = [(of[a.runs[0]], of[b.runs[0]]) for a, b in pairs if a.runs and b.runs]
    summary = summarise_settings(settings, compare=compare) if settings else {"settings": [], "differences": []}
    names = {of[line.runs[0]].name: line.row.name for line in lines if line.runs}
    scores = {names[score["setting"]]: score for score in summary["settings"]}
    corpus = PAPER_CORPORA.get((summary["corpus"], summary["turns"])) if settings else None
    return {
        "name": asked.name,
        "title": asked.title,
        "rows": [_scored(line, scores.get(line.row.name), corpus) for line in lines],
        "differences": [
            {"first": names[found["first"]], "second": names[found["second"]], **found["scores"]["weighted_f1"]}
            for found in summary["differences"]
        ],
    }


def _scored(line: Line, score: Mapping[str, Any] | None, corpus: str | None) -> dict[str, Any]:
    paper = line.row.paper.get(corpus) if corpus is not None else None
    kept = ("setting", "seeds", "test.weighted_f1", "test.accuracy", "test.macro_f1", "dev.weighted_f1", "runs")
    return {
        "row": line.row.name,
        "paper": {"accuracy": paper[0], "weighted_f1": paper[1]} if paper is not None else None,
        "scores": {key: score[key] for key in kept} if score is not None else None,
    }


def as_markdown(content: Mapping[str, Any]) -> str:
    """The tables as a page, in per cent; the paper's columns only where a row has its numbers."""
    lines = [
        f"# Ablation of {content['config']}, seeds {content['seeds']}",
        "",
        "Test scores, mean ± standard deviation over seeds, with 95 % bootstrap intervals over dialogues. Weights are "
        "selected as configured; choose among rows by dev, whose best is bold, not by test.",
    ]
    if not any(row["paper"] for part in content["tables"] for row in part["rows"]):
        lines += ["", "The paper's numbers are of the test sets of MELD (2610 turns) and IEMOCAP (1622) alone."]
    for part in content["tables"]:
        lines += ["", f"## {part['title']}", "", *_table(part["rows"])]
        if part["differences"]:
            lines += ["", *map(_difference, part["differences"])]
    for one in content["left_out"]:
        lines += ["", f"## {one['title']}", "", "Left out, because it compares stores that have to be made first:"]
        lines += ["", "```bash", one["commands"].rstrip(), "```"]
    return "\n".join(lines) + "\n"


def _table(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    has_paper = any(row["paper"] for row in rows)
    best = max((row["scores"]["dev.weighted_f1"]["mean"] for row in rows if row["scores"]), default=None)
    columns = [_cells(row, best) for row in rows]
    kept = [name for name in _COLUMNS if has_paper or not name.startswith("paper")]
    return table(kept, [[cells[name] for name in kept] for cells in columns])


def _cells(row: Mapping[str, Any], best_dev: float | None) -> dict[str, str]:
    """Column of `_COLUMNS` -> what stands there."""
    scores, paper = row["scores"], row["paper"]
    cells = dict.fromkeys(_COLUMNS, "–") | {"": row["row"], "seeds": "0"}
    if paper is not None:
        cells |= {"paper": f"{paper['weighted_f1']:.2f}", "paper's accuracy": f"{paper['accuracy']:.2f}"}
    if scores is not None:
        f1, dev = scores["test.weighted_f1"], scores["dev.weighted_f1"]
        cells |= {
            "weighted F1": _spread(f1),
            "95 % interval": _bounds(f1),
            "accuracy": _spread(scores["test.accuracy"]),
        }
        cells["dev weighted F1"] = f"**{_spread(dev)}**" if dev["mean"] == best_dev else _spread(dev)
        cells["seeds"] = str(len(scores["seeds"]))
    return cells


def _difference(found: Mapping[str, Any]) -> str:
    return f"- {found['first']} minus {found['second']}: {100 * found['difference']:+.2f} ({_bounds(found)})"


def _spread(score: Mapping[str, Any]) -> str:
    return percent(score["mean"]) + (f" ± {percent(score['sd'])}" if score["sd"] is not None else "")


def _bounds(score: Mapping[str, Any]) -> str:
    return "–" if score["low"] is None else f"{percent(score['low'])} to {percent(score['high'])}"
