"""Augmentation of CARAT: for each emotion, features of other utterances and modalities."""

import torch
from torch import Tensor


def permutations(features: Tensor, *, whole: bool) -> tuple[Tensor, Tensor]:
    """For features (N, M, C, ...) which utterance and which modality goes to each place, both (N, M, C).

    For every emotion the utterances are permuted, and for every utterance and emotion the modalities. As released, one
    order of the utterances belongs to each *destination* modality, so a pair of utterance and modality may occur twice
    or never. With ``whole`` it belongs to the *source* modality, and every pair occurs once.

    Example:
        >>> sample, modality = permutations(torch.zeros(4, 3, 2), whole=True)
        >>> len({(int(s), int(m)) for s, m in zip(sample[..., 0].flatten(), modality[..., 0].flatten())})
        12
    """
    n, m, c = features.shape[:3]
    modality = torch.rand(n, m, c, device=features.device).argsort(1)
    sample = torch.rand(n, m, c, device=features.device).argsort(0)
    return (sample.gather(1, modality) if whole else sample), modality


def shuffled(features: Tensor, targets: Tensor, sample: Tensor, modality: Tensor) -> tuple[Tensor, Tensor]:
    """Features (N, M, C, D) and targets (N, M, C) that follow them, from features and targets (N, C).

    ``shuffled[b, m, c] = features[sample, modality, c]`` with ``sample`` and ``modality`` at ``[b, m, c]``.

    Example:
        >>> features, targets = torch.arange(4.0).reshape(2, 1, 2, 1), torch.tensor([[1, 0], [0, 1]])
        >>> sample = torch.tensor([[[1, 0]], [[0, 1]]])
        >>> new = shuffled(features, targets, sample, torch.zeros_like(sample))
        >>> new[0].flatten().tolist(), new[1].flatten().tolist()
        ([2.0, 1.0, 0.0, 3.0], [0, 0, 1, 1])
    """
    label = torch.arange(features.shape[2], device=features.device)
    return features[sample, modality, label], targets[sample, label]
