"""Everything that m2fnet writes over a longer time, as small works that `killed_commands` can kill.

All of them start from one folder: a corpus, its extractors and embeddings, and a tested run.
"""

import csv
import json
import multiprocessing
import os
import time
from functools import partial
from pathlib import Path

import yaml
from chat_server import answer, chat_server
from killed_commands import KNOWN, Work
from safetensors import safe_open
from trained_runs import dialog_settings, text_settings, train_everything, typed, write_corpus, write_encoder

import m2fnet.commands.self_train
import m2fnet.sweeps.processes
from extractors.extraction.embedding import Outcomes
from extractors.text.hints import AnswerCache, Hinter
from m2fnet import cli
from m2fnet.errors import ManifestError
from m2fnet.manifest import Manifest
from m2fnet.model.layout import read_folder
from m2fnet.runs.checkpoints import read_checkpoint
from m2fnet.store import Store
from m2fnet.store.parts import PartWriter
from m2fnet.training.callbacks import EpochTimer

EPOCHS = 5
EXTRACTORS = {"text": "text/seed-1", "audio": "audio"}  # stream -> run folder
ROWS = 120  # of the tables that are prepared
_SELF_TRAINING = {
    "gold": 20,
    "folds": 2,
    "seeds": "0-1",
    "rounds": 1,
    "policies": {"soft": {"class_path": "dialog.self_training.policies.SoftWeights"}},
    "training": {"hidden": 8, "dropout": 0.1, "lr": 0.02, "batch_size": 16, "gold_share": 0.5, "steps": 60},
}


def prepare_ground(root: Path, dialogues=(24, 6, 12)) -> None:
    """Fill ``root`` with everything that the works start from."""
    train_everything(root)
    write_encoder(root / "encoder")
    large = root / "large"
    large.mkdir()
    write_corpus(large, *dialogues)
    for name, run in EXTRACTORS.items():
        where = ("--manifest", large / "manifest", "--out", large / name, "--workers", 0)
        typed("extract", "--ckpt", root / "runs" / run, *where)
    for name, settings in (("text", text_settings), ("dialog", dialog_settings)):
        trained = settings(root)
        trained["trainer"] |= {"max_epochs": EPOCHS}
        (root / f"{name}_long.yaml").write_text(yaml.safe_dump(trained), encoding="utf-8")
    stores = {name: str(large / name) for name in EXTRACTORS}
    learned = {**_SELF_TRAINING, "manifest": str(large / "manifest"), "stores": stores, "out": "unused"}
    (root / "self_training.yaml").write_text(yaml.safe_dump(learned), encoding="utf-8")
    for name, word in (("first", "day"), ("second", "night")):
        _write_table(root / f"{name}.csv", word)


def works(root: Path, address: str) -> dict[str, Work]:
    """All works by name, on the ground that was prepared in ``root``; a language model answers at ``address``."""
    made = [
        *_extractions(root),
        _training("train an extractor", "extractor", root / "text_long.yaml"),
        _training("train a dialogue network", "dialog", root / "dialog_long.yaml"),
        _self_training(root),
        _sweep(root),
        _prepare(root),
        _export(root),
        _hints(root, address),
    ]
    return {work.name: work for work in made}


def works_of_ray(root: Path) -> dict[str, Work]:
    """The works that start Ray, which takes some ten seconds each time; its readers are no forks, and note nothing."""

    def note_kept(note):
        add = PartWriter.add

        def noted(self, outcomes):
            for outcome in outcomes:
                note(outcome.id)
            add(self, outcomes)

        PartWriter.add = noted

    where = ("--manifest", root / "large" / "manifest", "--batch-size", 8, "--save-every", 0)
    work = Work(
        "extract, Ray",
        "utterances",
        lambda folder: [
            ["extract", "--ckpt", root / "runs" / "audio", *where, "--out", folder / "store", "--engine", "ray"]
        ],
        lambda folder: _embedded(folder / "store"),
        note_kept,
        orphans=120.0,  # two agents of Ray look for their machine for a minute
    )
    return {work.name: work}


def _extractions(root):
    settings = [
        "--accelerator",
        "cpu",
        "--batch-size",
        "8",
        "--save-every",
        "0",
        "--manifest",
        root / "large" / "manifest",
    ]

    def extract(run, workers, *more):
        return ["extract", "--ckpt", root / "runs" / run, "--workers", workers, *settings, *more]

    sound = Work(
        "extract, two workers",
        "utterances",
        lambda folder: [extract("audio", 2, "--out", folder / "store")],
        lambda folder: _embedded(folder / "store"),
        _note_utterances,
    )
    words = Work(
        "extract, two processes",
        "utterances",
        lambda folder: [
            extract("text/seed-1", 0, "--out", folder / "store", "--shard", shard) for shard in ("1/2", "2/2")
        ],
        lambda folder: _embedded(folder / "store"),
        _note_utterances,
        last=lambda folder: ["store", "merge", folder / "store", "--manifest", root / "large" / "manifest"],
    )
    return [sound, words]


def _note_utterances(note):
    read = Outcomes.__getitem__

    def noted(self, place):
        note(self.wanted[place].utterance.id)
        return read(self, place)

    Outcomes.__getitem__ = noted


def _embedded(store):
    """Ids that are kept in the folder, in parts or in a store."""
    names = set()
    for path in store.rglob("[!.]*.safetensors"):
        if path.parent.name == ".parts":
            with safe_open(path, framework="pt") as file:
                names |= {outcome["id"] for outcome in json.loads(file.metadata()["outcomes"])}
    for meta in [*store.rglob("meta.json")]:
        opened = Store(meta.parent)
        opened.verify()
        index = (meta.parent / "index.jsonl").read_text(encoding="utf-8")
        names |= {json.loads(line)["id"] for line in index.splitlines()} | set(opened.missing)
    return names


def _training(name, command, config):
    return Work(
        name,
        "epochs",
        lambda folder: [[command, "fit", "--config", config, "--run", folder / "run", "--quiet"]],
        lambda folder: _epochs(folder / "run"),
        _note_epochs,
        may_remain=("logs",),  # one of every start
    )


def _note_epochs(note):
    start = EpochTimer.on_train_epoch_start

    def noted(self, trainer, module):
        note(str(trainer.current_epoch))
        start(self, trainer, module)

    EpochTimer.on_train_epoch_start = noted


def _epochs(run):
    last = run / "checkpoints" / "last.ckpt"
    return {str(epoch) for epoch in range(read_checkpoint(last)["epoch"] + 1)} if last.exists() else set()


def _self_training(root):
    def noting(note):
        printed = m2fnet.commands.self_train._printed

        def noted(line):
            if line.startswith("training "):
                note(line.removeprefix("training "))
            printed(line)

        m2fnet.commands.self_train._printed = noted

    def kept(folder):
        out = folder / "out"
        folds = {
            str(path.relative_to(out)) for path in out.rglob("fold-*.safetensors") if path.with_suffix(".json").exists()
        }
        return folds | {f"{path.parent.name}, final students" for path in out.glob("*/final.json")}

    config = root / "self_training.yaml"
    return Work(
        "self-training",
        "trainings",
        lambda folder: [["self-train", "--config", config, "--out", folder / "out"]],
        kept,
        noting,
    )


def _sweep(root):
    def noting(note):
        # forked here, for a fork server would import everything anew for every kill
        m2fnet.sweeps.processes.multiprocessing.get_context = lambda _=None: multiprocessing.context.ForkContext()
        run = cli.run

        def noted(arguments):
            if arguments[0] == "dialog":
                seed = next(part for part in " ".join(arguments).replace("/", " ").split() if _names_seed(part))
                note(f"{arguments[1]} {seed[-1]}")
            return run(arguments)

        cli.run = noted

    def kept(folder):
        runs = folder / "runs"
        done = {f"fit {path.parent.name[-1]}" for path in runs.rglob("fit.json")}
        return done | {f"test {path.parent.name[-1]}" for path in runs.rglob("report.json")}

    arguments = ["sweep", "--config", root / "dialog_long.yaml", "--seeds", "0-1", "--jobs", "2", "--no-report"]
    return Work("sweep", "commands", lambda folder: [arguments], kept, noting, may_remain=("logs", "sweep.log"))


def _names_seed(part):
    return part.startswith(("seed-", "--seed_everything="))


def _prepare(root):
    """A manifest takes the place of another: at any time there is a whole one."""

    def before(folder):
        folder.mkdir(parents=True)
        assert (
            cli.run(["prepare", "table", "--root", str(root / "first.csv"), "--out", str(folder / "data"), "--quiet"])
            == 0
        )

    def kept(folder):
        try:
            Manifest.load(folder / "data")
        except ManifestError:
            return set()
        return {"a manifest"}

    table = ["prepare", "table", "--root", root / "second.csv", "--overwrite", "--quiet"]
    return Work(
        "prepare, over another",
        "manifests",
        lambda folder: [[*table, "--out", folder / "data"]],
        kept,
        lambda note: None,
        before=before,
    )


def _write_table(path, word):
    with path.open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(("id", "dialogue", "split", "speaker", "text", "label"))
        for number in range(ROWS):
            split = ("train", "dev", "test")[number % 3]
            label = ("joy", "anger")[number % 2]
            rows.writerow((f"u{number}", f"{split}{number // 12}", split, "AB"[number % 2], f"{word} {number}", label))


def _export(root):
    """A model takes the place of another."""
    run = root / "runs" / "talk" / "seed-2"
    export = ["export", run, *(f"--extractor={name}={root / 'runs' / place}" for name, place in EXTRACTORS.items())]

    def before(folder):
        folder.mkdir(parents=True)
        assert cli.run([str(word) for word in (*export, "--out", folder / "model")]) == 0

    def kept(folder):
        read_folder(folder / "model", folder / "model")
        return {"a model"}

    return Work(
        "export, over another", "models", lambda folder: [[*export, "--out", folder / "model", "--overwrite"]], kept,
        lambda note: None, before=before,
    )  # fmt: skip


def _hints(root, address):
    def noting(note):
        os.environ |= {"M2FNET_HINT_URL": address, "no_proxy": "*"}
        answer_one = Hinter._answer

        def noted(self, question):
            note(self._key(question))
            answer_one(self, question)

        Hinter._answer = noted

    def kept(folder):
        path = folder / "hints" / "answers.jsonl"
        whole = [json.loads(line)["key"] for line in path.read_bytes().splitlines()] if path.exists() else []
        cache = AnswerCache(path)
        return {key for key in whole if key in cache}

    asked = ["hints", "--manifest", root / "hinted", "--provider", "server", "--model", "tiny", "--quiet"]
    if not (root / "hinted").exists():
        assert (
            cli.run(["prepare", "table", "--root", str(root / "first.csv"), "--out", str(root / "hinted"), "--quiet"])
            == 0
        )
    return Work("hints", "answers", lambda folder: [[*asked, "--out", folder / "hints"]], kept, noting)


class AnsweringServer:
    """A language model in a separate process, since a process with threads should not be forked."""

    def __enter__(self):
        ours, theirs = multiprocessing.get_context("fork").Pipe()
        self.process = multiprocessing.get_context("fork").Process(target=partial(_serve, theirs), daemon=True)
        self.process.start()
        KNOWN.add(self.process.pid)
        return ours.recv()

    def __exit__(self, *_):
        self.process.kill()
        self.process.join()


def _serve(pipe):
    def reply(body, number):
        time.sleep(0.001)
        return answer("joy", prompt_tokens=20, completion_tokens=1)

    with chat_server(reply) as asked:
        pipe.send(asked.address)
        while True:
            time.sleep(60)
