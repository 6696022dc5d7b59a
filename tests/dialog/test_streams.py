"""Streams by name, sequences, and networks that return terms: through the commands, and batch by batch."""

import csv
import json
from functools import partial

import pytest
import torch
import yaml
from made_up_batches import batch_of
from sequence_network import MeanOverFrames
from tiny_corpus import CLASSES, WIDTHS, tiny_manifest, write_stores
from torch.testing import assert_close

from dialog.batch import Output, output_of
from dialog.data import DialogueData
from dialog.missing.modality_dropout import only, with_present
from dialog.models.dag_erc import DagERC
from dialog.models.dialogue_gcn import DialogueGCN
from dialog.models.dialogue_rnn import DialogueRNN
from dialog.models.late_fusion import LateFusion
from dialog.models.m2fnet import M2FNet
from dialog.models.mmgcn import MMGCN
from dialog.models.mult import MulT
from dialog.models.per_utterance import PerUtterance
from dialog.models.recurrent import Recurrent
from dialog.models.sdt import SDT
from dialog.models.state_space import StateSpace
from m2fnet.cli import DONE, WRONG_USE, run
from m2fnet.errors import StoreError, UsageError
from m2fnet.problems import Stream, make_problem
from m2fnet.records import LabelSet
from m2fnet.runs.curves import Curves
from m2fnet.runs.renamed import with_current_names
from m2fnet.store import Missing, StoreWriter

LABELS = LabelSet("three", CLASSES)


def write_sequences(folder, manifest, modality="visual", width=6, seed=3):
    """Sequences of 1 to 9 frames around the direction of the class; every fifth utterance has none."""
    draw = torch.Generator().manual_seed(seed)
    directions = 3 * torch.randn(len(CLASSES) + 1, width, generator=draw)
    meta = {"modality": modality, "width": width, "extractor": {"made": "up"}, "resolution": "frame"}
    with StoreWriter(folder, manifest, **meta) as writer:
        for n, u in enumerate(manifest.utterances):
            if n % 5 == 4:
                writer.add_missing(u.id, Missing("decode", "no frames"))
                continue
            frames = 1 + int(torch.randint(9, (), generator=draw))
            center = directions[-1 if u.label is None else CLASSES.index(u.label)]
            writer.add(u.id, center + torch.randn(frames, width, generator=draw))


@pytest.fixture
def folder(tmp_path):
    """The tiny corpus with the stores text, audio, visual, and ``clip`` of visual sequences."""
    manifest = tiny_manifest(dialogues=(30, 6, 8)).save(tmp_path / "manifest")
    write_stores(tmp_path, manifest)
    write_sequences(tmp_path / "clip", manifest)
    return tmp_path


def data_of(folder, batch_size=4, streams=None, **stores):
    return DialogueData(
        str(folder / "manifest"),
        {name: str(folder / place) for name, place in stores.items()},
        batch_size=batch_size,
        seed=0,
        streams=streams,
    )


def network_of(data, **settings):
    torch.manual_seed(0)
    return MeanOverFrames(data.problem, **settings).eval()


def test_names_are_free_and_the_store_knows_the_modality(folder):
    data = data_of(folder, scene="visual", face="visual", clip="clip", words="text", audio="audio")
    assert data.streams == ["audio", "scene", "face", "clip", "words"]  # the usual names first, then as listed
    assert data.problem.modalities == {
        "audio": "audio", "scene": "visual", "face": "visual", "clip": "visual", "words": "text"
    }  # fmt: skip
    assert [name for name, stream in data.problem.streams.items() if stream.is_sequence] == ["clip"]
    batch = data.dialogues("train")[0]
    assert list(batch["inputs"]) == list(batch["present"]) == data.streams
    assert torch.equal(batch["inputs"]["scene"], batch["inputs"]["face"])
    chosen = data_of(folder, streams=["words", "clip"], words="text", audio="audio", clip="clip")
    assert chosen.streams == ["words", "clip"]


@pytest.mark.parametrize("name", ["clip.face", "keys", "1st", "a b", "", "forward", "émotion"])
def test_a_name_that_cannot_name_a_part_of_a_network_is_refused(folder, name):
    with pytest.raises(UsageError, match=r"data\.stores: Expected names of streams of ASCII letters"):
        data_of(folder, **{name: "text"})


def test_a_usual_name_means_its_modality(folder):
    with pytest.raises(StoreError, match=r"holds audio embeddings; give the stream another name than text"):
        data_of(folder, text="audio")


def test_older_runs_choose_streams_by_modalities(folder):
    settings = {"data": {"stores": {name: str(folder / name) for name in WIDTHS}, "modalities": ["visual", "text"]}}
    data = DialogueData(str(folder / "manifest"), **with_current_names(settings)["data"])
    assert data.streams == ["text", "visual"]


def test_a_batch_holds_the_frames_of_each_utterance_and_their_mask(folder):
    data = data_of(folder, text="text", clip="clip")
    dialogues, store = data.dialogues("train"), data.stores["clip"]
    batch = dialogues.__getitems__([3, 0, 5])
    assert batch["frames"].keys() == {"clip"}
    values, real = batch["inputs"]["clip"], batch["frames"]["clip"]
    assert values.shape == (*real.shape, 6)
    assert not values[~real].any()
    for b, u in batch["valid"].nonzero().tolist():
        name = dialogues.utterances[int(batch["row"][b, u])].id
        assert bool(batch["present"]["clip"][b, u]) is (name in store)
        assert torch.equal(values[b, u][real[b, u]], store[name] if name in store else torch.zeros(0, 6))
    assert not real[~batch["valid"]].any()
    longest = max(len(store[u.id]) for u in dialogues.utterances if u.id in store)
    assert real.shape[2] <= longest
    assert bool(real.any(dim=(0, 1))[-1])  # no longer than the batch needs


def test_dialogues_of_like_numbers_of_frames_go_together(folder):
    data = data_of(folder, batch_size=6, clip="clip")
    dialogues, store = data.dialogues("train"), data.stores["clip"]
    frames = []
    for start, length in zip(dialogues.starts.tolist(), dialogues.lengths.tolist(), strict=True):
        ids = [u.id for u in dialogues.utterances[start : start + length]]
        frames.append(sum(len(store[name]) for name in ids if name in store))
    per_utterance = sum(frames) / len(dialogues.utterances)
    assert_close(dialogues.sizes, torch.tensor(frames) / per_utterance)
    for batch in data.train_dataloader().batch_sampler:
        sizes = dialogues.sizes[batch]
        between = (dialogues.sizes > sizes.min() + 2) & (dialogues.sizes < sizes.max() - 2)
        assert set(between.nonzero().flatten().tolist()) <= set(batch)
    assert torch.equal(data_of(folder, text="text").dialogues("train").sizes, dialogues.lengths)


def test_padding_order_and_neighbours_change_no_score(folder):
    data = data_of(folder, text="text", clip="clip")
    dialogues, net = data.dialogues("train"), network_of(data)
    order = [6, 1, 3, 0]
    together = net(dialogues.__getitems__(order)).scores
    for place, number in enumerate(order):
        single = net(dialogues[number]).scores[0]
        assert_close(together[place, : len(single)], single)
    assert_close(net(dialogues.__getitems__(order[::-1])).scores, together.flip(0))


def test_an_absent_stream_was_never_there(folder):
    data, text = data_of(folder, text="text", clip="clip"), data_of(folder, text="text")
    whole, part = network_of(data), network_of(text)
    part.classify.load_state_dict({"weight": whole.classify.weight[:, : WIDTHS["text"]], "bias": whole.classify.bias})
    batch = data.dialogues("train").__getitems__([2, 4])
    gone = with_present(batch, only(batch["present"], ["text"]))
    assert not gone["inputs"]["clip"].any()
    assert not gone["frames"]["clip"].any()
    assert_close(whole(gone).scores, part(text.dialogues("train").__getitems__([2, 4])).scores)


PEERS = [DialogueRNN, DialogueGCN, MMGCN, DagERC, partial(SDT, width=16), MulT, StateSpace]


@pytest.mark.parametrize("network", [M2FNet, LateFusion, PerUtterance, Recurrent, *PEERS])
def test_networks_of_vectors_refuse_sequences_and_take_any_name(network):
    sequences = make_problem(LABELS, {"text": 4, "clip": Stream("visual", 4, is_sequence=True)})
    with pytest.raises(ValueError, match=r"but clip has a sequence of vectors\. Set its `pooling`"):
        network(sequences)
    vectors = {"clip": Stream("visual", 10), "emovclip": Stream("visual", 10), "words": Stream("text", 12)}
    net, batch = network(make_problem(LABELS, vectors)).eval(), batch_of([3, 2])
    streams = {"clip": "visual", "emovclip": "visual", "words": "text"}
    renamed = {key: {name: batch[key][old] for name, old in streams.items()} for key in ("inputs", "present")}
    assert net({**batch, **renamed}).scores.shape == (2, 3, 3)


def test_the_stream_of_text_leads_m2fnet_whatever_its_name():
    def network(streams, **settings):
        return M2FNet(make_problem(LABELS, streams), width=8, heads=2, fusion_layers=2, **settings)

    words, more, clip = Stream("text", 12), Stream("text", 12), Stream("visual", 10)
    led = network({"clip": clip, "words": words})
    assert (led.leader, [list(layer.attentions) for layer in led.fusion]) == ("words", [["clip"], ["clip"]])
    assert network({"clip": clip, "face": clip}).leader is None
    with pytest.raises(ValueError, match=r"words and more are text\. Choose one of them with data\.streams, or set"):
        network({"words": words, "more": more})
    assert len(network({"words": words, "more": more}, fusion="concat").fusion) == 0


def test_another_name_for_the_text_changes_no_score():
    def scores(names):
        torch.manual_seed(0)
        streams = {name: Stream(m, width) for (m, width), name in zip(WIDTHS.items(), names, strict=True)}
        net = M2FNet(make_problem(LABELS, streams), width=8, heads=2, fusion_layers=2).eval()
        batch = batch_of([4, 2])
        renamed = {key: dict(zip(names, batch[key].values(), strict=True)) for key in ("inputs", "present")}
        return net({**batch, **renamed}).scores

    assert torch.equal(scores(["words", "sound", "clip"]), scores(list(WIDTHS)))


def test_a_network_that_returns_a_tensor_is_told_what_to_return(folder):
    data = data_of(folder, text="text")
    net = torch.nn.Module()
    net.forward = lambda batch: batch["inputs"]["text"]
    with pytest.raises(UsageError, match=r"Module returned a Tensor, expected dialog\.batch\.Output\. End its forward"):
        output_of(net, data.dialogues("train")[0])
    scores = torch.zeros(1, 1, 3)
    assert Output(scores).terms == {}


@pytest.fixture
def dialog(folder, monkeypatch):
    """``dialog("fit")`` runs the command with `MeanOverFrames` on text and on the sequences ``clip``."""
    monkeypatch.setattr("sys.argv", ["m2fnet"])
    monkeypatch.setenv("M2FNET_TRUST", "sequence_network")
    config = {
        "seed_everything": 1,
        "trainer": {"accelerator": "cpu", "max_epochs": 12, "enable_progress_bar": False},
        "data": {
            "manifest": str(folder / "manifest"),
            "stores": {"clip": str(folder / "clip"), "text": str(folder / "text")},
            "batch_size": 6,
        },
        "model": {
            "net": {"class_path": "sequence_network.MeanOverFrames", "init_args": {"penalty": 0.001}},
            "optimizer": {"class_path": "torch.optim.AdamW", "init_args": {"lr": 0.03}},
        },
    }
    (folder / "net.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")

    def call(command, *options):
        return run(["dialog", command, "--config", str(folder / "net.yaml"), "--run", str(folder / "run"), *options])

    return call


def test_a_network_of_sequences_trains_and_learns_and_its_terms_are_logged(dialog, folder, capsys):
    assert dialog("fit", "--data.streams", "[clip]") == DONE, capsys.readouterr().err
    assert dialog("test", "--data.streams", "[clip]") == DONE, capsys.readouterr().err
    report = json.loads((folder / "run" / "report.json").read_text(encoding="utf-8"))
    assert (report["streams"], report["modalities"]) == (["clip"], ["visual"])
    has_frames = {u.id for u in data_of(folder, clip="clip").dialogues("test").utterances if u.id in _store(folder)}
    rows = [json.loads(line) for line in (folder / "run" / "predictions.jsonl").read_text().splitlines()]
    seen = [row for row in rows if row["id"] in has_frames]
    assert len(seen) > 20
    assert sum(row["label"] == row["predicted"] for row in seen) / len(seen) > 0.95
    (metrics,) = (folder / "run" / "logs").rglob("metrics.csv")
    with metrics.open(encoding="utf-8") as file:
        logged = [row for row in csv.DictReader(file) if row["train/size"]]
    assert len(logged) == 12
    assert all(float(row["train/loss"]) > float(row["train/size"]) > 0 for row in logged)
    losses = Curves.read(folder / "run").values["train/loss"]  # as on dev, where no term is counted
    for row in logged:
        of_scores = float(row["train/loss"]) - float(row["train/size"])
        assert losses[int(row["epoch"])] == pytest.approx(of_scores, rel=1e-3)


def _store(folder):
    return data_of(folder, clip="clip").stores["clip"]


def test_missing_streams_of_sequences_are_tested_too(dialog, folder, capsys):
    assert dialog("fit", "--trainer.max_epochs", "2") == DONE, capsys.readouterr().err
    assert dialog("missing", "--trainer.max_epochs", "2") == DONE, capsys.readouterr().err
    content = json.loads((folder / "run" / "missing.json").read_text(encoding="utf-8"))
    assert [row["present"] for row in content["subsets"]] == [["text", "clip"], ["text"], ["clip"]]


def test_a_network_that_does_not_fit_is_an_error_of_the_settings(dialog, capsys):
    other = ["--model.net", "dialog.models.recurrent.Recurrent"]
    assert dialog("fit", *other) == WRONG_USE
    assert "model.net: This network reads one vector per utterance, but clip has a" in capsys.readouterr().err
    assert dialog("fit", "--model.net", "sequence_network.PlainScores") == WRONG_USE
    assert "The network PlainScores returned a Tensor, expected dialog.batch.Output" in capsys.readouterr().err


@pytest.mark.parametrize("stores", ["{x.text: STORE, y.text: STORE}", "{a.b: STORE}"])
def test_a_dot_in_the_name_of_a_stream_is_refused(stores, tiny_config, tiny, capsys):
    given = stores.replace("STORE", str(tiny / "text"))
    assert run(["dialog", "fit", "--config", str(tiny_config), "--data.stores", given]) == WRONG_USE
    assert "expected a name without a dot" in capsys.readouterr().err
