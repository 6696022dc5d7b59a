"""``m2fnet import``: a published feature pickle in, a folder with its manifest and one store per modality out."""

import argparse
import json
import random
import shlex
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch

from m2fnet.corpora.meld import COUNTS as MELD_COUNTS
from m2fnet.corpora.meld import LABELS as MELD
from m2fnet.corpora.summary import counts_table
from m2fnet.errors import UsageError
from m2fnet.files import sha256_of
from m2fnet.manifest import META as MANIFEST_META
from m2fnet.manifest import Manifest
from m2fnet.records import Defect, LabelSet, Split, Utterance
from m2fnet.store.layout import META
from m2fnet.store.published import MODALITY_OF, Published, PublishedTurn, read_published
from m2fnet.store.writer import StoreWriter, sweep

# label number -> name in the pickles of conv-emotion and all that descend from them
KNOWN_LABELS = {
    "meld": MELD,
    "iemocap6": LabelSet("iemocap6", ("hap", "sad", "neu", "ang", "exc", "fru")),
}
DEV_SHARE = 0.1
MELD_DEV: dict[str, Any] = MELD_COUNTS["dev"]

_EPILOG = """Labels: `meld` (neutral, surprise, fear, sadness, joy, disgust, anger), `iemocap6` (hap, sad, neu, ang,
exc, fru), or names in the order of their numbers: negative,positive.
Stores: DIR/text, DIR/audio, DIR/visual; DIR/text_1 to DIR/text_4 where the pickle has four text views."""


def main(argv: list[str]) -> None:
    """Import the pickle that ``argv`` names and print what came out.

    Raises:
        UsageError: if an argument is wrong, or ``--out`` is in use and ``--overwrite`` is not given.
        UnsafePickleError: if the pickle holds more than plain data.
        CorpusError: if it is not one of the published layouts, or holds a wrong value.
    """
    options = _parser().parse_args(argv)
    label_set = _label_set(options.labels, options.pickle.stem)
    if options.dev_share is not None and not 0 <= options.dev_share < 1:
        raise UsageError(f"--dev-share is {options.dev_share}, expected a share of at least 0 and below 1.")
    _refuse_used(options.out, options.overwrite)
    published = read_published(options.pickle, len(label_set.classes))
    manifest = make_manifest(published, options.pickle, label_set, dev_share=options.dev_share, seed=options.seed)
    if options.overwrite:
        _remove_stores(options.out)
    manifest = manifest.save(options.out)
    stores = write_stores(published, manifest, options.out)
    _report(published, manifest, options.out, stores)


def make_manifest(
    published: Published, pickle: Path, label_set: LabelSet, *, dev_share: float | None = None, seed: int = 0
) -> Manifest:
    """The manifest of a feature pickle; where it has no dev list, some of its training dialogues become dev.

    These are MELD's own where ``label_set`` is MELD's, ``dev_share`` is None and they are recognised (see
    `_official_dev`), else ``dev_share`` (None: 0.1) of the training dialogues, drawn with ``seed``.
    """
    splits, how = _with_dev(published, label_set, dev_share, seed)
    names = [turn.id for turns in published.turns.values() for turn in turns]
    has_names = None not in names and len(set(names)) == len(names)
    utterances = tuple(
        _utterance(turn, split, dialogue, index, label_set, pickle, has_names)
        for split, dialogues in splits.items()
        for dialogue in dialogues
        for index, turn in enumerate(published.turns[dialogue])
    )
    unlisted = Defect("dialogue in no split of the pickle", published.unlisted, "left out")
    return Manifest(
        corpus=label_set.name,
        label_set=label_set,
        utterances=utterances,
        defects=(unlisted,) if published.unlisted else (),
        provenance={**_origin(published, pickle), "dev": how, "empty": published.empty},
    )


def write_stores(published: Published, manifest: Manifest, folder: Path) -> dict[str, int]:
    """Write one store per modality or text view into ``folder``; their names and widths come back."""
    origin = {name: manifest.provenance[name] for name in ("imported", "sha256", "layout")}
    widths = {}
    for store, matrices in published.features.items():
        widths[store] = next(iter(matrices.values())).shape[1]
        with StoreWriter(
            folder / store,
            manifest,
            modality=MODALITY_OF[store],
            width=widths[store],
            extractor={**origin, "table": store},
        ) as writer:
            for utterance in manifest.utterances:
                writer.add(utterance.id, torch.from_numpy(matrices[utterance.dialogue][utterance.index]))
    return widths


def _origin(published: Published, pickle: Path) -> dict[str, str]:
    return {"imported": pickle.name, "sha256": sha256_of(pickle), "layout": published.layout}


def _utterance(
    turn: PublishedTurn, split: Split, dialogue: str, index: int, label_set: LabelSet, pickle: Path, has_names: bool
) -> Utterance:
    return Utterance(
        id=turn.id if has_names and turn.id is not None else f"{dialogue}_utt{index}",
        corpus=label_set.name,
        split=split,
        dialogue=dialogue,
        index=index,
        speaker=turn.speaker,
        text=turn.text,
        label=label_set.classes[turn.label],
        source=f"{pickle.name}:{dialogue}",
    )


def _with_dev(
    published: Published, label_set: LabelSet, share: float | None, seed: int
) -> tuple[dict[Split, tuple[str, ...]], str]:
    """Dialogues of all three splits, and in words how dev came to be."""
    train, test = published.splits["train"], published.splits["test"]
    if "dev" in published.splits:
        return {"train": train, "dev": published.splits["dev"], "test": test}, "the pickle's own list"
    dev = _official_dev(published, train) if label_set == MELD and share is None else ()
    how = f"MELD's own dev split, recognised in the training list by its {len(dev)} dialogues and label counts"
    if not dev:
        share = DEV_SHARE if share is None else share
        count = min(max(round(share * len(train)), 1), len(train) - 1) if share else 0
        # sorted, so that the draw does not hang on the order in which the pickle happens to list them
        dev = tuple(random.Random(seed).sample(sorted(train), count))
        how = f"{share:.0%} of the training dialogues, drawn with seed {seed}"
    chosen = frozenset(dev)
    rest = tuple(dialogue for dialogue in train if dialogue not in chosen)
    return {"train": rest, "dev": tuple(d for d in train if d in chosen), "test": test}, how


def _official_dev(published: Published, train: Sequence[str]) -> Sequence[str]:
    """MELD's dev dialogues if they open or close the training list, as their label counts tell; else none.

    The pickles join train and dev into one list; public code then takes its first 10 % for validation.
    """
    size = MELD_DEV["dialogues"]
    for block in (train[:size], train[-size:]):
        labels = [turn.label for dialogue in block for turn in published.turns[dialogue]]
        if {name: labels.count(number) for number, name in enumerate(MELD.classes)} == MELD_DEV["labels"]:
            return block
    return ()


def _label_set(names: str, stem: str) -> LabelSet:
    if names in KNOWN_LABELS:
        return KNOWN_LABELS[names]
    classes = tuple(name.strip() for name in names.split(","))
    if len(classes) < 2 or not all(classes) or len(set(classes)) < len(classes):
        raise UsageError(
            f"--labels is {names!r}; expected {' or '.join(KNOWN_LABELS)}, or at least two different names in the "
            "order of their numbers in the pickle, separated by commas: negative,positive."
        )
    return LabelSet(stem, classes)


def _refuse_used(folder: Path, overwrite: bool) -> None:
    used = [name for name in (MANIFEST_META, *(f"{store}/{META}" for store in MODALITY_OF)) if (folder / name).exists()]
    if used and not overwrite:
        raise UsageError(f"{folder} already holds {used[0]}; choose another --out, or replace it with --overwrite.")


def _remove_stores(folder: Path) -> None:
    for store in (folder / name for name in MODALITY_OF):
        (store / META).unlink(missing_ok=True)  # first: half is no store
        sweep(store)
        if store.is_dir() and not any(store.iterdir()):
            store.rmdir()


def _report(published: Published, manifest: Manifest, folder: Path, stores: dict[str, int]) -> None:
    print(f"layout: {published.layout}; dev: {manifest.provenance['dev']}")
    print(counts_table(manifest))
    seen = {utterance.label for utterance in manifest.utterances}
    if absent := [name for name in manifest.label_set.classes if name not in seen]:
        print(f"never in it: {', '.join(absent)}; are these the labels of the pickle?")
    for store, reason in published.empty.items():
        print(f"not stored: {store}, {reason}")
    for defect in manifest.defects:
        print(f"{len(defect.ids)} × {defect.what}: {defect.done}")
    written = ", ".join(f"{folder / store} (width {width})" for store, width in stores.items())
    print(
        f"Imported {len(manifest.utterances)} utterances in {len(manifest.dialogues())} dialogues: manifest in "
        f"{folder}, stores {written}. Next: {_next_command(manifest, folder, stores)}"
    )


def _next_command(manifest: Manifest, folder: Path, stores: Iterable[str]) -> str:
    """The command that trains on what was imported; of several text views it takes the first."""
    chosen: dict[str, str] = {}
    for store in stores:
        chosen.setdefault(MODALITY_OF[store], str(folder / store))
    conf = "m2fnet_iemocap6" if manifest.corpus == "iemocap6" else "m2fnet_meld"
    run = Path("runs") / folder.name / "seed-0"
    settings = ("--data.manifest", str(folder), "--data.stores", json.dumps(chosen), "--run", str(run))
    return shlex.join(("m2fnet", "dialog", "fit", "--config", f"conf/dialog/{conf}.yaml", *settings))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="m2fnet import", description=__doc__, epilog=_EPILOG)
    parser.add_argument("pickle", type=Path, metavar="PICKLE", help="the feature pickle; nothing in it is run")
    parser.add_argument("--labels", required=True, help="`meld`, `iemocap6`, or names in order: negative,positive")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for the manifest and the stores")
    parser.add_argument(
        "--dev-share",
        type=float,
        metavar="SHARE",
        help=f"share of the training dialogues that becomes dev where the pickle names none (default {DEV_SHARE}; "
        "for MELD its own dev split if the pickle has it)",
    )
    parser.add_argument("--seed", type=int, default=0, help="of the draw of dev dialogues (default 0)")
    parser.add_argument("--overwrite", action="store_true", help="replace the manifest and the stores in --out")
    return parser
