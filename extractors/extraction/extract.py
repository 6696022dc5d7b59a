"""Manifest -> store: the embedding of every utterance, or the reason why it has none."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast

import numpy as np
import pytorch_lightning as pl

from extractors.base import Extractor
from extractors.extraction.embedding import Loading, names_dead_workers, place_utterances, plan
from extractors.extraction.inference import Precision, fastest_precision
from extractors.extraction.lightning import EmbeddingTask, KeepParts, trainer_for
from extractors.extraction.progress import Progress
from extractors.extraction.ray_task import RayEngine, RayTask
from m2fnet.errors import StoreError
from m2fnet.files import locked
from m2fnet.manifest import Manifest
from m2fnet.store import Missing, Store
from m2fnet.store.layout import META, StoreMeta
from m2fnet.store.media import media_sha256
from m2fnet.store.parts import Parts, drop_parts, extractor_of_parts, open_parts, tidy, write_store
from m2fnet.store.shards import Shard, agreed
from m2fnet.training.callbacks import print_rank_zero

ANOTHER_STORE = "{} already holds a store; choose another folder, or replace it with --overwrite."


@dataclass(frozen=True)
class Extraction:
    """What `extract` did.

    Attributes:
        store: the finished store; None for a shard, whose store is made when all shards are merged.
        embedded: utterances that this call read, whether they have an embedding now or are missing.
        resumed: utterances that an interrupted call before it had finished.
        kept: utterances taken over from the store that was there, because only what failed was tried again, or because
            nothing was left to do.
    """

    store: Store | None
    embedded: int
    resumed: int = 0
    kept: int = 0

    @property
    def missing(self) -> Mapping[str, Missing]:
        """Id and reason of every utterance that has no embedding."""
        return self.store.missing if self.store is not None else {}


@names_dead_workers
def extract(
    extractor: Extractor,
    provenance: Mapping[str, object],
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
    shard: Shard | None = None,
    ray: RayEngine | None = None,
    precision: Precision | Literal["auto"] = "32-true",
) -> Extraction | None:
    """Write the embeddings of every utterance of ``manifest`` as the store ``out``; return what was done for it.

    If ``out`` already is that store, nothing is done. If an earlier call with the same arguments was interrupted, this
    one resumes, and the final store is byte-identical, however often it was interrupted and however many processes
    shared the work, as long as batch size and threads are the same. A store that is replaced stays valid until the new
    one is complete.

    Args:
        extractor: trained or fitted.
        provenance: what made its weights; goes into ``meta.json``.
        manifest: the utterances to embed; it has been saved, so that the store can name its hash.
        out: folder of the store.
        dtype: number type of the store.
        loading: batch size and worker processes.
        trainer: where it runs; one process on the CPU by default.
        overwrite: make the store again, in place of what ``out`` holds.
        retry_failed: embed only what is missing in the store that ``out`` holds.
        save_every: seconds of work that a kill can cost at most, or one batch if that takes longer.
        progress: report on standard error how far it is.
        shard: embed only this share, for `m2fnet.store.shards.merge_shards`.
        ray: let Ray read and embed; this process keeps what it finds, so the trainer is one of one process.
        precision: of the network's arithmetic; ``auto``: that of the store or the parts that are resumed, otherwise
            `fastest_precision`. In a mixed one the last digits of an embedding also depend on the other utterances in
            the batch.

    Returns:
        What was done; None in all processes but the first, unless nothing was left to do.

    Example:
        >>> import tempfile
        >>> from extractors.text.lsa import LSA
        >>> from m2fnet.records import LabelSet, Utterance
        >>> texts = ["so happy", "so sad", "happy", None]
        >>> said = [Utterance(f"a{n}", "toy", "train", "a", n, "Ann", text) for n, text in enumerate(texts)]
        >>> folder = Path(tempfile.mkdtemp())
        >>> manifest = Manifest("toy", LabelSet("toy", ("joy", "sadness")), tuple(said), folder).save(folder / "data")
        >>> lsa = LSA(width=2, min_df=1)
        >>> lsa.fit([{"text": text} for text in texts if text])
        >>> done = extract(lsa, {"class_path": "extractors.text.lsa.LSA"}, manifest, folder / "text")
        >>> done.embedded, len(done.store), list(done.missing)
        (4, 3, ['a3'])
        >>> extract(lsa, {"class_path": "extractors.text.lsa.LSA"}, manifest, folder / "text").embedded
        0

    Raises:
        StoreError: if ``out`` holds another store or another one's parts, another process writes into it, or an
            embedding is not finite.
        RunError: if a worker process dies, under Ray again and again; the same call resumes.
    """
    loading, trainer = loading or Loading(), trainer or trainer_for()
    old = Store(out) if (out / META).is_file() and not overwrite else None  # one that is replaced may be damaged
    place = out if shard is None else shard.folder(out)
    if precision == "auto":
        device = (
            {"gpu": "cuda", "cpu": "cpu"}[ray.accelerator] if ray is not None else trainer.strategy.root_device.type
        )
        before = old.meta.extractor if old is not None else extractor_of_parts(place)
        precision = _precision_of(before, provenance) or fastest_precision(extractor, device)
        precision = precision if shard is None else cast(Precision, agreed(out, "precision", precision))
    elif shard is not None and (others := agreed(out, "precision", precision)) != precision:
        raise StoreError(
            f"Another shard of {out} is made with --precision {others}, this one would be with {precision}; expected "
            "the same for all. Leave --precision out, or remove the shards and begin again."
        )
    meta = StoreMeta.of(
        manifest,
        modality=extractor.modality,
        width=extractor.width,
        extractor={**provenance, **({} if precision == "32-true" else {"precision": precision})},
        resolution=extractor.resolution,
        dtype=dtype,
    )
    if (
        old is not None
        and _is_made_by(old.meta, meta)
        and old.media_sha256 is not None
        and media_sha256(manifest, extractor.modality, old.__contains__) != old.media_sha256
    ):
        raise StoreError(
            f"{out} holds these embeddings, but media files have been replaced since they were made. Make them "
            "again with --overwrite, or choose another folder."
        )
    if old is not None and _is_made_by(old.meta, meta) and not (retry_failed and old.missing):
        if trainer.is_global_zero:
            tidy(out)
        return Extraction(old, embedded=0, kept=len(manifest.utterances))
    if old is not None and not retry_failed:
        raise StoreError(ANOTHER_STORE.format(out))
    if retry_failed and (old is None or old.meta != meta):
        raise StoreError(
            f"{out} holds no finished store of this extractor, manifest and number type, made with these versions of "
            "the packages, so nothing in it can be tried again; remove --retry-failed from the command."
        )
    wanted = place_utterances(manifest)
    work = (extractor, wanted, loading, precision)
    task = EmbeddingTask(*work) if ray is None else RayTask(*work, ray)
    place.mkdir(parents=True, exist_ok=True)
    callbacks = [KeepParts(place, meta, save_every), *([Progress()] if progress else [])]
    if not trainer.is_global_zero:
        _predict(trainer, task, callbacks)
        return None
    with locked(place, StoreError):
        if old is None and not overwrite and (out / META).is_file():
            raise StoreError(f"Another process has just finished the store {out}; run the command again.")
        parts = open_parts(place, meta, discard_others=overwrite)
        resumed, is_left = 0, np.ones(len(task.wanted), bool)
        for number, placed in enumerate(task.wanted):
            is_finished = placed.utterance.id in parts
            resumed += is_finished
            is_left[number] = not is_finished and (old is None or placed.utterance.id not in old)
        if progress and resumed:
            print_rank_zero(f"{resumed} utterances were finished by an earlier run and are not embedded again.")
        batches = plan(extractor, task.wanted, loading.batch_size)  # of an uninterrupted run: the same embeddings
        batches = batches if shard is None else shard.share(batches)
        task.left = [rest for batch in batches if (rest := [number for number in batch if is_left[number]])]
        _predict(trainer, task, callbacks)
        if shard is not None:
            return Extraction(None, sum(map(len, task.left)), resumed)
        finished = Parts([out], meta)  # of all processes
        write_store(out, manifest, meta, finished.__getitem__, old=old)
        drop_parts(out)
    return Extraction(Store(out), int(is_left.sum()), resumed, kept=0 if old is None else len(old))


def _precision_of(made: Mapping[str, object], provenance: Mapping[str, object]) -> Precision | None:
    """In which precision the extractor of this provenance has made embeddings; None if another has, or none."""
    others = {name: value for name, value in made.items() if name != "precision"}
    return cast(Precision, made.get("precision", "32-true")) if made and others == dict(provenance) else None


def _is_made_by(found: StoreMeta, wanted: StoreMeta) -> bool:
    """Whether a store was made by the same extractor from the same manifest, with any version of the packages."""
    return all(getattr(found, name) == getattr(wanted, name) for name in ("extractor", "manifest_sha256", "dtype"))


def _predict(trainer: pl.Trainer, task: EmbeddingTask, callbacks: Sequence[pl.Callback]) -> None:
    """Embed until all processes are done; the trainer has ``callbacks`` this once, in addition to its usual ones."""
    usual = list(trainer.callbacks)  # type: ignore[attr-defined]  # its class does not declare them
    trainer.callbacks = [*usual, *callbacks]  # type: ignore[attr-defined]
    try:
        with task.running():
            trainer.predict(task, return_predictions=False)
    except SystemExit:  # what Lightning makes of Ctrl-C
        raise KeyboardInterrupt from None
    finally:
        trainer.callbacks = usual  # type: ignore[attr-defined]
    trainer.strategy.barrier()
