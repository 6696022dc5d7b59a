"""``m2fnet extract``: a manifest and an extractor -> a store of embeddings."""

import argparse
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from m2fnet.errors import RunError, UsageError

if TYPE_CHECKING:
    from extractors.embedding import Loading
    from extractors.fitted import FittedRun
    from extractors.trained import TrainedRun
    from m2fnet.manifest import Manifest
    from m2fnet.store import Missing

EPILOG = """\
With --config, keys of the configuration file may follow (--run DIR, --seed N, --extractor.init_args.width N ...); an
extractor whose run folder holds no fit for this manifest is fitted first. Networks have to be trained before, by
`m2fnet extractor fit`; then --ckpt names their run folder.
"""


def main(argv: list[str]) -> None:
    """Run ``m2fnet extract {--ckpt RUN | --config FILE} --manifest DIR --out STORE``."""
    given, keys = _parse(argv)
    from extractors.embedding import Loading
    from extractors.extract import extract, is_store_of
    from m2fnet.manifest import Manifest
    from m2fnet.store.layout import META

    manifest = Manifest.load(given.manifest)
    loading = Loading(given.batch_size, given.workers, given.device or _best_device())
    run = _run(given, keys, manifest, loading)
    if is_store_of(given.out, run.provenance, manifest, given.dtype) and not given.overwrite:
        print(f"{given.out} already holds these embeddings of this manifest; nothing to do.")
        return
    if given.overwrite:
        (given.out / META).unlink(missing_ok=True)  # without it the folder is no store
    missing = extract(
        run.extractor, run.provenance, manifest, given.out, dtype=given.dtype, loading=loading, progress=True
    )
    _report(given, len(manifest.utterances), missing)


def _parse(argv: list[str]) -> tuple[argparse.Namespace, list[str]]:
    parser = argparse.ArgumentParser(
        prog="m2fnet extract",
        description="Embed every utterance of a manifest. What cannot be read is recorded as missing, with the reason.",
        epilog=EPILOG,
        allow_abbrev=False,
    )
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--ckpt", type=Path, metavar="RUN", help="run folder of `m2fnet extractor fit`")
    source.add_argument("--config", type=Path, metavar="FILE", help="configuration of an extractor to fit if needed")
    parser.add_argument("--manifest", type=Path, required=True, metavar="DIR", help="folder of `m2fnet prepare`")
    parser.add_argument("--out", type=Path, required=True, metavar="STORE", help="folder for the embeddings")
    parser.add_argument("--batch-size", type=_positive, default=64, help="utterances per forward pass (default 64)")
    parser.add_argument("--workers", type=_count, help="processes that read media (default: one per core)")
    parser.add_argument("--dtype", choices=["float32", "float16", "bfloat16"], default="float32")
    parser.add_argument("--device", help="cpu, cuda, cuda:1 ... (default: a GPU if there is one)")
    parser.add_argument("--overwrite", action="store_true", help="replace the store that --out holds")
    parser.add_argument(
        "--max-failures", type=_count, metavar="N", help="fail if more than N utterances are missing (default: never)"
    )
    given, keys = parser.parse_known_args(argv)
    if given.ckpt is not None and keys:
        raise UsageError(f"{keys[0]!r} is not known; with --ckpt the settings are those of the run.")
    return given, keys


def _run(
    given: argparse.Namespace, keys: list[str], manifest: "Manifest", loading: "Loading"
) -> "FittedRun | TrainedRun":
    from extractors import fitted, trained
    from extractors.settings import read_settings

    if given.ckpt is not None:
        return trained.load(given.ckpt) if trained.is_trained(given.ckpt) else fitted.load(given.ckpt)
    argv = ["--config", str(given.config), "--manifest", str(given.manifest), *keys]
    settings = read_settings(argv, "m2fnet extract")
    if fitted.is_fit_of(settings.run, settings, manifest):
        return fitted.load(settings.run)
    if (settings.run / fitted.REPORT).is_file() and not given.overwrite:
        raise UsageError(
            f"{settings.run} holds a fit of other settings or another manifest; name another folder with --run, or "
            "replace it with --overwrite."
        )
    print(f"fitting on the training split of {given.manifest}, into {settings.run}")
    return fitted.fit(settings, manifest, loading)


def _report(given: argparse.Namespace, total: int, missing: "Counter[Missing]") -> None:
    failures = missing.total()
    print(f"{total - failures} of {total} utterances embedded in {given.out}, {failures} missing")
    for why, count in missing.most_common():
        print(f"  {count:6d}  {why.stage}: {why.reason}")
    if given.max_failures is not None and failures > given.max_failures:
        raise RunError(f"{failures} utterances are missing, more than --max-failures {given.max_failures} allows.")


def _best_device() -> str:
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def _positive(text: str) -> int:
    return _at_least(1, text)


def _count(text: str) -> int:
    return _at_least(0, text)


def _at_least(least: int, text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) < least:
        raise argparse.ArgumentTypeError(f"expected a whole number of at least {least}, but got {text!r}")
    return int(text)
