"""What a Tab offers, asked directly and through the shells that are installed."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from m2fnet.cli import COMMANDS, DONE, WRONG_USE, run
from m2fnet.commands.completion import SCRIPTS, words


def test_commands_and_what_they_are_begun_with():
    assert words([""]) == [*COMMANDS, "--help", "--version"]
    assert words(["ex"]) == ["extractor", "extract", "export"]
    assert words(["no such"]) == []


def test_parts_of_a_command_and_its_options():
    assert words(["dialog", ""]) == ["fit", "validate", "test", "predict", "missing"]
    assert words(["store", "m"]) == ["merge"]
    assert "iemocap" in words(["prepare", ""])
    assert words(["prepare", "iemocap", "--pro"]) == ["--protocol"]
    assert words(["prepare", "meld", "--pro"]) == []
    assert words(["report", "--group"]) == ["--group-by"]


def test_choices_of_an_option_and_files_for_others():
    assert words(["prepare", "iemocap", "--protocol", "iemocap4"]) == ["iemocap4"]
    assert words(["prepare", "iemocap", "--root", ""]) == []
    assert words(["report", "runs/"]) == []
    assert words(["schema", "d"]) == ["dialog", "data"]


def test_configurations_of_the_kind_that_the_command_reads():
    assert words(["dialog", "fit", "--config", "conf/dialog/m2fnet_t"]) == ["conf/dialog/m2fnet_toy.yaml"]
    assert all(name.startswith("conf/extractors/") for name in words(["extractor", "fit", "--config", ""]))
    assert "conf/trainer/cpu.yaml" in words(["dialog", "fit", "--config", "mine.yaml", "--trainer", ""])
    assert words(["self-train", "--config", ""]) == ["conf/self_training/meld_text.yaml"]


def test_settings_are_those_of_the_network_of_the_configuration():
    of_sdt = words(["dialog", "fit", "--config", "conf/dialog/sdt.yaml", "--model.net."])
    assert "--model.net.students" in of_sdt
    assert "--model.net.fusion_layers" not in of_sdt
    assert "--model.net.fusion_layers" in words(["dialog", "fit", "--config", "mine.yaml", "--model.net."])
    assert words(["dialog", "fit", "--quiet", "--trainer.max_e"]) == ["--trainer.max_epochs"]
    assert words(["dialog", "test", "--check"]) == ["--checkpoint"]


def test_a_tab_imports_no_library():
    ask = "import sys; from m2fnet.cli import run; run(['completion', 'words', '--', 'dialog', 'fit', '--model.net.'])"
    loaded = "print({'torch', 'numpy', 'yaml', 'jsonargparse'} & set(sys.modules), file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", f"{ask}; {loaded}"], capture_output=True, text=True, check=False)
    assert "--model.net.width" in done.stdout
    assert done.stderr == "set()\n"


def test_an_unknown_shell_is_refused(capsys):
    assert run(["completion", "tcsh"]) == WRONG_USE
    assert "'bash', 'zsh', 'fish'" in capsys.readouterr().err


@pytest.fixture
def in_shell(tmp_path, capsys):
    """``in_shell("bash", commands)`` is what the shell prints after the script of `m2fnet completion`."""
    program = tmp_path / "bin" / "m2fnet"
    program.parent.mkdir()
    program.write_text(f"#!{sys.executable}\nfrom m2fnet.cli import main\nmain()\n", encoding="utf-8")
    program.chmod(0o755)
    path = f"{program.parent}{os.pathsep}{os.environ['PATH']}"
    repository = str(Path(__file__).parents[3])

    def ask(shell, commands):
        if shutil.which(shell) is None:
            pytest.skip(f"{shell} is not installed")
        assert run(["completion", shell]) == DONE
        script = tmp_path / "script"
        script.write_text(capsys.readouterr().out, encoding="utf-8")
        text = commands.replace("SCRIPT", str(script))
        home = {"HOME": str(tmp_path), "PATH": path, "PYTHONPATH": repository, "TERM": "dumb"}
        done = subprocess.run([shell, "-c", text], env=home, capture_output=True, text=True, check=False, timeout=60)
        return done.stdout.split()

    return ask


def test_bash(in_shell):
    asked = 'source SCRIPT; COMP_WORDS=(m2fnet {}); COMP_CWORD={}; _m2fnet; echo "${{COMPREPLY[@]}}"'
    assert in_shell("bash", asked.format("dialog fit --trainer.max_e", 3)) == ["--trainer.max_epochs"]
    assert in_shell("bash", asked.format('dialog ""', 2))[:2] == ["fit", "validate"]
    assert in_shell("bash", asked.format('report "run"', 2)) == []


def test_zsh(in_shell):
    """``compadd`` works only while a person types, so that here it prints what it is given."""
    asked = (
        "compdef() { }; source SCRIPT; compadd() { print -r -- ${@[2,-1]} }; _files() { print files }\n"
        "words=(m2fnet {}); CURRENT={}; _m2fnet"
    )
    assert in_shell("zsh", asked.replace("{}", "dialog fit --trainer.max_e", 1).replace("{}", "4")) == [
        "--trainer.max_epochs"
    ]
    assert in_shell("zsh", asked.replace("{}", "report run", 1).replace("{}", "3")) == ["files"]
    assert in_shell("zsh", asked.replace("{}", "''", 1).replace("{}", "2"))[0] == "demo"


def test_fish(in_shell):
    asked = "source SCRIPT; complete -C '{}'"
    assert in_shell("fish", asked.format("m2fnet dialog fit --trainer.max_e")) == ["--trainer.max_epochs"]
    assert in_shell("fish", asked.format("m2fnet sch")) == ["schema"]
    assert in_shell("fish", "mkdir -p $HOME/here/runs; cd $HOME/here; " + asked.format("m2fnet report ru")) == ["runs/"]


@pytest.mark.parametrize("shell", SCRIPTS)
def test_the_script_asks_for_words(shell, capsys):
    assert run(["completion", shell]) == DONE
    assert "m2fnet completion words -- " in capsys.readouterr().out
