"""Which samples go together into a batch, the same in every process and every run with the same seed."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor
from torch.utils.data import Sampler

from m2fnet.errors import UsageError


class ShardedBatchSampler(Sampler[list[int]], ABC):
    """Batches of sample numbers, planned again for every epoch.

    Under distributed training every process plans the same batches and takes its share; in training the first ones are
    repeated so that all processes take equally many steps.

    Args:
        seed: of the random plan; None for evaluation, where nothing is random and nothing repeated.
    """

    def __init__(self, seed: int | None) -> None:
        self.seed = seed
        self.epoch = 0
        self.sampler = self  # Lightning calls `set_epoch` on a batch sampler's `sampler`

    @abstractmethod
    def plan(self, generator: torch.Generator) -> list[list[int]]:
        """All batches of one epoch; their number is always the same."""

    @abstractmethod
    def count(self) -> int:
        """Number of batches that `plan` gives."""

    def set_epoch(self, epoch: int) -> None:
        """Name the epoch that the next pass is for."""
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self._mine(range(self.count())))

    def __iter__(self) -> Iterator[list[int]]:
        batches = self.plan(torch.Generator().manual_seed(((self.seed or 0) << 20) + self.epoch))
        yield from (batches[n] for n in self._mine(range(len(batches))))

    def _mine(self, numbers: Sequence[int]) -> Sequence[int]:
        """The batches of this process."""
        if not torch.distributed.is_available() or not torch.distributed.is_initialized():
            return numbers
        processes, me = torch.distributed.get_world_size(), torch.distributed.get_rank()
        if len(numbers) < processes:
            raise UsageError(
                f"A split has {len(numbers)} batches for {processes} processes; lower data.batch_size, or use fewer."
            )
        if self.seed is not None:
            numbers = [*numbers, *numbers[: -len(numbers) % processes]]
        return numbers[me::processes]


class LengthGroupedBatchSampler(ShardedBatchSampler):
    """Batches of samples of similar length, so that little is padding; a plain shuffle where all are alike.

    With a seed, samples are sorted by length plus a random part, cut into batches, and the batches are shuffled.

    Args:
        lengths: of the samples (N,).
        batch_size: samples per batch.
        seed: see `ShardedBatchSampler`.
        blur: how much two lengths may differ and still trade places.
    """

    def __init__(self, lengths: Tensor, batch_size: int, seed: int | None, blur: float = 2.0) -> None:
        super().__init__(seed)
        self.lengths, self.batch_size, self.blur = lengths, batch_size, blur

    def count(self) -> int:
        """Number of batches."""
        return -(-len(self.lengths) // self.batch_size)

    def plan(self, generator: torch.Generator) -> list[list[int]]:
        """Every sample once."""
        shuffles = self.seed is not None
        noise = torch.rand(len(self.lengths), generator=generator) * self.blur if shuffles else 0.0
        order = torch.argsort(self.lengths + noise, stable=True)
        batches: list[list[int]] = [batch.tolist() for batch in torch.split(order, self.batch_size)]
        if shuffles:
            batches = [batches[n] for n in torch.randperm(len(batches), generator=generator).tolist()]
        return batches


class GroupedBatchSampler(ShardedBatchSampler):
    """Batches of whole groups of samples, such as the utterances of dialogues; groups of similar size go together.

    Args:
        groups: numbers of the samples in each.
        batch_size: groups per batch.
        seed: see `ShardedBatchSampler`.

    Example:
        >>> list(GroupedBatchSampler([[0, 1, 2], [3], [4, 5], [6]], batch_size=2, seed=None))
        [[3, 6], [4, 5, 0, 1, 2]]
    """

    def __init__(self, groups: Sequence[Sequence[int]], batch_size: int, seed: int | None) -> None:
        super().__init__(seed)
        self.groups = groups
        self._of_groups = LengthGroupedBatchSampler(torch.tensor([len(one) for one in groups]), batch_size, seed)

    def count(self) -> int:
        """Number of batches."""
        return self._of_groups.count()

    def plan(self, generator: torch.Generator) -> list[list[int]]:
        """Every sample once, those of a group one after another."""
        return [[n for group in batch for n in self.groups[group]] for batch in self._of_groups.plan(generator)]


class ClassBalancedBatchSampler(ShardedBatchSampler):
    """Batches of P classes with K samples of each, so that every sample has positives; an epoch has N / (P K) of them.

    FaceNet, arXiv:1503.03832, section 3.2. Classes are drawn evenly; each one's samples come in a random order, which
    starts again when all were drawn, so the samples of a rare class come more often.

    Args:
        labels: class numbers of the samples (N,).
        batch_size: P K samples per batch.
        per_class: K; a smaller class gives the same sample more than once.
        seed: see `ShardedBatchSampler`.

    Raises:
        ValueError: if K is below 2, does not divide the batch, or fewer than two classes go into a batch.
    """

    def __init__(self, labels: Tensor, batch_size: int, per_class: int, seed: int) -> None:
        super().__init__(seed)
        present = torch.unique(labels)
        classes = min(batch_size // per_class, len(present)) if per_class > 1 else 0
        if classes < 2 or batch_size % per_class:
            raise ValueError(
                f"Expected batches of at least two classes with at least two samples each, but {batch_size} samples "
                f"with {per_class} of each class out of {len(present)} classes are not."
            )
        self.members = [(labels == label).nonzero().flatten() for label in present]
        self.classes, self.per_class, self.size = classes, per_class, len(labels)

    def count(self) -> int:
        """Number of batches."""
        return -(-self.size // (self.classes * self.per_class))

    def plan(self, generator: torch.Generator) -> list[list[int]]:
        """Batches in which every class has K samples."""
        decks = [_Deck(members, generator) for members in self.members]
        chosen = [torch.randperm(len(decks), generator=generator)[: self.classes] for _ in range(self.count())]
        return [[n for deck in batch.tolist() for n in decks[deck].deal(self.per_class)] for batch in chosen]


class _Deck:
    """Numbers dealt in a random order, shuffled again whenever all have been dealt."""

    def __init__(self, numbers: Tensor, generator: torch.Generator) -> None:
        self._numbers, self._generator, self._left = numbers, generator, list[int]()

    def deal(self, count: int) -> list[int]:
        while len(self._left) < count:
            order = torch.randperm(len(self._numbers), generator=self._generator)
            waiting = set(self._left)  # not dealt yet, so not again before the others
            self._left += sorted(self._numbers[order].tolist(), key=waiting.__contains__)
        dealt, self._left = self._left[:count], self._left[count:]
        return dealt
