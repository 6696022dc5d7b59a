"""The packages that the sources import are those that ``pyproject.toml`` asks for, and the locked ones fit to it."""

import ast
import functools
import re
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

REPOSITORY = Path(__file__).parents[1]
PACKAGES = ("m2fnet", "extractors", "dialog")
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = PROJECT["optional-dependencies"]
# what an installation without the extra can do without
NEEDS_EXTRA = {
    "m2fnet/web": "web",
    "m2fnet/model/onnx.py": "onnx",
    "m2fnet/training/ray_cluster.py": "ray",
    "m2fnet/sweeps/ray_tasks.py": "ray",
    "extractors/extraction/ray_": "ray",
}


distributions = functools.cache(packages_distributions)  # reads every package that is installed


def names(requirements):
    return {canonicalize_name(Requirement(text).name) for text in requirements}


def imported_by(source):
    """The distributions whose modules a file imports, the standard library and the project's own packages excepted."""
    modules = set()
    for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            modules |= {name.name.split(".")[0] for name in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            modules.add(node.module.split(".")[0])
    provided = distributions()
    return {
        canonicalize_name(provided[module][0]) if module in provided else module
        for module in modules - sys.stdlib_module_names - {*PACKAGES}
    }


@pytest.fixture(scope="module")
def imports():
    """What each source imports, by its path in the repository."""
    found = [path for package in PACKAGES for path in (REPOSITORY / package).rglob("*.py")]
    return {str(path.relative_to(REPOSITORY)): imported_by(path) for path in found}


def test_what_is_imported_is_declared(imports):
    undeclared = {}
    for path, needed in imports.items():
        extras = [extra for place, extra in NEEDS_EXTRA.items() if path.startswith(place)]
        missing = needed - names(PROJECT["dependencies"]).union(*(names(EXTRAS[extra]) for extra in extras))
        if missing:
            undeclared[path] = sorted(missing)
    assert undeclared == {}


def test_what_is_declared_is_imported_or_says_why_not(imports):
    imported = set().union(*imports.values())
    text = (REPOSITORY / "pyproject.toml").read_text(encoding="utf-8")
    for requirement in [*PROJECT["dependencies"], *(one for extra in EXTRAS.values() for one in extra)]:
        if canonicalize_name(Requirement(requirement).name) not in imported:
            assert re.search(rf'"{re.escape(requirement)}"[^\n]*# \S', text), f"nothing imports {requirement}"


def test_torch_and_what_is_compiled_for_it_are_pinned_exactly():
    pins = {requirement.name: str(requirement.specifier) for requirement in map(Requirement, PROJECT["dependencies"])}
    assert all(re.fullmatch(r"==\d+\.\d+\.\d+", pins[name]) for name in ("torch", "torchaudio", "torchvision"))
    assert pins["torch"] == pins["torchaudio"]


# Releases that were withdrawn because they did harm, with the reason.
WITHDRAWN = {
    "pytorch-lightning": {"2.6.2": "malware", "2.6.3": "malware"},
    "lightning": {"2.6.2": "malware", "2.6.3": "malware"},
}


def test_the_lock_has_a_hash_of_every_file_and_no_release_that_was_withdrawn():
    lock = (REPOSITORY / "requirements.lock").read_text(encoding="utf-8")
    entries = re.split(r"\n(?=[\w.-]+==)", lock)[1:]
    assert len(entries) > 100
    for entry in entries:
        name, version = re.match(r"([\w.-]+)==([^\s;]+)", entry).groups()
        assert re.search(r"--hash=sha256:[0-9a-f]{64}\b", entry), f"{name} has no hash"
        assert version not in WITHDRAWN.get(canonicalize_name(name), {}), f"{name} {version} was withdrawn"
    allowed = {canonicalize_name(one.name): one.specifier for one in map(Requirement, PROJECT["dependencies"])}
    for name in set(WITHDRAWN) & set(allowed):
        assert not any(allowed[name].contains(version) for version in WITHDRAWN[name])


def test_the_lock_holds_every_dependency_in_a_version_that_is_allowed_and_no_registry_address():
    lock = (REPOSITORY / "requirements.lock").read_text(encoding="utf-8")
    assert "://" not in lock
    locked = re.findall(r"^([\w.-]+)==([^\s;]+)(?: ; ([^\\\n]+))?", lock, flags=re.MULTILINE)
    versions = {
        canonicalize_name(name): version
        for name, version, marker in locked
        if not marker or Marker(marker.strip()).evaluate()
    }
    for requirement in map(Requirement, [*PROJECT["dependencies"], *EXTRAS["web"], *EXTRAS["onnx"], *EXTRAS["ray"]]):
        assert requirement.specifier.contains(versions[canonicalize_name(requirement.name)]), str(requirement)
