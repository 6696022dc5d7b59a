"""A GPU gives the CPU's results; skipped where there is none."""

import copy

import pytest
import torch
from dialogue_training import train
from made_up_batches import LABELS, batch_of
from pytorch_lightning.utilities import move_data_to_device
from tiny_corpus import tiny_manifest, write_stores
from tiny_encoders import save_encoder
from torch.testing import assert_close

from dialog.models.carat import CARAT
from dialog.models.m2fnet import M2FNet
from dialog.task import DialogueTask
from extractors.audio.mel_resnet import MelResNet
from extractors.text.roberta import TextEncoder
from m2fnet.problems import Stream, make_problem

pytestmark = pytest.mark.gpu

GPU = torch.device("cuda")
NEARLY = {"rtol": 1e-3, "atol": 1e-4}  # float32 sums in another order


@pytest.fixture(autouse=True)
def _full_precision(monkeypatch):
    """TensorFloat-32, the default of convolutions only, reads ten bits of each number."""
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)


@pytest.fixture
def tiny(tmp_path):
    write_stores(tmp_path, tiny_manifest().save(tmp_path / "manifest"))
    return tmp_path


def network(problem):
    return M2FNet(problem, width=8, heads=2, hidden=8, fusion_layers=2, dropout=0.0)


def on_the_gpu(**settings):
    return {"accelerator": "gpu", "devices": 1, **settings}


def test_a_dialogue_network_fitted_on_the_gpu_has_the_weights_and_scores_of_the_cpu(tiny):
    cpu, gpu = train(tiny, network), train(tiny, network, trainer=on_the_gpu())
    assert cpu.global_step == gpu.global_step > 0
    ours = {name: value.cpu() for name, value in gpu.lightning_module.net.state_dict().items()}
    assert_close(ours, dict(cpu.lightning_module.net.state_dict()), **NEARLY)
    for name in ("dev/weighted_f1", "dev/loss", "train/loss"):
        assert_close(gpu.callback_metrics[name].cpu(), cpu.callback_metrics[name].cpu(), **NEARLY)


def test_a_checkpoint_of_the_gpu_is_read_by_the_cpu_and_gives_the_same_scores(tiny):
    trainer = train(tiny, network, trainer=on_the_gpu())
    path = tiny / "gpu.ckpt"
    trainer.save_checkpoint(path)
    task = DialogueTask.load_from_checkpoint(path, map_location="cpu", net=network, weights_only=True).eval()
    assert {parameter.device.type for parameter in task.parameters()} == {"cpu"}
    batch = next(iter(trainer.datamodule.val_dataloader()))
    theirs = trainer.lightning_module.to(GPU).eval()(move_data_to_device(batch, GPU)).scores.cpu()
    assert_close(task(batch).scores[batch["valid"]], theirs[batch["valid"]], **NEARLY)


def made_up_sounds():
    net = MelResNet(width=6, mels=20)
    draw = torch.Generator().manual_seed(0)
    return net, net.collate([{"samples": torch.randn(samples, generator=draw) / 10} for samples in (8_000, 12_000)])


def made_up_texts(folder):
    net = TextEncoder(save_encoder(folder, "bert"), past=0, future=0, budget=32)
    tokens = (torch.tensor([2, 5, 6, 7, 3]), torch.tensor([2, 8, 9, 3]))
    cut = {"cut_utterances": 0, "cut_tokens": 0}
    return net, net.collate([{"tokens": ids, "start": 1, "end": len(ids) - 1, **cut} for ids in tokens])


@pytest.mark.parametrize("modality", ["text", "audio"])
def test_embeddings_of_the_gpu_are_those_of_the_cpu(modality, tmp_path):
    torch.manual_seed(0)
    net, batch = made_up_texts(tmp_path) if modality == "text" else made_up_sounds()
    with torch.inference_mode():
        theirs = net.eval()(batch)
        ours = net.to(GPU)(move_data_to_device(batch, GPU))
    assert ours.device.type == "cuda"
    assert_close(ours.cpu(), theirs, **NEARLY)


def test_a_step_of_carat_on_the_gpu_has_the_loss_and_gradients_of_the_cpu(monkeypatch):
    shuffle = torch.arange(4)[:, None, None].expand(4, 3, 3), torch.arange(3)[None, :, None].expand(4, 3, 3)
    # random numbers differ between devices
    monkeypatch.setattr(CARAT, "permutations", lambda _, features: tuple(one.to(features.device) for one in shuffle))
    streams = {name: Stream(name, width) for name, width in (("text", 12), ("audio", 8), ("visual", 10))}
    torch.manual_seed(0)
    cpu = CARAT(make_problem(LABELS, streams), **SMALL).train()
    gpu = copy.deepcopy(cpu).to(GPU)
    batch = batch_of([2, 2])
    losses = [step_of(net, move_data_to_device(batch, device)) for net, device in ((cpu, "cpu"), (gpu, GPU))]
    assert_close(losses[1].cpu(), losses[0], **NEARLY)
    ours = {name: value.grad.cpu() for name, value in gpu.named_parameters() if value.grad is not None}
    assert_close(ours, {name: value.grad for name, value in cpu.named_parameters() if value.grad is not None}, **NEARLY)


SMALL = {"width": 8, "latent": 4, "layers": 1, "heads": 2, "feedforward": 6, "queue": 40, "dropout": 0.0}


def step_of(net, batch):
    output = net(batch)
    loss = net.problem.loss(output.scores.flatten(0, 1), batch["label"].flatten(0, 1)) + sum(output.terms.values())
    loss.backward()
    return loss.detach()
