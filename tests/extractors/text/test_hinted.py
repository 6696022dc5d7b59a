"""Hint and transcript through a tiny model that writes text: what is read, what is averaged, what a store notes."""

import dataclasses
import json

import pytest
import torch
import yaml
from tiny_encoders import DEPTH, save_encoder
from transformers import AutoModel

from extractors.base import PlacedUtterance
from extractors.extraction.embedding import Loading, embed, place_utterances
from extractors.runs import portable
from extractors.text.hint_prompt import Prompt
from extractors.text.hinted import HintedTextEncoder
from extractors.text.hints import HintFile, write_hints
from extractors.text.roberta import TextEncoder
from m2fnet.cli import DONE, FAILED, WRONG_USE, run
from m2fnet.errors import HintError, MediaError, RunError
from m2fnet.manifest import Manifest
from m2fnet.records import LabelSet, Utterance
from m2fnet.store import Missing, Store

TALK = ("great !", "I hate this", None, "the table is here")
READ = {"budget": 64, "overlap": 8, "layers": [-2, -1]}


@pytest.fixture(scope="module", params=["llama", "gpt2", "bert"])
def encoder(request, tmp_path_factory):
    return save_encoder(tmp_path_factory.mktemp(request.param), request.param)


@pytest.fixture(scope="module")
def llama(tmp_path_factory):
    return save_encoder(tmp_path_factory.mktemp("llama"), "llama")


@pytest.fixture
def manifest(tmp_path):
    said = tuple(
        Utterance(f"u{n}", "own", split, f"d{n // 4}", n % 4, "Ann", text, ("joy", "anger")[n % 2])
        for n, (split, text) in enumerate((split, text) for split in ("train", "dev", "test") for text in TALK)
    )
    return Manifest("own", LabelSet("own", ("joy", "anger")), said, tmp_path).save(tmp_path / "data")


def made_hints(folder, manifest, hint="so great", skip=()):
    rows = [{"id": one.id, "hint": hint} for one in manifest.utterances if one.id not in skip]
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    write_hints(folder / "hints", manifest, HintFile(Prompt(form="free"), folder / "rows.jsonl"))
    return str(folder / "hints")


def placed(manifest, place):
    return place_utterances(manifest)[place]


def said(text):
    utterance = Utterance("other", "own", "train", "d", 0, "Ann", text)
    manifest = Manifest("own", LabelSet("own", ("joy", "anger")), (utterance,))
    return PlacedUtterance(manifest, manifest.dialogues()[0], 0)


def test_the_hint_is_read_in_front_of_the_transcript(encoder, manifest, tmp_path):
    net = HintedTextEncoder(encoder, hints=made_hints(tmp_path, manifest), **READ).eval()
    plain = TextEncoder(encoder, past=0, future=0, speakers=False, trained="none", pooling="mean", **READ).eval()
    with_hint, as_text = (
        one.preprocess(p) for one, p in ((net, placed(manifest, 0)), (plain, said("so great great !")))
    )
    assert with_hint["tokens"].tolist() == as_text["tokens"].tolist()
    with torch.inference_mode():
        torch.testing.assert_close(net(net.collate([with_hint])), plain(plain.collate([as_text])))


def test_the_last_four_layers_are_averaged_over_tokens(encoder, manifest, tmp_path):
    """`transformers` computes the same: all layers of a model with four of them, those between the marks averaged."""
    net = HintedTextEncoder(encoder, hints=made_hints(tmp_path, manifest), budget=64, overlap=8)
    assert net.readout.numbers == [0, 1, 2, 3]
    assert len(net.blocks) == DEPTH
    sample = net.preprocess(placed(manifest, 0))
    with torch.inference_mode():
        found = net.eval()(net.collate([sample]))[0]
        layers = AutoModel.from_pretrained(encoder).eval()(sample["tokens"][None], output_hidden_states=True)
    mean = torch.stack(layers.hidden_states[-4:]).mean(0)[0, sample["start"] : sample["end"]].mean(0)
    torch.testing.assert_close(found, mean, atol=1e-5, rtol=1e-5)
    assert sample["end"] - sample["start"] == 4  # so great great !


def test_without_a_hint_the_transcript_is_read_and_counted_and_without_a_transcript_it_is_missing(
    encoder, manifest, tmp_path
):
    net = HintedTextEncoder(encoder, hints=made_hints(tmp_path, manifest, skip={"u1"}), **READ)
    plain = HintedTextEncoder(encoder, **READ)
    first, second = net.preprocess(placed(manifest, 0)), net.preprocess(placed(manifest, 1))
    assert (first["without_hint"], second["without_hint"]) == (0, 1)
    assert second["tokens"].tolist() == plain.preprocess(placed(manifest, 1))["tokens"].tolist()
    assert plain.preprocess(placed(manifest, 1))["without_hint"] == 0  # nobody asked for hints
    with pytest.raises(MediaError, match="there is no transcript"):
        net.preprocess(placed(manifest, 2))


def test_an_embedding_does_not_depend_on_its_batch_or_on_workers(encoder, manifest, tmp_path):
    net = HintedTextEncoder(encoder, hints=made_hints(tmp_path, manifest, "so great " * 40, {"u3"}), **READ)
    utterances = place_utterances(manifest)
    single = [found for _, found in embed(net, utterances, Loading(1))]
    batched = [found for _, found in embed(net, utterances, Loading(12, workers=2))]
    is_missing = [isinstance(one, Missing) for one in single]
    assert is_missing == [isinstance(one, Missing) for one in batched] == [u.utterance.text is None for u in utterances]
    for one, other, missing in zip(single, batched, is_missing, strict=True):
        if not missing:
            torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5)


def test_other_hints_than_those_it_was_made_with_are_refused(llama, manifest, tmp_path):
    net = HintedTextEncoder(llama, hints=made_hints(tmp_path, manifest), **READ)
    net.save(tmp_path / "net")
    settings = READ | HintedTextEncoder.asset_settings(tmp_path / "net")
    HintedTextEncoder(**settings, hints=str(tmp_path / "hints"))
    made_hints(tmp_path, manifest, "so sad")
    with pytest.raises(RunError, match=r"has SHA-256 .*, but the extractor was made with hints of .* --overwrite"):
        HintedTextEncoder(**settings, hints=str(tmp_path / "hints"))
    with pytest.raises(HintError, match="m2fnet hints"):
        HintedTextEncoder(llama, hints=str(tmp_path / "nowhere"), **READ)


@pytest.fixture
def config(llama, manifest, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["m2fnet"])
    net = {
        "class_path": "extractors.text.hinted.HintedTextEncoder",
        "init_args": {"model": llama, "hints": "hints"} | READ,
    }
    content = {"data": {"manifest": "data", "workers": 0}, "model": {"net": net}}
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
    return ["extract", "--config", "tiny.yaml", "--run", "run", "--manifest", "data", "--workers", "0"]


def test_a_store_knows_its_hints_and_other_hints_make_another_store(config, manifest, tmp_path, capsys):
    made_hints(tmp_path, manifest, skip={"u0"})
    assert run([*config, "--out", "store"]) == DONE, capsys.readouterr().err
    printed = capsys.readouterr().out
    assert "9 of 12 utterances embedded" in printed
    assert "1 without hint" in printed
    store = Store("store")
    meta = json.loads((tmp_path / "hints" / "meta.json").read_text(encoding="utf-8"))
    assert store.meta.extractor["hints"] == {name: meta[name] for name in ("sha256", "prompt", "model")}
    assert run([*config, "--out", "store"]) == DONE, capsys.readouterr().err
    assert "nothing to do" in capsys.readouterr().out

    made_hints(tmp_path, manifest, "so hate")
    assert run([*config, "--out", "other"]) in (FAILED, WRONG_USE)
    assert "--overwrite" in capsys.readouterr().err
    assert run([*config, "--out", "other", "--overwrite"]) == DONE, capsys.readouterr().err
    assert not torch.equal(Store("other")["u1"], store["u1"])
    assert run([*config, "--out", "store"]) == FAILED
    assert "already holds a store" in capsys.readouterr().err


def test_an_exported_extractor_reads_transcripts_and_has_no_hints(config, manifest, tmp_path, capsys):
    made_hints(tmp_path, manifest)
    assert run([*config, "--out", "store"]) == DONE, capsys.readouterr().err
    found = portable.of_run(tmp_path / "run")
    portable.save(found.extractor, tmp_path / "exported")
    assert "hints" not in found.settings["init_args"]
    content = b"".join(path.read_bytes() for path in (tmp_path / "exported").rglob("*") if path.is_file())
    assert b"so great" not in content
    again = portable.load(found.settings, tmp_path / "exported", "there")
    utterance = dataclasses.replace(manifest.utterances[0])
    assert again.words(utterance) == "great !"


def test_the_layer_can_be_chosen_by_a_probe(config, manifest, tmp_path, capsys):
    made_hints(tmp_path, manifest)
    assert run([*config, "--out", "store", "--model.net.init_args.layers", "auto"]) == DONE, capsys.readouterr().err
    assert "chosen" in capsys.readouterr().out


@pytest.mark.slow
def test_a_model_can_be_trained_on_hints_and_its_store_knows_them(config, manifest, tmp_path, capsys):
    made_hints(tmp_path, manifest)
    settings = ["--data.manifest", "data", "--model.net.init_args.trained", "1", "--run", "trained"]
    trainer = ["--trainer.max_epochs", "1", "--trainer.accelerator", "cpu", "--trainer.enable_progress_bar", "false"]
    assert run(["extractor", "fit", "--config", "tiny.yaml", *settings, *trainer]) == DONE, capsys.readouterr().err
    extract = ["extract", "--ckpt", "trained", "--manifest", "data", "--out", "store", "--workers", "0"]
    assert run(extract) == DONE, capsys.readouterr().err
    meta = json.loads((tmp_path / "hints" / "meta.json").read_text(encoding="utf-8"))
    assert Store("store").meta.extractor["hints"]["sha256"] == meta["sha256"]
    made_hints(tmp_path, manifest, "so hate")
    assert run([*extract, "--overwrite"]) in (FAILED, WRONG_USE)
    assert "the extractor was made with hints of" in capsys.readouterr().err
