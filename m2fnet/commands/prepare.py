"""``m2fnet prepare``: a raw corpus in, a folder with its manifest out."""

import argparse
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from m2fnet.commands.arguments import Parser
from m2fnet.corpora import table
from m2fnet.corpora.cremad import read_cremad
from m2fnet.corpora.dailydialog import read_dailydialog
from m2fnet.corpora.dev_dialogues import HELP, with_dev
from m2fnet.corpora.emorynlp import read_emorynlp
from m2fnet.corpora.goemotions import PROTOCOLS as GOEMOTIONS_PROTOCOLS
from m2fnet.corpora.goemotions import read_goemotions
from m2fnet.corpora.iemocap import read_iemocap
from m2fnet.corpora.iemocap_protocols import SESSION_DIALOGUES, iemocap4, iemocap6, iemocap6_erc, iemocap_multilabel
from m2fnet.corpora.m3ed import read_m3ed
from m2fnet.corpora.meld import read_meld, read_toy
from m2fnet.corpora.mer import YEARS, read_mer
from m2fnet.corpora.ravdess import read_ravdess
from m2fnet.corpora.summary import DEFECTS, counts_text, defects_markdown, defects_text
from m2fnet.errors import ManifestError, UsageError
from m2fnet.files import write_text
from m2fnet.manifest import META, TABLE, Manifest

if TYPE_CHECKING:
    from m2fnet.corpora.streams import Prepared


_FIRST, _FEW_TEXTS = 1000, 20  # of the first utterances, so few different texts are sentences that were read out
_USAGE = "%(prog)s --root ROOT --out OUT [OPTION ...]"  # of those whose choices are too long for a line


def main(argv: list[str]) -> None:
    """Prepare the corpus that ``argv`` names and print what was found.

    Raises:
        UsageError: if ``--out`` holds another manifest and ``--overwrite`` is not given.
        CorpusError: if the raw corpus is not as expected.
    """
    options = _parser().parse_args(argv)
    read = options.read(options)
    if read is None:
        return
    if isinstance(read, Manifest):
        manifest, features = read, None
    else:
        manifest, features = read.manifest, read
    if options.dev_dialogues is not None:
        manifest = with_dev(manifest, options.dev_dialogues)
    saved = store_manifest(manifest, options.out, overwrite=options.overwrite)
    stores: list[Path] = []
    if features is not None:
        from m2fnet.corpora.streams import write_streams  # here, because a corpus without features needs no PyTorch

        stores = write_streams(features, saved, options.out, overwrite=options.overwrite)
    if not options.quiet:
        media = f"media under {saved.root}" if saved.root is not None else "no media files"
        dialogues = sum(of["dialogues"] for of in saved.counts().values())
        print(f"{saved.corpus}: {len(saved.utterances)} utterances in {dialogues} dialogues, {media}")
        print(counts_text(saved))
        print(f"defects ({DEFECTS} lists them, {META} every id):")
        print(defects_text(saved))
    print(f"Wrote {options.out / TABLE} (sha256 {saved.sha256[:12]})")
    for store in stores:
        print(f"Wrote the store {store} (a sequence per utterance)")
    if not options.quiet:
        _print_what_is_next(saved, options.out)


def _print_what_is_next(manifest: Manifest, out: Path) -> None:
    counts = manifest.counts()
    if counts["train"]["labelled"] and not counts["dev"]["labelled"]:
        print("No dev utterance has a label, so no epoch can be chosen by one: prepare again with --dev-dialogues 0.1")
    if not counts["test"]["labelled"]:
        print("No test utterance has a label, so `m2fnet dialog test` will have nothing to score.")
    first = list(islice((utterance for utterance in manifest.utterances if utterance.text), _FIRST))
    texts = {utterance.text for utterance in first}
    # where actors read a few sentences, their words say nothing of their emotion
    is_read = len(texts) <= _FEW_TEXTS < len(first) and any(utterance.audio for utterance in first)
    extractor, modality = ("audio_mel_statistics", "audio") if is_read else ("text_lsa", "text")
    if texts:
        print(
            f"Next: m2fnet extract --config conf/extractors/{extractor}.yaml --manifest {out} "
            f"--out embeddings/{out.name}/{modality}"
        )


def store_manifest(manifest: Manifest, out: Path, *, overwrite: bool) -> Manifest:
    """Write ``manifest`` and its defect report into ``out`` and return the manifest with its hash.

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
    parser = Parser(
        prog="m2fnet prepare",
        description="Reads a raw corpus and writes a folder with its manifest: one utterance per line, checked. "
        "Each corpus has its own --help.",
    )
    corpora = parser.add_subparsers(required=True, metavar="CORPUS")

    toy = corpora.add_parser(
        "toy",
        help="write a made-up corpus in MELD's layout, defects included, and prepare it",
        description="Writes a made-up corpus in MELD's layout, with text, voices, faces and planted defects, and "
        "prepares it if --out is given. The same options give the same corpus.",
    )
    toy.add_argument("--root", type=Path, required=True, help="new folder for the made-up raw corpus")
    toy.add_argument("--seed", type=int, default=0, help="same seed, same corpus (default: %(default)s)")
    toy.add_argument(
        "--dialogues",
        type=int,
        nargs=3,
        default=(40, 10, 20),
        metavar=("TRAIN", "DEV", "TEST"),
        help="dialogues per split (default: 40 10 20)",
    )
    toy.add_argument(
        "--label-sets",
        action="store_true",
        help="give every utterance a set of emotions instead of one: what is felt, and what voice and face show; an "
        "empty set where all are neutral",
    )
    _add_common(toy, out_is_required=False)
    toy.set_defaults(read=_toy)

    meld = corpora.add_parser("meld", help="MELD: the raw tree, or only its CSV files")
    meld.add_argument("--root", type=Path, required=True, help="folder with the three CSV files, and the clips")
    meld.add_argument("--realigned", type=Path, help="copy of MELD-FAIR's folder csvs: cut the clips by its times")
    _add_partial(meld)
    _add_common(meld)
    meld.set_defaults(read=lambda o: read_meld(o.root, partial=o.partial, realigned=o.realigned))

    iemocap = corpora.add_parser(
        "iemocap", usage=_USAGE, help="IEMOCAP: the release, under one of the published protocols"
    )
    iemocap.add_argument("--root", type=Path, required=True, help="folder with Session1 to Session5")
    iemocap.add_argument(
        "--protocol",
        choices=("iemocap6", "iemocap6-erc", "iemocap4", "iemocap-multilabel"),
        default="iemocap6",
        help="labels and split (default: %(default)s)",
    )
    iemocap.add_argument(
        "--fold",
        type=int,
        choices=tuple(SESSION_DIALOGUES),
        help="test session of iemocap4 and iemocap-multilabel (default: 5)",
    )
    iemocap.add_argument("--drop-unlabelled", action="store_true", help="drop the utterances without a label")
    _add_partial(iemocap)
    _add_common(iemocap)
    iemocap.set_defaults(read=_iemocap)

    comments = corpora.add_parser(
        "goemotions", usage=_USAGE, help="GoEmotions: Reddit comments with a set of emotions each"
    )
    comments.add_argument("--root", type=Path, required=True, help="folder with train.tsv, dev.tsv and test.tsv")
    comments.add_argument(
        "--protocol",
        choices=tuple(GOEMOTIONS_PROTOCOLS),
        default="goemotions",
        help="all 28 labels, Ekman's six with the empty set for neutral, or these with neutral as a seventh label "
        "(default: %(default)s)",
    )
    _add_partial(comments)
    _add_common(comments)
    comments.set_defaults(read=lambda o: read_goemotions(o.root, GOEMOTIONS_PROTOCOLS[o.protocol](), partial=o.partial))

    mosei = corpora.add_parser(
        "mosei", usage=_USAGE, help="CMU-MOSEI: published feature files with label sets, or a table of labels"
    )
    mosei.add_argument("--root", type=Path, required=True, help="folder with the files of the protocol")
    mosei.add_argument(
        "--protocol",
        choices=("aligned", "unaligned", "mmsa-aligned", "mmsa-unaligned", "labels"),
        default="aligned",
        help="which files are read (default: %(default)s)",
    )
    mosei.add_argument(
        "--keep-padding",
        action="store_true",
        help="store the frames of zeros that fill up a sequence too, as the released networks read them",
    )
    _add_partial(mosei)
    _add_common(mosei)
    mosei.set_defaults(read=_mosei)

    m3ed = corpora.add_parser("m3ed", help="M3ED: Chinese television dialogues with a set of emotions per utterance")
    m3ed.add_argument("--root", type=Path, required=True, help="folder with the annotation and splitInfo")
    m3ed.add_argument(
        "--protocol",
        choices=("m3ed", "m3ed-dialogues"),
        default="m3ed",
        help="label sets of utterances, or their union over a dialogue as CARAT scores it (default: %(default)s)",
    )
    _add_partial(m3ed)
    _add_common(m3ed)
    m3ed.set_defaults(read=lambda o: read_m3ed(o.root, o.protocol, partial=o.partial))

    ravdess = corpora.add_parser("ravdess", help="RAVDESS: acted speech, with films where they are there")
    ravdess.add_argument("--root", type=Path, required=True, help="folder with files such as 03-01-06-01-02-01-12.wav")
    _add_partial(ravdess)
    _add_common(ravdess)
    ravdess.set_defaults(read=lambda o: read_ravdess(o.root, partial=o.partial))

    cremad = corpora.add_parser(
        "cremad", help="CREMA-D: acted sentences; the acted emotion, or those that raters heard"
    )
    cremad.add_argument("--root", type=Path, required=True, help="folder with AudioWAV")
    cremad.add_argument(
        "--protocol",
        choices=("cremad", "cremad-votes"),
        default="cremad",
        help="the acted emotion, or the set of those that raters perceived (default: %(default)s)",
    )
    cremad.add_argument(
        "--least-share",
        type=float,
        default=0.2,
        metavar="SHARE",
        help="share of the raters from which an emotion is in the set of cremad-votes (default: %(default)s)",
    )
    _add_partial(cremad)
    _add_common(cremad)
    cremad.set_defaults(read=_cremad)

    for name, what, read in (
        ("emorynlp", "EmoryNLP: the three CSV files", read_emorynlp),
        ("dailydialog", "DailyDialog: the official folders train, validation and test", read_dailydialog),
    ):
        text = corpora.add_parser(name, help=what)
        text.add_argument("--root", type=Path, required=True, help="folder of the corpus")
        _add_partial(text)
        _add_common(text)
        text.set_defaults(read=lambda o, read=read: read(o.root, partial=o.partial))

    for name, year in YEARS.items():
        mer = corpora.add_parser(name, help=f"{name.upper()}: six emotions and valence, and the pool without labels")
        mer.add_argument("--root", type=Path, required=True, help=f"folder with {year.labels} or label-6way.npz")
        mer.add_argument(
            "--track", choices=tuple(year.tracks), default="semi", help="whose clips are test (default: %(default)s)"
        )
        mer.add_argument(
            "--language",
            choices=("chinese", "english"),
            default="chinese",
            help="of the subtitles (default: %(default)s)",
        )
        mer.add_argument(
            "--pool", action="store_true", help="take the clips without a label too, unlabelled, into train"
        )
        _add_partial(mer)
        _add_common(mer)
        mer.set_defaults(
            read=lambda o, year=year: read_mer(
                o.root, year, track=o.track, language=o.language, pool=o.pool, partial=o.partial
            )
        )

    own = corpora.add_parser(
        "table",
        help="your own corpus: a CSV or JSONL file, one utterance per row",
        description=table.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    own.add_argument("--root", type=Path, required=True, help="the table, or a folder in which it is the only one")
    own.add_argument(
        "--labels", type=_names, default=(), help="emotions in their order: a,b,c (default: those of train, sorted)"
    )
    own.add_argument("--corpus", help="name of the corpus (default: the table's file name)")
    _add_common(own)
    own.set_defaults(read=lambda o: table.read_table(o.root, labels=o.labels, corpus=o.corpus))
    return parser


def _add_partial(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--partial", action="store_true", help="accept other counts than the published ones")


def _add_common(parser: argparse.ArgumentParser, *, out_is_required: bool = True) -> None:
    parser.add_argument("--out", type=Path, required=out_is_required, help="folder for the manifest")
    parser.add_argument("--dev-dialogues", metavar="WHICH", help=f"{HELP} (default: those of the corpus)")
    parser.add_argument("--overwrite", action="store_true", help="replace another manifest in --out")
    parser.add_argument("--quiet", action="store_true", help="print only what was written")


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


def _iemocap(options: argparse.Namespace) -> Manifest:
    if options.protocol in ("iemocap6", "iemocap6-erc") and options.fold is not None:
        raise UsageError(
            f"--fold chooses the test session of iemocap4 and iemocap-multilabel; {options.protocol} has one fixed "
            "split."
        )
    fold = options.fold or 5
    protocols = {p.name: p for p in (iemocap6(), iemocap6_erc(), iemocap4(fold), iemocap_multilabel(fold))}
    return read_iemocap(
        options.root,
        protocols[options.protocol],
        partial=options.partial,
        drop_unlabelled=options.drop_unlabelled,
    )


def _cremad(options: argparse.Namespace) -> Manifest:
    if not 0 < options.least_share <= 1:
        raise UsageError(f"--least-share is {options.least_share:g}; expected a share above 0, up to 1.")
    return read_cremad(options.root, options.protocol, least_share=options.least_share, partial=options.partial)


def _mosei(options: argparse.Namespace) -> "Prepared":
    from m2fnet.corpora.mosei import read_mosei

    return read_mosei(options.root, options.protocol, partial=options.partial, padded=options.keep_padding)


def _toy(options: argparse.Namespace) -> Manifest | None:
    # imported here: a text corpus should not wait for the drawing and encoding libraries
    from m2fnet.corpora.toy import write_toy
    from m2fnet.corpora.toy_label_sets import read_toy_label_sets

    write_toy(options.root, seed=options.seed, dialogues=tuple(options.dialogues), progress=not options.quiet)
    print(f"Wrote the raw toy corpus (seed {options.seed}) to {options.root}")
    if options.out is None:
        return None
    return read_toy_label_sets(options.root) if options.label_sets else read_toy(options.root)
