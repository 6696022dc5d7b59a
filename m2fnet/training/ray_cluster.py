"""Ray for the commands that can share their work between machines: started here for one command, or joined.

Ray is an extra, and importing it takes seconds, so nothing of it is imported before `ray_cluster` is entered.
"""

import argparse
import logging
import os
import signal
import socket
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path

from m2fnet.errors import M2FNetError, RunError, UsageError
from m2fnet.files import disposable_folder

_SETTINGS = {  # Ray reads them when it is imported
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_BACKEND_LOG_LEVEL": "fatal",  # to the terminal; what fails comes as an exception
    "RAY_DEDUP_LOGS_SKIP_REGEX": ".",  # paragraphs about each worker that died, though its work is tried again
    "RAY_task_oom_retries": "3",  # usually without end
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # what asks for no GPU sees what it would see without Ray
}
_STORE = 300 * 2**20  # bytes of memory that processes of one machine share, in addition to what a command asks for
_PREFIX = "m2f-ray-"
_WORDS = b"Files of Ray, started by m2fnet. Its next start removes this folder if it was killed.\n"
_ANSWER = 10.0  # seconds within which a cluster has to answer
_LONGEST = 40  # characters: the names of Ray's sockets in the folder have 64 more, and a socket's may have 107


@dataclass(frozen=True)
class Nodes:
    """The machines of a cluster at the time of asking; more may come.

    Attributes:
        cpus: of all machines together.
        gpus: of all machines together.
        cpus_of_smallest: of the machine that has the fewest, those without any excepted.
    """

    cpus: float
    gpus: float
    cpus_of_smallest: float


def nodes(gpus: float = 0) -> Nodes:
    """The machines of the cluster that this process has joined.

    Raises:
        RunError: if none of them has a CPU, or they have fewer than ``gpus`` GPUs: what asks for those would wait.
    """
    import ray

    found = [node["Resources"] for node in ray.nodes() if node["Alive"]]  # type: ignore[no-untyped-call]
    cpus = [one["CPU"] for one in found if one.get("CPU", 0)]
    machines = Nodes(sum(cpus), sum(one.get("GPU", 0) for one in found), min(cpus, default=0))
    if not cpus or machines.gpus < gpus:
        raise RunError(
            f"The Ray cluster has {machines.cpus:g} CPUs and {machines.gpus:g} GPUs now; expected at least a CPU and "
            f"{gpus:g} GPUs. Start its machines first, or ask for less."
        )
    return machines


class DeadProcessesError(RunError):
    """Whatever process of Ray did some work, it died."""


def understood(problem: BaseException, tries: int) -> BaseException:
    """What a person can use of an error of Ray's: ours that a process raised, or that processes died; else the same.

    Args:
        problem: what Ray raised.
        tries: how often it has tried.
    """
    from ray.exceptions import (
        NodeDiedError,
        ObjectLostError,
        OutOfMemoryError,
        RayActorError,
        RayTaskError,
        WorkerCrashedError,
    )

    died = RayActorError | NodeDiedError | ObjectLostError | OutOfMemoryError | WorkerCrashedError
    cause: BaseException | None = problem
    while cause is not None:
        if isinstance(cause, RayTaskError):  # also an instance of what it is made of, but with a traceback as text
            cause = cause.cause
            continue
        if isinstance(cause, M2FNetError):
            return cause
        if isinstance(cause, died):
            return DeadProcessesError(
                f"Processes of Ray died {tries} times at the same work ({type(cause).__name__}); they may have run out "
                "of memory. Try again with fewer at a time, or on machines with more memory; what is finished is kept."
            )
        cause = cause.__cause__
    return problem


def enter_shared(folder: Path, proof: Path | None = None) -> None:
    """Make ``folder`` the current one of this process, which may be on another machine than the command.

    Args:
        folder: the current one of the command.
        proof: a file that the command has written.

    Raises:
        RunError: if this machine does not have them.
    """
    try:
        os.chdir(folder)
        if proof is not None:
            proof.stat()
    except OSError as problem:
        raise RunError(
            f"The machine {socket.gethostname()} of the Ray cluster cannot read {problem.filename} "
            f"({problem.strerror}); expected a file system that all machines share."
        ) from problem


def add_engine_options(parser: argparse.ArgumentParser) -> None:
    """The options ``--engine`` and ``--address`` of a command."""
    parser.add_argument(
        "--engine", choices=["local", "ray"], default="local",
        help="what runs the processes: this command, or Ray, which tries again what a dead process or machine has lost",
    )  # fmt: skip
    parser.add_argument(
        "--address", metavar="HOST:PORT",
        help="with Ray: the cluster to join, auto for the one of this machine; all its machines need the same files at "
        "the same paths (default: Ray is started on this machine for this command only)",
    )  # fmt: skip


def refuse_without_ray(given: argparse.Namespace, *options: str) -> None:
    """Do nothing if Ray is not asked for, nor an option that needs it, or if it is asked for and installed.

    Args:
        given: arguments of a command with `add_engine_options`.
        options: its other options for Ray, as attributes of ``given``.

    Raises:
        UsageError: naming what lacks.
    """
    if given.engine != "ray":
        for name in ("address", *options):
            if getattr(given, name) is not None:
                raise UsageError(f"--{name.replace('_', '-')} is for Ray; add --engine ray.")
    elif find_spec("ray") is None or find_spec("pyarrow") is None:
        raise UsageError("--engine ray needs Ray, which is not installed: pip install 'm2fnet[ray]'")


@contextmanager
def ray_cluster(address: str | None, shared_bytes: int = 0) -> Iterator[None]:
    """This process in the cluster at ``address``, which stays as it is, or in one of this machine for the block only.

    Args:
        address: such as ``10.0.0.1:6379``, ``auto`` for the cluster that this machine belongs to; None starts Ray here,
            without a dashboard. It ends with the block. If this process is killed, what does work ends with it, and two
            agents of Ray that only look after others end a minute later.
        shared_bytes: memory that the processes of a cluster of this machine will share, such as the weights they read.

    Raises:
        RunError: if there is no such cluster, or Ray cannot be started.
    """
    if address is not None:
        _require_something_at(address)
    os.environ.update({name: value for name, value in _SETTINGS.items() if name not in os.environ})
    import ray

    # "local" also where the environment names a cluster
    start = partial(ray.init, address or "local", log_to_driver=False, logging_level=logging.CRITICAL)
    with ExitStack() as stack:
        if address is None:
            folder = stack.enter_context(disposable_folder(_PREFIX, _WORDS, _short_folder()))
            here = {"include_dashboard": False, "object_store_memory": _STORE + shared_bytes, "_temp_dir": str(folder)}
            start = partial(start, **here)
        stack.callback(ray.shutdown)
        try:
            with _no_native_messages(), _same_handler(signal.SIGTERM):
                start()
        except (ConnectionError, RuntimeError, ValueError, OSError) as problem:
            what = f"There is no Ray cluster at {address!r}" if address else "Ray cannot be started on this machine"
            raise RunError(f"{what}: {(str(problem).splitlines() or [''])[0].rstrip('.')}.") from problem
        yield


def _require_something_at(address: str) -> None:
    """Do nothing if something listens at the address; Ray would look for it for minutes."""
    host, _, port = address.rpartition(":")
    if host and port.isdecimal() and "://" not in address:
        try:
            socket.create_connection((host, int(port)), timeout=_ANSWER).close()
        except (OSError, OverflowError) as problem:
            raise RunError(
                f"There is no Ray cluster at {address!r}: {problem}. Start it with `ray start`."
            ) from problem


@contextmanager
def _same_handler(number: signal.Signals) -> Iterator[None]:
    """Whatever handler is set inside, the one of before has the signal again afterwards."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(number)
    try:
        yield
    finally:
        signal.signal(number, before)


@contextmanager
def _no_native_messages() -> Iterator[None]:
    """Nothing that is not Python's goes to standard error: Ray would print which level its messages have."""
    sys.stderr.flush()
    before, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(before, 2)
        os.close(before)
        os.close(nowhere)


def _short_folder() -> Path:
    usual = Path(tempfile.gettempdir())
    return usual if len(f"{usual}/{_PREFIX}12345678") <= _LONGEST else Path("/tmp")  # noqa: S108  # the folder is private
