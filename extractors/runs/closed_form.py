"""Fitting an extractor in closed form: one pass over the training split, and a linear probe that scores the result."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from extractors.base import FIT_AGAIN, FittedExtractor, PlacedUtterance
from extractors.data import EMBED, ExtractorData
from extractors.evaluation.embedding_scores import Embedded
from extractors.extraction.embedding import cuts, embed_outcomes, embed_samples, names_dead_workers, read
from extractors.extraction.embedding import place_utterances as placed_in
from extractors.runs.folder import NET, TRAINING
from m2fnet.errors import LabelSetsError, RunError
from m2fnet.files import replaced
from m2fnet.records import Split
from m2fnet.store import Missing


class NotScoredError(RunError):
    """A linear probe cannot score these embeddings; the message says why."""


@names_dead_workers
def fit(extractor: FittedExtractor, data: ExtractorData, run: Path, *, seed: int = 0) -> int:
    """Fit ``extractor`` on the training split and write it into the run folder; return the number of utterances.

    Labels are not used. What cannot be read is listed in ``data.missing``, what was cut in ``data.cut``.

    Raises:
        RunError: if nothing in the training split can be read.
    """
    wanted = placed_in(data.manifest, "train")
    outcomes = read(extractor, wanted, data.loading)
    data.missing |= {p.utterance.id: o for p, o in zip(wanted, outcomes, strict=True) if isinstance(o, Missing)}
    samples = {place: outcome for place, outcome in enumerate(outcomes) if not isinstance(outcome, Missing)}
    data.cut |= {wanted[place].utterance.id: cut for place, sample in samples.items() if (cut := cuts(sample))}
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


@names_dead_workers
def embedded(
    extractor: FittedExtractor, data: ExtractorData, run: Path, splits: Sequence[Split], *, is_fitted_on: bool
) -> dict[str, Embedded]:
    """The labelled utterances of every split as ``extractor`` embeds them, with the logits of a linear probe.

    The probe learns from the whole training split, whose embeddings `fit` left in the folder ``run``. Without
    ``is_fitted_on``, which says that it was fitted on ``data``, they are computed again.

    Raises:
        LabelSetsError: if utterances have sets of emotions.
        NotScoredError: if a split has no labelled utterance that can be read, or training has fewer than two emotions.
    """
    if data.manifest.label_set.kind != "single":
        raise LabelSetsError(data.manifest.corpus, "scoring an extractor", EMBED)
    from extractors.evaluation.linear_probe import LinearProbe  # scikit-learn, which embedding does not need

    classes = data.manifest.label_set.classes
    train = placed_in(data.manifest, "train")
    known = _training_embeddings(run) if is_fitted_on else _embed(extractor, data, train)
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


def _embed(extractor: FittedExtractor, data: ExtractorData, wanted: Sequence[PlacedUtterance]) -> dict[int, Tensor]:
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
