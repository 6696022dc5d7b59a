"""``m2fnet extract``: a manifest and an extractor -> a store of embeddings."""

import argparse
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from m2fnet.errors import RunError, UsageError

if TYPE_CHECKING:
    import pytorch_lightning as pl

    from extractors.extraction.embedding import Loading
    from extractors.runs.closed_form import FittedRun
    from extractors.runs.trained import TrainedRun
    from m2fnet.manifest import Manifest
    from m2fnet.store import Store

T = TypeVar("T")
_REASONS = 20  # for missing utterances that are told one by one

EPILOG = """\
With --config, keys of the configuration file may follow (--run DIR, --seed N, --extractor.init_args.width N ...); an
extractor whose run folder holds no fit for this manifest is fitted first. Networks have to be trained before, by
`m2fnet extractor fit`; then --ckpt names their run folder.

Several devices, and several machines, as with Lightning:
  m2fnet extract ... --devices 4                                     four processes of this machine
  srun m2fnet extract ... --devices 4 --nodes 2                      in a SLURM job of 2 nodes with 4 tasks each
  torchrun --nproc-per-node 4 -m m2fnet.cli extract ... --devices 4  what torchrun starts
"""


def main(argv: list[str]) -> None:
    """Run ``m2fnet extract {--ckpt RUN | --config FILE} --manifest DIR --out STORE``."""
    given, keys = _parse(argv)
    from extractors.extraction.embedding import Loading
    from extractors.extraction.extract import extract, made_with
    from extractors.extraction.lightning import trainer_for
    from m2fnet.manifest import Manifest
    from m2fnet.store import Store
    from m2fnet.store.parts import tidy

    manifest = Manifest.load(given.manifest)
    trainer = trainer_for(given.accelerator, given.devices, given.nodes, given.precision)
    usual = 8 if trainer.strategy.root_device.type == "cpu" else 64  # more than 8 do not fit into a CPU's cache
    loading = Loading(given.batch_size or usual, given.workers)
    run = _run(given, keys, manifest, loading, trainer)
    store: Store | None
    if _is_done(given, made_with(run.provenance, trainer), manifest):
        if trainer.is_global_zero:
            tidy(given.out)
            print(f"{given.out} already holds these embeddings of this manifest; nothing to do.")
        store = Store(given.out)
    else:
        store = _interruptible(
            lambda: extract(
                run.extractor,
                run.provenance,
                manifest,
                given.out,
                dtype=given.dtype,
                loading=loading,
                trainer=trainer,
                overwrite=given.overwrite,
                retry_failed=given.retry_failed,
                save_every=given.save_every,
                progress=True,
            )
        )
    if store is not None and trainer.is_global_zero:
        _report(store, len(manifest.utterances), given.max_failures)


def _parse(argv: list[str]) -> tuple[argparse.Namespace, list[str]]:
    parser = argparse.ArgumentParser(
        prog="m2fnet extract",
        description="Embed every utterance of a manifest. What cannot be read is recorded as missing, with the reason. "
        "If it is interrupted, the same command goes on where it stopped.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--ckpt", type=Path, metavar="RUN", help="run folder of `m2fnet extractor fit`")
    source.add_argument("--config", type=Path, metavar="FILE", help="configuration of an extractor to fit if needed")
    parser.add_argument("--manifest", type=Path, required=True, metavar="DIR", help="folder of `m2fnet prepare`")
    parser.add_argument("--out", type=Path, required=True, metavar="STORE", help="folder for the embeddings")
    parser.add_argument(
        "--batch-size", type=_positive, help="utterances per forward pass (default: 8 on a CPU, elsewhere 64)"
    )
    parser.add_argument("--workers", type=_count, help="processes that read media (default: one per core)")
    parser.add_argument(
        "--dtype", choices=["float32", "float16", "bfloat16"], default="float32", help="of the store (default float32)"
    )
    parser.add_argument(
        "--precision",
        choices=["32-true", "bf16-mixed", "16-mixed"],
        default="32-true",
        help="of the network's arithmetic; mixed ones are faster where the device has them (default 32-true)",
    )
    parser.add_argument("--accelerator", default="auto", help="cpu, gpu, ... (default: a GPU if there is one)")
    parser.add_argument("--devices", default="1", help="how many on each node, auto for all, or which: 0,2 (default 1)")
    parser.add_argument("--nodes", type=_positive, default=1, help="machines that share the work (default 1)")
    parser.add_argument(
        "--save-every", type=_count, default=30, metavar="SECONDS", help="most work that a kill can cost (default 30)"
    )
    again = parser.add_mutually_exclusive_group()
    again.add_argument("--overwrite", action="store_true", help="replace the store that --out holds")
    again.add_argument("--retry-failed", action="store_true", help="try what is missing in the store once more")
    parser.add_argument(
        "--max-failures", type=_count, metavar="N", help="fail if more than N utterances are missing (default: never)"
    )
    given, keys = parser.parse_known_args(argv)
    if given.ckpt is not None and keys:
        raise UsageError(f"{keys[0]!r} is not known; with --ckpt the settings are those of the run.")
    return given, keys


def _is_done(given: argparse.Namespace, provenance: dict[str, Any], manifest: "Manifest") -> bool:
    """Whether the store is there and nothing of it is asked for again; one that is replaced may be damaged."""
    from extractors.extraction.extract import is_store_of
    from m2fnet.store import Store

    if given.overwrite or not is_store_of(given.out, provenance, manifest, given.dtype):
        return False
    return not (given.retry_failed and Store(given.out).missing)


def _interruptible(work: Callable[[], T]) -> T:
    try:
        return work()
    except KeyboardInterrupt:
        print("What is finished is kept; the same command goes on from there.", file=sys.stderr)
        raise


def _run(
    given: argparse.Namespace, keys: list[str], manifest: "Manifest", loading: "Loading", trainer: "pl.Trainer"
) -> "FittedRun | TrainedRun":
    from extractors.runs import closed_form as fitted
    from extractors.runs import trained
    from extractors.runs.settings import read_settings

    if given.ckpt is not None:
        return trained.load(given.ckpt) if trained.is_trained(given.ckpt) else fitted.load(given.ckpt)
    argv = ["--config", str(given.config), "--manifest", str(given.manifest), *keys]
    settings = read_settings(argv, "m2fnet extract")
    if not fitted.is_fit_of(settings.run, settings, manifest):
        if trainer.world_size > 1 and not trainer.is_global_zero:
            raise UsageError("Several processes cannot fit one extractor; fit it before with `m2fnet extractor fit`.")
        print(f"fitting on the training split of {given.manifest}, into {settings.run}")
    return fitted.fit_once(settings, manifest, loading, overwrite=given.overwrite)


def _report(store: "Store", total: int, max_failures: int | None) -> None:
    from extractors.extraction.embedding import as_words

    failures = len(store.missing)
    print(f"{len(store)} of {total} utterances embedded in {store.folder}, {failures} missing")
    reasons = Counter(store.missing.values()).most_common()
    for why, count in reasons[:_REASONS]:
        print(f"  {count:6d}  {why.stage}: {why.reason}")
    if len(reasons) > _REASONS:
        print(f"  and {len(reasons) - _REASONS} other reasons; {store.folder / 'meta.json'} names every one")
    if store.cut:
        print(as_words(store.cut))
    if max_failures is not None and failures > max_failures:
        raise RunError(f"{failures} utterances are missing, more than --max-failures {max_failures} allows.")


def _positive(text: str) -> int:
    return _at_least(1, text)


def _count(text: str) -> int:
    return _at_least(0, text)


def _at_least(least: int, text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) < least:
        raise argparse.ArgumentTypeError(f"expected a whole number of at least {least}, but got {text!r}")
    return int(text)
