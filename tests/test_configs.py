"""Every shipped configuration runs: nobody has to add it here."""

import json
import re
from pathlib import Path

import pytest
import yaml
from tiny_clips import WORDS, tiny_utterances
from tiny_corpus import tiny_manifest, write_stores

from m2fnet.cli import DONE, FAILED, WRONG_USE, run
from m2fnet.config import conf_folder
from m2fnet.manifest import Manifest
from m2fnet.records import LabelSet

REPOSITORY = Path(__file__).parents[1]
MARK = re.compile(r"#.*\[(P|A|E|ours)\]")  # the paper, its authors' code, EmoBERTa, ourselves
UNMARKED = ("seed_everything", "devices")  # any would do


def shipped(*kinds):
    files = {kind: sorted((conf_folder() / kind).glob("*.yaml")) for kind in kinds}
    assert all(files.values()), files
    return [pytest.param(path, id=f"{kind}/{path.stem}") for kind in kinds for path in files[kind]]


def read(path):
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def extractors(*, trained):
    """Configurations of networks, which have an optimizer, or of what is fitted in one pass."""
    return [param for param in shipped("extractors") if ("optimizer" in read(param.values[0])["model"]) == trained]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """Folder with a tiny ``manifest/`` and a store for each modality."""
    folder = tmp_path_factory.mktemp("tiny")
    write_stores(folder, tiny_manifest().save(folder / "manifest"))
    return folder


@pytest.fixture(scope="module")
def tiny_clips(tmp_path_factory):
    """Folder of the manifest of a few tiny clips."""
    root = tmp_path_factory.mktemp("clips")
    label_set = LabelSet("tiny", tuple(WORDS))
    Manifest("tiny", label_set, tiny_utterances(root), root).save(root / "manifest")
    return root / "manifest"


@pytest.fixture
def printed(monkeypatch, capsys):
    """``printed("dialog", "fit", ...)`` is the configuration as the command line understands it."""
    monkeypatch.setattr("sys.argv", ["m2fnet"])

    def parse(*arguments):
        assert run([*map(str, arguments), "--print_config"]) == DONE, capsys.readouterr().err
        return yaml.safe_load(capsys.readouterr().out)

    return parse


def on_the_tiny_corpus(path, tiny):
    """Options that give the configuration in ``path`` tiny stores for the modalities that it names."""
    data = read(path)["data"]
    names = (read(path.parent / data) if isinstance(data, str) else data)["stores"]
    stores = {name: str(tiny / name) for name in names}
    return ["--data.manifest", str(tiny / "manifest"), "--data.stores", json.dumps(stores)]


@pytest.mark.slow
@pytest.mark.parametrize("path", shipped("dialog"))
def test_a_dialogue_configuration_trains_on_the_tiny_corpus(path, tiny, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["m2fnet"])
    one_step = "--trainer.max_epochs 1 --trainer.limit_train_batches 1 --trainer.accelerator cpu --trainer.devices 1"
    quietly = "--trainer.enable_progress_bar false --trainer.enable_model_summary false"
    options = [*on_the_tiny_corpus(path, tiny), "--run", str(tmp_path), *one_step.split(), *quietly.split()]
    assert run(["dialog", "fit", "--config", str(path), *options]) == DONE, capsys.readouterr().err
    assert json.loads((tmp_path / "fit.json").read_text(encoding="utf-8"))["parameters"] > 0


@pytest.mark.slow
@pytest.mark.parametrize("path", extractors(trained=True))
def test_an_extractor_configuration_trains_on_tiny_clips(path, tiny_clips, tmp_path, monkeypatch, capsys):
    if "model" in read(path)["model"]["net"]["init_args"]:
        pytest.skip("it starts from a hub; its own tests train it from a tiny folder")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["m2fnet"])
    one_step = "--trainer.max_epochs 1 --trainer.limit_train_batches 1 --trainer.accelerator cpu --trainer.devices 1"
    small = f"--data.batch_size 4 --data.per_class 2 --data.workers 0 --data.manifest {tiny_clips} --run run"
    options = [*one_step.split(), *small.split(), "--trainer.enable_progress_bar", "false"]
    assert run(["extractor", "fit", "--config", str(path), *options]) == DONE, capsys.readouterr().err
    command = ["extract", "--ckpt", "run", "--manifest", str(tiny_clips), "--out", "store", "--workers", "0"]
    assert run([*command, "--max-failures", "0"]) == DONE, capsys.readouterr().err


@pytest.mark.parametrize("path", shipped("extractors"))
def test_an_extractor_configuration_is_understood(path, printed):
    parsed, content = printed("extractor", "fit", "--config", path), read(path)
    assert parsed["model"]["net"]["class_path"] == content["model"]["net"]["class_path"]
    assert parsed["model"]["net"]["init_args"].items() >= content["model"]["net"]["init_args"].items()
    assert parsed["model"]["losses"].items() >= content["model"].get("losses", {}).items()
    assert parsed["data"].items() >= content["data"].items()


@pytest.mark.parametrize("path", shipped("extractors"))
def test_a_misspelt_key_of_an_extractor_is_refused(path, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["m2fnet"])
    assert run(["extractor", "fit", "--config", str(path), "--model.net.init_args.misspelt", "1"]) == WRONG_USE
    assert "misspelt" in capsys.readouterr().err


@pytest.mark.parametrize("path", shipped("dialog", "data", "trainer", "extractors", "self_training"))
def test_every_number_says_where_it_comes_from(path):
    lines = path.read_text(encoding="utf-8").splitlines()
    assert unmarked(lines) == []


def test_an_unmarked_number_is_found():
    lines = ["devices: 2", "model:", "  net:", "    heads: 4  # many", "    width: 8  # [ours]", "    pair: [1, 2]"]
    assert unmarked(lines) == ["    heads: 4  # many", "    pair: [1, 2]"]
    assert unmarked(["model: other.yaml"]) == []


def unmarked(lines):
    """Lines that hold a number and no mark."""
    numbers = number_lines(yaml.compose("\n".join(lines)))
    return [lines[n] for n in dict.fromkeys(numbers) if not MARK.search(lines[n])]


def number_lines(node):
    if isinstance(node, yaml.ScalarNode):
        return [node.start_mark.line] if node.tag.endswith((":int", ":float")) else []
    if isinstance(node, yaml.MappingNode):
        return [n for key, child in node.value if key.value not in UNMARKED for n in number_lines(child)]
    return [n for child in node.value for n in number_lines(child)]


@pytest.mark.parametrize("path", shipped("data", "trainer"))
def test_a_part_is_taken_over_by_the_option_that_includes_it(path, printed):
    kind = path.parent.name
    parsed = printed("dialog", "fit", "--config", conf_folder() / "dialog" / "m2fnet_meld.yaml", f"--{kind}", path)
    content = read(path)
    assert content
    assert {key: parsed[kind][key] for key in content} == content


def test_a_part_is_found_by_its_shipped_name_from_any_folder(printed, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    parsed = printed(
        "dialog", "fit", "--config", "conf/dialog/m2fnet_meld.yaml", "--trainer", "conf/trainer/debug.yaml"
    )
    assert (
        parsed["trainer"]["limit_train_batches"]
        == read(conf_folder() / "trainer" / "debug.yaml")["limit_train_batches"]
    )
    assert parsed["data"]["manifest"] == "data/meld"


@pytest.mark.parametrize("path", extractors(trained=False))
def test_a_closed_form_configuration_is_understood_and_gets_as_far_as_the_manifest(path, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["m2fnet"])
    assert run(["extractor", "fit", "--config", str(path), "--manifest", str(tmp_path)]) == FAILED
    assert "manifest.meta.json" in capsys.readouterr().err
