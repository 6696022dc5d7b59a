"""``m2fnet prepare``: a raw corpus in, a folder with its manifest out."""

import argparse
import importlib
from pathlib import Path

from m2fnet.corpora.meld import read_meld, read_meld_layout
from m2fnet.corpora.summary import DEFECTS, counts_table, defects_markdown, defects_text
from m2fnet.errors import ManifestError, UsageError
from m2fnet.files import write_text
from m2fnet.manifest import META, TABLE, Manifest
from m2fnet.records import LabelSet

TOY_LABELS = LabelSet("toy", ("neutral", "joy", "anger", "sadness", "surprise"))


def main(argv: list[str]) -> None:
    """Prepare the corpus that ``argv`` names and print what was found.

    Raises:
        UsageError: if ``--out`` holds another manifest and ``--overwrite`` is not given.
        CorpusError: if the raw corpus is not what it should be.
    """
    options = _parser().parse_args(argv)
    options.run(options)


def store_manifest(manifest: Manifest, out: Path, *, overwrite: bool) -> Manifest:
    """Write ``manifest`` and its defect report into ``out``; the manifest comes back with its hash.

    Raises:
        UsageError: if ``out`` holds another manifest and ``overwrite`` is False.
    """
    if not overwrite and (out / META).exists() and not _is_same(out, manifest):
        raise UsageError(
            f"{out} already holds another manifest, and stores made for it would no longer fit. "
            "Choose another --out, or replace it with --overwrite."
        )
    saved = manifest.save(out)
    write_text(out / DEFECTS, defects_markdown(saved))
    return saved


def _is_same(out: Path, manifest: Manifest) -> bool:
    try:
        old = Manifest.load(out)
    except ManifestError:
        return False
    return (old.corpus, old.label_set, old.utterances) == (manifest.corpus, manifest.label_set, manifest.utterances)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="m2fnet prepare", description=__doc__)
    corpora = parser.add_subparsers(required=True, metavar="{toy,meld,iemocap,table}")

    toy = corpora.add_parser("toy", help="write a made-up corpus in MELD's layout, defects included, and prepare it")
    toy.add_argument("--root", type=Path, required=True, help="where the made-up raw corpus goes")
    toy.add_argument("--seed", type=int, default=0, help="same seed, same corpus (default 0)")
    _add_out(toy, required=False)
    toy.set_defaults(run=_toy)

    meld = corpora.add_parser("meld", help="MELD: the raw tree, or the CSV files alone")
    meld.add_argument(
        "--root", type=Path, required=True, help="folder with {train,dev,test}_sent_emo.csv and the clips"
    )
    meld.add_argument("--partial", action="store_true", help="accept other counts than the published ones")
    _add_out(meld)
    meld.set_defaults(run=lambda options: _finish(read_meld(options.root, partial=options.partial), options))
    return parser


def _add_out(parser: argparse.ArgumentParser, *, required: bool = True) -> None:
    parser.add_argument("--out", type=Path, required=required, help="folder for the manifest")
    parser.add_argument("--overwrite", action="store_true", help="replace another manifest in --out")


def _toy(options: argparse.Namespace) -> None:
    # looked up by name so that a text-only corpus never waits for the drawing and encoding libraries
    importlib.import_module("m2fnet.corpora.toy").write_toy(options.root, seed=options.seed)
    print(f"Wrote the raw toy corpus (seed {options.seed}) to {options.root}")
    if options.out is not None:
        _finish(read_meld_layout(options.root, corpus="toy", label_set=TOY_LABELS), options)


def _finish(manifest: Manifest, options: argparse.Namespace) -> None:
    saved = store_manifest(manifest, options.out, overwrite=options.overwrite)
    media = f"media under {saved.root}" if saved.root is not None else "no media (text only)"
    print(f"{saved.corpus}: {len(saved.utterances)} utterances in {len(saved.dialogues())} dialogues, {media}")
    print(counts_table(saved))
    print(f"defects ({DEFECTS} lists them, {META} every id):")
    print(defects_text(saved.defects))
    print(f"Wrote {options.out / TABLE} (sha256 {saved.sha256[:12]})")
