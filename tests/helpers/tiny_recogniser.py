"""A tiny random Whisper with the tokens of the real ones, and a recogniser that says what a test wants."""

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    GenerationConfig,
    PreTrainedTokenizerFast,
    WhisperConfig,
    WhisperFeatureExtractor,
    WhisperForConditionalGeneration,
)

SECONDS = 2  # that are heard together
LETTERS = sorted(pre_tokenizers.ByteLevel.alphabet())
END, START, TASK, NO_SPEECH, NO_TIMES = (
    "<|endoftext|>", "<|startoftranscript|>", "<|transcribe|>", "<|nospeech|>", "<|notimestamps|>",
)  # fmt: skip
MARKS = [END, START, "<|en|>", "<|de|>", "<|fr|>", "<|translate|>", TASK, NO_SPEECH, NO_TIMES]


def save_whisper(folder, *, multilingual=False, times=True):
    """Write it; return the name of the folder."""
    tokens = {token: number for number, token in enumerate([*LETTERS, *MARKS])}
    words = Tokenizer(models.BPE(vocab=tokens, merges=[]))
    words.pre_tokenizer, words.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    PreTrainedTokenizerFast(tokenizer_object=words, additional_special_tokens=MARKS).save_pretrained(folder)
    torch.manual_seed(0)
    model = WhisperForConditionalGeneration(
        WhisperConfig(
            vocab_size=len(tokens) + (50 * SECONDS + 1 if times else 0), d_model=16, encoder_layers=2, decoder_layers=1,
            encoder_attention_heads=2, decoder_attention_heads=2, encoder_ffn_dim=32, decoder_ffn_dim=32,
            num_mel_bins=20, max_source_positions=50 * SECONDS, max_target_positions=48, pad_token_id=tokens[END],
            bos_token_id=tokens[END], eos_token_id=tokens[END], decoder_start_token_id=tokens[START],
            begin_suppress_tokens=None,
        )
    )  # fmt: skip
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.mul_(8)  # so that what it writes depends on the sound
    model.save_pretrained(folder)
    GenerationConfig(is_multilingual=multilingual).save_pretrained(folder)
    WhisperFeatureExtractor(feature_size=20, chunk_length=SECONDS).save_pretrained(folder)
    return str(folder)


class SayingRecogniser:
    """Says for each stretch what ``answer(samples)`` gives, a `Heard`; English only."""

    name, sha256, longest_s, language = "saying", "0" * 64, 30.0, None
    languages: dict[str, int] = {}  # noqa: RUF012

    def __init__(self, answer):
        self.answer = answer
        self.lengths = []

    def hear(self, samples, language=None):
        self.lengths.append(len(samples) / 16_000)
        return self.answer(samples)

    def language_of(self, sounds):
        return None
