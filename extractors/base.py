"""The contract of stage 1: what every utterance-level extractor, closed-form or network, has to offer."""

import functools
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, load_model, save_file, save_model
from torch import Tensor, nn

from m2fnet.errors import RunError
from m2fnet.files import replaced
from m2fnet.manifest import Manifest
from m2fnet.media.noise import Noise
from m2fnet.problems import Problem
from m2fnet.records import Dialogue, Modality, Utterance
from m2fnet.store.layout import Resolution

FITTED = "fitted.safetensors"
WEIGHTS = "model.safetensors"
FIT_AGAIN = "Take another copy of the folder, or remove it and fit again with `m2fnet extractor fit`."
Sample = dict[str, Any]  # what `Extractor.preprocess` makes of an utterance; every extractor has its own keys


@dataclass(frozen=True)
class PlacedUtterance:
    """An utterance in its place: with its dialogue, and the manifest that knows where its media are.

    Attributes:
        manifest: the corpus.
        dialogue: all utterances of the dialogue.
        position: number of the utterance in it, from 0.
        noise: what is done to its sound or picture after it was read; the text of a noisy ``dialogue`` has its noise
            already.

    Example:
        >>> from m2fnet.records import LabelSet, Utterance
        >>> said = [Utterance(f"a{n}", "toy", "train", "a", n, "Ann", text) for n, text in enumerate(["Hi!", "Bye!"])]
        >>> manifest = Manifest("toy", LabelSet("toy", ("joy", "sadness")), tuple(said), Path())
        >>> placed = PlacedUtterance(manifest, manifest.dialogues()[0], 1)
        >>> placed.utterance.text
        'Bye!'
    """

    manifest: Manifest
    dialogue: Dialogue
    position: int
    noise: Noise | None = None

    @property
    def utterance(self) -> Utterance:
        """The utterance itself."""
        return self.dialogue.utterances[self.position]

    def seconds(self, modality: Modality) -> float | None:
        """Its length by its span in its file, or else by the times of its source; None if that is unknown."""
        spans = {"audio": self.utterance.audio_span, "visual": self.utterance.video_span}
        start, end = spans.get(modality) or (self.utterance.start_s, self.utterance.end_s)
        return None if start is None or end is None else max(0.0, end - start)


class Extractor(nn.Module, ABC):
    """Makes an embedding of the text, the sound or the pictures of an utterance.

    The way of one utterance is ``preprocess`` (in a worker process, one at a time, media are read here), ``collate``
    (a list of samples becomes a batch) and ``forward`` (on the device, a batch at a time).

    A network that `ExtractorTask` trains keeps three more promises. ``preprocess`` and ``collate`` give the same each
    time, so that samples can be kept in memory over all epochs; whatever is random (crops, augmentation, dropout)
    happens in ``forward``, and only if ``self.training``. The embeddings come un-normalised: the losses do that where
    they need it. And a batch holds tensors, numbers, texts, lists and dicts only, so that it can travel to the device.

    Example:
        An extractor that counts exclamation marks:

        >>> class Exclamations(Extractor):
        ...     modality = "text"
        ...     width = 1
        ...
        ...     def preprocess(self, placed):
        ...         return {"count": float(placed.utterance.text.count("!"))}
        ...
        ...     def collate(self, samples):
        ...         return {"counts": torch.tensor([[sample["count"]] for sample in samples])}
        ...
        ...     def forward(self, batch):
        ...         return batch["counts"]
        >>> extractor = Exclamations()
        >>> extractor(extractor.collate([{"count": 2.0}, {"count": 0.0}]))
        tensor([[2.],
                [0.]])
    """

    modality: ClassVar[Modality]
    resolution: Resolution = "utterance"
    # Settings that name a place of one machine, such as a cache; an exported extractor does not have them.
    local_settings: ClassVar[tuple[str, ...]] = ()
    # Values of the setting `output` of an extractor that can give several embeddings, such as plain and prompted.
    outputs: ClassVar[tuple[str, ...]] = ()
    # Utterances that a CPU embeds at a time: the activations of more do not fit into its cache.
    batch_size_on_cpu: ClassVar[int] = 8
    # Parts with convolutions that `torch.fx` can trace; `inference_form` folds their batch normalisation.
    convolutional: ClassVar[tuple[str, ...]] = ()
    # Methods that `compile` leaves as they are.
    uncompiled: ClassVar[tuple[str, ...]] = ()

    @property
    @abstractmethod
    def width(self) -> int:
        """Length D of the embeddings."""

    @abstractmethod
    def preprocess(self, placed: PlacedUtterance) -> Sample:
        """Everything `forward` needs of one utterance.

        Raises:
            MediaError: if the utterance has nothing to offer (no clip, undecodable, silent, empty text); the caller
                records it as missing with the error's stage and reason.
        """

    @abstractmethod
    def collate(self, samples: Sequence[Sample]) -> Sample:
        """One batch of several samples."""

    @abstractmethod
    def forward(self, batch: Sample) -> Tensor | list[Tensor]:
        """Embeddings (B, D), or for frame resolution one (T, D) per sample."""

    def size(self, placed: PlacedUtterance) -> float:
        """About what `length` will be, in any unit, from what the manifest says; no media are read for it.

        Similar ones are embedded together; where all are equal, in the order of the manifest.
        """
        return 0

    def length(self, sample: Sample) -> int:
        """What a sample costs in a padded batch (tokens, samples, frames); similar ones are batched together."""
        return 1

    def compile(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401
        """Let ``torch.compile`` translate the network, but for the methods in ``uncompiled``."""
        for name in self.uncompiled:
            _leave_uncompiled(type(self), name)
        super().compile(*args, **kwargs)

    def head(self, problem: Problem) -> nn.Module:
        """What makes logits (B, C) of embeddings (B, D) in training; extraction does without it.

        Raises:
            ValueError: if the network's settings do not fit the emotions.
        """
        return nn.Linear(self.width, len(problem.classes))

    def backbones(self) -> Sequence[nn.Module]:
        """The parts that come pretrained; they can have their own learning rate and stay frozen for some epochs."""
        return ()

    def layer_of_weights(self) -> Mapping[nn.Parameter, int]:
        """The number of its layer for each pretrained weight, 0 for the lowest; empty if layers have no numbers."""
        return {}

    def made_from(self) -> Mapping[str, object]:
        """What its embeddings depend on except settings, weights and the corpus, for the provenance of stores."""
        return {}

    def save_assets(self, folder: Path) -> None:
        """Write into ``folder`` what building it again takes besides its settings, such as a tokenizer; no weights."""

    @classmethod
    def asset_settings(cls, folder: Path) -> dict[str, object]:
        """Settings that build it from what `save_assets` wrote, not from where that first came, such as a hub."""
        return {}

    @classmethod
    def is_outdated(cls, settings: Mapping[str, object], folder: Path) -> bool:
        """Whether files that ``settings`` name have changed since `save_assets` wrote ``folder``."""
        return False

    @classmethod
    def is_trained(cls, settings: Mapping[str, object]) -> bool:
        """Whether an extractor with these settings has to be trained; otherwise `m2fnet extract --config` makes it."""
        return True

    def save(self, folder: Path) -> None:
        """Write everything except its settings into ``folder``; no pickle."""
        self.save_assets(folder)
        with replaced(folder / WEIGHTS) as temporary:
            save_model(self, str(temporary))

    def load(self, folder: Path) -> None:
        """Load the weights that `save` wrote into ``folder``; the settings must be those it was saved with.

        Raises:
            RunError: if the file is absent, damaged, or of another extractor.
        """
        try:
            load_model(self, folder / WEIGHTS)
        except (OSError, RuntimeError, SafetensorError) as problem:
            raise RunError(
                f"{folder / WEIGHTS} does not fit the extractor: {' '.join(str(problem).split())[:300]}."
            ) from problem


def next_generator(step: Tensor, device: torch.device | str = "cpu") -> torch.Generator:
    """Random numbers that depend on the run's seed and the training ``step`` only; ``step`` is counted up.

    So a resumed run draws what it would have drawn; ``step`` is a buffer of the network.

    Example:
        >>> step = torch.zeros((), dtype=torch.long)
        >>> first, second = (torch.rand(1, generator=next_generator(step)) for _ in range(2))
        >>> bool(first == second), int(step)
        (False, 2)
    """
    seed = (torch.initial_seed() % 2**31 << 31) + int(step)
    step += 1
    return torch.Generator(device).manual_seed(seed)


class FittedExtractor(Extractor):
    """An extractor that is fitted in closed form, in one pass over the training split, without Lightning.

    Its settings are constructor arguments; what was fitted is in buffers, registered as ``UninitializedBuffer`` until
    `fit` or `load` gives them their shape.

    Example:
        >>> from extractors.text.lsa import LSA
        >>> lsa = LSA(width=2, min_df=1)
        >>> samples = [{"text": text} for text in ("so happy", "so sad", "happy")]
        >>> lsa.fit(samples)
        >>> lsa(lsa.collate(samples)).shape
        torch.Size([3, 2])
    """

    @classmethod
    def is_trained(cls, settings: Mapping[str, object]) -> bool:
        """Never: it is fitted."""
        return False

    @abstractmethod
    def fit(self, samples: Sequence[Sample], *, seed: int = 0) -> None:
        """Fit on the samples of the training split; they hold no labels. Same samples, same seed: same fit."""

    def save(self, folder: Path) -> None:
        """Write what was fitted into ``folder``."""
        with replaced(folder / FITTED) as temporary:
            save_file({name: tensor.cpu() for name, tensor in self.state_dict().items()}, temporary)

    def load(self, folder: Path) -> None:
        """Load what `save` wrote into ``folder``; the settings must be those it was fitted with.

        Raises:
            RunError: if the file is absent, damaged, or of another extractor.
        """
        try:
            self.load_state_dict(load_file(folder / FITTED), assign=True)
        except (OSError, SafetensorError, RuntimeError) as problem:
            raise RunError(f"Cannot load {folder / FITTED}: {problem}. {FIT_AGAIN}") from problem


@functools.cache
def _leave_uncompiled(network: type[Extractor], method: str) -> None:
    """Hide a method from the compiler; a decorator of the method would import the compiler, which takes seconds."""
    setattr(network, method, torch.compiler.disable(getattr(network, method)))  # type: ignore[no-untyped-call]
