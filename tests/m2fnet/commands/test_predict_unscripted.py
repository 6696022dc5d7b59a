"""`m2fnet predict` of a clip without subtitles: recognised words, guessed speakers, and a diarisation."""

import json
import wave
from itertools import chain, repeat

import numpy as np
import pytest
from made_up_model import made_up_model
from tiny_encoders import save_encoder
from tiny_recogniser import SayingRecogniser, save_whisper

from m2fnet import cli
from m2fnet.conversation.recognised import NO_WORDS, Heard, Phrase
from m2fnet.conversation.writing import load
from m2fnet.corpora.toy_voice import RATE, Voice, speak
from m2fnet.pipeline import Pipeline


@pytest.fixture
def unscripted(tmp_path):
    """Two people of the toy corpus in turn, two seconds each with a second of silence, without subtitles."""
    rng, voices = np.random.default_rng(0), (Voice(105, 0.93, 4.4), Voice(200, 1.12, 4.8))
    sounds = [part for n in range(6) for part in (speak(voices[n % 2], "neutral", 2.0, rng), np.zeros(RATE))]
    with wave.open(str(tmp_path / "talk.wav"), "wb") as file:
        file.setparams((1, 2, RATE, 0, "NONE", ""))
        file.writeframes((32_000 * np.concatenate(sounds)).astype("<i2").tobytes())
    return tmp_path / "talk.wav"


@pytest.fixture
def recogniser(monkeypatch):
    """A recogniser that says nothing the first time and ``I hate cake.`` from then on, called by ``--transcribe``."""
    answers = chain([Heard(())], repeat(Heard((Phrase(0.0, 2.0, "I hate cake.", -0.1),), 0.0, -20.0)))
    made = SayingRecogniser(lambda samples: next(answers))

    def make(name, *, device, language):
        made.name, made.sha256 = name, f"{name} {language}"
        return made

    monkeypatch.setattr("m2fnet.pipeline.annotator.Recogniser", make)
    return made


def test_recognised_words_and_guessed_speakers_are_used_and_marked_everywhere(
    predict, unscripted, recogniser, tmp_path
):
    code, out, _ = predict(unscripted, "--transcribe", "whisper", "--speakers", "2")
    assert code == cli.DONE
    assert "talk.wav: 6 utterances, from voice activity\n" in out
    assert "The words are by the recogniser whisper, in English, the only language it knows, not by people" in out
    assert "The speakers are guessed by cepstra and pitch: 2 voices." in out
    assert f"Without text in 1 of 6 utterances ({NO_WORDS}: 1)" in out
    folder = tmp_path / "predictions" / "talk.wav"
    found = load(folder / "predictions.jsonl")
    assert [p.speaker for p in found] == ["speaker 1", "speaker 2"] * 3
    assert [p.text for p in found] == [None, *["I hate cake."] * 5]
    assert [p.text_source for p in found] == [None, *["whisper"] * 5]
    assert found[0].missing["text"] == NO_WORDS
    assert "text" in found[1].modalities
    about = json.loads((folder / "about.json").read_text())
    assert (about["text_source"], about["speaker_source"]) == (["whisper"], ["cepstra and pitch"])
    table = (folder / "predictions.csv").read_text().splitlines()
    assert table[0].endswith(",text_source,speaker_source")
    assert table[2].endswith(",whisper,cepstra and pitch")


def test_words_of_another_recogniser_or_other_speakers_are_predicted_again(predict, unscripted, recogniser):
    def again(*options):
        return predict(unscripted, *options)[1]

    predict(unscripted)
    words = "words of another recogniser or of none (--transcribe)"
    speakers = "other speakers or none that are guessed (--speakers)"
    assert "was done before: see" in again()
    assert f"from {words}; it is predicted again" in again("--transcribe", "one")
    assert "was done before: see" in again("--transcribe", "one")
    assert f"from {words}; it is predicted again" in again("--transcribe", "two")
    assert f"from {words}; it is predicted again" in again("--transcribe", "two", "--language", "en")
    assert f"from {words} and {speakers}; it is predicted again" in again("--speakers", "auto")
    assert f"from {speakers}; it is predicted again" in again("--speakers", "2")
    assert f"from {speakers}; it is predicted again" in again()


def test_subtitles_win_over_recogniser_and_guess(predict, clip, recogniser, tmp_path):
    _, out, _ = predict(clip, "--transcribe", "whisper", "--speakers", "auto")
    assert recogniser.lengths == []
    assert "recogniser" not in out
    found = load(tmp_path / "predictions" / "talk.wav" / "predictions.jsonl")
    assert found == Pipeline(made_up_model())(clip)


def test_a_diarisation_gets_words(predict, unscripted, recogniser, tmp_path):
    (tmp_path / "who.rttm").write_text(
        "SPEAKER talk 1 0.0 2.0 <NA> <NA> Ann <NA> <NA>\nSPEAKER talk 1 3.0 2.0 <NA> <NA> Bob <NA> <NA>\n"
    )
    predict(unscripted, "--segments", "who.rttm", "--transcribe", "whisper", "--speakers", "auto")
    found = load(tmp_path / "predictions" / "talk.wav" / "predictions.jsonl")
    assert [(p.start_s, p.speaker, p.text) for p in found] == [(0.0, "Ann", None), (3.0, "Bob", "I hate cake.")]
    assert {p.speaker_source for p in found} == {None}


def test_a_real_recogniser_runs_through_the_command(predict, unscripted, tmp_path):
    code, out, _ = predict(unscripted, "--transcribe", save_whisper(tmp_path / "tiny"))
    assert code == cli.DONE
    assert "The words are by the recogniser tiny" in out


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (["--language", "de"], cli.WRONG_USE, "name a Whisper, or drop it."),
        (["--speaker-encoder", "x"], cli.WRONG_USE, "add --speakers auto, or drop it."),
        (["--speakers", "0"], cli.WRONG_USE, "expected a whole number from 1, got '0'"),
        (["--speakers", "many"], cli.WRONG_USE, "expected a whole number from 1, or auto, got 'many'"),
        (["--transcribe", "bert"], cli.WRONG_USE, "bert is a model of the type 'bert', which does not write what is"),
        (["--transcribe", "empty"], cli.FAILED, "config.json"),
    ],
)
def test_what_cannot_recognise_is_refused_in_a_sentence(predict, unscripted, tmp_path, options, code, message):
    save_encoder(tmp_path / "bert", "bert")
    (tmp_path / "empty").mkdir()
    found, _, err = predict(unscripted, *options)
    assert (found, message in err) == (code, True), err
    assert "Traceback" not in err
