"""The parts of ``gpu.py`` that use networks: extraction, `predict`, and the same results as on the CPU."""

import copy
from dataclasses import replace
from itertools import cycle, islice
from typing import Any

import torch
from _gpu import (
    Check,
    Figure,
    Found,
    Setup,
    audio_network,
    largest_difference,
    meld_of,
    moved,
    pictures,
    script,
    sounds,
    visual_network,
    write_roberta,
)
from sklearn.metrics import f1_score
from torch import nn
from torch.nn import functional as F

from extractors.base import Extractor
from extractors.extraction.embedding import Loading, place_utterances
from extractors.extraction.extract import extract
from extractors.extraction.lightning import trainer_for
from extractors.text.roberta import TextEncoder
from m2fnet import cli
from m2fnet.manifest import Manifest
from m2fnet.problems import UNLABELLED

STEPS, STEPS_TO_SCORE = 5, 30
SAME_WEIGHTS, SAME_EMBEDDINGS = 1e-4, 1e-3  # relative to the largest value; float32 sums in another order


def extraction(setup: Setup) -> Found:
    """Text and sound of the toy corpus to stores; sound is decoded by worker processes on the CPU's cores."""
    manifest = toy_corpus(setup)
    encoder = write_roberta(setup.folder / "encoder", small=setup.small)
    text, sound = TextEncoder(encoder, pretrained=False), audio_network(small=setup.small)
    nets: dict[str, Extractor] = {"text": text, "audio": sound}
    loading = Loading(8 if setup.small else 64, workers=1 if setup.small else None)
    found: Found = [Figure("worker processes for sound", "", loading.workers_for(sound))]
    for name, net in nets.items():
        for number in range(1 if setup.small else 2):  # the first one loads what the second has
            start, trainer = setup.now(), trainer_for(setup.accelerator)
            extract(net.eval(), {}, manifest, setup.folder / f"{name}-{number}", loading=loading, trainer=trainer)
            seconds = setup.now() - start
        found.append(Figure(f"{name}: manifest to store", "utterances/s", len(manifest.utterances) / seconds))
    return found


def toy_corpus(setup: Setup) -> Manifest:
    """The toy corpus in its usual size, about 500 utterances, or a few dialogues of it."""
    dialogues = ("3", "2", "3") if setup.small else ("40", "10", "20")
    place = setup.folder / "data"
    command = ["prepare", "toy", "--root", str(setup.folder / "raw"), "--out", str(place), "--dialogues", *dialogues]
    if cli.run(command) != cli.DONE:
        raise RuntimeError(f"m2fnet {' '.join(command)} failed")
    return Manifest.load(place)


def predict(setup: Setup) -> Found:
    """A model of three networks on a clip with subtitles, a second time too, when all is loaded."""
    from m2fnet.pipeline import Pipeline

    bench = script("predict")
    seconds = 4 if setup.small else 60
    clip = bench["shoot"](setup.folder / "clip.mp4", seconds)
    start = setup.now()
    pipeline = Pipeline.from_pretrained(bench["networks"](setup.folder), device=setup.device)
    found: Found = [Figure("make and load the model", "s", setup.now() - start)]
    for which in ("first", "second"):
        start = setup.now()
        predictions = pipeline(clip)
        taken = setup.now() - start
        found.append(Figure(f"real-time factor, {which} time", "", taken / (predictions[-1].end_s or seconds)))
    return [*found, Figure("utterances", "", len(predictions)), *setup.peak_memory()]


def same_results(setup: Setup) -> Found:
    """Weights, scores and embeddings on the device against those on the CPU, from the same seed, in float32."""
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False  # else 10 bits of the input count
    return [*same_training(setup), *same_embeddings(setup)]


def same_training(setup: Setup) -> Found:
    """M2FNet on features that carry the label: its weights after a few steps, its weighted F1 on dev after more."""
    bench = script("dialog")
    corpus, folder = meld_of(bench, small=setup.small), setup.folder / "meld"
    if not setup.small:  # narrow, because the CPU has to train it too
        net = corpus.net | {"width": 64, "hidden": 64, "fusion_layers": 2}
        corpus = replace(corpus, net=net, batch_size=16)
    bench["write_corpus"](corpus, folder)
    data = bench["our_data"](corpus, folder)
    training, dev = list(islice(data.train_dataloader(), STEPS)), list(data.val_dataloader())
    torch.manual_seed(0)
    # dropout draws other numbers on another device
    first = bench["M2FNet"](corpus.problem, **(corpus.net | {"dropout": 0.0})).train()
    labels = torch.cat([batch["label"][batch["label"] != UNLABELLED] for batch in dev])
    weights, scores = {}, {}
    for device in ("cpu", setup.device):
        net = copy.deepcopy(first).to(device)
        # Adam would make full steps of gradients that are nothing but rounding
        optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
        for number, batch in enumerate(islice(cycle(training), STEPS_TO_SCORE), start=1):
            step_on(net, optimizer, with_signal(moved(batch, device)))
            if number == STEPS:
                weights[device] = torch.cat([parameter.detach().cpu().flatten() for parameter in net.parameters()])
        scores[device] = f1_score(labels, answers(net.eval(), dev, device), average="weighted")
    difference = largest_difference(weights[setup.device], weights["cpu"])
    return [
        Figure("weighted F1 on dev, CPU", "%", 100 * scores["cpu"]),
        Check(f"weights after {STEPS} steps", difference, SAME_WEIGHTS),
        Check(f"weighted F1 on dev after {STEPS_TO_SCORE} steps", abs(scores["cpu"] - scores[setup.device]), 0.0),
    ]


def with_signal(batch: dict[str, Any]) -> dict[str, Any]:
    """The batch with the label written into every embedding."""
    label = batch["label"].clamp(min=0)
    inputs = {name: value + 30 * F.one_hot(label, value.shape[-1]) for name, value in batch["inputs"].items()}
    return batch | {"inputs": inputs}


def step_on(net: nn.Module, optimizer: torch.optim.Optimizer, batch: dict[str, Any]) -> None:
    scores = net(batch).scores
    loss = F.cross_entropy(scores.flatten(0, 1), batch["label"].flatten(), ignore_index=UNLABELLED)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()


@torch.inference_mode()
def answers(net: nn.Module, batches: list[Any], device: str) -> torch.Tensor:
    """The class of every labelled utterance."""
    found = []
    for batch in batches:
        scores = net(with_signal(moved(batch, device))).scores.cpu()
        found.append(scores.argmax(-1)[batch["label"] != UNLABELLED])
    return torch.cat(found)


def same_embeddings(setup: Setup) -> Found:
    """Text, sound and pictures through networks with random weights."""
    torch.manual_seed(0)
    folder = setup.folder / "small_encoder"
    text = TextEncoder(write_roberta(folder, small=True), pretrained=False, budget=128)
    sound, visual = audio_network(small=setup.small), visual_network(small=setup.small)
    said = place_utterances(script("extractors")["made_up_corpus"]())[:16]
    batches = {
        "text": (text, text.collate([text.preprocess(placed) for placed in said])),
        "audio": (sound, sounds(sound, 4)),
        "visual": (visual, pictures(visual, 2, frames=3)),
    }
    return [
        Check(f"embeddings of {name}", difference_of(net.eval(), batch, setup.device), SAME_EMBEDDINGS)
        for name, (net, batch) in batches.items()
    ]


@torch.inference_mode()
def difference_of(net: Extractor, batch: dict[str, Any], device: str) -> float:
    theirs = net.to("cpu")(batch)
    ours = net.to(device)(moved(batch, device))
    return largest_difference(ours, theirs)
