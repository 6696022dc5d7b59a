"""`m2fnet serve`: wrong use is reported immediately, and Ctrl-C or SIGTERM is its ordinary end."""

import os
import signal
import subprocess
import sys
import threading
from contextlib import contextmanager
from types import SimpleNamespace

import pytest
from tiny_recogniser import save_whisper

from m2fnet.cli import DONE, FAILED, WRONG_USE, run


@pytest.fixture
def opened(monkeypatch):
    """What the command opened instead of a page; it is sent the signal in ``opened.end`` while the page is open."""
    seen = SimpleNamespace(end=signal.SIGINT, is_closed=False)

    @contextmanager
    def open_page(load, name, limits, *, load_annotator, **place):
        seen.load, seen.name, seen.limits, seen.place = load, name, limits, place
        seen.load_annotator = load_annotator
        threading.Timer(0.2, os.kill, (os.getpid(), seen.end)).start()
        try:
            yield "http://127.0.0.1:7860/"
        finally:
            seen.is_closed = True

    monkeypatch.setitem(sys.modules, "m2fnet.web.page", SimpleNamespace(open_page=open_page))  # needs no gradio
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    signal.signal(signal.SIGINT, signal.default_int_handler)
    yield seen
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM])
def test_the_page_stays_until_it_is_ended_and_is_closed_then(opened, end, capsys):
    opened.end = end
    assert run(["serve", "--model", "runs/some/model"]) == DONE
    assert opened.is_closed
    printed = capsys.readouterr()
    assert "The page is at http://127.0.0.1:7860/" in printed.out
    assert printed.err == ""
    assert opened.place == {"host": "127.0.0.1", "port": 7860}
    assert opened.load_annotator() is None
    assert opened.name == "model"
    assert opened.load.args == ("runs/some/model",)


def test_limits_and_place_can_be_given(opened):
    options = ["--port", "9000", "--max-mb", "5", "--max-minutes", "0.5", "--timeout-s", "20", "--device", "cuda:0"]
    assert run(["serve", "--model", "m", *options]) == DONE
    assert (opened.limits.megabytes, opened.limits.minutes, opened.limits.timeout_s) == (5, 0.5, 20)
    assert opened.place["port"] == 9000
    assert opened.load.keywords == {"device": "cuda:0"}


def test_a_page_for_others_comes_with_a_warning(opened, capsys):
    assert run(["serve", "--model", "m", "--host", "0.0.0.0"]) == DONE
    assert "there is no password" in capsys.readouterr().err


def test_words_and_speakers_may_be_left_to_machines(opened, tmp_path, capsys):
    options = ["--transcribe", save_whisper(tmp_path / "whisper"), "--language", "en", "--speakers", "2"]
    assert run(["serve", "--model", "m", *options]) == DONE
    annotator = opened.load_annotator()
    assert (annotator.recogniser.name, annotator.speakers) == ("whisper", 2)
    assert run(["serve", "--model", "m", "--language", "de"]) == WRONG_USE
    assert "--language is the language that --transcribe WHISPER writes" in capsys.readouterr().err


@pytest.mark.parametrize(
    "options", [[], ["--model", "m", "--max-mb", "0"], ["--model", "m", "--timeout-s", "soon"], ["--model", "m", "x"]]
)
def test_wrong_use_is_reported(options, capsys):
    assert run(["serve", *options]) == WRONG_USE
    assert "usage: m2fnet serve" in capsys.readouterr().err


def test_help_needs_neither_gradio_nor_torch():
    code = (
        "import sys; from m2fnet.cli import run; run(['serve', '--help']); print(*{'torch', 'gradio'} & {*sys.modules})"
    )
    help_ = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    *lines, imported = help_.stdout.splitlines()
    assert "nothing leaves the machine" in " ".join(" ".join(lines).split())
    assert imported == ""


def test_without_gradio_the_command_says_what_to_install(monkeypatch, capsys):
    for name in [name for name in sys.modules if name.startswith("m2fnet.web")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "gradio", None)
    assert run(["serve", "--model", "m"]) == WRONG_USE
    assert "pip install 'm2fnet[web]'" in capsys.readouterr().err


@pytest.mark.slow
def test_a_model_that_is_not_there_ends_the_command_with_a_sentence(tmp_path):
    pytest.importorskip("gradio", reason="gradio is not installed: it is the extra `web`")
    command = [sys.executable, "-m", "m2fnet.cli", "serve", "--model", str(tmp_path / "nowhere")]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert ended.returncode == FAILED
    assert "nowhere" in ended.stderr
    assert "Traceback" not in ended.stderr
