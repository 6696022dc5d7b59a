"""Training and judging an extractor: one LightningModule for text, audio and visual networks."""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import astuple, dataclass
from typing import Any, Literal, TypeVar, cast, get_args

import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from pytorch_lightning.cli import OptimizerCallable
from pytorch_lightning.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim import Optimizer

from extractors.base import Extractor
from extractors.data import REFERENCES, TESTED, VALIDATED, ExtractorBatch
from extractors.evaluation.embedding_scores import Embedded, evaluate_embeddings, join
from m2fnet.errors import M2FNetError, RunError, UsageError
from m2fnet.losses.covariance import covariance_penalty
from m2fnet.losses.mining import Mining
from m2fnet.losses.mixup import draw_mixture, mixed
from m2fnet.losses.supervised_contrastive import supervised_contrastive
from m2fnet.losses.triplet import TripletLoss
from m2fnet.losses.variance import variance_penalty
from m2fnet.problems import Problem, make_problem, problem_from_dict
from m2fnet.records import LabelSet
from m2fnet.training.averaging import Averaging
from m2fnet.training.callbacks import callbacks_of_settings
from m2fnet.training.loggers import whole_weight
from m2fnet.training.schedules import Decay, refuse_wrong_schedule, scheduled

T = TypeVar("T")
NetworkFactory = Callable[[], Extractor]
Scorer = Literal["head", "nearest", "probe"]
Printed = Literal["triplet", "covariance", "variance"]
_ON_EMBEDDINGS = ("triplet", "covariance", "variance", "supervised_contrastive")
_MOST_SCALED = 1000.0  # by how much `balance` enlarges terms whose gradient has all but vanished
_SETS = 3  # M2FNet sums variance and covariance over anchors, positives and negatives: mined online, each is the batch


@dataclass(frozen=True)
class LossWeights:
    """Weights of the terms of the loss; 0 switches a term off.

    Attributes:
        cross_entropy: of the head. Where it is 0 the head learns all the same, but the network does not hear of it.
        triplet: adaptive-margin triplet; M2FNet (arXiv:2206.02187, eq 9) gives it 20.
        covariance: there 5.
        variance: there 1.
        supervised_contrastive: Khosla et al., arXiv:2004.11362, eq 2, see `m2fnet.losses.supervised_contrastive`.
    """

    cross_entropy: float = 0.0
    triplet: float = 20.0
    covariance: float = 5.0
    variance: float = 1.0
    supervised_contrastive: float = 0.0


def adam(parameters: Iterable[nn.Parameter]) -> Optimizer:
    """The paper's optimizer with its rates (arXiv:2206.02187, section 4.2)."""
    return torch.optim.Adam(parameters, lr=1e-4, weight_decay=1e-6)


class ExtractorTask(pl.LightningModule):
    """Trains an extractor by a weighted sum of losses on its embeddings, and judges these on dev in three ways.

    ``dev/head_f1`` is the weighted F1 of a linear head trained along, ``dev/nearest_f1`` and ``dev/probe_f1`` are
    those of 1-NN and of a linear probe that learn from the embeddings of training utterances. ``dev/weighted_f1``,
    which selects the epoch, is the one that ``scorer`` names.

    Args:
        net: makes the network, e.g. `extractors.audio.mel_resnet.MelResNet`.
        optimizer: makes the optimizer from the parameters.
        losses: weights of the terms.
        mining: which triplets of a batch count, see `m2fnet.losses.mining`.
        as_printed: the terms taken as printed in the paper instead of as they work, some of ``[triplet, covariance,
            variance]``; ``true`` is all three.
        projector: width of two layers between the embeddings and all terms but cross-entropy, used only in training
            (SimCLR, arXiv:2002.05709, section 4.2); without it these terms are taken on the embeddings themselves.
        balance: what the gradient of all terms but cross-entropy has at the embeddings, relative to the gradient of
            cross-entropy there: in every batch they are scaled together to this. Without it only the weights decide.
        temperature: of the supervised contrastive term.
        scorer: which of the three scores selects the epoch.
        backbone_lr: learning rate of the network's pretrained parts; by default that of the rest.
        layer_decay: layer k of L of a pretrained encoder learns with the rate of pretrained parts times
            ``layer_decay ** (L - k)``, where layer 0 is all in front of the first (Sun et al., arXiv:1905.05583); 1 for
            one rate.
        freeze_epochs: epochs at the beginning in which the pretrained parts do not learn.
        warmup: share of all optimizer steps over which the learning rate rises to its value.
        decay: how it falls to 0 over the rest, see `m2fnet.training.schedules`.
        head_dropout: share of the embedding that the head does not see in training.
        class_weight: how much more rare emotions count in the cross-entropy than their number gives them: 0 not at all,
            1 as much as frequent ones, see `m2fnet.losses.class_weights`. Not for batches of ``data.per_class``, which
            have every emotion equally often.
        label_smoothing: share of the target that is spread evenly over all emotions in training (arXiv:1512.00567,
            section 7).
        mixup: mixes the embeddings of two utterances before the head in training, by a share from Beta(mixup, mixup),
            and their labels likewise (arXiv:1806.05236, here always at the last layer); 0 mixes nothing.
        patience: epochs without a better score on dev after which training stops; never by default.
        averaging: lets an average of the weights over the steps be scored and saved, see
            `m2fnet.training.averaging`; none by default.
        compiled: let ``torch.compile`` translate the network.
    """

    def __init__(
        self,
        net: NetworkFactory,
        optimizer: OptimizerCallable = adam,
        losses: LossWeights = LossWeights(),
        mining: Mining = "semi-hard",
        as_printed: bool | list[Printed] = False,
        projector: int | None = None,
        balance: float | None = None,
        temperature: float = 0.1,
        scorer: Scorer = "head",
        backbone_lr: float | None = None,
        layer_decay: float = 1.0,
        freeze_epochs: int = 0,
        warmup: float = 0.0,
        decay: Decay = "none",
        head_dropout: float = 0.0,
        class_weight: float = 0.0,
        label_smoothing: float = 0.0,
        mixup: float = 0.0,
        patience: int | None = None,
        averaging: Averaging | None = None,
        compiled: bool = False,
    ) -> None:
        super().__init__()
        if not all(0 <= weight < math.inf for weight in astuple(losses)) or not any(astuple(losses)):
            raise UsageError(f"Expected weights in model.losses of at least 0, one of them above 0, but got {losses}.")
        refuse_wrong_schedule(warmup, decay)
        for name, share in (("head_dropout", head_dropout), ("label_smoothing", label_smoothing)):
            if not 0 <= share < 1:
                raise UsageError(f"Expected model.{name} in [0, 1), but got {share}.")
        if not 0 < layer_decay <= 1:
            raise UsageError(f"Expected a model.layer_decay above 0 and at most 1, but got {layer_decay}.")
        if (projector is not None and projector < 1) or (balance is not None and not 0 < balance < math.inf):
            raise UsageError(
                f"Expected a model.projector of at least 1 and a model.balance above 0, but got {projector}, {balance}."
            )
        if balance is not None and not losses.cross_entropy:
            raise UsageError("model.balance is relative to cross-entropy, but model.losses.cross_entropy is 0.")
        if not 0 <= mixup < math.inf:
            raise UsageError(f"Expected a model.mixup of at least 0, but got {mixup}.")
        if mixup and not losses.cross_entropy:
            raise UsageError("model.mixup mixes what cross-entropy is taken of, but model.losses.cross_entropy is 0.")
        if not temperature > 0:
            raise UsageError(f"Expected a model.temperature above 0, but got {temperature}.")
        if not 0 <= class_weight <= 1:
            raise UsageError(f"model.class_weight is {class_weight}, expected 0 to 1.")
        self.save_hyperparameters(logger=False)
        self.make_net = net
        self.make_optimizer = optimizer
        self.weights = losses
        if isinstance(as_printed, bool):
            as_printed = list(get_args(Printed)) if as_printed else []
        self.as_printed = tuple(as_printed)

        self.triplet = TripletLoss(mining, as_printed="triplet" in self.as_printed)
        self.projector_width = projector
        self.projector: nn.Module = nn.Identity()  # without weights, so that older checkpoints fit
        self.balance = balance
        self.temperature = temperature
        self.scorer: Scorer = scorer
        self.backbone_lr = backbone_lr
        self.layer_decay = layer_decay
        self.layers: Mapping[nn.Parameter, int] = {}  # of pretrained weights, if their rates differ
        self.freeze_epochs = freeze_epochs
        self.warmup = warmup
        self.decay: Decay = decay
        self.head_dropout = head_dropout
        self.class_weight = class_weight
        self.class_weights: Tensor | None = None
        self.label_smoothing = label_smoothing
        self.mixup = mixup
        self.patience = patience
        self.averaging = averaging
        self.compiled = compiled
        self.net: Extractor | None = None
        self.kept: dict[str, Any] = {}  # settings in place of the given ones, see `Extractor.asset_settings`
        self.problem: Problem | None = None
        self.manifest_sha256 = ""
        self.judged: dict[str, Embedded] = {}
        self.scores: dict[str, dict[str, float]] = {}
        self._kept: dict[str, list[Embedded]] = {}
        self._has_learnt = False

    def configure_model(self) -> None:
        """Build network and head for the data at hand; called by the trainer, and before a checkpoint is loaded."""
        if self.net is None and self._trainer is not None:
            trainer: Any = self.trainer  # it has a `datamodule`, which its class does not declare
            if self.scorer != "head" and trainer.datamodule.references == 0:
                raise UsageError(f"model.scorer is {self.scorer!r}, which needs data.references above 0.")
            self.build(trainer.datamodule.problem)
            self.manifest_sha256 = trainer.datamodule.manifest.sha256

    def build(self, problem: Problem) -> None:
        """Build the network and a head for the classes of ``problem``.

        Raises:
            UsageError: if the network's settings do not fit together or it offers what this task cannot train.
        """
        try:
            net = cast(Callable[..., Extractor], self.make_net)(**self.kept)
            head = self.make_head(net, problem)
        except M2FNetError:
            raise
        except ValueError as error:
            raise UsageError(f"model.net: {error}") from error
        if net.resolution != "utterance":
            raise UsageError(f"model.net gives embeddings per {net.resolution}; this task trains one per utterance.")
        if not any(parameter.requires_grad for parameter in net.parameters()):
            raise UsageError(f"model.net is {type(net).__name__}, which has no weights to train.")
        if not net.backbones() and (self.backbone_lr is not None or self.freeze_epochs or self.layer_decay < 1):
            raise UsageError(
                "model.backbone_lr, model.freeze_epochs and model.layer_decay are for pretrained parts that learn; "
                "model.net has none."
            )
        self.layers = net.layer_of_weights() if self.layer_decay < 1 else {}
        if self.layer_decay < 1 and not self.layers:
            raise UsageError(
                f"model.layer_decay is {self.layer_decay}, but the pretrained part of {type(net).__name__} has no "
                "numbered layers, as encoders of transformers have. Leave it at 1."
            )
        if self.compiled:
            net.compile(dynamic=True)
        self.net = net
        self.problem = problem
        self.head = head
        if self.projector_width is not None:
            layers = (nn.Linear(net.width, net.width), nn.ReLU(), nn.Linear(net.width, self.projector_width))
            self.projector = nn.Sequential(*layers)
        self._thaws = [p for part in net.backbones() for p in part.parameters() if p.requires_grad]

    def make_head(self, net: Extractor, problem: Problem) -> nn.Module:
        """What makes logits of the embeddings of ``net`` in training."""
        return net.head(problem)

    def logits_of(self, z: Tensor, batch: ExtractorBatch) -> tuple[Tensor, Mapping[str, Tensor]]:
        """Logits (B, C) of the embeddings (B, D) of a batch, and terms that the head adds to the loss, by name."""
        return self.head(z), {}

    def forward(self, inputs: dict[str, Any]) -> Tensor:
        """Un-normalised embeddings (B, D)."""
        assert self.net is not None, "the network is built by `build`"
        embeddings: Tensor = self.net(inputs)
        return embeddings

    def configure_callbacks(self) -> list[pl.Callback]:
        """Early stopping and averaging of weights, if they are set, while training."""
        if self.trainer.state.fn != "fit":
            return []
        trainer: Any = self.trainer
        return callbacks_of_settings(f"dev/{trainer.datamodule.problem.monitor}", self.patience, self.averaging)

    def on_fit_start(self) -> None:
        """Weigh the emotions by their number in the training split, if asked to.

        Raises:
            UsageError: if the batches have every emotion equally often already.
        """
        if self.class_weight:
            trainer: Any = self.trainer
            if trainer.datamodule.per_class is not None:
                raise UsageError("model.class_weight and data.per_class both even out the emotions; set one of them.")
            train = [placed.utterance for placed in trainer.datamodule.utterances("train").placed]
            self.class_weights = self._problem().class_weights(train, self.class_weight)

    def on_train_start(self) -> None:
        """Refuse what would end in the middle of the first epoch.

        Raises:
            UsageError: for frozen parts that DistributedDataParallel would wait for.
        """
        wrapped = self.trainer.strategy.model
        if self.freeze_epochs and isinstance(wrapped, DistributedDataParallel) and not wrapped.find_unused_parameters:
            raise UsageError(
                f"model.freeze_epochs is {self.freeze_epochs}, so some weights have no gradient at first; with several "
                "processes this needs trainer.strategy: ddp_find_unused_parameters_true."
            )

    def on_train_epoch_start(self) -> None:
        """Freeze the pretrained parts, or let them learn from now on."""
        assert self.net is not None, "the network is built by `build`"
        learns = self.current_epoch >= self.freeze_epochs
        for parameter in self._thaws:
            parameter.requires_grad_(learns)
        for part in self.net.backbones():
            part.train(learns)  # frozen means no dropout and no new batch statistics either

    def training_step(self, batch: ExtractorBatch, batch_idx: int) -> Tensor | None:
        """Weighted sum of the losses; None for a batch in which nothing can be read."""
        if batch["inputs"] is None:
            return self._nothing() if self._trainer is not None and self.trainer.world_size > 1 else None
        self._has_learnt = True
        z = self(batch["inputs"])
        with torch.autocast(z.device.type, enabled=False):  # distances and covariances need full precision
            return self._loss(z.float(), batch)

    def on_train_epoch_end(self) -> None:
        """Stop if there was nothing to learn from."""
        if not self.trainer.strategy.reduce_boolean_decision(self._has_learnt, all=False):
            raise RunError(
                "No utterance of the train split can be read, so there is nothing to learn; check its media."
            )

    def validation_step(self, batch: ExtractorBatch, batch_idx: int, dataloader_idx: int = 0) -> None:
        """Embed a batch of dev, or of the training utterances that dev is compared with."""
        self._collect(VALIDATED[dataloader_idx], batch)

    def on_validation_epoch_end(self) -> None:
        """Score the embeddings of dev."""
        self._evaluate()

    def test_step(self, batch: ExtractorBatch, batch_idx: int, dataloader_idx: int = 0) -> None:
        """Embed a batch of dev, of test, or of the training split that both are compared with."""
        self._collect(TESTED[dataloader_idx], batch)

    def on_test_epoch_end(self) -> None:
        """Score the embeddings of dev and test."""
        self._evaluate()

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Optimizer with the pretrained parts as a separate group, or one per layer, and the schedule by its steps."""
        assert self.net is not None, "the network is built by `build`"
        pretrained = {p for part in self.net.backbones() for p in part.parameters()}
        groups: list[dict[str, Any]] = [{"params": [p for p in self.parameters() if p not in pretrained]}]
        layers: dict[int, list[nn.Parameter]] = {}
        for parameter in self.parameters():
            if parameter in pretrained:
                layers.setdefault(self.layers.get(parameter, 0), []).append(parameter)
        rate = {} if self.backbone_lr is None else {"lr": self.backbone_lr}
        numbers = sorted(layers)
        groups += [{"params": layers[number], **rate} for number in numbers]
        optimizer = self.make_optimizer(groups)
        for number, group in zip(numbers, optimizer.param_groups[1:], strict=True):
            if number < numbers[-1]:  # only now is the rate known, which may be the optimizer's
                group["lr"] = group["lr"] * self.layer_decay ** (numbers[-1] - number)
        return scheduled(optimizer, self.trainer, self.warmup, self.decay)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Write problem and manifest into the checkpoint, and nothing that would have to be pickled."""
        checkpoint["problem"] = self._problem().as_dict()
        checkpoint["manifest_sha256"] = self.manifest_sha256
        if "_instantiator" not in checkpoint.get("hyper_parameters", {}):  # objects from a script
            checkpoint.pop("hyper_parameters", None)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Build the network that the weights belong to."""
        if self.net is None:
            self.build(problem_of(checkpoint))

    def _problem(self) -> Problem:
        assert self.problem is not None, "the problem is known after `build`"
        return self.problem

    def _loss(self, z: Tensor, batch: ExtractorBatch) -> Tensor:
        """Weighted sum of the terms for embeddings (B, D); every term is logged by its name."""
        weights, label = self.weights, batch["label"]
        cross_entropy, added = self._cross_entropy(z if weights.cross_entropy else z.detach(), batch)
        terms = {"cross_entropy": cross_entropy}
        projected = self.projector(z)  # whole, also with mixup: a mixture of two emotions is like neither
        if weights.triplet:
            terms["triplet"], found = self.triplet(projected, label)
            self._log("triplets", float(found), len(z))
            self._log("batches_without_triplet", float(found == 0), len(z), reduce_fx="sum")
        for name, penalty in (("covariance", covariance_penalty), ("variance", variance_penalty)):
            if getattr(weights, name):  # one embedding has no variance
                is_printed = name in self.as_printed
                terms[name] = _SETS * penalty(projected, as_printed=is_printed) if len(z) > 1 else z.new_zeros(())
        if weights.supervised_contrastive:
            rows = F.normalize(projected)
            terms["supervised_contrastive"] = supervised_contrastive(rows, label, temperature=self.temperature)
        for name, value in (*terms.items(), *added.items()):
            self._log(name, value, len(z))
        own = sum(added.values(), weights.cross_entropy * terms["cross_entropy"])
        others = [getattr(weights, name) * value for name, value in terms.items() if name != "cross_entropy"]
        if self.balance is None:
            loss = sum(others, own)
        else:
            of_embeddings = sum(others, 0 * projected.sum())
            share = self.balance * _gradient_norm(own, z) / _gradient_norm(of_embeddings, z).clamp(min=1e-8)
            loss = own + share.clamp(max=_MOST_SCALED) * of_embeddings
        self._log("loss", loss, len(z))
        return loss if weights.cross_entropy else loss + terms["cross_entropy"]

    def _cross_entropy(self, heard: Tensor, batch: ExtractorBatch) -> tuple[Tensor, Mapping[str, Tensor]]:
        """Mean cross-entropy of the head for embeddings (B, D), mixed if that is asked for, and the head's terms."""
        label = batch["label"]
        targets = [(1.0, label)]
        if self.mixup:
            share, partners = draw_mixture(len(heard), self.mixup)
            heard, targets = mixed(heard, share, partners), [(share, label), (1 - share, label[partners])]
        logits, added = self.logits_of(F.dropout(heard, self.head_dropout, self.training), batch)
        problem, smoothing = self._problem(), self.label_smoothing
        losses = [share * problem.loss(logits, target, self.class_weights, smoothing) for share, target in targets]
        return torch.stack(losses).sum() / len(heard), added

    def _nothing(self) -> Tensor:
        """A loss of 0 that reaches every weight, and terms that count for nothing: other processes wait for both."""
        if self.weights.triplet:  # in the order of `_loss`, for sums over processes are matched by their order
            self._log("triplets", 0.0, 0)
            self._log("batches_without_triplet", 0.0, 0, reduce_fx="sum")
        terms = (name for name in _ON_EMBEDDINGS if getattr(self.weights, name))
        for name in ("cross_entropy", *terms, "loss"):
            self._log(name, 0.0, 0)
        return torch.stack([parameter.sum() for parameter in self.parameters() if parameter.requires_grad]).sum() * 0

    def _log(self, name: str, value: Tensor | float, count: int, reduce_fx: str = "mean") -> None:
        weight = whole_weight(count)
        self.log(
            f"train/{name}", value, on_step=False, on_epoch=True, batch_size=weight, reduce_fx=reduce_fx, sync_dist=True
        )

    def _collect(self, name: str, batch: ExtractorBatch) -> None:
        if batch["inputs"] is None:
            return
        z = self(batch["inputs"]).float()
        with torch.autocast(z.device.type, enabled=False):
            logits, _ = self.logits_of(z, batch)
        kept = Embedded(batch["row"].cpu(), batch["label"].cpu(), z.cpu(), logits.cpu())
        self._kept.setdefault(name, []).append(kept)

    def _evaluate(self) -> None:
        """Score what was kept of this epoch, and log it."""
        kept = of_all_processes(self._kept)
        names = dict.fromkeys(name for process in kept for name in process)
        embedded = {name: join([part for process in kept for part in process.get(name, [])]) for name in names}
        self._kept = {}
        if self.trainer.sanity_checking:
            return
        if "dev" not in embedded:
            raise RunError("No utterance of the dev split can be read, so no epoch can be selected; check its media.")
        references = embedded.pop(REFERENCES, None)
        for name, judged in embedded.items():
            scores = evaluate_embeddings(judged, references, self._problem().classes)
            self.judged[name], self.scores[name] = judged, scores
            self.log_dict({f"{name}/{kind}_f1": value for kind, value in scores.items()})
            self.log(f"{name}/cross_entropy", F.cross_entropy(judged.logits, judged.label))
        if self.scorer not in self.scores["dev"]:
            raise RunError(
                f"model.scorer is {self.scorer!r}, which needs two emotions among the training utterances that dev "
                "is compared with, but got fewer; raise data.references or set model.scorer: head."
            )
        self.log(f"dev/{self._problem().monitor}", self.scores["dev"][self.scorer], prog_bar=True)


def problem_of(checkpoint: Mapping[str, Any]) -> Problem:
    """What the network of an extractor's ``checkpoint`` was trained for; older ones name only the classes.

    Example:
        >>> problem_of({"classes": ["joy", "anger"]}).classes
        ('joy', 'anger')
    """
    if "problem" in checkpoint:
        return problem_from_dict(checkpoint["problem"])
    return make_problem(LabelSet("emotions", tuple(checkpoint["classes"])), {})


def _gradient_norm(loss: Tensor, z: Tensor) -> Tensor:
    """Norm of the gradient of ``loss`` with respect to the embeddings; 0 where it does not depend on them."""
    if not z.requires_grad or not loss.requires_grad:
        return z.new_zeros(())
    (gradient,) = torch.autograd.grad(loss, z, retain_graph=True, allow_unused=True)
    norm: Tensor = z.new_zeros(()) if gradient is None else gradient.norm()
    return norm


def of_all_processes(mine: T) -> list[T]:
    """What every process of a distributed run has; in a run of one process what that has."""
    if not torch.distributed.is_available() or not torch.distributed.is_initialized():
        return [mine]
    gathered: list[Any] = [None] * torch.distributed.get_world_size()
    torch.distributed.all_gather_object(gathered, mine)
    return gathered
