"""``m2fnet check``: versions, where the packages come from, devices, and what is missing and why it matters.

Every part is checked separately, so that a broken one is named and the others are still reported.
"""

import importlib
import os
import platform
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, packages_distributions, requires, version
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from m2fnet.commands.arguments import make_parser
from m2fnet.errors import M2FNetError

PYTHON = (3, 11)
OURS = ("m2fnet", "extractors", "dialog")
EXTRAS = {
    "web": "`m2fnet serve`",
    "onnx": "`m2fnet export --onnx`",
    "ray": "`m2fnet extract --engine ray`",
}  # what needs each
INSTALL = "install again with `make test` in a checkout, or with pip"


@dataclass(frozen=True)
class Finding:
    """One line of the check: ``fail`` stops the work, ``warn`` does not."""

    status: Literal["ok", "warn", "fail"]
    what: str
    detail: str


def main(argv: list[str]) -> None:
    """Print what was found.

    Raises:
        M2FNetError: if something that is required is broken.
    """
    make_parser(
        "check",
        "Print one line for each part of the installation: Python, the packages and their versions, where they are "
        "imported from, the shipped configurations, and the devices. A line that begins with `fail` names a part that "
        "m2fnet cannot work without, one with `warn` a part that differs from what was tested.",
        examples=["m2fnet check"],
    ).parse_args(argv)
    broken = []
    for finding in inspect():
        print(f"{finding.status:<5} {finding.what:<18} {finding.detail}", flush=True)
        if finding.status == "fail":
            broken.append(finding.what)
    if broken:
        raise M2FNetError(f"{len(broken)} required parts are broken: {', '.join(broken)}; {INSTALL}.")


def inspect() -> Iterator[Finding]:
    """All findings, in the order in which they are printed."""
    python = f"{platform.python_version()}, {platform.system()} {platform.machine()}, {sys.executable}"
    if sys.version_info < PYTHON:
        yield Finding("fail", "python", f"{python}: older than {PYTHON[0]}.{PYTHON[1]}")
    else:
        yield Finding("ok", "python", python)
    yield from _packages()
    yield from _places()
    yield _conf()
    yield from _devices()


def _packages() -> Iterator[Finding]:
    """Our distribution and what its metadata requires; there is no second list."""
    try:
        requirements = requires("m2fnet") or []
        yield Finding("ok", "m2fnet", version("m2fnet"))
    except PackageNotFoundError:
        yield Finding("fail", "m2fnet", f"runs from source without being installed; {INSTALL}")
        return
    brought = packages_distributions()
    extras: dict[str, list[Finding]] = {}
    for requirement in requirements:
        extra = re.search(r"extra == ['\"]([\w-]+)", requirement)
        finding = _package(requirement, brought)
        if extra is None:
            yield finding
        else:
            extras.setdefault(extra[1], []).append(finding)
    for name, findings in extras.items():
        yield _extra(name, findings)


def _extra(name: str, findings: Sequence[Finding]) -> Finding:
    """Whether all packages of an optional part are there; nothing else needs them."""
    absent = [finding for finding in findings if finding.status != "ok"]
    if not absent:
        return Finding("ok", f"extra {name}", ", ".join(f"{one.what} {one.detail}" for one in findings))
    lacking = ", ".join(one.what.partition(";")[0].strip() for one in absent)
    return Finding("warn", f"extra {name}", f"{EXTRAS.get(name, 'an option')} needs {lacking}: pip install '.[{name}]'")


def _package(text: str, brought: Mapping[str, list[str]]) -> Finding:
    try:
        from packaging.requirements import Requirement

        requirement = Requirement(text)
        found = version(requirement.name)
        importlib.import_module(_module_of(requirement.name, brought))
    except PackageNotFoundError:
        return Finding("fail", text, f"is not installed; {INSTALL}")
    except Exception as problem:  # a compiled part that does not fit raises whatever it likes
        return Finding("fail", text, f"cannot be imported: {type(problem).__name__}: {problem}")
    if not requirement.specifier.contains(found, prereleases=True):
        return Finding("warn", requirement.name, f"{found}, tested with {requirement.specifier}")
    return Finding("ok", requirement.name, found)


def _module_of(distribution: str, brought: Mapping[str, list[str]]) -> str:
    """The module that imports a distribution: the one of the same name if it brought several."""
    name = _normal(distribution)
    modules = [module for module, distributions in brought.items() if name in map(_normal, distributions)]
    return min(modules, key=lambda module: (module != name, module.startswith("_"), module), default=name)


def _normal(distribution: str) -> str:
    return distribution.lower().replace("-", "_")


def _places() -> Iterator[Finding]:
    places = {name: _place(name) for name in OURS}
    for name, place in places.items():
        if place is None:
            yield Finding("fail", name, f"cannot be found; {INSTALL}")
    parents = {place.parent for place in places.values() if place is not None}
    if len(parents) == 1:
        yield Finding("ok", "imported from", str(parents.pop()))
    else:
        listed = ", ".join(f"{name} from {place}" for name, place in places.items())
        yield Finding("warn", "imported from", f"{listed}: parts of two versions may meet; run from another folder")


def _place(name: str) -> Path | None:
    spec = find_spec(name)
    return Path(spec.origin).resolve().parent if spec is not None and spec.origin is not None else None


def _conf() -> Finding:
    try:
        from m2fnet.config import conf_folder
    except ImportError as problem:
        return Finding("fail", "conf", f"cannot be searched: {problem}")
    folder = conf_folder()
    files = list(folder.glob("*/*.yaml"))
    if not files:
        return Finding("fail", "conf", f"no configuration in {folder}; {INSTALL}")
    return Finding("ok", "conf", f"{folder}, {len(files)} files")


def _devices() -> Iterator[Finding]:
    try:
        import torch
    except Exception as problem:  # reported in detail above, as a package
        yield Finding("fail", "devices", f"unknown without torch ({type(problem).__name__})")
        return
    yield Finding("ok", "cpu", f"{os.cpu_count()} cores, torch uses {torch.get_num_threads()} threads")
    if not torch.cuda.is_available():
        yield Finding("warn", "cuda", "no GPU that torch can use: everything runs on the CPU, training takes longer")
        return
    for number in range(torch.cuda.device_count()):
        device = torch.cuda.get_device_properties(number)
        yield Finding("ok", f"cuda:{number}", f"{device.name}, {device.total_memory / 2**30:.0f} GiB")
