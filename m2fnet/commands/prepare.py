"""``m2fnet prepare``: a raw corpus in, a folder with its manifest out."""

import argparse
from pathlib import Path

from m2fnet.corpora import table
from m2fnet.corpora.iemocap import read_iemocap
from m2fnet.corpora.iemocap_protocols import SESSION_DIALOGUES, Protocol, iemocap4, iemocap6, iemocap6_erc
from m2fnet.corpora.meld import read_meld, read_toy
from m2fnet.corpora.summary import DEFECTS, counts_table, defects_markdown, defects_text
from m2fnet.errors import ManifestError, UsageError
from m2fnet.files import write_text
from m2fnet.manifest import META, TABLE, Manifest


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
    parser = argparse.ArgumentParser(
        prog="m2fnet prepare", description="A raw corpus in, a folder with its manifest out."
    )
    corpora = parser.add_subparsers(required=True, metavar="{toy,meld,iemocap,table}")
    _add_toy(
        corpora.add_parser("toy", help="write a made-up corpus in MELD's layout, defects included, and prepare it")
    )
    _add_meld(corpora.add_parser("meld", help="MELD: the raw tree, or the CSV files alone"))
    _add_iemocap(corpora.add_parser("iemocap", help="IEMOCAP: the release, under one of the published protocols"))
    _add_table(
        corpora.add_parser(
            "table",
            help="one's own corpus: a CSV or JSONL file, one utterance per row",
            description=table.__doc__,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
    )
    return parser


def _add_toy(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--root", type=Path, required=True, help="where the made-up raw corpus goes")
    parser.add_argument("--seed", type=int, default=0, help="same seed, same corpus (default 0)")
    parser.add_argument(
        "--dialogues",
        type=int,
        nargs=3,
        default=(40, 10, 20),
        metavar=("TRAIN", "DEV", "TEST"),
        help="dialogues per split (default 40 10 20)",
    )
    _add_out(parser, required=False)
    parser.set_defaults(run=_toy)


def _add_meld(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--root", type=Path, required=True, help="folder with the three CSV files, and the clips")
    parser.add_argument("--realigned", type=Path, help="copy of MELD-FAIR's folder csvs: cut the clips by its times")
    _add_partial(parser)
    _add_out(parser)
    parser.set_defaults(run=_meld)


def _add_iemocap(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--root", type=Path, required=True, help="folder with Session1 to Session5")
    protocols = ("iemocap6", "iemocap6-erc", "iemocap4")
    parser.add_argument("--protocol", choices=protocols, default="iemocap6", help="labels and split (default iemocap6)")
    parser.add_argument(
        "--fold", type=int, choices=tuple(SESSION_DIALOGUES), help="test session of iemocap4 (default 5)"
    )
    parser.add_argument("--drop-unlabelled", action="store_true", help="leave out the turns without a label")
    _add_partial(parser)
    _add_out(parser)
    parser.set_defaults(run=_iemocap)


def _add_table(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--root", type=Path, required=True, help="the table, or the folder that holds it alone")
    parser.add_argument("--labels", type=_names, default=(), help="emotions in their order: a,b,c (default: train's)")
    parser.add_argument("--corpus", help="name of the corpus (default: the table's file name)")
    _add_out(parser)
    parser.set_defaults(
        run=lambda options: _finish(
            table.read_table(options.root, labels=options.labels, corpus=options.corpus), options
        )
    )


def _add_partial(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--partial", action="store_true", help="accept other counts than the published ones")


def _add_out(parser: argparse.ArgumentParser, *, required: bool = True) -> None:
    parser.add_argument("--out", type=Path, required=required, help="folder for the manifest")
    parser.add_argument("--overwrite", action="store_true", help="replace another manifest in --out")


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


def _meld(options: argparse.Namespace) -> None:
    _finish(read_meld(options.root, partial=options.partial, realigned=options.realigned), options)


def _iemocap(options: argparse.Namespace) -> None:
    manifest = read_iemocap(
        options.root, _protocol(options), partial=options.partial, drop_unlabelled=options.drop_unlabelled
    )
    _finish(manifest, options)


def _protocol(options: argparse.Namespace) -> Protocol:
    if options.protocol == "iemocap4":
        return iemocap4(options.fold or 5)
    if options.fold is not None:
        raise UsageError(f"--fold chooses the test session of iemocap4; {options.protocol} has one fixed split.")
    return iemocap6() if options.protocol == "iemocap6" else iemocap6_erc()


def _toy(options: argparse.Namespace) -> None:
    # imported here alone: a text corpus should not wait for the drawing and encoding libraries
    from m2fnet.corpora.toy import write_toy

    write_toy(options.root, seed=options.seed, dialogues=tuple(options.dialogues))
    print(f"Wrote the raw toy corpus (seed {options.seed}) to {options.root}")
    if options.out is not None:
        _finish(read_toy(options.root), options)


def _finish(manifest: Manifest, options: argparse.Namespace) -> None:
    saved = store_manifest(manifest, options.out, overwrite=options.overwrite)
    media = f"media under {saved.root}" if saved.root is not None else "no media (text only)"
    print(f"{saved.corpus}: {len(saved.utterances)} utterances in {len(saved.dialogues())} dialogues, {media}")
    print(counts_table(saved))
    print(f"defects ({DEFECTS} lists them, {META} every id):")
    print(defects_text(saved.defects))
    print(f"Wrote {options.out / TABLE} (sha256 {saved.sha256[:12]})")
