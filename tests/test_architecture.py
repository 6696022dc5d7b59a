"""The shape of the house: who may import whom, how fast the command line answers, and with which exit codes."""

import ast
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from m2fnet import cli
from m2fnet.errors import CorpusError, UsageError

REPOSITORY = Path(__file__).parents[1]
PACKAGES = {"m2fnet", "extractors", "dialog"}
MAY_IMPORT = {
    "m2fnet": {"m2fnet"},
    "extractors": {"m2fnet", "extractors"},
    "dialog": {"m2fnet", "dialog"},
}
SOURCES = [path for package in sorted(PACKAGES) for path in sorted((REPOSITORY / package).rglob("*.py"))]


def imported_packages(source: str) -> set[str]:
    """Our top-level packages that a file imports, inside functions and under TYPE_CHECKING too."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            found.add(node.module.split(".")[0])
    return found & PACKAGES


def test_the_scan_sees_every_form_of_import():
    source = "import dialog.task\nfrom extractors import base\ndef f():\n    from m2fnet.files import replaced\n"
    assert imported_packages(source) == PACKAGES
    assert imported_packages("from . import dialog\nimport torch\n") == set()
    assert len(SOURCES) > 20


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_imports_run_from_the_stages_to_the_core_only(path):
    package = path.relative_to(REPOSITORY).parts[0]
    assert imported_packages(path.read_text(encoding="utf-8")) <= MAY_IMPORT[package]


def run_python(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, check=False, timeout=60)


def test_help_imports_no_heavy_library():
    script = (
        "import sys\nfrom m2fnet.cli import run\ncode = run(['--help'])\n"
        "heavy = {'torch', 'numpy', 'pytorch_lightning', 'lightning', 'jsonargparse', 'sklearn', 'av', 'matplotlib'}\n"
        "print('HEAVY', sorted(heavy & set(sys.modules)), 'CODE', code)\n"
    )
    assert "HEAVY [] CODE 0" in run_python("-c", script).stdout


def test_help_answers_at_once():
    times = []
    for _ in range(5):
        start = time.perf_counter()
        assert run_python("-m", "m2fnet.cli", "--help").returncode == 0
        times.append(time.perf_counter() - start)
    assert min(times) < 0.5


def test_help_lists_every_command():
    assert all(f"\n  {name} " in cli.usage() for name in cli.COMMANDS)


@pytest.mark.parametrize(
    ("arguments", "code"), [(["--help"], 0), (["-h"], 0), (["--version"], 0), ([], 2), (["nonsense"], 2), (["--x"], 2)]
)
def test_exit_codes_of_the_command_line_itself(arguments, code, capsys):
    assert cli.run(arguments) == code
    told = capsys.readouterr()
    assert "expected one of demo, check" in told.err if arguments in (["nonsense"], ["--x"]) else told.out


@pytest.mark.parametrize(
    ("raised", "code"),
    [
        (None, 0),
        (UsageError("wrong key"), 2),
        (CorpusError("no such file"), 1),
        (KeyboardInterrupt(), 130),
        (SystemExit(0), 0),
        (SystemExit(2), 2),
        (SystemExit("text"), 1),
    ],
)
def test_exit_codes_of_a_command(raised, code, monkeypatch, tmp_path, capsys):
    (tmp_path / "made_up_command.py").write_text("def main(argv):\n    if error is not None:\n        raise error\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "made_up_command", raising=False)
    monkeypatch.setitem(cli.COMMANDS, "made-up", ("made_up_command", "for this test"))
    import made_up_command

    monkeypatch.setattr(made_up_command, "error", raised, raising=False)
    assert cli.run(["made-up"]) == code
    if isinstance(raised, UsageError | CorpusError):
        assert capsys.readouterr().err == f"m2fnet made-up: {raised}\n"


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (CorpusError("clips/red\x1b[31m\u202e.mp4"), "m2fnet check: clips/red [31m .mp4\n"),
        (FileNotFoundError(2, "No such file", "red\x1b[31m\n.mp4"), "m2fnet check: No such file: red [31m .mp4\n"),
        (OSError("no room\x07"), "m2fnet check: no room \n"),
        (CorpusError("Expected this tree:\n  a.csv"), "m2fnet check: Expected this tree:\n  a.csv\n"),
    ],
)
def test_an_error_sends_no_control_character_to_the_terminal(error, told, monkeypatch, capsys):
    def fail(argv):
        raise error

    monkeypatch.setattr(cli, "_imported", lambda module: SimpleNamespace(main=fail))
    assert cli.run(["check"]) == cli.FAILED
    assert capsys.readouterr().err == told


def test_our_own_bugs_are_not_hidden_behind_a_message(monkeypatch):
    monkeypatch.setitem(cli.COMMANDS, "made-up", ("m2fnet.no_such_module", "for this test"))
    with pytest.raises(ModuleNotFoundError):
        cli.run(["made-up"])
