"""A run with a trained and a fitted extractor behind it, made once by the commands that a user would type."""

import shutil

import pytest
import torch
import yaml
from tiny_clips import GREY, PITCH, WORDS, write_clip
from transformers import BertConfig, BertModel, BertTokenizer

from m2fnet.cli import DONE, run
from m2fnet.manifest import Manifest
from m2fnet.records import LabelSet, Utterance

VOCABULARY = "[PAD] [UNK] [CLS] [SEP] [MASK] great wonderful day i hate this go away the table is in room a : ! . ,"
TINY = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
QUIET = {"accelerator": "cpu", "max_epochs": 1, "enable_progress_bar": False, "enable_model_summary": False}


def write_corpus(root, train=6, dev=6, test=12):
    """A manifest of so many dialogues per split, whose utterances share three clips, one per emotion."""
    for number, label in enumerate(WORDS):
        write_clip(root / f"{label}.mp4", PITCH[label], GREY[label], seed=number)
    utterances = tuple(
        Utterance(
            f"{split}{number}_{index}", "tiny", split, f"{split}{number}", index, "A", WORDS[label], label,
            audio=f"{label}.mp4", video=f"{label}.mp4",
        )
        for split, dialogues in {"train": train, "dev": dev, "test": test}.items()
        for number in range(dialogues)
        for index, label in enumerate(sorted(WORDS)[number % 3 :] or ["joy"])
    )  # fmt: skip
    Manifest("tiny", LabelSet("tiny", tuple(WORDS)), utterances, root).save(root / "manifest")


def write_encoder(folder):
    """A tiny BERT, as it would come from a hub."""
    BertTokenizer(vocab={word: n for n, word in enumerate(VOCABULARY.split())}).save_pretrained(folder)
    torch.manual_seed(0)
    BertModel(BertConfig(vocab_size=len(VOCABULARY.split()), max_position_embeddings=64, **TINY)).save_pretrained(
        folder
    )


def text_settings(root):
    """A network that is trained, with a tokenizer to keep."""
    net = {"class_path": "extractors.text.roberta.TextEncoder"}
    net["init_args"] = {"model": str(root / "encoder"), "budget": 48, "speakers": False}
    return {
        "seed_everything": 1,
        "trainer": {**QUIET, "limit_train_batches": 1},
        "data": {"manifest": str(root / "manifest"), "batch_size": 6},
        "model": {"net": net, "losses": {"cross_entropy": 1.0, "triplet": 0.0}},
    }


def audio_settings(root):
    """An extractor that is fitted in closed form."""
    init_args = {"width": 6, "mels": 20}
    net = {"class_path": "extractors.audio.mel_statistics.MelStatistics", "init_args": init_args}
    return {"data": {"manifest": str(root / "manifest")}, "model": {"net": net}}


def dialog_settings(root):
    """A dialogue network on both, in another order than theirs."""
    net = {"class_path": "dialog.models.m2fnet.M2FNet"}
    net["init_args"] = {"width": 8, "heads": 2, "hidden": 8, "fusion_layers": 2}
    return {
        "seed_everything": 2,
        "trainer": {**QUIET, "max_epochs": 2},
        "data": {
            "manifest": str(root / "manifest"),
            "stores": {name: str(root / "embeddings" / name) for name in ("audio", "text")},
        },
        "model": {"net": net, "optimizer": {"class_path": "torch.optim.AdamW", "init_args": {"lr": 0.01}}},
    }


def typed(*arguments):
    assert run([str(argument) for argument in arguments]) == DONE


def train_everything(root):
    """Fill ``root`` with ``manifest``, ``embeddings/``, and ``runs/`` of two extractors and a tested network."""
    write_corpus(root)
    write_encoder(root / "encoder")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", ["m2fnet"])
        for name, settings, place in (("text", text_settings, "text/seed-1"), ("audio", audio_settings, "audio")):
            config, made = root / f"{name}.yaml", root / "runs" / place
            config.write_text(yaml.safe_dump(settings(root)), encoding="utf-8")
            typed("extractor", "fit", "--config", config, "--run", made)
            out = ("--manifest", root / "manifest", "--out", root / "embeddings" / name, "--workers", "0")
            typed("extract", "--ckpt", made, *out, "--precision", "32-true")  # what `predict` computes in
        (root / "dialog.yaml").write_text(yaml.safe_dump(dialog_settings(root)), encoding="utf-8")
        dialog = root / "runs" / "talk" / "seed-2"
        typed("dialog", "fit", "--config", root / "dialog.yaml", "--run", dialog, "--quiet")
        typed("dialog", "test", "--config", dialog / "config.yaml", "--quiet")
    shutil.rmtree(root / "encoder")  # nothing may need what a network started from
