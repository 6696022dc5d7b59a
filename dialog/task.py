"""Training and scoring a dialogue network: one LightningModule for all of them."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any, TypeVar, cast

import pytorch_lightning as pl
import torch
from pytorch_lightning.cli import LRSchedulerCallable, OptimizerCallable
from pytorch_lightning.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from dialog.batch import DialogueBatch, Output, output_of
from dialog.data import Dialogues
from dialog.fusion.streams import fit_standardisation
from dialog.missing.modality_dropout import ModalityDropout
from m2fnet.errors import UsageError
from m2fnet.losses.ratings import RatingLoss, rating_loss
from m2fnet.metrics.ratings import rating_scores, sums_of
from m2fnet.problems import MultiLabel, Problem, Thresholds, problem_from_dict
from m2fnet.training.averaging import Averaging
from m2fnet.training.callbacks import callbacks_of_settings
from m2fnet.training.loggers import whole_weight
from m2fnet.training.schedules import Decay, refuse_unlogged, refuse_wrong_schedule, scheduled

T = TypeVar("T")
NetworkFactory = Callable[[Problem], nn.Module]
SCORED = ("dev", "test")  # the order of `DialogueData.test_dataloader`


def adamw(parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
    """The paper's optimizer with its learning rate (arXiv:2206.02187, section 4.2)."""
    return torch.optim.AdamW(parameters, lr=5e-4)


class DialogueTask(pl.LightningModule):
    """Trains a dialogue network by the loss of its problem and scores it by the metrics of its problem.

    One emotion per utterance: cross-entropy (arXiv:2206.02187, eq 14) and weighted F1. Sets of emotions: binary
    cross-entropy and micro F1, with thresholds that are chosen on dev after every epoch.

    The network is built when the data are known, from their `Problem`; a checkpoint carries that problem, thresholds
    included, so it can be loaded without the data.

    Args:
        net: makes the network from the problem, e.g. `dialog.models.m2fnet.M2FNet`.
        optimizer: makes the optimizer from the parameters.
        scheduler: makes a learning-rate schedule that is stepped once per epoch, instead of ``warmup`` and ``decay``;
            none by default. With ``ReduceLROnPlateau`` in ``mode: max`` it follows the score on dev that selects
            weights, in ``mode: min`` the loss on dev.
        modality_dropout: masks modalities at random in training; none by default.
        class_weight: from 0 (all utterances weigh the same in training) to 1 (all emotions weigh the same), see
            `m2fnet.losses.class_weights`; for sets of emotions how much more having one counts than not having it, see
            `m2fnet.losses.multilabel.positive_weights`.
        warmup: share of all optimizer steps over which the learning rate rises to its value.
        decay: how it falls to 0 over the rest, see `m2fnet.training.schedules`.
        label_smoothing: share of the target that is spread evenly over all emotions in training (arXiv:1512.00567,
            section 7); for sets of emotions targets move from 0 and 1 towards one half.
        patience: epochs without a better score on dev after which training stops; never by default.
        averaging: lets an average of the weights over the steps be scored and saved, see
            `m2fnet.training.averaging`; none by default.
        rating_loss: of the ratings that ``data.ratings`` names: ``mse`` or ``ccc``, see `m2fnet.losses.ratings`.
        rating_weight: of that loss, added to the loss of the emotions.
        thresholds: for sets of emotions, from which probability an emotion is in the answer: ``each`` has a threshold
            that is chosen on dev, ``one`` is chosen for all, or a number is it (CARAT's code: 0.25).

    Raises:
        UsageError: if the schedule, the class weight, the thresholds or the numbers of the modality dropout are out of
            range.
    """

    def __init__(
        self,
        net: NetworkFactory,
        optimizer: OptimizerCallable = adamw,
        scheduler: LRSchedulerCallable | None = None,
        modality_dropout: ModalityDropout | None = None,
        class_weight: float = 0.0,
        warmup: float = 0.0,
        decay: Decay = "none",
        label_smoothing: float = 0.0,
        patience: int | None = None,
        averaging: Averaging | None = None,
        thresholds: Thresholds = "each",
        rating_loss: RatingLoss = "mse",
        rating_weight: float = 1.0,
    ) -> None:
        super().__init__()
        refuse_wrong_schedule(warmup, decay, has_scheduler=scheduler is not None)
        if not 0 <= class_weight <= 1:
            raise UsageError(f"model.class_weight is {class_weight}, expected 0 to 1.")
        if not 0 <= label_smoothing < 1:
            raise UsageError(f"Expected model.label_smoothing in [0, 1), but got {label_smoothing}.")
        if modality_dropout is not None:
            modality_dropout.check()
        if isinstance(thresholds, float) and not 0 <= thresholds <= 1:
            raise UsageError(f"model.thresholds is {thresholds}, expected each, one, or a number from 0 to 1.")
        self.save_hyperparameters(logger=False)
        self.make_net = net
        self.make_optimizer = optimizer
        self.make_scheduler = scheduler
        self.modality_dropout = modality_dropout
        self.class_weight = class_weight
        self.warmup = warmup
        self.decay: Decay = decay
        self.label_smoothing = label_smoothing
        self.patience = patience
        self.averaging = averaging
        self.thresholds: Thresholds = thresholds
        self.rating_loss: RatingLoss = rating_loss
        self.rating_weight = rating_weight
        self.class_weights: Tensor | None = None
        self.problem: Problem | None = None
        self.net: nn.Module | None = None
        self.outputs: dict[str, list[tuple[Tensor, Tensor]]] = {}
        self.rated: dict[str, list[tuple[Tensor, Tensor, Tensor]]] = {}

    def configure_model(self) -> None:
        """Build the network for the data at hand; called by the trainer, and before a checkpoint is loaded."""
        if self.net is None and self._trainer is not None:
            trainer: Any = self.trainer  # it has a `datamodule`, which its class does not declare
            self.build(trainer.datamodule.problem)

    def build(self, problem: Problem) -> None:
        """Build network and metrics for ``problem``.

        Raises:
            UsageError: if the network's settings do not fit the problem.
        """
        try:
            self.net = self.make_net(problem)
        except ValueError as error:
            raise UsageError(f"model.net: {error}") from error
        self.problem = replace(problem, chosen=self.thresholds) if isinstance(problem, MultiLabel) else problem
        self.scores = nn.ModuleDict({split: problem.metrics() for split in SCORED})

    def forward(self, batch: DialogueBatch) -> Output:
        """Scores (B, U, C) and terms of the network.

        Raises:
            UsageError: if the network returns something else than an `Output`, or lacks the ratings of the problem.
        """
        assert self.net is not None, "the network is built by `build`"
        output = output_of(self.net, batch)
        if self._problem().ratings and output.ratings is None:
            raise UsageError(
                f"data.ratings names {', '.join(self._problem().ratings)}, but the network "
                f"{type(self.net).__qualname__} rates nothing. Remove data.ratings, or use a network that does, such "
                "as dialog.models.attention_fusion.AttentionFusion."
            )
        return output

    def configure_callbacks(self) -> list[pl.Callback]:
        """Early stopping and averaging of weights, if they are set, while training."""
        if self.trainer.state.fn != "fit":
            return []
        trainer: Any = self.trainer
        return callbacks_of_settings(f"dev/{trainer.datamodule.problem.monitor}", self.patience, self.averaging)

    def on_fit_start(self) -> None:
        """Take from the training split the scale of the inputs and, if asked to, the weights of the emotions."""
        assert self.net is not None, "the network is built by `configure_model`"
        trainer: Any = self.trainer
        training: Dialogues = trainer.datamodule.dialogues("train")
        fit_standardisation(self.net, training)
        if self.class_weight and self.problem is not None:
            self.class_weights = self.problem.class_weights(training.utterances, self.class_weight)

    def training_step(self, batch: DialogueBatch, batch_idx: int) -> Tensor:
        """Mean loss over the labelled utterances of the batch, plus the terms of the network."""
        if self.modality_dropout is not None:
            batch = self.modality_dropout(batch, self.current_epoch, self._problem().modalities)
        output: Output = self(batch)
        loss = self._loss(output.scores, batch, self.class_weights, self.label_smoothing)
        weight = whole_weight(max(batch["labelled"], 1))
        if output.terms or output.ratings is not None:  # what compares with dev, where nothing else is counted
            self.log("train/scores_loss", loss, on_step=False, on_epoch=True, batch_size=weight, sync_dist=True)
        if output.ratings is not None and "rating" in batch:
            rated = rating_loss(output.ratings, batch["rating"], self.rating_loss)
            self.log("train/rating_loss", rated, on_step=False, on_epoch=True, batch_size=weight, sync_dist=True)
            loss = loss + self.rating_weight * rated
        for name, term in output.terms.items():
            self.log(f"train/{name}", term, on_step=False, on_epoch=True, batch_size=weight, sync_dist=True)
            loss = loss + term
        self.log("train/loss", loss, on_step=False, on_epoch=True, batch_size=weight, sync_dist=True)
        return loss

    def validation_step(self, batch: DialogueBatch, batch_idx: int) -> None:
        """Score a batch of the dev split."""
        self._score(batch, "dev")

    def on_validation_epoch_end(self) -> None:
        """Log the scores on dev, by thresholds chosen on it while training."""
        self._log_scores("dev")

    def on_test_epoch_end(self) -> None:
        """Log the scores on dev and test."""
        for split in SCORED:
            self._log_scores(split)

    def test_step(self, batch: DialogueBatch, batch_idx: int, dataloader_idx: int = 0) -> None:
        """Score a batch of the dev or test split and collect its probabilities for the report."""
        split = SCORED[dataloader_idx]
        self.collect(split, batch, self._score(batch, split))

    def predict_step(self, batch: DialogueBatch, batch_idx: int) -> None:
        """Collect the probabilities of every utterance, context utterances included."""
        self.collect("predict", batch, self(batch).scores)

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Optimizer, and schedule if there is one.

        Raises:
            UsageError: if either does not accept its settings.
        """
        optimizer, scheduler = self.optimizer_and_scheduler()
        monitor = f"dev/{self._problem().monitor}"
        return scheduled(optimizer, self.trainer, self.warmup, self.decay, scheduler, monitor)

    def optimizer_and_scheduler(self) -> tuple[torch.optim.Optimizer, LRScheduler | ReduceLROnPlateau | None]:
        """The optimizer, and the scheduler that ``scheduler`` makes; neither needs a trainer.

        Raises:
            UsageError: if either does not accept its settings.
        """
        try:
            optimizer = self.make_optimizer(self.parameters())
            scheduler = self.make_scheduler(optimizer) if self.make_scheduler is not None else None
        except ValueError as error:
            raise UsageError(f"model.optimizer or model.scheduler: {error}.") from error
        refuse_unlogged(scheduler, [f"dev/{name}" for name in ("loss", *self._problem().score_names)])
        return optimizer, scheduler

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Write the problem into the checkpoint, as plain data.

        Settings that come from the command line are plain too; objects from a script would be pickled, so those
        are skipped, and `load_from_checkpoint` has to be given them again.
        """
        assert self.problem is not None, "there is nothing to save before `build`"
        checkpoint["problem"] = self.problem.as_dict()
        if "_instantiator" not in checkpoint.get("hyper_parameters", {}):
            checkpoint.pop("hyper_parameters", None)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Build the network that the weights belong to."""
        saved = problem_from_dict(checkpoint["problem"])
        if self.net is None:
            self.build(saved)
        elif self.problem is not None:
            self.problem = self.problem.with_decisions_of(saved)

    def collect(self, name: str, batch: DialogueBatch, logits: Tensor) -> None:
        """Collect the probabilities of a batch for `probabilities` under ``name``."""
        assert self.problem is not None, "the network is built by `build`"
        valid = batch["valid"]
        kept = (batch["row"][valid].cpu(), self.problem.probabilities(logits[valid].float()).cpu())
        self.outputs.setdefault(name, []).append(kept)

    def probabilities(self, name: str) -> tuple[Tensor, Tensor]:
        """Row numbers (N,) and probabilities (N, C) that `collect` was given as ``name``, such as ``dev`` or ``test``.

        Under distributed evaluation the parts of all processes are joined.
        """
        parts = of_all_processes(self.outputs.get(name, []))
        rows = torch.cat([rows for rows, _ in parts])
        order = rows.argsort()
        return rows[order], torch.cat([values for _, values in parts])[order]

    def _loss(
        self, logits: Tensor, batch: DialogueBatch, weights: Tensor | None = None, smoothing: float = 0.0
    ) -> Tensor:
        assert self.problem is not None, "the network is built by `build`"
        total = self.problem.loss(logits.flatten(0, 1), batch["label"].flatten(0, 1), weights, smoothing)
        return total / max(batch["labelled"], 1)  # a batch with nothing but context utterances has loss 0, not NaN

    def ratings(self, name: str) -> tuple[Tensor, Tensor, Tensor]:
        """Row numbers (N,), ratings (N, R) and those of the raters (N, R) of ``name``, ``dev`` or ``test``.

        Under distributed evaluation the parts of all processes are joined.
        """
        parts = of_all_processes(self.rated.get(name, []))
        rows = torch.cat([rows for rows, _, _ in parts])
        order = rows.argsort()
        return rows[order], torch.cat([of for _, of, _ in parts])[order], torch.cat([of for *_, of in parts])[order]

    def _problem(self) -> Problem:
        assert self.problem is not None, "the problem is known after `build`"
        return self.problem

    def _score(self, batch: DialogueBatch, split: str) -> Tensor:
        output: Output = self(batch)
        logits = output.scores
        if output.ratings is not None and "rating" in batch:
            valid = batch["valid"]
            rated = tuple(of[valid].cpu() for of in (batch["row"], output.ratings.float(), batch["rating"]))
            self.rated.setdefault(split, []).append(cast(tuple[Tensor, Tensor, Tensor], rated))
        loss = self._loss(logits, batch)
        weight = whole_weight(max(batch["labelled"], 1))
        self.log(f"{split}/loss", loss, batch_size=weight, sync_dist=True, add_dataloader_idx=False)
        scores: Any = self.scores[split]
        scores.update(logits.flatten(0, 1), batch["label"].flatten(0, 1))
        return logits

    def _log_scores(self, split: str) -> None:
        """Log what the metrics of ``split`` have seen in this epoch, in all processes, and empty them."""
        assert self.problem is not None, "the network is built by `build`"
        metrics: Any = self.scores[split]
        if split == "dev" and self.trainer.state.fn == "fit":
            self.problem = self.problem.chosen_on_dev(metrics)
        found = self.problem.scores(metrics)
        self.log_dict({f"{split}/{name}": score for name, score in found.items()}, prog_bar=split == "dev")
        metrics.reset()
        self._log_ratings(split)

    def _log_ratings(self, split: str) -> None:
        """Log the scores of the ratings of ``split`` in this epoch; a test keeps them for the report."""
        ratings = self._problem().ratings
        if not ratings or self.trainer.sanity_checking:
            self.rated.pop(split, None)
            return
        _, found, true = self.ratings(split)
        for name, mine, theirs in zip(ratings, found.double().T, true.double().T, strict=True):
            known = ~theirs.isnan()
            scores = rating_scores(sums_of(mine[known].numpy(), theirs[known].numpy()))
            self.log_dict({f"{split}/{name}_{kind}": float(score) for kind, score in scores.items()})
        if self.trainer.state.fn == "fit":
            del self.rated[split]


def of_all_processes(parts: list[T]) -> list[T]:
    """The ``parts`` of all processes of a distributed run."""
    if not torch.distributed.is_available() or not torch.distributed.is_initialized():
        return parts
    gathered: list[Any] = [None] * torch.distributed.get_world_size()
    torch.distributed.all_gather_object(gathered, parts)
    return [part for process in gathered for part in process]
