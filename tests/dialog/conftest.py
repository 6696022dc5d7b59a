"""Fixtures of the dialogue level."""

import pytest
from tiny_corpus import WIDTHS, tiny_manifest, write_stores


@pytest.fixture
def tiny(tmp_path):
    """Folder with ``manifest/`` and the stores ``text/``, ``audio/``, ``visual/``."""
    manifest = tiny_manifest().save(tmp_path / "manifest")
    write_stores(tmp_path, manifest)
    return tmp_path


@pytest.fixture
def tiny_config(tiny):
    """A configuration of a small M2FNet on the tiny corpus."""
    path = tiny / "tiny.yaml"
    stores = "\n".join(f"    {name}: {tiny / name}" for name in WIDTHS)
    path.write_text(
        f"""
seed_everything: 3
trainer:
  accelerator: cpu
  max_epochs: 3
  enable_progress_bar: false
  enable_model_summary: false
data:
  manifest: {tiny / "manifest"}
  batch_size: 4
  stores:
{stores}
model:
  net:
    class_path: dialog.models.m2fnet.M2FNet
    init_args: {{width: 8, heads: 2, hidden: 8, fusion_layers: 2, dropout: 0.1}}
  optimizer:
    class_path: torch.optim.AdamW
    init_args: {{lr: 0.01}}
""",
        encoding="utf-8",
    )
    return path
