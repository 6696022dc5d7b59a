"""`m2fnet schema`: every shipped configuration is valid, and what a parser refuses is not."""

import json
from functools import cache

import pytest
import yaml
from jsonschema import Draft202012Validator

from m2fnet.cli import DONE, WRONG_USE, run
from m2fnet.commands.schema import KINDS, schema_of
from m2fnet.config import conf_folder

SHIPPED = sorted(conf_folder().rglob("*.yaml"))


@cache
def validator(kind):
    schema = schema_of(kind)
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema)


def read(name):
    return yaml.safe_load((conf_folder() / name).read_text(encoding="utf-8"))


def is_valid(kind, content):
    return validator(kind).is_valid(content)


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_a_shipped_configuration_is_valid(path):
    kind = path.relative_to(conf_folder()).parts[0]
    assert [error.message for error in validator(kind).iter_errors(read(path))] == []


@pytest.mark.parametrize(
    ("name", "keys"),
    [
        ("dialog/m2fnet_toy.yaml", ()),
        ("dialog/m2fnet_toy.yaml", ("trainer",)),
        ("dialog/m2fnet_toy.yaml", ("model",)),
        ("dialog/m2fnet_toy.yaml", ("model", "net")),
        ("dialog/m2fnet_toy.yaml", ("model", "net", "init_args")),
        ("dialog/m2fnet_toy.yaml", ("model", "optimizer", "init_args")),
        ("extractors/text_lsa.yaml", ("model", "net", "init_args")),
        ("extractors/audio_wav2vec.yaml", ("model", "losses")),
        ("extractors/text_lsa.yaml", ("data",)),
        ("data/meld.yaml", ()),
        ("trainer/cpu.yaml", ()),
        ("self_training/meld_text.yaml", ("training",)),
        ("self_training/meld_text.yaml", ("policies", "soft", "init_args")),
    ],
    ids=str,
)
def test_an_unknown_setting_is_not(name, keys):
    content = part = read(name)
    for key in keys:
        part = part[key]
    part["misspelt"] = 1
    assert not is_valid(name.split("/")[0], content)


def network(class_path, **settings):
    content = read("dialog/m2fnet_toy.yaml")
    content["model"]["net"] = {"class_path": class_path, "init_args": settings}
    return content


def test_a_value_of_another_kind_and_another_network_s_setting_are_not_valid():
    assert is_valid("dialog", network("dialog.models.m2fnet.M2FNet", fusion_layers=3))
    assert not is_valid("dialog", network("dialog.models.m2fnet.M2FNet", fusion_layers="three"))
    assert not is_valid("dialog", network("dialog.models.mult.MulT", fusion_layers=3))
    assert not is_valid("dialog", network("dialog.models.m2fnet.NoSuchNetwork"))


def test_a_network_of_one_s_own_may_have_any_settings():
    assert is_valid("dialog", network("my_lab.networks.Mine", anything=3))


def test_settings_that_the_task_gives_are_not_asked_for():
    content = read("dialog/m2fnet_toy.yaml")
    content["model"]["net"] = {"class_path": "dialog.models.m2fnet.M2FNet"}
    content["model"]["scheduler"] = {
        "class_path": "torch.optim.lr_scheduler.StepLR",
        "init_args": {"step_size": 3},
    }
    assert is_valid("dialog", content)
    content["model"]["scheduler"]["init_args"]["optimizer"] = "adam"
    assert not is_valid("dialog", content)


def test_settings_have_the_words_of_the_docstring_and_their_default():
    known = validator("dialog").schema["$defs"]["Module"]["anyOf"]
    named = {one["properties"]["class_path"].get("const"): one for one in known if "properties" in one}
    layers = named["dialog.models.m2fnet.M2FNet"]["properties"]["init_args"]["properties"]["fusion_layers"]
    assert layers["type"] == "integer"
    assert layers["default"] == 5
    assert layers["description"]


def test_the_command_prints_or_writes_the_schema(tmp_path, capsys):
    assert run(["schema", "data"]) == DONE
    printed = json.loads(capsys.readouterr().out)
    assert run(["schema", "data", "--out", str(tmp_path / "data.schema.json")]) == DONE
    assert json.loads((tmp_path / "data.schema.json").read_text(encoding="utf-8")) == printed
    assert f"# yaml-language-server: $schema={tmp_path / 'data.schema.json'}" in capsys.readouterr().out
    assert run(["schema", "nothing"]) == WRONG_USE
    assert "'dialog'" in capsys.readouterr().err


def test_every_folder_of_configurations_has_a_schema():
    assert {path.parent.name for path in SHIPPED} == set(KINDS)
