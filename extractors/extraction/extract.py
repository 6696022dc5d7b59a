"""Manifest -> store: the embedding of every utterance, or the reason why it has none."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytorch_lightning as pl

from extractors.base import Extractor, PlacedUtterance
from extractors.extraction.embedding import Loading, names_dead_workers, place_utterances, plan
from extractors.extraction.lightning import EmbeddingTask, KeepParts, trainer_for
from extractors.extraction.progress import Progress
from m2fnet.errors import StoreError
from m2fnet.files import locked
from m2fnet.manifest import Manifest
from m2fnet.store import Store, StoreWriter
from m2fnet.store.layout import META, Outcome, StoreMeta
from m2fnet.store.parts import Parts, drop_parts, open_parts
from m2fnet.training.callbacks import print_rank_zero


@names_dead_workers
def extract(
    extractor: Extractor,
    provenance: dict[str, Any],
    manifest: Manifest,
    out: Path,
    *,
    dtype: str = "float32",
    loading: Loading | None = None,
    trainer: pl.Trainer | None = None,
    overwrite: bool = False,
    retry_failed: bool = False,
    save_every: float = 30.0,
    progress: bool = False,
) -> Store | None:
    """Write the store ``out``, or finish it if an earlier run with the same arguments was interrupted.

    The store is the same, byte by byte, however often the work was interrupted and however many processes shared it,
    as long as batch size and threads are the same. A store that is replaced stays valid until the new one is whole.

    Args:
        extractor: a trained or fitted extractor.
        provenance: what made its weights; goes into ``meta.json``.
        manifest: the utterances to embed.
        out: folder of the store.
        dtype: number type of the store.
        loading: batch size and worker processes.
        trainer: where it runs; one process on the CPU by default.
        overwrite: make the store anew, in place of what ``out`` holds.
        retry_failed: embed only what is missing in the store that ``out`` holds.
        save_every: seconds of work that a kill can cost at most, or one batch if that takes longer.
        progress: tell how far it is.

    Returns:
        The store; None in all processes but the first.

    Raises:
        StoreError: if ``out`` holds another store or another one's parts, another process writes into it, or an
            embedding is not finite.
        RunError: if a worker process dies; the same call goes on behind what was finished.
    """
    loading, trainer = loading or Loading(), trainer or trainer_for()
    meta = _meta(extractor, made_with(provenance, trainer), manifest, dtype)
    task = EmbeddingTask(extractor, place_utterances(manifest), loading)
    callbacks = [KeepParts(out, meta, save_every), *([Progress()] if progress else [])]
    if not trainer.is_global_zero:
        _predict(trainer, task, callbacks)
        return None
    with locked(out, StoreError):
        kept = _kept(out, meta, overwrite=overwrite, retry_failed=retry_failed)
        parts = open_parts(out, meta, discard_others=overwrite)
        if progress and len(parts):
            print_rank_zero(f"{len(parts)} utterances were finished by an earlier run and are not embedded again.")
        task.left = _left(task, loading.batch_size, parts, kept)
        _predict(trainer, task, callbacks)
        _put_together(out, manifest, meta, task.wanted, kept)
        drop_parts(out)
    return Store(out)


def made_with(provenance: dict[str, Any], trainer: pl.Trainer) -> dict[str, Any]:
    """``provenance``, with the precision of ``trainer`` where it is less than single."""
    return provenance if trainer.precision == "32-true" else {**provenance, "precision": trainer.precision}


def is_store_of(out: Path, provenance: dict[str, Any], manifest: Manifest, dtype: str) -> bool:
    """Whether ``out`` already is the store that `extract` would write; ``provenance`` as of `made_with`."""
    if not (out / META).is_file():
        return False
    meta = Store(out).meta
    return (meta.extractor, meta.manifest_sha256, meta.dtype) == (provenance, manifest.sha256, dtype)


def _meta(extractor: Extractor, provenance: dict[str, Any], manifest: Manifest, dtype: str) -> StoreMeta:
    return StoreMeta.of(
        manifest,
        modality=extractor.modality,
        width=extractor.width,
        extractor=provenance,
        resolution=extractor.resolution,
        dtype=dtype,
    )


def _kept(out: Path, meta: StoreMeta, *, overwrite: bool, retry_failed: bool) -> Store | None:
    """The store in ``out`` whose embeddings are taken over; None if nothing is."""
    is_there = (out / META).is_file()
    if not retry_failed:
        if is_there and not overwrite:
            raise StoreError(f"{out} already holds a store; choose another folder, or replace it with --overwrite.")
        return None
    store = Store(out) if is_there else None
    if store is None or store.meta != meta:
        raise StoreError(
            f"{out} holds no finished store of this extractor, manifest and number type, made with these versions of "
            "the packages, so nothing in it can be tried again; leave out --retry-failed."
        )
    return store


def _left(task: EmbeddingTask, batch_size: int, parts: Parts, kept: Store | None) -> list[list[int]]:
    """Places of what is not done yet, in the batches of an uninterrupted run: only so are the embeddings the same."""
    is_done = [t.utterance.id in parts or (kept is not None and t.utterance.id in kept) for t in task.wanted]
    planned = plan(task.extractor, task.wanted, batch_size)
    batches = ([place for place in batch if not is_done[place]] for batch in planned)
    return [batch for batch in batches if batch]


def _predict(trainer: Any, task: EmbeddingTask, callbacks: Sequence[pl.Callback]) -> None:  # noqa: ANN401
    """Embed until all processes are done, with ``callbacks`` for this once beside the trainer's own."""
    own = list(trainer.callbacks)  # an attribute that its class does not declare
    trainer.callbacks = [*own, *callbacks]
    try:
        trainer.predict(task, return_predictions=False)
    except SystemExit:  # what Lightning makes of Ctrl-C
        raise KeyboardInterrupt from None
    finally:
        trainer.callbacks = own
    trainer.strategy.barrier()


def _put_together(
    out: Path, manifest: Manifest, meta: StoreMeta, wanted: Sequence[PlacedUtterance], kept: Store | None
) -> None:
    """Write what all processes have finished as a store, in the order of the manifest."""
    parts = Parts(out, meta)
    writer = StoreWriter(
        out,
        manifest,
        modality=meta.modality,
        width=meta.width,
        extractor=meta.extractor,
        resolution=meta.resolution,
        dtype=meta.dtype,
        replaces=True,
        cut=kept.cut if kept is not None else None,
    )
    with writer:
        for name in (placed.utterance.id for placed in wanted):
            writer.put(parts[name] if kept is None or name not in kept else Outcome(name, kept[name]))
