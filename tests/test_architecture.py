"""Who may import whom, how many types are missing, how fast the command line responds, and with which exit codes."""

import ast
import io
import subprocess
import sys
import time
import tokenize
from pathlib import Path

import pytest

from m2fnet import cli
from m2fnet.errors import CorpusError, UsageError

REPOSITORY = Path(__file__).parents[1]
PACKAGES = ("m2fnet", "extractors", "dialog")
SOURCES = {
    ".".join(path.relative_to(REPOSITORY).with_suffix("").parts).removesuffix(".__init__"): path
    for package in PACKAGES
    for path in sorted((REPOSITORY / package).rglob("*.py"))
}
CORE = {
    "m2fnet": {"", "config", "errors", "files", "formatting", "manifest", "records"},
    # a folder -> the folders of the core that it may import, in addition to these modules
    "losses": set(),
    "problems": {"losses", "metrics"},
    "media": set(),
    "metrics": set(),
    "corpora": {"media", "store"},  # some corpora are published as features
    # a table of segments is read as `prepare table` reads one, and a notebook shows the timeline
    "conversation": {"corpora", "media", "plots"},
    "store": set(),
    "runs": {"metrics", "store"},
    "training": {"losses", "metrics", "problems", "runs", "store"},
    "plots": {"metrics", "runs"},
    "reports": {"media", "metrics", "plots", "problems", "runs", "store"},
}
APPLICATION = {"joint", "model", "sweeps", "pipeline", "web", "commands", "cli"}
MOST_ANY = 8.0  # uses of `Any` per 1,000 lines
MOST_LOOSE = {"m2fnet": 7, "extractors": 4, "dialog": 7}  # modules at a package's root


def room(module: str) -> str:
    """The package of a stage, or the folder or loose module of ``m2fnet``."""
    package, _, rest = module.partition(".")
    return package if package != "m2fnet" else rest.partition(".")[0]


def imported_modules(source: str) -> set[str]:
    """Our modules that a file imports, inside functions and under TYPE_CHECKING too."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name if name in SOURCES else node.module for name in names}
    return {name for name in found if name.split(".")[0] in PACKAGES}


IMPORTS = {module: imported_modules(path.read_text(encoding="utf-8")) for module, path in SOURCES.items()}


def may_import(module: str) -> set[str]:
    """The rooms that a module may import from: the core only the core, a stage the core and itself."""
    own = room(module)
    if own in APPLICATION:
        return {*CORE, *CORE["m2fnet"], *APPLICATION, "extractors", "dialog"}
    if own in ("extractors", "dialog"):
        return {*CORE, *CORE["m2fnet"], own}
    return CORE["m2fnet"] | CORE.get(own, set()) | {own}


def test_the_scan_sees_every_form_of_import():
    source = "import dialog.task\nfrom extractors import base\ndef f():\n    from m2fnet.files import replaced\n"
    assert imported_modules(source) == {"dialog.task", "extractors.base", "m2fnet.files"}
    assert imported_modules("from . import dialog\nimport torch\n") == set()
    assert len(SOURCES) > 150


def test_every_folder_has_its_layer():
    known = {*CORE, *CORE["m2fnet"], *APPLICATION, "extractors", "dialog"} - {"m2fnet"}
    assert {room(module) for module in SOURCES} == known


@pytest.mark.parametrize("module", SOURCES)
def test_every_module_keeps_to_its_layer(module):
    assert {room(name) for name in IMPORTS[module]} <= may_import(module)


def test_no_import_closes_a_circle():
    """The command line is apart: commands that run other commands go through it."""
    open_ends = {name: IMPORTS[name] - {"m2fnet.cli"} for name in SOURCES}
    while ends := [name for name, imported in open_ends.items() if not imported & open_ends.keys() - {name}]:
        for name in ends:
            del open_ends[name]
    assert open_ends == {}


@pytest.mark.parametrize(("package", "most"), MOST_LOOSE.items())
def test_few_modules_are_loose(package, most):
    assert len([path for path in (REPOSITORY / package).glob("*.py") if path.name != "__init__.py"]) <= most


def test_nothing_is_imported_by_a_string():
    """Settings name classes, and `m2fnet check` tries what is installed; nothing else."""
    by_string = {name for name, path in SOURCES.items() if "import_module(" in path.read_text(encoding="utf-8")}
    assert by_string <= {"m2fnet.config", "m2fnet.commands.check"}


def count_any(source: str) -> int:
    """How often code uses the name `Any`, not counting the lines that import it."""
    names = [token for token in tokenize.generate_tokens(io.StringIO(source).readline) if token.string == "Any"]
    return sum(token.type == tokenize.NAME and " import " not in token.line for token in names)


def test_uses_of_any_are_counted_in_code_only():
    source = 'from typing import Any\n# Any\ndef f(x: Any) -> dict[str, Any]:\n    """Any."""\n'
    assert count_any(source) == 2


def test_types_are_known():
    sources = [path.read_text(encoding="utf-8") for path in SOURCES.values()]
    lines = sum(len(source.splitlines()) for source in sources)
    assert 1000 * sum(map(count_any, sources)) / lines <= MOST_ANY


def run_python(*arguments: str, timeout: float = 60) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, check=False, timeout=timeout)


def test_help_imports_no_heavy_library():
    script = (
        "import sys\nfrom m2fnet.cli import run\ncode = run(['--help'])\n"
        "heavy = {'torch', 'numpy', 'pytorch_lightning', 'lightning', 'jsonargparse', 'sklearn', 'av', 'matplotlib'}\n"
        "print('HEAVY', sorted(heavy & set(sys.modules)), 'CODE', code)\n"
    )
    assert "HEAVY [] CODE 0" in run_python("-c", script).stdout


def test_predicting_loads_no_training_code():
    """A command may import what it needs for training only when it trains."""
    script = (
        "import sys\nfrom m2fnet.cli import run\nimport m2fnet.commands.predict, m2fnet.pipeline.results\n"
        "code = run(['predict', '--model', sys.argv[1] + '.nowhere', sys.argv[1]])\n"
        "training = {'pytorch_lightning', 'lightning', 'torchmetrics', 'sklearn', 'tensorboard'}\n"
        "print('TRAINING', sorted(training & set(sys.modules)), 'CODE', code)\n"
    )
    assert "TRAINING [] CODE 1" in run_python("-c", script, __file__, timeout=300).stdout


def test_the_compiler_is_imported_only_to_compile():
    """It takes as long as torch itself."""
    script = (
        "import sys\nimport m2fnet.pipeline, extractors.audio.waveform\n"
        "print('COMPILER', 'torch._dynamo' in sys.modules)\n"
    )
    assert "COMPILER False" in run_python("-c", script, timeout=300).stdout


def test_help_responds_within_half_a_second():
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
    printed = capsys.readouterr()
    assert "expected one of demo, check" in printed.err if arguments in (["nonsense"], ["--x"]) else printed.out


@pytest.mark.parametrize(
    ("typed", "hint"),
    [
        ("predcit", "Did you mean `m2fnet predict`?"),
        ("extracto", "Did you mean `m2fnet extractor` or `m2fnet extract`?"),
        ("Dialog", "Did you mean `m2fnet dialog`?"),
        ("zzz", "serve."),
    ],
)
def test_an_unknown_command_is_answered_with_similar_ones(typed, hint, capsys):
    assert cli.run([typed]) == cli.WRONG_USE
    assert capsys.readouterr().err.endswith(f"{hint}\n")


@pytest.mark.parametrize("name", ["demo", "check", "hints", "predict", "export", "serve"])
def test_help_of_a_command_has_an_example_and_fits_a_terminal(name, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    assert cli.run([name, "--help"]) == cli.DONE
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    assert any(line.startswith(f"  m2fnet {name}") for line in lines)


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
def test_exit_codes_of_a_command(raised, code, monkeypatch, capsys):
    def main(argv):
        if raised is not None:
            raise raised

    monkeypatch.setattr(cli, "_imported", lambda name: main)
    monkeypatch.setitem(cli.COMMANDS, "made-up", "for this test")
    assert cli.run(["made-up"]) == code
    if isinstance(raised, UsageError | CorpusError):
        assert capsys.readouterr().err == f"m2fnet made-up: {raised}\n"


@pytest.mark.parametrize(
    ("error", "printed"),
    [
        (CorpusError("clips/red\x1b[31m\u202e.mp4"), "m2fnet check: clips/red [31m .mp4\n"),
        (FileNotFoundError(2, "No such file", "red\x1b[31m\n.mp4"), "m2fnet check: No such file: red [31m .mp4\n"),
        (OSError("no room\x07"), "m2fnet check: no room \n"),
        (CorpusError("Expected this tree:\n  a.csv"), "m2fnet check: Expected this tree:\n  a.csv\n"),
    ],
)
def test_an_error_sends_no_control_character_to_the_terminal(error, printed, monkeypatch, capsys):
    def fail(argv):
        raise error

    monkeypatch.setattr(cli, "_imported", lambda name: fail)
    assert cli.run(["check"]) == cli.FAILED
    assert capsys.readouterr().err == printed


def test_our_own_bugs_are_not_hidden_behind_a_message(monkeypatch):
    def fail(argv):
        raise ZeroDivisionError

    monkeypatch.setattr(cli, "_imported", lambda name: fail)
    with pytest.raises(ZeroDivisionError):
        cli.run(["check"])


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_every_command_can_be_imported(name):
    assert callable(cli._imported(name))
