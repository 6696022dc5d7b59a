"""``m2fnet extract``: a manifest and an extractor -> a store of embeddings."""

import argparse
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from m2fnet.errors import RunError, UsageError
from m2fnet.formatting import did_you_mean
from m2fnet.training.ray_cluster import add_engine_options, refuse_without_ray

if TYPE_CHECKING:
    import pytorch_lightning as pl

    from extractors.extraction.extract import Extraction
    from extractors.extraction.ray_task import RayEngine
    from m2fnet.store.shards import Shard

_REASONS = 20  # why utterances are missing: so many are listed
# configurations that read vectors and sequences, of utterances with one emotion or a set of them
_NETWORKS = {"utterance": "m2fnet_best", "frame": "m2fnet_frames"}

EPILOG = """\
With --config, keys of the configuration file may follow (--run DIR,
--seed_everything N, --model.net.width N ...). An extractor that needs one
pass over the training split is fitted first if its run folder has no fit of
these settings on this manifest. A network has to be trained before, by
`m2fnet extractor fit`; then --ckpt names its run folder.

Several devices, and several machines, as with Lightning:
  m2fnet extract ... --devices 4
      four processes of this machine
  srun m2fnet extract ... --devices 4 --nodes 2
      in a SLURM job of 2 nodes with 4 tasks each
  torchrun --nproc-per-node 4 -m -- m2fnet.cli extract ... --devices 4
      what torchrun starts

Ray, on this machine or in a cluster, where machines may come and go:
  m2fnet extract ... --engine ray
      starts Ray here and ends it afterwards
  m2fnet extract ... --engine ray --address 10.0.0.1:6379 --accelerator gpu
      joins a cluster; all machines see the media at the same paths
"""


def main(argv: list[str]) -> None:
    """Run ``m2fnet extract {--ckpt RUN | --config FILE} --manifest DIR --out STORE``."""
    given, keys = _parse(argv)
    from extractors.extraction.embedding import Loading
    from extractors.extraction.extract import extract
    from extractors.extraction.lightning import trainer_for
    from extractors.runs.folder import load
    from m2fnet.manifest import Manifest
    from m2fnet.training.threads import limit_threads, own_threads

    manifest = Manifest.load(given.manifest)
    ray = _ray_engine(given)
    trainer = trainer_for() if ray else trainer_for(given.accelerator, given.devices, given.nodes)
    computes_on = ray.accelerator if ray else trainer.strategy.root_device.type
    if computes_on == "cpu" and given.precision == "16-mixed":
        raise UsageError("--precision 16-mixed needs a GPU; on a CPU bf16-mixed is the faster one.")
    run = load(given.ckpt, given.output) if given.ckpt is not None else load(_fitted(given, keys, trainer))
    usual = run.extractor.batch_size_on_cpu if computes_on == "cpu" else 64
    try:
        with own_threads():
            limit_threads(given.threads, usual=None)
            extraction = extract(
                run.extractor,
                run.provenance,
                manifest,
                given.out,
                dtype=given.dtype,
                loading=Loading(given.batch_size or usual, given.workers),
                trainer=trainer,
                overwrite=given.overwrite,
                retry_failed=given.retry_failed,
                save_every=given.save_every,
                progress=not given.quiet,
                shard=given.shard,
                ray=ray,
                precision=given.precision,
            )
    except KeyboardInterrupt:
        print("What is finished is kept; the same command resumes.", file=sys.stderr)
        raise
    if extraction is not None and trainer.is_global_zero:
        _report(extraction, given)


def _parse(argv: list[str]) -> tuple[argparse.Namespace, list[str]]:
    parser = argparse.ArgumentParser(
        prog="m2fnet extract",
        description="Embed every utterance of a manifest. What cannot be read is recorded as\nmissing, with the "
        "reason. If it is interrupted, the same command resumes.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--ckpt", type=Path, metavar="RUN", help="run folder of `m2fnet extractor fit`")
    source.add_argument("--config", type=Path, metavar="FILE", help="configuration of an extractor to fit if needed")
    parser.add_argument(
        "--output", metavar="NAME", help="with --ckpt: which embedding of an extractor that gives several"
    )
    parser.add_argument("--manifest", type=Path, required=True, metavar="DIR", help="folder of `m2fnet prepare`")
    parser.add_argument("--out", type=Path, required=True, metavar="STORE", help="folder for the embeddings")
    parser.add_argument(
        "--batch-size",
        type=_positive,
        help="utterances per forward pass (default: 8 on a CPU, with LSA 256, elsewhere 64)",
    )
    parser.add_argument("--workers", type=_count, help="processes that read media (default: one per core)")
    parser.add_argument(
        "--dtype", choices=["float32", "float16", "bfloat16"], default="float32", help="of the store (default float32)"
    )
    parser.add_argument(
        "--precision",
        choices=["auto", "32-true", "bf16-mixed", "16-mixed"],
        default="auto",
        help="of a network's arithmetic; auto: that of the store or the parts that are resumed, otherwise bf16-mixed "
        "where it is faster (CPUs with AMX, most GPUs) and 32-true elsewhere (default auto)",
    )
    parser.add_argument("--accelerator", default="auto", help="cpu, gpu, ... (default: a GPU if there is one)")
    parser.add_argument("--devices", default="1", help="how many on each node, auto for all, or which: 0,2 (default 1)")
    parser.add_argument("--nodes", type=_positive, default=1, help="machines that share the work (default 1)")
    parser.add_argument(
        "--save-every", type=_count, default=30, metavar="SECONDS", help="most work that a kill can cost (default 30)"
    )
    parser.add_argument(
        "--shard",
        type=_shard,
        metavar="K/N",
        help="embed one of N equal shares, for the jobs of an array; `m2fnet store merge` makes the store of them",
    )
    add_engine_options(parser)
    parser.add_argument(
        "--actors",
        type=_positive,
        metavar="N",
        help="with Ray: most processes that hold the extractor (default: one "
        "per GPU, or one per machine); --workers N is then how many batches are read at the same time",
    )
    again = parser.add_mutually_exclusive_group()
    again.add_argument("--overwrite", action="store_true", help="replace the store that --out holds")
    again.add_argument("--retry-failed", action="store_true", help="try what is missing in the store once more")
    parser.add_argument(
        "--max-failures", type=_count, metavar="N", help="fail if more than N utterances are missing (default: never)"
    )
    parser.add_argument("--threads", type=_positive, metavar="N", help="of torch on the CPU (default: all cores)")
    parser.add_argument("--quiet", action="store_true", help="no progress")
    given, keys = parser.parse_known_args(argv)
    if given.shard is not None and (given.overwrite or given.retry_failed):
        raise UsageError("--shard begins a new store or resumes one; choose another --out instead of replacing one.")
    refuse_without_ray(given, "actors")
    if given.engine == "ray":
        if (given.devices, given.nodes) != ("1", 1):
            raise UsageError("--devices and --nodes are Lightning's; with --engine ray use --actors and --workers.")
        if given.threads is not None:
            raise UsageError("--threads is for this process; with --engine ray other processes compute, so remove it.")
        if given.workers == 0:
            raise UsageError("--workers is 0, but with --engine ray other processes read; expected at least 1.")
    if given.ckpt is None and given.output is not None:
        raise UsageError("--output chooses an embedding of a trained run; with --config set model.net.output.")
    if given.ckpt is not None and keys:
        like_it = did_you_mean(keys[0].partition("=")[0], parser._option_string_actions)
        raise UsageError(f"{keys[0]!r} is not known; with --ckpt the settings are those of the run.{like_it}")
    for key in ("--dry-run", "--checkpoint", "--select"):
        if any(text.partition("=")[0] == key for text in keys):
            raise UsageError(f"{key} is an option of `m2fnet extractor`, not of `m2fnet extract`.")
    return given, keys


def _ray_engine(given: argparse.Namespace) -> "RayEngine | None":
    """Where Ray embeds; None if it does not."""
    if given.engine != "ray":
        return None
    import torch

    from extractors.extraction.ray_task import RayEngine

    on = {"auto": "gpu" if torch.cuda.is_available() else "cpu", "cuda": "gpu"}.get(
        given.accelerator, given.accelerator
    )
    if on not in ("cpu", "gpu"):
        raise UsageError(f"--accelerator is {given.accelerator!r}; with --engine ray expected cpu or gpu.")
    return RayEngine(given.address, on, given.actors)


def _fitted(given: argparse.Namespace, keys: list[str], trainer: "pl.Trainer") -> Path:
    """The run folder of the configuration, fitted now if that is not done."""
    from extractors.commands import extractor

    fit = ["fit", "--config", str(given.config), "--data.manifest", str(given.manifest), *keys, "--quiet"]
    if given.workers is not None:
        fit.append(f"--data.workers={given.workers}")
    if given.threads is not None:
        fit.append(f"--threads={given.threads}")
    if trainer.world_size > 1 and not trainer.is_global_zero:
        return extractor.train([*fit, "--dry-run"])
    replaces = given.overwrite or given.retry_failed
    out = None if replaces else given.out
    return extractor.fit_for_extraction([*fit, *(["--overwrite"] if given.overwrite else [])], out)


def _report(extraction: "Extraction", given: argparse.Namespace) -> None:
    from extractors.extraction.embedding import as_words

    store, missing = extraction.store, extraction.missing
    if store is None:
        print(
            f"Embedded {extraction.embedded} utterances of this shard. When all shards are done: "
            f"m2fnet store merge {given.out} --manifest {given.manifest}"
        )
        return
    if not extraction.embedded and not extraction.resumed:
        print(f"{store.folder} already holds these embeddings of this manifest; nothing to do.")
    print(f"{len(store)} of {len(store) + len(missing)} utterances embedded in {store.folder}, {len(missing)} missing")
    reasons = Counter(missing.values()).most_common()
    for why, count in reasons[:_REASONS]:
        print(f"  {count:6d}  {why.stage}: {why.reason}")
    if len(reasons) > _REASONS:
        print(f"  and {len(reasons) - _REASONS} other reasons; {store.folder / 'meta.json'} names every one")
    if store.cut:
        print(as_words(store.cut))
    name, config = store.meta.modality, _NETWORKS[store.meta.resolution]
    print(
        f"Next: m2fnet dialog fit --config conf/dialog/{config}.yaml --data.manifest {given.manifest} "
        f"--data.stores '{{{name}: {store.folder}}}' --data.streams '[{name}]'"
    )
    if given.max_failures is not None and len(missing) > given.max_failures:
        raise RunError(f"{len(missing)} utterances are missing, more than --max-failures {given.max_failures} allows.")


def _shard(text: str) -> "Shard":
    from m2fnet.store.shards import Shard  # imports torch

    return Shard.parse(text)


def _positive(text: str) -> int:
    return _at_least(1, text)


def _count(text: str) -> int:
    return _at_least(0, text)


def _at_least(least: int, text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) < least:
        raise argparse.ArgumentTypeError(f"expected a whole number of at least {least}, but got {text!r}")
    return int(text)
