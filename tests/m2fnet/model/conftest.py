"""The model of a run, in memory and as a folder."""

import shutil
from pathlib import Path

import pytest

from m2fnet.model import load_model, save_model


@pytest.fixture(scope="session")
def model(run_folder):
    """The model that the dialogue run makes."""
    return load_model(run_folder)


@pytest.fixture(scope="session")
def saved(model, tmp_path_factory):
    """The same as a folder; not to be changed."""
    return save_model(model, tmp_path_factory.mktemp("models") / "talk", "# A card\n")


@pytest.fixture
def folder(saved, tmp_path):
    """A copy of that folder that a test may damage."""
    return Path(shutil.copytree(saved, tmp_path / "model"))
