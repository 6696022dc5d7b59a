"""``m2fnet import``: a published feature pickle in, a folder with its manifest and one store per modality out."""

import argparse
import json
import shlex
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import torch

from m2fnet.commands.arguments import Parser
from m2fnet.corpora.dev_dialogues import DEV_SHARE, HELP, chosen_dialogues
from m2fnet.corpora.iemocap_protocols import iemocap6_erc
from m2fnet.corpora.label_sets import IEMOCAP6, M3ED_DIALOGUES, M3ED_MAIN, MELD, published_label_sets
from m2fnet.corpora.m3ed import one_sample_per_dialogue
from m2fnet.corpora.meld import COUNTS as MELD_COUNTS
from m2fnet.corpora.summary import counts_text
from m2fnet.errors import UsageError
from m2fnet.files import sha256_of
from m2fnet.manifest import META as MANIFEST_META
from m2fnet.manifest import Manifest
from m2fnet.records import Defect, LabelSet, Split, Utterance
from m2fnet.store.layout import META
from m2fnet.store.published import MODALITY_OF, Published, read_published
from m2fnet.store.writer import StoreWriter, sweep

_EPILOG = """Stores: DIR/text, DIR/audio, DIR/visual; DIR/text_1 to DIR/text_4 where the pickle has four text views.
With --labels m3ed-dialogues a sample is a whole dialogue: the sequence of its utterances' vectors, and the union of
their emotions."""


def main(argv: list[str]) -> None:
    """Import the pickle that ``argv`` names and print what came out.

    Raises:
        UsageError: if an argument is wrong, or ``--out`` is in use and ``--overwrite`` is not given.
        UnsafePickleError: if the pickle holds more than plain data.
        CorpusError: if it is not one of the published layouts, or holds a wrong value.
    """
    options = _parser().parse_args(argv)
    label_set = _label_set(options.labels, options.pickle.stem)
    _refuse_used(options.out, options.overwrite)
    published = read_published(options.pickle, len(label_set.classes))
    manifest = make_manifest(
        published, options.pickle, label_set, dev_dialogues=options.dev_dialogues, seed=options.seed
    )
    if options.overwrite:
        _remove_stores(options.out)
    manifest = manifest.save(options.out)
    stores = write_stores(published, manifest, options.out)
    _report(published, manifest, options.out, stores, quiet=options.quiet)


def make_manifest(
    published: Published, pickle: Path, label_set: LabelSet, *, dev_dialogues: str | None = None, seed: int = 0
) -> Manifest:
    """The manifest of a feature pickle; where it has no dev list, some of its training dialogues become dev.

    Args:
        published: the checked content of the pickle.
        pickle: its file.
        label_set: the emotions; a label number of the pickle is the place of its emotion. `M3ED_DIALOGUES` makes one
            sample of each dialogue.
        dev_dialogues: which training dialogues become dev, see `m2fnet.corpora.dev_dialogues`. None: the pickle's own
            list; else MELD's own dev dialogues where ``label_set`` is MELD's and they are recognised; those of the
            protocol iemocap6-erc where it is IEMOCAP's; otherwise a tenth.
        seed: of the draw of dev dialogues.
    """
    if label_set == M3ED_DIALOGUES:
        every_utterance = make_manifest(published, pickle, M3ED_MAIN, dev_dialogues=dev_dialogues, seed=seed)
        return one_sample_per_dialogue(every_utterance)
    splits, how = _with_dev(published, label_set, dev_dialogues, seed)
    names = [said.id for utterances in published.utterances.values() for said in utterances]
    has_names = None not in names and len(set(names)) == len(names)
    utterances = tuple(
        Utterance(
            id=said.id if has_names and said.id is not None else f"{dialogue}_utt{index}",
            corpus=label_set.name,
            split=split,
            dialogue=dialogue,
            index=index,
            speaker=said.speaker,
            text=said.text,
            label=label_set.classes[said.label],
            source=f"{pickle.name}:{dialogue}",
        )
        for split, dialogues in splits.items()
        for dialogue in dialogues
        for index, said in enumerate(published.utterances[dialogue])
    )
    unlisted = Defect("dialogue in no split of the pickle", published.unlisted, "not imported")
    return Manifest(
        corpus=label_set.name,
        label_set=label_set,
        utterances=utterances,
        defects=(unlisted,) if published.unlisted else (),
        provenance={
            "imported": pickle.name,
            "sha256": sha256_of(pickle),
            "layout": published.layout,
            "dev": how,
            "empty": published.empty,
        },
    )


def write_stores(published: Published, manifest: Manifest, folder: Path) -> dict[str, int]:
    """Write one store per modality or text view into ``folder`` and return its width by its name.

    Where a sample is a whole dialogue, its sequence has one vector per utterance.
    """
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
            resolution="frame" if manifest.label_set == M3ED_DIALOGUES else "utterance",
        ) as writer:
            for utterance in manifest.utterances:
                rows = matrices[utterance.dialogue]
                frames = rows if manifest.label_set == M3ED_DIALOGUES else rows[utterance.index]
                writer.add(utterance.id, torch.from_numpy(frames))
    return widths


def _with_dev(
    published: Published, label_set: LabelSet, wanted: str | None, seed: int
) -> tuple[dict[Split, tuple[str, ...]], str]:
    """Dialogues of all three splits, and in words where dev comes from."""
    train, test, own = published.splits["train"], published.splits["test"], published.splits.get("dev")
    dev: Sequence[str] = ()
    if wanted is not None:
        train = (*train, *(own or ()))
        dev, how = chosen_dialogues(wanted, train, seed)
    elif own is not None:
        return {"train": train, "dev": own, "test": test}, "the pickle's own list"
    elif label_set == MELD and (dev := _official_dev(published, train)):
        how = f"MELD's own dev split, recognised in the training list by its {len(dev)} dialogues and label counts"
    elif label_set == IEMOCAP6 and (dev := [name for name, of in iemocap6_erc().splits(train).items() if of == "dev"]):
        how = "every tenth training dialogue in order of name, as in `m2fnet prepare iemocap --protocol iemocap6-erc`"
    else:
        dev, how = chosen_dialogues(str(DEV_SHARE), train, seed)
    chosen = frozenset(dev)
    rest = tuple(dialogue for dialogue in train if dialogue not in chosen)
    return {"train": rest, "dev": tuple(d for d in train if d in chosen), "test": test}, how


def _official_dev(published: Published, train: Sequence[str]) -> Sequence[str]:
    """MELD's dev dialogues if they open or close the training list, recognised by their label counts; else none.

    The pickles join train and dev into one list; public code then takes its first 10 % for validation.
    """
    expected = MELD_COUNTS["dev"]
    for block in (train[: expected["dialogues"]], train[-expected["dialogues"] :]):
        labels = Counter(MELD.classes[said.label] for dialogue in block for said in published.utterances[dialogue])
        if labels == Counter(expected["labels"]):
            return block
    return ()


def _label_set(names: str, stem: str) -> LabelSet:
    """The label set that ``--labels`` names or lists; a list gets the name of the pickle."""
    known = published_label_sets()
    if names in known:
        return known[names]
    classes = tuple(name.strip() for name in names.split(","))
    if len(classes) < 2 or not all(classes) or len(set(classes)) < len(classes):
        raise UsageError(
            f"--labels is {names!r}; expected {_one_of(known)}, or at least two different names in the "
            "order of their numbers in the pickle, separated by commas: negative,positive."
        )
    return LabelSet(stem, classes)


def _one_of(names: Iterable[str]) -> str:
    *first, last = names
    return f"{', '.join(first)} or {last}"


def _refuse_used(folder: Path, overwrite: bool) -> None:
    used = [name for name in (MANIFEST_META, *(f"{store}/{META}" for store in MODALITY_OF)) if (folder / name).exists()]
    if used and not overwrite:
        raise UsageError(f"{folder} already holds {used[0]}; choose another --out, or replace it with --overwrite.")


def _remove_stores(folder: Path) -> None:
    for store in (folder / name for name in MODALITY_OF):
        (store / META).unlink(missing_ok=True)  # first: half of one is not a store
        sweep(store)
        if store.is_dir() and not any(store.iterdir()):
            store.rmdir()


def _report(published: Published, manifest: Manifest, folder: Path, stores: dict[str, int], *, quiet: bool) -> None:
    if not quiet:
        print(f"layout: {published.layout}; dev: {manifest.provenance['dev']}")
        print(counts_text(manifest))
        seen = {label for utterance in manifest.utterances for label in utterance.labels or ()}
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
    known = published_label_sets()
    parser = Parser(
        prog="m2fnet import",
        description="Imports a published feature pickle, in which nothing is run: a folder with its manifest and one "
        "store per modality.",
        epilog=_EPILOG,
    )
    parser.add_argument("pickle", type=Path, metavar="PICKLE", help="the feature pickle")
    parser.add_argument(
        "--labels",
        required=True,
        help="a known label set, "
        + _one_of([f"`{name}` ({', '.join(label_set.classes)})" for name, label_set in known.items()])
        + ", or names in the order of their numbers in the pickle: negative,positive",
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for the manifest and the stores")
    parser.add_argument(
        "--dev-dialogues",
        "--dev-share",
        metavar="WHICH",
        help=f"{HELP} (default: the pickle's own list; for MELD its own dev split if the pickle has it; for IEMOCAP as "
        f"`m2fnet prepare iemocap --protocol iemocap6-erc`; otherwise {DEV_SHARE})",
    )
    parser.add_argument("--seed", type=int, default=0, help="of the draw of dev dialogues (default: %(default)s)")
    parser.add_argument("--overwrite", action="store_true", help="replace the manifest and the stores in --out")
    parser.add_argument(
        "--quiet", action="store_true", help="print only defects, what was written and the next command"
    )
    return parser
