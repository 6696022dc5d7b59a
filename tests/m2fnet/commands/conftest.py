"""Fixtures of the commands that use a model."""

import pytest
from made_up_model import made_up_model, subtitles, talk, write_wav

from m2fnet import cli


@pytest.fixture
def predict(tmp_path, monkeypatch, capsys):
    """``predict(*arguments)`` -> exit code, standard output, standard error; with the model that was made up."""
    monkeypatch.chdir(tmp_path)
    models = {"made-up": made_up_model(), "other": made_up_model(hidden=4), "reader": made_up_model("text")}
    monkeypatch.setattr("m2fnet.pipeline.pipeline.load_model", lambda place: models[str(place)])

    def call(*arguments, model="made-up"):
        code = cli.run(["predict", *map(str, arguments), "--model", model])
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return call


@pytest.fixture
def clip(tmp_path):
    """Four seconds of sound with subtitles of two utterances in the same folder."""
    write_wav(tmp_path / "talk.wav", 4)
    (tmp_path / "talk.srt").write_text(subtitles(talk(2, seconds=2.0)), encoding="utf-8")
    return tmp_path / "talk.wav"
