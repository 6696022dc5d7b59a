"""CARAT computes what its released code computes, intermediate by intermediate, where that code's numbers are."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from dialog.models.carat import CARAT
from m2fnet.problems import Stream, make_problem
from m2fnet.records import LabelSet
from m2fnet.training.bert_adam import BertAdam

NUMBERS = os.environ.get("M2FNET_REFERENCE_NUMBERS")  # a folder; its numbers are not part of the project
FILES = sorted(Path(NUMBERS, "carat").glob("*.npz")) if NUMBERS else []
STREAMS = ("text", "visual", "audio")


def our_names(arrays):
    """Arrays by the names of the reference numbers -> tensors by the names of our ``state_dict``."""
    parts = {
        "frame_norm": "encoders.{}.norm",
        "encoder.input": "encoders.{}.project",
        "encoder.position": "encoders.{}.position",
        "encoder.input_norm": "encoders.{}.input_norm",
        "label_attention": "attention.{}.score",
        "to_latent.layer0": "latents.{}.encode.0",
        "to_latent.layer1": "latents.{}.encode.2",
        "from_latent.layer0": "latents.{}.decode.0",
        "from_latent.layer1": "latents.{}.decode.2",
        "fusion": "fusion.{}",
        "attention.output": "output",
        "attention_norm": "attention_norm",
        "feedforward.expand": "feedforward.0",
        "feedforward.contract": "feedforward.2",
        "feedforward_norm": "feedforward_norm",
    }
    given = {name: torch.from_numpy(np.asarray(value)) for name, value in arrays.items()}
    found = {"classifier": torch.stack([given.pop(f"{name}_classifier.weight") for name in STREAMS])}
    for name, value in given.items():
        if "unused_pooler" in name or ".query." in name or ".key." in name:
            continue
        if name.startswith("aggregation"):
            found[name.replace("aggregation.layer0", "aggregate.0").replace("aggregation.layer1", "aggregate.2")] = (
                value
            )
            continue
        stream, _, rest = name.partition("_")
        part, _, kind = rest.rpartition(".")
        if ".attention.value" in rest:
            three = [given[name.replace(".value.", f".{one}.")] for one in ("query", "key", "value")]
            layer = part.removeprefix("encoder.layer").partition(".")[0]
            found[f"encoders.{stream}.layers.{layer}.queries_keys_values.{kind}"] = torch.cat(three)
        elif part.startswith("encoder.layer"):
            layer, _, inner = part.removeprefix("encoder.layer").partition(".")
            found[f"encoders.{stream}.layers.{layer}.{parts[inner]}.{kind}"] = value
        elif part.startswith("aligner"):
            found[f"encoders.{stream}.align.lstm.{kind}"] = value
        else:
            found[f"{parts[part].format(stream)}.{kind}"] = value
    return found


def our_buffers(arrays):
    """The same for buffers; a class that is no whole number matches nothing."""
    signs = [
        [torch.from_numpy(arrays[f"{name}_prototype.{sign}"]) for sign in ("present", "absent")] for name in STREAMS
    ]
    classes = torch.from_numpy(arrays["queue.classes"][:, 0])
    is_real = (classes == classes.round()) & (classes >= 0)
    return {
        "prototypes.vectors": torch.stack([torch.stack(pair, 1) for pair in signs]),
        "queue.rows": torch.from_numpy(arrays["queue.rows"]),
        "queue.classes": torch.where(is_real, classes, -1).long(),
        "queue.position": torch.tensor(int(arrays["queue.position"][0])),
        "queue.filled": torch.tensor(len(classes)),
    }


class Reference:
    """One file of reference numbers, and our network with its weights."""

    def __init__(self, path):
        self.z = np.load(path)
        self.config = c = json.loads(str(self.z["config_json"]))
        widths = {name: self.z[f"input/{name}_frames"].shape[-1] for name in STREAMS}
        labels = LabelSet("reference", tuple(f"emotion {n}" for n in range(c["L"])), "multi")
        streams = {name: Stream(name, width, is_sequence=True) for name, width in widths.items()}
        weight = c["loss_weights"]
        names = {"bce_U": "lsr_clf", "bce_aug": "aug_clf", "bce_aggregation": "total_aug_clf"}
        names |= {"bce_shuffled": "shuffle_aug_clf", "contrastive": "cl"}
        names |= {f"mse_{level}": f"{level}_mse" for level in ("recon", "aug", "beta")}
        self.weights = {ours: weight[theirs] for ours, theirs in names.items()}
        arrays = self.under("weight/")
        self.network = CARAT(
            make_problem(labels, streams),
            width=arrays["aggregation.layer0.weight"].shape[0],
            latent=c["z"],
            layers=dict(zip(STREAMS, c["layers"], strict=True)),
            heads=c["heads"],
            feedforward=arrays["text_encoder.layer0.feedforward.expand.weight"].shape[0],
            dropout=0.0,
            align_to=None if c["aligned"] else self.z["input/visual_mask"].shape[1],
            queue=c["queue"],
            temperature=c["temperature"],
            momentum=c["prototype_momentum"],
            weights=self.weights,
            released=True,
            mask_padding=True,  # the files have masks, most of them all ones
        ).double()
        for name in STREAMS:
            self.network.encoders[name].position = torch.nn.Embedding(*arrays[f"{name}_encoder.position.weight"].shape)
        self.network.double().load_state_dict({**our_names(arrays), **our_buffers(self.under("buffer/"))})
        frames = {name: torch.from_numpy(self.z[f"input/{name}_frames"])[:, None] for name in STREAMS}
        is_aligned = [c["aligned"] or name == "text" for name in STREAMS]
        masks = {
            name: torch.from_numpy(self.z[f"input/{name}_mask"])[:, None].bool()
            if given
            else torch.ones(x.shape[:3]) > 0
            for (name, x), given in zip(frames.items(), is_aligned, strict=True)
        }
        here = torch.ones(len(self.z["input/targets"]), 1, dtype=torch.bool)
        self.batch = {
            "inputs": frames,
            "frames": masks,
            "present": dict.fromkeys(STREAMS, here),
            "valid": here,
            "label": torch.from_numpy(self.z["input/targets"])[:, None].long(),
            "row": here.long(),
            "labelled": len(here),
        }

    def under(self, prefix):
        return {name.removeprefix(prefix): self.z[name] for name in self.z.files if name.startswith(prefix)}

    def step(self, number):
        """The unweighted terms of the loss in training step ``number``, and its total."""
        sample, modality = (torch.from_numpy(self.z[f"step{number}/permutation_{of}"]) for of in ("sample", "modality"))
        self.network.permutations = lambda _: (sample, modality)
        output = self.network.train()(self.batch)
        loss = self.network._loss(output.scores[:, 0], self.batch["label"][:, 0])
        terms = {name: term / self.weights[name] for name, term in output.terms.items()}
        return {"bce_beta": loss, **terms}, loss + sum(output.terms.values())


@pytest.fixture(params=FILES or [None], ids=lambda path: path.stem if path else "no numbers")
def reference(request):
    if request.param is None:
        pytest.skip("M2FNET_REFERENCE_NUMBERS names no folder with reference numbers")
    return Reference(request.param)


def same(ours, theirs):
    theirs = theirs if isinstance(theirs, torch.Tensor) else torch.from_numpy(np.asarray(theirs))
    assert_close(ours.detach().double(), theirs.double(), atol=1e-9, rtol=0)


@pytest.mark.parametrize("mode", ["eval", "train"])
def test_every_intermediate_is_that_of_the_released_code(reference, mode):
    numbers, network = reference.under(f"{mode}/"), reference.network.train(mode == "train")
    hidden = {}
    for name in STREAMS:
        encoder = network.encoders[name]
        encoder.project.register_forward_hook(lambda _, x, __, n=name: hidden.update({f"{n}_frames_normed": x[0]}))
        network.attention[name].register_forward_hook(
            lambda of, x, __, n=name: hidden.update({f"{n}_label_attention": of.weights(*x)})
        )
        for i, layer in enumerate(encoder.layers):
            layer.register_forward_hook(lambda _, __, h, n=name, i=i: hidden.update({f"{n}_hidden_layer{i}": h}))
    found = network.features(reference.batch, torch.arange(len(reference.batch["valid"])))
    assert len(hidden) == sum(reference.config["layers"]) + 6
    fields = {"U": found.U, "latent": found.latent, "recon": found.recon, "prototype_share": found.share}
    fields |= {"imputed_latent": found.imputed_latent, "imputed": found.imputed, "aug": found.aug, "beta": found.beta}
    fields |= {f"logit_{level}": network.logits(getattr(found, level)) for level in ("U", "aug", "beta")}
    for field, tensor in fields.items():
        for m, name in enumerate(STREAMS):
            hidden[f"{name}_{field}"] = tensor[:, m]
    for level in ("U", "aug", "beta"):
        hidden[f"max_logit_{level}"] = network.classify(getattr(found, level), found.counts)
    hidden["aggregation_logit"] = network.aggregate(found.beta.flatten(2))
    for name, tensor in hidden.items():
        of_frames = "frames_normed" in name or "hidden" in name  # what is under the padding is garbage there
        real = reference.z[f"input/{name.partition('_')[0]}_mask"].astype(bool) if of_frames else ...
        same(tensor[real], numbers[name][real])
    if mode == "eval":
        score = network(reference.batch).scores[:, 0].sigmoid()
        same(score, numbers["score"])
        assert (score > reference.config["threshold"]).tolist() == numbers["label"].astype(bool).tolist()


def test_four_steps_are_those_of_the_released_code(reference):
    network, config = reference.network, reference.config
    decayed = set(reference.z["config_decayed_weights"].tolist())
    numbers = {name: np.full_like(value, name in decayed) for name, value in reference.under("weight/").items()}
    groups = [
        {
            "params": [of],
            "weight_decay": config["weight_decay"] * bool(our_names(numbers)[name].all()),
            "decay_vectors": True,
        }
        for name, of in network.named_parameters()
    ]
    optimizer = BertAdam(groups, lr=config["lr"], steps=config["t_total"], warmup=config["warmup"])
    for step in range(1, 5):
        optimizer.zero_grad()
        terms, total = reference.step(step)
        stored = reference.under(f"step{step}/loss/")
        for name, term in {**terms, "total": total}.items():
            same(term, stored[name])
        assert set(stored) - set(terms) - {"total"} <= {name for name, of in reference.weights.items() if not of}
        total.backward()
        if step == 1:
            gradients = our_names(reference.under("grad/"))
            for name, parameter in network.named_parameters():
                same(parameter.grad, gradients[name])
        same(torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0), reference.z[f"step{step}/gradient_norm"])
        optimizer.step()
        state = network.state_dict()
        if after := reference.under(f"step{step}/weight/"):
            for name, value in our_names(after).items():
                same(state[name], value)
        if after := reference.under(f"step{step}/buffer/"):
            for name, value in our_buffers(after).items():
                same(state[name], value)
    same(network.eval()(reference.batch).scores[:, 0].sigmoid(), reference.z["final_eval/score"])
