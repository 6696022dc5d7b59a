"""A run as one object and as one folder: the same answers, nothing of training, nothing that was changed."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from dialog.data import Dialogues
from extractors.extraction.embedding import Loading, embed, place_utterances
from m2fnet.errors import M2FNetError, ModelError, UsageError
from m2fnet.files import sha256_of
from m2fnet.manifest import Manifest
from m2fnet.model import assemble, load_model, save_model
from m2fnet.problems import make_problem
from m2fnet.store import Store


def batch_of(trained_root, split="test"):
    """All dialogues of a split, from the stores."""
    manifest = Manifest.load(trained_root / "manifest")
    stores = {name: Store(trained_root / "embeddings" / name) for name in ("text", "audio")}
    problem = make_problem(manifest.label_set, {name: store.meta.width for name, store in stores.items()})
    dialogues = Dialogues(manifest.dialogues(split), stores, problem)
    return dialogues, dialogues.__getitems__(range(len(dialogues)))


def logits_of(model, batch):
    with torch.inference_mode():
        return model.network(batch).scores


def embeddings_of(model, trained_root):
    wanted = place_utterances(Manifest.load(trained_root / "manifest"), "test")[:4]
    return {
        name: torch.stack([vector for _, vector in embed(extractor, wanted, Loading(workers=0))])
        for name, extractor in model.extractors.items()
    }


def rewrite(folder, change):
    """``model.json`` with a change."""
    path = folder / "model.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    change(content)
    path.write_text(json.dumps(content), encoding="utf-8")


def refused(folder, kind=ModelError):
    with pytest.raises(kind) as message:
        load_model(folder)
    return str(message.value)


def test_a_model_says_in_a_sentence_what_it_was_trained_on(model, trained_root):
    labelled = sum(
        u.labels is not None for u in Manifest.load(trained_root / "manifest").utterances if u.split == "train"
    )
    assert f"{labelled:,} utterances" in model.trained_on
    assert model.config["trained"]["corpus"] in model.trained_on


@pytest.mark.parametrize("trained", [None, 3, {}, {"corpus": 3}, {"corpus": "x", "counts": [1]}])
def test_a_model_that_does_not_say_what_it_was_trained_on_is_no_fault(model, trained):
    said = replace(model, config={"trained": trained}).trained_on
    assert ("corpus x;" in said) if trained == {"corpus": "x", "counts": [1]} else said == ""


def test_a_run_answers_as_it_was_tested(model, run_folder, trained_root):
    dialogues, batch = batch_of(trained_root)
    rows = [json.loads(line) for line in (run_folder / "predictions.jsonl").read_text(encoding="utf-8").splitlines()]
    expected = {row["id"]: list(row["probabilities"].values()) for row in rows}
    found = logits_of(model, batch).softmax(-1)[batch["valid"]]
    ids = [dialogues.utterances[row].id for row in batch["row"][batch["valid"]].tolist()]
    torch.testing.assert_close(found, torch.tensor([expected[name] for name in ids]))


def test_a_run_embeds_as_its_stores_say(model, trained_root):
    wanted = [placed.utterance.id for placed in place_utterances(Manifest.load(trained_root / "manifest"), "test")[:4]]
    for name, found in embeddings_of(model, trained_root).items():
        torch.testing.assert_close(found, Store(trained_root / "embeddings" / name).matrix(wanted)[0])


def test_a_folder_answers_as_the_run_that_it_was_made_from(model, saved, trained_root):
    again, (_, batch) = load_model(saved), batch_of(trained_root)
    assert again.label_set == model.label_set
    assert list(again.extractors) == list(model.extractors) == ["text", "audio"]
    assert torch.equal(logits_of(again, batch), logits_of(model, batch))
    before, after = embeddings_of(model, trained_root), embeddings_of(again, trained_root)
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert not any(part.training for part in (again.network, *again.extractors.values()))


def test_a_folder_needs_nothing_but_itself(saved, trained_root, tmp_path):
    text = (saved / "model.json").read_text(encoding="utf-8")
    assert str(trained_root) not in text
    assert "encoder" not in json.loads(text)["extractors"]["text"]["init_args"].values()
    moved = shutil.copytree(saved, tmp_path / "moved")
    assert load_model(moved).extractors["text"].width == 16


def test_a_folder_holds_only_tensors_and_text(saved):
    kinds = {path.suffix for path in saved.rglob("*") if path.is_file()}
    assert kinds <= {".json", ".md", ".safetensors", ".txt"}
    assert {path.name for path in saved.iterdir()} == {
        "README.md",
        "model.json",
        "network.safetensors",
        "text",
        "audio",
    }


def test_a_model_says_what_it_was_trained_on(model, trained_root):
    manifest = Manifest.load(trained_root / "manifest")
    facts = model.config["trained"]
    assert (facts["corpus"], facts["manifest_sha256"], facts["seed"]) == ("tiny", manifest.sha256, 2)
    assert facts["counts"]["test"] == {"dialogues": 12, "utterances": 24, "labelled": 24}
    assert model.config["network"]["widths"] == {"text": 16, "audio": 6}


def test_probabilities_are_calibrated_on_dev(model):
    assert 0.05 <= model.temperature <= 20
    assert model.temperature != 1
    logits = torch.tensor([[[2.0, 0.0, -1.0]]])
    torch.testing.assert_close(model.probabilities(logits), (logits / model.temperature).softmax(-1))


def test_a_run_that_was_not_tested_has_no_temperature(run_folder, trained_root, tmp_path):
    copy = Path(shutil.copytree(run_folder, tmp_path / "run"))
    (copy / "report.json").unlink()
    given = {"text": trained_root / "runs" / "text" / "seed-1", "audio": trained_root / "runs" / "audio"}
    assert assemble(copy, given).temperature == 1


def test_no_training_code_is_imported(saved, trained_root):
    script = (
        "import sys, torch\nfrom m2fnet.model import load_model\nmodel = load_model(sys.argv[1])\n"
        "from extractors.extraction.embedding import Loading, embed, place_utterances\n"
        "from m2fnet.manifest import Manifest\n"
        "wanted = place_utterances(Manifest.load(__import__('pathlib').Path(sys.argv[2])), 'test')[:2]\n"
        "found = {n: torch.stack([v for _, v in embed(e, wanted, Loading(workers=0))])[None]\n"
        "         for n, e in model.extractors.items()}\n"
        "here = torch.ones(1, 2, dtype=torch.bool)\n"
        "print(model.network({'inputs': found, 'present': dict.fromkeys(found, here), 'valid': here}).scores.shape)\n"
        "print('TRAINING', sorted({'pytorch_lightning', 'lightning', 'torchmetrics'} & set(sys.modules)))\n"
    )
    arguments = [sys.executable, "-c", script, str(saved), str(trained_root / "manifest")]
    message = subprocess.run(arguments, capture_output=True, text=True, check=True, timeout=120).stdout
    assert "torch.Size([1, 2, 3])" in message
    assert "TRAINING []" in message


@pytest.mark.parametrize("name", ["network.safetensors", "text/model.safetensors", "audio/fitted.safetensors"])
def test_changed_weights_are_refused(name, folder):
    path = folder / name
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    assert f"{path} is not as it was written: its size or SHA-256 differs" in refused(folder)


def test_a_changed_tokenizer_is_refused(folder):
    path = folder / "text" / "encoder" / "tokenizer.json"
    path.write_text(path.read_text(encoding="utf-8").replace("great", "awful"), encoding="utf-8")
    assert f"{path} is not as it was written" in refused(folder)


def test_the_card_may_be_edited_and_a_clone_has_files_of_its_own(folder):
    (folder / "README.md").write_text("# Mine\n", encoding="utf-8")
    (folder / ".gitattributes").write_text("*.safetensors filter=lfs\n", encoding="utf-8")
    (folder / ".git").mkdir()
    (folder / ".git" / "HEAD").write_text("ref: refs/heads/main\n", encoding="utf-8")
    assert load_model(folder).label_set.name == "tiny"


def test_a_missing_part_is_refused(folder):
    (folder / "audio" / "fitted.safetensors").unlink()
    assert f"{folder / 'audio' / 'fitted.safetensors'} is missing" in refused(folder)


@pytest.mark.parametrize("name", ["text/encoder/pytorch_model.bin", "extra.json", "deep/er/file.txt", ".git2"])
def test_a_surplus_part_is_refused(name, folder):
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text("{}", encoding="utf-8")
    assert f"{folder} holds {name!r}, which model.json does not list" in refused(folder)


def test_a_link_to_a_folder_is_a_surplus_part(folder, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (folder / "linked").symlink_to(tmp_path / "elsewhere")
    assert "holds 'linked'" in refused(folder)


@pytest.mark.parametrize("name", ["network.safetensors", "model.json"])
def test_a_link_out_of_the_folder_is_refused(name, folder, tmp_path):
    shutil.move(folder / name, tmp_path / "outside")
    (folder / name).symlink_to(tmp_path / "outside")
    assert f"{folder / name} is a link that leads out of the model" in refused(folder)


def test_a_loop_of_links_is_refused(folder):
    (folder / "network.safetensors").unlink()
    (folder / "network.safetensors").symlink_to("network.safetensors")
    assert "network.safetensors is missing" in refused(folder)


@pytest.mark.parametrize(
    "name",
    [
        "../outside.json",
        "/etc/hosts.json",
        "text/../../a.json",
        "a//b.json",
        "c:\\a.json",
        "./a.json",
        "run.py",
        "a.bin",
    ],
)
def test_a_hostile_path_is_refused(name, folder):
    rewrite(folder, lambda content: content["files"].update({name: {"bytes": 2, "sha256": "0" * 64}}))
    assert f"lists the file {name!r}; expected names inside the folder" in refused(folder)


@pytest.mark.parametrize("name", ["z" * 300 + ".json", "\0.json", "absent.json"])
def test_a_name_without_a_file_is_refused(name, folder):
    rewrite(folder, lambda content: content["files"].update({name: {"bytes": 2, "sha256": "0" * 64}}))
    assert f"{folder / name} is missing" in refused(folder)


@pytest.mark.parametrize("form", [2, None, "1"])
def test_another_format_is_refused(form, folder):
    rewrite(folder, lambda content: content.update(format=form))
    assert f"has the format {form!r}, expected 1" in refused(folder)


@pytest.mark.parametrize(
    ("part", "class_path", "message"),
    [
        ("network", "os.getpid", "outside the trusted packages (dialog, extractors)"),
        ("network", "torch.nn.Linear", "outside the trusted packages"),
        ("network", "m2fnet.cli.main", "outside the trusted packages"),
        ("text", "pytorch_lightning.callbacks.ModelCheckpoint", "outside the trusted packages"),
        ("text", "dialogue.Evil", "outside the trusted packages"),
        ("network", "dialog.cli.main", "expected a subclass of torch.nn"),
        ("text", "extractors.pretrained.fetch", "expected a subclass of extractors.base.Extractor"),
        ("text", "extractors.no.such", "cannot be imported"),
        ("text", "evil.yaml", "outside the trusted packages"),
        ("text", "os", "cannot be imported"),
        ("network", "dialog", "cannot be imported"),
    ],
)
def test_a_foreign_class_is_refused(part, class_path, message, folder):
    def change(content):
        (content["network"] if part == "network" else content["extractors"][part])["class_path"] = class_path

    rewrite(folder, change)
    assert message in refused(folder)


def test_a_foreign_class_inside_the_settings_is_refused(folder):
    nested = {"class_path": "subprocess.Popen", "init_args": {"args": ["true"]}}
    rewrite(folder, lambda content: content["extractors"]["text"]["init_args"].update(names=nested))
    assert "'subprocess.Popen', which is outside the trusted packages" in refused(folder)


@pytest.mark.parametrize("setting", [{"model": "/tmp"}, {"pretrained": True}])
def test_settings_that_lead_to_another_place_are_refused(setting, folder):
    rewrite(folder, lambda content: content["extractors"]["text"]["init_args"].update(setting))
    assert "which names files of one machine" in refused(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c.pop("label_set"), "damaged"),
        (lambda c: c["label_set"].update(classes=["joy"]), "damaged"),
        (lambda c: c["label_set"].update(kind="multi"), "damaged"),
        (lambda c: c["network"].update(widths={"text": 16}), "damaged"),
        (lambda c: c["network"]["widths"].update(text=True), "damaged"),
        (lambda c: c.update(temperature=0), "damaged"),
        (lambda c: c.update(temperature=float("inf")), "damaged"),
        (lambda c: c.update(extractors=[]), "damaged"),
        (lambda c: c.update(network={**c["network"], "class_path": 3}), "damaged"),
        (lambda c: c.update(files=["network.safetensors"]), "lists no files"),
        (lambda c: c["network"]["widths"].update(audio=7), "does not fit the network"),
        (lambda c: c["label_set"].update(classes=["joy", "anger"]), "does not fit the network"),
        (lambda c: c["network"]["init_args"].update(width=16), "does not fit the network"),
        (lambda c: c["network"]["init_args"].update(heads=3), "Expected `heads` to divide"),
        (lambda c: c["network"]["init_args"].update(surprise=3), "surprise"),
        (lambda c: c["extractors"]["audio"]["init_args"].update(width="wide"), "wide"),
    ],
)
def test_parts_that_do_not_fit_are_refused(change, message, folder):
    rewrite(folder, change)
    assert message in refused(folder)


@pytest.mark.parametrize(
    "change",
    [
        lambda c: c["label_set"]["classes"].reverse(),  # would call every emotion by another's name
        lambda c: c.update(temperature=c["temperature"] + 1),
        lambda c: c["trained"].update(corpus="another"),
        lambda c: c.pop("sha256"),
    ],
)
def test_a_description_edited_by_hand_is_refused(change, folder):
    rewrite(folder, change)
    assert f"{folder / 'model.json'} is not as it was written: its content differs from its sha256." in refused(folder)


def test_an_extractor_of_another_modality_is_refused(folder):
    def swap(content):
        content["extractors"]["text"] = content["extractors"]["audio"]
        content["network"]["widths"]["text"] = 6
        content["files"] = {
            name.replace("text/model", "text/fitted"): noted
            for name, noted in content["files"].items()
            if "encoder" not in name
        }
        noted = {"bytes": weights.stat().st_size, "sha256": sha256_of(weights)}
        content["files"]["text/fitted.safetensors"] = noted

    shutil.rmtree(folder / "text")
    weights = folder / "audio" / "fitted.safetensors"
    shutil.copytree(folder / "audio", folder / "text")
    rewrite(folder, swap)
    assert "does not fit the network" in refused(folder) or "the extractor of text embeds audio" in refused(folder)


def test_json_of_another_kind_is_refused(folder):
    (folder / "model.json").write_text("[1", encoding="utf-8")
    assert "model.json is not valid JSON" in refused(folder)


def test_what_is_no_model_is_named(tmp_path):
    assert f"{tmp_path} is not a model: it holds neither model.json" in refused(tmp_path)
    assert "There is no model './nowhere'" in refused("./nowhere")


def test_ones_own_classes_are_trusted_by_name(folder, monkeypatch):
    own = {"class_path": "my_lab.nets.Net"}
    rewrite(folder, lambda content: content["network"].update(own))
    assert "M2FNET_TRUST=my_lab" in refused(folder)
    monkeypatch.setenv("M2FNET_TRUST", "my_lab")
    assert "cannot be imported" in refused(folder)


def test_a_folder_that_is_in_use_is_not_replaced_unasked(model, folder, tmp_path):
    before = sha256_of(folder / "model.json")
    with pytest.raises(
        UsageError, match="already holds a model; choose another folder, or replace it with --overwrite"
    ):
        save_model(model, folder, "new")
    assert sha256_of(folder / "model.json") == before
    assert (save_model(model, folder, "new", overwrite=True) / "README.md").read_text(encoding="utf-8") == "new"
    assert load_model(folder).label_set == model.label_set
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model"]


def test_a_folder_of_something_else_is_never_replaced(model, folder, tmp_path):
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "thesis.tex").write_text("x", encoding="utf-8")
    with pytest.raises(UsageError, match="exists and is not a model"):
        save_model(model, tmp_path / "thesis", "card", overwrite=True)
    (folder / "notes.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(UsageError, match=r"holds 'notes.txt', which is not of the model"):
        save_model(model, folder, "card", overwrite=True)
    assert (folder / "notes.txt").read_text(encoding="utf-8") == "mine"


def test_a_failed_export_leaves_nothing(model, tmp_path, monkeypatch):
    monkeypatch.setattr("m2fnet.model.folder.list_files", lambda folder: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        save_model(model, tmp_path / "model", "card")
    assert list(tmp_path.iterdir()) == []


def test_a_new_folder_is_as_readable_as_any_other(saved, tmp_path):
    (tmp_path / "other").mkdir()
    assert saved.stat().st_mode == (tmp_path / "other").stat().st_mode
    assert os.access(saved / "model.json", os.R_OK)


def test_an_extractor_elsewhere_has_to_be_named(run_folder, trained_root, tmp_path):
    copy = Path(shutil.copytree(run_folder, tmp_path / "far" / "away" / "run"))
    with pytest.raises(ModelError, match=r"is in no run folder below .* Name its run folder: --extractor text=RUN"):
        load_model(copy)
    text, audio = trained_root / "runs" / "text" / "seed-1", trained_root / "runs" / "audio"
    assert assemble(copy, {"text": text, "audio": audio}).config["network"]["widths"] == {"text": 16, "audio": 6}
    with pytest.raises(ModelError, match=r"The weights in .* have SHA-256 .*, but the text embeddings of .* were made"):
        assemble(copy, {"text": audio})
    with pytest.raises(UsageError, match="has the streams text, audio, not visual; drop that --extractor"):
        assemble(copy, {"visual": audio})


def test_a_run_on_imported_embeddings_makes_no_model(run_folder, trained_root, tmp_path):
    root = tmp_path / "copy"
    shutil.copytree(trained_root, root)
    run = root / "runs" / "talk" / "seed-2"
    provenance = json.loads((run / "provenance.json").read_text(encoding="utf-8"))
    store = root / "embeddings" / "audio"
    provenance["stores"]["audio"]["folder"] = str(store)
    (run / "provenance.json").write_text(json.dumps(provenance), encoding="utf-8")
    meta = json.loads((store / "meta.json").read_text(encoding="utf-8"))
    meta["extractor"] = {"imported": "features.pkl", "sha256": "0" * 64, "layout": "any"}
    (store / "meta.json").write_text(json.dumps(meta), encoding="utf-8")
    with pytest.raises(ModelError, match=r"The audio embeddings of .* were imported, so there is no extractor"):
        load_model(run)


def test_a_store_that_was_made_again_tells_nothing(run_folder, trained_root, tmp_path):
    root = Path(shutil.copytree(trained_root, tmp_path / "copy"))
    run = root / "runs" / "talk" / "seed-2"
    text = (run / "provenance.json").read_text(encoding="utf-8").replace(str(trained_root), str(root))
    (run / "provenance.json").write_text(text, encoding="utf-8")
    meta = json.loads((root / "embeddings" / "text" / "meta.json").read_text(encoding="utf-8"))
    meta["sha256"]["shard-00000.safetensors"] = "0" * 64
    (root / "embeddings" / "text" / "meta.json").write_text(json.dumps(meta), encoding="utf-8")
    with pytest.raises(ModelError, match="was made again since"):
        load_model(run)


def test_a_run_of_an_extractor_is_no_dialogue_run(trained_root):
    assert "is not a run of a dialogue network" in refused(trained_root / "runs" / "text" / "seed-1", M2FNetError)
