"""What cross-validation on folds that contain pseudo-labels reads, against folds of gold that they have not reached.

The mistake is made on purpose: gold and selected pseudo-labels are mixed, split into five random folds as if people had
labelled them all, and networks are scored on each fold by its labels. The honest figure is that of the same students on
out-of-fold gold. ``--run`` and ``--config`` take those of `m2fnet self-train`; by default a corpus is made up.
"""

import json
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from _table import Row, finish, parser
from sklearn.metrics import f1_score

sys.path.insert(0, str(Path(__file__).parents[1]))  # else `dialog` would be a script here

from dialog.self_training.gold import GoldLabels
from dialog.self_training.policies import SoftWeights
from dialog.self_training.run import SelfTraining
from dialog.self_training.splits import freeze
from dialog.self_training.training import Inputs, Training, predict, read_inputs, train
from m2fnet.commands.self_train import parse
from m2fnet.manifest import Manifest
from m2fnet.records import LabelSet, Utterance
from m2fnet.store import StoreWriter
from m2fnet.sweeps.processes import parse_seeds

FOLDS = 5


def main() -> None:
    arguments = parser((__doc__ or "").partition("\n")[0])
    arguments.add_argument("--config", metavar="FILE", help="of the self-training")
    arguments.add_argument("--run", type=Path, metavar="DIR", help="its folder")
    arguments.add_argument("--policy", default="soft", help="whose first round is taken (default soft)")
    args = arguments.parse_args()
    torch.set_num_threads(1)
    if args.run is None:
        with tempfile.TemporaryDirectory() as folder:
            rows = made_up(Path(folder), utterances=300 if args.quick else 3000)
    else:
        settings, _ = parse(["--config", args.config])
        manifest = Manifest.load(Path(settings.manifest))
        inputs = read_inputs(manifest, settings.stores, settings.training.input_norm)
        seeds = parse_seeds(settings.seeds)[:2]  # each network learns from nearly ten times as much as a gold one
        rows = compared(manifest, inputs, args.run, args.policy, seeds, settings.training)
    finish(rows, args)


def compared(
    manifest: Manifest, inputs: Inputs, run: Path, policy: str, seeds: list[int], training: Training
) -> list[Row]:
    """Both figures of round 1 of ``policy``."""
    folder = run / policy / "round-1"
    honest = 100 * float(np.mean(json.loads((folder / "round.json").read_text(encoding="utf-8"))["gold"]))
    split = json.loads((run / "split.json").read_text(encoding="utf-8"))
    gold = GoldLabels.of(manifest, [name for fold in split["folds"] for name in fold])
    labels = dict(zip(gold.ids, gold.labels, strict=True))
    for line in (folder / "labels" / "pool.jsonl").read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        if row["selected"]:
            labels[row["uid"]] = row["label"]
    names = list(labels)
    order = np.random.default_rng(0).permutation(len(names))
    answers, true = [], []
    for fold in range(FOLDS):
        learned = [names[n] for n in order if n % FOLDS != fold]
        scored = [names[n] for n in order if n % FOLDS == fold]
        pretended = GoldLabels(tuple(learned), tuple(labels[name] for name in learned), gold.classes)
        stack = train(inputs, pretended, seeds, training, whole_batches=True)
        answers.append(predict(stack, inputs.rows(scored)).argmax(-1))
        true += [gold.classes.index(labels[name]) for name in scored]
    each = [f1_score(true, one, average="weighted") for one in np.concatenate(answers, axis=1)]
    return [
        Row("folds with pseudo-labels", "weighted F1", 100 * float(np.mean(each)), honest),
        Row("out-of-fold gold", "weighted F1", honest),
    ]


def made_up(folder: Path, utterances: int) -> list[Row]:
    """The same on random vectors that hardly show the emotion."""
    draw = torch.Generator().manual_seed(0)
    classes = ("neutral", "joy", "anger")
    number = torch.randint(3, (utterances,), generator=draw).tolist()
    said = tuple(Utterance(f"u{n}", "made_up", "train", f"d{n}", 0, label=classes[c]) for n, c in enumerate(number))
    manifest = Manifest("made_up", LabelSet("three", classes), said).save(folder / "data")
    with StoreWriter(folder / "text", manifest, modality="text", width=16, extractor={"made": "up"}) as writer:
        for utterance, label in zip(said, number, strict=True):
            vector = torch.randn(16, generator=draw)
            vector[label] += 0.5
            writer.add(utterance.id, vector)
    training = Training(hidden=16, steps=60, lr=0.01)
    inputs = read_inputs(manifest, {"text": str(folder / "text")})
    split = freeze(manifest, gold=utterances // 4, folds=FOLDS)
    SelfTraining(manifest, inputs, split, training, [0, 1], folder / "run").run({"soft": SoftWeights()}, rounds=1)
    return compared(manifest, inputs, folder / "run", "soft", [0, 1], training)


if __name__ == "__main__":
    main()
