"""Checkpoints are written next to those that they replace, whole or not at all."""

import tempfile

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.plugins import AsyncCheckpointIO

from m2fnet.runs.checkpoints import read_checkpoint
from m2fnet.training.checkpoint_files import WholeCheckpoints, write_whole_checkpoints


@pytest.fixture
def trainer(tmp_path, monkeypatch):
    """A trainer where nothing can be written into the folder of temporary files."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "absent"))
    trainer = pl.Trainer(logger=False, accelerator="cpu", default_root_dir=tmp_path, enable_progress_bar=False)
    write_whole_checkpoints(trainer)
    return trainer


def test_a_checkpoint_is_written_in_its_folder_and_read_back(trainer, tmp_path):
    path = tmp_path / "run" / "checkpoints" / "last.ckpt"
    content = {"state_dict": {"weight": torch.ones(3)}, "pytorch-lightning_version": pl.__version__}
    trainer.strategy.checkpoint_io.save_checkpoint(content, path)
    assert torch.equal(read_checkpoint(path)["state_dict"]["weight"], torch.ones(3))
    assert [one.name for one in path.parent.iterdir()] == ["last.ckpt"]


def test_the_same_weights_give_the_same_bytes_under_another_name(trainer, tmp_path):
    for name in ("best", "last"):
        trainer.strategy.checkpoint_io.save_checkpoint({"weight": torch.ones(3)}, tmp_path / f"{name}.ckpt")
    assert (tmp_path / "best.ckpt").read_bytes() == (tmp_path / "last.ckpt").read_bytes()


def test_a_failure_leaves_the_old_checkpoint(trainer, tmp_path, monkeypatch):
    def fail(content, file):
        file.write(b"half")
        raise OSError(28, "No space left on device")

    path = tmp_path / "last.ckpt"
    path.write_bytes(b"old")
    monkeypatch.setattr(torch, "save", fail)
    with pytest.raises(OSError, match=r"No space left on device: '.*last\.ckpt'"):
        trainer.strategy.checkpoint_io.save_checkpoint({}, path)
    assert [(one.name, one.read_bytes()) for one in tmp_path.iterdir()] == [("last.ckpt", b"old")]


def test_a_way_that_somebody_chose_stays(tmp_path):
    trainer = pl.Trainer(logger=False, accelerator="cpu", default_root_dir=tmp_path, plugins=[AsyncCheckpointIO()])
    write_whole_checkpoints(trainer)
    assert not isinstance(trainer.strategy.checkpoint_io, WholeCheckpoints)
