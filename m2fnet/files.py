"""Writing files so that a reader never sees half of one."""

import difflib
import errno
import hashlib
import json
import os
import shutil
import socket
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from stat import S_ISDIR, S_ISREG
from typing import Any

from filelock import FileLock, Timeout

from m2fnet.errors import M2FNetError

LOCK = ".lock"
_OWNER = "owner.txt"  # of `disposable_folder`, written under the lock: while one is only being made there is none
_OLD = "old"  # folder in that of `replaced_folder`, for what is replaced
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_LOOKED: set[tuple[int, str]] = set()  # process and folder, in which leftovers were looked for
_NAMED = 5  # at most, of paths that are like a missing one

JsonObject = dict[str, Any]  # as read: whoever reads it checks what it holds


@contextmanager
def replaced(path: Path) -> Iterator[Path]:
    """A temporary path in the folder of ``path``; on success it is renamed to ``path``, on failure removed.

    The temporary name has the suffix of ``path`` (image writers look at it) and starts with ``.tmp-``. What a process
    that was killed has left in the folder is removed, see `remove_leftovers`.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> with replaced(folder / "scores.txt") as temporary:
        ...     _ = temporary.write_text("0.66")
        >>> [path.name for path in folder.iterdir()]
        ['scores.txt']
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    remove_leftovers(path.parent)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=_temporary_prefix(), suffix=path.suffix)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        umask = os.umask(0)  # it cannot be read without being set
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)  # mkstemp's 0600 would hide results from colleagues
        temporary.replace(path)
    except Exception as error:
        raise_if_full(error, path)
        raise
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def replaced_folder(folder: Path) -> Iterator[Path]:
    """A new empty folder that becomes ``folder`` on success, in place of what was there, and is removed on failure.

    If a kill hits the moment in which the old folder has gone and the new one has not come, the next call brings the
    old one back.

    Example:
        >>> import tempfile
        >>> model = Path(tempfile.mkdtemp()) / "model"
        >>> with replaced_folder(model) as new:
        ...     write_text(new / "README.md", "A model")
        >>> [path.name for path in model.parent.iterdir()]
        ['model']
    """
    with temporary_folder(folder.parent) as work:
        new, old = work / "new", work / _OLD / folder.name
        new.mkdir()  # in another folder, so that it has the permissions of any other
        old.parent.mkdir()
        yield new
        if folder.exists():
            folder.rename(old)
        try:
            new.rename(folder)
        except OSError:
            if old.exists():
                old.rename(folder)
            raise


@contextmanager
def temporary_folder(parent: Path) -> Iterator[Path]:
    """A folder in ``parent`` for the time of the block; if the process is killed, the next one removes it."""
    parent.mkdir(parents=True, exist_ok=True)
    remove_leftovers(parent)
    folder = Path(tempfile.mkdtemp(dir=parent, prefix=_temporary_prefix()))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def disposable_folder(prefix: str, words: bytes, parent: Path | None = None) -> Iterator[Path]:
    """A new folder for this process only, removed after the block; first those are removed that killed ones have left.

    Args:
        prefix: of its name.
        words: what a file in it says of it; a folder with other words is another's and stays.
        parent: where it is; by default where temporary files are.
    """
    parent = parent or Path(tempfile.gettempdir())
    for left in parent.glob(f"{prefix}*"):
        with suppress(OSError):  # it cannot be removed, or its process is there and holds the lock
            if _is_of_this_user(left) and _says(left / _OWNER, words):
                with FileLock(left / LOCK, timeout=0):
                    shutil.rmtree(left)
    with tempfile.TemporaryDirectory(prefix=prefix, dir=parent) as name, FileLock(Path(name) / LOCK):
        (Path(name) / _OWNER).write_bytes(words)
        yield Path(name)


def _is_of_this_user(folder: Path) -> bool:
    """Whether it is private; nobody else can then have put a link into it."""
    found = folder.lstat()
    return S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not found.st_mode & 0o077


def _says(path: Path, words: bytes) -> bool:
    return S_ISREG(path.lstat().st_mode) and path.read_bytes() == words


def remove_leftovers(folder: Path) -> None:
    """Remove the temporary files and folders in ``folder`` whose process, one of this machine, has ended.

    Only a process that was killed leaves any. What `replaced_folder` had taken away then comes back. Each process looks
    once, for a folder may hold a hundred thousand files.
    """
    looked = (os.getpid(), str(folder.absolute()))
    if looked in _LOOKED:
        return
    _LOOKED.add(looked)
    with suppress(OSError):  # it may not be listed, or another process does the same
        with os.scandir(folder) as entries:
            left = [Path(entry.path) for entry in entries if _is_leftover(entry.name)]
        for path in left:
            for old in path.glob(f"{_OLD}/*"):
                if not (folder / old.name).exists():
                    old.rename(folder / old.name)
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)


def _temporary_prefix() -> str:
    """How the names of this process's temporary files begin: with the process and the machine."""
    return f".tmp-{os.getpid()}@{socket.gethostname()}@"


def _is_leftover(name: str) -> bool:
    process, *rest = name.removeprefix(".tmp-").split("@")
    if not name.startswith(".tmp-") or rest[:1] != [socket.gethostname()] or os.name != "posix":
        return False
    try:
        os.kill(int(process), 0)  # sends nothing, and finds out whether the process is there
    except ProcessLookupError:
        return True
    except (OSError, OverflowError, ValueError):  # of another user, or a name that is not ours
        return False
    return False


def raise_if_full(error: Exception, path: Path) -> None:
    """Do nothing if ``error`` is of another kind than a full disk or a file that may not be larger.

    Libraries tell of these in several ways.

    Raises:
        OSError: that names ``path``.

    Example:
        >>> raise_if_full(ValueError("Error while serializing: No space left on device (os error 28)"), Path("a.bin"))
        Traceback (most recent call last):
        ...
        OSError: [Errno 28] No space left on device: 'a.bin'
    """
    words = str(error)
    is_full = isinstance(error, OSError) and error.errno in _FULL and error.filename is None
    named = [number for number in _FULL if f"os error {number})" in words or os.strerror(number) in words]
    if is_full or named or "failed writing file" in words:
        number = named[0] if named else errno.ENOSPC
        raise OSError(number, os.strerror(number), str(path)) from error


@contextmanager
def locked(folder: Path, error: type[M2FNetError]) -> Iterator[None]:
    """Lock ``folder`` against other processes that write into it; the lock ends with this process.

    Raises:
        error: if another process has locked it, naming that process.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / LOCK
    try:
        with FileLock(path, timeout=0):
            path.write_text(f"{os.getpid()} on {socket.gethostname()}", encoding="utf-8")
            try:
                yield
            finally:
                path.unlink(missing_ok=True)
    except Timeout:
        owner = path.read_text(encoding="utf-8", errors="replace")[:200] if path.exists() else ""
        raise error(
            f"{folder} is locked by process {owner or 'unknown'}. Wait for it to finish or use another folder."
        ) from None


def write_text(path: Path, text: str) -> None:
    """Write ``text`` as UTF-8 to ``path``, whole or not at all."""
    with replaced(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


def write_json(path: Path, content: object) -> None:
    """Write ``content`` as indented JSON; NaN and infinity are refused because JSON has no word for them.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "report.json"
        >>> write_json(path, {"weighted_f1": 0.66})
        >>> read_json(path, M2FNetError, "Make it again.")
        {'weighted_f1': 0.66}
    """
    write_text(path, json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def write_jsonl(path: Path, rows: Iterable[Mapping[str, object]]) -> None:
    """Write one JSON object per line."""
    with replaced(path) as temporary, temporary.open("w", encoding="utf-8", newline="\n") as file:
        file.writelines(map(json_line, rows))


def json_line(row: Mapping[str, object]) -> str:
    """A JSON object on a line, with its end."""
    return json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n"


def like_it(path: Path) -> str:
    """A sentence that names what there is with nearly the name ``path``, with a blank before it; empty if ``path`` is.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> (folder / "runs" / "m2fnet_meld+text").mkdir(parents=True)
        >>> like_it(folder / "runs" / "m2fnet_meld" / "seed-0").replace(str(folder), "")
        ' Like it there is: /runs/m2fnet_meld+text.'
    """
    missing = path
    while not missing.parent.exists() and missing.parent != missing:
        missing = missing.parent
    if missing.exists():
        return ""
    try:
        names = sorted(one.name for one in missing.parent.iterdir() if not one.name.startswith("."))
    except OSError:
        return ""
    near = difflib.get_close_matches(missing.name, names, n=_NAMED, cutoff=0.5)
    near += [name for name in names if name.startswith(missing.name) and name not in near][: _NAMED - len(near)]
    return f" Like it there is: {', '.join(str(missing.parent / name) for name in near)}." if near else ""


def read_json(path: Path, error: type[M2FNetError], advice: str) -> JsonObject:
    """Read a JSON object from ``path``.

    Raises:
        error: if the file is absent, is not JSON or holds something else than an object; ``advice`` says what to do.
    """
    try:
        content = path.read_bytes()
    except OSError as problem:
        raise error(f"Cannot read {path}: {problem}. {advice}{like_it(path)}") from problem
    return object_of(content, str(path), error, advice)


def read_jsonl(path: Path, error: type[M2FNetError], advice: str) -> Iterator[JsonObject]:
    """Read one JSON object per line from ``path``, one at a time; errors name the line."""
    try:
        with path.open("rb") as file:  # str.splitlines would also cut at U+2028 in a text
            for number, line in enumerate(file, start=1):
                yield object_of(line, f"{path}:{number}", error, advice)
    except OSError as problem:
        raise error(f"Cannot read {path}: {problem}. {advice}") from problem


def object_of(line: bytes, where: str, error: type[M2FNetError], advice: str) -> JsonObject:
    """The JSON object that ``line`` holds.

    Args:
        line: UTF-8.
        where: its place, for messages.
        error: of anything else than an object.
        advice: what to do then.
    """
    try:
        content = json.loads(line.decode("utf-8"))
    except (ValueError, RecursionError) as problem:
        raise error(f"{where} is not valid JSON ({problem}). {advice}") from problem
    if not isinstance(content, dict):
        raise error(f"{where} holds a {type(content).__name__}, expected a JSON object. {advice}")
    return content


def sha256_of(path: Path) -> str:
    """Hexadecimal SHA-256 of the bytes of ``path``."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
