"""The parts of ``gpu.py`` that train: dialogue network, text, audio, faces and scene, CARAT."""

from dataclasses import replace
from typing import Any

import pytorch_lightning as pl
import torch
from _gpu import (
    CLASSES,
    Check,
    Figure,
    Found,
    Setup,
    audio_network,
    meld_of,
    moved,
    pictures,
    published_peak,
    script,
    sounds,
    visual_network,
    write_roberta,
)
from torch import Tensor

from dialog.batch import Output
from dialog.models.carat import CARAT
from extractors.base import Extractor
from extractors.data import ExtractorData
from extractors.task import ExtractorTask, LossWeights
from extractors.text.roberta import TextEncoder
from m2fnet.problems import make_problem
from m2fnet.records import LabelSet

PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def dialogue(setup: Setup) -> Found:
    """Epochs of M2FNet at MELD's size, dev scores and checkpoint included, as `m2fnet dialog fit` runs them."""
    bench = script("dialog")
    bench["keep_lightning_quiet"]()
    corpus, folder = meld_of(bench, small=setup.small), setup.folder / "meld"
    bench["write_corpus"](corpus, folder)
    data = bench["our_data"](corpus, folder)
    steps = -(-len(corpus.train) // corpus.batch_size)
    start, clocks = setup.now(), []
    while len(clocks) < 2 or (not setup.small and len(clocks) < 6 and setup.now() - start < setup.seconds):
        clocks.append(bench["trainer_epoch"](corpus, folder / "run", data, steps, setup.device))
    best = min(clocks, key=lambda clock: clock.training.seconds + clock.after.seconds)
    own, training = best.training.own, best.training.seconds
    return [
        Figure("epoch, with dev scores and checkpoint", "s", training + best.after.seconds),
        Figure("epoch, training batches", "s", training),
        Figure("training", "utterances/s", sum(corpus.train) / training),
        Figure("outside the network, training batches", "%", 100 - 100 * own / training),
        *setup.peak_memory(),
    ]


def text(setup: Setup) -> Found:
    """Fine-tuning of RoBERTa-large's shape in bfloat16, in whole dialogues as ``conf/extractors/text_roberta.yaml``."""
    bench = script("extractors")
    model = write_roberta(setup.folder / "encoder", small=setup.small)
    count = 16 if setup.small else 3000
    manifest = bench["some_dialogues"](bench["made_up_corpus"](), count).save(setup.folder / "manifest")
    data = ExtractorData(
        str(setup.folder / "manifest"), batch_size=4 if setup.small else 16, in_memory=True, references=0, seed=0
    )
    task = ExtractorTask(
        lambda: TextEncoder(model, pretrained=False, budget=128 if setup.small else 512),
        optimizer=lambda parameters: torch.optim.AdamW(parameters, lr=1e-5),
        losses=LossWeights(cross_entropy=1.0, triplet=0.0, covariance=0.0, variance=0.0),
    )
    clock = TextClock(setup)
    trainer = pl.Trainer(
        accelerator=setup.accelerator, devices=1, precision="bf16-mixed", max_epochs=1 if setup.small else 100,
        limit_val_batches=0, enable_checkpointing=False, callbacks=[clock], logger=False, gradient_clip_val=1.0,
        enable_progress_bar=False, enable_model_summary=False, default_root_dir=setup.folder,
    )  # fmt: skip
    trainer.fit(task, data)
    assert len(manifest.utterances) >= count
    peak, of = peak_flops(setup)
    found = [
        Figure("tokens, padding not counted", "1/s", clock.tokens / clock.taken),
        Figure("utterances", "1/s", clock.utterances / clock.taken),
        Figure("step", "s", clock.taken / clock.steps),
        Figure("arithmetic of these tokens", "TFLOP/s", clock.flops / clock.taken / 1e12),
        Figure("large bfloat16 matrix product", "TFLOP/s", of / 1e12),
        Figure("share of the large product", "%", 100 * clock.flops / clock.taken / of),
        *setup.peak_memory(),
    ]
    if peak is not None:
        found.append(Figure("share of the published peak", "%", 100 * clock.flops / clock.taken / peak))
    return [*found]


class TextClock(pl.Callback):
    """Counts tokens and arithmetic of the steps after the first ones, and stops when the time is used up.

    A training step costs 6 operations per token and weight that multiplies it (Kaplan et al., arXiv:2001.08361,
    section 2.1), and attention 12 per layer, unit and pair of tokens.
    """

    def __init__(self, setup: Setup) -> None:
        self.setup, self.unmeasured = setup, 1 if setup.small else 5
        self.tokens = self.utterances = self.steps = 0
        self.flops = self.taken = 0.0

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Count the weights."""
        encoder: Any = pl_module.net.encoder
        self.weights = sum(p.numel() for p in encoder.encoder.parameters())
        self.per_pair = 12 * encoder.config.num_hidden_layers * encoder.config.hidden_size

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: object, batch: dict[str, Any], batch_idx: int
    ) -> None:
        """Count a batch."""
        if self.unmeasured > 0:
            self.unmeasured -= 1
            self.start = self.setup.now()
            return
        lengths = batch["inputs"]["mask"].sum(1).double()
        self.steps += 1
        self.utterances += len(lengths)
        self.tokens += int(lengths.sum())
        self.flops += float(6 * self.weights * lengths.sum() + self.per_pair * lengths.square().sum())
        self.taken = self.setup.now() - self.start
        trainer.should_stop = self.taken > self.setup.seconds


def peak_flops(setup: Setup) -> tuple[float | None, float]:
    """FLOP/s in bfloat16: the published peak of the device if it is known, and those of a large matrix product."""
    side = 256 if setup.small else 8192
    left, right = (torch.randn(side, side, device=setup.device, dtype=torch.bfloat16) for _ in range(2))
    seconds = setup.seconds_per_step(lambda: left @ right, share=0.05)
    name = torch.cuda.get_device_name() if setup.device == "cuda" else ""
    return published_peak(name), 2 * side**3 / seconds


def audio(setup: Setup) -> Found:
    """Steps of the audio network on noise that is on the device already, augmentation included."""
    net, clips = audio_network(small=setup.small), 4 if setup.small else 64
    return network_figures(setup, net, sounds(net, clips), clips)


def faces(setup: Setup) -> Found:
    """Steps of the face and scene network on random pictures that are on the device already: 15 frames, 15 faces."""
    net, clips = visual_network(small=setup.small), 2 if setup.small else 32
    return network_figures(setup, net, pictures(net, clips, 2 if setup.small else 15), clips)


def network_figures(setup: Setup, net: Extractor, batch: dict[str, Any], clips: int) -> Found:
    """Utterances per second of training with the paper's losses, in float32 and in bfloat16."""
    task = ExtractorTask(lambda: net)
    task.build(make_problem(LabelSet("bench", CLASSES), {}))
    task.to(setup.device).train()
    optimizer = torch.optim.Adam(task.parameters(), lr=1e-4, weight_decay=1e-6)
    given: Any = {"inputs": moved(batch, setup.device), "label": torch.arange(clips, device=setup.device) % 2}

    def step(dtype: torch.dtype) -> None:
        with torch.autocast(setup.device, dtype, enabled=dtype != torch.float32):
            loss = task.training_step(given, 0)
        optimizer.zero_grad()
        assert loss is not None, "it is None only for a batch of nothing"
        loss.backward()
        optimizer.step()

    found: Found = [
        Figure(f"training in {name}", "utterances/s", clips / setup.seconds_per_step(lambda d=dtype: step(d), 0.5))
        for name, dtype in PRECISIONS.items()
    ]
    return [*found, *setup.peak_memory()]


def carat(setup: Setup) -> Found:
    """Training steps of CARAT at CMU-MOSEI's size, see ``carat.py``."""
    bench = script("carat")
    size = replace(bench["QUICK"], utterances=4, frames=8, queue=256) if setup.small else bench["FULL"]
    torch.manual_seed(0)
    net: CARAT = bench["network"](size).to(setup.device).train()
    batch = moved(bench["batch_of"](size), setup.device)
    optimizer = torch.optim.AdamW(net.parameters(), 5e-5)

    def step(dtype: torch.dtype) -> None:
        with torch.autocast(setup.device, dtype, enabled=dtype != torch.float32):
            output = net(batch)
        optimizer.zero_grad()
        carat_loss(net, output, batch).backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()

    found: Found = []
    for name, dtype in PRECISIONS.items():
        if setup.device == "cuda":
            torch.cuda.reset_peak_memory_stats()
        found.append(Figure(f"step in {name}", "s", setup.seconds_per_step(lambda d=dtype: step(d), 0.5)))
        found += setup.peak_memory(f"peak memory in {name}")
    losses = carat_loss(net, net(batch), batch)
    return [*found, Check("the loss is finite", 0.0 if bool(losses.isfinite()) else float("inf"), 0.0)]


def carat_loss(net: CARAT, output: Output, batch: dict[str, Any]) -> Tensor:
    """Mean loss of the scores and the terms of the network."""
    scores = net.problem.loss(output.scores.float().flatten(0, 1), batch["label"].flatten(0, 1))
    loss: Tensor = scores / batch["labelled"] + torch.stack([term.float() for term in output.terms.values()]).sum()
    return loss
