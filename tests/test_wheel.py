"""What users get: the wheel, installed where the checkout cannot be imported, works in an empty folder."""

import functools
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

from m2fnet.cli import COMMANDS

REPOSITORY = Path(__file__).parents[1]
PACKAGES = ("m2fnet", "extractors", "dialog")

# how uv says that it cannot reach a registry, which is not the package's fault
NO_NETWORK = re.compile(r"error sending request|dns error|failed to lookup|connection refused|timed out", re.IGNORECASE)

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel, built without a network from the tools of the environment."""
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder)]
    subprocess.run(command, cwd=REPOSITORY, check=True, capture_output=True, timeout=300)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def environment(wheel, tmp_path_factory):
    """A virtual environment with only the wheel; its dependencies are those of the running environment.

    A ``.pth`` file adds the running environment's packages but not what *their* ``.pth`` files add, so the editable
    checkout stays out of reach.
    """
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, symlinks=True)
    python = folder / "bin" / "python"
    uv = Path(sysconfig.get_path("scripts")) / "uv"
    command = [uv, "pip", "install", "--offline", "--no-deps", "--python", python, wheel]
    subprocess.run(command, check=True, capture_output=True, timeout=300)
    (packages,) = folder.glob("lib/python*/site-packages")
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def fresh_environment(wheel, tmp_path_factory):
    """An empty virtual environment in which ``pip install m2fnet`` chose the dependencies, as a user's would."""
    folder = tmp_path_factory.mktemp("fresh")
    venv.create(folder, symlinks=True)
    uv = Path(sysconfig.get_path("scripts")) / "uv"
    command = [uv, "pip", "install", "--python", folder / "bin" / "python", wheel]
    result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=1800)
    if result.returncode and NO_NETWORK.search(result.stderr):
        pytest.skip(f"no package registry can be reached: {result.stderr.strip().splitlines()[-1]}")
    assert result.returncode == 0, result.stderr
    yield folder
    shutil.rmtree(folder)  # five gigabytes


def run_in(environment, folder, *command, timeout=300):
    """Run a program of ``environment`` in ``folder`` without what this process adds to Python's path."""
    settings = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    program, *arguments = command
    return subprocess.run(
        [environment / "bin" / program, *arguments],
        cwd=folder,
        env=settings,
        capture_output=True,
        text=True,
        check=False,
        timeout=timeout,
    )


@pytest.fixture
def call(environment, tmp_path):
    """``call("m2fnet", "--help")`` runs a program of the environment in an empty folder."""
    return functools.partial(run_in, environment, tmp_path)


def test_the_wheel_holds_the_packages_and_their_configurations_and_nothing_else(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    tops = {name.split("/")[0] for name in names if ".dist-info/" not in name}
    assert tops == set(PACKAGES)
    assert {f"{package}/py.typed" for package in PACKAGES} <= names
    shipped = {f"m2fnet/{path.relative_to(REPOSITORY)}" for path in (REPOSITORY / "conf").rglob("*.yaml")}
    assert shipped
    assert {name for name in names if name.endswith(".yaml")} == shipped
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in names)


def test_the_packages_come_from_the_wheel(call, environment):
    result = call(
        "python", "-c", f"import {', '.join(PACKAGES)}; print({', '.join(f'{p}.__file__' for p in PACKAGES)})"
    )
    places = result.stdout.split()
    assert len(places) == len(PACKAGES), result.stderr
    assert all(Path(place).is_relative_to(environment) for place in places)


def test_help_lists_every_command(call):
    result = call("m2fnet", "--help")
    assert result.returncode == 0
    assert all(f"  {name} " in result.stdout for name in COMMANDS)


def test_check_finds_every_part_in_the_environment(call, environment):
    result = call("m2fnet", "check")
    assert result.returncode == 0, result.stdout + result.stderr
    (origin,) = [line for line in result.stdout.splitlines() if "imported from" in line]
    assert origin.startswith("ok")
    assert str(environment) in origin
    (conf,) = [line for line in result.stdout.splitlines() if line.split()[1] == "conf"]
    assert str(environment) in conf


@pytest.mark.parametrize(
    "command",
    [
        ("dialog", "fit", "--config", "conf/dialog/m2fnet_meld.yaml"),
        ("extractor", "fit", "--config", "conf/extractors/text_lsa.yaml"),
    ],
)
def test_a_shipped_configuration_is_found_from_an_empty_folder(call, tmp_path, command):
    result = call("m2fnet", *command)
    assert result.returncode == 1
    assert "m2fnet prepare" in result.stderr  # it got as far as the manifest, which is what is missing
    assert "manifest.meta.json" in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_configuration_that_is_not_shipped_is_refused_with_those_that_are(call):
    result = call("m2fnet", "dialog", "fit", "--config", "conf/dialog/nonsense.yaml")
    assert result.returncode == 2
    assert "conf/dialog/m2fnet_meld.yaml" in result.stderr


def test_the_requirements_of_the_wheel_give_an_environment_that_trains_and_predicts(fresh_environment, tmp_path):
    demo = run_in(fresh_environment, tmp_path, "m2fnet", "demo", "--out", "demo", timeout=1800)
    assert demo.returncode == 0, demo.stdout[-2000:] + demo.stderr[-4000:]
    model = tmp_path / "demo" / "dialog" / "text-audio-visual"
    clip = tmp_path / "demo" / "talk.mp4"
    predicted = run_in(fresh_environment, tmp_path, "m2fnet", "predict", clip, "--model", model, "--out", "predictions")
    assert predicted.returncode == 0, predicted.stdout + predicted.stderr
    lines = (tmp_path / "predictions" / clip.name / "predictions.jsonl").read_text(encoding="utf-8").splitlines()
    assert lines
    assert all(sum(json.loads(line)["probabilities"].values()) == pytest.approx(1, abs=1e-3) for line in lines)
