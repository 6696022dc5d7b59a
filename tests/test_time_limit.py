"""Where time is limited, slow tests that would start too late are skipped and named; the others run."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

CONFTEST = Path(__file__).with_name("conftest.py")


@pytest.mark.parametrize(("seconds_left", "outcome"), [(-1, "1 passed, 1 skipped"), (1000, "2 passed")])
def test_only_slow_tests_are_skipped_and_only_when_time_is_up(tmp_path, seconds_left, outcome):
    (tmp_path / "conftest.py").write_text(CONFTEST.read_text(encoding="utf-8"), encoding="utf-8")
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers = slow\n", encoding="utf-8")
    (tmp_path / "test_two.py").write_text(
        "import pytest\n\n\n@pytest.mark.slow\ndef test_slow():\n    pass\n\n\ndef test_fast():\n    pass\n",
        encoding="utf-8",
    )
    environment = {**os.environ, "M2FNET_LAST_START": str(time.time() + seconds_left)}
    command = [sys.executable, "-m", "pytest", "-rs", "-p", "no:cacheprovider"]
    found = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert outcome in found.stdout, found.stdout
