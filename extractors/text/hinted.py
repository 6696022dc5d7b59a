"""Text: a frozen model reads what a language model said about an utterance, and then its transcript.

The text feature of the MER2024-SEMI winner (Qi et al., arXiv:2409.07078): the input is ``{hint} {transcript}``, the
embedding is the mean over its tokens of the last four layers' hidden states.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from extractors.base import PlacedUtterance, Sample
from extractors.layers.encoder import Trained
from extractors.layers.hidden_states import Layers
from extractors.layers.low_rank import LowRank
from extractors.layers.readout import Combine, Pooling
from extractors.text.hints import Hints, read_hints
from extractors.text.roberta import TextEncoder
from m2fnet.errors import RunError
from m2fnet.files import read_json, write_json
from m2fnet.records import Utterance

_KEPT = "hints.json"
_LAST_LAYERS = 4


class HintedTextEncoder(TextEncoder):
    """Embeddings of single utterances with hints in front, from any encoder or model that writes text.

    An utterance without a hint is read as its transcript only, and counted (``without_hint``); one without a transcript
    is missing. The hints' hash, prompt and model are part of the provenance of every store.

    Args:
        model: name on the Hugging Face hub, or folder, of the encoder and its tokenizer.
        hints: folder of `m2fnet hints`, or a JSONL file of ``{"id": ..., "hint": ...}``; None reads transcripts only.
        hints_sha256: the hash that the hints must have; a run knows that of its hints.
        pretrained: take the encoder's weights; otherwise only the architecture and the tokenizer.
        budget: most tokens of an input; longer ones are read in parts.
        overlap: tokens that these parts share.
        layers: which hidden states are read, see `extractors.layers.hidden_states.layer_numbers`; None for the
            last four.
        combine: how several layers become one, see `extractors.layers.readout.Readout`.
        pooling: how tokens become one vector, see there.
        trained: what of the encoder learns, see `extractors.layers.encoder.EncoderExtractor`.
        low_rank: the change of low rank that learns, with ``trained: low_rank``.
        gradient_checkpointing: compute activations twice instead of keeping them; less memory, slower.

    Raises:
        ValueError: for a setting that makes no sense or that the encoder cannot follow.
        HintError: if the hints cannot be read.
        RunError: if the encoder cannot be loaded, or the hints are others than before.
    """

    local_settings: ClassVar[tuple[str, ...]] = ("hints", "hints_sha256")

    def __init__(
        self,
        model: str,
        *,
        hints: str | None = None,
        hints_sha256: str | None = None,
        pretrained: bool = True,
        budget: int = 512,
        overlap: int = 64,
        layers: Layers | None = None,
        combine: Combine = "average",
        pooling: Pooling = "mean",
        trained: Trained = "none",
        low_rank: LowRank | None = None,
        gradient_checkpointing: bool = False,
    ) -> None:
        super().__init__(
            model,
            pretrained=pretrained,
            past=0,
            future=0,
            budget=budget,
            speakers=False,
            layers=[-n for n in range(_LAST_LAYERS, 0, -1)] if layers is None else layers,
            combine=combine,
            pooling=pooling,
            trained=trained,
            low_rank=low_rank,
            overlap=overlap,
            gradient_checkpointing=gradient_checkpointing,
        )
        self.hints = Hints({}, {}) if hints is None else read_hints(Path(hints))
        now = str(self.hints.made_from.get("sha256"))
        if hints is not None and hints_sha256 not in (None, now):
            raise RunError(
                f"{hints} has SHA-256 {now[:12]}…, but the extractor was made with hints of {str(hints_sha256)[:12]}…. "
                "Make the run again with --config and --overwrite, or name another folder with --run."
            )

    @classmethod
    def is_trained(cls, settings: Mapping[str, object]) -> bool:
        """Only if that is asked for: the encoder is read as it comes by default."""
        return super().is_trained({"trained": "none", **settings})

    @classmethod
    def is_outdated(cls, settings: Mapping[str, object], folder: Path) -> bool:
        """Whether the hints have changed."""
        hints, kept = settings.get("hints"), cls.asset_settings(folder).get("hints_sha256")
        return isinstance(hints, str) and read_hints(Path(hints)).made_from.get("sha256") != kept

    def preprocess(self, placed: PlacedUtterance) -> Sample:
        """As of every encoder of text, and whether there was no hint.

        Raises:
            MediaError: if the utterance has no text, or none that the tokenizer knows anything of.
        """
        is_without = bool(self.hints.of) and not self.hints.hint_of(placed.utterance)
        return {**super().preprocess(placed), "without_hint": int(is_without)}

    def size(self, placed: PlacedUtterance) -> int:
        """Characters of hint and transcript."""
        return super().size(placed) + len(self.hints.hint_of(placed.utterance))

    def words(self, utterance: Utterance) -> str:
        """The hint, a blank and the transcript, or only the transcript."""
        return f"{self.hints.hint_of(utterance)} {super().words(utterance)}".strip()

    def made_from(self) -> Mapping[str, object]:
        """Hash, prompt and model of the hints."""
        return {"hints": dict(self.hints.made_from)} if self.hints.made_from else {}

    def save_assets(self, folder: Path) -> None:
        """Write what building the encoder takes, and of the hints their provenance only: they are about a corpus."""
        super().save_assets(folder)
        if self.hints.made_from:
            write_json(folder / _KEPT, dict(self.hints.made_from))

    @classmethod
    def asset_settings(cls, folder: Path) -> dict[str, object]:
        """Settings for the same network from what `save_assets` wrote, with the hash of its hints."""
        settings = super().asset_settings(folder)
        if (folder / _KEPT).is_file():
            settings["hints_sha256"] = read_json(folder / _KEPT, RunError, "Take another copy.").get("sha256")
        return settings
