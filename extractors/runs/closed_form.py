"""Extractors that are not trained: fitted in one pass over the training split, or an encoder that is read as it is.

A linear probe scores the result, and chooses the layer of an encoder if it is asked to.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from extractors.base import FIT_AGAIN, Extractor, FittedExtractor, PlacedUtterance
from extractors.data import EMBED, ExtractorData
from extractors.evaluation.embedding_scores import Embedded
from extractors.extraction.embedding import (
    Loading,
    Reading,
    cuts,
    embed_outcomes,
    embed_samples,
    names_dead_workers,
    read,
)
from extractors.extraction.embedding import place_utterances as placed_in
from extractors.extraction.embedding import plan as batches_of
from extractors.layers.encoder import EncoderExtractor
from extractors.runs.folder import NET, TRAINING
from m2fnet.errors import LabelSetsError, RunError
from m2fnet.files import replaced
from m2fnet.records import Split
from m2fnet.store import Missing

MOST_FITTED = 100_000  # utterances; with all n-grams of more, LSA would need several gigabytes


class NotScoredError(RunError):
    """A linear probe cannot score these embeddings; the message says why."""


@names_dead_workers
def fit(extractor: FittedExtractor, data: ExtractorData, run: Path, *, seed: int = 0) -> int:
    """Fit ``extractor`` on the training split and write it into the run folder; return the number of utterances.

    Of a larger split `MOST_FITTED` utterances are drawn: its directions do not change with more. Labels are not used.
    What cannot be read is listed in ``data.missing``, what was cut in ``data.cut``.

    Raises:
        RunError: if nothing in the training split can be read.
    """
    train = placed_in(data.manifest, "train")
    places: Sequence[int] = range(len(train))
    if len(train) > MOST_FITTED:
        drawn = torch.randperm(len(train), generator=torch.Generator().manual_seed(seed))[:MOST_FITTED]
        places = drawn.sort().values.tolist()
    wanted = [train[place] for place in places]
    outcomes = read(extractor, wanted, data.loading)
    data.missing |= {p.utterance.id: o for p, o in zip(wanted, outcomes, strict=True) if isinstance(o, Missing)}
    samples = {place: o for place, o in zip(places, outcomes, strict=True) if not isinstance(o, Missing)}
    data.cut |= {train[place].utterance.id: cut for place, sample in samples.items() if (cut := cuts(sample))}
    if not samples:
        why = next((f" The first: {missing.stage}: {missing.reason}." for missing in data.missing.values()), "")
        raise RunError(
            f"None of the {len(outcomes)} utterances of the training split can be read as {extractor.modality}.{why} "
            "Check the manifest, or use an extractor of another modality."
        )
    extractor.fit(list(samples.values()), seed=seed)
    extractor.save(run / NET)
    embeddings = embed_samples(extractor, list(samples.values()), data.loading)
    with replaced(run / TRAINING) as temporary:  # what a probe learns from, so that scoring never reads train again
        save_file({"places": torch.tensor(list(samples)), "embeddings": torch.stack(embeddings)}, temporary)
    return len(samples)


@dataclass(frozen=True)
class LayerScores:
    """What a linear probe made of each layer of an encoder.

    Attributes:
        dev_weighted_f1: by the number of the layer.
        chosen: the layer with the highest, of equal ones the lowest.
        utterances: how many of train the probe learnt from.
    """

    dev_weighted_f1: Mapping[int, float]
    chosen: int
    utterances: int


@names_dead_workers
def choose_layer(extractor: EncoderExtractor, data: ExtractorData, run: Path, loading: Loading) -> LayerScores:
    """Let a linear probe that learns from train and is scored on dev choose the layer that ``extractor`` reads.

    The chosen layer's embeddings of train are left in the folder ``run`` for `embedded`.

    Raises:
        LabelSetsError: if utterances have sets of emotions.
        RunError: if a split has no labelled utterance that can be read, or training has fewer than two emotions.
    """
    if data.manifest.label_set.kind != "single":
        raise LabelSetsError(data.manifest.corpus, "choosing a layer", "Name one with `layers`.")
    from extractors.evaluation.linear_probe import linear_probe  # scikit-learn, which embedding does not need

    sides = []
    for split in ("train", "dev"):
        wanted = [p for p in placed_in(data.manifest, split) if p.utterance.label is not None]
        found = dict(_by_layer(extractor, data, wanted, loading))
        places = sorted(found)
        if not places:
            raise RunError(
                f"layers: auto needs labelled utterances in train and dev, but none of {split} can be read as "
                f"{extractor.modality}. Check the manifest, or name a layer."
            )
        labels = [str(wanted[place].utterance.label) for place in places]
        sides.append(
            ([wanted[place].utterance.id for place in places], torch.stack([found[p] for p in places]), labels)
        )
    (ids, train, train_labels), (_, dev, dev_labels) = sides
    scores = {
        number: float(linear_probe(train[:, n], train_labels, dev[:, n], dev_labels)["weighted_f1"])
        for n, number in enumerate(extractor.readout.numbers)
    }
    chosen = max(scores, key=lambda number: (scores[number], -number))
    embeddings = train[:, extractor.readout.numbers.index(chosen)].contiguous()
    places_in_train = {p.utterance.id: place for place, p in enumerate(placed_in(data.manifest, "train"))}
    with replaced(run / TRAINING) as temporary:
        save_file(
            {"places": torch.tensor([places_in_train[name] for name in ids]), "embeddings": embeddings}, temporary
        )
    extractor.choose(chosen)
    return LayerScores(scores, chosen, len(ids))


@torch.inference_mode()
def _by_layer(
    extractor: EncoderExtractor, data: ExtractorData, wanted: Sequence[PlacedUtterance], loading: Loading
) -> Iterator[tuple[int, Tensor]]:
    """Place and pooled vectors (L, D) of every layer, of what can be read."""
    extractor.eval().to(loading.device)
    batches = batches_of(extractor, wanted, loading.batch_size)
    for batch in Reading(extractor, wanted, batches, loading.workers_for(extractor)):
        if batch["inputs"] is not None:
            given = {name: v.to(loading.device) if isinstance(v, Tensor) else v for name, v in batch["inputs"].items()}
            rows = iter(extractor.by_layer(given).cpu())
        for place, why, cut in zip(batch["places"], batch["missing"], batch["cut"], strict=True):
            name = wanted[place].utterance.id
            if why is not None:
                data.missing[name] = Missing(*why)
            else:
                data.cut |= {name: cut} if cut else {}
                yield place, next(rows)


@names_dead_workers
def embedded(
    extractor: Extractor, data: ExtractorData, run: Path, splits: Sequence[Split], *, is_fitted_on: bool
) -> dict[str, Embedded]:
    """The labelled utterances of every split as ``extractor`` embeds them, with the logits of a linear probe.

    The probe learns from the whole training split, whose embeddings `fit` left in the folder ``run``. Without
    ``is_fitted_on``, which says that it was fitted on ``data``, they are computed again.

    Raises:
        LabelSetsError: if utterances have sets of emotions.
        NotScoredError: if a split has no labelled utterance that can be read, training has fewer than two emotions, or
            utterances have sequences of vectors.
    """
    if extractor.resolution == "frame":
        raise NotScoredError("a linear probe needs one vector per utterance, but this extractor gives sequences.")
    if data.manifest.label_set.kind != "single":
        raise LabelSetsError(data.manifest.corpus, "scoring an extractor", EMBED)
    from extractors.evaluation.linear_probe import LinearProbe  # scikit-learn, which embedding does not need

    classes = data.manifest.label_set.classes
    train = placed_in(data.manifest, "train")
    # an encoder whose layer no probe chose has not read the training split yet
    is_kept = is_fitted_on and (isinstance(extractor, FittedExtractor) or (run / TRAINING).is_file())
    known = _training_embeddings(run) if is_kept else _embed(extractor, data, train)
    training = _labelled(train, known)
    if len(set(training[1])) < 2:
        raise NotScoredError("The linear probe needs two emotions among the training utterances, but got fewer.")
    probe = LinearProbe(*training)
    found: dict[str, Embedded] = {}
    for split in splits:
        wanted = [p for p in placed_in(data.manifest, split) if p.utterance.label is not None]
        made = _embed(extractor, data, wanted)
        if not made:
            raise NotScoredError(f"No labelled utterance of the {split} split can be read as {extractor.modality}.")
        embeddings, labels = _labelled(wanted, made)
        logits = probe.probabilities(embeddings, classes).clamp_min(torch.finfo(torch.float32).tiny).log()
        numbers = torch.tensor([classes.index(label) for label in labels])
        found[split] = Embedded(torch.tensor(list(made)), numbers, embeddings, logits)
    return found


def _embed(extractor: Extractor, data: ExtractorData, wanted: Sequence[PlacedUtterance]) -> dict[int, Tensor]:
    """Place -> embedding of what can be read."""
    outcomes = embed_outcomes(extractor, wanted, data.loading)
    data.missing |= {outcome.id: outcome.result for outcome in outcomes if isinstance(outcome.result, Missing)}
    data.cut |= {outcome.id: dict(outcome.cut) for outcome in outcomes if outcome.cut}
    return {place: o.result for place, o in enumerate(outcomes) if not isinstance(o.result, Missing)}


def _training_embeddings(run: Path) -> dict[int, Tensor]:
    """Place -> embedding of the training utterances that could be read."""
    try:
        content = load_file(run / TRAINING)
        return dict(zip(content["places"].tolist(), content["embeddings"], strict=True))
    except (OSError, SafetensorError, KeyError, ValueError) as problem:
        raise RunError(f"Cannot read {run / TRAINING}: {problem}. {FIT_AGAIN}") from problem


def _labelled(placed: Sequence[PlacedUtterance], embeddings: Mapping[int, Tensor]) -> tuple[Tensor, list[str]]:
    """Embeddings (N, D) and labels of the utterances that are labelled."""
    pairs = [(v, label) for place, v in embeddings.items() if (label := placed[place].utterance.label) is not None]
    return torch.stack([v for v, _ in pairs]) if pairs else torch.empty(0, 1), [label for _, label in pairs]
