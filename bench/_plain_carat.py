"""CARAT's released formula as one writes it down, with every matrix in memory: what `bench/carat.py` measures against.

Written from the description of chengzju/CARAT@3210086 only; the tests compare `dialog.models.carat` with it. Weights
have the names of the network's ``state_dict``.
"""

from collections.abc import Mapping
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor


class Sizes(NamedTuple):
    """What the weights do not say."""

    heads: int
    momentum: float = 0.99
    temperature: float = 0.07
    dropout: float = 0.0


def terms(
    weights: Mapping[str, Tensor],
    frames: Mapping[str, Tensor],
    masks: Mapping[str, Tensor],
    targets: Tensor,
    permutations: tuple[Tensor, Tensor],
    sizes: Sizes,
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Every term of the loss, unweighted, and the buffers after the step.

    Args:
        weights: parameters and buffers by name.
        frames: stream -> (N, T, D).
        masks: stream -> (N, T).
        targets: 0 or 1, (N, C).
        permutations: utterance and modality of each place of the shuffle, (N, M, C) each.
        sizes: see `Sizes`.
    """
    names = list(frames)
    labels = targets.shape[1]
    y = targets.to(weights["classifier"].dtype)

    def linear(x: Tensor, name: str) -> Tensor:
        return F.linear(x, weights[f"{name}.weight"], weights.get(f"{name}.bias"))

    def norm(x: Tensor, name: str) -> Tensor:
        return F.layer_norm(x, x.shape[-1:], weights[f"{name}.weight"], weights[f"{name}.bias"], 1e-12)

    def drop(x: Tensor) -> Tensor:
        return F.dropout(x, sizes.dropout)

    def two(x: Tensor, name: str) -> Tensor:
        return linear(linear(x, f"{name}.0").relu(), f"{name}.2")

    def encoded(name: str) -> Tensor:
        x, e = norm(frames[name], f"encoders.{name}.norm"), f"encoders.{name}"
        h = drop(norm(linear(x, f"{e}.project") + weights[f"{e}.position.weight"][: x.shape[1]], f"{e}.input_norm"))
        blocked = (1 - masks[name][:, None, None, :].to(h.dtype)) * -10_000
        layer = 0
        while f"{e}.layers.{layer}.output.weight" in weights:
            at = f"{e}.layers.{layer}"
            together = linear(h, f"{at}.queries_keys_values").chunk(3, -1)
            q, k, v = (part.unflatten(-1, (sizes.heads, -1)).transpose(1, 2) for part in together)
            shares = drop((q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5 + blocked).softmax(-1))
            attended = linear((shares @ v).transpose(1, 2).flatten(2), f"{at}.output")
            h = norm(h + drop(attended), f"{at}.attention_norm")
            inner = F.gelu(linear(h, f"{at}.feedforward.0"))
            h = norm(h + drop(linear(inner, f"{at}.feedforward.2")), f"{at}.feedforward_norm")
            layer += 1
        return h

    own, latent, recon, imputed = [], [], [], []
    prototypes = weights["prototypes.vectors"]
    for m, name in enumerate(names):
        h = encoded(name)
        scores = linear(h, f"attention.{name}.score").transpose(1, 2)
        own.append(scores.masked_fill(~masks[name][:, None].bool(), -torch.inf).softmax(-1) @ h)
        latent.append(two(own[m], f"latents.{name}.encode"))
        recon.append(two(latent[m], f"latents.{name}.decode"))
        nearness = [(F.normalize(latent[m], dim=-1) * prototypes[m, :, sign]).sum(-1) for sign in (0, 1)]
        share = torch.stack(nearness, -1).softmax(-1)
        mixed = share[..., :1] * prototypes[m, :, 0] + share[..., 1:] * prototypes[m, :, 1]
        imputed.append(two(mixed, f"latents.{name}.decode"))
    aug = [
        linear(torch.cat([imputed[k] if k == m else recon[k] for k in range(len(names))], -1), f"fusion.{name}")
        for m, name in enumerate(names)
    ]
    beta = [linear(torch.cat(aug, -1), f"fusion.{name}") for name in names]

    def highest(features: list[Tensor]) -> Tensor:
        return torch.stack([(x * w).sum(-1) for x, w in zip(features, weights["classifier"], strict=True)]).amax(0)

    whole = torch.stack(beta, 1)
    sample, modality = permutations
    label = torch.arange(labels)
    rows = torch.stack(
        [two(x, f"latents.{name}.encode") for level in (own, aug, beta) for x, name in zip(level, names, strict=True)],
        1,
    )
    rows = F.normalize(rows, dim=-1).flatten(0, 2)
    classes = torch.stack([label + labels * (2 * m + (y < 0.5).long()) for m in range(len(names))], 1)
    classes = classes.repeat(1, 3, 1).flatten()
    found = {
        "bce_U": F.binary_cross_entropy_with_logits(highest(own), y),
        "bce_aug": F.binary_cross_entropy_with_logits(highest(aug), y),
        "bce_beta": F.binary_cross_entropy_with_logits(highest(beta), y),
        "bce_aggregation": F.binary_cross_entropy_with_logits(
            two(whole.flatten(2), "aggregate"), y[:, None].expand(-1, len(names), -1)
        ),
        "bce_shuffled": F.binary_cross_entropy_with_logits(
            two(whole[sample, modality, label].flatten(2), "aggregate"), y[sample, label]
        ),
        "contrastive": contrastive(rows, classes, weights["queue.rows"], weights["queue.classes"], sizes.temperature),
        "mse_recon": sum(F.mse_loss(x, u) for x, u in zip(recon, own, strict=True)),
        "mse_aug": sum(F.mse_loss(x, u) for x, u in zip(aug, own, strict=True)),
        "mse_beta": sum(F.mse_loss(x, u) for x, u in zip(beta, own, strict=True)),
    }
    return found, buffers_after(weights, [F.normalize(z.detach(), dim=-1) for z in latent], y, rows, classes, sizes)


def contrastive(rows: Tensor, classes: Tensor, queue: Tensor, queue_classes: Tensor, temperature: float) -> Tensor:
    """Mean over all rows, the queue's included, of the supervised contrastive loss; the whole matrix is in memory."""
    everything, places = torch.cat([rows, queue]), torch.cat([classes, queue_classes])
    others = 1 - torch.eye(len(everything), dtype=rows.dtype)
    positives = (places[:, None] == places[None, :]).to(rows.dtype) * others * (places >= 0).to(rows.dtype)
    similarity = everything @ everything.T / temperature
    similarity = similarity - similarity.max(1, keepdim=True).values.detach()
    log_share = similarity - (similarity.exp() * others).sum(1, keepdim=True).log()
    return -((positives * log_share).sum(1) / positives.sum(1).clamp(min=1)).mean()


def buffers_after(
    weights: Mapping[str, Tensor], latents: list[Tensor], y: Tensor, rows: Tensor, classes: Tensor, sizes: Sizes
) -> dict[str, Tensor]:
    """Prototypes, moved by one utterance after the other, and the queue with the new rows."""
    prototypes = weights["prototypes.vectors"].clone()
    for m, unit in enumerate(latents):
        for b, label in torch.cartesian_prod(torch.arange(len(y)), torch.arange(y.shape[1])).tolist():
            place = prototypes[m, label, 0 if y[b, label] == 1 else 1]
            place.mul_(sizes.momentum).add_((1 - sizes.momentum) * unit[b, label])
    position, size = int(weights["queue.position"]), len(weights["queue.rows"])
    where = (position + torch.arange(len(rows))) % size
    queue, queue_classes = weights["queue.rows"].clone(), weights["queue.classes"].clone()
    queue[where], queue_classes[where] = rows.detach(), classes
    after = {"prototypes.vectors": prototypes, "queue.rows": queue, "queue.classes": queue_classes}
    return {**after, "queue.position": torch.tensor((position + len(rows)) % size)}
