"""Every network on one corpus: what it scores next to a linear classifier, and what it costs.

Each has its shipped configuration, but for what must be alike: batches and epochs, and the scale of the inputs where
features are in many units (`--input-norm`). DialogueGCN, DAG-ERC and SDT have the learning rate that their files
advise for so few epochs, or for features that are not from a fine-tuned RoBERTa. The epoch is chosen on dev, test is
read once. A run that exists is not trained again. `--quick` takes the toy corpus, two networks and one seed:

    python bench/networks.py --quick
    python bench/networks.py --manifest data/meld --store text=embeddings/meld/text --batch 32 --epochs 15 --seeds 3
"""

import argparse
import json
import multiprocessing
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from _table import Row, finish, parser

sys.path.insert(0, str(Path(__file__).parents[1]))  # else `dialog` would be a script here

from _conf import CONF

from m2fnet import cli
from m2fnet.pipeline.run import Run
from m2fnet.runs.folder import fit_of

NETWORKS: dict[str, dict[str, Any]] = {
    "linear": {},
    "mlp": {},
    "bc_lstm": {},
    "late_fusion": {},
    "mult": {},
    "state_space": {},
    "dialogue_gcn": {"model.optimizer.lr": 5e-4},
    "dialogue_rnn": {},
    "mmgcn": {},
    "dag_erc": {"model.optimizer.lr": 5e-4},
    "m2fnet_best": {},
    "m2fnet_iemocap6": {},
    "sdt": {"model.optimizer.lr": 1e-4},
}
COST = "cost.json"


def main() -> None:
    """Train what is asked for, then print the table."""
    arguments = parser(__doc__.splitlines()[0])
    arguments.add_argument("--manifest", type=Path, help="the corpus")
    arguments.add_argument("--store", action="append", metavar="STREAM=FOLDER", help="embeddings; may be repeated")
    arguments.add_argument("--network", action="append", choices=list(NETWORKS), help="may be repeated (default: all)")
    arguments.add_argument("--seeds", type=int, default=3, help="seeds 0 to N - 1 (default 3)")
    arguments.add_argument("--batch", type=int, default=8, help="dialogues in a batch (default 8)")
    arguments.add_argument("--epochs", type=int, default=15, help="of every network (default 15)")
    arguments.add_argument("--input-norm", help="scale of the embeddings, for every network; by default its own")
    arguments.add_argument("--last", action="store_true", help="the last epoch, where dev can choose nothing")
    arguments.add_argument("--out", type=Path, default=Path("runs/networks"), help="folder of the runs")
    args = arguments.parse_args()
    torch.set_num_threads(1)  # what is faster for networks of this size, and what lets a process fork
    with tempfile.TemporaryDirectory() as folder:
        if args.manifest is None:
            _take_toy(args, Path(folder))
        rows = [row for name in args.network or NETWORKS for row in rows_of(name, args)]
        finish(_next_to_linear(rows), args)


def _take_toy(args: argparse.Namespace, folder: Path) -> None:
    """The toy corpus with its text, in ``folder``."""
    if not args.quick:
        raise SystemExit("Say --manifest and --store, or --quick.")
    args.manifest, args.out = folder / "toy", folder / "runs"
    args.store = [f"text={folder / 'text'}"]
    args.network, args.seeds, args.epochs = args.network or ["linear", "m2fnet_best"], 1, 4
    lsa, fitted = CONF / "extractors" / "text_lsa.yaml", ("--run", folder / "lsa", "--model.net.width", 16)
    _command("prepare", "toy", "--root", folder / "raw", "--dialogues", 12, 4, 4, "--out", args.manifest, "--quiet")
    _command("extract", "--config", lsa, *fitted, "--manifest", args.manifest, "--out", folder / "text")


def _command(*words: object) -> None:
    if cli.run([str(word) for word in words]) != cli.DONE:
        raise SystemExit(f"m2fnet {words[0]} failed.")


def rows_of(name: str, args: argparse.Namespace) -> list[Row]:
    """Scores of all seeds of a network, and what the first seed's training cost."""
    folders = [args.out / args.manifest.name / name / f"seed-{seed}" for seed in range(args.seeds)]
    for seed, folder in enumerate(folders):
        if not (folder / COST).exists():
            _in_a_process(name, seed, folder, args)
    reports = [json.loads((folder / "report.json").read_text()) for folder in folders]
    cost = json.loads((folders[0] / COST).read_text())
    parameters = fit_of(folders[0])["parameters"]
    scores = {split: [100 * report[split]["weighted_f1"] for report in reports] for split in ("dev", "test")}
    return [
        *(Row(f"{name}: {split}", "%", statistics.mean(found)) for split, found in scores.items()),
        *(
            Row(f"{name}: {split}, standard deviation", "%", statistics.stdev(found), larger_is_better=False)
            for split, found in scores.items()
            if len(found) > 1
        ),
        Row(f"{name}: parameters", "", parameters, larger_is_better=False),
        Row(f"{name}: processor time of an epoch", "s", cost["seconds"] / args.epochs, larger_is_better=False),
        Row(f"{name}: peak memory", "MiB", cost["memory"], larger_is_better=False),
    ]


def _next_to_linear(rows: Sequence[Row]) -> list[Row]:
    """The rows, each score with the linear classifier's as its baseline."""
    linear = {row.name.removeprefix("linear: "): row.ours for row in rows if row.name.startswith("linear: ")}
    return [
        Row(row.name, row.unit, row.ours, None if row.name.startswith("linear: ") else linear.get(what))
        if (what := row.name.partition(": ")[2]) in ("dev", "test")
        else row
        for row in rows
    ]


def _in_a_process(name: str, seed: int, folder: Path, args: argparse.Namespace) -> None:
    """Train and test in a child, whose peak memory is this network's; a fork has nothing to import."""
    child = multiprocessing.get_context("fork").Process(target=_train, args=(name, seed, folder, args))
    child.start()
    child.join()
    if child.exitcode != 0:
        raise SystemExit(f"{name}, seed {seed} failed.")


def _train(name: str, seed: int, folder: Path, args: argparse.Namespace) -> None:
    started = time.process_time()
    run = Run.fit(CONF / "dialog" / f"{name}.yaml", seed=seed, folder=folder, **_settings(NETWORKS[name], args))
    seconds = time.process_time() - started
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    run.test()
    cost = {"seconds": seconds, "memory": memory}
    (folder / COST).write_text(json.dumps(cost), encoding="utf-8")


def _settings(own: Mapping[str, Any], args: argparse.Namespace) -> dict[str, Any]:
    stores = dict(store.split("=", 1) for store in args.store)
    return {
        "data.manifest": str(args.manifest),
        "data.stores": stores,
        "data.streams": list(stores),
        "data.batch_size": args.batch,
        "trainer.max_epochs": args.epochs,
        **({"model.net.input_norm": args.input_norm} if args.input_norm else {}),
        **({"select": "last"} if args.last else {}),
        **own,
    }


if __name__ == "__main__":
    main()
