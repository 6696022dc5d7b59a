"""CARAT: contrastive feature reconstruction and aggregation, for sets of emotions.

Peng et al., "CARAT: Contrastive Feature Reconstruction and Aggregation for Multi-Modal Multi-Label Emotion
Recognition", AAAI 2024, arXiv:2312.10201; code chengzju/CARAT@3210086. With ``released`` the network computes what that
code does; by default it mends what is wrong there, and each mend is a setting.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from dialog.batch import DialogueBatch, Output
from dialog.fusion.encoder import SkipEncoder
from dialog.fusion.frames import FrameEncoder, LabelAttention, frames_of, in_dialogues, valid_rows
from dialog.fusion.prototypes import Latent, Prototypes, two_layers
from dialog.fusion.shuffles import permutations, shuffled
from m2fnet.losses.multilabel import binary_cross_entropy
from m2fnet.losses.supervised_contrastive import ContrastiveQueue, supervised_contrastive
from m2fnet.problems import UNLABELLED, Problem, SingleLabel

# Weights of the loss terms in the released training script. That of the scores of the last level is 1.
WEIGHTS = {
    "bce_U": 0.01,
    "bce_aug": 0.1,
    "bce_aggregation": 1.0,
    "bce_shuffled": 0.1,
    "contrastive": 1.0,
    "mse_recon": 1.0,
    "mse_aug": 1.0,
    "mse_beta": 0.0,
}


class Features(NamedTuple):
    """What the network makes of N utterances; M streams, C emotions, width D, latent width Z.

    Attributes:
        U: features per emotion, (N, M, C, D).
        latent: of U, (N, M, C, Z).
        recon: U after the way to the latent space and back; of a missing modality the imputed features.
        share: [present, absent] prototypes in the imputed latents, (N, M, C, 2).
        imputed_latent: (N, M, C, Z).
        imputed: features of the imputed latents.
        aug: reconstruction of each modality from the others, level 1.
        beta: the same from level 1, level 2.
        has: which modalities an utterance has, (N, M) as bool.
    """

    U: Tensor
    latent: Tensor
    recon: Tensor
    share: Tensor
    imputed_latent: Tensor
    imputed: Tensor
    aug: Tensor
    beta: Tensor
    has: Tensor

    @property
    def counts(self) -> Tensor:
        """The modalities that scores are made of, (N, M): those present, or all where none is."""
        return self.has | ~self.has.any(1, keepdim=True)


class CARAT(nn.Module):
    """Scores (B, U, C) of utterances from streams of sequences or vectors, and while training the terms of the loss.

    Per stream m: frames -> `dialog.fusion.frames.FrameEncoder` -> `LabelAttention` -> U_m (C, D). Latent z_m and
    recon_m by `Latent`; imputed_m from `Prototypes`. Level 1: ``aug_m = F_m [v_1, ..., v_M]``, where v_k is recon_k,
    but imputed_m for k = m. Level 2: ``beta_m = F_m [aug_1, ..., aug_M]``. Classifier: ``max over m of <x_mc, W_mc>``.
    Aggregation: ``A(beta_m)``, two layers over the features of all emotions.

    While training the scores are the classifier's logits of beta, whose loss has weight 1; the other terms go out with
    them. In evaluation the probability is ``(mean over m of s(A(beta_m)) + s(classifier(beta))) / 2``.

    Where an utterance has one emotion, softmax and cross-entropy take the place of sigmoid and binary cross-entropy.

    Args:
        problem: emotions and streams; any subset of streams works.
        width: D.
        latent: Z.
        layers: of the encoder of every stream, or stream -> layers.
        heads: attention heads; must divide ``width``.
        feedforward: inner width of the encoders.
        dropout: in the encoders.
        positions: learned positions of frames; frames beyond the last share its position.
        align_to: bring streams of sequences other than text softly to this number of frames; None to keep them.
        part: utterances that the encoders train on at a time on a CPU, see `FrameEncoder`; None for all together.
        context: layers of a transformer over the utterances of the dialogue, on U; ours.
        causal: in the context no utterance sees a later one.
        levels: 2; 1 classifies aug, and 0 classifies U, without reconstruction by the other modalities.
        queue: rows of the contrastive queue.
        temperature: of the contrastive loss.
        momentum: of the prototypes.
        weights: loss term -> weight, in place of those of `WEIGHTS`; a term of weight 0 is not computed.
        released: compute what the released code does; decides the following where they are None.
        mask_padding: frames that are padding are not read; the released readers make all of them real.
        impute_missing: the features of a missing modality come from its prototypes, by the shares of the other
            modalities, and it is no part of scores and loss; a modality that is the only one is read itself instead of
            being imputed. The released code takes zeros for frames.
        queue_anchors: rows of the queue are anchors of the contrastive loss too (released).
        dilute: the queue begins full of noise, and anchors without a positive count in the mean (released).
        whole_shuffles: the shuffles lose no sample.
        attention_dropout: dropout also on the attention weights (released), for more memory and time.

    Raises:
        ValueError: if a size is too small, ``heads`` does not divide ``width``, or a name is unknown.

    Example:
        >>> from m2fnet.problems import Stream, make_problem
        >>> from m2fnet.records import LabelSet
        >>> labels = LabelSet("three", ("joy", "anger", "fear"), "multi")
        >>> problem = make_problem(labels, {"text": Stream("text", 6, is_sequence=True), "audio": 5})
        >>> network = CARAT(problem, width=8, latent=4, layers=1, heads=2, feedforward=8).eval()
        >>> batch = {
        ...     "inputs": {"text": torch.randn(1, 2, 7, 6), "audio": torch.randn(1, 2, 5)},
        ...     "frames": {"text": torch.ones(1, 2, 7, dtype=torch.bool)},
        ...     "present": {name: torch.ones(1, 2, dtype=torch.bool) for name in ("text", "audio")},
        ...     "valid": torch.ones(1, 2, dtype=torch.bool),
        ... }
        >>> network(batch).scores.shape  # (B, U, C)
        torch.Size([1, 2, 3])
    """

    def __init__(
        self,
        problem: Problem,
        *,
        width: int = 256,
        latent: int = 64,
        layers: int | dict[str, int] = 4,
        heads: int = 8,
        feedforward: int = 256,
        dropout: float = 0.3,
        positions: int = 512,
        align_to: int | None = None,
        part: int | None = 8,
        context: int = 0,
        causal: bool = False,
        levels: int = 2,
        queue: int = 8192,
        temperature: float = 0.07,
        momentum: float = 0.99,
        weights: dict[str, float] | None = None,
        released: bool = False,
        mask_padding: bool | None = None,
        impute_missing: bool | None = None,
        queue_anchors: bool | None = None,
        dilute: bool | None = None,
        whole_shuffles: bool | None = None,
        attention_dropout: bool | None = None,
    ) -> None:
        super().__init__()
        names = tuple(problem.streams)
        depth = layers if isinstance(layers, dict) else dict.fromkeys(names, layers)
        if unknown := sorted(set(depth) ^ set(names)):
            raise ValueError(f"Expected `layers` of {', '.join(names)}, but {unknown[0]} is in only one of both.")
        if unknown := sorted(set(weights or {}) - set(WEIGHTS)):
            raise ValueError(f"Expected `weights` of {', '.join(WEIGHTS)}, but got {unknown[0]}.")
        sizes = {"width": width, "latent": latent, "heads": heads, "feedforward": feedforward, "positions": positions}
        for name, size in [
            *sizes.items(),
            ("align_to", 1 if align_to is None else align_to),
            ("part", 1 if part is None else part),
        ]:
            if size < 1:
                raise ValueError(f"Expected `{name}` to be at least 1, but got {size}.")
        for name, count in [("context", context), ("queue", queue), ("layers", min(depth.values()))]:
            if count < 0:
                raise ValueError(f"Expected `{name}` to be 0 or more, but got {count}.")
        if width % heads:
            raise ValueError(f"Expected `heads` to divide `width`, but got {heads} heads and a width of {width}.")
        if not 0 <= levels <= 2:
            raise ValueError(f"Expected `levels` of 0 to 2, but got {levels}.")
        if temperature <= 0:
            raise ValueError(f"Expected `temperature` to be above 0, but got {temperature}.")
        if not 0 <= momentum <= 1:
            raise ValueError(f"Expected `momentum` from 0 to 1, but got {momentum}.")
        self.problem, self.levels, self.causal, self.temperature = problem, levels, causal, temperature
        self.weights = {**WEIGHTS, **(weights or {})}
        self.mask_padding = not released if mask_padding is None else mask_padding
        self.impute_missing = not released if impute_missing is None else impute_missing
        self.queue_anchors = released if queue_anchors is None else queue_anchors
        self.dilute = released if dilute is None else dilute
        self.whole_shuffles = not released if whole_shuffles is None else whole_shuffles
        of_attention = dropout if (released if attention_dropout is None else attention_dropout) else 0.0
        labels = len(problem.classes)
        self.encoders, self.attention, self.latents = nn.ModuleDict(), nn.ModuleDict(), nn.ModuleDict()
        for name, stream in problem.streams.items():
            aligned = align_to if stream.is_sequence and stream.modality != "text" else None
            self.encoders[name] = FrameEncoder(
                stream.width,
                width,
                depth[name],
                heads,
                feedforward,
                dropout,
                positions,
                align_to=aligned,
                attention_dropout=of_attention,
                part=part,
            )
            self.attention[name] = LabelAttention(width, labels)
            self.latents[name] = Latent(width, latent)
        self.context = nn.ModuleDict(
            {name: SkipEncoder(width, context, heads, feedforward, dropout, "pre") for name in names} if context else {}
        )
        self.prototypes = Prototypes(len(names), labels, latent, momentum)
        self.fusion = nn.ModuleDict()
        for name in names if levels else ():
            layer = nn.Linear(len(names) * width, width)
            nn.init.xavier_uniform_(layer.weight)
            self.fusion[name] = layer
        self.classifier = nn.Parameter(torch.empty(len(names), labels, width))
        for weight in self.classifier:
            nn.init.kaiming_uniform_(weight, a=math.sqrt(5))
        self.aggregate = two_layers(labels * width, width, labels)
        self.queue = ContrastiveQueue(queue, latent, noisy_start=self.dilute)

    def forward(self, batch: DialogueBatch) -> Output:
        """Scores and, while training, the terms of the loss."""
        rows = valid_rows(batch["valid"])
        found = self.features(batch, rows)
        top = self.classify(found.beta, found.counts)
        if self.training:
            terms = self._terms(found, batch["label"].flatten(0, 1)[rows])
            return Output(in_dialogues(top, rows, batch["valid"]), terms)
        scores = self._combined(self.aggregate(found.beta.flatten(2)), top, found.counts)
        return Output(in_dialogues(scores, rows, batch["valid"]))

    def features(self, batch: DialogueBatch, rows: Tensor) -> Features:
        """Features of the utterances ``rows`` (N,), numbered through the B U places of the batch."""
        own = torch.stack([self._own(name, batch, rows) for name in self.encoders], 1)  # (N, M, C, D)
        latent, recon = self._per_stream(self.latents, own)
        share = self.prototypes.shares(latent)
        masks = [frames_of(batch, name)[1].any(-1) for name in self.encoders]
        has = torch.stack(masks, -1).flatten(0, 1)[rows]  # (N, M)
        if not self.impute_missing:
            has = torch.ones_like(has)
        is_there, is_only = has[..., None, None], (has & (has.sum(1, keepdim=True) == 1))[..., None, None]
        others = (share * is_there).sum(1, keepdim=True) / is_there.sum(1, keepdim=True).clamp(min=1)
        if self.impute_missing:
            share = torch.where(is_there, share, others)
        imputed_latent = self.prototypes.mixed(share)
        imputed = torch.stack([of.decode(imputed_latent[:, m]) for m, of in enumerate(self._latents())], 1)
        recon = torch.where(is_there, recon, imputed)
        own_place = torch.where(is_only, recon, imputed) if self.impute_missing else imputed
        aug = self._level(recon, own_place) if self.levels > 0 else own
        beta = self._level(aug) if self.levels > 1 else aug
        return Features(own, latent, recon, share, imputed_latent, imputed, aug, beta, has)

    def classify(self, features: Tensor, counts: Tensor) -> Tensor:
        """Logits (N, C) of features (N, M, C, D): ``max over m of <x_mc, W_mc>`` of the modalities that count."""
        logits = self.logits(features)
        return logits.masked_fill(~counts[..., None], torch.finfo(logits.dtype).min).max(1).values

    def logits(self, features: Tensor) -> Tensor:
        """Logits (N, M, C) of features (N, M, C, D), per modality."""
        return torch.einsum("nmcd,mcd->nmc", features, self.classifier.to(features.dtype))

    def permutations(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """The shuffle of this step, see `dialog.fusion.shuffles.permutations`."""
        return permutations(features, whole=self.whole_shuffles)

    def _own(self, name: str, batch: DialogueBatch, rows: Tensor) -> Tensor:
        """U of one stream, (N, C, D)."""
        frames, mask = frames_of(batch, name)
        if not self.mask_padding:
            mask = torch.ones_like(mask)
        frames = frames.masked_fill(~mask[..., None], 0)
        hidden, mask = self.encoders[name](frames.flatten(0, 1)[rows], mask.flatten(0, 1)[rows])
        own: Tensor = self.attention[name](hidden, mask)
        if not self.context:
            return own
        by_emotion = in_dialogues(own, rows, batch["valid"]).transpose(1, 2).flatten(0, 1)  # (B C, U, D)
        here = batch["present"][name].repeat_interleave(own.shape[1], 0)
        seen = self.context[name](by_emotion * here[..., None], here, causal=self.causal)
        back: Tensor = seen.unflatten(0, (-1, own.shape[1])).transpose(1, 2).flatten(0, 1)[rows]
        return back

    def _level(self, others: Tensor, own_place: Tensor | None = None) -> Tensor:
        """Reconstructions (N, M, C, D): ``F_m [v_1, ..., v_M]`` with v of ``others``, but v_m of ``own_place``."""
        made = []
        for m, layer in enumerate(self.fusion.values()):
            read = others.unbind(1)
            if own_place is not None:
                read = (*read[:m], own_place[:, m], *read[m + 1 :])
            made.append(layer(torch.cat(read, -1)))
        return torch.stack(made, 1)

    def _latents(self) -> list[Latent]:
        return [of for of in self.latents.values() if isinstance(of, Latent)]

    def _per_stream(self, modules: nn.ModuleDict, features: Tensor) -> tuple[Tensor, Tensor]:
        pairs = [module(features[:, m]) for m, module in enumerate(modules.values())]
        return torch.stack([first for first, _ in pairs], 1), torch.stack([second for _, second in pairs], 1)

    def _combined(self, aggregated: Tensor, top: Tensor, counts: Tensor) -> Tensor:
        """Logits (N, C) of ``(mean over m of p(aggregated_m) + p(top)) / 2``, computed on logarithms."""
        parts = [part if part.dtype == torch.float64 else part.float() for part in (aggregated, top)]
        share = (counts.to(parts[1].dtype) / counts.sum(1, keepdim=True) / 2).log()[..., None]  # (N, M, 1)

        def mixed(of: Tensor, whole: Tensor) -> Tensor:
            return torch.cat([of + share, whole[:, None] - math.log(2)], 1).logsumexp(1)

        if isinstance(self.problem, SingleLabel):
            return mixed(*(part.log_softmax(-1) for part in parts))
        log = torch.nn.functional.logsigmoid
        return mixed(*map(log, parts)) - mixed(*(log(-part) for part in parts))

    def _terms(self, found: Features, label: Tensor) -> dict[str, Tensor]:
        """Weighted terms of the loss but that of the scores, and an update of queue and prototypes.

        Args:
            found: features of N utterances.
            label: (N,) or (N, C), as of the batch.
        """
        single = label.ndim == 1
        is_labelled = label != UNLABELLED if single else label[:, 0] != UNLABELLED
        found = Features(*(part[is_labelled] for part in found))
        label = label[is_labelled]
        target = nn.functional.one_hot(label, len(self.problem.classes)) if single else label  # (N, C)
        terms = {**self._classified(found, label, target), **self._distances(found)}
        if self.weights["contrastive"]:
            terms["contrastive"] = self._contrastive(found, target)
        self.prototypes.update(found.latent, target, found.has)
        return {name: self.weights[name] * term for name, term in terms.items()}

    def _classified(self, found: Features, label: Tensor, target: Tensor) -> dict[str, Tensor]:
        """Losses of U and aug by the classifier, and of beta, as it is and shuffled, by the aggregation head."""
        terms: dict[str, Tensor] = {}
        for name, features in [("bce_U", found.U), ("bce_aug", found.aug)][: self.levels]:
            if self.weights[name]:
                terms[name] = self._loss(self.classify(features, found.counts), label)
        if self.weights["bce_aggregation"]:
            logits = self.aggregate(found.beta.flatten(2))  # (N, M, C)
            of = found.counts.nonzero()[:, 0]  # the utterance of each modality that counts
            terms["bce_aggregation"] = self._loss(logits[found.counts], label[of])
        if self.weights["bce_shuffled"]:
            mixed, targets = shuffled(found.beta, target, *self.permutations(found.beta))
            logits = self.aggregate(mixed.flatten(2)).flatten(0, 1)  # one utterance's emotions are of several
            terms["bce_shuffled"] = binary_cross_entropy(logits, targets.flatten(0, 1)) / max(len(logits), 1)
        return terms

    def _distances(self, found: Features) -> dict[str, Tensor]:
        """``sum over m of the mean of (x_m - U_m)^2`` for x of recon, aug and beta."""
        terms = {}
        for name, features in [("mse_recon", found.recon), ("mse_aug", found.aug), ("mse_beta", found.beta)][
            : self.levels + 1
        ]:
            if self.weights[name]:
                squares = (features - found.U).square().mean((2, 3)) * found.has  # (N, M)
                terms[name] = (squares.sum(0) / found.has.sum(0).clamp(min=1)).sum()
        return terms

    def _contrastive(self, found: Features, target: Tensor) -> Tensor:
        """Contrastive loss of the latents of U, aug and beta; a class is an emotion, present or absent, of a modality.

        Class numbers are ``c + C (2 m + [absent])``; the level is no part of them.
        """
        levels = [found.latent] + [
            torch.stack([of.encode(features[:, m]) for m, of in enumerate(self._latents())], 1)
            for features in (found.aug, found.beta)[: self.levels]
        ]
        rows = nn.functional.normalize(torch.stack(levels, 1), dim=-1)  # (N, levels, M, C, Z)
        emotion = torch.arange(target.shape[1], device=target.device)
        modality = torch.arange(rows.shape[2], device=target.device)[:, None]
        classes = emotion + target.shape[1] * (2 * modality + (target == 0)[:, None, :].long())  # (N, M, C)
        has = found.has[:, None, :, None].expand(rows.shape[:-1])
        flat, classes = rows[has], classes[:, None].expand(rows.shape[:-1])[has]
        loss = supervised_contrastive(
            flat,
            classes,
            self.queue.content(),
            temperature=self.temperature,
            queue_anchors=self.queue_anchors,
            mean_over_all=self.dilute,
        )
        self.queue.push(flat, classes)
        return loss

    def _loss(self, logits: Tensor, label: Tensor) -> Tensor:
        return self.problem.loss(logits, label) / max(len(logits), 1)
