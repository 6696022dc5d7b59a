"""Where a run goes: names one can read and type, one for each setting."""

import json
from pathlib import Path

import pytest

from m2fnet.cli import DONE, WRONG_USE
from m2fnet.runs.folder import run_folder

CONFIG = Path("conf/dialog/m2fnet_meld.yaml")
SETTINGS = [
    {"data.streams": ["text"]},
    {"data.streams": ["text", "audio"]},
    {"data.manifest": "data/mosi"},
    {"data.manifest": "data/mosi", "data.streams": ["text"]},
    {"model.net.init_args.fusion_layers": 1},
    {"model.net.init_args.fusion_layers": 3},
    {"model.optimizer.init_args.lr": 0.001},
    {"model.averaging": {"kind": "ema", "decay": 0.98}},
    {"model.averaging": {"kind": "ema", "decay": 0.99}},
    {"data.stores.text": "embeddings/a b/text"},
    {"data.stores.text": "embeddings/a.b/text"},
    {"model.net.init_args.words": "a" * 200},
    {"model.net.init_args.words": "a" * 201},
    {"data.stores.text": "../../etc"},
    {f"model.net.init_args.setting_{number}": number for number in range(30)},
    {f"model.net.init_args.setting_{number}": number for number in range(31)},
]


def test_every_setting_has_a_folder_of_its_own_that_a_shell_takes_as_it_is():
    names = [run_folder(CONFIG, 0, setting).parent for setting in SETTINGS]
    assert len(set(names)) == len(names)
    for name in names:
        assert name.parent == Path("runs")
        assert name.name.startswith("m2fnet_meld+")
        assert len(name.name) < 100
        assert set(name.name) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.+-")


def test_the_order_in_which_settings_are_typed_and_the_seed_change_no_name():
    both = {"data.streams": ["text"], "model.net.init_args.fusion_layers": 1}
    backwards = dict(reversed(both.items()))
    assert run_folder(CONFIG, 0, both) == run_folder(CONFIG, 0, backwards)
    assert run_folder(CONFIG, 1, {**both, "seed_everything": 1}).parent == run_folder(CONFIG, 0, both).parent


def test_a_run_with_the_older_name_keeps_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    older = Path("runs/m2fnet_meld-86a721e8/seed-3")
    older.mkdir(parents=True)
    for name in ("config.yaml", "provenance.json"):
        (older / name).write_text(json.dumps({}), encoding="utf-8")
    changed = {"model.net.init_args.fusion_layers": 1}
    assert run_folder(CONFIG, 3, changed) == older
    assert run_folder(CONFIG, 4, changed) == Path("runs/m2fnet_meld+fusion_layers-1/seed-4")


@pytest.fixture
def planned(dialog, capsys):
    def run(*options):
        code = dialog("fit", "--dry-run", *options, into=None)
        output = capsys.readouterr()
        return code, output.out + output.err

    return run


def test_the_folder_follows_what_is_typed(planned):
    assert planned("--name", "mine") == (DONE, "runs/mine/seed-3\n")
    code, said = planned("--model.net.hidden", "6")
    assert (code, said) == (DONE, "runs/tiny+hidden-6/seed-3\n")


@pytest.mark.parametrize("name", ["a/b", "..", ".hidden", ""])
def test_a_name_that_is_no_folder_is_refused(planned, name):
    code, said = planned(f"--name={name}")
    assert code == WRONG_USE
    assert f"--name is {name!r}; expected one word for the folder runs/<name>/seed-<seed>" in said
