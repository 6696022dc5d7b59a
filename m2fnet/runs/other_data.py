"""Scoring a run on other data than it was trained on: which data are its own, what others are called, their labels."""

import hashlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import yaml

from m2fnet.errors import StoreError, UsageError
from m2fnet.files import read_json
from m2fnet.manifest import META as MANIFEST
from m2fnet.manifest import Manifest
from m2fnet.records import LabelSet, Utterance
from m2fnet.runs.folder import PROVENANCE
from m2fnet.runs.provenance import Input, Provenance, store_sha256
from m2fnet.store.layout import ADVICE as EXTRACT
from m2fnet.store.layout import META as STORE

_KINDS = {"single": "one emotion", "multi": "a set of emotions"}
_FORM = "Expected a=b,c=d, or a file with one a=b per line or a YAML mapping: their label, then the run's."


@dataclass(frozen=True)
class OtherData:
    """Data that a run is scored on and was not trained on.

    Attributes:
        corpus: name of their corpus.
        trained_on: name of the run's corpus, as far as it is known, or else of the folder of its manifest.
        folder: name of the folder in the run that gets their results.
        inputs: what differs from the data of the run: ``"manifest"`` or the name of a stream -> the other folder.
    """

    corpus: str
    trained_on: str
    folder: str
    inputs: Mapping[str, Input]

    def sentence(self, run: Path) -> str:
        """What is scored, for the user."""
        named = ", ".join(f"{name} {noted.folder}" for name, noted in self.inputs.items())
        return (
            f"{run} was trained on {self.trained_on} and is scored on other data, {self.corpus} ({named}). The results "
            f"are written into {run / self.folder}; the run's own report stays as it is."
        )

    def facts(self, label_map: str | None, lost: Mapping[str, int]) -> dict[str, object]:
        """What a report on these data holds about them.

        Args:
            label_map: as it was typed; None if it was not.
            lost: label -> number of utterances that are context only, because the run has no such emotion.
        """
        inputs = {name: noted.folder for name, noted in self.inputs.items()}
        return {
            "trained_on": self.trained_on,
            "other_data": {"inputs": inputs, "label_map": label_map, "context_only": dict(lost)},
        }


def other_data(
    run: Path, manifest: Manifest, folder: str, stores: Mapping[str, Input], *, retrain: str
) -> OtherData | None:
    """The data that are not those of ``run``; None if all are, or if it is unknown what the run was trained on.

    Args:
        run: the run folder.
        manifest: that the run is scored on.
        folder: of that manifest.
        stores: stream -> store, of the same.
        retrain: what to do if the data of the run have been replaced.

    Raises:
        UsageError: if a folder that the run was trained on now holds something else, or a store was made by another
            extractor than that of the run.
    """
    if not (run / PROVENANCE).exists():
        return None
    provenance = Provenance.read(run)
    before = {"manifest": provenance.manifest, **provenance.stores}
    now = {"manifest": Input(folder, manifest.sha256), **stores}
    different = {name: noted for name, noted in now.items() if name in before and noted.sha256 != before[name].sha256}
    if not different:
        return None
    replaced = [name for name, noted in different.items() if _place(noted, None) == _place(before[name], provenance)]
    if replaced:
        named = " ".join(
            f"{now[name].folder} has SHA-256 {now[name].sha256[:12]}…, but the run was made from "
            f"{before[name].sha256[:12]}…."
            for name in replaced
        )
        raise UsageError(f"{run} was trained on other data, which have been replaced since: {named} {retrain}")
    for name in different.keys() - {"manifest"}:
        _refuse_other_extractor(run, name, provenance, before[name], different[name])
    digest = hashlib.sha256("\n".join(f"{name} {of.sha256}" for name, of in sorted(now.items())).encode()).hexdigest()
    trained_on = Path(provenance.manifest.folder)
    return OtherData(
        corpus=manifest.corpus,
        trained_on=str(_fact(_found(trained_on, provenance) / MANIFEST, "corpus") or trained_on.name),
        folder=f"on-{_file_name(manifest.corpus)}-{digest[:8]}",
        inputs=different,
    )


def relabelled(
    manifest: Manifest, label_set: LabelSet, label_map: Mapping[str, str | None], *, needs_labels: bool = True
) -> tuple[Manifest, dict[str, int]]:
    """``manifest`` with the emotions of ``label_set``, and label -> number of utterances that lost it.

    An utterance with a label that has no counterpart is context only. A label without an entry in ``label_map`` means
    the emotion of the same name.

    Args:
        manifest: of another corpus.
        label_set: of the run.
        label_map: their label -> the run's, or None if it has no counterpart.
        needs_labels: False where nothing is scored; a label that cannot be understood is then dropped.

    Raises:
        UsageError: if a label has no counterpart and the map does not say so, or a name is unknown.

    Example:
        >>> said = (Utterance("a_0", "b", "test", "a", 0, label="happy"), Utterance("a_1", "b", "test", "a", 1))
        >>> theirs = Manifest("b", LabelSet("b", ("happy", "sad")), said)
        >>> found, lost = relabelled(theirs, LabelSet("a", ("joy", "anger")), {"happy": "joy", "sad": None})
        >>> found.utterances[0].label, lost
        ('joy', {})
    """
    theirs = manifest.label_set
    if theirs.kind != label_set.kind:
        if needs_labels:
            raise UsageError(
                f"The run answers {_KINDS[label_set.kind]} per utterance, but {manifest.corpus} is labelled with "
                f"{_KINDS[theirs.kind]}; expected the same kind."
            )
        label_map = dict.fromkeys(theirs.classes)
    if unknown := [name for name in label_map if name not in theirs.classes]:
        raise UsageError(
            f"--label-map maps {unknown[0]!r}, which {manifest.corpus} does not have; its labels are "
            f"{', '.join(theirs.classes)}."
        )
    if unknown := [name for name in label_map.values() if name is not None and name not in label_set.classes]:
        raise UsageError(
            f"--label-map maps to {unknown[0]!r}, which the run does not know; its emotions are "
            f"{', '.join(label_set.classes)}."
        )
    unmapped = [name for name in theirs.classes if name not in label_map and name not in label_set.classes]
    if unmapped and needs_labels:
        raise UsageError(
            f"{manifest.corpus} has the labels {', '.join(theirs.classes)}, but the run answers "
            f"{', '.join(label_set.classes)}. Map the others with --label-map, for example {unmapped[0]}="
            f"{label_set.classes[0]}, or {unmapped[0]}= for a label without a counterpart."
        )
    target = {name: label_map.get(name, None if name in unmapped else name) for name in theirs.classes}
    lost: Counter[str] = Counter()

    def of(utterance: Utterance) -> Utterance:
        without = [name for name in utterance.labels or () if target[name] is None]
        lost.update(without)
        if utterance.labels is None or without:
            return replace(utterance, label=None, labels=None)
        labels = tuple(dict.fromkeys(str(target[name]) for name in utterance.labels))
        return replace(utterance, label=labels[0] if label_set.kind == "single" else None, labels=labels)

    return replace(manifest, label_set=label_set, utterances=tuple(map(of, manifest.utterances))), dict(lost)


def parse_label_map(text: str) -> dict[str, str | None]:
    """Their label -> the run's, or None, of what follows ``--label-map``.

    Raises:
        UsageError: if it is neither pairs nor a file with pairs.

    Example:
        >>> parse_label_map("happy=joy, frustrated=")
        {'happy': 'joy', 'frustrated': None}
    """
    path = Path(text)
    try:
        content = path.read_text(encoding="utf-8") if "=" not in text or path.is_file() else text
    except (OSError, UnicodeDecodeError) as problem:
        raise UsageError(
            f"--label-map is {text!r}, which is no file that can be read ({problem}). {_FORM}"
        ) from problem
    if "=" in content:
        pairs = [pair.partition("=") for pair in content.replace(",", "\n").splitlines() if pair.strip()]
        mapping: dict[object, object] = {before.strip(): after.strip() or None for before, _, after in pairs}
        if not all(sign for _, sign, _ in pairs) or len(mapping) < len(pairs):
            raise UsageError(f"--label-map is {text!r}, with a label without = or one that is there twice. {_FORM}")
    else:
        try:
            mapping = yaml.safe_load(content)
        except yaml.YAMLError as problem:
            raise UsageError(
                f"--label-map {text} cannot be read ({' '.join(str(problem).split())}). {_FORM}"
            ) from problem
    is_good = isinstance(mapping, dict) and all(
        isinstance(before, str) and isinstance(after, str | None) for before, after in mapping.items()
    )
    if not is_good:
        raise UsageError(f"--label-map is {text!r}, which holds no pairs of labels. {_FORM}")
    return {str(before): None if after is None else str(after) for before, after in mapping.items()}


def _place(noted: Input, provenance: Provenance | None) -> Path:
    return (Path(provenance.directory) / noted.folder if provenance else Path(noted.folder)).resolve()


def _found(folder: Path, provenance: Provenance) -> Path:
    return folder if folder.is_dir() else Path(provenance.directory) / folder


def _fact(path: Path, key: str) -> object:
    """What a JSON file says about ``key``; None if it is not there."""
    return read_json(path, StoreError, EXTRACT).get(key) if path.is_file() else None


def _refuse_other_extractor(run: Path, stream: str, provenance: Provenance, before: Input, now: Input) -> None:
    """Raise if it is known that two stores were made by different extractors."""
    folder = _found(Path(before.folder), provenance)
    if not (folder / STORE).is_file() or store_sha256(folder) != before.sha256:
        return
    known, given = (_fact(place / STORE, "extractor") for place in (folder, Path(now.folder)))
    weights = [made.get("weights_sha256") if isinstance(made, dict) else None for made in (known, given)]
    if None not in weights and weights[0] != weights[1]:
        raise UsageError(
            f"The store {now.folder} was made by another extractor (weights {str(weights[1])[:12]}…) than the "
            f"{stream} embeddings {run} was trained on ({str(weights[0])[:12]}…), so its vectors mean something else. "
            "Extract the other corpus with the run's own extractor: `m2fnet extract --ckpt RUN --manifest DIR`."
        )


def _file_name(corpus: str) -> str:
    return "".join(sign if sign.isalnum() and sign.isascii() else "_" for sign in corpus)[:40]
