"""Configuration files: find them, refuse hostile ones, and explain what is wrong in one sentence."""

import importlib
import os
import pkgutil
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from difflib import get_close_matches
from importlib.resources import files
from pathlib import Path
from types import ModuleType
from typing import TypeVar

import yaml
from jsonargparse import set_parsing_settings

from m2fnet.errors import UsageError
from m2fnet.files import like_it

# Naming a class in a configuration imports and calls it, so only these names are accepted from a file. A user's own
# package is added with the environment variable M2FNET_TRUST, e.g. M2FNET_TRUST=my_lab,my_other_package.
TRUSTED = (
    "dialog",
    "extractors",
    "m2fnet",
    "torch.optim",
    "pytorch_lightning.callbacks",
    "pytorch_lightning.cli.ReduceLROnPlateau",
    "pytorch_lightning.loggers",
    "pytorch_lightning.profilers",
    "pytorch_lightning.strategies",
)
T = TypeVar("T")
_MAKES_AN_OBJECT = {"class_path", "net", "optimizer", "scheduler", "extractor"}
_MAKES_AN_OBJECT |= {"callbacks", "logger", "profiler", "strategy", "plugins", "accelerator"}
_TRUST = "M2FNET_TRUST"
_YAML = (".yaml", ".yml")
_OF_A_RUN = "config.yaml"  # what every run folder holds its settings in
_DOTTED = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+")


def conf_folder() -> Path:
    """The folder of shipped configurations: ``conf/`` of a checkout, or inside ``m2fnet`` when installed."""
    package = Path(str(files("m2fnet")))
    inside = package / "conf"
    return inside if inside.is_dir() else package.parent / "conf"


def find_config(name: str) -> Path:
    """Path of the configuration ``name``: a file of the user's, or else the shipped file ``conf/...`` of that name.

    Raises:
        UsageError: if there is neither; it names what is like it, says what writes it, or lists the shipped ones.

    Example:
        >>> find_config("conf/dialog/m2fnet_toy.yaml").name
        'm2fnet_toy.yaml'
    """
    if Path(name).is_file():
        return Path(name)
    shipped = conf_folder() / Path(*Path(name).parts[1:]) if Path(name).parts[:1] == ("conf",) else None
    if shipped is not None and ".." not in shipped.parts and shipped.is_file():
        return shipped
    if near := like_it(Path(name)):
        raise UsageError(f"There is no configuration file {name}.{near}")
    if Path(name).name == _OF_A_RUN:
        raise UsageError(
            f"There is no configuration file {name}; training writes it: `m2fnet dialog fit` of a dialogue network, "
            "`m2fnet extractor fit` or `m2fnet joint fit` of an extractor."
        )
    known = sorted(str(Path("conf") / path.relative_to(conf_folder())) for path in conf_folder().glob("*/*.yaml"))
    names = get_close_matches(Path(name).stem, [Path(one).stem for one in known], n=3)
    if similar := [one for one in known if Path(one).stem in names]:
        raise UsageError(f"There is no configuration file {name}. Like it there is: {', '.join(similar)}.")
    raise UsageError(f"There is no configuration file {name}. Shipped are: {', '.join(known)}.")


def resolve_config_arguments(arguments: Sequence[str]) -> list[str]:
    """Command-line ``arguments`` with every file after ``--config``, and every other YAML file, found and checked.

    This also sets the trusted packages in jsonargparse: only the parser sees every name that is about to be imported,
    and where the object of that name was really defined.

    Raises:
        UsageError: if a file is missing, is not YAML, or names a class that is not trusted.
    """
    set_parsing_settings(import_path_denylist=["*"], import_path_allowlist=list(trusted_packages()))
    resolved: list[str] = []
    before = ""
    for argument in arguments:
        name, sign, value = argument.partition("=") if argument.startswith("--") else ("", "", argument)
        if before in ("--config", "-c") or (sign and name == "--config") or value.endswith(_YAML):
            value = str(_checked(value))
        elif "--data.stores" in (before, name):
            _refuse_dotted_streams({"stores": _parsed(value, "--data.stores")})
        resolved.append(name + sign + value)
        before = argument
    return resolved


def trusted_packages(packages: Sequence[str] = TRUSTED) -> tuple[str, ...]:
    """``packages`` and the user's own (``M2FNET_TRUST``).

    Raises:
        UsageError: if the variable holds something else than names.
    """
    own = [name.strip() for name in os.environ.get(_TRUST, "").split(",") if name.strip()]
    for name in own:
        if not all(part.isidentifier() for part in name.split(".")):
            raise UsageError(f"{_TRUST} holds {name!r}; expected names of packages with commas between them.")
    return (*packages, *own)


def is_trusted(name: str, packages: Sequence[str] = TRUSTED) -> bool:
    """Whether a configuration may name this class.

    Example:
        >>> is_trusted("torch.optim.Adam"), is_trusted("torch.optimal.Adam")
        (True, False)
    """
    return any(name == prefix or name.startswith(f"{prefix}.") for prefix in trusted_packages(packages))


def refuse_untrusted(content: object, where: str, packages: Sequence[str] = TRUSTED) -> None:
    """Walk through parsed YAML (or the settings in a checkpoint) and refuse names outside the trusted packages.

    Args:
        content: parsed YAML.
        where: the file it is from, for the message.
        packages: that are trusted in addition to the user's own (``M2FNET_TRUST``).

    Raises:
        UsageError: naming the place and the class.

    Example:
        >>> refuse_untrusted({"net": {"class_path": "dialog.models.m2fnet.M2FNet"}}, "net.yaml")
        >>> refuse_untrusted({"net": {"class_path": "os.getpid"}}, "net.yaml")  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        ...
        m2fnet.errors.UsageError: net.yaml asks at net.class_path for 'os.getpid', which is outside the trusted ...
    """
    trusted = trusted_packages(packages)
    for key, name in _texts(content, ""):
        last = key.rsplit(".", 1)[-1]
        is_file = name.endswith(_YAML) and last != "class_path"
        if last not in _MAKES_AN_OBJECT or is_file or not _DOTTED.fullmatch(name):
            continue
        if not is_trusted(name, packages):
            raise UsageError(
                f"{where} asks at {key} for {name!r}, which is outside the trusted packages ({', '.join(trusted)}). "
                f"{_if_own(name)}"
            )


def named_class(class_path: str, kind: type[T], where: str) -> type[T]:
    """Import and return the class that settings name.

    Args:
        class_path: its dotted name.
        kind: what it has to be a subclass of; a parser would take, and call, any function of a trusted package.
        where: the file that names it, for the message.

    Raises:
        UsageError: if it is not trusted, cannot be imported or is of another kind.

    Example:
        >>> from m2fnet.errors import M2FNetError
        >>> named_class("m2fnet.errors.UsageError", M2FNetError, "settings.yaml")
        <class 'm2fnet.errors.UsageError'>
    """
    refuse_untrusted({"class_path": class_path}, where)
    module, _, name = class_path.rpartition(".")
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as problem:
        raise UsageError(f"{where} names {class_path!r}, which cannot be imported: {problem}.") from problem
    if not (isinstance(found, type) and issubclass(found, kind)):
        raise UsageError(f"{where} names {class_path!r}; expected a subclass of {kind.__module__}.{kind.__name__}.")
    return found


def import_all(package: ModuleType) -> None:
    """Import every module of ``package``, so that the classes that a configuration may name are known."""
    for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        importlib.import_module(module.name)


@contextmanager
def refused_if_not_installed() -> Iterator[None]:
    """Refuse settings that name a class, such as a logger, of a package that is not installed.

    Raises:
        UsageError: naming the package.
    """
    try:
        yield
    except ValueError as error:
        cause: BaseException | None = error
        while cause is not None and not isinstance(cause, ModuleNotFoundError):
            cause = cause.__cause__
        if cause is None:
            raise
        raise UsageError(f"The configuration names a class that cannot be made here: {cause}") from error


def one_sentence(error: str) -> str:
    """A long message of the configuration parser in one sentence: the key, what was expected, what came.

    Example:
        >>> one_sentence('''Parser key "lr": Expected a <class 'float'>. Got value: abc''')
        "lr: expected float, but got 'abc'."
    """
    key = ".".join(re.findall(r'Parser key "([^"]+)"', error))
    where = f"{key}: " if key else ""
    if denied := re.search(r"Importing '([^']+)' is not allowed", error):
        trusted = ", ".join(trusted_packages())
        return f"{where}{denied[1]!r} is outside the trusted packages ({trusted}). {_if_own(denied[1])}"
    if option := re.search(r"Option '([^']+)' is not accepted", error):
        return f"{where}there is no setting {option[1]!r} here; see the class's own arguments."
    if attribute := re.search(r"module '([^']+)' has no attribute '([^']+)'", error):
        return f"{where}there is no {attribute[2]!r} in {attribute[1]}."
    if other := re.search(r"Expected '([^']+)' to be a subclass of <class '(?:\w+\.)*(\w+)'>", error):
        return f"{where}expected a class of the kind {other[2]}, but got {other[1]!r}."
    expected = re.findall(r"Expected an? (?:<class '(?:\w+\.)*(\w+)'>|typing\.Literal\[(.*?)\])", error)
    names = [choice.replace("'", "") or kind for kind, choice in expected if kind != "NoneType"]
    came = re.search(r"(?:Got|Given) value: (.+?)\.?(?: Got value|$)", error, flags=re.MULTILINE)
    if names and came:
        return f"{where}expected {' or '.join(dict.fromkeys(names))}, but got {came[1]!r}."
    return " ".join(error.split())


def _if_own(name: str) -> str:
    return f"If the name is your own, set the environment variable {_TRUST}={name.split('.')[0]}."


def _checked(name: str) -> Path:
    path = find_config(name)
    _check_file(path, set())
    return path


def _check_file(path: Path, seen: set[Path]) -> None:
    if path.resolve() in seen:
        return
    seen.add(path.resolve())
    content = _read(path)
    if not isinstance(content, dict):
        raise UsageError(f"The configuration {path} holds {type(content).__name__}, expected keys with values.")
    refuse_untrusted(content, str(path))
    _refuse_dotted_streams(content)  # a file that is included as `data`
    _refuse_dotted_streams(content.get("data"))
    for _, value in _texts(content, ""):
        if value.endswith(_YAML) and (path.parent / value).is_file():
            _check_file(path.parent / value, seen)


def _refuse_dotted_streams(data: object) -> None:
    """Refuse a name in ``stores`` that a parser would take for a path of keys, whose beginning it would lose."""
    stores = data.get("stores") if isinstance(data, dict) else None
    for name in stores if isinstance(stores, dict) else ():
        if "." in str(name):
            raise UsageError(f"data.stores has a stream named {name!r}; expected a name without a dot.")


def _parsed(text: str, where: str) -> object:
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as problem:
        raise UsageError(f"Cannot read {where}: {' '.join(str(problem).split())}.") from problem


def _read(path: Path) -> object:
    try:
        text = path.read_text(encoding="utf-8")
        for token in yaml.scan(text, yaml.SafeLoader):
            if isinstance(token, yaml.AliasToken):  # a few lines of these can stand for more than memory holds
                line = token.start_mark.line + 1
                raise UsageError(f"{path}:{line} repeats a part by the alias *{token.value}; write the part out.")
        return yaml.safe_load(text)
    except (OSError, UnicodeDecodeError, yaml.YAMLError, RecursionError) as problem:
        raise UsageError(f"Cannot read the configuration {path}: {' '.join(str(problem).split())}.") from problem


def _texts(content: object, key: str) -> Iterator[tuple[str, str]]:
    """Every text in ``content`` with its dotted key; the items of a list have the key of the list."""
    if isinstance(content, dict):
        for name, value in content.items():
            yield from _texts(value, f"{key}.{name}" if key else str(name))
    elif isinstance(content, list):
        for value in content:
            yield from _texts(value, key)
    elif isinstance(content, str):
        yield key, content
