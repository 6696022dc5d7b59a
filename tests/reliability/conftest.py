import tempfile
from pathlib import Path

import pytest
import work_to_kill


@pytest.fixture
def place():
    """A folder with a short name: the sockets of workers are in it, and their names have at most 107 letters."""
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


@pytest.fixture(scope="package")
def ground(tmp_path_factory):
    """A folder with a corpus, its extractors and embeddings, and a tested run."""
    root = tmp_path_factory.mktemp("ground")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", ["m2fnet"])
        work_to_kill.prepare_ground(root, dialogues=(12, 4, 4))
    return root
