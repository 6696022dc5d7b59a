"""The text network with tiny random encoders: what it reads, what it cuts, what it refuses."""

import shutil
from itertools import repeat

import huggingface_hub.constants
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import ByteLevelBPETokenizer
from transformers import BertConfig, BertModel, BertTokenizer, RobertaConfig, RobertaModel, RobertaTokenizer

from extractors.base import PlacedUtterance
from extractors.extraction.embedding import Loading, embed, place_utterances, plan
from extractors.text.roberta import TextEncoder, fill
from m2fnet.cli import DONE, run
from m2fnet.errors import MediaError, RunError
from m2fnet.manifest import Manifest
from m2fnet.records import Dialogue, LabelSet, Utterance
from m2fnet.store import Missing

TALK = [("Joey", "How are you?"), ("Ross", "I hate this!"), ("Ses01_F", "The table is here."), ("Joey", "Great.")]
TINY = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}


@pytest.fixture(scope="module")
def roberta(tmp_path_factory):
    """Folder of a tiny RoBERTa with 64 positions."""
    folder = tmp_path_factory.mktemp("roberta")
    bpe = ByteLevelBPETokenizer()
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    texts = [f"{name.upper()}: {text}" for name, text in TALK]
    bpe.train_from_iterator(texts, vocab_size=300, min_frequency=1, special_tokens=special, show_progress=False)
    bpe.save_model(str(folder))
    RobertaTokenizer.from_pretrained(folder).save_pretrained(folder)
    torch.manual_seed(0)
    config = RobertaConfig(vocab_size=300, max_position_embeddings=66, type_vocab_size=1, pad_token_id=1, **TINY)
    RobertaModel(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def bert(tmp_path_factory):
    """Folder of a tiny BERT, with segments and other separators."""
    folder = tmp_path_factory.mktemp("bert")
    words = "[PAD] [UNK] [CLS] [SEP] [MASK] how are you i hate this the table is here great joey ross mary : ? ! ."
    BertTokenizer(vocab={word: n for n, word in enumerate(words.split())}).save_pretrained(folder)
    torch.manual_seed(0)
    BertModel(BertConfig(vocab_size=len(words.split()), max_position_embeddings=64, **TINY)).save_pretrained(folder)
    return folder


@pytest.fixture(params=["roberta", "bert"])
def any_encoder(request):
    return request.getfixturevalue(request.param)


def network(folder, **settings):
    return TextEncoder(str(folder), **({"budget": 64} | settings)).eval()


def talk_of(*lines):
    """A manifest of one dialogue."""
    utterances = tuple(
        Utterance(f"u{n}", "tiny", "train", "d", n, speaker, text) for n, (speaker, text) in enumerate(lines)
    )
    return Manifest("tiny", LabelSet("tiny", ("joy", "anger")), utterances)


def placed_at(position, *lines):
    manifest = talk_of(*lines)
    return PlacedUtterance(manifest, Dialogue("d", "train", manifest.utterances), position)


def single(text, speaker=None):
    return placed_at(0, (speaker, text))


def spelt(net, sample):
    return net.tokenizer.decode(sample["tokens"])


def embedding(net, *samples):
    with torch.inference_mode():
        return net(net.collate(samples))


def test_the_input_is_that_of_emoberta(roberta):
    net = network(roberta)
    tokens = net.preprocess(placed_at(1, *TALK))["tokens"]
    written = " JOEY: How are you?</s></s>ROSS: I hate this!</s></s> SES01_F: The table is here. JOEY: Great."
    assert tokens.tolist() == net.tokenizer(written)["input_ids"]


@pytest.mark.parametrize(
    ("past", "future", "expected"),
    [
        (None, None, "[CLS] joey : great. how are you? [SEP] i hate this! [SEP] mary : here. joey : great. [SEP]"),
        (1, 1, "[CLS] how are you? [SEP] i hate this! [SEP] mary : here. [SEP]"),
        (None, 0, "[CLS] joey : great. how are you? [SEP] i hate this! [SEP]"),
        (0, None, "[CLS] i hate this! [SEP] mary : here. joey : great. [SEP]"),
        (0, 0, "[CLS] i hate this! [SEP]"),
    ],
)
def test_another_tokenizer_brings_its_own_separators(past, future, expected, bert):
    talk = [
        ("Joey", "Great."),
        (None, "How are you?"),
        (None, "I hate this!"),
        ("Ses01_F", "Here."),
        ("Joey", "Great."),
    ]
    net = network(bert, past=past, future=future, names={"Ses01_F": "Mary"})
    assert spelt(net, net.preprocess(placed_at(2, *talk))) == expected


def test_the_separators_stay_where_a_side_has_no_utterances(bert):
    net = network(bert, speakers=False)
    assert spelt(net, net.preprocess(single("great"))) == "[CLS] [SEP] great [SEP] [SEP]"


def test_segments_mark_the_current_utterance(bert):
    net = network(bert)
    sample = net.preprocess(placed_at(1, *TALK))
    batch = net.collate([sample])
    assert net.tokenizer.decode(batch["tokens"][batch["current"]]) == "ross : i hate this!"
    assert sample["tokens"][sample["start"] : sample["end"]].equal(batch["tokens"][batch["current"]])
    plain = batch | {"current": torch.zeros_like(batch["current"])}
    with torch.inference_mode():
        assert not torch.allclose(net(batch), net(plain))
        without_context = network(bert, past=0, future=0)
        assert torch.equal(without_context(batch), without_context(plain))


def test_speakers_can_be_left_out(bert):
    net = network(bert, speakers=False, past=1, future=0)
    assert spelt(net, net.preprocess(placed_at(1, *TALK))) == "[CLS] how are you? [SEP] i hate this! [SEP]"


def test_utterances_without_text_are_no_context(bert):
    net = network(bert)
    silent = net.preprocess(placed_at(1, TALK[0], TALK[1], ("Joey", None), ("Joey", " \n")))
    assert silent["tokens"].equal(net.preprocess(placed_at(1, TALK[0], TALK[1]))["tokens"])
    assert silent["cut_utterances"] == 0


@given(st.lists(st.integers(0, 9), max_size=8), st.lists(st.integers(0, 9), max_size=8), st.integers(0, 60))
def test_a_side_ends_where_its_next_utterance_does_not_fit(past_lengths, future_lengths, room):
    past, future = [[1] * n for n in past_lengths], [[2] * n for n in future_lengths]
    before, after = fill(past, future, room)
    left = room - sum(map(len, before + after))
    assert left >= 0
    for side, taken in ((past, before), (future, after)):
        assert side[: len(taken)] == taken
        assert len(side) == len(taken) or len(side[len(taken)]) > left


def test_the_sides_alternate():
    assert fill([[1], [1], [1]], [[2], [2], [2]], 3) == ([[1], [1]], [[2]])
    assert fill([[1] * 9], [[2], [2], [2]], 3) == ([], [[2], [2], [2]])


def test_only_what_may_fit_is_looked_at():
    before, after = fill(repeat([1, 1]), repeat([2, 2]), 10)
    assert (len(before), len(after)) == (3, 2)


def test_the_current_utterance_is_cut_after_its_context_and_its_name_before_its_text(bert):
    """With every token less, something goes: first utterances around it, then the name, then the end of the text."""
    for room in range(1, 36):
        net = network(bert, budget=room + 4, past=1, future=1)
        sample = net.preprocess(placed_at(1, *TALK))
        text = ["i", "hate", "this", "!"][:room]
        kept = ["ross", ":", *text] if room >= 6 else text
        assert net.tokenizer.convert_ids_to_tokens(sample["tokens"][sample["start"] : sample["end"]]) == kept
        assert sample["cut_tokens"] == 6 - len(kept)
        assert sample["cut_utterances"] == (room < 6 + 6) + (room < 6 + 6 + 9)
        assert net.length(sample) == len(sample["tokens"]) <= room + 4


@pytest.mark.parametrize("pooling", ["first", "mean"])
def test_padding_changes_nothing(pooling, any_encoder):
    net = network(any_encoder, pooling=pooling)
    samples = [net.preprocess(placed_at(n, *TALK)) for n in range(4)] + [net.preprocess(single("here"))]
    together = embedding(net, *samples)
    assert together.shape == (5, net.width) == (5, 16)
    for sample, expected in zip(samples, together, strict=True):
        torch.testing.assert_close(embedding(net, sample)[0], expected, atol=1e-5, rtol=0)


def test_the_mean_is_over_the_current_utterance(bert):
    net = network(bert, pooling="mean")
    sample = net.preprocess(placed_at(1, *TALK))
    batch = net.collate([sample])
    with torch.inference_mode():
        segments = batch["current"].long()
        hidden = net.encoder(batch["tokens"], batch["mask"].long(), token_type_ids=segments).last_hidden_state
        expected = hidden[0, sample["start"] : sample["end"]].mean(0)
    torch.testing.assert_close(embedding(net, sample)[0], expected)


def test_the_tokens_are_a_sequence_whose_mean_is_the_mean(any_encoder):
    net, mean = (network(any_encoder, pooling=pooling) for pooling in ("frames", "mean"))
    samples = [net.preprocess(placed_at(n, *TALK)) for n in range(4)]
    found = embedding(net, *samples)
    assert net.resolution == "frame"
    assert [tuple(tokens.shape) for tokens in found] == [(one["end"] - one["start"], 16) for one in samples]
    torch.testing.assert_close(torch.stack([tokens.mean(0) for tokens in found]), embedding(mean, *samples))


def test_an_extractor_without_future_never_waits(roberta):
    net = network(roberta, future=0)
    now, later = net.preprocess(placed_at(1, *TALK[:2])), net.preprocess(placed_at(1, *TALK))
    assert now["tokens"].equal(later["tokens"])
    assert not now["tokens"].equal(net.preprocess(placed_at(0, TALK[1]))["tokens"])


@pytest.mark.parametrize("text", ["word " * 10_000, "🙂🙂🙂", "</s></s> [SEP] <pad>", "a\x00b", "ıİ\u2028ﬁ"])
def test_strange_text_is_finite(text, any_encoder):
    net = network(any_encoder)
    sample = net.preprocess(placed_at(1, TALK[0], (text, f"{text} {TALK[1][1]}"), TALK[1]))  # some of it is known
    assert len(sample["tokens"]) <= 64
    assert (sample["cut_tokens"] > 0) == (len(text) > 1000)
    assert torch.isfinite(embedding(net, sample)).all()


def test_a_text_that_spells_a_separator_does_not_become_one(any_encoder):
    net = network(any_encoder)
    special = set(net.tokenizer.all_special_ids) - {net.tokenizer.unk_token_id}
    sample = net.preprocess(single(f"</s> [SEP] <pad> [CLS] <s> {TALK[1][1]}", "[SEP]</s>"))
    assert not special & set(sample["tokens"][sample["start"] : sample["end"]].tolist())


@pytest.mark.parametrize(
    ("text", "reason"), [(None, "no transcript"), ("", "empty"), (" \n", "empty"), ("\u200b", "no character")]
)
def test_no_text_is_missing(text, reason, bert):
    with pytest.raises(MediaError, match=reason):
        network(bert).preprocess(single(text, "Joey"))


def test_a_whole_corpus_is_embedded_or_named(bert):
    manifest = talk_of(*TALK, ("Ross", None))
    found = [outcome for _, outcome in embed(network(bert), place_utterances(manifest), Loading(batch_size=3))]
    assert [isinstance(outcome, Missing) for outcome in found] == [False] * 4 + [True]
    assert torch.isfinite(torch.stack(found[:4])).all()


@pytest.mark.parametrize("around", [0, None])
def test_a_corpus_of_mixed_lengths_is_hardly_padded(around, bert):
    net = network(bert, past=around, future=around)
    utterances = tuple(
        Utterance(f"{d}_{n}", "tiny", "train", str(d), n, None, "great " * (1 + n + 5 * d % 13))
        for d in range(12)
        for n in range(2)
    )
    wanted = place_utterances(Manifest("tiny", LabelSet("tiny", ("joy", "anger")), utterances))
    samples = [net.preprocess(placed) for placed in wanted]

    def padding(batches):
        masks = [net.collate([samples[place] for place in batch])["mask"] for batch in batches]
        return sum(int((~mask).sum()) for mask in masks)

    in_order = [list(range(start, start + 4)) for start in range(0, len(wanted), 4)]
    assert padding(plan(net, wanted, 4)) < 0.5 * padding(in_order)
    for (_, vector), sample in zip(embed(net, wanted, Loading(batch_size=4)), samples, strict=True):
        torch.testing.assert_close(vector, embedding(net, sample)[0], atol=1e-6, rtol=0)


def test_pretrained_weights_are_taken_and_all_of_them_learn(any_encoder):
    net = TextEncoder(str(any_encoder), budget=64)
    assert all(module.training for module in net.modules())
    weights = {"roberta": RobertaModel, "bert": BertModel}[net.encoder.config.model_type].from_pretrained(any_encoder)
    for name, parameter in net.encoder.named_parameters():
        assert torch.equal(parameter, weights.get_parameter(name))
    net(net.collate([net.preprocess(placed_at(1, *TALK))])).square().sum().backward()
    assert [name for name, parameter in net.named_parameters() if parameter.grad is None] == []
    assert [sum(p.numel() for p in part.parameters()) for part in net.backbones()] == [
        sum(p.numel() for p in net.parameters())
    ]


def test_checkpointing_changes_no_gradient(roberta):
    gradients = []
    for checkpointing in (False, True):
        net = network(roberta, gradient_checkpointing=checkpointing).train()
        assert net.encoder.is_activation_checkpointing == checkpointing
        for module in net.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.0
        net(net.collate([net.preprocess(placed_at(1, *TALK))])).square().sum().backward()
        gradients.append(net.encoder.get_input_embeddings().weight.grad)
    torch.testing.assert_close(*gradients)


def test_a_run_is_built_again_without_the_hub_or_the_first_folder(any_encoder, tmp_path):
    first = shutil.copytree(any_encoder, tmp_path / "first")
    net = network(first, pooling="mean")
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(0.01)
    net.save_assets(tmp_path / "run")
    shutil.rmtree(first)
    assert not list((tmp_path / "run").rglob("*.safetensors"))
    assert not list((tmp_path / "run").rglob(".tmp-*"))
    again = TextEncoder(**{"budget": 64, "pooling": "mean"} | TextEncoder.asset_settings(tmp_path / "run")).eval()
    again.load_state_dict(net.state_dict())
    sample, same = net.preprocess(placed_at(1, *TALK)), again.preprocess(placed_at(1, *TALK))
    assert sample["tokens"].equal(same["tokens"])
    assert torch.equal(embedding(net, sample), embedding(again, same))


@pytest.mark.slow
@pytest.mark.parametrize("config", ["text_roberta", "text_roberta_base"])
def test_a_shipped_configuration_trains_and_embeds_without_its_first_folder(
    config, roberta, tmp_path, monkeypatch, capsys
):
    utterances = tuple(
        Utterance(
            f"{split}{n}_{place}", "tiny", split, f"{split}{n}", place, speaker, text, ["joy", "anger"][place % 2]
        )
        for split in ("train", "dev")
        for n in range(4)
        for place, (speaker, text) in enumerate(TALK)
    )
    Manifest("tiny", LabelSet("tiny", ("joy", "anger")), utterances).save(tmp_path / "manifest")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["m2fnet"])
    first = shutil.copytree(roberta, tmp_path / "first")
    small = "--model.net.init_args.model first --model.net.init_args.budget 64 --data.manifest manifest --run run"
    quick = "--trainer.max_epochs 1 --trainer.limit_train_batches 1 --trainer.accelerator cpu"
    quiet = "--trainer.enable_progress_bar false --trainer.enable_model_summary false"
    fit = ["extractor", "fit", "--config", f"conf/extractors/{config}.yaml", *f"{small} {quick} {quiet}".split()]
    assert run(fit) == DONE, capsys.readouterr().err
    shutil.rmtree(first)
    assert run(["extract", "--ckpt", "run", "--manifest", "manifest", "--out", "store"]) == DONE, (
        capsys.readouterr().err
    )
    assert "32 of 32 utterances" in capsys.readouterr().out


@pytest.mark.parametrize("model", ["roberta-large", "nobody/has-this", "./no/such/folder", ""])
def test_without_the_hub_the_error_says_what_to_do(model, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    with pytest.raises(RunError, match=r"no encoder .*Name a folder with config.json") as error:
        TextEncoder(model)
    assert "\n" not in str(error.value)


def broken(folder, tmp_path, change):
    copy = shutil.copytree(folder, tmp_path / "broken")
    change(copy)
    return copy


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: (f / "model.safetensors").rename(f / "pytorch_model.bin"), "pickles, which can run code"),
        (lambda f: (f / "model.safetensors").write_bytes(b"\x00" * 100), "cannot be loaded"),
        (lambda f: (f / "config.json").write_text("{"), "cannot be loaded"),
        (lambda f: (f / "config.json").unlink(), "cannot be loaded"),
        (lambda f: (f / "config.json").write_text('{"model_type": "no_such"}'), "cannot be loaded"),
        (lambda f: (f / "tokenizer.json").write_text("[]"), "cannot be loaded"),
    ],
)
def test_a_damaged_folder_is_named(change, message, roberta, tmp_path):
    folder = broken(roberta, tmp_path, change)
    with pytest.raises(RunError, match=message) as error:
        TextEncoder(str(folder), budget=64)
    assert str(folder) in str(error.value)
    assert "\n" not in str(error.value)


def test_weights_of_a_smaller_architecture_are_refused(roberta, tmp_path):
    def deeper(folder):
        text = (folder / "config.json").read_text()
        (folder / "config.json").write_text(text.replace('"num_hidden_layers": 2', '"num_hidden_layers": 3'))

    with pytest.raises(RunError, match=r"lack 16 .*encoder\.layer\.2"):
        network(broken(roberta, tmp_path, deeper))


def test_a_tokenizer_without_separators_is_refused(roberta, tmp_path):
    def plain(folder):
        ByteLevelBPETokenizer(str(folder / "vocab.json"), str(folder / "merges.txt")).save(
            str(folder / "tokenizer.json")
        )
        (folder / "tokenizer_config.json").write_text('{"tokenizer_class": "PreTrainedTokenizerFast"}')

    with pytest.raises(RunError, match="no separator between two texts"):
        network(broken(roberta, tmp_path, plain))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"past": -1}, "past >= 0 utterances, or None for all, but got -1"),
        ({"budget": 65}, "at most 64 tokens"),
        ({"budget": 6}, "more than 6 tokens"),
    ],
)
def test_senseless_settings_are_refused(settings, message, roberta):
    with pytest.raises(ValueError, match=message):
        network(roberta, **settings)
    smallest = network(roberta, budget=7).preprocess(single("here"))
    assert smallest["end"] - smallest["start"] == 1
