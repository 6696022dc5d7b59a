import importlib.metadata
import sys
from pathlib import Path

import pytest

from m2fnet.cli import run
from m2fnet.commands import check
from m2fnet.commands.check import inspect, main
from m2fnet.errors import M2FNetError


@pytest.fixture
def without(monkeypatch):
    """Make modules fail to import as if they were not there."""

    def without(*names):
        for name in names:
            monkeypatch.setitem(sys.modules, name, None)

    return without


def found(what: str) -> check.Finding:
    return next(finding for finding in inspect() if finding.what.startswith(what))


@pytest.mark.slow  # imports every library the project has
def test_a_sound_installation_passes_and_names_every_part(capsys):
    assert run(["check"]) == 0
    printed = capsys.readouterr().out
    for part in ("python", "m2fnet", "torch", "numpy", "imported from", "conf", "cpu", "cuda"):
        assert f" {part}" in printed
    assert importlib.metadata.version("torch") in printed
    assert not [line for line in printed.splitlines() if line.startswith("fail")]


def test_without_gpu_it_says_what_that_means(monkeypatch):
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert found("cuda").status == "warn"
    assert "runs on the CPU" in found("cuda").detail


def test_gpus_are_listed(monkeypatch):
    import types

    import torch

    card = types.SimpleNamespace(name="Some Card", total_memory=80 * 2**30)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda number: card)
    assert found("cuda:0") == check.Finding("ok", "cuda:0", "Some Card, 80 GiB")


@pytest.mark.parametrize("module", ["torch", "yaml", "safetensors", "packaging.requirements"])
def test_a_broken_part_is_named_and_the_rest_is_still_told(without, capsys, module):
    without(module)
    assert run(["check"]) == 1
    printed = capsys.readouterr()
    assert "fail" in printed.out
    assert "imported from" in printed.out
    assert "required parts are broken" in printed.err


def test_an_absent_distribution_is_named(monkeypatch):
    real = importlib.metadata.version

    def version(name):
        if name == "safetensors":
            raise importlib.metadata.PackageNotFoundError(name)
        return real(name)

    monkeypatch.setattr(check, "version", version)
    assert found("safetensors").status == "fail"
    assert "is not installed" in found("safetensors").detail


def test_an_untested_version_is_a_warning(monkeypatch):
    monkeypatch.setattr(check, "requires", lambda name: ["numpy<1", 'gradio>=6; extra == "web"'])
    assert found("numpy").status == "warn"
    assert "tested with <1" in found("numpy").detail
    assert not [finding for finding in inspect() if "gradio" in finding.what]


def test_source_without_installation_fails(monkeypatch):
    def requires(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(check, "requires", requires)
    assert found("m2fnet").status == "fail"
    with pytest.raises(M2FNetError, match="m2fnet"):
        main([])


def test_packages_from_different_places_are_a_warning(tmp_path, monkeypatch):
    (tmp_path / "dialog").mkdir()
    (tmp_path / "dialog" / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "dialog", raising=False)
    finding = found("imported from")
    assert finding.status == "warn"
    assert str(tmp_path / "dialog") in finding.detail


def test_an_absent_stage_fails(monkeypatch):
    real = check._place
    monkeypatch.setattr(check, "_place", lambda name: None if name == "dialog" else real(name))
    assert found("dialog").status == "fail"


def test_an_empty_conf_folder_fails(monkeypatch, tmp_path):
    monkeypatch.setattr("m2fnet.config.conf_folder", lambda: Path(tmp_path))
    assert found("conf").status == "fail"


def test_an_old_python_fails(monkeypatch):
    monkeypatch.setattr(check, "PYTHON", (99, 0))
    assert found("python").status == "fail"
    assert "older than 99.0" in found("python").detail


def test_it_takes_no_arguments():
    assert run(["check", "--nonsense"]) == 2


def test_extras_are_told_and_an_absent_one_is_no_failure(monkeypatch):
    wanted = ['gradio>=6; extra == "web"', "onnx>=1; extra == 'onnx'", "nowhere-to-be-found>=1; extra == 'onnx'"]
    monkeypatch.setattr(check, "requires", lambda name: wanted)
    found = {finding.what: finding for finding in check.inspect()}
    assert found["extra web"].status == "ok"
    assert found["extra onnx"].status == "warn"
    assert found["extra onnx"].detail == ("`m2fnet export --onnx` needs nowhere-to-be-found>=1: pip install '.[onnx]'")
