"""Why the paper's deepest network does not learn: activations and gradients by layer, with and without our settings.

The baseline is M2FNet as printed (arXiv:2206.02187, equations 5 and 6), with five encoders per stream and five fusion
layers; ours has the settings of ``conf/dialog/m2fnet_iemocap6.yaml``. Both take the same batches of the same corpus, a
made-up one unless ``--manifest`` and ``--store`` give one.

``stream`` is the root mean square of the numbers that leave a layer; ``added`` is that of what an encoder changes, as
a share of its stream: where it is small, the encoder hardly matters for what comes after it. ``gradient`` is the norm
of the gradient of a layer's weights, as a share of that of the weights. Each is at the start (``step 0``) and after
some steps of training.
"""

import math
import sys
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch
from _table import Row, finish, parser
from torch import Tensor, nn
from torch.nn import functional as F

sys.path.insert(0, str(Path(__file__).parents[1]))  # else `dialog` would be bench/dialog.py

from _conf import m2fnet_settings

from dialog.batch import DialogueBatch
from dialog.data import DialogueData
from dialog.fusion.relations import Relations
from dialog.fusion.streams import fit_standardisation
from dialog.models.m2fnet import M2FNet
from m2fnet.problems import Problem, make_problem
from m2fnet.records import LabelSet

AS_PRINTED = {"skip": "outer", "final_norm": False, "fusion_residual": False, "input_norm": "layer"}
AS_PRINTED |= {"relations": Relations(), "input_dropout": 0.0}
WIDTHS = {"text": 300, "audio": 47}


@dataclass
class Corpus:
    """Training batches, and the embeddings that they were made of."""

    problem: Problem
    batches: list[DialogueBatch]
    vectors: dict[str, Tensor] = field(default_factory=dict)

    def embeddings(self, stream: str) -> Tensor:
        """All vectors (N, D) of ``stream``."""
        return self.vectors[stream]


def main() -> None:
    arguments = parser((__doc__ or "").partition("\n")[0])
    arguments.add_argument("--manifest", help="folder of a manifest")
    arguments.add_argument("--store", action="append", default=[], metavar="STREAM=FOLDER", help="its embeddings")
    arguments.add_argument("--steps", type=int, default=60, help="of training")
    args = arguments.parse_args()
    torch.set_num_threads(1)
    corpus = read(args.manifest, dict(one.split("=", 1) for one in args.store)) if args.manifest else made_up()
    ours, _ = m2fnet_settings("iemocap6")
    if args.quick:
        ours |= {"width": 32, "hidden": 32}
    steps = (0, 4 if args.quick else args.steps)
    mended, printed = (measured(corpus, kind, steps) for kind in (ours, ours | AS_PRINTED))
    finish(
        [Row(name, unit, mended[name, unit], printed[name, unit], larger_is_better=False) for name, unit in mended],
        args,
    )


def read(manifest: str, stores: dict[str, str]) -> Corpus:
    """The training split of ``manifest``."""
    data = DialogueData(manifest, stores, batch_size=8, seed=0)
    training = data.dialogues("train")
    vectors = {name: training.embeddings(name) for name in data.streams}
    return Corpus(data.problem, list(data.train_dataloader()), vectors)


def made_up(dialogues: int = 40, utterances: int = 30) -> Corpus:
    """Dialogues in which emotions last, from features of 300 and 47 dimensions in many units."""
    draw = torch.Generator().manual_seed(0)
    problem = make_problem(LabelSet("six", tuple(f"emotion {n}" for n in range(6))), WIDTHS)
    label = torch.randint(6, (dialogues, utterances), generator=draw)
    lasts = torch.rand(label.shape, generator=draw) < 0.7
    for place in range(1, utterances):
        label[:, place] = torch.where(lasts[:, place], label[:, place - 1], label[:, place])
    inputs = {}
    for name, width in WIDTHS.items():
        directions, scale = torch.randn(6, width, generator=draw), 10 ** torch.linspace(-2, 2, width)
        inputs[name] = (0.2 * directions[label] + torch.randn(*label.shape, width, generator=draw)) * scale
    valid = torch.ones(8, utterances, dtype=torch.bool)
    batches: list[DialogueBatch] = [
        {
            "inputs": {name: values[first : first + 8] for name, values in inputs.items()},
            "frames": {},
            "present": dict.fromkeys(WIDTHS, valid),
            "valid": valid,
            "speaker": torch.zeros(8, utterances, dtype=torch.long),
            "gap_s": torch.full(valid.shape, math.nan),
            "label": label[first : first + 8],
            "row": valid.long(),
            "labelled": int(valid.sum()),
        }
        for first in range(0, dialogues, 8)
    ]
    return Corpus(problem, batches, {name: values.flatten(0, 1) for name, values in inputs.items()})


def measured(corpus: Corpus, settings: dict[str, Any], steps: tuple[int, int]) -> dict[tuple[str, str], float]:
    """(layer and step, kind of figure) -> figure, for a network of ``settings``, and its loss."""
    torch.manual_seed(0)
    network = M2FNet(corpus.problem, **settings)
    fit_standardisation(network, corpus)
    layers: dict[str, nn.Module] = {}
    for name, encoder in network.encoders.items():
        layers |= {f"{name}, encoder {number}": layer for number, layer in enumerate(encoder.layers, 1)}  # type: ignore[arg-type]
    layers |= {f"fusion layer {number}": layer for number, layer in enumerate(network.fusion, 1)}
    optimizer = torch.optim.AdamW(network.parameters(), lr=5e-4)
    found: dict[tuple[str, str], float] = {}
    for step in range(steps[1] + 1):
        batch = corpus.batches[step % len(corpus.batches)]
        seen: dict[str, tuple[Tensor, Tensor]] = {}
        hooks = [
            layer.register_forward_hook(partial(record, seen, name)) for name, layer in layers.items() if step in steps
        ]
        scores = network(batch).scores.flatten(0, 1)
        loss = F.cross_entropy(scores, batch["label"].flatten())
        optimizer.zero_grad()
        loss.backward()
        for name, (given, out) in seen.items():
            encodes = "encoder" in name
            skip = network.encoders[name.partition(",")[0]].skip if encodes else "none"
            stream = {"none": out, "outer": given + out, "scaled": (given + out) / 2}[str(skip)]
            found[f"{name}, step {step}: stream", "rms"] = rms(stream)
            if encodes:
                found[f"{name}, step {step}: added", "share"] = rms(out - given) / rms(given)
            weights = list(layers[name].parameters())
            gradient = [weight.grad for weight in weights if weight.grad is not None]
            found[f"{name}, step {step}: gradient", "share"] = norm(gradient) / norm(weights)
        if step in steps:
            found[f"loss, step {step}", "nats"] = float(loss.detach())
        for hook in hooks:
            hook.remove()
        optimizer.step()
    return found


def record(
    seen: dict[str, tuple[Tensor, Tensor]], name: str, _: nn.Module, inputs: tuple[Tensor, ...], output: Tensor
) -> None:
    """Keep what a layer got and gave."""
    seen[name] = (inputs[0], output)


def rms(values: Tensor) -> float:
    """Root mean square."""
    return float(values.detach().square().mean().sqrt())


def norm(tensors: list[Tensor]) -> float:
    """Euclidean norm of all of them together."""
    return math.sqrt(sum(float(tensor.detach().square().sum()) for tensor in tensors))


if __name__ == "__main__":
    main()
