import pytest
from made_runs import made_manifest, made_run


@pytest.fixture
def corpus(tmp_path):
    """The folder of a small manifest."""
    made_manifest(tmp_path / "data")
    return tmp_path / "data"


@pytest.fixture
def tested(tmp_path, corpus, monkeypatch):
    """``tested("a/seed-0", seed=0, right=0.5, width=8)`` makes a tested run folder."""
    from m2fnet.manifest import Manifest

    monkeypatch.setattr("m2fnet.metrics.report.draw_confusion", lambda *_: None)  # a picture takes longer than the rest
    manifest = Manifest.load(corpus)
    return lambda name, **settings: made_run(tmp_path / name, manifest, corpus, **settings)
