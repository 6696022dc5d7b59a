"""A Whisper that writes words: the contract with a random one, and what is refused."""

import json
from itertools import pairwise

import pytest
import torch
from tiny_encoders import save_encoder
from tiny_recogniser import LETTERS, SECONDS, save_whisper

from m2fnet.errors import RunError, UsageError
from m2fnet.pipeline.recogniser import Recogniser


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("whispers")
    return {
        "english": save_whisper(root / "english"),
        "multilingual": save_whisper(root / "multilingual", multilingual=True),
        "timeless": save_whisper(root / "timeless", times=False),
    }


def sound(seconds, seed=0):
    return 0.1 * torch.randn(int(16_000 * seconds), generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("which", ["english", "multilingual", "timeless"])
@pytest.mark.parametrize("seconds", [0.05, 0.7, SECONDS])
def test_phrases_are_in_order_within_the_sound_and_the_same_each_time(folders, which, seconds):
    recogniser = Recogniser(folders[which])
    heard = recogniser.hear(sound(seconds))
    assert heard == Recogniser(folders[which]).hear(sound(seconds))
    assert 0 <= heard.no_speech <= 1
    assert heard.level_db == pytest.approx(-20, abs=2)
    times = [time for phrase in heard.phrases for time in (phrase.start_s, phrase.end_s)]
    assert all(before <= after for before, after in pairwise([0.0, *times, seconds]))
    assert all(phrase.log_probability <= 0 for phrase in heard.phrases)
    assert not any("<|" in phrase.text for phrase in heard.phrases)
    if which == "timeless":
        assert [(phrase.start_s, phrase.end_s) for phrase in heard.phrases] == [(0.0, seconds)]


def test_the_sound_decides_what_is_written(folders):
    recogniser = Recogniser(folders["english"])
    assert recogniser.hear(sound(1.5, 1)) != recogniser.hear(sound(1.5, 2))


def test_its_length_is_what_it_was_trained_on(folders):
    assert Recogniser(folders["english"]).longest_s == SECONDS


def test_log_probabilities_are_those_of_the_network(folders):
    """The tokens of one phrase, given to the network together, have the probabilities that were noted."""
    recogniser = Recogniser(folders["timeless"])
    (phrase,) = recogniser.hear(sound(1.0)).phrases
    with torch.no_grad():
        states = recogniser._encode(sound(1.0))
    tokens, scores = recogniser._write(states, [recogniser._start, recogniser._first_time - 1])
    prompt = torch.tensor([[recogniser._start, recogniser._first_time - 1, *tokens]])
    with torch.no_grad():
        logits = recogniser._network(encoder_outputs=(states,), decoder_input_ids=prompt).logits[0, 1:-1].clone()
    logits[:, len(LETTERS) + 1 : recogniser._first_time] = -torch.inf  # marks are never written
    logits[0, len(LETTERS)] = -torch.inf  # and it does not end before it begins
    expected = logits.log_softmax(-1).gather(1, torch.tensor(tokens)[:, None])[:, 0]
    torch.testing.assert_close(torch.tensor(scores), expected, atol=1e-4, rtol=1e-4)
    assert phrase.log_probability == pytest.approx(sum(scores) / len(scores), abs=1e-4)


def test_a_language_is_detected_or_given(folders):
    recogniser = Recogniser(folders["multilingual"])
    assert list(recogniser.languages) == ["en", "de", "fr"]
    assert recogniser.language_of([sound(1.0), sound(2.0, 1)]) in recogniser.languages
    german = Recogniser(folders["multilingual"], language="German")
    assert german.language == german.language_of([sound(1.0)]) == "de"
    assert german.hear(sound(1.0)) != recogniser.hear(sound(1.0), "fr")
    assert Recogniser(folders["english"]).language_of([sound(1.0)]) is None
    assert Recogniser(folders["english"], language="en").language is None


@pytest.mark.parametrize(
    ("which", "language", "message"),
    [
        ("english", "de", "english writes English only; name a multilingual Whisper, or drop --language."),
        (
            "multilingual",
            "klingon",
            "multilingual does not know the language 'klingon'; expected a code such",
        ),
    ],
)
def test_a_language_that_it_does_not_write_is_refused(folders, which, language, message):
    with pytest.raises(UsageError) as caught:
        Recogniser(folders[which], language=language)
    assert str(caught.value).startswith(message)


def test_the_hash_is_that_of_weights_settings_and_language(folders, tmp_path):
    first = Recogniser(folders["multilingual"])
    assert first.sha256 == Recogniser(folders["multilingual"]).sha256
    assert first.sha256 != Recogniser(folders["english"]).sha256
    assert first.sha256 != Recogniser(folders["multilingual"], language="de").sha256


def test_what_is_no_whisper_is_refused_in_a_sentence(tmp_path):
    with pytest.raises(UsageError) as caught:
        Recogniser(save_encoder(tmp_path / "bert", "bert"))
    assert "is a model of the type 'bert', which does not write what is said; expected a Whisper" in str(caught.value)


@pytest.mark.parametrize(
    ("file", "change", "message"),
    [
        ("preprocessor_config.json", {"chunk_length": 10**9}, "are not those of a Whisper"),
        ("preprocessor_config.json", {"sampling_rate": 8000}, "are not those of a Whisper"),
        ("preprocessor_config.json", {"chunk_length": "30"}, "are not those of a Whisper"),
        ("config.json", {"vocab_size": 3}, "cannot be loaded as an encoder"),
    ],
)
def test_a_damaged_folder_is_refused(tmp_path, file, change, message):
    folder = tmp_path / "whisper"
    save_whisper(folder)
    settings = json.loads((folder / file).read_text())
    (folder / file).write_text(json.dumps(settings | change))
    with pytest.raises(RunError, match=message):
        Recogniser(str(folder))


def test_weights_without_safetensors_are_never_opened(tmp_path):
    save_whisper(tmp_path / "whisper")
    (tmp_path / "whisper" / "model.safetensors").rename(tmp_path / "whisper" / "pytorch_model.bin")
    with pytest.raises(RunError, match="never opened"):
        Recogniser(str(tmp_path / "whisper"))
