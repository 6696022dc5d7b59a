"""`make test` in a folder whose tools only write down that they were called."""

import shutil
import subprocess
from pathlib import Path

import pytest

MAKEFILE = Path(__file__).parents[1] / "Makefile"

pytestmark = pytest.mark.skipif(not shutil.which("make"), reason="there is no `make` on this machine")


@pytest.fixture
def make_test(tmp_path):
    """``make_test(failing)`` gives the exit code, the calls and the output if the call that holds ``failing`` fails."""
    shutil.copy(MAKEFILE, tmp_path)
    for name in ("requirements.lock", "pyproject.toml"):
        (tmp_path / name).touch()
    tools = tmp_path / ".venv" / "bin"
    tools.mkdir(parents=True)

    def run(failing):
        for name in ("ruff", "mypy", "pytest"):
            script = f'#!/bin/sh\necho "{name} $*" >> calls\ncase "{name} $*" in *"{failing}"*) exit 1;; esac\n'
            (tools / name).write_text(script, encoding="utf-8")
            (tools / name).chmod(0o755)
        (tmp_path / ".venv" / "ready").touch()
        result = subprocess.run(["make", "test"], cwd=tmp_path, capture_output=True, text=True, check=False)
        return result.returncode, (tmp_path / "calls").read_text(encoding="utf-8").splitlines(), result.stdout

    return run


@pytest.mark.parametrize("failing", ["ruff check", "-m not slow and not bench and not ray"])
def test_the_slow_tests_run_after_a_failure_and_the_command_fails(make_test, failing):
    code, calls, _ = make_test(failing)
    assert code != 0
    assert calls[-1].startswith("pytest -n 2 -m slow ")
    assert any(call.startswith("pytest -n 2 -m not slow and not bench and not ray ") for call in calls)


def test_a_failing_slow_test_fails_the_command(make_test):
    assert make_test("-m slow")[0] != 0


def test_the_command_says_before_and_after_how_long_it_takes(make_test):
    code, calls, output = make_test("nothing")
    assert code == 0
    assert [call.split()[0] for call in calls] == ["ruff", "ruff", "mypy", "pytest", "pytest"]
    assert "fast tests about" in output
    assert "make test took 0 minutes." in output
