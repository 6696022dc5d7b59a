"""How the command leaves a distributed run."""

import pytest
import torch.distributed

from m2fnet import cli


@pytest.fixture
def group(tmp_path):
    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path / 'meeting'}", rank=0, world_size=1)
    yield
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


@pytest.mark.parametrize(
    ("arguments", "code", "stays"), [(["--version"], cli.DONE, False), (["?"], cli.WRONG_USE, True)]
)
def test_a_process_that_is_done_leaves_the_others_before_it_ends(group, monkeypatch, capsys, arguments, code, stays):
    monkeypatch.setattr("sys.argv", ["m2fnet", *arguments])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == code
    assert torch.distributed.is_initialized() is stays
