"""``m2fnet ablate``: the paper's tables for one configuration of M2FNet, by runs over its settings."""

import argparse
import json
import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from m2fnet.commands.arguments import list_of
from m2fnet.commands.sweep import parse_many_runs, parser_of_many_runs, run_left, tell_failed
from m2fnet.errors import UsageError
from m2fnet.files import write_json, write_text
from m2fnet.formatting import is_given
from m2fnet.records import MODALITIES, Modality
from m2fnet.runs.folder import REPORT
from m2fnet.sweeps.carat_tables import CARAT, carat_tables
from m2fnet.sweeps.mer_tables import ATTENTION_FUSION, mer_tables
from m2fnet.sweeps.paper_tables import PAPER_CORPORA, STORE_QUESTIONS, Row, Table, store_table, tables
from m2fnet.sweeps.plan import Sweep, folder_of_all, stage_of
from m2fnet.sweeps.processes import PlannedRun, PlannedSetting

if TYPE_CHECKING:
    import pandas as pd

    from m2fnet.sweeps.ablation_page import Ablation, AblationRow, AblationTable, NotMade, Score

DESCRIPTION = """\
Train and test every row of the paper's tables (arXiv:2206.02187, Tables 2 to
5) and print them with the paper's numbers next to ours: modality subsets,
concatenation against fusion, 1 to 6 encoders, 1 to 6 fusion layers. Scene,
face or both and the extractor's losses compare stores, which --visual and
--losses name; without, the page says what makes them. Rows that are the same
settings are trained once, what is done is not done again, and a run that
fails does not stop the others. Depths are to be chosen by the dev column.

For a configuration of CARAT (arXiv:2312.10201) the tables are other ones: the
network without each of its parts, with each fault of its released code, and
from each subset of the streams. So they are for attention fusion
(arXiv:2401.03429): without each stream, such as that of a prompted encoder or
of hints, without modality dropout, and from each subset of the streams.
"""
EPILOG = """\
Any other key is a setting of all runs: --trainer.max_epochs 5 ...

  m2fnet ablate --config conf/dialog/m2fnet_meld.yaml --seeds 0-2 --jobs 2
  m2fnet ablate --config conf/dialog/m2fnet_meld.yaml --only encoders
  m2fnet ablate --config conf/dialog/carat_toy.yaml --only parts
  m2fnet ablate --config conf/dialog/m2fnet_meld.yaml \\
    --visual scene=DIR face=DIR both=DIR
"""
NAMES = ("modalities", "fusion", "encoders", "fusion_layers", "visual", "losses")
OWN_NAMES = ("parts", "mends")  # with the modalities
# class of a network -> its tables over streams, in place of the paper's
OWN_TABLES: dict[str, Callable[[Sequence[str]], list[Table]]] = {CARAT: carat_tables, ATTENTION_FUSION: mer_tables}


@dataclass(frozen=True)
class Line:
    """A row with the runs that belong to it, one for each seed."""

    row: Row
    runs: tuple[PlannedRun, ...]

    @property
    def tested(self) -> list[Path]:
        """Folders of the runs that have a score."""
        return [run.folder for run in self.runs if (run.folder / REPORT).exists()]


Planned = dict[str, list[list[Line]]]  # name of a table -> the rows of each of its parts


def main(argv: list[str]) -> None:
    """Run what is left of every table, print the tables and write them.

    Raises:
        UsageError: if a setting is wrong, or something asked for has no store; nothing is trained then.
        RunError: if runs failed; their tables are written without them.
    """
    arguments, options = parse_many_runs(_parser(), argv)
    from dialog.cli import settings_of  # takes seconds, which `--help` does not need

    if stage_of(arguments.config) != "dialog":
        raise UsageError(f"{arguments.config} names no data.stores; expected the configuration of a dialogue network.")
    settings = settings_of(["--config", arguments.config, *options])
    data, network = settings["data"], str(settings["model"]["net"]["class_path"])
    streams, own = _streams(arguments, data), OWN_TABLES.get(network)
    modalities = {} if own else _modalities(streams, data["stores"])  # other networks fuse all streams alike
    chosen = _own_tables(own(streams), arguments) if own else _tables(arguments, modalities)
    sweep = Sweep(arguments.config, "dialog", arguments.seeds)
    planned = _plan(sweep, chosen, [*options, f"--data.streams={json.dumps(streams)}"])
    # rows of several tables may be the same settings
    runs = list(
        {run.folder: run for parts in planned.values() for part in parts for line in part for run in line.runs}.values()
    )
    out = arguments.out or folder_of_all(arguments.config, runs, "ablation")
    failed = run_left(runs, arguments.jobs, sweep.module)
    content: Ablation = {
        "config": arguments.config,
        "seeds": ", ".join(map(str, arguments.seeds)),
        "tables": [_summary(one, planned[one.name]) for one in chosen],
        "not_made": [] if own else _not_made(arguments, modalities, data["manifest"]),
    }
    _deliver(content, out)
    tell_failed(failed, len(runs))


def _parser() -> argparse.ArgumentParser:
    parser = parser_of_many_runs("ablate", DESCRIPTION, EPILOG, seeds="0-2")
    parser.add_argument(
        "--only",
        type=list_of((*NAMES, *OWN_NAMES)),
        metavar="TABLES",
        help=f"any of {','.join(NAMES)}; for CARAT {','.join(OWN_NAMES)},modalities; for attention "
        "fusion parts,modalities (default: all)",
    )
    parser.add_argument(
        "--modalities",
        type=lambda text: list(dict.fromkeys(text.split(","))),
        metavar="NAMES",
        help="streams to combine (default: all that the configuration reads)",
    )
    parser.add_argument(
        "--visual",
        nargs="+",
        type=_store,
        default=[],
        metavar="NAME=DIR",
        help="stores of visual embeddings to compare, named scene, face and both to be compared with the paper's",
    )
    parser.add_argument(
        "--losses",
        nargs="+",
        type=_store,
        default=[],
        metavar="NAME=DIR",
        help="stores of one modality, whose extractor was trained with the losses so named",
    )
    return parser


def _store(text: str) -> tuple[str, str]:
    name, sign, folder = text.partition("=")
    if not (name and sign and folder):
        raise argparse.ArgumentTypeError(f"expected NAME=DIR, got {text!r}")
    return name, folder


def _streams(arguments: argparse.Namespace, data: Mapping[str, Any]) -> list[str]:
    """The streams to combine; the paper's come first, in the paper's order."""
    stores = [*(name for name in MODALITIES if name in data["stores"]), *sorted(set(data["stores"]) - set(MODALITIES))]
    asked = arguments.modalities or data["streams"] or stores
    if absent := [name for name in asked if name not in stores]:
        raise UsageError(
            f"{absent[0]} is to be combined, but {arguments.config} only has stores of {' and '.join(stores)}. Add "
            f"one with --data.stores.{absent[0]} DIR, or name others with --modalities."
        )
    return [name for name in stores if name in asked]


def _modalities(streams: Sequence[str], stores: Mapping[str, str]) -> dict[str, Modality]:
    """Name of each stream -> its modality."""
    from m2fnet.store import Store

    return {name: name if name in MODALITIES else Store(stores[name]).meta.modality for name in streams}


def _text(modalities: Mapping[str, Modality]) -> list[str]:
    return [name for name, modality in modalities.items() if modality == "text"]


def _tables(arguments: argparse.Namespace, modalities: Mapping[str, Modality]) -> list[Table]:
    """The tables that were asked for and have rows."""
    if of_others := [name for name in arguments.only or [] if name in OWN_NAMES]:
        raise UsageError(
            f"--only names {of_others[0]}, a table of CARAT or attention fusion, but {arguments.config} is of another "
            "network."
        )
    every = tables(list(modalities), _text(modalities))
    for asked in STORE_QUESTIONS:
        if stores := getattr(arguments, asked.name):
            stream = _stream_of(stores, asked.name, arguments, modalities)
            every.append(store_table(asked.name, asked.title, stream, dict(stores)))
    only = arguments.only or NAMES
    if arguments.only and (empty := [one.name for one in every if one.name in only and not one.rows]):
        raise UsageError(f"--only names {empty[0]}, but {_nothing_to_fuse(modalities)}")
    return [one for one in every if one.name in only and one.rows]


def _own_tables(every: Sequence[Table], arguments: argparse.Namespace) -> list[Table]:
    """Those of a network's own tables that were asked for."""
    names = [one.name for one in every]
    unknown = [name for name in arguments.only or [] if name not in names]
    if unknown or arguments.visual or arguments.losses:
        raise UsageError(
            f"{arguments.config} is of a network whose tables are {', '.join(names)}; name these with --only, without "
            "--visual and --losses."
        )
    return [one for one in every if one.name in (arguments.only or names)]


def _stream_of(
    stores: Sequence[tuple[str, str]], option: str, arguments: argparse.Namespace, modalities: Mapping[str, Modality]
) -> str:
    """The stream of the modality that the stores of an option have in common."""
    from m2fnet.store import Store

    if arguments.only and option not in arguments.only:
        raise UsageError(f"--{option} names stores, but --only leaves their table out; add {option} to it.")
    if any(len(set(part)) < len(stores) for part in zip(*stores, strict=True)):
        raise UsageError(f"--{option} gives one name or one store twice; expected each once.")
    found = {Store(folder).meta.modality for _, folder in stores}
    if len(found) > 1 or (option == "visual" and found != {"visual"}):
        expected = "visual ones only" if option == "visual" else "those of one modality"
        raise UsageError(f"--{option} names stores of {' and '.join(sorted(found))} embeddings; expected {expected}.")
    (modality,) = found
    streams = [name for name, its in modalities.items() if its == modality]
    if not streams:
        raise UsageError(
            f"--{option} compares stores of {modality} embeddings, but the runs only read {' and '.join(modalities)}, "
            f"so all its rows would be the same. Add --data.stores.{modality} DIR to {arguments.config}'s stores, or "
            f"{modality} to --modalities."
        )
    if len(streams) > 1 and modality not in streams:
        raise UsageError(
            f"--{option} compares stores of {modality} embeddings, which {' and '.join(streams)} both are; leave one "
            "with --modalities."
        )
    return modality if modality in streams else streams[0]


def _nothing_to_fuse(modalities: Iterable[str]) -> str:
    return f"fusion needs text and another modality, and the runs read {' and '.join(modalities)}."


def _not_made(arguments: argparse.Namespace, modalities: Mapping[str, Modality], manifest: str) -> "list[NotMade]":
    """The tables of all that were asked for that cannot be made, why, and the commands that help."""
    only = arguments.only or NAMES
    given = {"config": shlex.quote(arguments.config), "manifest": shlex.quote(manifest)}
    empty = [one for one in tables(list(modalities), _text(modalities)) if one.name in only and not one.rows]
    unmade = [asked for asked in STORE_QUESTIONS if asked.name in only and not getattr(arguments, asked.name)]
    why = "it compares stores that have to be made first:"
    found: list[NotMade] = [{"title": one.title, "why": _nothing_to_fuse(modalities), "commands": ""} for one in empty]
    for asked in unmade:
        found.append({"title": asked.title, "why": why, "commands": asked.commands.format(**given)})
    return found


def _plan(sweep: Sweep, chosen: Sequence[Table], options: Sequence[str]) -> Planned:
    """The runs of every row; nothing is trained."""
    return {
        one.name: [
            [
                Line(row, tuple(sweep.runs(PlannedSetting({part.key: row.value, **part.fixed}), options)))
                for row in part.rows
            ]
            for part in one.parts
        ]
        for one in chosen
    }


def _summary(asked: Table, parts: Sequence[Sequence[Line]]) -> "AblationTable":
    """The scores of a table's rows, as `m2fnet report` gives them, with the paper's."""
    from m2fnet.metrics.scores import TWO_SCORES
    from m2fnet.reports.summary import summarise_settings
    from m2fnet.reports.summary_page import how_drawn
    from m2fnet.runs.tested import collect

    lines = [line for part in parts for line in part]
    found: AblationTable = {
        "name": asked.name,
        "title": asked.title,
        "shown": TWO_SCORES["single"],
        "rows": [_row(line) for line in lines],
        "majority": {},
        "differences": [],
        "note": "",
    }
    settings = collect(list(dict.fromkeys(run for line in lines for run in line.tested)))  # rows may be one setting
    if not settings:
        return found
    of = {run.folder: setting for setting in settings for run in setting.runs}
    pairs = zip(*parts, strict=True) if asked.is_paired else []
    compare = [(of[a.tested[0]], of[b.tested[0]]) for a, b in pairs if a.tested and b.tested]
    summary = summarise_settings(settings, compare=compare)
    found["shown"] = TWO_SCORES[summary.kind]
    scores: dict[str, dict[str, Score]] = {}
    overall = summary.table("overall")
    for setting, split, score, found_score in zip(
        overall["setting"], overall["split"], overall["score"], _numbers(overall), strict=True
    ):
        scores.setdefault(setting, {})[f"{split}.{score}"] = found_score
    corpus = PAPER_CORPORA.get((summary.corpus, summary.utterances))
    seeds = dict(zip(summary.settings["setting"], summary.settings["seeds"], strict=True))
    found["rows"] = [_row(line, corpus) for line in lines]
    for line, row in zip(lines, found["rows"], strict=True):
        if line.tested:
            row["setting"] = name = of[line.tested[0]].name
            row["seeds"], row["scores"] = seeds[name], scores[name]
    names = {row["setting"]: row["row"] for row in found["rows"]}
    found["majority"] = {name: its for name, its in scores.items() if name not in seeds}
    differences = summary.table("difference")
    differences = differences[differences["score"] == found["shown"][0]]
    found["differences"] = [
        {
            "first": names[first],
            "second": names[second],
            "value": score["value"],
            "low": score["low"],
            "high": score["high"],
        }
        for first, second, score in zip(
            differences["setting"], differences["minus"], _numbers(differences), strict=True
        )
    ]
    found["note"] = how_drawn(summary)
    return found


def _numbers(rows: "pd.DataFrame") -> "list[Score]":
    """The score of each row and how sure it is, None for what is missing."""
    keys = ("value", "sd", "low", "high")
    return [{key: row[key] if is_given(row[key]) else None for key in keys} for row in rows.to_dict("records")]


def _row(line: Line, corpus: str | None = None) -> "AblationRow":
    """What is known of a row without its scores."""
    paper = line.row.paper.get(corpus) if corpus is not None else None
    return {
        "row": line.row.name,
        "setting": None,
        "seeds": [],
        "runs": [str(folder) for folder in line.tested],
        "scores": {},
        "paper": {"accuracy": paper[0], "weighted_f1": paper[1]} if paper is not None else None,
    }


def _deliver(content: "Ablation", out: Path) -> None:
    from m2fnet.reports.terminal import for_terminal
    from m2fnet.sweeps.ablation_page import as_markdown

    page = as_markdown(content)
    print(f"\n{for_terminal(page)}\n")
    write_json(out / "ablation.json", content)
    write_text(out / "ablation.md", page)
    print(f"Wrote {out / 'ablation.md'}, {out / 'ablation.json'}")
