"""A tiny CLIP with random weights, and a folder of it as the hub would give one."""

import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel, PreTrainedTokenizerFast

WORDS = ("joy", "anger", "neutral", "a", "smiling", "mouth", ".")
TOWER = {"num_attention_heads": 2, "hidden_act": "quick_gelu", "projection_dim": 5}
VISION = {"hidden_size": 8, "intermediate_size": 32, "num_hidden_layers": 3, "image_size": 12, "patch_size": 4}
TEXT = {
    "hidden_size": 6,
    "intermediate_size": 24,
    "num_hidden_layers": 2,
    "vocab_size": 40,
    "max_position_embeddings": 12,
}
TOKENS = {"bos_token_id": 38, "eos_token_id": 39, "pad_token_id": 0}


def tiny_clip(seed=0):
    torch.manual_seed(seed)
    config = CLIPConfig(vision_config=TOWER | VISION, text_config=TOWER | TEXT | TOKENS, projection_dim=5)
    return CLIPModel(config).eval()


def save_tiny_clip(folder, seed=0):
    """Name of the folder, with weights, tokenizer and what pictures have to look like."""
    tiny_clip(seed).save_pretrained(folder)
    vocabulary = {"<pad>": 0, **{word: n for n, word in enumerate(WORDS, start=1)}, "<start>": 38, "<end>": 39}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<pad>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    names = {"bos_token": "<start>", "eos_token": "<end>", "pad_token": "<pad>"}
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, **names).save_pretrained(folder)
    CLIPImageProcessor(size={"shortest_edge": 12}, crop_size=12).save_pretrained(folder)
    return str(folder)
