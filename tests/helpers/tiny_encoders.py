"""Pretrained encoders of all families, tiny and random, saved to a folder as the hub would give them."""

import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (
    BertConfig,
    BertModel,
    BertTokenizer,
    CLIPConfig,
    CLIPImageProcessor,
    CLIPModel,
    Dinov2Config,
    Dinov2Model,
    GPT2Config,
    GPT2Model,
    HubertConfig,
    HubertModel,
    LlamaConfig,
    LlamaForCausalLM,
    LlamaModel,
    MPNetConfig,
    MPNetModel,
    PreTrainedTokenizerFast,
    SiglipConfig,
    SiglipImageProcessor,
    SiglipModel,
    ViTConfig,
    ViTImageProcessor,
    ViTModel,
    Wav2Vec2Config,
    Wav2Vec2FeatureExtractor,
    Wav2Vec2Model,
    WavLMConfig,
    WavLMModel,
    WhisperConfig,
    WhisperFeatureExtractor,
    WhisperModel,
)

DEPTH, WIDTH = 3, 16
SIZE = {"hidden_size": WIDTH, "num_hidden_layers": DEPTH, "num_attention_heads": 2, "intermediate_size": 32}
CONVOLUTIONS = {"conv_dim": (8,) * 7, "num_conv_pos_embeddings": 16, "num_conv_pos_embedding_groups": 2}
PATCHES = {"image_size": 32, "patch_size": 8}
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
WORDS = [*SPECIAL, *"how are you i hate this the table is here great ? ! . so very day".split()]  # noqa: SIM905
TOKENS = {"vocab_size": len(WORDS), "pad_token_id": 0, "bos_token_id": 2, "eos_token_id": 3}
TEXT = {
    "bert": lambda: BertModel(BertConfig(**SIZE, **TOKENS, max_position_embeddings=64)),
    "mpnet": lambda: MPNetModel(MPNetConfig(**SIZE, **TOKENS, max_position_embeddings=66)),
    "gpt2": lambda: GPT2Model(GPT2Config(n_embd=WIDTH, n_layer=DEPTH, n_head=2, n_positions=64, **TOKENS)),
    "llama": lambda: LlamaModel(LlamaConfig(**SIZE, **TOKENS, max_position_embeddings=64)),
}
WRITERS = ("gpt2", "llama")  # models that write text
SOUND = {
    "wav2vec2": lambda: Wav2Vec2Model(Wav2Vec2Config(**SIZE, **CONVOLUTIONS)),
    "hubert": lambda: HubertModel(
        HubertConfig(**SIZE, **CONVOLUTIONS, feat_extract_norm="layer", do_stable_layer_norm=True)
    ),
    "wavlm": lambda: WavLMModel(WavLMConfig(**SIZE, **CONVOLUTIONS)),
    "whisper": lambda: WhisperModel(
        WhisperConfig(
            d_model=WIDTH, encoder_layers=DEPTH, decoder_layers=1, encoder_attention_heads=2, decoder_attention_heads=2,
            encoder_ffn_dim=32, decoder_ffn_dim=32, num_mel_bins=20, max_source_positions=100, decoder_start_token_id=2,
            **TOKENS,
        )
    ),
}  # fmt: skip
PICTURES = {
    "clip": lambda: CLIPModel(CLIPConfig(text_config=SIZE | TOKENS, vision_config=SIZE | PATCHES)),
    "siglip": lambda: SiglipModel(SiglipConfig(text_config=SIZE | TOKENS, vision_config=SIZE | PATCHES)),
    "dinov2": lambda: Dinov2Model(Dinov2Config(**SIZE, **PATCHES)),
    "vit": lambda: ViTModel(ViTConfig(**SIZE, **PATCHES)),
}


def save_encoder(folder, family):
    """Write the encoder of a family with everything it is read with; return the name of the folder."""
    torch.manual_seed(0)
    model = (TEXT | SOUND | PICTURES)[family]()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim > 1 and "norm" not in name.lower():
                parameter.mul_(4)  # so that layers differ by more than rounding
    model.save_pretrained(folder)
    side = {"height": 32, "width": 32}
    if family in WRITERS:
        words = Tokenizer(models.WordLevel({word: n for n, word in enumerate(WORDS)}, unk_token="[UNK]"))
        words.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        PreTrainedTokenizerFast(tokenizer_object=words, bos_token="[CLS]", eos_token="[SEP]").save_pretrained(folder)
    elif family in TEXT:
        BertTokenizer(vocab={word: n for n, word in enumerate(WORDS)}).save_pretrained(folder)
    elif family == "whisper":
        WhisperFeatureExtractor(feature_size=20, chunk_length=2).save_pretrained(folder)
    elif family in SOUND:
        Wav2Vec2FeatureExtractor().save_pretrained(folder)
    elif family == "siglip":
        SiglipImageProcessor(size=side).save_pretrained(folder)
    elif family == "vit":
        ViTImageProcessor(size=side).save_pretrained(folder)
    else:
        CLIPImageProcessor(size={"shortest_edge": 32}, crop_size=side).save_pretrained(folder)
    return str(folder)


def save_writer(folder, chat_template=None):
    """Write a tiny random Llama that writes text, with its tokenizer; return the name of the folder."""
    torch.manual_seed(0)
    LlamaForCausalLM(LlamaConfig(**SIZE, **TOKENS, max_position_embeddings=256)).save_pretrained(folder)
    words = Tokenizer(models.WordLevel({word: n for n, word in enumerate(WORDS)}, unk_token="[UNK]"))
    words.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, bos_token="[CLS]", eos_token="[SEP]")
    tokenizer.chat_template = chat_template
    tokenizer.save_pretrained(folder)
    return str(folder)
