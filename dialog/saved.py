"""Dialogue networks outside of training: from a run folder, or from settings and weights."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from jsonargparse import ArgumentError, ArgumentParser
from safetensors import SafetensorError
from safetensors.torch import load_model, save_model
from torch import nn

from m2fnet.config import named_class, one_sentence, refuse_untrusted, resolve_config_arguments
from m2fnet.errors import RunError, UsageError
from m2fnet.files import read_json, replaced
from m2fnet.problems import Problem, problem_from_dict
from m2fnet.runs.checkpoints import kept_weights, read_checkpoint
from m2fnet.runs.folder import CONFIG, FIT, trained_settings

_ADVICE = "Train it again with `m2fnet dialog fit`."
_PREFIX = "net."


@dataclass(frozen=True)
class SavedNetwork:
    """A dialogue network ready to be used.

    Attributes:
        network: `dialog.batch.DialogueBatch` -> `dialog.batch.Output`, in evaluation mode.
        problem: emotions and streams.
        settings: ``{"class_path", "init_args"}`` in plain values.
    """

    network: nn.Module
    problem: Problem
    settings: dict[str, object]


def of_run(run: Path) -> SavedNetwork:
    """The network of a finished run, with the weights that were selected.

    Raises:
        RunError: if the folder holds no finished training of a dialogue network, or a damaged one.
        UsageError: if its configuration names a class that is not trusted.
    """
    path = kept_weights(run, read_json(run / FIT, RunError, _ADVICE))
    config = trained_settings(run) or {}
    checkpoint = read_checkpoint(path)
    try:
        settings = {key: config["model"]["net"][key] for key in ("class_path", "init_args")}
        problem = problem_from_dict(checkpoint["problem"])
        weights = {name: v for name, v in checkpoint["state_dict"].items() if name.startswith(_PREFIX)}
    except KeyError as absent:
        raise RunError(f"{run} is not a run of a dialogue network: it lacks {absent}. {_ADVICE}") from absent
    except (TypeError, AttributeError, ValueError) as damage:
        raise RunError(f"Cannot load {path}: {' '.join(str(damage).split())[:300]}. {_ADVICE}") from damage
    if not problem.streams:
        raise RunError(f"{run} is not a run of a dialogue network: what it trained reads no streams. {_ADVICE}")
    network = build(settings, problem, str(run / CONFIG))
    try:
        network.load_state_dict({name.removeprefix(_PREFIX): v for name, v in weights.items()})
    except RuntimeError as damage:
        raise RunError(f"{path} does not fit {run / CONFIG}: {' '.join(str(damage).split())[:300]}.") from damage
    return SavedNetwork(network.eval(), problem, settings)


def build(settings: Mapping[str, object], problem: Problem, where: str) -> nn.Module:
    """The untrained network of ``settings`` for ``problem``; errors name ``where`` the settings are from.

    Raises:
        UsageError: if the class is not trusted, cannot be imported, is not a network or refuses the settings.
    """
    refuse_untrusted(settings, where)
    resolve_config_arguments([])  # tells the parser below which packages are trusted
    named_class(str(settings["class_path"]), nn.Module, where)
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--net", type=Callable[[Problem], nn.Module])
    net = {"class_path": settings["class_path"], "init_args": settings["init_args"]}
    try:
        network: nn.Module = parser.instantiate(parser.parse_object({"net": net})).net(problem)
    except (ArgumentError, ValueError, TypeError) as refusal:
        raise UsageError(f"{where}: {one_sentence(str(refusal))}") from refusal
    return network


def save(network: nn.Module, path: Path) -> None:
    """Write the weights of ``network`` as safetensors."""
    with replaced(path) as temporary:
        save_model(network, str(temporary))


def load(settings: Mapping[str, object], problem: Problem, path: Path, where: str) -> nn.Module:
    """The network of ``settings`` with the weights that `save` wrote into ``path``, in evaluation mode.

    Raises:
        RunError: if the file is damaged or of another network.
        UsageError: as `build`.
    """
    network = build(settings, problem, where)
    try:
        load_model(network, path)
    except (OSError, RuntimeError, SafetensorError) as damage:
        raise RunError(f"{path} does not fit the network: {' '.join(str(damage).split())[:300]}.") from damage
    return network.eval()
