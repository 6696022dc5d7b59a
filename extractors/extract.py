"""Manifest -> store: the embedding of every utterance, or the reason why it has none."""

from collections import Counter
from pathlib import Path
from typing import Any

from tqdm import tqdm

from extractors.base import Extractor
from extractors.embedding import Loading, embed, names_dead_workers, turns
from m2fnet.manifest import Manifest
from m2fnet.store import Missing, Store, StoreWriter
from m2fnet.store.layout import META


@names_dead_workers
def extract(
    extractor: Extractor,
    provenance: dict[str, Any],
    manifest: Manifest,
    out: Path,
    *,
    dtype: str = "float32",
    loading: Loading | None = None,
    progress: bool = False,
) -> Counter[Missing]:
    """Write the store ``out`` and return how many utterances are missing for which reason.

    Args:
        extractor: a trained or fitted extractor.
        provenance: what made its weights; goes into ``meta.json``.
        manifest: the utterances to embed.
        out: folder of the store; must not hold one already.
        dtype: number type of the store.
        loading: batch size, worker processes and device.
        progress: show a bar with utterances per second.

    Raises:
        StoreError: if ``out`` already holds a store or an embedding is not finite.
        RunError: if a worker process dies; what was written is no store then.
    """
    missing: Counter[Missing] = Counter()
    wanted = turns(manifest)
    with StoreWriter(
        out,
        manifest,
        modality=extractor.modality,
        width=extractor.width,
        resolution=extractor.resolution,
        extractor=provenance,
        dtype=dtype,
    ) as writer:
        found = embed(extractor, wanted, loading or Loading())
        for turn, embedding in tqdm(
            found, total=len(wanted), unit="utterance", desc=extractor.modality, disable=not progress
        ):
            if isinstance(embedding, Missing):
                writer.add_missing(turn.utterance.id, embedding)
                missing[embedding] += 1
            else:
                writer.add(turn.utterance.id, embedding)
    return missing


def is_store_of(out: Path, provenance: dict[str, Any], manifest: Manifest, dtype: str) -> bool:
    """Whether ``out`` already is the store that `extract` would write."""
    if not (out / META).is_file():
        return False
    meta = Store(out).meta
    return (meta.extractor, meta.manifest_sha256, meta.dtype) == (provenance, manifest.sha256, dtype)
