"""A small corpus and tested runs on it, as `dialog test` leaves them, without training anything."""

import wave

import numpy as np
import yaml

from m2fnet.manifest import Manifest
from m2fnet.problems import make_problem
from m2fnet.records import LabelSet, ScoredPrediction, Utterance
from m2fnet.reports import run_report as report

CLASSES = ("neutral", "joy", "anger")
UTTERANCES = (1, 2, 3, 4, 5, 6)  # of the dialogues, in turn


def made_manifest(folder, *, dialogues=12, name="tiny", classes=CLASSES, sound=False):
    """A saved manifest: every seventh utterance is unlabelled context, two of three name a clip.

    With ``sound``, every test utterance has half a second of a tone.
    """
    draw = np.random.default_rng(7)
    utterances = []
    for split in ("train", "dev", "test"):
        for d in range(dialogues):
            for index in range(UTTERANCES[d % len(UTTERANCES)]):
                n = len(utterances)
                utterances.append(
                    Utterance(
                        f"{split}_{d:02d}_{index}",
                        name,
                        split,
                        f"{split}_{d:02d}",
                        index,
                        speaker=("Ann", "Bob", "Cleo")[n % 3],
                        text=f"This is sentence {n}.",
                        label=None if n % 7 == 6 else classes[draw.choice(3, p=[0.5, 0.3, 0.2])],
                        audio=f"clips/{n}.wav" if sound and split == "test" else None,
                        video=f"clips/{n}.mp4" if n % 3 else None,
                    )
                )
    root = folder / "raw"
    (root / "clips").mkdir(parents=True)
    for number, utterance in enumerate(utterances):
        if utterance.audio:
            tone = np.sin(2 * np.pi * (150 + number) * np.arange(8000) / 16000)
            with wave.open(str(root / utterance.audio), "wb") as file:
                file.setparams((1, 2, 16000, 0, "NONE", ""))
                file.writeframes((20000 * tone).astype("<i2").tobytes())
    return Manifest(name, LabelSet(name, classes), tuple(utterances), root=root).save(folder)


def answers(manifest, split, seed, right):
    """Predictions of which about ``right`` are right."""
    draw = np.random.default_rng([seed, ("train", "dev", "test").index(split)])
    classes = manifest.label_set.classes
    rows = []
    for utterance in manifest.utterances:
        if utterance.split == split:
            scores = draw.random(len(classes))
            if utterance.label is not None and draw.random() < right:
                scores[classes.index(utterance.label)] += 1
            probabilities = dict(zip(classes, (scores / scores.sum()).tolist(), strict=True))
            answer = max(probabilities, key=probabilities.get)
            parts = (utterance.id, utterance.dialogue, utterance.label, answer, probabilities)
            rows.append(ScoredPrediction(*parts))
    return rows


def made_run(folder, manifest, place, *, seed=0, width=8, right=0.6, modalities=("text", "audio")):
    """A run folder with config, report and predictions; ``place`` is where its config says that the manifest is."""
    folder.mkdir(parents=True)
    config = {
        "seed_everything": seed,
        "trainer": {"max_epochs": 3, "default_root_dir": str(folder)},
        "model": {"net": {"class_path": "dialog.models.m2fnet.M2FNet", "init_args": {"width": width}}},
        "data": {"manifest": str(place), "modalities": list(modalities)},
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    facts = {
        "seed": seed,
        "corpus": manifest.corpus,
        "manifest_sha256": manifest.sha256,
        "modalities": list(modalities),
        "select": "dev",
    }
    training = [(u.label,) for u in manifest.utterances if u.split == "train" and u.label is not None]
    predictions = {split: answers(manifest, split, seed + 100 * width, right) for split in ("dev", "test")}
    report.write_report(folder, facts, predictions, training, make_problem(manifest.label_set, {}))
    return folder
