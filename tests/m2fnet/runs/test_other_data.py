"""What a run says about data that are not its own; the manifests and stores are made here."""

import json
import shutil
from dataclasses import replace

import pytest
from tiny_corpus import CLASSES, WIDTHS, tiny_manifest, with_other_test_labels, write_stores

from m2fnet.cli import DONE, WRONG_USE, run
from m2fnet.errors import UsageError
from m2fnet.manifest import Manifest
from m2fnet.records import LabelSet, Utterance
from m2fnet.runs.other_data import parse_label_map, relabelled
from m2fnet.runs.provenance import has_own_report


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A tested run ``run`` on the tiny corpus, and another corpus with other test labels, under two sets of names."""
    root = tmp_path_factory.mktemp("made")
    write_stores(root / "a", tiny_manifest().save(root / "a" / "manifest"))
    others = with_other_test_labels(replace(tiny_manifest(), corpus="b"), seed=5)
    names = {"neutral": "calm", "joy": "joy", "anger": "rage"}
    theirs = tuple(replace(u, label=names[u.label] if u.label else None, labels=None) for u in others.utterances)
    named = Manifest("b", LabelSet("b", tuple(names.values())), theirs)
    write_stores(root / "b", others.save(root / "b" / "manifest"))
    write_stores(root / "named", named.save(root / "named" / "manifest"))
    net = "{class_path: dialog.models.m2fnet.M2FNet, init_args: {width: 8, heads: 2, hidden: 8, fusion_layers: 2}}"
    (root / "tiny.yaml").write_text(
        "seed_everything: 3\n"
        "trainer: {accelerator: cpu, max_epochs: 1, enable_progress_bar: false, enable_model_summary: false}\n"
        f"data: {{manifest: a/manifest, stores: {stores('a')}}}\nmodel: {{net: {net}}}\n"
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", ["m2fnet"])
        patch.chdir(root)
        assert run(["dialog", "fit", "--config", "tiny.yaml", "--run", "run", "--quiet"]) == DONE
        assert score("test") == DONE
    return root


@pytest.fixture
def trained(made, tmp_path, monkeypatch):
    """The run folder in a copy of everything, which is the current directory."""
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    provenance = tmp_path / "run" / "provenance.json"
    provenance.write_text(provenance.read_text().replace(str(made), str(tmp_path)))
    monkeypatch.setattr("sys.argv", ["m2fnet"])
    monkeypatch.chdir(tmp_path)
    return tmp_path / "run"


def stores(folder):
    return "{" + ", ".join(f"{name}: {folder}/{name}" for name in WIDTHS) + "}"


def score(command, folder=None, *options):
    data = ["--data.manifest", f"{folder}/manifest", "--data.stores", stores(folder)] if folder else []
    return run(["dialog", command, "--config", "run/config.yaml", "--quiet", *data, *options])


def of_other(folder, name):
    (found,) = folder.glob(f"on-*/{name}")
    return json.loads(found.read_text())


def test_another_corpus_gets_a_report_that_names_both_and_the_runs_own_stays(trained, capsys):
    before = {path.name: path.read_bytes() for path in trained.iterdir() if path.is_file()}
    for command in ("test", "predict"):
        assert score(command, "b") == DONE
        assert "was trained on tiny and is scored on other data, b" in capsys.readouterr().out
    assert {path.name: path.read_bytes() for path in trained.iterdir() if path.is_file()} == before
    report = of_other(trained, "report.json")
    assert (report["corpus"], report["trained_on"]) == ("b", "tiny")
    assert report["other_data"]["inputs"]["manifest"] == "b/manifest"
    assert report["test"]["weighted_f1"] != json.loads((trained / "report.json").read_text())["test"]["weighted_f1"]
    (folder,) = trained.glob("on-b-*")
    assert (folder / "report.md").read_text().startswith("# b (trained on tiny): ")
    assert "labels_test.jsonl" in {path.name for path in folder.iterdir()}


@pytest.mark.slow
def test_the_same_data_in_another_folder_are_the_runs_own(trained):
    (trained.parent / "a").rename(trained.parent / "moved")
    assert score("test", "moved") == DONE
    assert not list(trained.glob("on-*"))


def test_a_report_on_other_data_is_not_the_runs_own(trained):
    assert has_own_report(trained)
    report = json.loads((trained / "report.json").read_text())
    (trained / "report.json").write_text(json.dumps({**report, "manifest_sha256": "0" * 64}))  # by an older version
    assert not has_own_report(trained)
    assert not has_own_report(trained.parent)


@pytest.mark.parametrize("command", ["test", "predict"])
def test_data_that_were_replaced_in_their_folder_are_refused_as_by_fit(trained, capsys, command):
    before = (trained / "report.json").read_bytes()
    manifest = Manifest.load(trained.parent / "a" / "manifest")
    shutil.rmtree(trained.parent / "a" / "text")
    (trained.parent / "again").mkdir()
    write_stores(trained.parent / "again", manifest, seed=9)
    (trained.parent / "again" / "text").rename(trained.parent / "a" / "text")
    assert score(command) == WRONG_USE
    printed = capsys.readouterr().err
    assert "replaced since: a/text has SHA-256" in printed
    assert "fit --config run/config.yaml --overwrite" in printed
    assert (trained / "report.json").read_bytes() == before


@pytest.mark.slow
def test_other_labels_need_a_map_and_those_without_a_counterpart_are_context(trained, capsys):
    assert score("test", "named") == WRONG_USE
    assert "Map the others with --label-map, for example calm=neutral" in capsys.readouterr().err
    assert score("test", "named", "--label-map", "calm=neutral,rage=") == DONE
    report = of_other(trained, "report.json")
    assert tuple(report["classes"]) == CLASSES
    theirs = Manifest.load(trained.parent / "named" / "manifest")
    labels = [u.label for u in theirs.utterances if u.split == "test" and u.label]
    assert report["test"]["n"] == len(labels) - labels.count("rage")
    assert report["test"]["per_class"]["neutral"]["support"] == labels.count("calm")
    assert report["other_data"]["context_only"]["rage"] == sum(u.label == "rage" for u in theirs.utterances)
    assert score("predict", "named") == DONE  # nothing is scored
    assert score("test", None, "--label-map", "calm=neutral") == WRONG_USE
    assert "these are the run's own data" in capsys.readouterr().err


@pytest.mark.slow
def test_embeddings_of_another_extractor_are_refused(trained, capsys):
    for corpus, weights in (("a", "1" * 64), ("b", "2" * 64)):
        for name in WIDTHS:
            meta = trained.parent / corpus / name / "meta.json"
            content = json.loads(meta.read_text())
            meta.write_text(json.dumps({**content, "extractor": {"class_path": "x", "weights_sha256": weights}}))
    assert score("test", "b") == WRONG_USE
    assert "was made by another extractor (weights 222222222222…)" in capsys.readouterr().err


def test_maps_of_labels(tmp_path):
    (tmp_path / "map.txt").write_text("happy=joy\n\nsad =\n")
    (tmp_path / "map.yaml").write_text("happy: joy\nsad: null\n")
    expected = {"happy": "joy", "sad": None}
    assert parse_label_map(str(tmp_path / "map.txt")) == parse_label_map(str(tmp_path / "map.yaml")) == expected
    for wrong in ("happy", "happy=joy,sad", "happy=joy,happy=sad", str(tmp_path)):
        with pytest.raises(UsageError, match="--label-map is"):
            parse_label_map(wrong)


def test_sets_of_labels_are_mapped_together():
    said = (
        Utterance("a_0", "b", "test", "a", 0, labels=("happy", "joy")),
        Utterance("a_1", "b", "test", "a", 1, labels=()),
        Utterance("a_2", "b", "test", "a", 2, labels=("odd", "joy")),
    )
    theirs = Manifest("b", LabelSet("b", ("happy", "joy", "odd"), "multi"), said)
    found, lost = relabelled(theirs, LabelSet("a", ("joy", "fear"), "multi"), {"happy": "joy", "odd": None})
    assert [u.labels for u in found.utterances] == [("joy",), (), None]
    assert lost == {"odd": 1}
    for wrong, message in (({"no": "joy"}, "does not have"), ({"happy": "no"}, "does not know")):
        with pytest.raises(UsageError, match=message):
            relabelled(theirs, LabelSet("a", ("joy", "fear"), "multi"), wrong)
    with pytest.raises(UsageError, match="expected the same kind"):
        relabelled(theirs, LabelSet("a", ("joy", "fear")), {})
