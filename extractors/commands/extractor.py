"""``m2fnet extractor``: train or fit an extractor, and judge it by itself."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from m2fnet.errors import UsageError
from m2fnet.records import Split

_SPLITS: dict[str, Split] = {"fit": "dev", "validate": "dev", "test": "test"}

DESCRIPTION = """\
Train an extractor on the training split, or judge it by itself.

  fit       train on train, keep the result in the run folder, report on dev
  validate  report on dev again
  test      report on test; no other command reads the test split

A configuration with `model:` is of a network, which is trained by Lightning; one with `extractor:` is of an extractor
that is fitted in one pass.
"""
EPILOG = """\
Keys after the configuration file overrule it: --run DIR and, for a network, --seed_everything N, --data.manifest DIR,
--trainer.max_epochs N, --model.losses.triplet 0 ...; for a fitted one, --seed N, --manifest DIR ...
`m2fnet extractor fit --config FILE --help` lists the keys of the file's own kind.
"""


def main(argv: list[str]) -> None:
    """Run ``m2fnet extractor {fit,validate,test} --config FILE [--key value ...]``."""
    parser = argparse.ArgumentParser(
        prog="m2fnet extractor",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("task", choices=list(_SPLITS))
    parser.add_argument("keys", nargs=argparse.REMAINDER, metavar="--config FILE [--key value ...]")
    given = parser.parse_args(argv)
    if _is_of_a_network(given.keys):
        from extractors.commands.train import train

        train([given.task, *given.keys])
    else:
        _run_fitted(given.task, given.keys)


def _is_of_a_network(keys: Sequence[str]) -> bool:
    """Whether the configuration file among ``keys`` describes a network to train."""
    import yaml

    from m2fnet.config import resolve_config_arguments

    early = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    early.add_argument("--config", type=Path)
    given, _ = early.parse_known_args(resolve_config_arguments(keys))
    return given.config is not None and "model" in yaml.safe_load(given.config.read_text(encoding="utf-8"))


def _run_fitted(task: str, keys: Sequence[str]) -> None:
    from extractors.extraction.embedding import Loading
    from extractors.runs import closed_form as fitted
    from extractors.runs.settings import read_settings
    from m2fnet.manifest import Manifest

    settings = read_settings(keys, f"m2fnet extractor {task}")
    manifest = Manifest.load(settings.manifest)
    loading = Loading()
    if task == "fit":
        run = fitted.fit_once(settings, manifest, loading)
    elif fitted.is_fit_of(settings.run, settings, manifest):
        run = fitted.load(settings.run)
    else:
        raise UsageError(
            f"{settings.run} holds no fit of these settings on this manifest; run `m2fnet extractor fit` with the "
            "same configuration first."
        )
    print(f"kept in {settings.run}")
    if task == "fit" and manifest.label_set.kind != "single":
        return  # fitting needs no labels, the probe one per utterance
    split = _SPLITS[task]
    scores = fitted.judge(settings.run, run, manifest, split, loading)
    print(f"{split} ({scores['n']} utterances)   weighted F1")
    print(f"  linear probe       {100 * scores['weighted_f1']:6.2f}")
    print(f"  majority class     {100 * scores['majority_weighted_f1']:6.2f}")
