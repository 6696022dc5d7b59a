"""Every command on a page is one that the program accepts, and those of the guide do what the guide says."""

import argparse
import ast
import contextlib
import importlib
import os
import re
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
import yaml

from dialog import cli as dialog_cli
from extractors.commands import extractor as extractor_command
from m2fnet import cli
from m2fnet.commands import sweep as sweep_command
from m2fnet.commands.arguments import Parser
from m2fnet.errors import UsageError
from m2fnet.joint import cli as joint_cli
from m2fnet.manifest import Manifest
from m2fnet.runs.folder import settings_of_a_run

REPOSITORY = Path(__file__).parents[2]
PAGES = [REPOSITORY / "README.md", REPOSITORY / "CONTRIBUTING.md", *sorted((REPOSITORY / "docs").glob("*.md"))]
BASH = re.compile(r"^```bash\n(.*?)^```", flags=re.MULTILINE | re.DOTALL)
ROW = re.compile(r"^\|[^\n]*`(m2fnet [^`\n]* --[^`\n]*)`", flags=re.MULTILINE)
PYTHON = re.compile(r"^```python\n(.*?)^```", flags=re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"(?<!`)`m2fnet ([a-z]+(?:-[a-z]+)*)(?: ([a-z]+))?[^`]*`(?!`)")
# bash itself expands loops, variables and continued lines; in place of the program it writes down what it would run
RECORDER = r"""
m2fnet() { printf '%s\0' "$@" >> "$LOG"; printf '\n\0' >> "$LOG"; }
make() { :; }
"""
LATER = {"dialog": dialog_cli.train, "extractor": extractor_command.train, "joint": joint_cli.train}


class AcceptedError(Exception):
    """A command that has read its arguments and would now begin to work."""


def accepted(*_, **__):
    raise AcceptedError


def blocks(page, fence=BASH):
    return fence.findall(page.read_text(encoding="utf-8"))


def typed(page, folder):
    """The arguments of every ``m2fnet`` in the bash blocks and the tables of a page, in order."""
    log = folder / "log"
    log.touch()
    found = re.finditer(f"{BASH.pattern}|{ROW.pattern}", page.read_text(encoding="utf-8"), BASH.flags)
    script = "\n".join([RECORDER, *(block[1] or block[2] for block in found)])
    environment = {"PATH": "/nothing", "LOG": str(log)}
    subprocess.run(["/bin/bash", "-n", "-c", script], check=True)
    subprocess.run(["/bin/bash", "-c", script], cwd=folder, env=environment, capture_output=True, check=False)
    commands = [line.rstrip("\0").split("\0") for line in log.read_text(encoding="utf-8").split("\n\0") if line]
    assert len(commands) >= len(re.findall(r"^ *m2fnet ", script, flags=re.MULTILINE)), "bash has not run them all"
    return commands


@pytest.fixture
def accept(tmp_path, monkeypatch, capsys):
    """``accept(arguments)`` lets a command read its arguments and keeps it from working.

    Where it would train, the configuration of the run is left in the run's folder, so that a later command can name it,
    and only where the earlier one really puts it.
    """
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["m2fnet"])
    parse_args = argparse.ArgumentParser.parse_args

    def parse(parser, *arguments, **options):
        found = parse_args(parser, *arguments, **options)
        if (
            type(parser) in (argparse.ArgumentParser, Parser)
            and parser.prog.startswith("m2fnet ")
            and "keys" not in found
        ):
            raise AcceptedError  # `m2fnet extractor` leaves its keys to another parser
        return found

    def fit(arguments, out=None):
        extractor_command.train([*arguments, "--dry-run", "--quiet"])
        raise AcceptedError

    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", parse)
    monkeypatch.setattr(Manifest, "load", lambda folder: folder)
    monkeypatch.setattr(extractor_command, "fit_for_extraction", fit)
    monkeypatch.setattr("extractors.runs.folder.load", accepted)
    monkeypatch.setattr("m2fnet.commands.self_train.run", accepted)

    planned = {}

    def call(arguments):
        capsys.readouterr()
        arguments = [one_of_those(text) for text in arguments]
        for run in [Path(text).parent for text in arguments if text.endswith("config.yaml")]:
            if run in planned:
                call(planned.pop(run))
        stage, *rest = arguments
        if stage in LATER:
            run = LATER[stage]([*rest, "--dry-run", "--quiet"])
            if rest[0] == "fit":
                leave_settings(run, arguments)
            return
        with contextlib.suppress(AcceptedError):
            code = cli.run(arguments)
            assert code == cli.DONE, capsys.readouterr().err

    def one_of_those(text):
        """A run in place of a pattern, which bash leaves as it is where nothing has been trained."""
        return next((str(run / "config.yaml") for run in planned if (run / "config.yaml").match(text)), text)

    def leave_settings(run, arguments):
        assert cli.run([*arguments, "--print_config"]) == cli.DONE, capsys.readouterr().err
        settings = settings_of_a_run(yaml.safe_load(capsys.readouterr().out))
        run.mkdir(parents=True, exist_ok=True)
        (run / "config.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")

    def train_all(runs, *_, **__):
        planned.update({run.folder: run.commands[0] for run in runs})
        raise AcceptedError

    monkeypatch.setattr(sweep_command, "run_all", train_all)
    monkeypatch.setattr(sweep_command, "run_all_by_ray", train_all)
    return call


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_of_a_page_is_accepted(page, accept, tmp_path):
    for arguments in typed(page, tmp_path):
        try:
            accept(arguments)
        except (Exception, SystemExit) as error:
            pytest.fail(f"{page.name}: `m2fnet {' '.join(arguments)}` is refused: {error}")


def test_all_commands_of_a_loop_are_found(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(
        "```bash\nfor n in 1 2; do\n  m2fnet report \\\n    'a b'/$n  # twice\ndone\n```\n", encoding="utf-8"
    )
    assert typed(page, tmp_path) == [["report", "a b/1"], ["report", "a b/2"]]
    assert sum(len(blocks(page)) for page in PAGES) > 30


@pytest.mark.parametrize(
    "command",
    [
        "nonsense",
        "prepare meld --root a --into b",
        "report",
        "report a --blot",
        "extract --config conf/extractors/text_lsa.yaml --manifest a --out b --model.net.widht 3",
        "extract --config conf/extractors/no_such.yaml --manifest a --out b",
        "extractor fit --config conf/extractors/text_lsa.yaml --sede 1",
        "extractor fit --config conf/extractors/audio_mel.yaml --model.net.mells 1",
        "dialog fit --config conf/dialog/m2fnet_toy.yaml --model.net.heads many",
        "dialog test --config runs/m2fnet_toy/seed-0/config.yaml",
        "sweep --config conf/dialog/m2fnet_toy.yaml --seeds 0-1 --grid model.net.haeds=1,2",
        "self-train --config conf/self_training/meld_text.yaml --goold 3",
    ],
)
def test_a_wrong_command_is_not_accepted(command, accept):
    with pytest.raises((UsageError, AssertionError)):
        accept(command.split())


def test_a_run_can_be_named_where_only_its_training_is_typed(accept):
    accept(["dialog", "fit", "--config", "conf/dialog/m2fnet_toy.yaml", "--seed_everything", "3"])
    accept(["dialog", "test", "--config", "runs/m2fnet_toy/seed-3/config.yaml"])
    with pytest.raises(UsageError, match="seed-4"):
        accept(["dialog", "test", "--config", "runs/m2fnet_toy/seed-4/config.yaml"])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_named_in_the_text_exist(page):
    for command, task in INLINE.findall(page.read_text(encoding="utf-8")):
        assert command in cli.COMMANDS, f"{page.name} names `m2fnet {command}`"
        if task and ":" in cli.COMMANDS[command]:  # the line of a command with tasks lists them
            assert task in cli.COMMANDS[command], f"{page.name} names `m2fnet {command} {task}`"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_what_python_imports_on_a_page_exists(page):
    for block in blocks(page, PYTHON):
        for node in ast.parse(block).body:
            if isinstance(node, ast.Import):
                for alias in node.names:
                    importlib.import_module(alias.name)
            elif isinstance(node, ast.ImportFrom):
                module = importlib.import_module(node.module)
                for alias in node.names:
                    if not hasattr(module, alias.name):
                        importlib.import_module(f"{node.module}.{alias.name}")


@pytest.mark.slow
def test_the_guide_runs_as_it_is_written(tmp_path):
    guide = REPOSITORY / "docs" / "guide.md"
    scripts = Path(sysconfig.get_path("scripts"))
    environment = {**os.environ, "PATH": f"{scripts}:{os.environ['PATH']}"}
    for block in blocks(guide):
        command = ["bash", "-euo", "pipefail", "-c", block]
        result = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
        assert result.returncode == 0, f"{block}\n{result.stdout[-2000:]}\n{result.stderr[-4000:]}"
    run = tmp_path / "runs" / "m2fnet_toy" / "seed-0"
    expected = [
        *(tmp_path / "data" / "toy" / name for name in ("manifest.jsonl", "manifest.meta.json", "defects.md")),
        *(tmp_path / "embeddings" / "toy" / modality / "meta.json" for modality in ("text", "audio", "visual")),
        *(run / name for name in ("config.yaml", "provenance.json", "checkpoints/best.ckpt")),
        *(run / name for name in ("report.md", "report.json", "predictions.jsonl", "confusion.png", "missing.md")),
        *(tmp_path / "runs" / "toy-report" / name for name in ("summary.md", "summary.json", "report.html")),
        tmp_path / "runs" / "toy-errors" / "errors.md",
        tmp_path / "models" / "toy" / "model.json",
        *(tmp_path / "predictions" / "dia0_utt1.mp4" / name for name in ("predictions.jsonl", "timeline.svg")),
    ]
    assert [path for path in expected if not path.is_file()] == []
    for block in blocks(guide, PYTHON):
        command = [sys.executable, "-c", block]
        result = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
        assert result.returncode == 0, f"{block}\n{result.stdout[-2000:]}\n{result.stderr[-4000:]}"
