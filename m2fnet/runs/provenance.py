"""What a run was made from and with: ``provenance.json``, written into its folder when the training starts."""

import hashlib
import platform
import re
import shlex
import subprocess
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from importlib.metadata import requires, version
from pathlib import Path
from typing import Any

import torch

import m2fnet
from m2fnet.errors import M2FNetError, ManifestError, RunError, StoreError, UsageError
from m2fnet.files import read_json, write_json
from m2fnet.manifest import ADVICE as PREPARE
from m2fnet.manifest import META as MANIFEST
from m2fnet.manifest import Manifest
from m2fnet.runs.folder import PROVENANCE, REPORT
from m2fnet.store import Store
from m2fnet.store.layout import ADVICE as EXTRACT
from m2fnet.store.layout import META as STORE

_NAME = re.compile(r"[A-Za-z0-9][\w.-]*")


@dataclass(frozen=True)
class Environment:
    """What a run used.

    Attributes:
        packages: version of m2fnet and of everything it requires.
        python: its version.
        platform: operating system and processor type.
        device: where the network was.
        threads: of torch on the CPU; sums come out in another order with another number.
        git: ``commit`` and whether it is ``dirty``, of the checkout that the code comes from, or else of the one that
            the command was typed in; None without either.
    """

    packages: dict[str, str]
    python: str
    platform: str
    device: str
    threads: int
    git: dict[str, Any] | None

    @classmethod
    def of(cls, device: torch.device) -> "Environment":
        """The environment of this process, which trains on ``device``."""
        return cls(
            packages=_packages(),
            python=platform.python_version(),
            platform=f"{platform.platform()}, {torch.backends.cpu.get_cpu_capability()}",
            device=torch.cuda.get_device_name(device) if device.type == "cuda" else str(device),
            threads=torch.get_num_threads(),
            git=_git(Path(m2fnet.__file__).parent) or _git(Path.cwd()),
        )

    def differences(self, other: "Environment") -> list[str]:
        """What is not the same in ``other``, one short line each."""
        before, now = self._flat(), other._flat()
        names = [name for name in dict.fromkeys((*before, *now)) if before.get(name) != now.get(name)]
        return [f"{name}: {before.get(name)}, now {now.get(name)}" for name in names]

    def _flat(self) -> dict[str, Any]:
        return {**self.packages, **{name: value for name, value in vars(self).items() if name != "packages"}}


@dataclass(frozen=True)
class Input:
    """A folder that was read, and the hash of what it held."""

    folder: str
    sha256: str


@dataclass(frozen=True)
class Provenance:
    """Everything that is needed to repeat a run, together with its ``config.yaml``.

    Attributes:
        command: what was typed.
        directory: where, because folders may be named from there.
        repeat: the command that trains again and compares.
        seed: of all random numbers.
        overrides: settings that the configuration file did not have, by dotted key.
        manifest: the corpus.
        stores: modality -> its embeddings.
        environment: versions, device and code at the start.
        resumed: the same for every later start that was in another environment.
    """

    command: str
    directory: str
    repeat: str
    seed: int
    overrides: dict[str, Any]
    manifest: Input
    stores: dict[str, Input]
    environment: Environment
    resumed: tuple[Environment, ...] = field(default=())

    @classmethod
    def read(cls, run: Path) -> "Provenance":
        """That of the run folder.

        Raises:
            RunError: if it has none, or a damaged one.
        """
        path, advice = run / PROVENANCE, "Train the run again: what it was made from is unknown."
        content = read_json(path, RunError, advice)
        try:
            return cls(
                **{
                    **content,
                    "manifest": Input(**content["manifest"]),
                    "stores": {name: Input(**store) for name, store in content["stores"].items()},
                    "environment": Environment(**content["environment"]),
                    "resumed": tuple(Environment(**environment) for environment in content["resumed"]),
                }
            )
        except (KeyError, TypeError, AttributeError) as problem:
            raise RunError(f"{path} is damaged ({problem!r}). {advice}") from problem

    def write(self, run: Path) -> None:
        """Write it into the run folder."""
        write_json(run / PROVENANCE, asdict(self))

    @property
    def stage(self) -> str:
        """The command that trains it: ``dialog``, ``extractor`` or ``joint``."""
        return shlex.split(self.command)[1]

    def resumed_in(self, environment: Environment) -> "Provenance":
        """The same after another start."""
        last = (self.environment, *self.resumed)[-1]
        return self if environment == last else replace(self, resumed=(*self.resumed, environment))

    def changed_inputs(self) -> list[str]:
        """A sentence for each folder whose content has changed since the run, by the hashes that it recorded.

        No embedding is read for it; `verify_inputs` does that.
        """
        now = [(self.manifest, _manifest_sha256)] + [(store, store_sha256) for store in self.stores.values()]
        return [sentence for noted, look in now if (sentence := self._changed(noted, look))]

    def verify_inputs(self) -> None:
        """Read all that the run was made from, and compare it with what was recorded then.

        Raises:
            RunError: if it is not the same.
            ManifestError, StoreError: if a file is not as it was written.
        """
        if changed := self.changed_inputs():
            raise RunError(f"The run cannot be repeated, because its data are not what they were: {' '.join(changed)}")
        Manifest.load(Path(self.manifest.folder))
        for store in self.stores.values():
            Store(store.folder).verify()

    def _changed(self, noted: Input, look: Callable[[Path], str]) -> str:
        try:
            found = look(Path(noted.folder))
        except M2FNetError as problem:
            return f"{problem} (The run was made in {self.directory}.)"
        if found == noted.sha256:
            return ""
        return f"{noted.folder} has SHA-256 {found[:12]}…, but the run was made from {noted.sha256[:12]}…."


def refuse_other_data(run: Path) -> None:
    """Refuse to resume a run whose manifest or stores were replaced since it was started.

    Raises:
        UsageError: naming what changed.
    """
    if (run / PROVENANCE).exists() and (changed := Provenance.read(run).changed_inputs()):
        raise UsageError(
            f"{run} was trained on other data: {' '.join(changed)} Choose another folder with --run or --name, or "
            "train it again with --overwrite."
        )


def has_own_report(run: Path) -> bool:
    """Whether the run was tested on the data that it was trained on; versions before this one mixed them up."""
    if not (run / REPORT).is_file():
        return False
    if not (run / PROVENANCE).is_file():
        return True
    report = read_json(run / REPORT, RunError, "Test the run again.")
    return bool(report.get("manifest_sha256") == Provenance.read(run).manifest.sha256)


def store_input(store: Store) -> Input:
    """An open store."""
    return Input(str(store.folder), store_sha256(store.folder))


def store_sha256(folder: Path) -> str:
    """One hash over the hashes of all files with embeddings, as the store notes them; no matter when it was made.

    Raises:
        StoreError: if the folder is not a store.
    """
    hashes = read_json(folder / STORE, StoreError, EXTRACT).get("sha256")
    if not isinstance(hashes, dict):
        raise StoreError(f"{folder / STORE} notes no hashes of its files. {EXTRACT}")
    return hashlib.sha256("\n".join(sorted(map(str, hashes.values()))).encode()).hexdigest()


def _manifest_sha256(folder: Path) -> str:
    return str(read_json(folder / MANIFEST, ManifestError, PREPARE).get("sha256"))


def _packages() -> dict[str, str]:
    """Versions of our distribution and of what its metadata requires; there is no second list to keep."""
    required = [_NAME.match(text) for text in requires("m2fnet") or [] if "extra ==" not in text]
    return {name: version(name) for name in ("m2fnet", *(found[0] for found in required if found))}


def _git(folder: Path) -> dict[str, Any] | None:
    """Commit of the checkout that holds ``folder``, and whether its tracked files were changed."""
    status = ("status", "--porcelain=v2", "--branch", "--untracked-files=no")
    command = ("git", "-c", "core.fsmonitor=false", "-C", str(folder), *status)  # a hook of the checkout is not run
    try:
        lines = subprocess.run(command, capture_output=True, text=True, check=True, timeout=20).stdout.splitlines()  # noqa: S603
    except (OSError, subprocess.SubprocessError, UnicodeDecodeError):
        return None
    commits = [line.split()[-1] for line in lines if line.startswith("# branch.oid")]
    return {"commit": commits[0], "dirty": any(not line.startswith("#") for line in lines)} if commits else None
