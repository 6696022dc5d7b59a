"""What users get: the wheel, installed where the checkout cannot be imported, works in an empty folder."""

import os
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
    """A virtual environment with the wheel alone; its dependencies are those of the running environment.

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


@pytest.fixture
def call(environment, tmp_path):
    """``call("m2fnet", "--help")`` runs a program of the environment in an empty folder."""

    def run(program, *arguments):
        settings = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
        command = [environment / "bin" / program, *arguments]
        return subprocess.run(
            command, cwd=tmp_path, env=settings, capture_output=True, text=True, check=False, timeout=300
        )

    return run


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
    told = call("python", "-c", f"import {', '.join(PACKAGES)}; print({', '.join(f'{p}.__file__' for p in PACKAGES)})")
    places = told.stdout.split()
    assert len(places) == len(PACKAGES), told.stderr
    assert all(Path(place).is_relative_to(environment) for place in places)


def test_help_lists_every_command(call):
    told = call("m2fnet", "--help")
    assert told.returncode == 0
    assert all(f"  {name} " in told.stdout for name in COMMANDS)


def test_check_finds_every_part_in_the_environment(call, environment):
    told = call("m2fnet", "check")
    assert told.returncode == 0, told.stdout + told.stderr
    (origin,) = [line for line in told.stdout.splitlines() if "imported from" in line]
    assert origin.startswith("ok")
    assert str(environment) in origin
    (conf,) = [line for line in told.stdout.splitlines() if line.split()[1] == "conf"]
    assert str(environment) in conf


@pytest.mark.parametrize(
    "command",
    [
        ("dialog", "fit", "--config", "conf/dialog/m2fnet_meld.yaml"),
        ("extractor", "fit", "--config", "conf/extractors/text_lsa.yaml"),
    ],
)
def test_a_shipped_configuration_is_found_from_an_empty_folder(call, tmp_path, command):
    told = call("m2fnet", *command)
    assert told.returncode == 1
    assert "m2fnet prepare" in told.stderr  # it got as far as the manifest, which is what is missing
    assert "manifest.meta.json" in told.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_configuration_that_is_not_shipped_is_refused_with_those_that_are(call):
    told = call("m2fnet", "dialog", "fit", "--config", "conf/dialog/nonsense.yaml")
    assert told.returncode == 2
    assert "conf/dialog/m2fnet_meld.yaml" in told.stderr
