"""``m2fnet extractor {fit,validate,test}``: LightningCLI with this stage's Task and Data.

A network is trained by Lightning; an extractor of closed form is fitted in one pass over the training split, or is an
encoder that is read as it comes. All are configured, run and kept in the same way.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, ClassVar, cast

import pytorch_lightning as pl
import yaml
from pytorch_lightning.cli import LightningArgumentParser

from extractors.base import Extractor, FittedExtractor
from extractors.data import EMBED, ExtractorData
from extractors.evaluation.embedding_scores import evaluate_embeddings
from extractors.extraction.embedding import as_words, names_dead_workers
from extractors.extraction.extract import ANOTHER_STORE
from extractors.layers.encoder import EncoderExtractor
from extractors.runs import closed_form
from extractors.runs.folder import LAYER_SCORES, NET, WEIGHTS_SHA256, fitted_sha256, older_fit
from extractors.runs.folder import load as load_run
from extractors.runs.settings import extractor_class
from extractors.task import ExtractorTask, of_all_processes, problem_of
from m2fnet.errors import LabelSetsError, StoreError, UsageError
from m2fnet.files import write_json
from m2fnet.metrics.scores import majority
from m2fnet.records import LabelSet, Split
from m2fnet.reports.run_report import write_report
from m2fnet.reports.terminal import for_terminal
from m2fnet.runs.checkpoints import LAST, asked_weights, checkpoint_file, read_checkpoint
from m2fnet.runs.folder import CONFIG, FIT, differences, facts_of_fit, fit_of, settings_of_a_run, trained_settings
from m2fnet.runs.provenance import Provenance
from m2fnet.store import Store
from m2fnet.store.layout import META
from m2fnet.training.callbacks import EpochTimer, print_rank_zero
from m2fnet.training.cli import RunCLI

UNREADABLE = "unreadable.json"
_NAMES = {"head": "linear head", "nearest": "1-NN", "probe": "linear probe"}
# What an extractor of closed form looks at. Everything else is for a training, and would do nothing.
_OF_CLOSED_FORM = ("seed_everything", "model.net", "data.manifest", "data.batch_size", "data.workers")


class ExtractorCLI(RunCLI):
    """Trains or fits extractors, and scores their embeddings without a dialogue network."""

    prog = "m2fnet extractor"
    task: ClassVar[type[ExtractorTask]] = ExtractorTask
    data: ClassVar[type[ExtractorData]] = ExtractorData
    example = "extractors/text_roberta.yaml"
    heads: ClassVar[Mapping[str, str]] = _NAMES  # what each score is of

    @staticmethod
    def subcommands() -> dict[str, set[str]]:
        """Lightning's, without ``predict``: `m2fnet extract` embeds, and a dialogue network predicts."""
        return {name: hidden for name, hidden in RunCLI.subcommands().items() if name != "predict"}

    @property
    def is_closed_form(self) -> bool:
        """Whether the configuration is of an extractor that is fitted in one pass, or read, instead of trained."""
        net = self.config[self.subcommand].model.net
        return not extractor_class(net.class_path).is_trained(net.init_args.as_dict())

    def is_scored_after_fit(self, net: Extractor) -> bool:
        """Whether an extractor of closed form is scored on dev when it is ready."""
        return True

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:  # noqa: ANN401
        """Parse the command line.

        Raises:
            UsageError: one sentence that names the key.
        """
        values = (str(one).partition("=")[2] if str(one).startswith("--") else str(one) for one in args)
        for path in map(Path, values):
            content = yaml.safe_load(path.read_text(encoding="utf-8")) if path.suffix in (".yaml", ".yml") else None
            if isinstance(content, dict) and "extractor" in content:
                raise UsageError(
                    f"{path} has the older form, with `extractor:`. Write `model: {{net: ...}}` instead of it, `data: "
                    "{manifest: ...}` instead of `manifest:`, and `seed_everything:` instead of `seed:`, as in "
                    "conf/extractors/text_lsa.yaml. A finished run of that form still works in `m2fnet extract --ckpt`."
                )
        super().parse_arguments(parser, args)

    def before_instantiate_classes(self) -> None:
        """Settle the run folder, and refuse what has no effect on an extractor of closed form.

        Raises:
            UsageError: naming the first such setting.
        """
        run = Path(self.config[self.subcommand].run or ".")
        if older_fit(run):
            raise UsageError(
                f"{run} was fitted by an older version of m2fnet, which `m2fnet extract --ckpt {run}` can still use. "
                "To fit again, name another folder with --run, or delete this one."
            )
        super().before_instantiate_classes()
        if self.subcommand == "fit" and self.is_closed_form:
            parser = self._parser("fit")
            defaults = settings_of_a_run(yaml.safe_load(parser.dump(parser.get_defaults(), skip_validation=True)))
            for key, (usual, given) in differences(defaults, self.settings.values).items():
                if not key.startswith(_OF_CLOSED_FORM):
                    raise UsageError(
                        f"{key} is {given!r}, which has no effect: {self.config.fit.model.net.class_path} is not "
                        f"trained with these settings, but fitted in one pass. Remove the setting (default {usual!r})."
                    )

    def instantiate_trainer(self, **kwargs: Any) -> pl.Trainer:  # noqa: ANN401
        """The trainer; for an extractor of closed form one process, on the CPU unless a network has to run."""
        if self.is_closed_form:
            class_path = self.config[self.subcommand].model.net.class_path
            kwargs = {"devices": 1, **kwargs}
            if issubclass(extractor_class(class_path), FittedExtractor):
                kwargs = {"accelerator": "cpu", **kwargs}
        return super().instantiate_trainer(**kwargs)

    def logged_on_dev(self) -> tuple[str, ...]:
        """Names of the scores on dev that are logged after every epoch."""
        return (self.problem.monitor, "cross_entropy", "head_f1", "nearest_f1", "probe_f1")

    def trained_labels(self) -> LabelSet | None:
        """The emotions that the head answers; an extractor of closed form has none."""
        if self.is_closed_form:
            return None
        given = self.config[self.subcommand]
        checkpoint = read_checkpoint(asked_weights(self.run, given.checkpoint, given.select), mmap=True)
        return problem_of(checkpoint).label_set

    def check_fit(self) -> None:
        """Refuse sets of emotions to train on; build what is fitted, but no network, whose weights may be far away."""
        if not self.is_closed_form:
            self._refuse_label_sets()
        elif issubclass(extractor_class(self.config.fit.model.net.class_path), FittedExtractor):
            self._make_net()

    def before_fit(self) -> None:
        """Have the run keep what building its network takes, and use it if the run has weights to resume from."""
        if not self.is_closed_form:
            self._refuse_label_sets()
        self.trainer.callbacks.append(_SaveAssets(self.run / NET))  # type: ignore[attr-defined]
        if not self.config[self.subcommand].overwrite and checkpoint_file(self.run, LAST).exists():
            self._build_from_assets()

    def before_validate(self) -> None:
        """Build the network from what the run kept."""
        self._refuse_label_sets()
        self._build_from_assets()

    def before_test(self) -> None:
        """Build the network from what the run kept."""
        self._refuse_label_sets()
        self._build_from_assets()

    def train(
        self, model: pl.LightningModule, datamodule: pl.LightningDataModule, checkpoint: Path | None
    ) -> dict[str, object]:
        """Train the network, or fit the extractor of closed form; return what ``fit.json`` shall hold."""
        if not self.is_closed_form:
            return super().train(model, datamodule, checkpoint)
        task, data, timer = cast(ExtractorTask, self.model), cast(ExtractorData, self.datamodule), EpochTimer()
        timer.on_train_epoch_start(self.trainer, task)
        net = task.net = self._make_net()
        facts: dict[str, object] = {"utterances": 0}
        if isinstance(net, FittedExtractor):
            facts["utterances"] = closed_form.fit(net, data, self.run, seed=self.config.fit.seed_everything)
        elif isinstance(net, EncoderExtractor) and net.readout.is_open:
            device = str(self.trainer.strategy.root_device)
            scores = closed_form.choose_layer(net, data, self.run, replace(data.loading, device=device))
            facts = {"utterances": scores.utterances, LAYER_SCORES: asdict(scores)}
            print_rank_zero(_layer_table(scores))
        if not isinstance(net, FittedExtractor):
            net.save(self.run / NET)
        timer.on_train_epoch_end(self.trainer, task)
        dev: dict[str, object] = {}
        try:
            if self.is_scored_after_fit(net):
                self._score(net, ("dev",), is_fitted_on=True)
                train, judged = ([str(p.utterance.label) for p in data.labelled(name)] for name in ("train", "dev"))
                always = majority(train, judged, data.problem.classes)["majority_weighted_f1"]
                dev = {"dev.weighted_f1": task.scores["dev"]["probe"], "dev.majority_weighted_f1": always}
        except (closed_form.NotScoredError, LabelSetsError) as why:
            # what embeds is said by the next line, or is the command that runs
            print_rank_zero(f"Fitted, but not scored on dev: {str(why).removesuffix(EMBED).rstrip()}")
        return {
            "select": self.config.fit.select,
            **dev,
            **facts,
            "parameters": sum(v.numel() for v in net.state_dict().values()),
            "device": "cpu",
            **timer.summary(),
            WEIGHTS_SHA256: fitted_sha256(self.run / NET),
        }

    def validate(self, **kwargs: Any) -> None:  # noqa: ANN401
        """Score the selected weights on dev."""
        if self.is_closed_form:
            self._score_run(("dev",))
        else:
            super().validate(**kwargs)

    def test(self, **kwargs: Any) -> None:  # noqa: ANN401
        """Score the selected weights on dev and test."""
        if self.is_closed_form:
            self._score_run(("dev", "test"))
        else:
            super().test(**kwargs)

    def after_fit(self) -> None:
        """Say where the run is and what comes next."""
        task, fitted = cast(ExtractorTask, self.model), fit_of(self.run)
        if task.net is None:
            return  # it was trained before
        self._report_missing()
        chosen = (
            f"Fitted on {fitted['utterances']} utterances"
            if self.is_closed_form
            else f"Trained {fitted['epochs']} epoch{'s' * (fitted['epochs'] != 1)}, kept epoch {fitted['epoch']}"
        )
        if "dev.weighted_f1" in fitted:
            by = "linear probe" if self.is_closed_form else self.heads[task.scorer]
            chosen += f" with dev weighted F1 {100 * fitted['dev.weighted_f1']:.2f} ({by})"
        if "dev.majority_weighted_f1" in fitted:
            chosen += f", majority class {100 * fitted['dev.majority_weighted_f1']:.2f}"
        print_rank_zero(
            f"{chosen}.\nNext: m2fnet extract --ckpt {self.run} --manifest DIR --out STORE"
            + (f"\n      {self.prog} test --config {self.run / CONFIG}" if "dev.weighted_f1" in fitted else "")
        )

    def after_validate(self) -> None:
        """Print the scores on dev."""
        print_rank_zero(_table(cast(ExtractorTask, self.model).scores, self.heads))

    def after_test(self) -> None:
        """Write and print the report."""
        task, data = cast(ExtractorTask, self.model), cast(ExtractorData, self.datamodule)
        self._report_missing()
        if not self.trainer.is_global_zero:
            return
        answers = {
            name: self.problem.answers(
                (data.placed(cast(Split, name))[row].utterance for row in judged.row.tolist()),
                self.problem.probabilities(judged.logits),
            )
            for name, judged in task.judged.items()
        }
        training = [placed.utterance.labels or () for placed in data.placed("train")]
        page = write_report(self.results, self._facts(task, data), answers, training, self.problem)
        if not self.config[self.subcommand].quiet:
            print_rank_zero(f"{for_terminal(page)}\n\n{_table(task.scores, self.heads)}\n")
        print_rank_zero(
            f"Report: {self.results / 'report.md'}, {self.results / 'report.json'}; predictions: "
            f"{self.results / 'predictions.jsonl'}."
        )

    def _score_run(self, splits: Sequence[Split]) -> None:
        """Score what was fitted in closed form in the run folder."""
        if self.config[self.subcommand].checkpoint is not None:
            raise UsageError("--checkpoint names weights of a training; an extractor of closed form has none.")
        data = cast(ExtractorData, self.datamodule)
        found = load_run(self.run)
        is_fitted_on = found.provenance["fitted_on"] == data.manifest.sha256
        self._score(found.extractor, splits, is_fitted_on=is_fitted_on)

    def _score(self, net: Extractor, splits: Sequence[Split], *, is_fitted_on: bool) -> None:
        task, data = cast(ExtractorTask, self.model), cast(ExtractorData, self.datamodule)
        task.net, task.scorer = net, "probe"
        task.judged = closed_form.embedded(net, data, self.run, splits, is_fitted_on=is_fitted_on)
        # its logits are those of the probe, so the score of the "head" is the probe's
        task.scores = {
            name: {"probe": evaluate_embeddings(one, None, data.problem.classes)["head"]}
            for name, one in task.judged.items()
        }

    def _facts(self, task: ExtractorTask, data: ExtractorData) -> dict[str, Any]:
        assert task.net is not None, "it has just been tested"
        return {
            "seed": self.config[self.subcommand].seed_everything,
            "corpus": data.manifest.corpus,
            "manifest_sha256": data.manifest.sha256,
            "modalities": [task.net.modality],
            "select": self.config[self.subcommand].select,
            "scorer": task.scorer,
            "fit": facts_of_fit(self.run),
            **({} if self.is_closed_form else {"embeddings": task.scores}),  # the probe's is the score of the report
            "missing": len(data.missing),
            "cut": _sums(data.cut),
            **self.facts_of_other_data(),
        }

    def _make_net(self) -> Extractor:
        """The extractor of closed form, before it is fitted."""
        try:
            return cast(ExtractorTask, self.model).make_net()
        except ValueError as error:
            raise UsageError(f"model.net: {error}") from error

    def _refuse_label_sets(self) -> None:
        data = cast(ExtractorData, self.datamodule)
        if data.manifest.label_set.kind != "single":
            raise LabelSetsError(data.manifest.corpus, "scoring an extractor", EMBED)

    def _build_from_assets(self) -> None:
        """Let no later command of a run depend on a hub, or on a folder that may be gone."""
        if (self.run / NET).is_dir():
            network = extractor_class(self.config[self.subcommand].model.net.class_path)
            cast(ExtractorTask, self.model).kept = network.asset_settings(self.run / NET)

    def _report_missing(self) -> None:
        """Count what could not be read by its reason, and name it in the run folder."""
        data = cast(ExtractorData, self.datamodule)
        missing = data.missing = {name: why for found in of_all_processes(data.missing) for name, why in found.items()}
        data.cut = {name: cut for found in of_all_processes(data.cut) for name, cut in found.items()}
        if data.cut:
            print_rank_zero(f"In {len(data.cut)} utterances: {as_words(_sums(data.cut))}.")
        if not self.trainer.is_global_zero:
            return
        folder = self.run if self.other is None else self.results
        for name in (UNREADABLE, "missing.json"):  # of a training before this one, perhaps of an older version
            (folder / name).unlink(missing_ok=True)
        if not missing:
            return
        write_json(folder / UNREADABLE, {name: asdict(why) for name, why in sorted(missing.items())})
        print_rank_zero(
            f"{len(missing)} utterances could not be read and were skipped; {folder / UNREADABLE} names them."
        )
        for why, count in Counter(missing.values()).most_common():
            print_rank_zero(f"  {count:6d}  {why.stage}: {why.reason}")


class _FitForExtraction(ExtractorCLI):
    """Fits an extractor of closed form unless its run folder already has this fit; trains no network."""

    def is_scored_after_fit(self, net: Extractor) -> bool:
        """Not if it would be an encoder's second pass over the corpus: scoring it is `m2fnet extractor fit`."""
        return isinstance(net, FittedExtractor)

    def fit(self, model: pl.LightningModule, datamodule: pl.LightningDataModule) -> None:
        """Fit, or use what is there."""
        if (self.run / FIT).exists():
            net = self.config.fit.model.net
            is_outdated = extractor_class(net.class_path).is_outdated(net.init_args.as_dict(), self.run / NET)
            same = not differences(trained_settings(self.run) or {}, self.settings.values) and not is_outdated
            if same and not Provenance.read(self.run).changed_inputs():
                return
        elif not self.is_closed_form:
            file = self.config.fit.config[0]
            raise UsageError(
                f"{file} is of a network, which has to be trained first: run `m2fnet extractor fit --config {file}`, "
                "then name its run folder with --ckpt."
            )
        print_rank_zero(f"fitting on the training split of {self.config.fit.data.manifest}, into {self.run}")
        super().fit(model, datamodule)

    def after_fit(self) -> None:
        """The extraction says what could not be read."""


class _SaveAssets(pl.Callback):
    """Saves what building the network again takes, before the first step, so that a killed run can be resumed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        net = cast(ExtractorTask, pl_module).net
        if net is not None and trainer.is_global_zero:
            net.save_assets(self.folder)


@names_dead_workers
def train(argv: Sequence[str]) -> Path:
    """Run one command of an extractor, such as ``["fit", "--config", FILE]``, and return its run folder."""
    return ExtractorCLI.start(_long_form(argv)).folder


@names_dead_workers
def fit_for_extraction(argv: Sequence[str], out: Path | None = None) -> Path:
    """The run folder of a configuration, with the extractor in it; one of closed form is fitted if that is not done.

    Args:
        argv: as of `train`.
        out: a folder that may hold no store of other settings.

    Raises:
        UsageError: for a network that has not been trained.
        StoreError: if ``out`` holds a store that an extractor of other settings made; nothing is fitted then.
    """
    if out is not None and (out / META).is_file():
        now = _FitForExtraction.start([*_long_form(argv), "--dry-run"]).values
        made_with = Store(out).meta.extractor
        if any(
            made_with.get(key) != value
            for key, value in {**now["model"]["net"], "seed": now["seed_everything"]}.items()
        ):
            raise StoreError(ANOTHER_STORE.format(out))
    return _FitForExtraction.start(_long_form(argv)).folder


@names_dead_workers
def main(argv: list[str]) -> None:
    """Run ``m2fnet extractor {fit,validate,test} --config FILE [--key value ...]``."""
    ExtractorCLI.start(_long_form(argv), prints_plan=True)


def _long_form(argv: Sequence[str]) -> list[str]:
    """``argv`` with ``--data.manifest`` where the short form ``--manifest`` is."""
    short, long = "--manifest", "--data.manifest"
    return [long + one.removeprefix(short) if one.partition("=")[0] == short else one for one in argv]


def _sums(cut: Mapping[str, Mapping[str, int]]) -> dict[str, int]:
    """How much of each kind was cut, or lacked, in all utterances together."""
    kinds = sorted({kind for of_one in cut.values() for kind in of_one})
    return {kind: sum(of_one.get(kind, 0) for of_one in cut.values()) for kind in kinds}


def _layer_table(scores: closed_form.LayerScores) -> str:
    """The dev score of every layer, by which one was chosen."""
    rows = [
        f"{number:>5}{100 * score:>24.2f}{'   chosen' if number == scores.chosen else ''}"
        for number, score in scores.dev_weighted_f1.items()
    ]
    return "\n".join([f"layer{'dev weighted F1 (probe)':>24}", *rows])


def _table(scores: Mapping[str, Mapping[str, float]], names: Mapping[str, str]) -> str:
    kinds = list(next(iter(scores.values())))
    lines = [f"{'weighted F1':<14}" + "".join(f"{names[kind]:>18}" for kind in kinds)]
    for split, row in scores.items():
        lines.append(f"{split:<14}" + "".join(f"{100 * row[kind]:>18.2f}" for kind in kinds))
    return "\n".join(lines)
