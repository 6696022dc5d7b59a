"""The toy corpus as a multi-label corpus: the same clips, and a set of emotions for every utterance."""

from dataclasses import replace
from pathlib import Path

from m2fnet.corpora.label_sets import TOY_SETS
from m2fnet.corpora.meld import read_toy
from m2fnet.corpora.toy import planned_script
from m2fnet.manifest import Manifest


def read_toy_label_sets(root: Path) -> Manifest:
    """Manifest of the toy corpus in ``root`` with a label set per utterance, which may be empty.

    The set holds the emotion that is felt, the one in the voice, and the one in the face if it can be seen; neutral is
    no element. So every modality tells a part of the set, and no modality all of it.

    Raises:
        CorpusError: if ``root`` is not a toy corpus that this version writes, or a CSV file is damaged.
    """
    manifest = read_toy(root)
    sets: dict[str, tuple[str, ...]] = {}
    for scenes in planned_script(root).values():
        for line in (line for scene in scenes for line in scene):
            face = set() if line.shot.is_faceless else {line.shot.face_emotion}
            shown = {line.emotion, line.shot.voice_emotion} | face
            name = f"{line.split}_dia{line.dialogue}_utt{line.utterance}"
            sets[name] = tuple(emotion for emotion in TOY_SETS.classes if emotion in shown)
    return replace(
        manifest,
        corpus=TOY_SETS.name,
        label_set=TOY_SETS,
        utterances=tuple(replace(u, corpus=TOY_SETS.name, label=None, labels=sets[u.id]) for u in manifest.utterances),
        provenance={"adapter": __name__},
    )
