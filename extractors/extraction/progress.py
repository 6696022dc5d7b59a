"""How far an extraction is: a bar on a terminal, a line now and then elsewhere."""

import sys
import time

import pytorch_lightning as pl
from tqdm import tqdm

from extractors.extraction.embedding import EmbeddingBatch
from extractors.extraction.lightning import EmbeddingTask
from m2fnet.store.layout import Missing, Outcome

_LINE = "{desc}: {n_fmt} of {total_fmt} utterances, {rate_fmt}, {remaining} left{postfix}"


class Progress(pl.Callback):
    """Shows on standard error how fast the first process is, how much is missing, and how long it will take.

    Args:
        line_every: seconds between two lines where there is no terminal for a bar.
    """

    def __init__(self, line_every: float = 30.0) -> None:
        self.line_every = line_every

    def on_predict_start(self, trainer: pl.Trainer, pl_module: EmbeddingTask) -> None:  # type: ignore[override]
        """Start the clock."""
        self._name: str = pl_module.extractor.modality
        if trainer.world_size > 1:
            self._name += f", process 1 of {trainer.world_size}"
        self._total = sum(map(len, pl_module.share))
        self._done, self._missing = 0, 0
        self._seconds: float | None = 0.0  # of the media, None if the manifest does not know
        self._started = self._written = time.monotonic()
        self._bar = tqdm(
            total=self._total,
            desc=self._name,
            unit=" utterances",
            file=sys.stderr,
            disable=not trainer.is_global_zero or not sys.stderr.isatty(),
        )

    def on_predict_batch_end(  # type: ignore[override]
        self,
        trainer: pl.Trainer,
        pl_module: EmbeddingTask,
        outputs: list[Outcome],
        batch: EmbeddingBatch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Count a batch, and write a line if one is due."""
        self._done += len(outputs)
        self._missing += sum(isinstance(outcome.result, Missing) for outcome in outputs)
        for place in batch["places"]:
            length = pl_module.wanted[place].seconds(pl_module.extractor.modality)
            self._seconds = None if self._seconds is None or length is None else self._seconds + length
        self._bar.set_postfix_str(self._note(), refresh=False)
        self._bar.update(len(outputs))
        is_due = time.monotonic() - self._written >= self.line_every
        if is_due and trainer.is_global_zero and self._bar.disable:
            self._written = time.monotonic()
            tqdm.write(self._line(), file=sys.stderr)

    def on_predict_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Close the bar."""
        self._bar.close()

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        """Close the bar, so that the next message starts on a new line."""
        if hasattr(self, "_bar"):
            self._bar.close()

    def _note(self) -> str:
        missing = f"{self._missing} missing"
        if not self._seconds:
            return missing
        return f"{self._seconds / (time.monotonic() - self._started):.1f} x real time, {missing}"

    def _line(self) -> str:
        return tqdm.format_meter(
            self._done,
            self._total,
            time.monotonic() - self._started,
            prefix=self._name,
            unit=" utterances",
            postfix=self._note(),
            bar_format=_LINE,
        )
