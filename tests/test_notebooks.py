"""The notebooks: clean in git, and each runs from an empty folder."""

import json
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

FOLDER = Path(__file__).parents[1] / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))


def test_the_notebooks_go_the_way_of_a_sample():
    assert [path.stem for path in NOTEBOOKS] == [
        "01_raw_to_manifest",
        "02_train_an_extractor",
        "03_embeddings",
        "04_dialogue_network",
        "05_scores_and_pictures",
        "06_label_sets",
        "07_self_training",
        "08_own_corpus",
        "09_own_clip",
    ]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_holds_no_outputs(path):
    content = json.loads(path.read_text(encoding="utf-8"))
    nbformat.validate(content)
    assert (content["nbformat"], content["nbformat_minor"]) == (4, 5)
    assert set(content["metadata"]) == {"kernelspec", "language_info"}
    for cell in content["cells"]:
        assert cell["metadata"] == {}
        assert cell.get("outputs", []) == []
        assert cell.get("execution_count") is None


@pytest.fixture(scope="module")
def workshop(tmp_path_factory):
    """The folder that the notebooks work in."""
    return tmp_path_factory.mktemp("notebooks")


# From the last to the first: none can lean on what one before it would have left, and all share one corpus.
@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS[::-1], ids=lambda path: path.stem)
def test_a_notebook_runs(path, workshop, monkeypatch):
    monkeypatch.setenv("M2FNET_NOTEBOOKS", str(workshop))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    notebook = nbformat.read(path, as_version=4)
    NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(FOLDER)}}).execute()
    printed = [out for cell in notebook.cells for out in cell.get("outputs", []) if "data" in out]
    assert any("image/png" in out["data"] for out in printed)  # a picture was really drawn
    assert (workshop / "data" / "toy" / "manifest.jsonl").is_file()
