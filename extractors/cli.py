"""``m2fnet extractor``: train or fit an extractor, and judge it by itself."""

import argparse
from collections.abc import Sequence

from m2fnet.errors import UsageError
from m2fnet.records import Split

_SPLITS: dict[str, Split] = {"fit": "dev", "validate": "dev", "test": "test"}

DESCRIPTION = """\
Fit an extractor on the training split, or judge it by itself with a linear probe.

  fit       fit on train, keep the result in the run folder, report the probe on dev
  validate  report the probe on dev again
  test      report the probe on test; no other command reads the test split
"""
EPILOG = """\
Keys after the configuration file overrule it: --manifest DIR, --run DIR, --seed N, --extractor.init_args.width N ...
`m2fnet extractor fit --config FILE --help` lists the keys of the file's own extractor.
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
    _run(given.task, given.keys)


def _run(task: str, keys: Sequence[str]) -> None:
    from extractors import fitted
    from extractors.embedding import Loading
    from extractors.settings import read_settings
    from m2fnet.manifest import Manifest

    settings = read_settings(keys, f"m2fnet extractor {task}")
    manifest = Manifest.load(settings.manifest)
    loading = Loading()
    if task == "fit":
        run = fitted.fit(settings, manifest, loading)
    elif fitted.is_fit_of(settings.run, settings, manifest):
        run = fitted.load(settings.run)
    else:
        raise UsageError(
            f"{settings.run} holds no fit of these settings on this manifest; run `m2fnet extractor fit` with the "
            "same configuration first."
        )
    split = _SPLITS[task]
    scores = fitted.judge(settings.run, run, manifest, split, loading)
    print(f"{split} ({scores['n']} utterances)   weighted F1")
    print(f"  linear probe       {100 * scores['weighted_f1']:6.2f}")
    print(f"  majority class     {100 * scores['majority_weighted_f1']:6.2f}")
    print(f"kept in {settings.run}")
