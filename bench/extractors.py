"""Training of extractors compared with what one would run instead, on a CPU or on a GPU.

Text fine-tuning against the transformers Trainer with everything padded to the longest allowed length (same network,
same inputs, same batch size), mel spectrograms and augmentation against librosa one clip by one, triplet mining against
a loop over pairs. Without options the corpus and the encoder are made up, in the sizes of MELD and MiniLM.
Needs `uv pip install --group bench`.
"""

import sys

sys.path.append(sys.path.pop(0))  # this file has the name of the package that it measures

import argparse
import logging
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import librosa
import numpy as np
import pytorch_lightning as pl
import torch
import transformers
from _table import Row, finish, parser
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from extractors.audio.augment import Augment, RandomValue
from extractors.audio.mel_resnet import MelResNet
from extractors.data import ExtractorData
from extractors.task import ExtractorTask, LossWeights
from extractors.text.roberta import TextEncoder
from m2fnet.losses.mining import semi_hard
from m2fnet.losses.triplet import distances
from m2fnet.manifest import Manifest
from m2fnet.records import LabelSet, Utterance

RATE, SECONDS = 16_000, 3.2  # MELD's mean clip
EMOTIONS = ("neutral", "joy", "surprise", "anger", "sadness", "disgust", "fear")
SHARES = (0.47, 0.17, 0.12, 0.11, 0.07, 0.03, 0.03)  # MELD's


def main() -> None:
    arguments = parser(__doc__ or "")
    arguments.add_argument("--manifest", type=Path, help="a prepared corpus instead of the made-up one")
    arguments.add_argument("--model", help="an encoder instead of the made-up one: a folder or a name on the hub")
    arguments.add_argument("--budget", type=int, default=512, help="longest allowed input in tokens (default 512)")
    arguments.add_argument("--batch-size", type=int, default=16)
    arguments.add_argument("--device", choices=["cpu", "cuda"], default="cpu", help="where ours and the Trainer run")
    arguments.add_argument(
        "--threads", type=int, default=torch.get_num_threads(), help="of torch (default: one per core)"
    )
    arguments.add_argument("--only", choices=["mining", "mel", "text"], help="one row instead of all")
    args = arguments.parse_args()
    torch.set_num_threads(args.threads)
    transformers.logging.set_verbosity_error()
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore")
    clips, steps = (100, 3) if args.quick else (1000, 12)
    if args.quick:
        args.batch_size = 4  # one padded batch of 16 takes the minute
    rows: dict[str, Callable[[], Row]] = {
        "mining": lambda: mining_row(args.device),
        "mel": lambda: mel_row(clips, args.device),
        "text": lambda: text_row(args, steps),
    }
    finish([row() for name, row in rows.items() if args.only in (None, name)], args)


def mining_row(device: str, size: int = 512, width: int = 300) -> Row:
    generator = torch.Generator().manual_seed(0)
    between = distances(torch.randn(size, width, generator=generator))
    labels = torch.multinomial(torch.tensor(SHARES), size, replacement=True, generator=generator)
    assert len(semi_hard(between, labels)) == len(mined_by_a_loop(between, labels))
    there = between.to(device), labels.to(device)
    ours = min(timed(lambda: semi_hard(*there)) for _ in range(5))
    loop = min(timed(lambda: mined_by_a_loop(between, labels)) for _ in range(2))
    return Row(f"mine a batch of {size}, vs a loop over pairs", "s", ours, loop, larger_is_better=False)


def mined_by_a_loop(between: torch.Tensor, labels: torch.Tensor) -> list[tuple[int, int, int]]:
    triplets = []
    for anchor in range(len(labels)):
        for positive in range(len(labels)):
            if anchor == positive or labels[anchor] != labels[positive]:
                continue
            is_semi_hard = (labels != labels[anchor]) & (between[anchor] > between[anchor, positive])
            candidates = is_semi_hard.nonzero().flatten()
            if len(candidates):
                nearest = candidates[between[anchor, candidates].argmin()]
                triplets.append((anchor, positive, int(nearest)))
    return triplets


def mel_row(count: int, device: str) -> Row:
    """Clips per second from waveforms to three-channel spectrograms, stretched and with noise at times."""
    half = 0.5
    augment = Augment(
        stretch=RandomValue(half, 0.8, 1.25),
        shift=None,
        gain=RandomValue(half, -6.0, 6.0),
        noise=RandomValue(half, 5.0, 40.0),
    )
    net = MelResNet(crop_seconds=SECONDS, augment=augment).to(device).train()
    clips = torch.randn(count, round(RATE * SECONDS), generator=torch.Generator().manual_seed(0)) / 10

    def ours() -> None:
        for batch in clips.to(device).split(64):
            net.hear(batch, torch.full((len(batch),), batch.shape[1], device=device))

    def one_by_one() -> None:
        generator = np.random.default_rng(0)
        for clip in clips.numpy():
            mels_by_librosa(clip, generator)

    ours()
    mels_by_librosa(clips[0].numpy(), np.random.default_rng(0))  # both compile and cache at first
    ours_s, librosa_s = count / timed(ours), count / timed(one_by_one)
    return Row(f"augment and mel {count:,} clips, vs librosa one by one", "clips/s", ours_s, librosa_s)


def mels_by_librosa(clip: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    if generator.random() < 0.5:
        stretched = librosa.effects.time_stretch(clip, rate=generator.uniform(0.8, 1.25))
        clip = librosa.util.fix_length(stretched, size=len(clip))
    if generator.random() < 0.5:
        clip = clip * 10 ** (generator.uniform(-6, 6) / 20)
    if generator.random() < 0.5:
        ratio = 10 ** (generator.uniform(5, 40) / 20)
        clip = clip + generator.standard_normal(len(clip)).astype(np.float32) * clip.std() / ratio
    mel = librosa.feature.melspectrogram(y=clip, sr=RATE, n_fft=1024, win_length=400, hop_length=160, n_mels=128)
    logarithmic = librosa.power_to_db(mel)
    return np.stack([logarithmic, librosa.feature.delta(logarithmic), librosa.feature.delta(logarithmic, order=2)])


def text_row(args: argparse.Namespace, steps: int) -> Row:
    """Optimizer steps per second over the same utterances, only cross-entropy."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model = args.model or made_up_encoder(folder / "encoder")
        manifest = Manifest.load(args.manifest) if args.manifest else made_up_corpus()
        few = some_dialogues(manifest, steps * args.batch_size).save(folder / "manifest")
        data = ExtractorData(str(folder / "manifest"), batch_size=args.batch_size, in_memory=True, references=0, seed=0)
        task = ExtractorTask(
            lambda: TextEncoder(model, budget=args.budget),
            optimizer=lambda parameters: torch.optim.AdamW(parameters, lr=1e-5),
            losses=LossWeights(cross_entropy=1.0, triplet=0.0, covariance=0.0, variance=0.0),
        )
        ours = lightning_speed(task, data, folder, args.device)
        theirs = transformers_speed(data, model, args, len(few.label_set.classes), folder)
    return Row(f"fine-tune on text, at most {args.budget} tokens, vs transformers Trainer", "steps/s", ours, theirs)


class TrainingTime(pl.Callback):
    """Seconds from the first to the last training step."""

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.start = time.perf_counter()

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.seconds = time.perf_counter() - self.start


def lightning_speed(task: ExtractorTask, data: ExtractorData, folder: Path, device: str) -> float:
    clock = TrainingTime()
    quiet = {"enable_progress_bar": False, "enable_model_summary": False, "logger": False, "num_sanity_val_steps": 0}
    trainer = pl.Trainer(
        accelerator=device, max_epochs=1, limit_val_batches=0, enable_checkpointing=False, callbacks=[clock], **quiet,
        default_root_dir=folder, gradient_clip_val=1.0,
    )  # fmt: skip
    trainer.fit(task, data)
    return trainer.global_step / clock.seconds


def transformers_speed(data: ExtractorData, model: str, args: argparse.Namespace, classes: int, folder: Path) -> float:
    utterances = data.utterances("train")
    pad = utterances.extractor.tokenizer.pad_token_id
    rows: list[dict[str, Any]] = []
    for sample, label in zip(utterances.samples or (), utterances.labels.tolist(), strict=True):
        ids = sample["tokens"].tolist()
        padding = args.budget - len(ids)
        rows.append(
            {"input_ids": ids + [pad] * padding, "attention_mask": [1] * len(ids) + [0] * padding, "labels": label}
        )
    network = transformers.AutoModelForSequenceClassification.from_pretrained(model, num_labels=classes)
    settings = transformers.TrainingArguments(
        str(folder / "trainer"), num_train_epochs=1, per_device_train_batch_size=args.batch_size, learning_rate=1e-5,
        save_strategy="no", report_to="none", disable_tqdm=True, use_cpu=args.device == "cpu",
    )  # fmt: skip
    trainer = transformers.Trainer(
        network, settings, train_dataset=rows, data_collator=transformers.default_data_collator
    )
    done = trainer.train()
    return done.global_step / float(done.metrics["train_runtime"])


def made_up_encoder(folder: Path) -> str:
    """A BERT of MiniLM's size with random weights and a tokenizer of made-up words."""
    vocabulary = {word: n for n, word in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", *map(str, range(5000))])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    special = {"unk_token": "[UNK]", "pad_token": "[PAD]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, **special).save_pretrained(folder)
    config = transformers.BertConfig(
        vocab_size=len(vocabulary), hidden_size=384, num_hidden_layers=6, num_attention_heads=12, intermediate_size=1536
    )
    transformers.BertModel(config).save_pretrained(folder)
    return str(folder)


def made_up_corpus() -> Manifest:
    """Dialogues of about ten utterances of about eleven words, as MELD has them."""
    generator = np.random.default_rng(0)
    utterances = []
    for number in range(200):
        for placed in range(1 + generator.poisson(8.6)):
            text = " ".join(map(str, generator.integers(0, 5000, 1 + generator.geometric(1 / 11))))
            label = EMOTIONS[generator.choice(len(EMOTIONS), p=SHARES)]
            utterances.append(Utterance(f"{number}-{placed}", "bench", "train", str(number), placed, "A", text, label))
    return Manifest("bench", LabelSet("bench", EMOTIONS), tuple(utterances))


def some_dialogues(manifest: Manifest, count: int) -> Manifest:
    """Whole training dialogues with at least ``count`` utterances, drawn at random."""
    dialogues = manifest.dialogues("train")
    chosen: list[Utterance] = []
    for number in np.random.default_rng(1).permutation(len(dialogues)):
        if len(chosen) < count:
            chosen += dialogues[number].utterances
    return Manifest(manifest.corpus, manifest.label_set, tuple(chosen))


def timed(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
