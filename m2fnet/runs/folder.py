"""Which folder a run has, and whether its content was trained with the present settings.

``runs/<configuration>/seed-<seed>`` if every setting is as the configuration file says, and if the command line says
otherwise ``runs/<configuration>+<what differs>/seed-<seed>``, with eight digits of a hash where that would be long. So
the same settings mean the same folder, however they were typed, and others another one.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from m2fnet.errors import RunError, UsageError
from m2fnet.files import read_json
from m2fnet.runs.renamed import with_current_names

CONFIG = "config.yaml"
FIT = "fit.json"
PROVENANCE = "provenance.json"
REPORT = "report.json"
# what `test`, `missing` and `predict` write about the weights of a run
RESULTS = ("report.*", "predictions*.jsonl", "labels_*.jsonl", "attention.json", "missing.*", "confusion.png")
REPRODUCTION = "reproduction.json"
_LONGEST_NAME = 48  # of what differs, in letters
_OTHER_FOLDER = "Delete this folder, or name another one with --run."
# How a command is run, in contrast to what it makes: these may change from one start of a run to the next.
_NOT_PART_OF_A_RUN = (
    "config",
    "run",
    "name",
    "dry_run",
    "checkpoint",
    "label_map",
    "threads",
    "overwrite",
    "quiet",
    # in the configurations of older runs
    "plan",
    "ckpt_path",
    "weights_only",
    "verbose",
    "return_predictions",
)
_CHANGEABLE = (
    "trainer.accelerator",
    "trainer.default_root_dir",
    "trainer.enable_model_summary",
    "trainer.enable_progress_bar",
    "trainer.log_every_n_steps",
    "trainer.logger",
    "trainer.profiler",
    "data.predict_split",
    "data.workers",
)


def run_folder(config: Path | None, seed: int, overrides: Mapping[str, Any], name: str | None = None) -> Path:
    """Folder of the run of ``config`` with ``seed``, where ``overrides`` are the settings that the file does not have.

    Args:
        config: the configuration file, None without one.
        seed: of the run.
        overrides: dotted key -> value.
        name: instead of that of the configuration and what differs from it.

    Example:
        >>> config = Path("conf/dialog/m2fnet_meld.yaml")
        >>> run_folder(config, 3, {}).as_posix()
        'runs/m2fnet_meld/seed-3'
        >>> run_folder(config, 3, {"model.net.init_args.fusion_layers": 1, "data.streams": ["text"]}).as_posix()
        'runs/m2fnet_meld+text+fusion_layers-1/seed-3'
        >>> other = {"data.manifest": "data/mine", "data.stores": {"text": "embeddings/mine/text"}}
        >>> run_folder(config, 3, other).as_posix()
        'runs/m2fnet_meld+mine/seed-3'
        >>> run_folder(config, 3, {}, name="mine").as_posix()
        'runs/mine/seed-3'
        >>> run_folder(config, 3, {"model.averaging": {"kind": "ema"}}).as_posix()  # says not all in words
        'runs/m2fnet_meld+averaging+c0796ec4/seed-3'
    """
    configured = config.stem if config is not None else "unnamed"
    what_differs = {key: value for key, value in overrides.items() if key != "seed_everything"}  # has its own folder
    if name is None and what_differs:
        text = json.dumps(what_differs, sort_keys=True, ensure_ascii=False)
        digits = hashlib.sha256(text.encode()).hexdigest()[:8]
        older = Path("runs") / f"{configured}-{digits}" / f"seed-{seed}"  # as it was called before names had words
        if is_run(older):
            return older
        configured += _in_words(what_differs, digits)
    return Path("runs") / (name or configured) / f"seed-{seed}"


def _in_words(what_differs: Mapping[str, Any], digits: str) -> str:
    """``+words`` that tell a setting apart, as many as fit, and ``digits`` if they do not say all of it."""
    first = ("data.manifest", "data.streams")
    keys = [*(key for key in first if key in what_differs), *sorted(what_differs.keys() - set(first))]
    words: list[str] = []
    says_all = True
    if _are_usual(what_differs.get("data.stores"), what_differs.get("data.manifest")):
        keys.remove("data.stores")
    for key in keys:
        word = _word(key, what_differs[key])
        if not re.fullmatch(r"[\w.+-]+", word, re.ASCII):
            word, says_all = _short_key(key), False
        if sum(len(one) for one in words) + len(word) > _LONGEST_NAME:
            says_all = False
            break
        words.append(word)
    return "".join(f"+{word}" for word in [*words, *([] if says_all else [digits])])


def _are_usual(stores: object, manifest: object) -> bool:
    """Whether the manifest's name tells the stores too: ``embeddings/<name>/<stream>``, as in the documentation."""
    if not isinstance(stores, Mapping) or manifest is None:
        return False
    usual = Path("embeddings") / Path(str(manifest)).name
    return all(Path(str(folder)) == usual / str(stream) for stream, folder in stores.items())


def _word(key: str, value: object) -> str:
    """A setting as a part of a folder's name: the folder of the manifest, streams, or a value after its key."""
    if key == "data.streams" and isinstance(value, list):
        return "+".join(map(str, value))
    if key == "data.manifest":
        return Path(str(value)).name
    return f"{_short_key(key)}-{value if isinstance(value, str) else json.dumps(value)}"


def _short_key(key: str) -> str:
    return re.sub(r"^(model\.net|data|trainer|model)\.", "", key.replace(".init_args", ""))


def is_run(folder: Path) -> bool:
    """Whether ``folder`` holds a training, finished or not."""
    return (folder / CONFIG).is_file() and (folder / PROVENANCE).is_file()


def settings_of_a_run(content: Mapping[str, Any]) -> dict[str, Any]:
    """The settings in ``content`` that belong to the run, without those that only say how a command is run."""
    return {key: value for key, value in content.items() if key not in _NOT_PART_OF_A_RUN}


def differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Dotted key -> (before, after) of every setting that makes another run.

    >>> differences({"model": {"width": 4}, "trainer": {"logger": True}}, {"model": {"width": 8}, "trainer": {}})
    {'model.width': (4, 8)}
    """
    found = _differences(dict(before), dict(after), "")
    return {key: pair for key, pair in found.items() if not f"{key}.".startswith(tuple(f"{k}." for k in _CHANGEABLE))}


def fit_of(run: Path) -> dict[str, Any]:
    """What ``fit`` wrote about the training in the folder ``run``; empty for weights from elsewhere.

    Raises:
        RunError: if it cannot be read.
    """
    path = run / FIT
    return read_json(path, RunError, "Train the run again.") if path.exists() else {}


def facts_of_fit(run: Path) -> dict[str, Any]:
    """`fit_of` without the scores on dev, which every report has."""
    return {name: value for name, value in fit_of(run).items() if not name.startswith("dev.")}


def trained_settings(run: Path) -> dict[str, Any] | None:
    """The settings in the run folder; None if there are none yet.

    Raises:
        RunError: if they cannot be read.
    """
    path = run / CONFIG
    if not path.is_file():
        return None
    try:
        settings = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as problem:
        raise RunError(f"Cannot read {path}: {' '.join(str(problem).split())}. {_OTHER_FOLDER}") from problem
    if not isinstance(settings, dict):
        raise RunError(f"{path} holds {type(settings).__name__}, expected the settings of a run. {_OTHER_FOLDER}")
    return with_current_names(settings)


def refuse_other_settings(run: Path, trained: Mapping[str, Any], now: Mapping[str, Any], only: str = "") -> None:
    """Compare the settings in a run folder with those of now, or just the part named ``only``.

    Raises:
        UsageError: naming the first that differs.
    """
    for key, (before, after) in differences(trained, now).items():
        if key.startswith(only):
            raise UsageError(
                f"{run} was trained with {key} = {before!r}, but now it is {after!r}. Choose another folder with --run "
                f"or --name, or use the run's own settings with --config {run / CONFIG}"
            )


def _differences(before: Any, after: Any, key: str) -> dict[str, tuple[Any, Any]]:  # noqa: ANN401
    if not isinstance(before, dict) or not isinstance(after, dict):
        return {} if before == after else {key: (before, after)}
    found: dict[str, tuple[Any, Any]] = {}
    for name in dict.fromkeys((*before, *after)):
        found |= _differences(before.get(name), after.get(name), f"{key}.{name}" if key else name)
    return found
